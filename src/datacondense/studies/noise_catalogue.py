"""Studies of noise-aware matching: the effect of matching only part of the gradient.

Every variant is paired with plain matching: same initial images, networks and real batches, same networks trained on
the sets. A transform changes the size of the pixel gradient, so variants should search their learning rates
(`image_lrs`).
"""

from collections.abc import Mapping
from typing import Any

from datacondense.studies.factory import Declaration, TaskFactory
from datacondense.studies.study import Study
from datacondense.studies.variants import condensed_with, listed_networks, refuse_unused

_PLAIN = "plain"
_REPRESENTATIVES = {
    f"{pooling} {size}×{size}": f"{pooling}-pool-{size}"
    for size in (1, 2)
    for pooling in ("mean", "max", "abs-max")
}
_NOISE_AWARE: Mapping[str, Mapping[str, Any]] = {
    "iterate averaging": {"iterate_averaging": True},
    "class-collective": {"class_collective": True},
    "class-collective, iterate averaging": {"class_collective": True, "iterate_averaging": True},
}
_MASKS = {"largest": "keep-magnitude", "most stable": "keep-stable"}
_FULL = "100"
_KEPT = (50, 25, 10, 5, 1, 0.25)  # percent


def teacher(tasks: TaskFactory) -> Study:
    """Condense with each network, and train ConvNet and the network itself on the set.

    Args:
        tasks: The task factory.

    Returns:
        The study.
    """
    refuse_unused(tasks, "ipcs", "kept")
    networks = listed_networks(tasks)
    sets = {label: tasks.condensed(network=condensed_with(name)) for label, name in networks.items()}
    return Study(
        name="teacher",
        title="Which network condenses the best sets?",
        rows=tuple(networks),
        columns=("ConvNet", "itself"),
        row_axis="condensed with",
        column_axis="trained with",
        entries={
            (row, column): tasks.scored(sets[row], network=trained)
            for row, name in networks.items()
            for column, trained in (("ConvNet", "convnet"), ("itself", name))
        },
    )


def representatives(tasks: TaskFactory) -> Study:
    """Match one or four values of each convolution kernel's gradient, on each network with such kernels.

    Args:
        tasks: The task factory.

    Returns:
        The study.
    """
    refuse_unused(tasks, "ipcs", "kept")
    networks = listed_networks(tasks)
    if not tasks.config.networks:
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
            (row, label): tasks.scored(
                tasks.condensed(network=condensed_with(name), transform=transform), network=name
            )
            for row, transform in transforms.items()
            for label, name in networks.items()
        },
        plot="differences",
        paired={(row, label): (_PLAIN, label) for row in _REPRESENTATIVES for label in networks},
    )


def masks(tasks: TaskFactory) -> Study:
    """Match a fraction of the gradient's entries, from all of them down to one in 400.

    Args:
        tasks: The task factory.

    Returns:
        The study.
    """
    refuse_unused(tasks, "networks", "ipcs")
    kept = sorted(set(tasks.config.kept or _KEPT), reverse=True)
    columns = (_FULL, *(f"{percent:g}" for percent in kept))

    def transform(mask: str, percent: str) -> tuple[str, ...]:
        return () if percent == _FULL else (f"{mask}:{float(percent) / 100:g}",)

    return Study(
        name="masks",
        title="How much of the gradient is needed?",
        rows=tuple(_MASKS),
        columns=columns,
        row_axis="kept entries",
        column_axis="percent of the entries",
        entries={
            (row, percent): tasks.scored(tasks.condensed(transform=transform(mask, percent)))
            for row, mask in _MASKS.items()
            for percent in columns
        },
        plot="curves",
        paired={(row, percent): (row, _FULL) for row in _MASKS for percent in columns[1:]},
    )


def noise_aware(tasks: TaskFactory) -> Study:
    """Match less of what is specific to single networks, at as many iterations and as many seconds as plain matching.

    Args:
        tasks: The task factory.

    Returns:
        The study.
    """
    refuse_unused(tasks, "networks", "ipcs", "kept")
    plain = tasks.condensed()
    counted = {_PLAIN: plain, **{row: tasks.condensed(**changes) for row, changes in _NOISE_AWARE.items()}}
    timed = {
        _PLAIN: plain,
        **{row: tasks.condensed(time_budget_from=plain, **changes) for row, changes in _NOISE_AWARE.items()},
    }
    columns = {"equal iterations": counted, "equal seconds": timed}
    return Study(
        name="noise-aware",
        title="Does matching gain from leaving out what is specific to single networks?",
        rows=tuple(counted),
        columns=tuple(columns),
        row_axis="matching",
        column_axis="compared at",
        entries={
            (row, column): tasks.scored(source)
            for column, sources in columns.items()
            for row, source in sources.items()
        },
        plot="differences",
        paired={(row, column): (_PLAIN, column) for row in _NOISE_AWARE for column in columns},
    )


NOISE_STUDIES: Mapping[str, Declaration] = {
    "teacher": teacher,
    "representatives": representatives,
    "masks": masks,
    "noise-aware": noise_aware,
}
