"""`datacondense export`: write a set in a form that other programs read."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from datacondense.cli.commands import command_line
from datacondense.cli.console import Printer
from datacondense.cli.machine import Output
from datacondense.cli.sets import read_set, with_pixels
from datacondense.data.catalogue import data_options
from datacondense.data.config import DataConfig
from datacondense.data.exports import ExportFormat, export
from datacondense.files import refuse_own_input


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a set as an image folder, parquet or hf (for Hugging Face datasets), webdataset, npz (NumPy) or torch.

    Attributes:
        set: A .safetensors file or a run's folder.
        format: What to write. Pixels of pictures are rounded to 8 bits, and the report says how many lay outside 0 to
            1; "hf" and "webdataset" hold the exact ones beside the pictures, "torch" holds these alone.
        out: The folder to write.
        on: The data set whose pixels a whitened set is turned back to.
        stored: Write the stored images, several in one where the set has a factor, instead of the decoded ones.
        force: Replace a folder that is not empty.
        output: How much to print.
    """

    set: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SET")]
    format: ExportFormat
    out: Path
    on: str | None = None
    stored: bool = False
    force: bool = False
    output: Output = field(default_factory=Output)

    def __call__(self) -> int:
        """Run the subcommand."""
        printer = Printer(self.output)
        refuse_own_input(self.out, self.set)
        images = with_pixels(read_set(self.set), self.on)
        report = export(images, self.out, format=self.format, stored=self.stored, force=self.force)
        found = (
            f"{report.num_images} images written to {self.out} as {self.format}.\n"
            f"{report.below:.1%} of the pixels were below 0 and {report.above:.1%} above 1 "
            f"(range {report.lowest:.2f} to {report.highest:.2f}); "
        )
        if report.max_change == 0:
            printer.say(f"{found}none was changed.")
        else:
            name, data = data_options(images.provenance) or ("DATASET", DataConfig())
            printer.say(
                f"{found}clamping and rounding changed pixels by {report.mean_change:.3f} on average, "
                f"{report.max_change:.2f} at most.\n"
                f"What that costs: {command_line(['evaluate', str(self.out), '--on', name], data)}"
            )
        printer.record(asdict(report))
        return 0
