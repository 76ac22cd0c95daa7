"""The declaration of a study: tasks in a table of rows and columns, published numbers, orderings to check."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, product
from typing import Any, Literal, NamedTuple, TypeAlias

from datacondense.errors import InputError

Entry: TypeAlias = tuple[str, str]  # labels of a row and a column
ScoreTask: TypeAlias = Any
"""A task with a protocol and a repeat, such as `Evaluate`, whose result has accuracy, 0 to 1, and environment."""
PlotKind: TypeAlias = Literal["heat map", "curves", "differences"]


class Published(NamedTuple):
    """A published accuracy in percent; the deviation is None if none was given."""

    mean: float
    std: float | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published ordering, to be checked against the results.

    Attributes:
        text: The ordering in words.
        better: The entries whose mean accuracy should be higher.
        worse: The entries whose mean accuracy should be lower; paired with `better` seed by seed, network by network.
        strict: Whether equality contradicts it.
    """

    text: str
    better: tuple[Entry, ...]
    worse: tuple[Entry, ...]
    strict: bool = True


@dataclass(frozen=True, kw_only=True)
class Study:
    """A table in which every entry is the mean over tasks.

    Attributes:
        name: Name for commands and files.
        title: What its plot shows, such as "Accuracy by images per class".
        subject: On what, such as "MNIST, ConvNet"; it follows the title.
        rows: Labels of the rows.
        columns: Labels of the columns.
        row_axis: What the rows stand for.
        column_axis: What the columns stand for.
        entries: For each row and column one task per network, seed by seed. Entries may be missing.
        published: Accuracies to print beside ours.
        source: Where they were published.
        claims: Orderings to check.
        plot: "heat map"; "curves" over columns that are numbers; or "differences" of the paired entries.
        paired: For an entry the one that it is compared with, seed by seed and network by network.
        full: Tasks that give the accuracy of full training, for a second table relative to it.
        ratios: For each column the size of its sets in percent of the training images; if given, pages list time and
            memory too.
    """

    name: str
    title: str
    subject: str = ""
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
                raise InputError(f"{axis} has the label {twice[0]!r} twice: make labels unique.")
        for entry in self.entries:
            if entry[0] not in self.rows or entry[1] not in self.columns:
                raise InputError(f"The entry {entry} is in no row and column: declare both labels.")
        for claim in self.claims:
            for entry in (*claim.better, *claim.worse):
                if self.entries and entry not in self.entries:
                    raise InputError(
                        f"{claim.text!r} refers to {entry}, which is no entry: correct its labels."
                    )
        for pair in self.paired.items():
            if self.entries and not set(pair) <= self.entries.keys():
                raise InputError(
                    f"{pair[0]} is paired with {pair[1]}, but one of them is no entry: correct its labels."
                )
        for entry, tasks in self.entries.items():
            networks = [(task.protocol.seed, task.repeat) for task in tasks]
            if len(set(networks)) < len(networks):
                raise InputError(
                    f"The entry {entry} has two networks with the same seed and number: number them differently."
                )

    @property
    def heading(self) -> str:
        """Title and subject."""
        return f"{self.title}: {self.subject}" if self.subject else self.title

    def restricted(self, rows: Sequence[str]) -> "Study":
        """Return the study with some of its rows.

        Args:
            rows: Labels of the rows to keep; the rows that they are paired with are kept too.

        Returns:
            The smaller study, without orderings that refer to other rows.

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
            entries={entry: tasks for entry, tasks in self.entries.items() if entry[0] in kept},
            published={entry: value for entry, value in self.published.items() if entry[0] in kept},
            paired={
                entry: partner for entry, partner in self.paired.items() if {entry[0], partner[0]} <= kept
            },
            claims=tuple(claims),
        )

    @property
    def tasks(self) -> list[ScoreTask]:
        """All tasks of the table, row by row, then those of full training."""
        listed = (self.entries.get(entry, ()) for entry in product(self.rows, self.columns))
        return [*chain.from_iterable(listed), *self.full]
