"""The table of docs/multi-formation.md, filled in by cog from the record of `budgets.py`."""

from collections.abc import Iterator
from statistics import fmean

import pandas as pd
from tables import mean_std, record, table

from datacondense.reports.layout import NOTHING, accuracy
from datacondense.studies.published import published_table, shown


@table(
    "data set | images per class | made by | seconds | stored numbers | decoded images | accuracy | sets × networks"
    " | published gradient matching"
)
def budgets() -> Iterator[str]:
    frame = pd.json_normalize(record("budgets")["rows"], max_level=1)
    frame = frame.sort_values(["dataset", "ipc"], kind="stable")
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
