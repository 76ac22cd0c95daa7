"""What the learned images of a study look like: spread of their pixels and share of fine structure.

    python benchmarks/image_content.py representatives mnist --networks convnet lenet --out studies …

takes the options of `datacondense study`, reads the sets of its finished tasks, and writes their record and a plot,
docs/image-content-*.png, of the table's first column: one row of images per variant, from the set of seed 0.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import measure
import torch

from datacondense import ImageSet, plot_grid
from datacondense.cli.main import parsed
from datacondense.data.data_source import DataSource
from datacondense.files import write_text
from datacondense.studies.catalogue import find_study
from datacondense.studies.running import declared
from datacondense.studies.study import ScoreTask
from datacondense.studies.tasks import Evaluate
from datacondense.tasks.store import Workspace, store_in

DOCS = Path(__file__).parents[1] / "docs"
FINE = 0.25  # cycles per pixel: structure of fewer than four pixels
REAL = 1000  # number of real images to compare with, the first ones
KINDS = ("spread", "fine")


def finished_sets(tasks: list[ScoreTask], workspace: Workspace) -> list[ImageSet]:
    """Load the sets of an entry in the order of their seeds."""
    sources = {task.source.key: task.source for task in tasks if isinstance(task, Evaluate)}
    return [of.image_set(workspace) for key, of in sources.items() if workspace.store.finished(key)]


def content(images: ImageSet) -> tuple[float, float]:
    """Return the spread of pixels and the share of fine structure of the first images, normalised."""
    pixels = images.normalised(torch.arange(min(REAL, len(images))))
    centred = (pixels - pixels.mean((2, 3), keepdim=True)).double()
    energy = torch.fft.fft2(centred).abs().square()
    rows, columns = (torch.fft.fftfreq(length) for length in pixels.shape[2:])
    frequency = (rows[:, None].square() + columns.square()).sqrt()
    return float(centred.square().mean().sqrt()), float(energy[..., frequency > FINE].sum() / energy.sum())


def summary(sets: list[ImageSet]) -> dict[str, Any]:
    """Return mean and standard deviation over sets of spread and fineness."""
    columns = zip(KINDS, zip(*map(content, sets), strict=True), strict=True)
    stds = stdev if len(sets) > 1 else lambda _: None
    return {
        "n": len(sets),
        **{name: {"mean": fmean(values), "std": stds(values)} for name, values in columns},
    }


def plot(sets: dict[str, ImageSet], path: Path) -> None:
    """Plot one row of images per variant."""
    first = next(iter(sets.values()))
    labels = torch.arange(len(sets)).repeat_interleave(len(first))
    images = torch.cat([each.images for each in sets.values()])
    plot_grid(replace(first, images=images, labels=labels, class_names=tuple(sets), provenance={}), path)


if __name__ == "__main__":
    command: Any = parsed(["study", *sys.argv[1:]])
    source = DataSource(name=command.dataset, config=command.data)
    study, workspace = (
        declared(find_study(command.name), source, command.study),
        Workspace(store_in(command.out)),
    )
    sets = {entry: finished_sets(list(tasks), workspace) for entry, tasks in study.entries.items()}
    values = {
        **measure.header(torch.get_num_threads()),
        "sets_of": command.command(),
        "recorded_at_commit": measure.code_version(),
        "fine": f"share of the spectral energy above {FINE} cycles per pixel, after subtracting the mean of each image",
        "spread": "standard deviation of the pixels in normalised units, after subtracting the mean of each image",
        "real": dict(zip(KINDS, content(source.read().train), strict=True)),
        "entries": [
            {"row": row, "column": column, **summary(found)} for (row, column), found in sets.items()
        ],
    }
    stem = f"image-content-{command.stem}"
    write_text(measure.RESULTS / f"{stem}.json", json.dumps(values, indent=1) + "\n")
    first = {row: found[0] for (row, column), found in sets.items() if column == study.columns[0] and found}
    plot(first, DOCS / f"{stem}.png")
