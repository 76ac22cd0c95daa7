"""`datacondense noise`: measure how much of the matching gradient is common to networks and batches."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from datacondense.cli.commands import command_line
from datacondense.cli.console import Printer
from datacondense.cli.tasks import Dataset, TaskCommand, check_stem
from datacondense.data.data_source import DataSource
from datacondense.reports.noise_page import write_noise
from datacondense.reports.records import noise_record
from datacondense.studies.noise import NoiseConfig, run_noise


@dataclass(frozen=True, kw_only=True)
class Noise(TaskCommand):
    """Measure how much of the matching gradient is due to the data, and how much to the network and the real batch.

    The pixel gradients of random networks on real batches are split by analysis of variance, for each architecture and
    each gradient transform. The same command continues a measurement that was stopped; `study` may share OUT.

    Attributes:
        dataset: Name, Hub id, folder or file, as in `condense`.
        noise: Networks, transforms, numbers, and the settings that all gradients share.
    """

    dataset: Dataset
    noise: NoiseConfig = field(default_factory=NoiseConfig)

    def __call__(self) -> int:
        """Run the subcommand."""
        printer = Printer(self.output)
        check_stem(self.stem, self.out)
        source = DataSource(name=self.dataset, config=self.data)
        run = self.ran(printer, "noise", run_noise, source, self.noise)
        if run is None:
            return 130
        write = partial(write_noise, run.result, self.facts(), self.out, self.stem)
        return self.report(run.outcome, write, noise_record(run.result), printer)

    @property
    def stem(self) -> str:
        """Name of the files."""
        if self.label is not None:
            return self.label
        learned = f"-iterations{self.noise.iterations}" if self.noise.iterations else ""
        return f"noise-{Path(self.dataset).stem}-ipc{self.noise.method.ipc}{learned}"

    def facts(self) -> dict[str, str]:
        """Return how the numbers came about, independent of where tasks ran."""
        config, method = self.noise, self.noise.method
        images = (
            f"as plain matching with the same network learned them in {config.iterations} iterations"
            if config.iterations
            else {"noise": "initial noise", "real": "initial real images"}[method.start]
        )
        return {
            "Data set": self.dataset,
            "Images": f"{method.ipc} per class, {images}",
            "Gradients": f"R = {config.num_networks} random networks of each architecture, D = {config.num_batches} "
            f"batches of {method.real_batch} real images per class, seed {config.seed}",
            "Command": self.command(),
        }

    def command(self) -> str:
        """Return the command that reproduces the numbers."""
        words = ["noise", self.dataset]
        return f"{command_line(words, self.noise, self.data)} --out OUT"
