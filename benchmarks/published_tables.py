"""The table of docs/published-sets.md, filled in by cog from the record of `published_sets.py`."""

from collections.abc import Iterator

from tables import record, table

from datacondense.reports.layout import accuracy


@table("file | network | accuracy in the file | n | scored here | n", words=2)
def scores() -> Iterator[str]:
    for row in record("published-sets")["rows"]:
        published, score = row["published"], row["score"]
        yield " | ".join([
            row["file"],
            row["network"],
            accuracy(100 * published["mean"], 100 * published["std"]),
            str(published["n"]),
            f"**{accuracy(100 * score['mean'], 100 * score['std'])}**",
            str(score["n"]),
        ])
