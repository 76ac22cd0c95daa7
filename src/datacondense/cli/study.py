"""`datacondense study`: run a grid of experiments and write its table."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from datacondense.cli.commands import command_line
from datacondense.cli.console import Printer
from datacondense.cli.tasks import Dataset, TaskCommand, check_stem
from datacondense.data.data_source import DataSource
from datacondense.environment import choose_device
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.reports.layout import duration
from datacondense.reports.records import study_record
from datacondense.reports.study_page import write_study
from datacondense.studies.catalogue import find_study
from datacondense.studies.comparison_catalogue import COMPARISONS
from datacondense.studies.config import StudyConfig
from datacondense.studies.running import declared, estimate_study, run_study
from datacondense.tasks.pilot import StudyEstimate


@dataclass(frozen=True, kw_only=True)
class Study(TaskCommand):
    """Run a grid of experiments: condense, evaluate, and write the table beside the published one.

    The same command continues a study that was stopped or killed. Finished tasks are never run again, and studies with
    the same --out share them.

    Attributes:
        name: cross-architecture, ipc, activation, pooling, norm, depth, width, distance; of noise-aware matching:
            teacher, representatives, masks, noise-aware; of methods, as `compare` runs them: comparison, distillation;
            or your own study, a .toml or .py file.
        dataset: Name, Hub id, folder or file, as in `condense`.
        trust_code: Import networks, distances and transforms of your own that a .toml study names; a .py study is a
            program and always runs.
        dry_run: Print the tasks, and an estimate of their time and memory from a short pilot of each kind.
        validation_fraction: Fraction of the training images to hold out, class by class, and to test on instead of the
            test images; use it to choose settings.
        study: Iterations, seeds, networks, and the settings that all variants share.
    """

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    dataset: Dataset
    trust_code: bool = False
    dry_run: bool = False
    validation_fraction: float = 0.0
    study: StudyConfig = field(default_factory=StudyConfig)

    def __call__(self) -> int:
        """Run the subcommand and return the exit code: 0; 1 if a task failed; 130 after Ctrl-C."""
        printer = Printer(self.output)
        check_stem(self.stem, self.out)
        device = str(choose_device(self.device))
        source = DataSource(name=self.dataset, config=self.data, validation_fraction=self.validation_fraction)
        study = declared(find_study(self.name, trust_code=self.trust_code), source, self.study)
        if self.dry_run:
            return print_estimate(
                estimate_study(study, self.out, workers=self.workers, device=device), printer
            )
        run = self.ran(printer, study.name, run_study, study)
        if run is None:
            return 130
        write = partial(write_study, run.result, self.facts(), self.out, self.stem)
        return self.report(run.outcome, write, study_record(run.result), printer)

    @property
    def stem(self) -> str:
        """Name of the study's files."""
        if self.label is not None:
            return self.label
        ipc = "" if self.name in {"ipc", *COMPARISONS} else f"-ipc{self.study.method.ipc}"
        on = "-validation" if self.validation_fraction else ""
        return f"{Path(self.name).stem}-{Path(self.dataset).stem}{ipc}{on}"

    def facts(self) -> dict[str, str]:
        """Return how the numbers came about, independent of where tasks ran."""
        config, method = self.study, self.study.method
        scored_on = (
            f"{self.validation_fraction:.0%} of the training images, held out"
            if self.validation_fraction
            else "the test images"
        )
        number = config.iterations or (
            "the published number of" if self.name in COMPARISONS else method.published_iterations
        )
        length = (
            f"{number} iterations"
            if config.image_updates is None
            else f"{config.image_updates} updates of the images"
        )
        where = ", unless a variant has its own" if self.name.endswith((".toml", ".py")) else ""
        if self.name in COMPARISONS:
            where = " where gradients or features are matched, unless a method has its own"
        return {
            "Data set": f"{self.dataset}, scored on {scored_on}",
            "Sets": f"{config.seeds} of each variant, {length}, {method.real_batch} real images per class and step"
            + where,
            **self._search_facts(),
            "Networks": f"{config.repeats} on each set, "
            f"{'the published number of' if config.epochs is None else config.epochs} epochs, augmentation "
            f"{config.augmentation or 'as published for the data set'}",
            **self._comparison_facts(),
            "Command": self.command(),
        }

    def _comparison_facts(self) -> dict[str, str]:
        """Return the protocol of a comparison, and the settings of single methods."""
        if self.name not in COMPARISONS:
            return {}
        protocol = EvaluationConfig()
        own = {"Settings of single methods": ", ".join(self.study.override)} if self.study.override else {}
        return {
            "Protocol of all rows": f"SGD with learning rate {protocol.lr:g}, a tenth of it after half of the epochs, "
            f"momentum {protocol.momentum:g}, weight decay {protocol.weight_decay:g}, batches of {protocol.batch_size}",
            **own,
        }

    def _search_facts(self) -> dict[str, str]:
        """Return how learning rates were searched, if they were."""
        config = self.study
        if not config.image_lrs:
            return {}
        return {
            "Image learning rate": f"searched for each variant among {', '.join(f'{r:g}' for r in config.image_lrs)}: "
            "accuracy of its network on a held-out tenth of the training images, trained on sets condensed from the "
            f"rest, {config.search_seeds} set(s) for each rate, {config.search_repeats} network(s) on each"
        }

    def command(self) -> str:
        """Return the command that reproduces the numbers, without options that change none."""
        words = ["study", self.name, self.dataset, *(["--trust-code"] if self.trust_code else [])]
        if self.validation_fraction:
            words += ["--validation-fraction", str(self.validation_fraction)]
        return f"{command_line(words, self.study, self.data)} --out OUT"


def print_estimate(estimate: StudyEstimate, printer: Printer) -> int:
    """Print the estimate of a study."""
    tasks, finished = (sum(getattr(kind, name) for kind in estimate.kinds) for name in ("tasks", "finished"))
    width = max(len(kind.kind) for kind in estimate.kinds)
    printer.say(f"{tasks} tasks, {finished} of them finished")
    printer.say(f"{'kind of task':{width}}  number  finished  time of one   memory")
    for kind in estimate.kinds:
        seconds = "–" if kind.seconds is None else _about(kind.seconds)
        memory = "–" if kind.memory is None else f"{kind.memory:.0f} MiB"
        printer.say(f"{kind.kind:{width}}  {kind.tasks:6}  {kind.finished:8}  {seconds:>11}  {memory:>8}")
    printer.say(
        f"In total about {_about(estimate.seconds)} with {estimate.jobs} at once, and up to {estimate.memory:.0f} MiB. "
        "Each kind was timed alone; tasks that run side by side slow each other down."
    )
    printer.record({**estimate._asdict(), "kinds": [kind._asdict() for kind in estimate.kinds]})
    return 0


def _about(seconds: float) -> str:
    """Return an estimate as text, with tenths if it is short."""
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)
