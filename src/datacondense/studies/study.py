"""What a study declares: cells in a table of rows and columns, what was published, and which orderings to look for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Protocol, TypeAlias

from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.studies.task import Task

Entry: TypeAlias = tuple[str, str]  # labels of a row and a column
PlotKind: TypeAlias = Literal["heat map", "curves", "differences"]


class ScoreTask(Task, Protocol):
    """A cell whose result has an "accuracy", 0 to 1, and the "environment" that it was computed in."""

    @property
    def protocol(self) -> EvaluationConfig:
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
        plot: "heat map", "curves" with the columns, which are numbers, along the axis, or "differences" of the
            paired entries.
        paired: For an entry the one that it is compared with, seed by seed and network by network.
        full: Cells that give the accuracy of the whole data set, for a second table relative to it.
        ratios: For each column the share of the training images that its sets hold, in percent, where time and memory
            are listed too.
    """

    name: str
    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_axis: str
    column_axis: str
    entries: Mapping[Entry, Sequence[ScoreTask]]
    published: Mapping[Entry, Published] = field(default_factory=dict)
    source: str = ""
    claims: tuple[Claim, ...] = ()
    plot: PlotKind = "heat map"
    paired: Mapping[Entry, Entry] = field(default_factory=dict)
    full: Sequence[ScoreTask] = ()
    ratios: Mapping[str, float] = field(default_factory=dict)

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
        for places in self.paired.items():
            if self.entries and not set(places) <= self.entries.keys():
                raise InputError(
                    f"{places[0]} is paired with {places[1]}, but one of them is no entry: correct its labels."
                )
        for place, tasks in self.entries.items():
            pairs = [(task.protocol.seed, task.repeat) for task in tasks]
            if len(set(pairs)) < len(pairs):
                raise InputError(
                    f"The entry {place} has two networks of one seed and number: number them apart."
                )

    def restricted(self, rows: Sequence[str]) -> "Study":
        """Leave out rows.

        Args:
            rows: Labels of those that stay, beside those that they are paired with.

        Returns:
            The smaller study; orderings that speak of what is left out are not looked for.

        Raises:
            InputError: There is no such row.
        """
        for row in rows:
            if row not in self.rows:
                raise InputError(
                    f"{self.name} has no row {row!r}: choose from {', '.join(map(repr, self.rows))}."
                )
        kept = {*rows, *(partner for (row, _), (partner, _) in self.paired.items() if row in rows)}
        claims = [claim for claim in self.claims if {row for row, _ in (*claim.better, *claim.worse)} <= kept]
        return replace(
            self,
            rows=tuple(row for row in self.rows if row in kept),
            entries={place: tasks for place, tasks in self.entries.items() if place[0] in kept},
            published={place: value for place, value in self.published.items() if place[0] in kept},
            paired={
                place: partner for place, partner in self.paired.items() if {place[0], partner[0]} <= kept
            },
            claims=tuple(claims),
        )

    @property
    def tasks(self) -> list[ScoreTask]:
        """All cells of the table, row by row, those of the whole data set last."""
        listed = [
            task
            for row in self.rows
            for column in self.columns
            for task in self.entries.get((row, column), ())
        ]
        return [*listed, *self.full]
