"""`datacondense condense`: learn a condensed set."""

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, cast

import tyro

from datacondense.cli.commands import what_next
from datacondense.cli.console import Printer, Ticker, duration
from datacondense.cli.machine import Machine, Output
from datacondense.cli.sets import described
from datacondense.condensation.loop import Progress, RunConfig, condense
from datacondense.condensation.method import MethodConfig
from datacondense.condensation.registry import method_named
from datacondense.data.config import DataConfig
from datacondense.data.sources import load
from datacondense.data.validation import hold_out
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.run_folder import RunFolder

DEFAULT_METHOD = "gradient-matching"

ConfigT = TypeVar("ConfigT", bound=MethodConfig)


@dataclass(frozen=True, kw_only=True)
class Condense(Generic[ConfigT]):
    """Learn a few synthetic images per class that train networks as the full data set does.

    Attributes:
        dataset: Name (mnist, fashion-mnist, svhn, cifar10, cifar100, usps, tiny-imagenet, digits), Hub id, image
            folder, .parquet or .npz file.
        out: Folder for settings, checkpoints, metrics and the result, OUT/condensed.safetensors.
        resume: Continue the unfinished run in OUT.
        force: Discard what an earlier run left in OUT.
        validation_fraction: Share of the training images held out, class by class, for --validate-every; 0 to 1.
        method: gradient-matching (dc), siamese-matching (dsa), distribution-matching (dm), parameter-matching,
            dataset-distillation (dd), or your own as package.module:Class. Each has settings of its own:
            `--method NAME --help` lists them.
        settings: Settings of the method.
        run: Seed, length and reports.
        data: How the data set is read.
        machine: Where to compute.
        output: How much to print.
    """

    dataset: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATASET")]
    out: Path
    resume: bool = False
    force: bool = False
    validation_fraction: float = 0.0
    method: str = DEFAULT_METHOD
    settings: ConfigT
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    machine: Machine = field(default_factory=Machine)
    output: Output = field(default_factory=Output)

    def __call__(self) -> int:
        """Run the subcommand."""
        printer = Printer(self.output)
        if not 0 <= self.validation_fraction < 1:
            raise InputError(
                f"validation_fraction is {self.validation_fraction}, but must be at least 0 and below 1."
            )
        device = self.machine.prepare()
        splits = load(self.dataset, self.data)
        train, validation = splits.train, None
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
                option = "--resume in the place of --force" if self.force else "--resume"
                printer.note(f"Stopped. Run the same command with {option} to continue from {self.out}.")
                return 130
        self._report(condensed, printer, scorable=splits.has_test)
        return 0

    def _report(self, condensed: ImageSet, printer: Printer, *, scorable: bool) -> None:
        """Print what was learned and what to do with it."""
        folder = RunFolder(self.out)
        # The log of a run that was finished before may be gone.
        last = (folder.metrics() or [{"seconds": 0.0, "loss": None}])[-1]
        printer.say(
            f"{described(condensed)} after "
            f"{condensed.provenance['iterations_done']:g} iterations and {duration(last['seconds'])}: {folder.result}"
        )
        printer.say(
            what_next(
                folder.result,
                self.out / "condensed.png",
                self.dataset if scorable else None,
                self.data,
                self.settings.network,
            )
        )
        printer.record({
            "result": str(folder.result),
            "fingerprint": condensed.fingerprint,
            "seconds": last["seconds"],
            "loss": last["loss"],
            "provenance": condensed.provenance,
        })


def condense_command(args: Sequence[str]) -> Callable[..., Any]:
    """Return the subcommand with the options of the requested method."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--method", nargs="?", default=DEFAULT_METHOD)
    name = parser.parse_known_args(args)[0].method
    settings: Any = method_named(name or "")
    return cast(Callable[..., Any], Condense[settings])


def reporter(tick: Ticker, printer: Printer) -> Callable[[Progress], None]:
    """Return the observer that shows a run's progress."""

    def report(progress: Progress) -> None:
        steps = progress.step.outer * progress.steps_per_iteration + progress.step.inner + 1
        iterations = steps / progress.steps_per_iteration
        left = "" if progress.seconds_left is None else f", {duration(progress.seconds_left)} left"
        done = f"iteration {iterations:.4g} of {progress.iterations}, loss {progress.loss:.4g}"
        tick(iterations, progress.iterations, f"{done}, {duration(progress.seconds)}{left}")
        if progress.validation is not None:
            printer.note(f"iteration {iterations:g}: validation accuracy {progress.validation}")

    return report
