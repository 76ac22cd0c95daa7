"""The tables of docs/multi-formation.md, filled in by cog from the records of `budgets.py`."""

from collections.abc import Iterator
from statistics import fmean
from typing import Any

import pandas as pd
from budgets import TABLE
from tables import frame, interval, mean_std, record, sig, table

from datacondense.reports.layout import NOTHING, accuracy, number, points
from datacondense.studies.published import published_table, shown
from datacondense.studies.statistics import mean_interval

# Of processors with bfloat16 in hardware, and of those without; and what smaller batches in scoring find.
RECORDS = ("budgets", "budgets-avx2", "budgets-batch-64")

_ABOUT_A_MINUTE = 150  # at most, in seconds
_PASSES = "{0[epochs]} / {0[batch_size]}".format  # of a protocol


def _groups() -> Iterator[Any]:
    """Yield the rows of one name, machine and protocol; data sets and numbers of images in order."""
    frames = [
        frame(name).assign(rate=_rate(name), passes=lambda rows: rows["score.protocol"].map(_PASSES))
        for name in RECORDS
    ]
    rows = pd.concat(frames).sort_values(["dataset", "ipc", "row"], kind="stable")
    yield from (group for _, group in rows.groupby(["row", "rate", "passes"], sort=False))


def _published(first: Any) -> str:
    """Return the published accuracy of gradient matching."""
    printed = published_table("comparison", first.dataset, "plain")[0]
    found = printed.get(("gradient-matching", str(first.ipc)))
    return accuracy(*found) if found else NOTHING


@table(
    "data set | images per class | made by | convolutions, GFLOP/s | seconds | iterations | stored numbers"
    " | decoded images | epochs / batch size of scoring | accuracy | sets × networks | published gradient matching",
    words=3,
)
def budgets() -> Iterator[str]:
    for group in _groups():
        first, values = group.iloc[0], group["score.accuracies"].sum()
        yield " | ".join([
            shown(first.dataset),
            str(first.ipc),
            first.made,
            sig(first.rate),
            f"{fmean(group.seconds):.0f}",
            number(group.iterations_done.mean(), ".0f", NOTHING),
            f"{first.stored_numbers:,}",
            f"{first.decoded_images:,}",
            first.passes,
            f"**{mean_std(values)}**",
            f"{len(group)} × {len(values) // len(group)}",
            _published(first),
        ])


@table(
    "data set | images per class | seconds to condense | epochs / batch size of scoring | accuracy % | sets × networks"
    " | gradient matching, published (1000 iterations)"
)
def overview() -> Iterator[str]:
    """Yield what distribution matching reaches in about a minute and in more, each on the first machine that has it."""
    found: dict[tuple[Any, ...], Any] = {}
    for group in _groups():
        first = group.iloc[0]
        if first.method == "distribution-matching":
            found.setdefault((first.dataset, first.ipc, first.seconds > _ABOUT_A_MINUTE), group)
    for (dataset, ipc, _), group in found.items():
        values = group["score.accuracies"].sum()
        line = f"{shown(dataset)} | {ipc} | {fmean(group.seconds):.0f} | {group.iloc[0].passes} | {mean_std(values)}"
        yield f"{line} | {len(group)} × {len(values) // len(group)} | {_published(group.iloc[0])}"


def _rate(name: str) -> float:
    """Return the speed of convolutions, GFLOP/s, in the faster precision: the one that is taken by default."""
    rates = record(name)["ceilings"]["convolution_gflops"].values()
    return float(max(each["forward"] for each in rates))


@table(
    "with | without | accuracy with | iterations | difference, points (95 % interval) | sets × networks",
    words=2,
)
def ingredients() -> Iterator[str]:
    groups = dict(list(frame("budgets-ingredients").groupby("row", sort=False)))
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
