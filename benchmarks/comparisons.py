"""The page of recorded comparisons of methods, docs/compared.md, from benchmarks/results.

    python benchmarks/studies.py record comparison mnist --ipcs 1 --seeds 3 --repeats 7 --out studies
    python benchmarks/comparisons.py

Records are made with `python benchmarks/studies.py record …`; the page needs them only.
"""

import json
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
[comparison.md](comparison.md) says what the words mean; `python benchmarks/studies.py record …` with the options of a
command below repeats its record.

Read with care:

- Everything ran on two processor cores in one afternoon. Published sets are learned in 1000 outer draws (20,000 for
  distribution matching, 23,600 updates for Dataset Distillation) at 256 real images per class; each table says what
  ours had. Learning rates of the images were chosen by accuracy on a tenth of the training images, held out, never on
  the test images.
- All rows of one table are scored by one protocol, which is printed with it. Protocols differ from table to table, and
  from those of the papers in epochs: compare within a table.
- A selection that draws nothing is one set, however many networks are trained on it: its ± says how networks differ,
  not how other sets would.
- Seconds were measured with one thread while other work ran on the other core.

"""
WITHIN = 2  # published standard deviations

Values = Mapping[str, Any]


def page() -> None:
    """Write the page and its pictures."""
    records = [(path.stem, json.loads(path.read_text())) for path in recorded()]
    parts = [HEAD, "## Against the published numbers\n\n", against([values for _, values in records]), "\n\n"]
    parts += [forgetting([values for _, values in records]), "\n\n"]
    parts += [_section(stem, values) for stem, values in records]
    write_text(DOCS / "compared.md", "".join(parts).rstrip("\n") + "\n")


def _section(stem: str, values: Values) -> str:
    """Write the part of one record under a heading of its own."""
    title, dataset = values["study"]["title"], values["facts"]["Data set"].partition(",")[0]
    augmentation = values["facts"]["Networks"].rpartition("augmentation ")[2]
    return section(stem, values).replace(
        f"## {title}", f"## {dataset}, augmentation {augmentation}: {title}", 1
    )


def recorded() -> list[Path]:
    """List the records of the page: first comparisons, then Dataset Distillation."""
    names = ("comparison", "distillation")
    found = [sorted(measure.RESULTS.glob(f"study-{name}-*.json")) for name in names]
    # The shortest names are those of the largest tables.
    return [path for paths in found for path in sorted(paths, key=lambda path: (len(path.stem), path.stem))]


def against(records: list[Values]) -> str:
    """Tell for every accuracy that was published too whether ours lies within two published standard deviations."""
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
        f"Within means that our mean lies no more than {WITHIN} published standard deviations from the published mean; "
        "learned sets had fewer draws than published ones, so that lower accuracies are to be expected there."
    )
    return f"{table(header, rows, words=3)}\n\n{words}"


def forgetting(records: list[Values]) -> str:
    """Say what becomes of forgetting without the images that no network learned."""
    found = []
    for values in records:
        result, dataset = read_study_record(values), values["facts"]["Data set"].partition(",")[0]
        for column in result.study.columns:
            first, last = (result.entries.get((row, column)) for row in ("forgetting", "forgetting-learned"))
            printed = result.study.published.get(("forgetting", column))
            if first and last and printed and first.n and last.n:
                found.append(
                    f"{dataset} at {column} per class {accuracy(first)} % and {accuracy(last)} % without them, where "
                    f"{printed.mean:.1f}±{printed.std:.1f} % was published"
                )
    return (
        "**Forgetting** as its paper defines it counts images that the network never got right as forgotten most "
        f"often, and so chooses these; `forgetting-learned` leaves them out: {'; '.join(found)}. After few epochs "
        "most images are forgotten equally often, and which of them comes first decides: of equal ones the lowest "
        "position is chosen here."
    )


def _published_rows(values: Values, result: StudyResult) -> Iterator[list[str]]:
    """Compare the entries of one record."""
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
