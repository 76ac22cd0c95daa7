"""What the learned images of a study look like: spread of their pixels and share of fine structure.

    python benchmarks/image_content.py representatives mnist --networks convnet lenet --out studies …

takes the options of `datacondense study`, reads the sets of its finished tasks (it computes none), and writes
benchmarks/results/image-content-*.json and a plot, docs/image-content-*.png, of the table's first column: one row of
images per variant, from the set of seed 0, with pixels clamped to 0..1.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import matplotlib as mpl
import measure
import torch
import tyro
from matplotlib.figure import Figure
from torch import Tensor

from datacondense import ImageSet
from datacondense.cli.study import Study as StudyCommand
from datacondense.files import replacing, write_text
from datacondense.studies.data_source import DataSource
from datacondense.studies.runner import StoreWorkspace
from datacondense.studies.running import declared, find_study
from datacondense.studies.store import Store
from datacondense.studies.study import Study
from datacondense.studies.task import task_key
from datacondense.studies.tasks import Evaluate

DOCS = Path(__file__).parents[1] / "docs"
FINE = 0.25  # cycles per pixel: structure of fewer than four pixels
REAL = 1000  # number of real images to compare with, the first ones

Sets = Mapping[tuple[str, str], list[ImageSet]]


def main(arguments: list[str]) -> None:
    """Read the sets and write the record and the plot."""
    command = tyro.cli(
        StudyCommand, args=arguments, config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    )
    source = DataSource(name=command.dataset, config=command.data)
    study = declared(find_study(command.name), source, command.study)
    sets = finished_sets(study, StoreWorkspace(Store(command.out / "cells"), "cpu"))
    real = source.read().train
    values = {
        **measure.header(torch.get_num_threads()),
        "sets_of": command.command(),
        "recorded_at_commit": measure.code_version(),
        "fine": f"share of the spectral energy above {FINE} cycles per pixel, after subtracting the mean of each image",
        "spread": "standard deviation of the pixels in normalised units, after subtracting the mean of each image",
        "real": dict(zip(("spread", "fine"), content(real.normalised(torch.arange(REAL))), strict=True)),
        "entries": [
            {"row": row, "column": column, **summary(found)} for (row, column), found in sets.items()
        ],
    }
    stem = f"image-content-{command.stem}"
    write_text(measure.RESULTS / f"{stem}.json", json.dumps(values, indent=1) + "\n")
    plot(study, sets, DOCS / f"{stem}.png")


def finished_sets(study: Study, workspace: StoreWorkspace) -> Sets:
    """Load the sets of each entry in the order of their seeds."""
    sets: dict[tuple[str, str], list[ImageSet]] = {}
    for entry, tasks in study.entries.items():
        sources = {task_key(task.source): task.source for task in tasks if isinstance(task, Evaluate)}
        sets[entry] = [
            source.image_set(workspace) for key, source in sources.items() if workspace.store.finished(key)
        ]
    return sets


def summary(sets: list[ImageSet]) -> dict[str, Any]:
    """Return mean and standard deviation over sets of spread and fineness."""
    found = [content(each.normalised(torch.arange(len(each)))) for each in sets]
    columns = dict(zip(("spread", "fine"), zip(*found, strict=True), strict=True))
    return {
        "n": len(sets),
        **{
            name: {"mean": fmean(values), "std": stdev(values) if len(sets) > 1 else None}
            for name, values in columns.items()
        },
    }


def content(images: Tensor) -> tuple[float, float]:
    """Return the spread of pixels and the share of fine structure of normalised images `[N, C, H, W]`."""
    centred = (images - images.mean((2, 3), keepdim=True)).double()
    energy = torch.fft.fft2(centred).abs().square()
    rows, columns = (torch.fft.fftfreq(length) for length in images.shape[2:])
    frequency = (rows[:, None].square() + columns.square()).sqrt()
    return float(centred.square().mean().sqrt()), float(energy[..., frequency > FINE].sum() / energy.sum())


def plot(study: Study, sets: Sets, path: Path) -> None:
    """Plot a row of images for each row of the table, from its first column."""
    column = study.columns[0]
    rows = [(row, sets[row, column][0]) for row in study.rows if sets.get((row, column))]
    number = min(10, len(rows[0][1]))
    figure = Figure(figsize=(1.6 + 0.55 * number, 0.55 * len(rows)), dpi=150)
    with mpl.rc_context({"font.size": 8}):
        axes = figure.subplots(len(rows), number, squeeze=False)
        for line, (label, images) in zip(axes, rows, strict=True):
            for axis, image in zip(line, images.images, strict=False):
                pixels = image.clamp(0, 1).permute(1, 2, 0)
                axis.imshow(pixels.expand(*pixels.shape[:2], 3) if pixels.shape[2] == 1 else pixels)
                axis.set_axis_off()
            line[0].text(-0.15, 0.5, label, ha="right", va="center", transform=line[0].transAxes)
        figure.subplots_adjust(
            left=1.5 / (1.6 + 0.55 * number), right=0.995, top=0.99, bottom=0.01, wspace=0.06, hspace=0.06
        )
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


if __name__ == "__main__":
    main(sys.argv[1:])
