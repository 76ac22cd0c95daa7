"""Data sets written to disk by the tests themselves, a few images each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from datasets import ClassLabel, Features, Value
from datasets import Image as ImageFeature
from numpy.typing import NDArray
from PIL import Image

DIGIT_NAMES = tuple(map(str, range(10)))


def pictures(count: int, *, colour: bool, seed: int = 0, size: int = 6) -> list[NDArray[np.uint8]]:
    """Draw random pixels: `[size, size, 3]` in colour, `[size, size]` in grey."""
    shape = (count, size, size, 3) if colour else (count, size, size)
    return list(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def png(pixels: NDArray[np.uint8]) -> dict[str, Any]:
    """Encode one image as the Hub's parquet files hold it."""
    import io

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def write_parquet(
    path: Path,
    images: Sequence[NDArray[np.uint8] | dict[str, Any] | None],
    labels: Sequence[Any],
    *,
    image_column: str = "image",
    label_column: str = "label",
    names: Sequence[str] | None = DIGIT_NAMES,
    typed: bool = True,
    extra: dict[str, Sequence[Any]] | None = None,
) -> Path:
    """Write a parquet file with the features of the Hub (or without them), as `Dataset.to_parquet` does."""
    label_type = (
        ClassLabel(names=list(names)) if names else Value("string" if isinstance(labels[0], str) else "int64")
    )
    features = {image_column: ImageFeature(), label_column: label_type}
    columns: dict[str, Any] = {
        image_column: [png(image) if isinstance(image, np.ndarray) else image for image in images],
        label_column: list(labels),
    }
    for name, values in (extra or {}).items():
        columns[name] = list(values)
        features[name] = Value("string" if isinstance(values[0], str) else "int64")
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns, schema=Features(features).arrow_schema) if typed else pa.table(columns)
    pq.write_table(table, path)
    return path


def write_folder(root: Path, images: dict[str, Sequence[NDArray[np.uint8]]]) -> Path:
    """Write class folders of PNG files."""
    for name, members in images.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for index, pixels in enumerate(members):
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


def write_images(folder: Path, *names: str) -> None:
    """Write images of other pixels with these names into one folder, whatever their suffixes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in zip(names, pictures(len(names), colour=False), strict=True):
        Image.fromarray(pixels).save(folder / name, "PNG")
