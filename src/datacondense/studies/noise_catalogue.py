"""Studies of noise-aware matching: what becomes of a set when only a part of the gradient is matched.

Every arm is paired with plain matching: same starts, networks and real batches, same networks trained on the sets. A
transform changes the size of the pixel gradient, so arms should choose their learning rates (`image_lrs`).
"""

from collections.abc import Mapping
from typing import Any

from datacondense.studies.arms import chosen_networks, condensed_with, refuse_unused
from datacondense.studies.factory import CellFactory, Declaration
from datacondense.studies.study import Study

_PLAIN = "plain"
_REPRESENTATIVES = {
    f"{pooling} {size}×{size}": f"{pooling}-pool-{size}"
    for size in (1, 2)
    for pooling in ("mean", "max", "abs-max")
}
_NOISE_AWARE: Mapping[str, Mapping[str, Any]] = {
    "images averaged": {"average_images": True},
    "classes joined": {"join_classes": True},
    "classes joined, images averaged": {"join_classes": True, "average_images": True},
}
_MASKS = {"largest": "keep-magnitude", "most stable": "keep-stable"}
_WHOLE = "100"
_KEPT = (50, 25, 10, 5, 1, 0.25)  # percent


def teacher(cells: CellFactory) -> Study:
    """Condense with each network, and train ConvNet and the network itself on the set.

    Args:
        cells: Makes the cells.

    Returns:
        The study.
    """
    refuse_unused(cells, "ipcs", "kept")
    networks = chosen_networks(cells)
    sets = {label: cells.condensed(network=condensed_with(name)) for label, name in networks.items()}
    return Study(
        name="teacher",
        title="Which network condenses the best sets?",
        rows=tuple(networks),
        columns=("ConvNet", "itself"),
        row_axis="condensed with",
        column_axis="trained with",
        entries={
            (row, column): cells.scored(sets[row], network=trained)
            for row, name in networks.items()
            for column, trained in (("ConvNet", "convnet"), ("itself", name))
        },
    )


def representatives(cells: CellFactory) -> Study:
    """Match one or four values of each convolution kernel's gradient, on each network that has such kernels.

    Args:
        cells: Makes the cells.

    Returns:
        The study.
    """
    refuse_unused(cells, "ipcs", "kept")
    networks = chosen_networks(cells)
    if not cells.config.networks:
        networks = {label: name for label, name in networks.items() if name != "mlp"}  # which has no kernels
    transforms: dict[str, tuple[str, ...]] = {
        _PLAIN: (),
        **{row: (name,) for row, name in _REPRESENTATIVES.items()},
    }
    return Study(
        name="representatives",
        title="Is it enough to match the maximum or the mean of each kernel's gradient?",
        rows=tuple(transforms),
        columns=tuple(networks),
        row_axis="what is matched",
        column_axis="condensed and trained with",
        entries={
            (row, label): cells.scored(
                cells.condensed(network=condensed_with(name), transform=transform), network=name
            )
            for row, transform in transforms.items()
            for label, name in networks.items()
        },
        drawing="differences",
        paired={(row, label): (_PLAIN, label) for row in _REPRESENTATIVES for label in networks},
    )


def masks(cells: CellFactory) -> Study:
    """Match a fraction of the gradient's entries, from all of them to one in 400.

    Args:
        cells: Makes the cells.

    Returns:
        The study.
    """
    refuse_unused(cells, "networks", "ipcs")
    kept = sorted(set(cells.config.kept or _KEPT), reverse=True)
    columns = (_WHOLE, *(f"{percent:g}" for percent in kept))

    def transform(mask: str, percent: str) -> tuple[str, ...]:
        return () if percent == _WHOLE else (f"{mask}:{float(percent) / 100:g}",)

    return Study(
        name="masks",
        title="How much of the gradient is needed?",
        rows=tuple(_MASKS),
        columns=columns,
        row_axis="entries that are kept",
        column_axis="percent of the entries",
        entries={
            (row, percent): cells.scored(cells.condensed(transform=transform(mask, percent)))
            for row, mask in _MASKS.items()
            for percent in columns
        },
        drawing="curves",
        paired={(row, percent): (row, _WHOLE) for row in _MASKS for percent in columns[1:]},
    )


def noise_aware(cells: CellFactory) -> Study:
    """Match with less of what belongs to single networks, for as many draws and for as many seconds as plain matching.

    Args:
        cells: Makes the cells.

    Returns:
        The study.
    """
    refuse_unused(cells, "networks", "ipcs", "kept")
    plain = cells.condensed()
    drawn = {_PLAIN: plain, **{row: cells.condensed(**changes) for row, changes in _NOISE_AWARE.items()}}
    timed = {
        _PLAIN: plain,
        **{row: cells.condensed(as_long_as=plain, **changes) for row, changes in _NOISE_AWARE.items()},
    }
    columns = {"equal draws": drawn, "equal seconds": timed}
    return Study(
        name="noise-aware",
        title="Does matching gain where it leaves out what belongs to single networks?",
        rows=tuple(drawn),
        columns=tuple(columns),
        row_axis="matching",
        column_axis="compared at",
        entries={
            (row, column): cells.scored(source)
            for column, sources in columns.items()
            for row, source in sources.items()
        },
        drawing="differences",
        paired={(row, column): (_PLAIN, column) for row in _NOISE_AWARE for column in columns},
    )


NOISE_STUDIES: Mapping[str, Declaration] = {
    "teacher": teacher,
    "representatives": representatives,
    "masks": masks,
    "noise-aware": noise_aware,
}
