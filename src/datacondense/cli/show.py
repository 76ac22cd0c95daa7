"""`datacondense show`: plot a set."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from datacondense.cli.console import Printer
from datacondense.cli.machine import Output
from datacondense.cli.sets import read_set
from datacondense.reports.grid import plot_grid


@dataclass(frozen=True, kw_only=True)
class Show:
    """Plot a set as a PNG picture, one row per class.

    Attributes:
        set: A .safetensors file, a run's folder, or a folder that `export` wrote.
        out: The PNG file to write.
        max_per_class: Images shown of each class.
        output: How much to print.
    """

    set: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SET")]
    out: Path
    max_per_class: int = 10
    output: Output = field(default_factory=Output)

    def __call__(self) -> int:
        """Run the subcommand."""
        printer = Printer(self.output)
        plot_grid(read_set(self.set), self.out, max_per_class=self.max_per_class)
        printer.say(f"Plotted: {self.out}")
        printer.record({"picture": str(self.out)})
        return 0
