"""The studies that compare methods: coreset selection, condensation, and full training."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast, get_args

from datacondense.augment.strategies import resolved_strategy
from datacondense.condensation.method import MethodConfig
from datacondense.condensation.registry import METHODS, method_name
from datacondense.errors import InputError
from datacondense.facts import facts_of
from datacondense.networks.names import evaluation_name, network_name
from datacondense.studies import published
from datacondense.studies.config import parse_override
from datacondense.studies.factory import Declaration, Source, TaskFactory
from datacondense.studies.selections import Selection
from datacondense.studies.study import Entry, Published, Study
from datacondense.studies.variants import is_comparable, refuse_unused

_LEARNED_ONLY = "forgetting-learned"  # forgetting without images that the network never got right
_SELECTIONS = ("random", "herding", "k-center", "forgetting", _LEARNED_ONLY)
COMPARED = (*_SELECTIONS, *METHODS)
_USUAL = (*_SELECTIONS[:-1], "gradient-matching")  # rows of the published table
_IPCS = ("1", "10", "50")

_OWN_STEPS = published.OWN_STEPS
_FIXED = f"{_OWN_STEPS}, fixed network"
_TABLE_3 = (_OWN_STEPS, _FIXED, "dataset-distillation", "gradient-matching")
_NETWORKS = {"mnist": "lenet", "cifar10": "alexcifarnet"}  # of the published table

# Settings of gradient matching that mean the same for all methods, and are passed on to them.
_SHARED = ("network", "precision", "engine")
_SHARED_BATCH = ("siamese-matching", "distribution-matching")


def comparison(tasks: TaskFactory) -> Study:
    """Compare methods at some numbers of images per class (paper, Table 1), all scored by one protocol.

    Args:
        tasks: The task factory.

    Returns:
        The study.
    """
    refuse_unused(tasks, "networks", "kept")
    rows = tasks.config.rows or _USUAL
    _refuse_overrides(tasks, rows)
    network = evaluation_name(tasks.config.method.network)
    columns = _columns(tasks, _IPCS)
    return Study(
        name="comparison",
        title=f"How do condensed sets compare with selected real images on {network}?",
        rows=rows,
        columns=columns,
        row_axis="method",
        column_axis="images per class",
        entries={
            (row, column): tasks.scored(_source(tasks, row, int(column)), network=network)
            for row in rows
            for column in columns
        },
        published=_published(tasks, rows, columns),
        source=published.COMPARISON_SOURCE,
        # Curves over a single number of images would be points on top of each other.
        plot="curves" if len(columns) > 1 else "heat map",
        full=tasks.full(),
        ratios=_ratios(tasks, columns),
    )


def distillation(tasks: TaskFactory) -> Study:
    """Compare Dataset Distillation with gradient matching (paper, Table 3): accuracy, time and memory.

    Args:
        tasks: The task factory.

    Returns:
        The study.
    """
    refuse_unused(tasks, "networks", "kept")
    _refuse_overrides(tasks, _TABLE_3)
    network = tasks.config.method.network
    if network == "convnet":
        network = _NETWORKS.get(tasks.data.name, network)
    columns = _columns(tasks, _IPCS[:2])
    sources: Mapping[str, Callable[[int], Source]] = {
        _OWN_STEPS: lambda ipc: _learned(tasks, "dataset-distillation", ipc, network=network),
        _FIXED: lambda ipc: _learned(tasks, "dataset-distillation", ipc, network=network, fixed_network=True),
        "dataset-distillation": lambda ipc: _learned(tasks, "dataset-distillation", ipc, network=network),
        "gradient-matching": lambda ipc: _learned(tasks, "gradient-matching", ipc, network=network),
    }
    own: Mapping[str, Mapping[str, Any]] = {row: {"learned_steps": True} for row in (_OWN_STEPS, _FIXED)}
    return Study(
        name="distillation",
        title=f"Does matching gradients beat differentiating through training, on {network}?",
        rows=_TABLE_3,
        columns=columns,
        row_axis="method",
        column_axis="images per class",
        entries={
            (row, column): tasks.scored(
                source(int(column)), network=evaluation_name(network), **own.get(row, {})
            )
            for row, source in sources.items()
            for column in columns
        },
        published=_published_distillation(tasks, network_name(network), columns),
        source=f"{published.PAPER}, Table 3",
        ratios=_ratios(tasks, columns),
    )


COMPARISONS: Mapping[str, Declaration] = {"comparison": comparison, "distillation": distillation}


def _columns(tasks: TaskFactory, usual: Sequence[str]) -> tuple[str, ...]:
    """Return the numbers of images per class in ascending order."""
    return tuple(str(number) for number in sorted(set(tasks.config.ipcs))) or tuple(usual)


def _source(tasks: TaskFactory, row: str, ipc: int) -> Source:
    """Return the sets of a method."""
    if row == "random":
        return tasks.random(ipc)
    if row in METHODS:
        return _learned(tasks, row, ipc)
    if row == "forgetting":
        return tasks.forgotten(ipc)
    if row == _LEARNED_ONLY:
        return tasks.forgotten(ipc, "last")
    if row in get_args(Selection):
        return tasks.selected(cast(Selection, row), ipc)
    raise InputError(f"There is no method {row!r} to compare: choose from {', '.join(COMPARED)}.")


def _learned(tasks: TaskFactory, method: str, ipc: int, **changes: Any) -> Source:
    """Return the sets that a method condenses, with the shared settings and the overrides for it."""
    config, given = METHODS[method], tasks.config.method
    shared = {name: getattr(given, name) for name in _SHARED}
    if method in _SHARED_BATCH:
        shared["real_batch"] = given.real_batch
    base: MethodConfig = given if method == "gradient-matching" else config(**shared)
    own = {
        name: value
        for owner, name, value in map(parse_override, tasks.config.override)
        if method_name(owner) == method
    }
    return tasks.condensed(method=base, **{"ipc": ipc, **changes, **own})


def _refuse_overrides(tasks: TaskFactory, rows: Sequence[str]) -> None:
    """Refuse settings of methods that are not compared, and images per class."""
    for text in tasks.config.override:
        owner, setting, _ = parse_override(text)
        method = method_name(owner)
        if setting == "ipc":
            raise InputError(
                f"override is {text!r}, but images per class are the columns of the table: give --ipcs."
            )
        if method not in rows:
            raise InputError(
                f"override is {text!r}, but {method} is not compared here: leave it out, or compare {method} too."
            )


def _ratios(tasks: TaskFactory, columns: Sequence[str]) -> dict[str, float]:
    """Return the size of the sets of each column in percent of the training images."""
    train = tasks.data.read().train
    return {column: 100 * int(column) * train.num_classes / len(train) for column in columns}


def _published(tasks: TaskFactory, rows: Sequence[str], columns: Sequence[str]) -> dict[Entry, Published]:
    """Return the published numbers of these methods, if the protocol is the published one."""
    printed, protocol = published.COMPARISON.get(tasks.data.name), _printed_protocol(tasks)
    network = network_name(tasks.config.method.network)
    if printed is None or protocol is None or network != "convnet":
        return {}
    names = published.SIAMESE_ROWS if protocol == "dsa" else published.PLAIN_ROWS
    found = published.published_entries(printed[protocol], names, _IPCS)
    return {
        entry: value
        for entry, value in found.items()
        if entry[0] in rows and entry[1] in columns and value.mean
    }


def _printed_protocol(tasks: TaskFactory) -> str | None:
    """Return which published numbers belong to the protocol; later methods were scored with Siamese augmentation."""
    mirrored, usual = facts_of(tasks.data.name)
    used = resolved_strategy(tasks.config.augmentation or usual, mirrored=mirrored)
    protocols = {resolved_strategy("dsa", mirrored=mirrored): "dsa", usual: "plain"}
    return protocols.get(used) if is_comparable(tasks) else None


def _published_distillation(
    tasks: TaskFactory, network: str, columns: Sequence[str]
) -> dict[Entry, Published]:
    """Return Table 3, if the network is that of the table."""
    printed = published.DISTILLATION.get(tasks.data.name)
    if printed is None or network != _NETWORKS[tasks.data.name] or _printed_protocol(tasks) != "plain":
        return {}
    return {entry: value for entry, value in printed.items() if entry[1] in columns}
