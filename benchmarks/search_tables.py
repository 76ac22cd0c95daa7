"""The tables of docs/architecture-search.md, filled in by cog from the records.

`python benchmarks/search_tables.py` writes the plots of all records to docs/.
"""

import re
from collections.abc import Iterator
from functools import cache
from statistics import median

from study_tables import DOCS, MADE
from tables import record, records, table

from datacondense.reports.records import read_search_record
from datacondense.reports.search_page import search_markdown
from datacondense.studies.published import published_table, shown

NAMES = "search-*"
search = cache(lambda stem: read_search_record(record(stem)))


def sections() -> str:
    """Return a section for each record: how it was made, its plot, its table."""
    parts = []
    for stem, values in records(NAMES).items():
        facts = {
            **values["facts"],
            "Made": MADE.format_map(values),
            "Record": f"benchmarks/results/{stem}.json",
        }
        text = search_markdown(search(stem), facts, picture=f"{stem}.png")
        text = re.sub("^# .*", f"# {shown(values['dataset'])}", text)
        parts.append(re.sub("^#", "##", text, flags=re.MULTILINE))
    return "\n".join(parts)


def stacked() -> str:
    """Return the table of stacks against networks one by one, and how it was made."""
    made = record("stacked")

    @table("network | networks | torch's own layers, float32 | as `auto` chooses")
    def lines() -> Iterator[str]:
        for one, other in zip(made["rows"][::2], made["rows"][1::2], strict=True):
            yield " | ".join([
                one["network"],
                str(one["number"]),
                *(f"{median(each['ratios']):.1f}" for each in (one, other)),
            ])

    resolved = ", ".join(made["rows"][1][name] for name in ("engine", "precision"))
    facts = f"Medians of {made['rows'][0]['n']} interleaved pairs; `auto` is {resolved} here. `{made['command']}`, "
    return f"{lines()}\n\n*{facts}{made['date']}, {made['hardware']['processor']}, one thread.*"


@table("trained on | accuracy, % | rank correlation, top 10 | minutes | images")
def table_4() -> Iterator[str]:
    entries, _ = published_table("search", "cifar10")
    columns = list(dict.fromkeys(column for _, column in entries))
    for row in dict.fromkeys(row for row, _ in entries):
        accuracy, correlation, minutes, images = (entries[row, column].mean for column in columns)
        yield f"{row} | {accuracy} | {correlation:.2f} | {minutes} | {images:,.0f}"


if __name__ == "__main__":
    from datacondense.reports.search_plot import plot_search

    for name in records(NAMES):
        plot_search(search(name), DOCS / f"{name}.png")
