"""`datacondense noise`: measure how much of the matching gradient is common to networks and batches."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from datacondense.cli.console import Printer
from datacondense.cli.machine import Output
from datacondense.cli.study import flags, report_tasks, reporter
from datacondense.data.config import DataConfig
from datacondense.data.data_source import DataSource
from datacondense.environment import choose_device
from datacondense.reports.noise_page import write_noise
from datacondense.reports.records import noise_record
from datacondense.studies.noise import NoiseConfig, NoiseRun, run_noise
from datacondense.tasks.workers import WorkersConfig


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Measure how much of the matching gradient is due to the data, and how much to the network and the real batch.

    The pixel gradients of random networks on real batches are split by analysis of variance, for each architecture and
    each gradient transform. The same command continues a measurement that was stopped; `study` may share OUT.

    Attributes:
        dataset: Name, Hub id, folder or file, as in `condense`.
        out: Folder for records, table and plot.
        label: Name of the files in OUT. Default: made of DATASET, the images per class and the iterations; give one to
            keep several measurements side by side.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        noise: Networks, transforms, numbers, and the settings that all gradients share.
        workers: How many tasks run at once, and where.
        data: How the data set is read.
        output: How much to print.
    """

    dataset: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATASET")]
    out: Path
    label: str | None = None
    device: str = "auto"
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    workers: WorkersConfig = field(default_factory=WorkersConfig)
    data: DataConfig = field(default_factory=DataConfig)
    output: Output = field(default_factory=Output)

    def __call__(self) -> int:
        """Run the subcommand."""
        printer = Printer(self.output)
        source = DataSource(name=self.dataset, config=self.data)
        with printer.ticker("noise") as tick:
            try:
                run = run_noise(
                    source,
                    self.noise,
                    self.out,
                    workers=self.workers,
                    device=str(choose_device(self.device)),
                    observer=reporter(tick),
                )
            except KeyboardInterrupt:
                printer.note("Stopped. Run the same command again to continue.")
                return 130
        return self._report(run, printer)

    def _report(self, run: NoiseRun, printer: Printer) -> int:
        """Write the table, and report where it is and what failed."""
        return report_tasks(
            run.outcome,
            self.out,
            lambda: write_noise(run.result, self.facts(), self.out, self.stem),
            noise_record(run.result),
            printer,
        )

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
        words = ["datacondense", "noise", self.dataset]
        for config in (self.noise, self.noise.method, self.data):
            words += flags(config)
        return shlex.join([*words, "--out", "OUT"])
