"""`datacondense report`: one HTML page of runs, sets and studies."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from datacondense.cli.console import Printer
from datacondense.cli.machine import Output
from datacondense.cli.publish import made_by
from datacondense.reports.html_report import write_report


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write one HTML page of runs, sets or studies; it holds all that it shows and loads nothing.

    Attributes:
        what: Runs' folders, finished or not; sets; folders of studies, comparisons, searches or continual learning.
        out: The page to write, .html.
        on: The data set that the sets were learned from, for the first images of runs and for privacy. Default: the
            recorded one, where it is known by name.
        privacy: Compare the synthetic images with the training images.
        force: Replace the page where it exists.
        output: How much to print.
    """

    what: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="OUT")]
    out: Path = Path("report.html")
    on: str | None = None
    privacy: bool = True
    force: bool = False
    output: Output = field(default_factory=Output)

    def __call__(self) -> int:
        """Run the subcommand."""
        printer = Printer(self.output)
        page = write_report(
            self.out, *self.what, on=self.on, privacy=self.privacy, made_by=made_by, force=self.force
        )
        printer.say(f"Written: {page}")
        printer.record({"page": str(page), "bytes": page.stat().st_size})
        return 0
