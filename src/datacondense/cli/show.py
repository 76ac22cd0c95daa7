"""`datacondense show`: draw a set."""

# ruff: noqa: PLC0415 — torch and what stands on it load when the subcommand runs, so that --help need not wait.

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from datacondense.cli.console import Printer
from datacondense.cli.machine import Output


@dataclass(frozen=True, kw_only=True)
class Show:
    """Draw a set as a PNG picture, one row per class.

    Attributes:
        set: A .safetensors file, a run's folder, or a folder that `export` wrote.
        out: The PNG file to write.
        max_per_class: Images drawn of each class.
        output: How much to say.
    """

    set: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SET")]
    out: Path
    max_per_class: int = 10
    output: Output = field(default_factory=Output)

    def __call__(self) -> int:
        """Run the subcommand.

        Returns:
            The exit code, 0.
        """
        from datacondense.cli.sets import read_set
        from datacondense.reports.grid import plot_grid

        printer = Printer(self.output)
        plot_grid(read_set(self.set), self.out, max_per_class=self.max_per_class)
        printer.say(f"Drawn: {self.out}")
        printer.record({"picture": str(self.out)})
        return 0
