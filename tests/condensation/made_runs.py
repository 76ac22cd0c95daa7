"""Runs that are broken off, and a clock that tests move."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from datacondense import GradientMatchingConfig, ImageSet, Progress, RunConfig, condense
from datacondense.condensation.method import MethodConfig
from datacondense.run_folder import RunFolder

METHOD = GradientMatchingConfig(
    ipc=2, network="convnet-w4-d1-bn", matching_steps=3, network_epochs=2, real_batch=4, image_lr=0.5
)
RUN = RunConfig(seed=3, iterations=2, checkpoint_every=0)
RESULT = "condensed.safetensors"


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the library catches it."""


def kill_at(outer: int, inner: int, how: type[BaseException] = Killed) -> Callable[[Progress], None]:
    """Return an observer that ends the process after a step, before its checkpoint is written."""

    def observe(progress: Progress) -> None:
        if progress.step == (outer, inner):
            raise how

    return observe


def break_run(
    train: ImageSet, method: MethodConfig, run: RunConfig, directory: Path, *, at: tuple[int, int]
) -> None:
    """Run until a step and no further."""
    with pytest.raises(Killed):
        condense(train, method, run, directory=directory, observer=kill_at(*at))


def result_bytes(folder: Path) -> bytes:
    """Return the bytes of a finished run's result."""
    return (folder / RESULT).read_bytes()


def unbroken(train: ImageSet, folder: Path) -> bytes:
    """Return the bytes of the result of a run that nothing breaks."""
    condense(train, METHOD, RUN, directory=folder)
    return result_bytes(folder)


def logged(folder: Path) -> list[tuple[int, int, float]]:
    """Return the log without its clock: iteration, step and loss."""
    return [(entry["iteration"], entry["step"], entry["loss"]) for entry in RunFolder(folder).metrics()]


@dataclass
class Clock:
    """Stands in for `time.monotonic`; each step of a method takes some seconds."""

    now: float = 5000.0
    seconds_per_step: float = 10.0
    patch: pytest.MonkeyPatch = field(default_factory=pytest.MonkeyPatch, repr=False)

    def time_steps_of(self, method: type[Any]) -> None:
        """Let time pass in steps of this class of methods, and nowhere else."""
        step = method.step

        def timed(*args: Any) -> Any:
            self.now += self.seconds_per_step
            return step(*args)

        self.patch.setattr(method, "step", timed)
        self.patch.setattr(time, "monotonic", lambda: self.now)
