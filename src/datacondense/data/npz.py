"""NumPy `.npz` files with images and labels."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datacondense.data.arrays import image_tensor, reformed
from datacondense.data.config import DataConfig
from datacondense.data.labels import counted_classes, integer_labels
from datacondense.data.splits import ReadSplit, Splits
from datacondense.errors import InputError

# Training images and labels, test images and labels.
_KEYS = (("x_train", "y_train", "x_test", "y_test"), ("images", "labels", "test_images", "test_labels"))


def read_npz(path: Path, config: DataConfig) -> Splits:
    """Read a `.npz` file; nothing in it is unpickled."""
    arrays = _arrays(path)
    keys = next((keys for keys in _KEYS if keys[0] in arrays and keys[1] in arrays), None)
    if keys is None:
        raise InputError(
            f"{path} has the arrays {', '.join(arrays) or 'none'}, but x_train and y_train, or images and labels, are "
            "needed: save it with these names."
        )
    labels = integer_labels(arrays[keys[1]])
    given = arrays.get("class_names")
    names = counted_classes(labels) if given is None else tuple(map(str, given.tolist()))
    train = _read_split(arrays, keys[:2], names, config, "train")
    if keys[2] not in arrays and keys[3] not in arrays:
        return train, None
    if keys[2] not in arrays or keys[3] not in arrays:
        raise InputError(f"{path} has only one of {keys[2]} and {keys[3]}: save both or neither.")
    return train, _read_split(arrays, keys[2:], names, config, "test")


def _arrays(path: Path) -> Mapping[str, Any]:
    """Read every array of the file."""
    try:
        # Opened here, since NumPy leaves a broken file open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} cannot be read as arrays ({error}): save it with numpy.savez, without arrays of objects."
        ) from error


def _read_split(
    arrays: Mapping[str, Any], keys: tuple[str, ...], names: tuple[str, ...], config: DataConfig, split: str
) -> ReadSplit:
    """Return the images and labels of one split."""
    images = reformed(image_tensor(arrays[keys[0]]), config.resize, config.channels)
    labels = integer_labels(arrays[keys[1]]).tolist()
    if len(labels) != len(images):
        raise InputError(
            f"{keys[0]} has {len(images)} images but {keys[1]} has {len(labels)} labels, and every image needs one: "
            "save as many of each."
        )
    return ReadSplit(images=images, labels=labels, class_names=names, split=split)
