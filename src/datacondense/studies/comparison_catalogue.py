"""The studies that compare methods: real images chosen in four ways, what is learned, and the whole data set."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast, get_args

from datacondense.augment.names import settled_strategy
from datacondense.condensation import MethodConfig
from datacondense.condensation.methods import METHODS, method_name
from datacondense.data.catalogue import default_augmentation, may_be_mirrored
from datacondense.errors import InputError
from datacondense.networks.names import canonical_name, evaluation_name, parse_name
from datacondense.studies import published
from datacondense.studies.arms import is_comparable, refuse_unused
from datacondense.studies.chosen import Selection
from datacondense.studies.config import parse_override
from datacondense.studies.factory import CellFactory, Declaration, Source
from datacondense.studies.study import Entry, Published, Study

_LEARNED_ONLY = "forgetting-learned"  # forgetting among the images that the network ever got right
_SELECTIONS = ("random", "herding", "k-center", "forgetting", _LEARNED_ONLY)
COMPARED = (*_SELECTIONS, *METHODS)
_USUAL = (*_SELECTIONS[:-1], "gradient-matching")  # rows of the published table
_IPCS = ("1", "10", "50")

_OWN_STEPS = published.OWN_STEPS
_FIXED = f"{_OWN_STEPS}, fixed network"
_TABLE_3 = (_OWN_STEPS, _FIXED, "dataset-distillation", "gradient-matching")
_NETWORKS = {"mnist": "lenet", "cifar10": "alexcifarnet"}  # of the published table

# What the user says of gradient matching holds for all methods where it means the same.
_SHARED = ("network", "precision", "engine")
_SHARED_BATCH = ("siamese-matching", "distribution-matching")


def comparison(cells: CellFactory) -> Study:
    """Compare methods at some numbers of images per class (paper, Table 1), all scored by one protocol.

    Args:
        cells: Makes the cells.

    Returns:
        The study.
    """
    refuse_unused(cells, "networks", "kept")
    rows = cells.config.rows or _USUAL
    _refuse_overrides(cells, rows)
    network = evaluation_name(cells.config.method.network)
    columns = _columns(cells, _IPCS)
    return Study(
        name="comparison",
        title=f"What is a condensed set worth against what one would do instead, on {network}?",
        rows=rows,
        columns=columns,
        row_axis="method",
        column_axis="images per class",
        entries={
            (row, column): cells.scored(_source(cells, row, int(column)), network=network)
            for row in rows
            for column in columns
        },
        published=_published(cells, rows, columns),
        source=published.COMPARISON_SOURCE,
        # Curves through one number of images would be points on top of each other.
        drawing="curves" if len(columns) > 1 else "heat map",
        whole=cells.whole(),
        ratios=_ratios(cells, columns),
    )


def distillation(cells: CellFactory) -> Study:
    """Compare Dataset Distillation with gradient matching (paper, Table 3): accuracy, time and memory.

    Args:
        cells: Makes the cells.

    Returns:
        The study.
    """
    refuse_unused(cells, "networks", "kept")
    _refuse_overrides(cells, _TABLE_3)
    network = cells.config.method.network
    if network == "convnet":
        network = _NETWORKS.get(cells.data.name, network)
    columns = _columns(cells, _IPCS[:2])
    sources: Mapping[str, Callable[[int], Source]] = {
        _OWN_STEPS: lambda ipc: _learned(cells, "dataset-distillation", ipc, network=network),
        _FIXED: lambda ipc: _learned(cells, "dataset-distillation", ipc, network=network, fixed_network=True),
        "dataset-distillation": lambda ipc: _learned(cells, "dataset-distillation", ipc, network=network),
        "gradient-matching": lambda ipc: _learned(cells, "gradient-matching", ipc, network=network),
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
            (row, column): cells.scored(
                source(int(column)), network=evaluation_name(network), **own.get(row, {})
            )
            for row, source in sources.items()
            for column in columns
        },
        published=_published_distillation(cells, network, columns),
        source=f"{published.PAPER}, Table 3",
        ratios=_ratios(cells, columns),
    )


COMPARISONS: Mapping[str, Declaration] = {"comparison": comparison, "distillation": distillation}


def _columns(cells: CellFactory, usual: Sequence[str]) -> tuple[str, ...]:
    """Give the numbers of images per class in rising order."""
    return tuple(str(number) for number in sorted(set(cells.config.ipcs))) or tuple(usual)


def _source(cells: CellFactory, row: str, ipc: int) -> Source:
    """Give the sets of a method."""
    if row == "random":
        return cells.random(ipc)
    if row in METHODS:
        return _learned(cells, row, ipc)
    if row == "forgetting":
        return cells.forgotten(ipc)
    if row == _LEARNED_ONLY:
        return cells.forgotten(ipc, "last")
    if row in get_args(Selection):
        return cells.chosen(cast(Selection, row), ipc)
    raise InputError(f"There is no method {row!r} to compare: choose from {', '.join(COMPARED)}.")


def _learned(cells: CellFactory, method: str, ipc: int, **changes: Any) -> Source:
    """Give the sets that a method learns, with the settings that all share and those that the user gave for it."""
    config, given = METHODS[method], cells.config.method
    shared = {name: getattr(given, name) for name in _SHARED}
    if method in _SHARED_BATCH:
        shared["real_batch"] = given.real_batch
    base: MethodConfig = given if method == "gradient-matching" else config(**shared)
    own = {
        name: value
        for of, name, value in map(parse_override, cells.config.override)
        if method_name(of) == method
    }
    return cells.condensed(method=base, **{"ipc": ipc, **changes, **own})


def _refuse_overrides(cells: CellFactory, rows: Sequence[str]) -> None:
    """Refuse settings of methods that are not compared, and those that are the table's own."""
    for text in cells.config.override:
        of, setting, _ = parse_override(text)
        method = method_name(of)
        if setting == "ipc":
            raise InputError(
                f"override is {text!r}, but images per class are the columns of the table: give --ipcs."
            )
        if method not in rows:
            raise InputError(
                f"override is {text!r}, but {method} is not compared here: leave it out, or compare {method} too."
            )


def _ratios(cells: CellFactory, columns: Sequence[str]) -> dict[str, float]:
    """Give the share of the training images that a set holds, in percent."""
    train = cells.data.read().train
    return {column: 100 * int(column) * train.num_classes / len(train) for column in columns}


def _published(cells: CellFactory, rows: Sequence[str], columns: Sequence[str]) -> dict[Entry, Published]:
    """Give what was printed for these methods, where the protocol is the printed one."""
    printed, protocol = published.COMPARISON.get(cells.data.name), _printed_protocol(cells)
    network = canonical_name(parse_name(cells.config.method.network))
    if printed is None or protocol is None or network != "convnet":
        return {}
    names = published.SIAMESE_ROWS if protocol == "dsa" else published.PLAIN_ROWS
    found = published.published_entries(printed[protocol], names, _IPCS)
    return {
        place: value
        for place, value in found.items()
        if place[0] in rows and place[1] in columns and value.mean
    }


def _printed_protocol(cells: CellFactory) -> str | None:
    """Name the printed numbers that go with the protocol; later methods were scored under their own augmentation."""
    mirrored, usual = may_be_mirrored(cells.data.name), default_augmentation(cells.data.name)
    used = settled_strategy(cells.config.augmentation or usual, mirrored=mirrored)
    protocols = {settled_strategy("dsa", mirrored=mirrored): "dsa", usual: "plain"}
    return protocols.get(used) if is_comparable(cells) else None


def _published_distillation(
    cells: CellFactory, network: str, columns: Sequence[str]
) -> dict[Entry, Published]:
    """Give Table 3, for its networks."""
    printed = published.DISTILLATION.get(cells.data.name)
    if printed is None or network != _NETWORKS[cells.data.name] or _printed_protocol(cells) != "plain":
        return {}
    return {place: value for place, value in printed.items() if place[1] in columns}
