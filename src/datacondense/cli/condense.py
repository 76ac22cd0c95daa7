"""`datacondense condense`: learn a condensed set."""

import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar

import torch
import tyro

from datacondense.cli.commands import told_what_is_given, what_next
from datacondense.cli.console import Printer
from datacondense.cli.machine import Machine, Output
from datacondense.cli.processes import Sharing
from datacondense.cli.select import announced
from datacondense.cli.select import reporter as selection_reporter
from datacondense.cli.sets import described
from datacondense.cli.watching import Watching, reporter
from datacondense.condensation.candidates import SEARCH, SHARE, Found, candidates, search
from datacondense.condensation.estimate import RunEstimate, estimate_run
from datacondense.condensation.loop import RunConfig, condense
from datacondense.condensation.method import MethodConfig
from datacondense.condensation.presets import (
    FAST,
    PUBLISHED,
    Preset,
    budget_seconds,
    planned,
    preset_for,
    presets,
)
from datacondense.condensation.registry import METHODS, method_named
from datacondense.data.config import DataConfig
from datacondense.data.data_source import DataSource
from datacondense.data.sources import load
from datacondense.data.validation import hold_out
from datacondense.errors import InputError
from datacondense.evaluation.full_training import TrainedNetwork
from datacondense.evaluation.soft_labels import check_temperature
from datacondense.files import free_space
from datacondense.image_set import ImageSet
from datacondense.networks.names import usual_network
from datacondense.ranks import Ranks, current_ranks
from datacondense.reports.layout import duration
from datacondense.run_folder import RunFolder
from datacondense.selection.by_network import selection_store
from datacondense.selection.teacher import teacher_task, trained_teacher

DEFAULT_METHOD = "gradient-matching"

ConfigT = TypeVar("ConfigT", bound=MethodConfig)


@dataclass(frozen=True, kw_only=True)
class Condense(Generic[ConfigT]):
    """Learn a few synthetic images per class that train networks as the full data set does.

    Attributes:
        dataset: Name (mnist, fashion-mnist, svhn, cifar10, cifar100, usps, tiny-imagenet, imagenette, imagewoof,
            imagenet-100, digits), Hub id, folder of images or of tar files, .parquet or .npz file.
        out: Folder for settings, checkpoints, metrics and the result, OUT/condensed.safetensors.
        budget: "fast": in minutes, by settings that suit the data, see docs/condensation.md; a time such as 90s,
            10m or 2h: likewise, with as many iterations as fit; "published": the method's published settings and
            iterations. Options that are given stand.
        tune: Search a third of the budget's time among a few settings near the preset, on training images that are held
            out for this; then learn from all of them by the best.
        dry_run: Print what the run would take in time, memory and disk, by some of its steps; --tune, a teacher and
            validations are left out. Nothing is written.
        resume: Continue the unfinished run in OUT.
        force: Discard what an earlier run left in OUT.
        soft_labels: Teacher that labels the images with distributions over the classes: the name of a network, which is
            trained on the full data set and kept in the cache, or a file network.safetensors.
        temperature: T of these labels, softmax(logits / T), and of training on them.
        validation_fraction: Share of the training images held out, class by class, for --validate-every; 0 to 1.
        method: gradient-matching (dc), siamese-matching (dsa), idc, distribution-matching (dm), parameter-matching,
            dataset-distillation (dd), or your own as package.module:Class. Each has settings of its own:
            `--method NAME --help` lists them. Default: by the budget, gradient-matching for "published".
        settings: Settings of the method.
        run: Seed, length and reports.
        watching: What follows the run.
        data: How the data set is read.
        machine: Where to compute.
        sharing: How many processes share the classes.
        output: How much to print.
    """

    dataset: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATASET")]
    given: ClassVar[frozenset[str]] = frozenset()
    """Names of the options that are given."""

    out: Path
    budget: str = FAST
    tune: bool = False
    dry_run: bool = False
    resume: bool = False
    force: bool = False
    soft_labels: str | None = None
    temperature: float = 1.0
    validation_fraction: float = 0.0
    method: str | None = None
    settings: ConfigT
    run: RunConfig = field(default_factory=RunConfig)
    watching: Watching = field(default_factory=Watching)
    data: DataConfig = field(default_factory=DataConfig)
    machine: Machine = field(default_factory=Machine)
    sharing: Sharing = field(default_factory=Sharing)
    output: Output = field(default_factory=Output)

    def __call__(self) -> int:
        """Run the subcommand."""
        printer, ranks = Printer(self.output), current_ranks()
        with ranks.joint():
            self._check(ranks)
            device = self.machine.prepare()
            splits = load(self.dataset, self.data)
            train, validation = splits.train, None
            if self.validation_fraction:
                train, validation = hold_out(train, self.validation_fraction, self.run.seed)
            # It labels the result, which the first rank makes.
            teacher = None if self.dry_run or not ranks.is_first else self._teacher(device, printer)
        settings, run, why = self._sized(train)._planned(train, device, printer)
        if self.dry_run:
            return self._estimated(estimate_run(train.to(device), settings, run), why, printer)
        watching = self.watching if ranks.is_first else Watching()
        with (
            printer.ticker("condense") as tick,
            watching.observer(self.out, reporter(tick, printer.note, why)) as observer,
        ):
            try:
                condensed = condense(
                    train,
                    settings,
                    run,
                    validation=validation,
                    teacher=teacher,
                    temperature=self.temperature,
                    directory=self.out,
                    resume=self.resume,
                    force=self.force,
                    device=device,
                    observer=observer,
                )
            except KeyboardInterrupt:
                option = "--resume in the place of --force" if self.force else "--resume"
                printer.note(f"Stopped. Run the same command with {option} to continue from {self.out}.")
                return 130
        if ranks.is_first:
            self._report(condensed, printer, scorable=splits.has_test)
        return 0

    def _check(self, ranks: Ranks) -> None:
        """Refuse options that do not go together, and a folder that cannot be written to."""
        if not 0 <= self.validation_fraction < 1:
            raise InputError(
                f"validation_fraction is {self.validation_fraction}, but must be at least 0 and below 1."
            )
        if not budget_seconds(self.budget) and self.tune:
            raise InputError(
                f"tune searches within a time, but budget is {self.budget!r}: give one such as --budget 10m."
            )
        if self.tune and ranks.size > 1:
            raise InputError(f"tune searches in one process, but there are {ranks.size}: leave --tune out.")
        if self.soft_labels is None and "temperature" in self.given:
            raise InputError(
                "--temperature is of a teacher's labels: give --soft-labels too, or leave it out."
            )
        self.watching.check(self.out)
        if not self.dry_run and ranks.is_first:
            RunFolder(self.out).check(resume=self.resume, force=self.force)

    def _teacher(self, device: torch.device, printer: Printer) -> TrainedNetwork | None:
        """Return the teacher, trained first where it is not kept."""
        check_temperature(self.temperature)
        if self.soft_labels is None:
            return None
        data, store = DataSource(name=self.dataset, config=self.data), selection_store()
        task = teacher_task(self.soft_labels, data)
        seconds = announced(
            None if task is None or store.finished(task.key) else task, store, device, printer
        )
        with printer.ticker("teacher") as tick:
            observer = selection_reporter(tick, seconds)
            return trained_teacher(self.soft_labels, data, device=str(device), observer=observer)

    def _sized(self, train: ImageSet) -> Self:
        """Return the command with the network that is usual for the size of the images, unless one is given."""
        if "network" in self.given or self.settings.network != MethodConfig.network:
            return self
        return replace(self, settings=replace(self.settings, network=usual_network(train.image_shape)))

    def _planned(
        self, train: ImageSet, device: torch.device, printer: Printer
    ) -> tuple[MethodConfig, RunConfig, str]:
        """Return the settings, for what is not given a preset's or those of a run that is resumed; and why."""
        folder = RunFolder(self.out)
        found = current_ranks().of_first(
            lambda: folder.settings() if self.resume and folder.has_settings else None
        )
        if found is not None:
            return *self._recorded(found), ""
        seconds = budget_seconds(self.budget)
        if seconds is None:
            return self.settings, self.run, ""
        began = time.monotonic()
        given = self._given()
        fitting = partial(
            preset_for, train, self.settings.ipc, device, seconds=seconds, network=self.settings.network
        )
        preset = fitting(method=None if self.method is None else type(self.settings))
        if not given.keys() <= {known.name for known in fields(preset.method)}:  # options of another method
            preset = fitting(method=type(self.settings))
        scores: list[Found] = []
        if self.tune and not self.dry_run:
            kinds = dict.fromkeys(method_named(row["method"]) for row in presets())
            others = [fitting(method=kind) for kind in kinds if self.method is None and kind != preset.method]
            tried = candidates(preset, others, train, given)
            scores = self._searched(tried, train, device, printer, SHARE * seconds)
            preset = tried[max(range(len(tried)), key=lambda index: scores[index]["accuracy"])]
            preset = replace(preset, why=f"the best of {len(tried)} on held-out training images")
        spent = time.monotonic() - began
        method, run = planned(preset, train.to(device), self.run, self.budget, given, spent=spent)
        if scores:
            run = replace(run, preset={"settings": {}, **(run.preset or {}), "search": scores})
        return method, run, _sentence(preset, run) if run.preset else ""

    def _searched(
        self, tried: list[Preset], train: ImageSet, device: torch.device, printer: Printer, seconds: float
    ) -> list[Found]:
        """Score candidates, and print what each reaches."""

        def observe(found: Found) -> None:
            words = _options({"method": found["method"], **found["settings"]})
            printer.note(f"{words}: {100 * found['accuracy']:.2f} % on held-out training images")

        path = self.out / SEARCH
        return search(
            tried,
            train,
            self.run,
            self._given(),
            seconds,
            device=device,
            path=path,
            resume=self.resume,
            observer=observe,
        )

    def _given(self) -> dict[str, Any]:
        """Return the method's settings that are given as options."""
        names = {known.name for known in fields(self.settings)} & self.given
        if self.settings.network != MethodConfig.network:  # given, or that of the images' size
            names = names | {"network"}
        return {name: getattr(self.settings, name) for name in names}

    def _recorded(self, found: Mapping[str, Any]) -> tuple[MethodConfig, RunConfig]:
        """Return the settings with what a run with these took from its preset."""
        kept = found.get("run", {}).get("preset")
        # A file names no code: neither a method nor a setting of one's own comes from it.
        kind = METHODS.get(str(found.get("method"))) if self.method is None else None
        if not kept and kind in {None, type(self.settings)}:
            return self.settings, self.run
        settings = {
            name: value
            for name, value in (kept or {"settings": {}})["settings"].items()
            if not (isinstance(value, str) and ":" in value)
        }
        preset = Preset(
            name="", method=kind or type(self.settings), settings=settings, iterations=None, why=""
        )
        before = found["run"]
        run = replace(
            self.run,
            iterations=self.run.iterations or before["iterations"],
            time_limit=self.run.time_limit or before["time_limit"],
            preset=kept,
        )
        return preset.built(self._given()), run

    def _estimated(self, estimate: RunEstimate, why: str, printer: Printer) -> int:
        """Print what the run would take."""
        free, number = free_space(self.out), current_ranks().size
        each = "" if number == 1 else f" in each of {number} processes"
        lines = [
            why,
            f"Time: {estimate.iterations} iterations of {estimate.seconds_each:.3g} s, {duration(estimate.seconds)}",
            f"Memory: {estimate.memory:,} MiB"
            + ("" if estimate.device_memory is None else f", and {estimate.device_memory:,} MiB on the GPU")
            + each,
            f"Disk: {estimate.disk / 1e6:,.3g} MB in {self.out}, which has {free / 1e9:,.1f} GB free",
        ]
        printer.say("\n".join(filter(None, lines)))
        printer.record({**estimate._asdict(), "disk_free": free})
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
    return told_what_is_given(Condense[settings], args)


def _sentence(preset: Preset, run: RunConfig) -> str:
    """Return what a preset decides, as options, and why."""
    assert run.preset is not None
    method = next((name for name, kind in METHODS.items() if kind is preset.method), preset.method.__name__)
    options = {"method": method, **run.preset["settings"], "iterations": run.iterations}
    return f"{_options(options)}: {preset.why}. --budget {PUBLISHED} runs the published schedule."


def _options(values: Mapping[str, Any]) -> str:
    """Return settings as options."""
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in values.items())
