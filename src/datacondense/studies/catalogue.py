"""The built-in studies: each a function from a task factory to a declaration."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from datacondense.networks.names import canonical_name, evaluation_name, parse_name, varied
from datacondense.studies import published
from datacondense.studies.comparison_catalogue import COMPARISONS
from datacondense.studies.factory import Declaration, Source, TaskFactory, grid
from datacondense.studies.noise_catalogue import NOISE_STUDIES
from datacondense.studies.study import Claim, Entry, Published, Study
from datacondense.studies.variants import condensed_with, is_comparable, listed_networks, refuse_unused

_DISTANCES = ("layerwise-cosine", "flat-cosine", "squared")


def cross_architecture(tasks: TaskFactory) -> Study:
    """Condense with each network and train each on it (paper, Table 2).

    Args:
        tasks: The task factory.

    Returns:
        The study.
    """
    refuse_unused(tasks, "ipcs", "kept")
    networks = listed_networks(tasks)
    return Study(
        name="cross-architecture",
        title="How well does a set condensed with one network train another?",
        rows=tuple(networks),
        columns=tuple(networks),
        row_axis="condensed with",
        column_axis="trained with",
        entries=grid(
            tasks,
            rows={label: tasks.condensed(network=condensed_with(name)) for label, name in networks.items()},
            columns={label: {"network": name} for label, name in networks.items()},
        ),
        published=_published(
            tasks, published.CROSS_ARCHITECTURE, published.NETWORKS, kept=(tuple(networks), tuple(networks))
        ),
        source=f"{published.PAPER}, Table 2",
    )


def activation(tasks: TaskFactory) -> Study:
    """Condense and train with each activation (paper, appendix).

    Args:
        tasks: The task factory.

    Returns:
        The study.
    """
    values = {"sigmoid": "sigmoid", "ReLU": "relu", "leaky ReLU": "leaky"}
    return _factor(
        tasks,
        "activation",
        values,
        published.ACTIVATION,
        [*_ordering("leaky ReLU", "ReLU", values, strict=False), *_ordering("ReLU", "sigmoid", values)],
    )


def pooling(tasks: TaskFactory) -> Study:
    """Condense and train with each pooling (paper, appendix).

    Args:
        tasks: The task factory.

    Returns:
        The study.
    """
    values = {"none": "none", "max": "max", "average": "average"}
    claims = [*_ordering("average", "max", values), *_ordering("max", "none", values)]
    return _factor(tasks, "pooling", values, published.POOLING, claims)


def norm(tasks: TaskFactory) -> Study:
    """Condense and train with each normalisation, batch normalisation among them (paper, appendix).

    Args:
        tasks: The task factory.

    Returns:
        The study.
    """
    values = {name: name for name in ("none", "batch", "layer", "instance", "group")}
    # Only to train with: sets condensed with it train networks of other norms worse, in the paper too.
    claims = [
        claim
        for other in values
        if other != "instance"
        for claim in _ordering("instance", other, values, condensing=False)
    ]
    return _factor(tasks, "norm", values, published.NORM, claims)


def depth(tasks: TaskFactory) -> Study:
    """Condense and train with one to four blocks (paper, appendix).

    Args:
        tasks: The task factory.

    Returns:
        The study.
    """
    return _factor(tasks, "depth", {str(blocks): blocks for blocks in (1, 2, 3, 4)}, published.DEPTH, [])


def width(tasks: TaskFactory) -> Study:
    """Condense and train with 32 to 256 channels (paper, appendix).

    Args:
        tasks: The task factory.

    Returns:
        The study.
    """
    return _factor(
        tasks, "width", {str(channels): channels for channels in (32, 64, 128, 256)}, published.WIDTH, []
    )


def distance(tasks: TaskFactory) -> Study:
    """Condense with each distance on each network, and train that network on the set (paper, appendix).

    Args:
        tasks: The task factory.

    Returns:
        The study.
    """
    refuse_unused(tasks, "ipcs", "kept")
    networks = listed_networks(tasks)
    ours, *others = _DISTANCES
    return Study(
        name="distance",
        title="Which distance between gradients condenses best?",
        rows=_DISTANCES,
        columns=tuple(networks),
        row_axis="distance",
        column_axis="condensed and trained with",
        entries={
            (row, label): tasks.scored(
                tasks.condensed(network=condensed_with(name), distance=row), network=name
            )
            for row in _DISTANCES
            for label, name in networks.items()
        },
        published=_published(
            tasks, published.DISTANCE, _DISTANCES, published.NETWORKS, kept=(_DISTANCES, tuple(networks))
        ),
        source=published.APPENDIX,
        claims=tuple(
            _squared_wins(label)
            if other == "squared" and name == "convnet"
            else Claim(text=f"{ours} > {other} on {label}", better=((ours, label),), worse=((other, label),))
            for other in others
            for label, name in networks.items()
        ),
    )


def ipc(tasks: TaskFactory) -> Study:
    """Condense to several numbers of images per class, beside selected real images (paper, Figure 3).

    Args:
        tasks: The task factory.

    Returns:
        The study.
    """
    columns = tuple(str(number) for number in sorted(set(tasks.config.ipcs))) or published.IPCS
    rows: Mapping[str, Callable[[int], Source]] = {
        "gradient matching": lambda number: tasks.condensed(ipc=number),
        "herding": lambda number: tasks.selected("herding", number),
        "random": tasks.random,
    }
    refuse_unused(tasks, "networks", "kept")
    printed = published.IPC.get(tasks.data.name) if is_comparable(tasks) and _is_default(tasks) else None
    return Study(
        name="ipc",
        title="How does accuracy grow with the number of images per class?",
        rows=tuple(rows),
        columns=columns,
        row_axis="method",
        column_axis="images per class",
        entries={
            (row, column): tasks.scored(
                source(int(column)), network=evaluation_name(tasks.config.method.network)
            )
            for row, source in rows.items()
            for column in columns
        },
        published={}
        if printed is None
        else {
            entry: value
            for entry, value in published.published_entries(printed, tuple(rows)[:2], published.IPCS).items()
            if entry[1] in columns
        },
        source=f"{published.PAPER}, Figure 3, read off the figure",
        plot="curves",
        full=tasks.full(),
    )


STUDIES: Mapping[str, Declaration] = {
    "cross-architecture": cross_architecture,
    "ipc": ipc,
    "activation": activation,
    "pooling": pooling,
    "norm": norm,
    "depth": depth,
    "width": width,
    "distance": distance,
    **NOISE_STUDIES,
    **COMPARISONS,
}


def _factor(
    tasks: TaskFactory, factor: str, values: Mapping[str, Any], table: str, claims: Sequence[Claim]
) -> Study:
    """Declare the study of one factor of the network, condensed with and trained with each value."""
    refuse_unused(tasks, "networks", "ipcs", "kept")
    base = tasks.config.method.network
    networks = {label: varied(base, **{factor: value}) for label, value in values.items()}
    return Study(
        name=factor,
        title=f"Which {factor} condenses best, and which trains best?",
        rows=tuple(values),
        columns=tuple(values),
        row_axis="condensed with",
        column_axis="trained with",
        entries=grid(
            tasks,
            rows={label: tasks.condensed(network=name) for label, name in networks.items()},
            columns={label: {"network": name} for label, name in networks.items()},
        ),
        published=_published(tasks, table, tuple(values))
        if canonical_name(parse_name(base)) == "convnet"
        else {},
        source=published.APPENDIX,
        claims=tuple(claims),
    )


def _ordering(
    better: str, worse: str, values: Mapping[str, Any], *, strict: bool = True, condensing: bool = True
) -> list[Claim]:
    """Return claims of an ordering for both, for condensing (where one was published), and for training."""
    text = f"{better} {'>' if strict else '≥'} {worse}"

    def claim(way: str, entries: Callable[[str], tuple[Entry, ...]]) -> Claim:
        return Claim(text=f"{text}, {way}", better=entries(better), worse=entries(worse), strict=strict)

    both = claim("condensed and trained with", lambda value: ((value, value),))
    row = claim("condensed with (mean over columns)", lambda value: tuple((value, other) for other in values))
    column = claim("trained with (mean over rows)", lambda value: tuple((other, value) for other in values))
    return [both, row, column] if condensing else [both, column]


def _squared_wins(label: str) -> Claim:
    """Return the claim for the one network on which another distance wins in the paper."""
    ours = _DISTANCES[0]
    return Claim(text=f"squared > {ours} on {label}", better=(("squared", label),), worse=((ours, label),))


def _published(
    tasks: TaskFactory,
    table: str,
    rows: Sequence[str],
    columns: Sequence[str] | None = None,
    *,
    kept: tuple[Sequence[str], Sequence[str]] | None = None,
) -> Mapping[Entry, Published]:
    """Return the published numbers of the rows and columns that are kept, for MNIST at one image per class."""
    if tasks.data.name != "mnist" or tasks.config.method.ipc != 1 or not is_comparable(tasks):
        return {}
    kept_rows, kept_columns = kept or (rows, columns or rows)
    return {
        (row, column): value
        for (row, column), value in published.published_entries(table, rows, columns or rows).items()
        if row in kept_rows and column in kept_columns
    }


def _is_default(tasks: TaskFactory) -> bool:
    """Return whether the base network is the published one."""
    return canonical_name(parse_name(tasks.config.method.network)) == "convnet"
