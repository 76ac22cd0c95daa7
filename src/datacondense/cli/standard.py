"""`datacondense evaluate --standard`: a set beside real images of the same storage, in one table."""

import os
from dataclasses import dataclass, field
from functools import partial
from math import isnan
from pathlib import Path
from typing import Annotated

import tyro

from datacondense.cli.commands import command_line
from datacondense.cli.console import Printer
from datacondense.cli.tasks import TaskCommand, check_stem
from datacondense.data.data_source import DataSource
from datacondense.errors import InputError
from datacondense.reports.layout import number
from datacondense.reports.records import study_record
from datacondense.reports.study_page import write_study
from datacondense.run_folder import RunFolder
from datacondense.studies.running import run_study
from datacondense.studies.standard import StandardConfig, standard, standard_scores


@dataclass(frozen=True, kw_only=True)
class EvaluateStandard(TaskCommand):
    """Score a set with kinds of labels, augmentations and networks, beside random images and coresets of its storage.

    The same command continues what was stopped or killed. Finished tasks are never run again.

    Attributes:
        sets: Files or run folders of a set, or of several that one method made: intervals are over these.
        on: The data set that it stands for; names and paths as in `condense`.
        standard: Score to this standard; without it, `evaluate` scores the set alone.
        config: Networks, augmentations, lengths.
    """

    sets: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SET")]
    on: str
    standard: bool = False
    config: StandardConfig = field(default_factory=StandardConfig)

    def __call__(self) -> int:
        """Run the subcommand and return the exit code: 0; 1 if a task failed; 130 after Ctrl-C."""
        printer = Printer(self.output)
        if not self.sets:
            raise InputError("No set is given: name at least one.")
        stem = f"standard-{self.sets[0].stem}" if self.label is None else self.label
        check_stem(stem, self.out)
        files = [RunFolder(path).result if os.path.isdir(path) else path for path in self.sets]
        study = standard(DataSource(name=self.on, config=self.data), files, self.config)
        run = self.ran(printer, "standard", run_study, study)
        if run is None:
            return 130
        scores = standard_scores(run.result)
        lines = [f"{name.upper()}: {number(value, '.3f', 'unknown')}" for name, value in scores.items()]
        part = f"## Scores of DD-Ranking\n\n{', '.join(lines)}. {_SCORES}"
        write = partial(write_study, run.result, self.facts(), self.out, stem, [part])
        known = {name: None if isnan(value) else value for name, value in scores.items()}
        code = self.report(run.outcome, write, {**known, **study_record(run.result)}, printer)
        printer.say("\n".join(lines))
        return code

    def facts(self) -> dict[str, str]:
        """Return how the numbers came about, independent of where tasks ran."""
        config = self.config
        words = ["evaluate", *map(str, self.sets), "--on", self.on, "--standard"]
        return {
            "Set": ", ".join(map(str, self.sets)),
            "Data set": f"{self.on}, scored on the test images",
            "Beside": f"{', '.join([f'random images ({config.random_sets} sets)', *config.coresets])}; of the same "
            "number of stored images with the same factor",
            "Networks": f"{config.repeats} on each set; {config.epochs} epochs, but for the set's own protocol; "
            "after the last epoch",
            "Command": f"{command_line(words, config, self.data)} --out OUT",
        }


_SCORES = (
    "LRS is the label-robust score: how far the set is ahead of random images by its own protocol, and how far behind "
    "the full data set with hard labels. ARS, the augmentation-robust score, is how far it is ahead of random images "
    "with and without augmentation. 0.27 stands for no difference; see docs/evaluation.md."
)
