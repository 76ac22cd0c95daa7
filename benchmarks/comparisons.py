"""The page of recorded comparisons of methods, docs/compared.md, from benchmarks/results.

    python benchmarks/studies.py record comparison mnist --ipcs 1 --seeds 3 --repeats 7 --out studies
    python benchmarks/comparisons.py

The first command makes a record; the second writes the page from all records.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import measure
from studies import DOCS, section

from datacondense.files import write_text
from datacondense.reports.layout import NOTHING, accuracy, table
from datacondense.reports.study_records import read_study_record
from datacondense.studies.results import StudyResult

HEAD = """# Recorded comparisons of methods

Written by `python benchmarks/comparisons.py` from the records in [benchmarks/results](../benchmarks/results)
(`study-comparison-*.json`, `study-distillation-*.json`), which hold every accuracy with its seed and network.
[comparison.md](comparison.md) explains the terms. To repeat a record, run `python benchmarks/studies.py record …` with
the options of its command.

Read with care:

- Everything ran on two processor cores in one afternoon. Published sets are learned in 1000 iterations (20,000 for
  distribution matching, 23,600 updates for Dataset Distillation) with 256 real images per class; each table states what
  ours had. Learning rates of the images were selected by accuracy on a held-out tenth of the training images, never on
  the test images.
- All rows of a table are scored by one protocol, printed with it. Protocols differ between tables, and differ from
  those of the papers in the number of epochs: compare within a table.
- A deterministic selection is one set, however many networks are trained on it: its ± is the spread over networks, not
  over sets.
- Seconds were measured with one thread while other work ran on the other core.

"""
WITHIN = 2  # published standard deviations

Values = Mapping[str, Any]


def page() -> None:
    """Write the page and its plots."""
    records = [(path.stem, measure.read_record(path)) for path in recorded()]
    parts = [HEAD, "## Against the published numbers\n\n", against([values for _, values in records]), "\n\n"]
    parts += [forgetting([values for _, values in records]), "\n\n"]
    parts += [_section(stem, values) for stem, values in records]
    write_text(DOCS / "compared.md", "".join(parts).rstrip("\n") + "\n")


def _section(stem: str, values: Values) -> str:
    """Return the section of one record under its own heading."""
    title, dataset = values["study"]["title"], values["facts"]["Data set"].partition(",")[0]
    augmentation = values["facts"]["Networks"].rpartition("augmentation ")[2]
    return section(stem, values).replace(
        f"## {title}", f"## {dataset}, augmentation {augmentation}: {title}", 1
    )


def recorded() -> list[Path]:
    """Return the records of the page: first comparisons, then Dataset Distillation."""
    names = ("comparison", "distillation")
    found = [sorted(measure.RESULTS.glob(f"study-{name}-*.json")) for name in names]
    # The shortest names are those of the largest tables.
    return [path for paths in found for path in sorted(paths, key=lambda path: (len(path.stem), path.stem))]


def against(records: list[Values]) -> str:
    """Return the table that compares each accuracy with the published one."""
    header = [
        "data set, network",
        "method",
        "images per class",
        "iterations",
        "ours, % (n, sets)",
        "published, %",
        "difference",
        "verdict",
    ]
    rows = [row for values in records for row in _published_rows(values, read_study_record(values))]
    words = (
        f"*Within*: our mean is at most {WITHIN} published standard deviations from the published mean. Our sets were "
        "learned in fewer iterations than the published ones, so expect lower accuracies."
    )
    return f"{table(header, rows, words=3)}\n\n{words}"


def forgetting(records: list[Values]) -> str:
    """Return the paragraph on forgetting with and without the images that the network never learned."""
    found = []
    for values in records:
        result, dataset = read_study_record(values), values["facts"]["Data set"].partition(",")[0]
        for column in result.study.columns:
            first, last = (result.entries.get((row, column)) for row in ("forgetting", "forgetting-learned"))
            printed = result.study.published.get(("forgetting", column))
            if first and last and printed and first.n and last.n:
                found.append(
                    f"{dataset} at {column} per class: {accuracy(first)} % with them, {accuracy(last)} % without, "
                    f"{printed.mean:.1f}±{printed.std:.1f} % published"
                )
    return (
        "**Forgetting**, as its paper defines it, ranks images that the network never classified correctly as the "
        f"most forgotten and selects them; `forgetting-learned` leaves them out. {'; '.join(found)}. After few epochs "
        "most images are forgotten equally often; ties go to the image with the lowest index."
    )


def _published_rows(values: Values, result: StudyResult) -> Iterator[list[str]]:
    """Yield the rows that compare one record with published numbers."""
    dataset = values["facts"]["Data set"].partition(",")[0]
    for (row, column), printed in result.study.published.items():
        entry = result.entries.get((row, column))
        if entry is None or entry.n == 0:
            continue
        difference = 100 * entry.mean - printed.mean
        near = printed.std is not None and abs(difference) <= WITHIN * printed.std
        yield [
            f"{dataset}, {result.study.title.rpartition(' on ')[2].rstrip('?')}",
            row,
            column,
            f"{fmean(entry.iterations):g}" if entry.iterations else NOTHING,
            f"{accuracy(entry)} ({entry.n}, {entry.sets})",
            f"{printed.mean:.1f}±{printed.std:.1f}",
            f"{difference:+.1f}",
            "within" if near else ("above" if difference > 0 else "below"),
        ]


if __name__ == "__main__":
    page()
