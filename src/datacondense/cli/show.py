"""`datacondense show`: plot a set."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from datacondense.cli.console import Printer
from datacondense.cli.machine import Output
from datacondense.cli.sets import read_set, with_pixels
from datacondense.data.exports import is_export
from datacondense.data.whitening import stretched
from datacondense.errors import InputError
from datacondense.files import refuse_existing, refuse_own_input
from datacondense.reports.grid import plot_grid
from datacondense.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Show:
    """Plot a set as a picture, one row per class.

    Attributes:
        set: A .safetensors file, a run's folder, or a folder that `export` wrote.
        out: The picture to write: .png, .jpg, .webp, .tif, .gif, .bmp or .pdf.
        on: The data set whose pixels a whitened set is turned back to.
        max_per_class: Images shown of each class.
        decoded: Plot the images that networks see, several out of each stored one where the set has a factor.
        force: Replace OUT where it exists.
        output: How much to print.
    """

    set: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SET")]
    out: Path
    on: str | None = None
    max_per_class: int = 10
    decoded: bool = False
    force: bool = False
    output: Output = field(default_factory=Output)

    def __call__(self) -> int:
        """Run the subcommand."""
        printer = Printer(self.output)
        refuse_own_input(self.out, self.set, RunFolder(self.set).result)
        if is_export(self.set) and self.out.resolve().is_relative_to(self.set.resolve()):
            raise InputError(f"{self.out} lies in {self.set}, which is read: give another --out.")
        refuse_existing(self.out, force=self.force)
        images = with_pixels(read_set(self.set), self.on)
        if images.whitening is not None:
            printer.note(
                "The set is whitened and plotted so, from its least number to its greatest: --on DATASET undoes it."
            )
            images = stretched(images)
        plot_grid(images.decoded() if self.decoded else images, self.out, max_per_class=self.max_per_class)
        printer.say(f"Plotted: {self.out}")
        printer.record({"picture": str(self.out)})
        return 0
