"""`datacondense demo`: the main job on embedded images, in a minute, without a network connection."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev

import torch

from datacondense.cli.console import Printer
from datacondense.cli.machine import Machine, Output
from datacondense.cli.watching import reporter
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import RunConfig, condense
from datacondense.data.sources import load
from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig, Score
from datacondense.evaluation.scoring import evaluate
from datacondense.image_set import ImageSet
from datacondense.reports.grid import plot_grid
from datacondense.reports.layout import duration
from datacondense.run_folder import CHECKPOINT, METRICS, RESULT, SETTINGS, RunFolder
from datacondense.selection.random import select_random
from datacondense.settings import check_at_least

# Small enough for a laptop; the learning rate was chosen on a validation split of the training images.
_PICTURE = "condensed.png"
_METHOD = GradientMatchingConfig(ipc=1, network="convnet-w32-d2", image_lr=1.0, real_batch=64)


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Condense the embedded digits to one image per class and compare with randomly chosen images.

    Attributes:
        out: Folder for the run and the picture; what an earlier demo left there is replaced.
        repeats: Networks trained on each set.
        run: Seed and length.
        machine: Where to compute.
        output: How much to print.
    """

    out: Path = Path("datacondense-demo")
    repeats: int = 10
    run: RunConfig = field(default_factory=lambda: RunConfig(iterations=100))
    # Images this small gain nothing from a second thread, and on a busy machine threads wait for each other.
    machine: Machine = field(default_factory=lambda: Machine(threads=1))
    output: Output = field(default_factory=Output)

    def __post_init__(self) -> None:
        if self.repeats < 2:
            raise InputError(f"repeats is {self.repeats}, but a comparison needs 2 networks or more.")
        check_at_least(self, 2, "repeats")

    def __call__(self) -> int:
        """Run the subcommand."""
        printer = Printer(self.output)
        self._check_out()
        device = self.machine.prepare()
        splits = load("digits")
        train, test = splits.train, splits.test
        assert test is not None
        printer.say(
            f"{len(train)} real images of {train.num_classes} digits, 8×8 pixels, become 1 image for each digit."
        )
        with printer.ticker("condense") as tick:
            condensed = condense(
                train,
                _METHOD,
                self.run,
                directory=self.out,
                force=True,
                device=device,
                observer=reporter(tick, printer.note),
            )
        picture = self.out / _PICTURE
        plot_grid(condensed, picture)
        seconds = (RunFolder(self.out).metrics() or [{"seconds": 0.0}])[-1]["seconds"]
        printer.say(
            f"Learned in {duration(seconds)}: {self.out / 'condensed.safetensors'}, plotted in {picture}"
        )
        condensed_score, random_accuracies = self._compare(condensed, train, test, device, printer)
        random_mean, random_std = fmean(random_accuracies), stdev(random_accuracies)
        printer.say(
            f"Accuracy on {len(test)} test images of {_METHOD.network} networks trained on 10 images:\n"
            f"  condensed           {condensed_score}\n"
            f"  random real images  {100 * random_mean:.2f} ± {100 * random_std:.2f} % (n = {self.repeats})"
        )
        printer.record({
            "condensed": condensed_score.as_dict(),
            "random": {"mean": random_mean, "std": random_std, "accuracies": random_accuracies},
            "result": str(RunFolder(self.out).result),
            "picture": str(picture),
        })
        return 0

    def _check_out(self) -> None:
        """Refuse to replace anything but what an earlier demo left."""
        folder = RunFolder(self.out)
        match folder.settings() if folder.has_settings else None:
            case {"settings": {"network": _METHOD.network}, "source": {"name": "digits"}}:
                return
        for name in (RESULT, SETTINGS, CHECKPOINT, METRICS, _PICTURE):
            if (self.out / name).exists():
                raise InputError(
                    f"{self.out / name} exists and is no earlier demo's: give another --out, a new folder."
                )

    def _compare(
        self,
        condensed: ImageSet,
        train: ImageSet,
        test: ImageSet,
        device: torch.device,
        printer: Printer,
    ) -> tuple[Score, list[float]]:
        """Score the condensed images and, under the same protocol, one random selection per network."""
        config = EvaluationConfig(network=_METHOD.network, repeats=self.repeats, seed=self.run.seed)
        with printer.ticker("evaluate") as tick:

            def observe(repeat: int, accuracy: float) -> None:
                tick(repeat + 1, 2 * self.repeats, f"condensed, network {repeat + 1}")

            score = evaluate(condensed, test, config, device=device, observer=observe)
            accuracies = []
            for repeat in range(self.repeats):
                seed = self.run.seed + repeat
                selected = select_random(train, 1, seed)
                accuracies.append(
                    evaluate(selected, test, replace(config, repeats=1, seed=seed), device=device).mean
                )
                tick(self.repeats + repeat + 1, 2 * self.repeats, f"random, network {repeat + 1}")
        return score, accuracies
