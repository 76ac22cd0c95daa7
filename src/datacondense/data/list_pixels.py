"""Pixels that a table holds as lists: each image a list of rows, of numbers or of colours."""

from typing import Any

import numpy as np
from torch import Tensor

from datacondense.data.config import DataConfig
from datacondense.data.pixels import decoded, image_tensor, reformed
from datacondense.errors import InputError
from datacondense.memory_limits import check_memory


def list_depth(kind: Any) -> int:
    """Return how many lists of an Arrow type lie in each other: 2 for `[H, W]`, 3 for `[H, W, C]`; 0 for no list."""
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415

    kind = getattr(kind, "storage_type", kind)
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return 1 + list_depth(kind.value_type) if any(is_list(kind) for is_list in lists) else 0


def pixels_of_lists(column: Any, name: str, split: str, config: DataConfig) -> Tensor:
    """Return the pixels `[N, C, H, W]` of a column of lists."""
    where = f"The column {name!r} of the split {split!r}"
    depth = list_depth(column.type)
    if depth not in {2, 3}:
        what = "flat lists, whose height and width are unknown" if depth == 1 else f"lists in {depth} levels"
        raise InputError(
            f"{where} holds {what}, but an image is a list of rows, [H, W] or [H, W, C]: reshape the images, or name "
            "another column with --image-column."
        )
    check_memory(column.nbytes, f"The numbers of {where}", "keep fewer images")
    array = column.combine_chunks()
    shape = [len(array)]
    array = getattr(array, "storage", array)
    while list_depth(array.type):
        length = _common_length(array, where)
        if length is None:
            return _of_any_size(column, where, config)
        shape.append(length)
        array = array.flatten()
    if array.null_count:
        raise InputError(f"{where} has pixels without a value: fill them in, or remove these rows.")
    return reformed(
        image_tensor(array.to_numpy(zero_copy_only=False).reshape(shape)), config.resize, config.channels
    )


def _common_length(array: Any, where: str) -> int | None:
    """Return the one length of all lists; None where they differ."""
    import pyarrow.compute as pc  # type: ignore[import-untyped]  # noqa: PLC0415

    if array.null_count:
        raise InputError(f"{where} has rows without an image: remove these rows.")
    lengths = pc.unique(pc.list_value_length(array)).to_pylist()
    return int(lengths[0]) if len(lengths) == 1 else None


def _of_any_size(column: Any, where: str, config: DataConfig) -> Tensor:
    """Return pixels of images that differ in size."""
    images = []
    for row, image in enumerate(column):
        try:
            pixels = np.array(image.as_py())
        except ValueError as error:
            raise InputError(
                f"{where} has lists of different lengths in the image of row {row}: give all of its rows one length."
            ) from error
        images.append(image_tensor(pixels[None])[0].permute(1, 2, 0).numpy())
    return decoded(images, config.resize, config.channels)
