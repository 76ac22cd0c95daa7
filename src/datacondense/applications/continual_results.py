"""The numbers of continual learning: accuracies on every test set, forgetting, backward transfer, and costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd

from datacondense.studies.results import StudyResult, collect
from datacondense.studies.study import Study
from datacondense.tasks.store import Store

TESTS = ("row", "seed", "network", "stage", "tested", "accuracy")
COSTS = ("row", "seed", "network", "stage", "images", "bytes", "making_seconds", "training_seconds")


@dataclass(frozen=True, kw_only=True)
class ContinualResult:
    """The numbers of a comparison of memories.

    Attributes:
        means: The mean accuracy over the test sets seen so far, as a study.
        tested: What the test set of each stage is called.
        tests: A line for each network, stage and test set, with `TESTS`: accuracies from 0 to 1.
        costs: A line for each network and stage, with `COSTS`: what the memory holds, the seconds of making its
            new part, and those of training.
    """

    means: StudyResult
    tested: tuple[str, ...]
    tests: pd.DataFrame
    costs: pd.DataFrame

    def measures(self, row: str) -> dict[str, list[float]]:
        """Return forgetting and backward transfer after the last stage, for each network that has finished it.

        Args:
            row: The row.

        Returns:
            Lists "forgetting" and "transfer", see `forgetting` and `backward_transfer`.
        """
        found: dict[str, list[float]] = {"forgetting": [], "transfer": []}
        lines = self.tests[self.tests["row"] == row]
        for _, own in lines.groupby(["seed", "network"], sort=True):
            matrix = [each["accuracy"].tolist() for _, each in own.groupby("stage", sort=True)]
            if len(matrix) == len(self.tested):
                found["forgetting"].append(forgetting(matrix))
                found["transfer"].append(backward_transfer(matrix))
        return found


def forgetting(accuracies: Sequence[Sequence[float]]) -> float:
    """Return how much was forgotten after the last stage (Chaudhry et al. 2018): `mean_j (max_t a[t][j] - a[T][j])`.

    Args:
        accuracies: For each stage t the accuracy on the test set of every stage j up to t.

    Returns:
        The mean over all stages j before the last of the best accuracy in an earlier stage minus the last one.
    """
    *earlier, last = accuracies
    best = [max(own[j] for own in earlier[j:]) for j in range(len(earlier))]
    return fmean(most - now for most, now in zip(best, last, strict=False))


def backward_transfer(accuracies: Sequence[Sequence[float]]) -> float:
    """Return what later stages did for earlier ones (Lopez-Paz and Ranzato 2017): `mean_j (a[T][j] - a[j][j])`.

    Args:
        accuracies: As in `forgetting`.

    Returns:
        The mean over all stages j before the last; negative where they were forgotten.
    """
    *earlier, last = accuracies
    return fmean(now - own[-1] for now, own in zip(last, earlier, strict=False))


def collect_continual(study: Study, tested: Sequence[str], store: Store) -> ContinualResult:
    """Return the numbers of the finished tasks.

    Args:
        study: What `continual_study` returns.
        tested: What the test set of each stage is called.
        store: The records.

    Returns:
        The numbers.
    """
    tests: list[tuple[Any, ...]] = []
    costs: list[tuple[Any, ...]] = []
    for (row, column), tasks in study.entries.items():
        for task in tasks:
            if not store.finished(task.key):
                continue
            record, line = store.record(task.key), (row, task.protocol.seed, task.repeat, int(column))
            result = record["result"]
            tests += [(*line, j + 1, found) for j, found in enumerate(result["accuracies"])]
            costs.append((
                *line,
                result["memory_images"],
                result["memory_bytes"],
                _making_seconds(task, store),
                record["seconds"],
            ))
    return ContinualResult(
        means=collect(study, store),
        tested=tuple(tested),
        tests=pd.DataFrame(tests, columns=TESTS),
        costs=pd.DataFrame(costs, columns=COSTS),
    )


def _making_seconds(task: Any, store: Store) -> float:
    """Return the seconds that the memory's last part took to make."""
    own = getattr(task, "own", None) or next(iter(task.memory[-1:]), None)
    if own is None or not store.finished(own.key):
        return 0.0
    return float(store.record(own.key)["result"].get("condensing_seconds", 0.0))
