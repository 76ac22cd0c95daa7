"""`datacondense compare`: condensed sets beside selected real images and full training, in one table."""

from dataclasses import dataclass, field, fields, replace

from datacondense.cli.study import Study
from datacondense.cli.tasks import Dataset, TaskCommand
from datacondense.condensation.registry import ABBREVIATIONS
from datacondense.errors import InputError
from datacondense.studies.config import StudyConfig


@dataclass(frozen=True, kw_only=True)
class Compare(TaskCommand):
    """Compare methods on a data set: accuracy under one protocol, size, time and memory, in one table.

    The same command continues a comparison that was stopped; finished tasks are never run again.

    Attributes:
        dataset: Name, Hub id, folder or file, as in `condense`.
        methods: What to compare: random, herding, k-center, forgetting, forgetting-learned (without images that were
            never learned), gradient-matching (dc), siamese-matching (dsa), distribution-matching (dm),
            parameter-matching, dataset-distillation (dd), or "package.module:name" of your own, a method or a function
            (images, ipc, seed) that returns a set. Default: the first four and gradient-matching, as in the paper's
            Table 1.
        against_distillation: Write the paper's Table 3 instead: Dataset Distillation, trained with its own learned
            steps and by the common protocol, beside gradient matching.
        dry_run: Print the tasks, and an estimate of their time and memory from a short pilot of each kind.
        study: Images per class (--ipcs), iterations, seeds, networks, protocol, and settings of methods.
    """

    dataset: Dataset
    methods: tuple[str, ...] = ()
    against_distillation: bool = False
    dry_run: bool = False
    study: StudyConfig = field(default_factory=StudyConfig)

    def __call__(self) -> int:
        """Run the subcommand."""
        if self.methods and self.study.rows:
            raise InputError("--methods and --rows mean the same: give one of them.")
        if self.methods and self.against_distillation:
            raise InputError("--against-distillation has its own methods: leave --methods out.")
        rows = tuple(ABBREVIATIONS.get(name, name) for name in self.methods or self.study.rows)
        shared = {known.name: getattr(self, known.name) for known in fields(TaskCommand)}
        shared |= {"dataset": self.dataset, "dry_run": self.dry_run, "study": replace(self.study, rows=rows)}
        return Study(name="distillation" if self.against_distillation else "comparison", **shared)()
