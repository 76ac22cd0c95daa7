"""The studies that compare methods: coreset selection, condensation, and full training."""

from collections.abc import Mapping, Sequence
from typing import Any

from datacondense.augment.strategies import resolved_strategy
from datacondense.facts import facts_of
from datacondense.networks.names import evaluation_name, network_name
from datacondense.settings import Named, images_per_class
from datacondense.studies.factory import Declaration, TaskFactory
from datacondense.studies.named_sets import named_set, refuse_overrides
from datacondense.studies.published import TITLES, published_table
from datacondense.studies.study import Entry, Published, Study
from datacondense.studies.variants import is_comparable, refuse_unused, subject

_USUAL = ("random", "herding", "k-center", "forgetting", "gradient-matching")  # rows of the published table
_IPCS = ("1", "10", "50")

_OWN_STEPS = "dataset-distillation, its own steps"
_FIXED = f"{_OWN_STEPS}, fixed network"
_TABLE_3 = (_OWN_STEPS, _FIXED, "dataset-distillation", "gradient-matching")
_NETWORKS = {"mnist": "lenet", "cifar10": "alexcifarnet"}  # of the published table


def comparison(tasks: TaskFactory) -> Study:
    """Compare methods at some numbers of images per class (paper, Table 1), all scored by one protocol."""
    refuse_unused(tasks, "networks", "kept")
    rows = tasks.config.rows or _USUAL
    refuse_overrides(tasks.config.override, rows)
    network = evaluation_name(tasks.config.method.network)
    columns = _columns(tasks, _IPCS)
    printed, origin = _printed(tasks, "comparison", network, "convnet")
    return Study(
        name="comparison",
        title=TITLES["comparison"],
        subject=subject(tasks, network),
        rows=rows,
        columns=columns,
        row_axis="method",
        column_axis="images per class",
        entries={
            (row, column): tasks.scored(named_set(tasks, row, int(column)), network=network)
            for row in rows
            for column in columns
        },
        published={
            entry: value for entry, value in printed.items() if entry[0] in rows and entry[1] in columns
        },
        source=origin,
        # Curves over a single number of images would be points on top of each other.
        plot="curves" if len(columns) > 1 else "heat map",
        full=tasks.full(),
        ratios=_ratios(tasks, columns),
    )


def distillation(tasks: TaskFactory) -> Study:
    """Compare Dataset Distillation with gradient matching (paper, Table 3): accuracy, time and memory."""
    refuse_unused(tasks, "networks", "kept")
    refuse_overrides(tasks.config.override, _TABLE_3)
    network = tasks.config.method.network
    if network_name(network) == "convnet":
        network = _NETWORKS.get(tasks.data.name, network)
    columns = _columns(tasks, _IPCS[:2])
    printed, origin = _printed(tasks, "distillation", network, _NETWORKS.get(tasks.data.name))
    made: Mapping[str, Mapping[str, Any]] = {_FIXED: {"fixed_network": True}}
    own: Mapping[str, Mapping[str, Any]] = {row: {"learned_steps": True} for row in (_OWN_STEPS, _FIXED)}
    return Study(
        name="distillation",
        title=TITLES["distillation"],
        subject=subject(tasks, network),
        rows=_TABLE_3,
        columns=columns,
        row_axis="method",
        column_axis="images per class",
        entries={
            (row, column): tasks.scored(
                named_set(tasks, row.partition(",")[0], int(column), network=network, **made.get(row, {})),
                network=evaluation_name(network),
                **own.get(row, {}),
            )
            for row in _TABLE_3
            for column in columns
        },
        published={entry: value for entry, value in printed.items() if entry[1] in columns},
        source=origin,
        ratios=_ratios(tasks, columns),
    )


COMPARISONS: Mapping[str, Declaration] = {"comparison": comparison, "distillation": distillation}


def _columns(tasks: TaskFactory, usual: Sequence[str]) -> tuple[str, ...]:
    """Return the numbers of images per class in ascending order."""
    return tuple(str(number) for number in sorted(set(tasks.config.ipcs))) or tuple(usual)


def _ratios(tasks: TaskFactory, columns: Sequence[str]) -> dict[str, float]:
    """Return the size of the sets of each column in percent of the training images."""
    train = tasks.data.read().train
    ipc_of = tasks.config.method.ipc_of
    sizes = {each: sum(images_per_class(int(each), ipc_of, train.class_names)) for each in columns}
    return {column: 100 * size / len(train) for column, size in sizes.items()}


def _printed(
    tasks: TaskFactory, study: str, network: Named, printed: str | None
) -> tuple[Mapping[Entry, Published], str]:
    """Return the published numbers of a study, if data set, network and protocol are those of the table.

    Later methods were scored with Siamese augmentation, and their numbers belong to that protocol.
    """
    if not is_comparable(tasks) or network_name(network) != printed:
        return {}, ""
    mirrored, usual = facts_of(tasks.data.name)
    used = resolved_strategy(tasks.config.augmentation or usual, mirrored=mirrored)
    protocols = {resolved_strategy("dsa", mirrored=mirrored): "dsa", usual: "plain"}
    return published_table(study, tasks.data.name, protocols.get(used, "other"))
