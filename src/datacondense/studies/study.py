"""What a study declares: cells in a table of rows and columns, what was published, and which orderings to look for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import ceil
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, get_args, get_origin

from datacondense.condensation import GradientMatchingConfig
from datacondense.errors import InputError
from datacondense.evaluation import EvaluationConfig
from datacondense.matching.names import Precision
from datacondense.networks.fused import has_bfloat16
from datacondense.networks.names import canonical_name, parse_name
from datacondense.studies.cell import Cell
from datacondense.studies.cells import CondenseCell, EvaluateCell, RandomCell, SetCell
from datacondense.studies.chosen import ChosenCell, FeaturesCell, Selection
from datacondense.studies.config import StudyConfig
from datacondense.studies.data_source import DataSource
from datacondense.studies.whole import WholeCell

Entry: TypeAlias = tuple[str, str]  # labels of a row and a column
Source: TypeAlias = Callable[[int], SetCell]  # from a seed to the cell that gives the set
Drawing: TypeAlias = Literal["heat map", "curves"]
Changes: TypeAlias = Mapping[str, Any]  # fields of a config that an arm sets otherwise


_OF_THE_STUDY = {"seed", "repeats"}  # of evaluation


class ScoreCell(Cell, Protocol):
    """A cell whose result has an "accuracy", 0 to 1, and the "environment" that it was computed in."""

    @property
    def recipe(self) -> EvaluationConfig:
        """The protocol; its seed tells which entries can be paired."""

    @property
    def repeat(self) -> int:
        """Number of the network."""


class Published(NamedTuple):
    """A published accuracy.

    Attributes:
        mean: In percent.
        std: In percent; None where none was given.
    """

    mean: float
    std: float | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published ordering, to be looked for in the results.

    Attributes:
        text: The ordering in words.
        better: The entries whose mean accuracy should be higher.
        worse: The entries whose mean accuracy should be lower; paired with `better` seed by seed, network by network.
        strict: Whether equality would contradict it.
    """

    text: str
    better: tuple[Entry, ...]
    worse: tuple[Entry, ...]
    strict: bool = True


@dataclass(frozen=True, kw_only=True)
class Study:
    """A table whose every entry is the mean over cells.

    Attributes:
        name: For commands and files.
        title: What it asks, in a line.
        rows: Labels of the rows.
        columns: Labels of the columns.
        row_axis: What the rows are.
        column_axis: What the columns are.
        entries: For each row and column, one cell per network, seed by seed. Entries may be left out.
        published: Accuracies to print beside ours.
        source: Where they were published.
        claims: Orderings to look for.
        drawing: "heat map", or "curves" with the columns, which are numbers, along the axis.
        whole: Cells that give the accuracy of the whole data set, for a second table relative to it.
    """

    name: str
    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_axis: str
    column_axis: str
    entries: Mapping[Entry, Sequence[ScoreCell]]
    published: Mapping[Entry, Published] = field(default_factory=dict)
    source: str = ""
    claims: tuple[Claim, ...] = ()
    drawing: Drawing = "heat map"
    whole: Sequence[ScoreCell] = ()

    def __post_init__(self) -> None:
        for axis, labels in ((self.row_axis, self.rows), (self.column_axis, self.columns)):
            twice = [label for label in labels if labels.count(label) > 1]
            if twice:
                raise InputError(f"{axis} has the label {twice[0]!r} twice: give each its own.")
        for place in self.entries:
            if place[0] not in self.rows or place[1] not in self.columns:
                raise InputError(f"The entry {place} lies in no row and column: declare both labels.")
        for claim in self.claims:
            for place in (*claim.better, *claim.worse):
                if self.entries and place not in self.entries:
                    raise InputError(
                        f"{claim.text!r} speaks of {place}, which is no entry: correct its labels."
                    )
        for place, cells in self.entries.items():
            pairs = [(cell.recipe.seed, cell.repeat) for cell in cells]
            if len(set(pairs)) < len(pairs):
                raise InputError(
                    f"The entry {place} has two networks of one seed and number: number them apart."
                )

    @property
    def cells(self) -> list[ScoreCell]:
        """All cells of the table, row by row, those of the whole data set last."""
        listed = [
            cell
            for row in self.rows
            for column in self.columns
            for cell in self.entries.get((row, column), ())
        ]
        return [*listed, *self.whole]


@dataclass(frozen=True, kw_only=True)
class CellFactory:
    """Makes the cells of one study: what its arms have in common is said here once.

    Attributes:
        data: The data set.
        config: What the user said.
    """

    data: DataSource
    config: StudyConfig

    def condensed(self, **changes: Any) -> Source:
        """Declare sets that are condensed with some settings of their own.

        Args:
            **changes: Fields of `GradientMatchingConfig`, or `draws`.

        Returns:
            For each seed the cell that learns the set.

        Raises:
            InputError: A field is unknown or a value breaks its rule.
        """
        draws = changes.pop("draws", None)
        if draws is not None and (not isinstance(draws, int) or draws < 1):
            raise InputError(f"draws is {draws!r}, but must be a whole number from 1.")
        method = _changed(self.config.method, changes)
        method = replace(method, network=canonical_name(parse_name(method.network))).resolved()
        assert method.image_lr is not None
        method = replace(
            method,
            image_lr=method.image_lr * self.config.image_lr_scale,
            precision=self._settled(method.precision),
        )
        draws = draws or self._draws(method)
        return lambda seed: CondenseCell(data=self.data, method=method, seed=seed, draws=draws)

    def scored(self, source: Source, **changes: Any) -> tuple[EvaluateCell, ...]:
        """Declare the scores of sets: `seeds` sets, `repeats` networks each.

        Two entries of a study are scored by the same networks where both train the same architecture.

        Args:
            source: The sets.
            **changes: Fields of `EvaluationConfig`.

        Returns:
            The cells, seed by seed.

        Raises:
            InputError: A field is unknown or a value breaks its rule.
        """
        for name in _OF_THE_STUDY & changes.keys():
            raise InputError(
                f"{name} is {changes[name]!r} in one arm, but entries are paired by it: give --seeds and --repeats for "
                "the whole study."
            )
        cells = []
        for seed in range(self.config.seeds):
            images = source(seed)
            recipe = _changed(self._protocol(seed), changes)
            if recipe.augmentation is None and _has_batch_norm(recipe.network):
                # With it, batches of a few images can be trained on; as published, on every data set.
                recipe = replace(recipe, augmentation="crop-noise")
            recipe = recipe.resolved(images.network, self.data.name)
            cells += [
                EvaluateCell(source=images, recipe=recipe, repeat=repeat)
                for repeat in range(self.config.repeats)
            ]
        return tuple(cells)

    def random(self, ipc: int) -> Source:
        """Declare sets of real images chosen at random.

        Args:
            ipc: Images per class.

        Returns:
            For each seed the cell that chooses.
        """
        return lambda seed: RandomCell(data=self.data, ipc=ipc, seed=seed)

    def chosen(self, method: Selection, ipc: int) -> Source:
        """Declare a set of real images chosen by the features of a network trained on the whole set.

        Args:
            method: "herding" or "k-center".
            ipc: Images per class.

        Returns:
            For each seed the same cell, since nothing is drawn.
        """
        cell = ChosenCell(method=method, ipc=ipc, features=FeaturesCell(trained=self.whole()[0]))
        return lambda seed: cell

    def whole(self) -> tuple[WholeCell, ...]:
        """Declare networks trained on the whole data set: the upper bound, and the source of features.

        Returns:
            `whole_networks` cells.
        """
        protocol = replace(self._protocol(0), epochs=self.config.whole_epochs)
        recipe = protocol.resolved(self.config.method.network, self.data.name)
        return tuple(
            WholeCell(data=self.data, recipe=recipe, repeat=repeat)
            for repeat in range(self.config.whole_networks)
        )

    @property
    def _precision(self) -> Precision:
        """One precision for all arms, fused or not, so that they do not differ in their arithmetic."""
        return self._settled(self.config.method.precision)

    @staticmethod
    def _settled(precision: Precision) -> Precision:
        """Settle "auto" by the processor alone."""
        if precision != "auto":
            return precision
        return "bfloat16" if has_bfloat16() else "float32"

    def _draws(self, method: GradientMatchingConfig) -> int:
        """Give the outer draws of an arm that does not set its own."""
        assert method.matching_steps is not None
        updates = self.config.image_updates
        return self.config.draws if updates is None else ceil(updates / method.matching_steps)

    def _protocol(self, seed: int) -> EvaluationConfig:
        """Give the protocol that all arms share; each set has networks of its own."""
        config = self.config
        return EvaluationConfig(
            epochs=config.epochs,
            augmentation=config.augmentation,
            seed=seed,
            precision=self._precision,
            engine=config.method.engine,
        )


Declaration: TypeAlias = Callable[[CellFactory], Study]


def grid(
    cells: CellFactory, *, rows: Mapping[str, Source], columns: Mapping[str, Changes]
) -> dict[Entry, tuple[EvaluateCell, ...]]:
    """Score every row's sets in every column's way.

    Args:
        cells: What the arms have in common.
        rows: For each label the sets.
        columns: For each label fields of `EvaluationConfig`.

    Returns:
        The entries of a study.
    """
    return {
        (row, column): cells.scored(source, **changes)
        for row, source in rows.items()
        for column, changes in columns.items()
    }


def _has_batch_norm(network: str | None) -> bool:
    """Tell whether a network that is asked for by name has batch normalisation."""
    return network is not None and getattr(parse_name(network), "norm", None) == "batch"


def _changed(config: Any, changes: Changes) -> Any:
    """Set fields of a config, and name those that it does not have or that cannot hold the value."""
    known = {known.name: known.type for known in fields(config)}
    for name, value in changes.items():
        if name not in known:
            raise InputError(
                f"There is no setting {name!r} of {type(config).__name__}: choose from {', '.join(known)}."
            )
        if not _fits(value, known[name]):
            raise InputError(f"{name} is {value!r}, but must be of the type {_words(known[name])}.")
    return replace(config, **changes)


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether a value has one of the types that a field allows; names are checked by the config."""
    types = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    plain: dict[Any, Any] = {float: (int, float)}
    return any(
        isinstance(value, str) if get_origin(one) is Literal else isinstance(value, plain.get(one, one))
        for one in types
        if not isinstance(value, bool)
    )


def _words(hint: Any) -> str:
    """Name the types that a field allows."""
    types = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    names = ["str" if get_origin(one) is Literal else one.__name__ for one in types if one is not NoneType]
    return " or ".join(names)
