"""`datacondense condense`: learn a condensed set."""

# ruff: noqa: PLC0415 — torch and what stands on it load when the subcommand runs, so that --help need not wait.

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, cast

import tyro

from datacondense.cli.console import Printer, Ticker, duration
from datacondense.cli.machine import Machine, Output
from datacondense.condensation.config import MethodConfig, RunConfig
from datacondense.condensation.methods import METHODS, method_name
from datacondense.data.config import DataConfig
from datacondense.errors import InputError

if TYPE_CHECKING:
    from datacondense.condensation.loop import Progress

_METHOD = "gradient-matching"


ConfigT = TypeVar("ConfigT", bound=MethodConfig)


@dataclass(frozen=True, kw_only=True)
class Condense(Generic[ConfigT]):
    """Learn a few synthetic images per class that train networks as the whole data set does.

    Attributes:
        dataset: Name (mnist, fashion-mnist, svhn, cifar10, cifar100, usps, tiny-imagenet, digits), Hub id, image
            folder, .parquet or .npz file.
        out: Folder for settings, checkpoints, metrics and the result, OUT/condensed.safetensors.
        resume: Continue the unfinished run in OUT.
        force: Discard what an earlier run left in OUT.
        validation_fraction: Share of the training images held out, class by class, for --validate-every; 0 to 1.
        method: gradient-matching (dc), siamese-matching (dsa), distribution-matching (dm), parameter-matching,
            dataset-distillation (dd). Each has settings of its own: `--method NAME --help` lists them.
        settings: Settings of the method.
        run: Seed, length and reports.
        data: How the data set is read.
        machine: Where to compute.
        output: How much to say.
    """

    dataset: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATASET")]
    out: Path
    resume: bool = False
    force: bool = False
    validation_fraction: float = 0.0
    method: str = _METHOD
    settings: ConfigT
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    machine: Machine = field(default_factory=Machine)
    output: Output = field(default_factory=Output)

    def __call__(self) -> int:
        """Run the subcommand.

        Returns:
            The exit code: 0, or 130 after Ctrl-C.

        Raises:
            InputError: A value breaks a rule.
        """
        from datacondense.condensation.loop import condense
        from datacondense.condensation.run_folder import RunFolder
        from datacondense.data.sources import load
        from datacondense.data.validation import hold_out

        printer = Printer(self.output)
        if not 0 <= self.validation_fraction < 1:
            raise InputError(
                f"validation_fraction is {self.validation_fraction}, but must be at least 0 and below 1."
            )
        device = self.machine.prepare()
        train = load(self.dataset, self.data).train
        validation = None
        if self.validation_fraction:
            train, validation = hold_out(train, self.validation_fraction, self.run.seed)
        with printer.ticker("condense") as tick:
            try:
                condensed = condense(
                    train,
                    self.settings,
                    self.run,
                    validation=validation,
                    directory=self.out,
                    resume=self.resume,
                    force=self.force,
                    device=device,
                    observer=reporter(tick, printer),
                )
            except KeyboardInterrupt:
                printer.note(f"Stopped. Run the same command with --resume to continue from {self.out}.")
                return 130
        folder = RunFolder(self.out)
        last = folder.metrics()[-1]
        printer.say(
            f"{len(condensed)} images ({self.settings.ipc} for each of {condensed.num_classes} classes) after "
            f"{condensed.provenance['iterations_done']:g} outer draws and {duration(last['seconds'])}: {folder.result}\n"
            f"Score it:   datacondense evaluate {folder.result} --on {self.dataset}\n"
            f"Look at it: datacondense show {folder.result} --out {self.out / 'condensed.png'}"
        )
        printer.record({
            "result": str(folder.result),
            "fingerprint": condensed.fingerprint,
            "seconds": last["seconds"],
            "loss": last["loss"],
            "record": condensed.provenance,
        })
        return 0


def condense_command(args: Sequence[str]) -> Callable[..., Any]:
    """Give the subcommand with the options of the method that is asked for.

    Args:
        args: Arguments after the program's name.

    Returns:
        What parses the options, and holds them.

    Raises:
        InputError: There is no such method.
    """
    asked = ArgumentParser(add_help=False, allow_abbrev=False)
    asked.add_argument("--method", nargs="?", default=_METHOD)
    name = asked.parse_known_args(args)[0].method
    config: Any = METHODS[method_name(name or "")]
    return cast(Callable[..., Any], Condense[config])


def reporter(tick: Ticker, printer: Printer) -> Callable[["Progress"], None]:
    """Make the observer that shows a run's progress.

    Args:
        tick: Shows how far the run is.
        printer: Says the accuracies on the validation images.

    Returns:
        The observer.
    """

    def report(progress: "Progress") -> None:
        steps = progress.step.outer * progress.steps_per_iteration + progress.step.inner + 1
        iterations = steps / progress.steps_per_iteration
        left = "" if progress.seconds_left is None else f", {duration(progress.seconds_left)} left"
        tick(
            iterations,
            progress.iterations,
            f"draw {iterations:.4g} of {progress.iterations}, loss {progress.loss:.4g}, {duration(progress.seconds)}{left}",
        )
        if progress.validation is not None:
            printer.note(f"draw {iterations:g}: validation accuracy {progress.validation}")

    return report
