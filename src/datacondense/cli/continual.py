"""`datacondense continual`: compare memories in continual learning."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from datacondense.applications.continual_study import ContinualConfig, continual_study, run_continual
from datacondense.applications.stream import Stream, class_stream, domain_stream
from datacondense.cli.commands import command_line
from datacondense.cli.console import Printer
from datacondense.cli.study import print_estimate
from datacondense.cli.tasks import TaskCommand, check_stem
from datacondense.environment import choose_device
from datacondense.errors import InputError
from datacondense.reports.continual_page import continual_record, write_continual
from datacondense.studies.published import shown
from datacondense.studies.running import estimate_study


@dataclass(frozen=True, kw_only=True)
class Continual(TaskCommand):
    """Learn stage after stage with a small memory of the stages before, and compare what fills the memory.

    Stages are data sets with the same classes, in the order given, or the classes of one data set in groups. Each
    stage's part of the memory is made of its own images only. The same command continues a comparison that was stopped.

    Attributes:
        datasets: Names, Hub ids, folders or files, as in `condense`; or a single one, with --stages.
        stages: Number of groups into which the classes of a single data set are cut.
        class_order: Order of the classes in these groups: "seed" (at random, another one for each seed) or "given"
            (that of the data set).
        dry_run: Print the tasks, and an estimate of their time and memory from a short pilot of each kind.
        continual: Memories and protocol.
    """

    datasets: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="DATASET")]
    stages: int | None = None
    class_order: Literal["seed", "given"] = "seed"
    dry_run: bool = False
    continual: ContinualConfig = field(default_factory=ContinualConfig)

    def __post_init__(self) -> None:
        if self.stages is not None and len(self.datasets) > 1:
            raise InputError(
                f"stages is {self.stages}, but {len(self.datasets)} data sets are stages themselves: leave --stages "
                "out, or give one data set."
            )
        if self.stages is None and len(self.datasets) < 2:
            raise InputError(
                f"{self.datasets[0]} alone is no stream: give --stages to cut its classes into groups, or more data "
                "sets."
                if self.datasets
                else "No data set is given: give two or more, or one with --stages."
            )
        if self.stages is None and self.class_order != "seed":
            raise InputError(
                "--class-order is of the classes of one data set: give --stages too, or leave it out."
            )

    def __call__(self) -> int:
        """Run the subcommand and return the exit code: 0; 1 if a task failed; 130 after Ctrl-C."""
        printer = Printer(self.output)
        check_stem(self.stem, self.out)
        device = str(choose_device(self.device))
        stream = self.stream()
        if self.dry_run:
            study = continual_study(stream, self.continual)
            return print_estimate(
                estimate_study(study, self.out, workers=self.workers, device=device), printer
            )
        run = self.ran(printer, "continual", run_continual, stream, self.continual)
        if run is None:
            return 130
        write = partial(write_continual, run.result, self.facts(stream(0)), self.out, self.stem)
        return self.report(run.outcome, write, continual_record(run.result), printer)

    def stream(self) -> Callable[[int], Stream]:
        """Return what gives the stages of a seed; the data sets are read."""
        if self.stages is None:
            same = domain_stream(self.datasets, self.data)
        elif self.class_order == "given":
            same = class_stream(self.datasets[0], self.data, self.stages, None)
        else:
            return cache(partial(class_stream, self.datasets[0], self.data, self.stages))
        return lambda seed: same

    @property
    def stem(self) -> str:
        """Name of the files."""
        if self.label is not None:
            return self.label
        names = "-".join(Path(name).stem for name in self.datasets)
        cut = "" if self.stages is None else f"-{self.stages}-stages"
        protocol = self.continual.protocol
        return f"continual-{names}{cut}-{protocol}-ipc{self.continual.study.method.ipc}"

    def facts(self, stream: Stream) -> dict[str, str]:
        """Return how the numbers came about, independent of where tasks ran."""
        config, study = self.continual, self.continual.study
        shape = "×".join(map(str, stream.stages[0].read().train.image_shape))
        parts = "; ".join(map(shown, stream.names))
        if config.protocol == "end-to-end":
            held = (
                ""
                if config.distillation == "without"
                else f", distillation at temperature {config.distilling.temperature:g} with weight "
                f"{config.distilling.distillation_weight:g}"
            )
            training = (
                f"one for each seed goes on from stage to stage, about {config.steps} steps on new images and memory, "
                f"then {config.fine_tuning_steps} in balance at a tenth of the learning rate{held}"
            )
        else:
            training = (
                f"{study.repeats} fresh ones in each stage on the memory alone, {study.epochs or 'the usual'} epochs; "
                f"{study.full_epochs} on all images"
            )
        return {
            "Stages": f"{parts}{' (in the first seed)' if self.stages and self.class_order == 'seed' else ''}, images "
            f"{shape}",
            "Memory": f"{study.method.ipc} images per class of each stage, {study.seeds} seeds, "
            f"{study.iterations or 'the published number of'} iterations where it is condensed",
            "Networks": training,
            "Command": self.command(),
        }

    def command(self) -> str:
        """Return the command that reproduces the numbers, without options that change none."""
        words = ["continual", *self.datasets]
        if self.stages is not None:
            words += ["--stages", str(self.stages)]
        if self.class_order != "seed":
            words += ["--class-order", self.class_order]
        return f"{command_line(words, self.continual, self.data)} --out OUT"
