"""`datacondense info`: describe a set or a run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from datacondense.cli.console import Printer, duration
from datacondense.cli.machine import Output
from datacondense.cli.sets import read_set
from datacondense.cli.watching import watch
from datacondense.image_set import ImageSet
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


def describe_set(images: ImageSet) -> dict[str, Any]:
    """Return the facts of a set."""
    pixels = images.pixels()
    return {
        "images": len(images),
        "classes": list(images.class_names),
        "images per class": sorted(set(images.class_sizes)),
        "shape (channels, height, width)": list(images.image_shape),
        "stored numbers": images.stored_numbers,
        "decoded images": len(images) * images.factor**2,
        "labels": "classes" if images.soft_labels is None else "soft",
        "pixel range": [round(float(pixels.min()), 4), round(float(pixels.max()), 4)],
        "normalisation mean": list(images.mean),
        "normalisation std": list(images.std),
        "fingerprint": images.fingerprint,
        "provenance": dict(images.provenance),
    }


def describe_run(folder: RunFolder) -> dict[str, Any]:
    """Return how far a run is."""
    settings, metrics = folder.settings(), folder.metrics()
    facts: dict[str, Any] = {
        "status": "finished" if folder.result.exists() else "unfinished, continue with --resume"
    }
    if metrics:
        last = metrics[-1]
        planned = settings.get("run", {}).get("iterations")
        facts["iterations"] = f"{last['iteration'] + 1} begun{'' if planned is None else f' of {planned}'}"
        facts["loss"] = last["loss"]
        facts["time"] = duration(last["seconds"])
    scores = [(entry["iteration"] + 1, entry["validation"]) for entry in metrics if "validation" in entry]
    if scores:
        facts["validation accuracy"] = {f"after {iteration} iterations": score for iteration, score in scores}
    return facts if folder.result.exists() else {**facts, "settings": settings}


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
