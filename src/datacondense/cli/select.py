"""`datacondense select`: select real images, the baselines of condensation."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro

from datacondense.cli.commands import what_next
from datacondense.cli.console import Printer, Ticker
from datacondense.cli.machine import Machine, Output
from datacondense.cli.sets import described
from datacondense.data.config import DataConfig
from datacondense.data.data_source import DataSource
from datacondense.data.npz import read_features
from datacondense.errors import InputError
from datacondense.files import refuse_existing, refuse_own_input
from datacondense.image_set import ImageSet
from datacondense.reports.layout import duration
from datacondense.selection.by_class import select_tiled
from datacondense.selection.by_network import (
    SELECT_BY_FEATURES,
    SelectionConfig,
    select,
    selection_store,
    selection_task,
    training_to_do,
)
from datacondense.selection.full_tasks import TrainFull
from datacondense.tasks.pilot import seconds_of
from datacondense.tasks.scheduler import StudyProgress
from datacondense.tasks.store import Store


@dataclass(frozen=True, kw_only=True)
class Select:
    """Select real images of each class: the baselines of condensation.

    Herding and k-center compare the features of a network that is trained on the full data set, forgetting watches its
    training, and RDED has it score crops. Network and features are kept in --selections, so the next selection takes
    seconds; training that was stopped continues with the same command.

    Attributes:
        dataset: Name, Hub id, folder or file, as in `condense`.
        out: The .safetensors file to write, for `evaluate`, `show` and `export`. Its provenance keeps the positions of
            the selected images in the training set.
        features: Your own features for herding or k-center, instead of those of a trained network: a .npy file
            with one row of floating-point numbers for each training image, in their order.
        selections: Folder where trained networks and features are kept. Default: datacondense in $XDG_CACHE_HOME or
            ~/.cache.
        force: Replace OUT where it exists.
        selection: The method, and the network that it relies on.
        data: How the data set is read.
        machine: Where to compute.
        output: How much to print.
    """

    dataset: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATASET")]
    out: Path
    features: Path | None = None
    selections: Path | None = None
    force: bool = False
    selection: SelectionConfig
    data: DataConfig = field(default_factory=DataConfig)
    machine: Machine = field(default_factory=Machine)
    output: Output = field(default_factory=Output)

    def __call__(self) -> int:
        """Run the subcommand."""
        printer = Printer(self.output)
        self._check()
        device = self.machine.prepare()
        source = DataSource(name=self.dataset, config=self.data)
        began = time.monotonic()
        try:
            if self.features is None:
                selected = self._by_network(source, device, printer)
            else:
                selected = self._by_features(source, self.features)
        except KeyboardInterrupt:
            printer.note("Stopped. Run the same command again to continue.")
            return 130
        selected.save(self.out)
        self._report(selected, time.monotonic() - began, printer, scorable=source.read().has_test)
        return 0

    def _check(self) -> None:
        """Refuse at once what would fail after minutes, and options that contradict each other."""
        refuse_own_input(self.out, Path(self.dataset), *([self.features] if self.features else []))
        refuse_existing(self.out, force=self.force)
        by_features = self.selection.method in SELECT_BY_FEATURES
        if self.features is not None and not by_features:
            raise InputError(
                f"--features applies only to {' and '.join(SELECT_BY_FEATURES)}, not {self.selection.method}: leave it "
                f"out, or give --method {' or '.join(SELECT_BY_FEATURES)}."
            )
        if self.features is not None and self.selection.soft_labels is not None:
            raise InputError(
                "--soft-labels needs a trained teacher, which --features does without: leave one out."
            )

    def _by_network(self, source: DataSource, device: torch.device, printer: Printer) -> ImageSet:
        """Select by a trained network, once its training time is announced; or at random."""
        store = selection_store(self.selections)
        seconds = announced(
            training_to_do(selection_task(source, self.selection), store), store, device, printer
        )
        with printer.ticker("select") as tick:
            return select(
                source,
                self.selection,
                cache=self.selections,
                device=str(device),
                observer=reporter(tick, seconds),
            )

    def _by_features(self, source: DataSource, path: Path) -> ImageSet:
        """Select by the user's features."""
        config, train, features = self.selection, source.read().train, read_features(path)
        choose = SELECT_BY_FEATURES[config.method]
        selected = select_tiled(
            train, config.ipc, config.ipc_of, config.factor, lambda ipc: choose(train, ipc, features)
        )
        return replace(selected, provenance={**selected.provenance, "features": {"file": str(path)}})

    def _report(self, selected: ImageSet, seconds: float, printer: Printer, *, scorable: bool) -> None:
        """Print what was selected and what to do with it."""
        printer.say(
            f"{described(selected)} selected by {self.selection.method} in {duration(seconds)}: {self.out}"
        )
        printer.say(
            what_next(self.out, self.out.with_suffix(".png"), self.dataset if scorable else None, self.data)
        )
        printer.record({
            "result": str(self.out),
            "fingerprint": selected.fingerprint,
            "seconds": seconds,
            "provenance": dict(selected.provenance),
        })


def announced(training: TrainFull | None, store: Store, device: torch.device, printer: Printer) -> float:
    """Return how many seconds the training takes that is still to do, and print it; 0 where there is none."""
    if training is None:
        return 0.0
    seconds = seconds_of(training, torch.get_num_threads(), str(device))
    source = training.data
    printer.note(
        f"First {training.protocol.network} is trained on the {len(source.read().train)} training images of "
        f"{source.name}, {training.protocol.epochs} epochs: about {duration(max(1.0, seconds))}. It is kept in "
        f"{store.path} for other selections."
    )
    return seconds


def reporter(tick: Ticker, seconds: float) -> Callable[[StudyProgress], None]:
    """Return the observer that shows how far a selection is."""

    def report(progress: StudyProgress) -> None:
        if progress.total == 0:
            return
        over = progress.done + progress.failed == progress.total
        expected = f" of about {duration(seconds)}" if seconds and not over else ""
        tick(
            progress.seconds,
            progress.seconds if over else max(seconds, progress.seconds + 1),
            f"{progress.done} of {progress.total} steps done, {duration(progress.seconds)}{expected}",
        )

    return report
