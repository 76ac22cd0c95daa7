"""`datacondense compare`: condensed sets beside selected real images and full training, in one table."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from datacondense.cli.machine import Output
from datacondense.cli.study import Study
from datacondense.condensation.registry import ABBREVIATIONS
from datacondense.data.config import DataConfig
from datacondense.errors import InputError
from datacondense.studies.config import StudyConfig
from datacondense.tasks.workers import WorkersConfig


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare methods on a data set: accuracy under one protocol, size, time and memory, in one table.

    The same command continues a comparison that was stopped; finished tasks are never run again.

    Attributes:
        dataset: Name, Hub id, folder or file, as in `condense`.
        out: Folder for records, table and plot.
        methods: What to compare: random, herding, k-center, forgetting, forgetting-learned (without images that were
            never learned), gradient-matching (dc), siamese-matching (dsa), distribution-matching (dm),
            parameter-matching, dataset-distillation (dd). Default: the first four and gradient-matching, as in the
            paper's Table 1.
        against_distillation: Write the paper's Table 3 instead: Dataset Distillation, trained with its own learned
            steps and by the common protocol, beside gradient matching.
        label: Name of the files in OUT. Default: made of the kind of comparison and DATASET.
        dry_run: Print the tasks, and an estimate of their time and memory from one timed step of each kind.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        study: Images per class (--ipcs), iterations, seeds, networks, protocol, and settings of methods.
        workers: How many tasks run at once, and where.
        data: How the data set is read.
        output: How much to print.
    """

    dataset: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATASET")]
    out: Path
    methods: tuple[str, ...] = ()
    against_distillation: bool = False
    label: str | None = None
    dry_run: bool = False
    device: str = "auto"
    study: StudyConfig = field(default_factory=StudyConfig)
    workers: WorkersConfig = field(default_factory=WorkersConfig)
    data: DataConfig = field(default_factory=DataConfig)
    output: Output = field(default_factory=Output)

    def __call__(self) -> int:
        """Run the subcommand."""
        if self.methods and self.study.rows:
            raise InputError("--methods and --rows mean the same: give one of them.")
        if self.methods and self.against_distillation:
            raise InputError("--against-distillation has its own methods: leave --methods out.")
        rows = tuple(ABBREVIATIONS.get(name, name) for name in self.methods) or self.study.rows
        return Study(
            name="distillation" if self.against_distillation else "comparison",
            dataset=self.dataset,
            out=self.out,
            label=self.label,
            dry_run=self.dry_run,
            device=self.device,
            study=replace(self.study, rows=rows),
            workers=self.workers,
            data=self.data,
            output=self.output,
        )()
