"""`datacondense noise`: measure how much of the matching gradient belongs to the data."""

# ruff: noqa: PLC0415 — torch and what stands on it load when the subcommand runs, so that --help need not wait.

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from datacondense.cli.console import Printer
from datacondense.cli.machine import Output
from datacondense.cli.study import flags, report_tasks, reporter
from datacondense.data.config import DataConfig
from datacondense.studies.noise_config import NoiseConfig
from datacondense.studies.workers import WorkersConfig

if TYPE_CHECKING:
    from datacondense.studies.noise_running import NoiseRun


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Measure how much of what is matched belongs to the data, and how much to the particular network and real batch.

    Pixel gradients of random networks on real batches are split by analysis of variance, for each network and each
    gradient transform. The same command continues a measurement that was stopped; cells are recorded as by `study`,
    which may share OUT.

    Attributes:
        dataset: Name, Hub id, folder or file, as in `condense`.
        out: Folder for cells, table and plot.
        label: Name of the files in OUT. Default: made of DATASET, the images per class and the draws; give one where
            several measurements shall stand side by side.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        noise: Networks, transforms, their numbers, and the settings that all gradients share.
        workers: How many cells run at once, and where.
        data: How the data set is read.
        output: How much to say.
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
        """Run the subcommand.

        Returns:
            The exit code: 0; 1 where a cell failed; 130 after Ctrl-C.
        """
        from datacondense.environment import choose_device
        from datacondense.studies.data_source import DataSource
        from datacondense.studies.noise_running import run_noise

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

    def _report(self, run: "NoiseRun", printer: Printer) -> int:
        """Write the table, and say where it is and what failed."""
        from datacondense.reports.noise import write_noise
        from datacondense.reports.noise_records import noise_record

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
        learned = f"-draws{self.noise.iterations}" if self.noise.iterations else ""
        return f"noise-{Path(self.dataset).stem}-ipc{self.noise.method.ipc}{learned}"

    def facts(self) -> dict[str, str]:
        """Say how the numbers came about; the same wherever the cells ran.

        Returns:
            Facts by name.
        """
        config, method = self.noise, self.noise.method
        images = (
            f"as plain matching with the same network has learned them in {config.iterations} outer draws"
            if config.iterations
            else {"noise": "as they start, noise", "real": "as they start, real images"}[method.start]
        )
        return {
            "Data set": self.dataset,
            "Images": f"{method.ipc} of each class, {images}",
            "Gradients": f"R = {config.num_networks} random networks of each architecture, D = {config.num_batches} "
            f"batches of {method.real_batch} real images of each class, seed {config.seed}",
            "Command": self.command(),
        }

    def command(self) -> str:
        """Write the command that gives these numbers again, wherever it is run.

        Returns:
            The command, without what changes no number.
        """
        words = ["datacondense", "noise", self.dataset]
        for config in (self.noise, self.noise.method, self.data):
            words += flags(config)
        return shlex.join([*words, "--out", "OUT"])
