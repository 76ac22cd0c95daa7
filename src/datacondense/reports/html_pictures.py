"""Pictures of an HTML report as data URIs of a bounded size: image sets, curves of a run, nearest real images."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from datacondense.image_set import ImageSet
from datacondense.reports.grid import grid_picture
from datacondense.reports.layout import NOTHING
from datacondense.reports.privacy import Privacy, scaled

_MOST_TILES = 1000
_MOST_POINTS = 5000
_ROWS = 10  # of synthetic images beside real ones
_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning)


class Picture(NamedTuple):
    """A picture with its caption."""

    caption: str
    source: str
    """Its data URI."""


def data_uri(picture: Image.Image, most: int) -> str:
    """Return a picture as a data URI of at most so many bytes: PNG, else JPEG, made smaller where it must be."""
    kind, data = "png", _encoded(picture, "PNG", optimize=True)
    while len(data) * 4 // 3 > most and min(picture.size) > 1:
        if kind == "jpeg":
            picture = picture.resize((picture.width * 3 // 4 or 1, picture.height * 3 // 4 or 1))
        picture, kind = picture.convert("RGB"), "jpeg"
        data = _encoded(picture, "JPEG", quality=85)
    return f"data:image/{kind};base64,{b64encode(data).decode()}"


def _encoded(picture: Image.Image, form: str, **settings: Any) -> bytes:
    file = BytesIO()
    picture.save(file, format=form, **settings)
    return file.getvalue()


def file_uri(path: Path, most: int) -> str | None:
    """Return the picture in a file as a data URI; None where there is none."""
    try:
        with Image.open(path) as picture:
            return data_uri(picture, most)
    except _UNREADABLE:
        return None


def set_picture(images: ImageSet, caption: str, most: int) -> Picture:
    """Return the picture of a set, with the first ten images of each class or fewer where there are many classes."""
    each = max(1, min(10, _MOST_TILES // images.num_classes))
    return Picture(caption, data_uri(grid_picture(images, max_per_class=each), most))


def curves(metrics: Sequence[Mapping[str, Any]], most: int) -> Picture:
    """Return loss, and accuracies where there are any, against the seconds of a run."""
    from datacondense.reports.plotting import COLOURS, FONT, bare, new_figure, write_png  # noqa: PLC0415

    scores = [(entry["seconds"], entry["validation"]) for entry in metrics if "validation" in entry]
    figure = new_figure(6, 4.4 if scores else 2.4)
    panels = figure.subplots(2 if scores else 1, 1, sharex=True, squeeze=False)[:, 0]
    points = metrics[:: len(metrics) // _MOST_POINTS + 1]
    seconds, losses = ([entry[name] for entry in points] for name in ("seconds", "loss"))
    panels[0].plot(seconds, losses, color=COLOURS[0], linewidth=0.9, marker="" if len(points) > 1 else "o")
    panels[0].set_ylabel("loss", fontsize=FONT)
    if scores:
        means, stds = ([100 * found[name] for _, found in scores] for name in ("accuracy", "std"))
        panels[1].errorbar([at for at, _ in scores], means, stds, color=COLOURS[1], marker="o", markersize=3)
        panels[1].set_ylabel("validation accuracy, %", fontsize=FONT)
    panels[-1].set_xlabel("seconds", fontsize=FONT)
    for panel in panels:
        bare(panel)
    file = BytesIO()
    write_png(figure, file)
    with Image.open(file) as picture:
        return Picture(
            f"Loss{' and validation accuracy' * bool(scores)} against seconds.", data_uri(picture, most)
        )


def neighbours_picture(images: ImageSet, train: ImageSet, found: Privacy, most: int) -> Picture:
    """Return the synthetic images that are nearest to training images, each beside its nearest ones.

    Args:
        images: The synthetic images, decoded, in pixel scale.
        train: The training images.
        found: What was measured of them.
        most: Bytes of the picture.

    Returns:
        The picture.
    """
    rows = found.nearest.distances[:, 0].argsort()[:_ROWS]
    tiles = [
        torch.cat([
            images.pixels(found.synthetic[row : row + 1]).cpu(),
            scaled(train.images[found.nearest.positions[row]], torch.float32),
        ])
        for row in rows.tolist()
    ]
    distances = found.nearest.distances[rows, 0].tolist()
    side_by_side = ImageSet(
        images=torch.cat(tiles).float(),
        labels=torch.arange(len(tiles)).repeat_interleave(len(tiles[0])),
        class_names=tuple(f"{place}{NOTHING}{value:.4f}" for place, value in enumerate(distances, 1)),
        mean=images.mean,
        std=images.std,
        provenance={"method": "synthetic, then nearest training images"},
    )
    caption = "Rank, distance, synthetic image, and its nearest training images; the nearest pairs first."
    return Picture(caption, data_uri(grid_picture(side_by_side), most))
