"""What follows a run: the options of `condense` and `info` that watch one."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from datacondense.cli.console import Ticker
from datacondense.condensation.progress import Progress
from datacondense.errors import InputError
from datacondense.reports.layout import duration
from datacondense.reports.observers import (
    CsvObserver,
    Observer,
    PictureObserver,
    TensorBoardObserver,
    together,
)
from datacondense.run_folder import FILES, RunFolder
from datacondense.settings import check_at_least

PICTURE = "live.png"


@dataclass(frozen=True, kw_only=True)
class Watching:
    """What follows the run.

    Attributes:
        tensorboard: Folder for TensorBoard: loss, seconds, accuracies, and the images with --picture-every. A folder
            for each run lets TensorBoard compare them.
        csv: Table with a row per step: iteration, step, loss, seconds, accuracy.
        picture_every: Iterations between pictures of the images as they stand, in OUT/live.png; 0: never.
    """

    tensorboard: Path | None = None
    csv: Path | None = None
    picture_every: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, 0, "picture_every")

    def check(self, out: Path) -> None:
        """Refuse a table in the place of a file of the run in the folder OUT."""
        if self.csv is not None and self.csv.resolve() in {(out / name).resolve() for name in FILES}:
            raise InputError(f"{self.csv} is a file of the run: give another --csv.")

    @contextmanager
    def observer(self, out: Path, *others: Observer) -> Iterator[Observer]:
        """Yield one observer of a run in the folder OUT: what the options name, after others."""
        every, watching = self.picture_every, [*others]
        with ExitStack() as stack:
            if self.csv is not None:
                watching.append(CsvObserver(self.csv))
            if self.tensorboard is not None:
                tensorboard = TensorBoardObserver(self.tensorboard, pictures_every=every)
                watching.append(stack.enter_context(tensorboard))
            if every:
                watching.append(PictureObserver(out / PICTURE, every))
            yield together(*watching)


def reporter(tick: Ticker, note: Callable[[str], None], opening: str = "") -> Observer:
    """Return the observer that shows a run's progress, after a remark to begin with."""

    def report(progress: Progress) -> None:
        nonlocal opening
        if opening:
            note(opening)
            opening = ""
        steps = progress.step.outer * progress.steps_per_iteration + progress.step.inner + 1
        iterations = steps / progress.steps_per_iteration
        left = "" if progress.seconds_left is None else f", {duration(progress.seconds_left)} left"
        done = f"iteration {iterations:.4g} of {progress.iterations}, loss {progress.loss:.4g}"
        tick(iterations, progress.iterations, f"{done}, {duration(progress.seconds)}{left}")
        if progress.validation is not None:
            stopped = ", no better than before: stopped early" if progress.stopped else ""
            note(f"iteration {iterations:g}: validation accuracy {progress.validation}{stopped}")

    return report


def watch(folder: RunFolder, tick: Ticker, every: float = 1.0) -> None:
    """Show how far a run of another process is, until it is finished or no process goes on with it.

    Args:
        folder: The run.
        tick: Shows its progress.
        every: Seconds between two looks.
    """
    planned = folder.settings().get("run", {}).get("iterations") or 0
    while not folder.result.exists() and folder.is_claimed():
        if metrics := folder.metrics():
            last = metrics[-1]
            done = f"iteration {last['iteration'] + 1}{f' of {planned}' if planned else ''}"
            text = f"{done}, loss {last['loss']:.4g}, {duration(last['seconds'])}"
            tick(last["iteration"], max(planned, last["iteration"] + 1), text)
        time.sleep(every)
