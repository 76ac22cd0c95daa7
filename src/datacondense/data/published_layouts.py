"""The forms in which others publish condensed sets: images and labels out of their files, as these hold them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datacondense.data.config import DataConfig
from datacondense.data.npz import array_members, read_array
from datacondense.data.published_files import read_tensors_of
from datacondense.data.sources import load
from datacondense.errors import InputError
from datacondense.files import reading
from datacondense.image_set import ImageSet

Layout = Literal["runs", "tensors", "pair", "arrays", "folder"]
_TENSOR_FILES = ("images_best.pt", "labels_best.pt", "lr_best.pt")  # of a folder of MTT and its kin


@dataclass(frozen=True, kw_only=True)
class Content:
    """What the files of a set hold.

    Attributes:
        layout: "runs", a dict with a list of [images, labels]; "tensors", a file each for images, labels and perhaps a
            learning rate; "pair", a list of images and labels; "arrays" in an npz; "folder" of images.
        images: Images `[N, C, H, W]` in the scale of the file.
        labels: Class numbers `[N]`, or a row of numbers for each image `[N, K]`.
        likely: Whose file it seems to be; None where nothing tells.
        learning_rate: Learned with the images; None where it was not.
        facts: What else it says, for provenance.
    """

    layout: Layout
    images: Tensor
    labels: Tensor
    likely: str | None = None
    learning_rate: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def all_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files of a set, where a folder that holds them was given."""
    if not paths:
        raise InputError("No file is given: name at least one.")
    if len(paths) == 1 and os.path.isfile(paths[0] / _TENSOR_FILES[0]):
        return [paths[0] / name for name in _TENSOR_FILES if (paths[0] / name).is_file()]
    return list(paths)


def content_of(paths: Sequence[Path], run: int, on: ImageSet) -> Content:
    """Read files by what they hold."""
    path = paths[0]
    if any(".tar" in each.suffixes for each in paths):
        raise InputError(
            f"{path} is an archive, which is not read: SRe2L's hold labels of every batch of one training, which no "
            "set can carry; import the folder of images alone."
        )
    if len(paths) == 1 and os.path.isdir(path):
        return _from_folder(path, on)
    if len(paths) == 1 and path.suffix == ".npz":
        return _from_arrays(path)
    found = [read_tensors_of(each) for each in paths]
    if len(found) > 1:
        return _from_tensors(found, paths)
    (value,) = found
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        return _from_runs(value, path, run)
    if isinstance(value, list) and len(value) == 2:
        return _paired("pair", value, path, likely="idc")
    raise InputError(
        f"{path} holds no set of a known form ({_described(value)}): give images and labels together, as in "
        "images_best.pt labels_best.pt, or pass arrays to from_arrays."
    )


def _from_folder(path: Path, on: ImageSet) -> Content:
    """Read class folders, matched to the classes by their names, or by their order where all are named otherwise."""
    _, height, width = on.image_shape
    read = load(
        path, DataConfig(resize=height if height == width else None, channels=on.image_shape[0])
    ).train
    if read.num_classes != on.num_classes:
        raise InputError(
            f"{path} has {read.num_classes} class folders, but the real data have {on.num_classes} classes: name the "
            "data set it stands for."
        )
    order = on.class_names if set(read.class_names) == set(on.class_names) else read.class_names
    numbers = torch.tensor([order.index(name) for name in read.class_names])
    likely = "sre2l" if read.class_names[0].startswith("new") else "rded"
    return Content(layout="folder", images=read.images, labels=numbers[read.labels], likely=likely)


def _from_arrays(path: Path) -> Content:
    """Read the arrays of KIP or FRePo, whose axes are `[N, H, W, C]`."""
    members = array_members(path)
    for likely, names in {"kip": ("images", "labels"), "frepo": ("image", "label")}.items():
        if set(names) <= members.keys():
            with reading(path, "an .npz file of images", "give a file of KIP or FRePo"):
                images, labels = (_numbers(read_array(path, members[name])) for name in names)
                pair = [images.movedim(-1, 1) if images.dim() == 4 else images, labels]
                return _paired("arrays", pair, path, likely=likely)
    raise InputError(
        f"{path} has the arrays {', '.join(members) or 'none'}, but images and labels (KIP), or image and label "
        "(FRePo), are needed: give a file of theirs."
    )


def _numbers(array: NDArray[Any]) -> Tensor:
    """Return an array of numbers as int64 or float32."""
    if array.dtype.kind not in "iuf":
        raise ValueError(f"it holds {array.dtype} in the place of numbers")
    return torch.from_numpy(array.astype(np.float32 if array.dtype.kind == "f" else np.int64))


def _from_tensors(found: Sequence[Any], paths: Sequence[Path]) -> Content:
    """Take files as images, labels and a learning rate by their axes, and join parts in their order."""
    tensors = [each for each in found if isinstance(each, Tensor)]
    images, labels = ([each for each in tensors if wanted(each)] for wanted in (_is_images, _is_labels))
    rates = [float(each) for each in found if _is_number(each)]
    shapes = [{(each.shape[1:], each.dtype) for each in parts} for parts in (images, labels)]
    if list(map(len, shapes)) != [1, 1] or len(images + labels) + len(rates) != len(found) or len(rates) > 1:
        raise InputError(
            f"{paths[0].name} and the others hold {', '.join(map(_described, found))}, but one set is needed: "
            "give its images, its labels and, where there is one, its learning rate."
        )
    pair = [torch.cat(images), torch.cat(labels)]
    likely = "datm" if labels[0].is_floating_point() else "mtt"
    return _paired("tensors", pair, paths[0], likely=likely, learning_rate=next(iter(rates), None))


def _from_runs(value: dict[str, Any], path: Path, run: int) -> Content:
    """Read one run of a file with several, and the accuracies of all."""
    runs = value["data"]
    if not 0 <= run < len(runs):
        raise InputError(f"run is {run}, but {path} has runs 0 to {len(runs) - 1}: give one of these.")
    facts = {"run": run, "runs": len(runs), "accuracies": dict(_accuracies(value.get("accs_all_exps")))}
    return _paired("runs", runs[run], path, facts=facts)


def _accuracies(found: Any) -> Iterator[tuple[str, dict[str, float | int]]]:
    """Yield mean, std (n in the denominator, as published) and n of each network's accuracies, 0 to 1."""
    for network, values in (found if isinstance(found, dict) else {}).items():
        numbers = [float(each) for each in values if _is_number(each)] if isinstance(values, list) else []
        if numbers:
            yield str(network), {"mean": fmean(numbers), "std": pstdev(numbers), "n": len(numbers)}


def _paired(layout: Layout, pair: Any, path: Path, **more: Any) -> Content:
    """Check that a pair is images and a label for each, and return both as tensors of their own."""
    images, labels = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
    if (
        isinstance(images, Tensor)
        and isinstance(labels, Tensor)
        and _is_images(images)
        and _is_labels(labels)
    ):
        kind = torch.float32 if labels.is_floating_point() else torch.int64
        images, labels = images.to(torch.float32, copy=True), labels.to(kind, copy=True)
        if len(images) == len(labels):
            return Content(layout=layout, images=images, labels=labels, **more)
    raise InputError(
        f"{path} holds {_described(images)} and {_described(labels)} in the place of images [N, C, H, W] and a "
        "label for each: give a file of a known method, or pass arrays to from_arrays."
    )


def _is_images(tensor: Tensor) -> bool:
    return tensor.dim() == 4 and tensor.is_floating_point() and tensor.numel() > 0


def _is_labels(tensor: Tensor) -> bool:
    whole = tensor.dtype in {torch.int64, torch.int32, torch.int16, torch.uint8}
    return (tensor.dim() == 1 and whole) or (tensor.dim() == 2 and tensor.is_floating_point())


def _is_number(value: Any) -> bool:
    one = isinstance(value, Tensor) and value.numel() == 1 and value.dim() < 2 and value.is_floating_point()
    return (one or isinstance(value, float)) and isfinite(value)


def _described(value: Any) -> str:
    """Return in words what was found."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return type(value).__name__
