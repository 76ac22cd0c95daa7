"""`datacondense evaluate`: score a set by the networks that it trains."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any, ClassVar

import torch
import tyro

from datacondense.cli.commands import told_what_is_given
from datacondense.cli.console import Printer
from datacondense.cli.machine import Machine, Output
from datacondense.cli.processes import Sharing
from datacondense.cli.sets import read_set_and_original
from datacondense.data.config import DataConfig
from datacondense.data.sources import load
from datacondense.data.whitening import whitened
from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig, Score, named_protocol, own_protocol
from datacondense.evaluation.scoring import evaluate
from datacondense.image_set import ImageSet
from datacondense.ranks import current_ranks

_USUAL = EvaluationConfig()


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Train fresh networks on a set and measure them on the test images of a data set.

    Attributes:
        set: A .safetensors file, a run's folder, or a folder that `export` wrote. For an export the exact images
            are scored too, by the same networks, and the difference is what rounding cost.
        on: The data set whose test images measure the networks; names and paths as in `condense`.
        protocol: "dc", of DC, DSA and DM; "dc-bench"; "dd-ranking", with hard labels; or "idc". Options that are given
            stand. Default: that of the paper of the set's method.
        config: The protocol.
        data: How the data set is read.
        machine: Where to compute.
        sharing: How many processes share the networks.
        output: How much to print.
    """

    set: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SET")]
    given: ClassVar[frozenset[str]] = frozenset()
    """Names of the options that are given."""

    on: str
    protocol: str | None = None
    config: EvaluationConfig = field(default_factory=EvaluationConfig)
    data: DataConfig = field(default_factory=DataConfig)
    machine: Machine = field(default_factory=Machine)
    sharing: Sharing = field(default_factory=Sharing)
    output: Output = field(default_factory=Output)

    def __call__(self) -> int:
        """Run the subcommand."""
        printer = Printer(self.output)
        with current_ranks().joint():
            device = self.machine.prepare()
            if self.protocol is not None:
                named_protocol(self.protocol)
            images, exact = read_set_and_original(self.set)
            real = load(self.on, self.data)
            test = real.test
            if test is None:
                raise InputError(
                    f"{self.on} has no test images: add a test split, such as a folder test/, or give another --on."
                )
            if images.whitening is not None:
                test = whitened(test, real.train, images.whitening)
        score = self._score(images, test, device, printer)
        record = score.as_dict()
        printer.say(f"{score}: {describe(score)}")
        if exact is not None:
            cost = rounding_cost(score, self._score(exact, test, device, printer))
            printer.say(
                f"Rounding to 8 bits changed the accuracy by {cost['mean']:+.2%} ± {cost['std']:.2%}."
            )
            record["rounding_cost"] = cost
        printer.record(record)
        return 0

    def _config(self, images: ImageSet) -> EvaluationConfig:
        """Return the protocol by its name, with the options that are given."""
        named = own_protocol(images) if self.protocol is None else named_protocol(self.protocol)
        given = {known.name for known in fields(self.config)} & self.given
        return replace(named, **{name: getattr(self.config, name) for name in given})

    def _score(self, images: ImageSet, test: ImageSet, device: torch.device, printer: Printer) -> Score:
        accuracies: list[float] = []
        config = self._config(images)
        with printer.ticker("evaluate") as tick:

            def observe(repeat: int, accuracy: float) -> None:
                accuracies.append(accuracy)
                tick(
                    repeat + 1,
                    config.repeats,
                    f"network {repeat + 1} of {config.repeats}, mean accuracy {fmean(accuracies):.2%}",
                )

            return evaluate(images, test, config, device=device, observer=observe)


def evaluate_command(args: Sequence[str]) -> Callable[..., Any]:
    """Return the subcommand: of one set, or with `--standard` that of a table."""
    if "--standard" in args:
        from datacondense.cli.standard import EvaluateStandard  # noqa: PLC0415 — loads what runs tasks

        return EvaluateStandard
    return told_what_is_given(Evaluate, args)


def rounding_cost(rounded: Score, exact: Score) -> dict[str, float]:
    """Compare the scores of an export and of the exact set, network by network."""
    differences = [r - e for r, e in zip(rounded.accuracies, exact.accuracies, strict=True)]
    return {
        "mean": fmean(differences),
        "std": stdev(differences) if len(differences) > 1 else 0.0,
        "exact_mean": exact.mean,
        "n": len(differences),
    }


def describe(score: Score) -> str:
    """Return the protocol of a score in a line."""
    protocol = score.protocol
    training = (
        "the set's own learned steps"
        if protocol.learned_steps
        else f"{protocol.epochs} epochs, augmentation {protocol.augmentation}"
        + (f" with CutMix {protocol.cutmix:g}" if protocol.cutmix else "")
        + (f", soft labels at temperature {protocol.temperature:g}" if protocol.labels == "soft" else "")
        + (f", learning rate {protocol.lr:g}" if protocol.lr != _USUAL.lr else "")
        + (f", batches of {protocol.batch_size}" if protocol.batch_size != _USUAL.batch_size else "")
    )
    return (
        f"{protocol.network}, {training}, seed {protocol.seed}, "
        f"{score.environment['precision']}, {score.tested_on['num_images']} test images"
    )
