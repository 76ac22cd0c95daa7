"""`datacondense study`: run a grid of experiments and write its table."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from datacondense.cli.console import Printer, Ticker, duration
from datacondense.cli.machine import Output
from datacondense.data.config import DataConfig
from datacondense.data.data_source import DataSource
from datacondense.environment import choose_device
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.reports.records import study_record
from datacondense.reports.study_page import write_study
from datacondense.studies.catalogue import find_study
from datacondense.studies.comparison_catalogue import COMPARISONS
from datacondense.studies.config import StudyConfig
from datacondense.studies.running import StudyRun, declared, estimate_study, run_study
from datacondense.tasks.pilot import StudyEstimate
from datacondense.tasks.scheduler import Outcome, StudyProgress
from datacondense.tasks.store import TASKS
from datacondense.tasks.workers import WorkersConfig

_SHOWN_FAILURES = 5


@dataclass(frozen=True, kw_only=True)
class Study:
    """Run a grid of experiments: condense, evaluate, and write the table beside the published one.

    The same command continues a study that was stopped or killed. Finished tasks are never run again, and studies with
    the same --out share them.

    Attributes:
        name: cross-architecture, ipc, activation, pooling, norm, depth, width, distance; of noise-aware matching:
            teacher, representatives, masks, noise-aware; of methods, as `compare` runs them: comparison, distillation;
            or your own study, a .toml or .py file.
        dataset: Name, Hub id, folder or file, as in `condense`.
        out: Folder for records, tables and plots.
        label: Name of the study's files in OUT. Default: made of NAME, DATASET and the images per class; give one to
            keep two studies of that name side by side.
        dry_run: Print the tasks, and an estimate of their time and memory from one timed step of each kind.
        validation_fraction: Fraction of the training images to hold out, class by class, and to test on instead of the
            test images; use it to choose settings.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        study: Iterations, seeds, networks, and the settings that all variants share.
        workers: How many tasks run at once, and where.
        data: How the data set is read.
        output: How much to print.
    """

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    dataset: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATASET")]
    out: Path
    label: str | None = None
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
            The exit code: 0; 1 if a task failed; 130 after Ctrl-C.
        """
        printer = Printer(self.output)
        device = str(choose_device(self.device))
        source = DataSource(name=self.dataset, config=self.data, validation_fraction=self.validation_fraction)
        study = declared(find_study(self.name), source, self.study)
        if self.dry_run:
            return _print_estimate(
                estimate_study(study, self.out, workers=self.workers, device=device), printer
            )
        with printer.ticker(study.name) as tick:
            try:
                run = run_study(study, self.out, workers=self.workers, device=device, observer=reporter(tick))
            except KeyboardInterrupt:
                printer.note("Stopped. Run the same command again to continue.")
                return 130
        return self._report(run, printer)

    def _report(self, run: StudyRun, printer: Printer) -> int:
        """Write the table, and report where it is and what failed."""
        return report_tasks(
            run.outcome,
            self.out,
            lambda: write_study(run.result, self.facts(), self.out, self.stem),
            study_record(run.result),
            printer,
        )

    @property
    def stem(self) -> str:
        """Name of the study's files."""
        if self.label is not None:
            return self.label
        ipc = "" if self.name in {"ipc", *COMPARISONS} else f"-ipc{self.study.method.ipc}"
        on = "-validation" if self.validation_fraction else ""
        return f"{Path(self.name).stem}-{Path(self.dataset).stem}{ipc}{on}"

    def facts(self) -> dict[str, str]:
        """Return how the numbers came about, independent of where tasks ran.

        Returns:
            Facts by name.
        """
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
        return {
            "Data set": f"{self.dataset}, scored on {scored_on}",
            "Sets": f"{config.seeds} of each variant, {length}, {method.real_batch} real images per class and step"
            + (
                " where gradients or features are matched, unless a method has its own"
                if self.name in COMPARISONS
                else ""
            ),
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
        """Return the command that reproduces the numbers.

        Returns:
            The command, without options that change no number.
        """
        words = ["datacondense", "study", self.name, self.dataset]
        if self.validation_fraction:
            words += ["--validation-fraction", str(self.validation_fraction)]
        for config in (self.study, self.study.method, self.data):
            words += flags(config)
        return shlex.join([*words, "--out", "OUT"])


def report_tasks(
    outcome: Outcome,
    out: Path,
    write: Callable[[], list[Path]],
    numbers: Mapping[str, Any],
    printer: Printer,
) -> int:
    """Report what failed, write the files, and report where they are."""
    _print_failures(outcome, out, printer)
    files = write()
    printer.say(f"{len(outcome.computed)} tasks computed, {len(outcome.reused)} reused: {files[0]}")
    printer.record({
        "files": [str(path) for path in files],
        "computed": len(outcome.computed),
        "reused": len(outcome.reused),
        "failed": dict(outcome.failed),
        "blocked": len(outcome.blocked),
        **numbers,
    })
    return 1 if outcome.failed or outcome.blocked else 0


def _print_failures(outcome: Outcome, out: Path, printer: Printer) -> None:
    """Print which tasks failed, and what to do about it."""
    for key, error in list(outcome.failed.items())[:_SHOWN_FAILURES]:
        printer.note(f"Failed: {out / TASKS / key}: {error}")
    if outcome.failed:
        printer.note(
            f"Failed tasks: {len(outcome.failed)}; tasks not run because an input failed: {len(outcome.blocked)}. "
            "Each failure.json has the details. The same command tries again."
        )


def flags(config: Any) -> list[str]:
    """Return the options for all values that are not defaults."""
    words: list[str] = []
    for known in fields(config):
        value, option = getattr(config, known.name), f"--{known.name.replace('_', '-')}"
        if is_dataclass(value) or value == known.default:
            continue
        if value is True:
            words.append(option)
        elif tyro.conf.UseAppendAction in getattr(known.type, "__metadata__", ()):
            words += [word for item in value for word in (option, str(item))]
        else:
            words += [option, *map(str, value if isinstance(value, tuple) else (value,))]
    return words


def _print_estimate(estimate: StudyEstimate, printer: Printer) -> int:
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
    printer.record(asdict(estimate))
    return 0


def _about(seconds: float) -> str:
    """Return an estimate as text, with tenths if it is short."""
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def reporter(tick: Ticker) -> Callable[[StudyProgress], None]:
    """Return an observer that shows the progress of a study."""

    def report(progress: StudyProgress) -> None:
        left = "" if progress.seconds_left is None else f", {duration(progress.seconds_left)} left"
        tick(
            progress.done + progress.failed,
            progress.total,
            f"{progress.done} of {progress.total} tasks done, {progress.running} running, {progress.failed} failed, "
            f"{duration(progress.seconds)}{left}",
        )

    return report
