"""The tables of docs/multi-formation.md, filled in by cog from the record of `budgets.py`."""

from collections.abc import Iterator
from statistics import fmean

import pandas as pd
from budgets import TABLE
from tables import interval, mean_std, record, table

from datacondense.reports.layout import NOTHING, accuracy, number, points
from datacondense.studies.published import published_table, shown
from datacondense.studies.statistics import mean_interval


@table(
    "data set | images per class | made by | seconds | stored numbers | decoded images | accuracy | sets × networks"
    " | published gradient matching",
    words=3,
)
def budgets() -> Iterator[str]:
    frame = _frame("budgets").sort_values(["dataset", "ipc"], kind="stable")
    for _, group in frame.groupby("row", sort=False):
        first = group.iloc[0]
        values = group["score.accuracies"].sum()
        printed = published_table("comparison", first.dataset, "plain")[0]
        found = printed.get(("gradient-matching", str(first.ipc)))
        yield " | ".join([
            shown(first.dataset),
            str(first.ipc),
            first.made,
            f"{fmean(group.seconds):.0f}",
            f"{first.stored_numbers:,}",
            f"{first.decoded_images:,}",
            f"**{mean_std(values)}**",
            f"{len(group)} × {len(values) // len(group)}",
            accuracy(*found) if found else NOTHING,
        ])


@table(
    "with | without | accuracy with | iterations | difference, points (95 % interval) | sets × networks",
    words=2,
)
def ingredients() -> Iterator[str]:
    groups = dict(list(_frame("budgets-ingredients").groupby("row", sort=False)))
    for row in TABLE["rows"]:
        others = groups.get(row.get("beside"))
        if row["name"] not in groups or others is None:
            continue
        scores = "score.accuracies"
        pairs = groups[row["name"]].merge(others, on="seed", suffixes=("", " beside"))
        found = [
            [a - b for a, b in zip(*each, strict=True)]
            for each in zip(pairs[scores], pairs[f"{scores} beside"], strict=True)
        ]
        yield " | ".join([
            row["made"],
            others.iloc[0].made,
            mean_std(groups[row["name"]][scores].sum()),
            number(groups[row["name"]].iterations_done.mean(), ".0f", NOTHING),
            f"{points(fmean(map(fmean, found)))} ({interval(mean_interval(found), '+.1f', 100)})",
            f"{len(found)} × {len(found[0])}",
        ])


def _frame(name: str) -> pd.DataFrame:
    return pd.json_normalize(record(name)["rows"], max_level=1)
