"""NumPy files: `.npz` with images and labels, `.npy` with features. Nothing in them is unpickled.

Only the arrays that are needed are read, and none whose header speaks of more than the memory holds.
"""

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datacondense.data.config import DataConfig
from datacondense.data.labels import label_values, matched, unique_names
from datacondense.data.pixels import image_tensor, reformed
from datacondense.data.splits import ReadSplit, Splits, kept
from datacondense.errors import InputError
from datacondense.files import reading
from datacondense.memory_limits import check_memory

Pair = tuple[str, str]  # names of the images and of their labels

# Training images and labels; test images and labels, in the order in which they are preferred.
_NAMES: tuple[tuple[Pair, tuple[Pair, ...]], ...] = (
    (("x_train", "y_train"), (("x_test", "y_test"),)),
    (  # MedMNIST
        ("train_images", "train_labels"),
        (("test_images", "test_labels"), ("val_images", "val_labels")),
    ),
    (("images", "labels"), (("test_images", "test_labels"),)),
)
_REMEDY = "save it with numpy.savez, without arrays of objects"


def read_npz(path: Path, config: DataConfig) -> Splits:
    """Read a `.npz` file."""
    members = array_members(path)
    found = next((names for names in _NAMES if set(names[0]) <= members.keys()), None)
    if found is None:
        raise InputError(
            f"{path} has the arrays {', '.join(members) or 'none'}, but x_train and y_train, or images and labels, or "
            "train_images and train_labels, are needed: save it with these names."
        )
    names = None
    if "class_names" in members:
        names = unique_names(read_array(path, members["class_names"]).flatten().tolist(), str(path))

    def read(pair: Pair, split: str) -> ReadSplit:
        images, labels = (read_array(path, members[name]) for name in pair)
        return _read_split(images, labels, pair, names, config, split)

    train, tests = found
    test = next((pair for pair in tests if set(pair) & members.keys()), None)
    if test is None:
        return read(train, "train"), None
    if not set(test) <= members.keys():
        alone = InputError(f"{path} has only one of {test[0]} and {test[1]}: save both or neither.")
        return read(train, "train"), alone
    return read(train, "train"), kept(lambda: read(test, "test"))


def read_features(path: Path) -> Tensor:
    """Read the array of a `.npy` file."""
    remedy = "give the path of a .npy file that numpy.save wrote, float32 [N, D]"
    with reading(path, "an array of numbers", remedy):
        with path.open("rb") as file:
            _check_header(file, str(path), path.stat().st_size)
            file.seek(0)
            array = np.lib.format.read_array(file, allow_pickle=False)
        # In the byte order of this machine, the only one that torch knows.
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


def array_members(path: Path) -> dict[str, str]:
    """Return the names of the arrays, and of their files in the archive."""
    with reading(path, "an .npz file", _REMEDY), zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy"): name for name in archive.namelist()}


def read_array(path: Path, member: str) -> NDArray[Any]:
    """Read one array."""
    with reading(path, "an .npz file", _REMEDY), zipfile.ZipFile(path) as archive:
        with archive.open(member) as file:
            name = member.removesuffix(".npy")
            _check_header(file, f"the array {name} in {path}", archive.getinfo(member).file_size)
        with archive.open(member) as file:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        if array.dtype.kind == "U":
            array.tolist()  # Raises where letters do not exist.
        return array


def _check_header(file: IO[bytes], what: str, held: int) -> None:
    """Refuse an array by what its header says of its size: more than its file holds, or than the memory."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    size = math.prod(shape) * dtype.itemsize
    check_memory(size, f"The {shape} numbers of {what}", "give fewer or smaller ones")
    if size > held:
        raise ValueError(f"its header speaks of {shape} numbers, but it is shorter")


def _read_split(
    pixels: NDArray[Any],
    labels: NDArray[Any],
    pair: Pair,
    names: tuple[str, ...] | None,
    config: DataConfig,
    split: str,
) -> ReadSplit:
    """Return the images and labels of one split; labels of names are numbered by them."""
    images = reformed(image_tensor(pixels), config.resize, config.channels)
    values = label_values(labels)
    if len(values) != len(images):
        raise InputError(
            f"{pair[0]} has {len(images)} images but {pair[1]} has {len(values)} labels, and every image needs one: "
            "save as many of each."
        )
    if names is not None and isinstance(values[0], str):
        values = matched(values, names, pair[1], lacking="which class_names lack (names")
    return ReadSplit(images=images, labels=values, class_names=names, split=split)
