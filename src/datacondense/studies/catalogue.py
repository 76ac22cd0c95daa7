"""The built-in studies: each a function from a task factory to a declaration."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from datacondense.errors import InputError
from datacondense.networks.names import canonical_name, evaluation_name, parse_name, varied
from datacondense.studies.comparison_catalogue import COMPARISONS
from datacondense.studies.factory import Declaration, Source, TaskFactory, grid
from datacondense.studies.published import TITLES, orderings, published_table
from datacondense.studies.study import Study
from datacondense.studies.user_file import read_declaration
from datacondense.studies.variants import is_comparable, listed_networks, refuse_unused, subject

# Networks to condense with where the plain one condenses poorly (Zhao et al. 2021, Table 2): batch normalisation for
# the deep ones, and no strided convolutions.
_CONDENSED_WITH = {"vgg11": "vgg11-bn", "resnet18": "resnet18-bn-ap"}
_FACTORS: Mapping[str, Mapping[str, Any]] = {
    "activation": {"sigmoid": "sigmoid", "ReLU": "relu", "leaky ReLU": "leaky"},
    "pooling": {"none": "none", "max": "max", "average": "average"},
    "norm": {name: name for name in ("none", "batch", "layer", "instance", "group")},
    "depth": {str(blocks): blocks for blocks in (1, 2, 3, 4)},
    "width": {str(channels): channels for channels in (32, 64, 128, 256)},
}
_DISTANCES = ("layerwise-cosine", "flat-cosine", "squared")
_IPCS = ("1", "10", "20", "30", "40", "50")

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
_ALL = "100"
_KEPT = (50, 25, 10, 5, 1, 0.25)  # percent


def cross_architecture(tasks: TaskFactory) -> Study:
    """Condense with each network and train each on it (paper, Table 2)."""
    refuse_unused(tasks, "ipcs", "kept")
    networks = listed_networks(tasks)
    printed, source = _printed(tasks, "cross-architecture")
    entries = grid(
        tasks,
        rows={label: tasks.condensed(network=_condensing(name)) for label, name in networks.items()},
        columns={label: {"network": name} for label, name in networks.items()},
    )
    return Study(
        name="cross-architecture",
        title=TITLES["cross-architecture"],
        subject=subject(tasks),
        rows=tuple(networks),
        columns=tuple(networks),
        row_axis="condensed with",
        column_axis="trained with",
        entries=entries,
        published={entry: value for entry, value in printed.items() if entry in entries},
        source=source,
    )


def ipc(tasks: TaskFactory) -> Study:
    """Condense to several numbers of images per class, beside selected real images (paper, Figure 3)."""
    refuse_unused(tasks, "networks", "kept")
    columns = tuple(str(number) for number in sorted(set(tasks.config.ipcs))) or _IPCS
    rows: Mapping[str, Callable[[int], Source]] = {
        "gradient matching": lambda number: tasks.condensed(ipc=number),
        "herding": lambda number: tasks.selected("herding", number),
        "random": lambda number: tasks.selected("random", number),
    }
    network = tasks.config.method.network
    comparable = is_comparable(tasks) and canonical_name(parse_name(network)) == "convnet"
    printed, origin = published_table("ipc", tasks.data.name) if comparable else ({}, "")
    return Study(
        name="ipc",
        title=TITLES["ipc"],
        subject=subject(tasks, network),
        rows=tuple(rows),
        columns=columns,
        row_axis="method",
        column_axis="images per class",
        entries={
            (row, column): tasks.scored(source(int(column)), network=evaluation_name(network))
            for row, source in rows.items()
            for column in columns
        },
        published={entry: value for entry, value in printed.items() if entry[1] in columns},
        source=origin,
        plot="curves",
        full=tasks.full(),
    )


def distance(tasks: TaskFactory) -> Study:
    """Condense with each distance on each network, and train that network on the set (paper, appendix)."""
    return _by_network(tasks, "distance", {row: {"distance": row} for row in _DISTANCES}, "distance")


def representatives(tasks: TaskFactory) -> Study:
    """Match one or four values of each convolution kernel's gradient, on each network with such kernels."""
    transforms: dict[str, tuple[str, ...]] = {
        _PLAIN: (),
        **{row: (to,) for row, to in _REPRESENTATIVES.items()},
    }
    rows = {row: {"transform": transform} for row, transform in transforms.items()}
    return _by_network(tasks, "representatives", rows, "what is matched", paired=True)


def teacher(tasks: TaskFactory) -> Study:
    """Condense with each network, and train ConvNet and the network itself on the set."""
    refuse_unused(tasks, "ipcs", "kept")
    networks = listed_networks(tasks)
    sets = {label: tasks.condensed(network=_condensing(name)) for label, name in networks.items()}
    return Study(
        name="teacher",
        title=TITLES["teacher"],
        subject=subject(tasks),
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


def masks(tasks: TaskFactory) -> Study:
    """Match a fraction of the gradient's entries, from all of them down to one in 400."""
    refuse_unused(tasks, "networks", "ipcs")
    kept = sorted(set(tasks.config.kept or _KEPT), reverse=True)
    columns = (_ALL, *(f"{percent:g}" for percent in kept))

    def transform(mask: str, percent: str) -> tuple[str, ...]:
        return () if percent == _ALL else (f"{mask}:{float(percent) / 100:g}",)

    return Study(
        name="masks",
        title=TITLES["masks"],
        subject=subject(tasks, tasks.config.method.network),
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
        paired={(row, percent): (row, _ALL) for row in _MASKS for percent in columns[1:]},
    )


def noise_aware(tasks: TaskFactory) -> Study:
    """Match less of what is specific to single networks, at as many iterations or seconds as plain matching."""
    refuse_unused(tasks, "networks", "ipcs", "kept")
    plain = tasks.condensed()
    columns = {
        "equal iterations": {row: tasks.condensed(**changes) for row, changes in _NOISE_AWARE.items()},
        "equal seconds": {
            row: tasks.condensed(time_budget_from=plain, **changes) for row, changes in _NOISE_AWARE.items()
        },
    }
    return Study(
        name="noise-aware",
        title=TITLES["noise-aware"],
        subject=subject(tasks, tasks.config.method.network),
        rows=(_PLAIN, *_NOISE_AWARE),
        columns=tuple(columns),
        row_axis="matching",
        column_axis="compared at",
        entries={
            (row, column): tasks.scored(source)
            for column, sources in columns.items()
            for row, source in {_PLAIN: plain, **sources}.items()
        },
        plot="differences",
        paired={(row, column): (_PLAIN, column) for row in _NOISE_AWARE for column in columns},
    )


def _factor(factor: str) -> Declaration:
    """Return the study of one factor of the network, condensed with and trained with each value (paper, appendix)."""

    def declare(tasks: TaskFactory) -> Study:
        refuse_unused(tasks, "networks", "ipcs", "kept")
        base, values = tasks.config.method.network, _FACTORS[factor]
        networks = {label: varied(base, **{factor: value}) for label, value in values.items()}
        return Study(
            name=factor,
            title=TITLES[factor],
            subject=subject(tasks, base),
            rows=tuple(values),
            columns=tuple(values),
            row_axis="condensed with",
            column_axis="trained with",
            entries=grid(
                tasks,
                rows={label: tasks.condensed(network=name) for label, name in networks.items()},
                columns={label: {"network": name} for label, name in networks.items()},
            ),
            claims=orderings(factor, tuple(values)),
        )

    return declare


def _by_network(
    tasks: TaskFactory,
    name: str,
    rows: Mapping[str, Mapping[str, Any]],
    row_axis: str,
    *,
    paired: bool = False,
) -> Study:
    """Return a study of settings of matching, on each network: condensed with it, and trained with it."""
    refuse_unused(tasks, "ipcs", "kept")
    networks = listed_networks(tasks)
    if paired and not tasks.config.networks:
        networks.pop("MLP")  # which has no kernels
    return Study(
        name=name,
        title=TITLES[name],
        subject=subject(tasks),
        rows=tuple(rows),
        columns=tuple(networks),
        row_axis=row_axis,
        column_axis="condensed and trained with",
        entries={
            (row, label): tasks.scored(
                tasks.condensed(network=_condensing(network), **changes), network=network
            )
            for row, changes in rows.items()
            for label, network in networks.items()
        },
        plot="differences" if paired else "heat map",
        paired={(row, label): (_PLAIN, label) for row in [*rows][1:] for label in networks} if paired else {},
    )


STUDIES: Mapping[str, Declaration] = {
    "cross-architecture": cross_architecture,
    "ipc": ipc,
    **{factor: _factor(factor) for factor in _FACTORS},
    "distance": distance,
    "teacher": teacher,
    "representatives": representatives,
    "masks": masks,
    "noise-aware": noise_aware,
    **COMPARISONS,
}


def find_study(name: str, *, trust_code: bool = False) -> Declaration:
    """Return a study by its name or its file.

    Args:
        name: A name such as "activation", or a path to a .toml file, or to a .py file, which is executed.
        trust_code: Whether a .toml file may name code of one's own, as "package.module:name", to be imported.

    Returns:
        The declaration.

    Raises:
        InputError: There is none, or it names code that is not trusted.
    """
    if name in STUDIES:
        return STUDIES[name]
    if name.endswith((".toml", ".py")):
        return read_declaration(Path(name), trust_code=trust_code)
    raise InputError(
        f"There is no study {name!r}: choose one of {', '.join(STUDIES)}, or give your own as a .toml or .py file."
    )


def _condensing(network: str) -> str:
    """Return the network to condense with for training a network on the set."""
    return _CONDENSED_WITH.get(network, network)


def _printed(tasks: TaskFactory, study: str) -> tuple[Mapping[Any, Any], str]:
    """Return the published numbers of a study at one image per class, if they are comparable."""
    comparable = tasks.config.method.ipc == 1 and is_comparable(tasks)
    return published_table(study, tasks.data.name) if comparable else ({}, "")
