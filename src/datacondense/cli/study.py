"""`datacondense study`: run a grid of experiments and write its table."""

# ruff: noqa: PLC0415 — torch and what stands on it load when the subcommand runs, so that --help need not wait.

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from datacondense.cli.console import Printer, Ticker, duration
from datacondense.cli.machine import Output
from datacondense.data import DataConfig
from datacondense.studies.backends import WorkersConfig
from datacondense.studies.config import CELLS, StudyConfig

if TYPE_CHECKING:
    from datacondense.studies import StudyProgress, StudyRun

_SHOWN_FAILURES = 5


@dataclass(frozen=True, kw_only=True)
class Study:
    """Run a grid of experiments: condense, score, and write the table beside the published one.

    The same command continues a study that was stopped or killed; finished cells are never run again, and studies with
    the same --out share theirs.

    Attributes:
        name: cross-architecture, activation, pooling, norm, depth, width, distance; or your own study, a .toml or .py
            file.
        dataset: Name, Hub id, folder or file, as in `condense`.
        out: Folder for cells, tables and plots.
        dry_run: Print the cells, and the time and memory that they would take, from a timed step of each kind.
        validation_fraction: Share of the training images held out, class by class, to score on in the place of the test
            images; for choosing settings.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        study: Draws, seeds, networks, and the settings that all arms share.
        workers: How many cells run at once, and where.
        data: How the data set is read.
        output: How much to say.
    """

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    dataset: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATASET")]
    out: Path
    dry_run: bool = False
    validation_fraction: float = 0.0
    device: str = "auto"
    study: StudyConfig = field(default_factory=StudyConfig)
    workers: WorkersConfig = field(default_factory=WorkersConfig)
    data: DataConfig = field(default_factory=DataConfig)
    output: Output = field(default_factory=Output)

    def __call__(self) -> int:
        """Run the subcommand.

        Returns:
            The exit code: 0; 1 where a cell failed; 130 after Ctrl-C.
        """
        from datacondense.environment import choose_device
        from datacondense.studies import DataSource, declared, find_study, run_study

        printer = Printer(self.output)
        device = str(choose_device(self.device))
        source = DataSource(name=self.dataset, config=self.data, validation_fraction=self.validation_fraction)
        study = declared(find_study(self.name), source, self.study)
        with printer.ticker(study.name) as tick:
            try:
                run = run_study(study, self.out, workers=self.workers, device=device, observer=reporter(tick))
            except KeyboardInterrupt:
                printer.note("Stopped. Run the same command again to continue.")
                return 130
        return self._report(run, printer)

    def _report(self, run: "StudyRun", printer: Printer) -> int:
        """Write the table and say where it is and what failed."""
        for key, error in list(run.outcome.failed.items())[:_SHOWN_FAILURES]:
            printer.note(f"Failed: {self.out / CELLS / key}: {error}")
        if run.outcome.failed:
            printer.note(
                f"{len(run.outcome.failed)} cells failed, {len(run.outcome.blocked)} could not run for want of them. "
                "Each failure.json tells more. The same command tries them again."
            )
        return 1 if run.outcome.failed else 0


def reporter(tick: Ticker) -> Callable[["StudyProgress"], None]:
    """Make the observer that shows a study's progress.

    Args:
        tick: Shows how far it is.

    Returns:
        The observer.
    """

    def report(progress: "StudyProgress") -> None:
        left = "" if progress.seconds_left is None else f", {duration(progress.seconds_left)} left"
        tick(
            progress.done + progress.failed,
            progress.total,
            f"{progress.done} of {progress.total} cells done, {progress.running} running, {progress.failed} failed, "
            f"{duration(progress.seconds)}{left}",
        )

    return report
