"""What watches a run: a table, TensorBoard, a live picture, a progress bar. An observer is called after every step.

    with TensorBoardObserver("logs") as tensorboard:
        condense(train, method, run, observer=together(tensorboard, PictureObserver("live.png", 100)))

Each begins with the first step that it is told of, so one that watched a stopped run goes on where that is resumed:
what it wrote of steps that are repeated is replaced.
"""

# ruff: noqa: PLC0415 — TensorBoard is optional, and both it and tqdm are slow to import.

import csv
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from datacondense.condensation.progress import Progress
from datacondense.errors import InputError
from datacondense.files import reading, replacing, writing
from datacondense.reports.grid import grid_picture, plot_grid

Observer = Callable[[Progress], None]

_COLUMNS = ("iteration", "step", "loss", "seconds", "validation_accuracy", "validation_std", "validation_n")


def together(*observers: Observer) -> Observer:
    """Return one observer that calls several.

    Args:
        observers: Those that are called, in their order.

    Returns:
        The observer.
    """

    def observe(progress: Progress) -> None:
        for each in observers:
            each(progress)

    return observe


def _check_every(every: int) -> None:
    if every < 1:
        raise InputError(f"every is {every} iterations, but must be at least 1.")


class CsvObserver:
    """Write a table with one row per step: iteration, step, loss, seconds, and the accuracy where one was validated.

    Args:
        path: The file. Where it holds an earlier part of the run, rows are appended.

    Raises:
        InputError: When called: the file holds another table, or cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._began = False

    def __call__(self, progress: Progress) -> None:
        """Add a row."""
        score = progress.validation
        found = ("", "", "") if score is None else (score.mean, score.std, score.n)
        if not self._began:
            self._keep_before(progress.step)
            self._began = True
        with writing(self._path), self._path.open("a", encoding="utf-8", newline="") as file:
            file.write(_line((*progress.step, progress.loss, progress.seconds, *found)))

    def _keep_before(self, step: tuple[int, int]) -> None:
        """Keep the rows of earlier steps, and no others: not those that are repeated, nor what a kill cut off."""
        remedy = "give another path"
        kept: list[list[str]] = []
        if os.path.exists(self._path):
            with reading(self._path, "a table of a run", remedy):
                header, *lines = self._path.read_text(encoding="utf-8").split("\n")[:-1] or [""]
                if header != ",".join(_COLUMNS):
                    raise InputError(f"{self._path} is no table of a run, and is not overwritten: {remedy}.")
                rows = [row for row in csv.reader(lines) if len(row) == len(_COLUMNS)]
                kept = [row for row in rows if (int(row[0]), int(row[1])) < step]
        with replacing(self._path) as temporary:
            temporary.write_text("".join(map(_line, (_COLUMNS, *kept))), encoding="utf-8", newline="")


def _line(row: Any) -> str:
    """Return a line of a table."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


class TensorBoardObserver:
    """Write TensorBoard's event files: loss, seconds, accuracies, and pictures of the images; close it, or use `with`.

    Args:
        folder: Where to write; TensorBoard compares the folders below the one that it is given.
        pictures_every: Iterations between pictures of the images as they stand; 0: never.

    Raises:
        InputError: TensorBoard is not installed, or the folder cannot be written.
    """

    def __init__(self, folder: Path | str, *, pictures_every: int = 0) -> None:
        if pictures_every:
            _check_every(pictures_every)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InputError(
                f"TensorBoard cannot be imported ({error}): pip install 'datacondense[tensorboard]'."
            ) from error
        self._folder, self._every = Path(folder), pictures_every
        self._open: Callable[..., Any] = SummaryWriter
        self._writer: Any = None

    def __call__(self, progress: Progress) -> None:
        """Add what is known of a step."""
        number = progress.step.outer * progress.steps_per_iteration + progress.step.inner
        with writing(self._folder):
            if self._writer is None:
                self._writer = self._open(str(self._folder), purge_step=number)
            writer = self._writer
            writer.add_scalar("loss", progress.loss, number)
            writer.add_scalar("seconds", progress.seconds, number)
            if progress.validation is not None:
                writer.add_scalar("validation accuracy", progress.validation.mean, number)
            if self._every and progress.ends_iteration(self._every):
                picture = np.asarray(grid_picture(progress.images()))
                writer.add_image("images", picture, number, dataformats="HWC")

    def close(self) -> None:
        """Write what is not written yet."""
        if self._writer is not None:
            with writing(self._folder):
                self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PictureObserver:
    """Plot the images as they stand, again and again into one file; a viewer that reloads it shows them change.

    Args:
        path: The picture; see `plot_grid`.
        every: Iterations between two.

    Raises:
        InputError: `every` is below 1; when called: the picture cannot be written.
    """

    def __init__(self, path: Path | str, every: int) -> None:
        _check_every(every)
        self._path, self._every = Path(path), every

    def __call__(self, progress: Progress) -> None:
        """Plot, where the step ends an iteration whose turn it is."""
        if progress.ends_iteration(self._every):
            plot_grid(progress.images(), self._path)


@contextmanager
def progress_bar() -> Iterator[Observer]:
    """Show a bar with loss and time left, in a notebook or a terminal.

    Yields:
        The observer.
    """
    from tqdm.auto import tqdm

    with tqdm(unit="iteration") as bar:

        def observe(progress: Progress) -> None:
            bar.total = progress.iterations
            bar.set_postfix(loss=f"{progress.loss:.4g}", refresh=False)
            bar.update(progress.step.outer + progress.ends_iteration() - bar.n)

        yield observe
