"""Image sets as tables of the `datasets` library, parquet or Arrow, and as the PNG files that these hold."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from datacondense.data.hub import quiet
from datacondense.errors import InputError
from datacondense.image_set import ImageSet

Pixels = NDArray[Any]  # [N, H, W, C] or one [H, W, C]: uint8, or float32 in pixel scale

PARQUET = "train-00000-of-00001.parquet"
ARROW = "data-00000-of-00001.arrow"
SAVED = (ARROW, "dataset_info.json", "state.json")
"""The files of `Dataset.save_to_disk`."""
PNG_CHANNELS = {1, 3, 4}


def image_table(images: ImageSet, pictures: Pixels, *, exact: bool = False) -> Any:
    """Return a set as a table in the schema of `datasets`.

    Args:
        images: The set, as it is written.
        pictures: Its images as uint8 `[N, H, W, C]`; of other channels than PNG has, they are left out.
        exact: Whether to add the column "pixels", float32 `[C, H, W]` in pixel scale.

    Returns:
        The columns "image" (PNG) and "label" (with the class names), and "pixels" and "soft_label" where there are
        some, as a table of pyarrow.

    Raises:
        InputError: Two classes have one name.
    """
    import datasets  # noqa: PLC0415
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415

    repeated = [name for name, count in Counter(images.class_names).items() if count > 1]
    if repeated:
        raise InputError(
            f"Several classes are called {repeated[0]!r}, but parquet needs every class name once: rename them, or "
            "export as npz."
        )
    features, columns = datasets.Features(), {}
    if pictures.shape[-1] in PNG_CHANNELS:
        features["image"] = datasets.Image()
        columns["image"] = [
            {"bytes": encoded(array), "path": png_name(n, len(pictures))} for n, array in enumerate(pictures)
        ]
    features["label"] = datasets.ClassLabel(names=list(images.class_names))
    columns["label"] = images.labels.tolist()
    if exact:
        features["pixels"] = datasets.Array3D(images.image_shape, "float32")
        columns["pixels"] = images.pixels().tolist()
    if (soft := soft_labels_of(images)) is not None:
        features["soft_label"] = datasets.Sequence(datasets.Value("float32"))
        columns["soft_label"] = soft.tolist()
    # Made by pyarrow, under the schema of `datasets`, whose own writer shows progress bars and keeps a cache.
    return pa.table(
        [_array(columns[field.name], field.type) for field in features.arrow_schema],
        schema=features.arrow_schema,
    )


def _array(values: list[Any], kind: Any) -> Any:
    """Return a column; one of arrays is stored as lists."""
    import pyarrow as pa  # noqa: PLC0415

    if not isinstance(kind, pa.ExtensionType):
        return pa.array(values, kind)
    return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))


def write_parquet(images: ImageSet, pixels: Pixels, folder: Path, *, exact: bool = False) -> None:
    """Write images and labels in the columns that `datasets` reads as images and named classes."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415

    pq.write_table(image_table(images, pixels, exact=exact), folder / PARQUET)


def read_parquet(folder: Path, original: ImageSet) -> tuple[Pixels, list[int]]:
    """Read images and labels from the parquet file."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    return _pictures(pq.ParquetFile(folder / PARQUET).read(columns=["image", "label"]))


def write_saved(images: ImageSet, pixels: Pixels, folder: Path) -> None:
    """Write what `datasets.load_from_disk` reads, with the exact pixels beside the images."""
    import datasets  # noqa: PLC0415

    table = datasets.Dataset(image_table(images, pixels, exact=True), fingerprint=images.fingerprint)
    with quiet():
        table.save_to_disk(str(folder), num_shards=1)


def read_saved_pictures(folder: Path, original: ImageSet) -> tuple[Pixels, list[int]]:
    """Read images and labels from the Arrow file."""
    import pyarrow as pa  # noqa: PLC0415

    with pa.OSFile(str(folder / ARROW)) as file, pa.ipc.open_stream(file) as stream:
        return _pictures(stream.read_all().select(["image", "label"]))


def _pictures(table: Any) -> tuple[Pixels, list[int]]:
    """Decode the images of a table."""
    columns = table.to_pydict()
    return np.stack([decoded(io.BytesIO(image["bytes"])) for image in columns["image"]]), columns["label"]


def soft_labels_of(images: ImageSet) -> Tensor | None:
    """Return a distribution for each image that is written; a stored image that holds several has none of its own."""
    return images.soft_labels if images.factor == 1 else None


def png_name(index: int, count: int) -> str:
    """Return an image's name by its position; names sort in order."""
    return f"{index:0{max(5, len(str(count - 1)))}d}.png"


def encoded(array: Pixels) -> bytes:
    """Encode one image `[H, W, C]`."""
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(
        buffer, format="PNG", optimize=True
    )
    return buffer.getvalue()


def decoded(source: Path | io.BytesIO) -> Pixels:
    """Decode one image to `[H, W, C]`."""
    with Image.open(source) as image:
        array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array
