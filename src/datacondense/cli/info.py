"""`datacondense info`: describe a set or a run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from datacondense.cli.console import Printer
from datacondense.cli.machine import Output
from datacondense.cli.sets import read_set
from datacondense.cli.watching import watch
from datacondense.reports.described import describe_run, describe_set
from datacondense.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Info:
    """Describe a set and how it was made, or how far a run is.

    Attributes:
        path: A .safetensors file, a run's folder, or a folder that `export` wrote.
        watch: Show how far the run is until it ends.
        output: How much to print.
    """

    path: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SET_OR_DIR")]
    watch: bool = False
    output: Output = field(default_factory=Output)

    def __call__(self) -> int:
        """Run the subcommand."""
        printer = Printer(self.output)
        folder = RunFolder(self.path)
        if self.watch:
            with printer.ticker("info") as tick:
                watch(folder, tick)
        facts: dict[str, Any] = {}
        if folder.has_settings:
            facts["run"] = describe_run(folder)
        if not facts or folder.result.exists():
            facts["set"] = describe_set(read_set(self.path))
        for group in facts.values():
            printer.say("\n".join(_lines(group)))
        printer.record(facts)
        return 0


def _lines(facts: dict[str, Any], indent: str = "") -> list[str]:
    """Return nested facts as indented lines."""
    lines = []
    for key, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"{indent}{key}: {shown}")
    return lines
