"""`datacondense search`: compare architectures on small sets, and judge how these rank them."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from datacondense.applications.architecture_search import run_search
from datacondense.applications.search_config import SearchConfig
from datacondense.applications.search_space import SearchSpace, read_space
from datacondense.cli.commands import command_line
from datacondense.cli.console import Printer
from datacondense.cli.tasks import Dataset, TaskCommand, check_stem
from datacondense.data.data_source import DataSource
from datacondense.errors import InputError
from datacondense.reports.records import search_record
from datacondense.reports.search_page import write_search


@dataclass(frozen=True, kw_only=True)
class Search(TaskCommand):
    """Find an architecture by training many on a small set, and compare with training on the full set.

    The same command continues a search that was stopped; started several times with one --storage, on one machine or on
    many, it shares the work. Optuna's dashboard opens the storage.

    Attributes:
        dataset: Name, Hub id, folder or file, as in `condense`.
        space: TOML file with the architectures, instead of the options for them.
        trust_code: Import networks of your own that the TOML file names.
        storage: URL of the database of trials, such as postgresql+psycopg://user@host/name. Default: a file in OUT.
        heartbeat: Seconds between two signs of life of a worker; after three without one it counts as dead.
        search: Proxies, training, sampler and architectures.
    """

    dataset: Dataset
    space: Path | None = None
    trust_code: bool = False
    storage: str | None = None
    heartbeat: int = 10
    search: SearchConfig = field(default_factory=SearchConfig)

    def __call__(self) -> int:
        """Run the subcommand."""
        printer = Printer(self.output)
        check_stem(self.stem, self.out)
        config, data = self.config(), DataSource(name=self.dataset, config=self.data)
        run = self.ran(
            printer, "search", run_search, data, config, storage=self.storage, heartbeat=self.heartbeat
        )
        if run is None:
            return 130
        write = partial(write_search, run.result, self.facts(config), self.out, self.stem)
        return self.report(run.outcome, write, search_record(run.result), printer)

    def config(self) -> SearchConfig:
        """Return the settings, with the architectures of the file."""
        if self.space is None:
            return self.search
        if self.search.space != SearchSpace():
            raise InputError(
                "--space and options such as --widths both name architectures: give one of them."
            )
        return replace(self.search, space=read_space(self.space, trust_code=self.trust_code))

    @property
    def stem(self) -> str:
        """Name of the files."""
        usual = f"search-{Path(self.dataset).stem}-ipc{self.search.method.ipc}"
        return usual if self.label is None else self.label

    def facts(self, config: SearchConfig) -> dict[str, str]:
        """Return how the numbers came about, independent of where tasks ran."""
        tried = (
            "each of them"
            if config.trials is None
            else f"{config.trials} of them on each proxy, by {config.sampler}"
        )
        reference = (
            f"{config.reference_epochs} epochs on the full training set"
            if config.reference_epochs
            else "none"
        )
        return {
            "Data set": f"{self.dataset}; {config.validation_fraction:.0%} of the training images, held out, rank the "
            "architectures",
            "Architectures": f"{len(config.space.architectures)}, {tried}",
            "Proxies": f"{config.method.ipc} images per class, {config.epochs} epochs, {config.repeats} network(s) of "
            f"each architecture, augmentation {config.augmentation}",
            "Reference": reference,
            "Command": self.command(),
        }

    def command(self) -> str:
        """Return the command that reproduces the numbers, without the storage, which may have a password."""
        words = ["search", self.dataset]
        if self.space is not None:
            words += ["--space", str(self.space), *(["--trust-code"] if self.trust_code else [])]
        return f"{command_line(words, self.search, self.data)} --out OUT"
