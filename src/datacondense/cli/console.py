"""Printing: results on standard output, progress and notes on standard error."""

# ruff: noqa: PLC0415 — rich loads when there is something to show, so that --help need not wait.

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from datacondense.cli.machine import Output
from datacondense.errors import escaped, shown

if TYPE_CHECKING:
    from rich.console import Console

_SECONDS_BETWEEN_LINES = 10.0  # where progress goes to a file, a line now and then instead of a moving bar


class Ticker(Protocol):
    """Shows the progress of a job."""

    def __call__(self, done: float, total: float, text: str) -> None:
        """Show that `done` of `total` is done."""


class Printer:
    """Prints what the options allow; names and paths in it are escaped, since a terminal obeys some letters."""

    def __init__(self, output: Output) -> None:
        self._output = output

    @cached_property
    def _errors(self) -> "Console":
        """The console of standard error."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

    def say(self, text: str) -> None:
        """Print a sentence of the result."""
        if not self._output.quiet and not self._output.json:
            print(escaped(text), flush=True)

    def record(self, values: Mapping[str, Any]) -> None:
        """Print a JSON object for scripts, where --json requests one."""
        if self._output.json:
            print(json.dumps(values, sort_keys=True), flush=True)

    def note(self, text: str) -> None:
        """Print a remark beside the result, such as a warning."""
        if not self._output.quiet:
            self._errors.print(shown(text), style="yellow", markup=False)

    @contextmanager
    def ticker(self, title: str) -> Iterator[Ticker]:
        """Show the progress of one job: a bar on a terminal, a line now and then elsewhere."""
        if self._output.quiet:
            yield lambda done, total, text: None
        elif self._errors.is_terminal:
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bars

            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=30),
                TextColumn("{task.fields[text]}", markup=False),
            )
            with Bars(*columns, console=self._errors, transient=True) as bars:
                task = bars.add_task(shown(title), total=None, text="")
                yield lambda done, total, text: bars.update(
                    task, completed=done, total=total, text=shown(text)
                )
        else:
            yield _Lines(title)


class _Lines:
    """Progress as lines, not more often than every few seconds."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._last = time.monotonic()

    def __call__(self, done: float, total: float, text: str) -> None:
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_LINES or done >= total:
            self._last = now
            print(shown(f"{self._title}: {text}"), file=sys.stderr, flush=True)
