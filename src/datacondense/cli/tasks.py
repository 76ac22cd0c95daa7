"""What the commands that run tasks share: options, names of files, progress and failures."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import tyro

from datacondense.cli.console import Printer, Ticker
from datacondense.cli.machine import Output
from datacondense.data.config import DataConfig
from datacondense.environment import choose_device
from datacondense.errors import InputError
from datacondense.files import writing
from datacondense.reports.layout import duration
from datacondense.studies.running import Run
from datacondense.tasks.scheduler import Observer, Outcome, StudyProgress
from datacondense.tasks.store import TASKS
from datacondense.tasks.workers import WorkersConfig

_SHOWN_FAILURES = 5
# Bytes. File systems take 255 for a name, of which a suffix and a temporary name need some.
_LONGEST_STEM = 200

ResultT = TypeVar("ResultT")
Dataset: TypeAlias = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATASET")]


@dataclass(frozen=True, kw_only=True)
class TaskCommand:
    """A command that runs recorded tasks and writes a page.

    Attributes:
        out: Folder for records, tables and plots.
        label: Name of the files in OUT. Default: made of what is measured; give one to keep several side by side.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        deterministic: Compute the same bytes at every run on a GPU too, more slowly.
        workers: How many tasks run at once, and where.
        data: How the data set is read.
        output: How much to print.
    """

    out: Path
    label: str | None = None
    device: str = "auto"
    deterministic: bool = False
    workers: WorkersConfig = field(default_factory=WorkersConfig)
    data: DataConfig = field(default_factory=DataConfig)
    output: Output = field(default_factory=Output)

    def ran(
        self, printer: Printer, title: str, run: Callable[..., Run[ResultT]], *what: Any, **options: Any
    ) -> Run[ResultT] | None:
        """Run tasks and show their progress; None once Ctrl-C was pressed, which is said."""
        device = str(choose_device(self.device))
        with printer.ticker(title) as tick:
            try:
                shared = {"workers": self.workers, "device": device, "observer": reporter(tick)}
                return run(*what, self.out, **shared, **options)
            except KeyboardInterrupt:
                printer.note("Stopped. Run the same command again to continue.")
                return None

    def report(
        self, outcome: Outcome, write: Callable[[], list[Path]], numbers: Mapping[str, Any], printer: Printer
    ) -> int:
        """Report what failed, write the files, report where they are, and return the exit code."""
        for key, error in list(outcome.failed.items())[:_SHOWN_FAILURES]:
            printer.note(f"Failed: {self.out / TASKS / key}: {error}")
        if outcome.failed:
            printer.note(
                f"Failed tasks: {len(outcome.failed)}; tasks not run because an input failed: {len(outcome.blocked)}. "
                "Each failure.json has the details. The same command tries again."
            )
        files = write()
        printer.say(f"{len(outcome.computed)} tasks computed, {len(outcome.reused)} reused: {files[0]}")
        printer.record({
            "files": [str(path) for path in files],
            "computed": len(outcome.computed),
            "reused": len(outcome.reused),
            "failed": dict(outcome.failed),
            "blocked": len(outcome.blocked),
            **numbers,
        })
        return 1 if outcome.failed or outcome.blocked else 0


def check_stem(stem: str, out: Path) -> None:
    """Refuse names of files that lie elsewhere or are hidden, and names that files of somebody else have already."""
    is_plain = stem.isprintable() and not stem.startswith(".") and not set(stem) & set("/\\")
    if not is_plain or not stem or len(os.fsencode(stem)) > _LONGEST_STEM:
        raise InputError(
            f"The files would be called {stem!r}, but a name has no separators or control characters, no dot in front "
            f"and {_LONGEST_STEM} bytes at most: give --label, such as --label first."
        )
    with writing(out):
        if not out.is_dir() or (out / TASKS).exists():
            return
        taken = [path for path in sorted(out.iterdir()) if path.name.startswith(f"{stem}.")]
    if taken:
        raise InputError(
            f"{taken[0]} exists, and no study was run in {out}: give another --out, or another --label."
        )


def reporter(tick: Ticker) -> Observer:
    """Return an observer that shows the progress of a study."""

    def report(progress: StudyProgress) -> None:
        left = "" if progress.seconds_left is None else f", {duration(progress.seconds_left)} left"
        tick(
            progress.done + progress.failed,
            progress.total,
            f"{progress.done} of {progress.total} tasks done, {progress.running} running, {progress.failed} failed, "
            f"{duration(progress.seconds)}{left}",
        )

    return report
