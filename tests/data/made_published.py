"""Files as the authors of methods write them, in miniature, and such as would run code."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.conftest import make_set

REAL = make_set(num_classes=3, shape=(1, 8, 8))
IMAGES = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
ROWS = torch.tensor([[2.0, 0, 0], [1, 0, 0], [0, 3, 0], [0, 1, -1], [0, 0, 1], [0, 0, 9]])
RATE = 0.0123


class Intruder:
    """Makes a file where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("intruded",)


def runs(path: Path, *, accuracies: Any = None, images: Tensor = IMAGES) -> Path:
    """Write a file of VICO's code with two runs."""
    accuracies = (
        {"ConvNet": [np.float64(0.25), np.float64(0.75)], "MLP": []} if accuracies is None else accuracies
    )
    data = [[images, LABELS], [images + 1, LABELS]]
    torch.save({"data": data, "accs_all_exps": accuracies}, path)
    return path


def tensors(folder: Path, labels: Tensor = LABELS, rate: Any = None) -> Path:
    """Write a folder of MTT's or DATM's code."""
    folder.mkdir()
    torch.save(IMAGES, folder / "images_best.pt")
    torch.save(labels, folder / "labels_best.pt")
    if rate is not None:
        torch.save(rate, folder / "lr_best.pt")
    return folder


def pair(path: Path, images: Tensor | None = None) -> Path:
    """Write a file of IDC's code."""
    torch.save([IMAGES.sigmoid() * 1.2 - 0.1 if images is None else images, LABELS], path)
    return path


def arrays(path: Path, names: tuple[str, str] = ("images", "labels")) -> Path:
    """Write a file of KIP or FRePo."""
    named: Any = dict(zip(names, (IMAGES.movedim(1, -1).numpy(), ROWS.numpy()), strict=True))
    np.savez(path, **named)
    return path


def bare_pickle(path: Path) -> Path:
    path.write_bytes(pickle.dumps(Intruder(), protocol=2))
    return path


def in_a_zip(path: Path) -> Path:
    torch.save({"data": [[IMAGES, Intruder()]], "accs_all_exps": {}}, path)
    return path


def in_the_old_form(path: Path) -> Path:
    torch.save([IMAGES, Intruder()], path, _use_new_zipfile_serialization=False)
    return path


def in_accuracies(path: Path) -> Path:
    return runs(path, accuracies={"ConvNet": [Intruder()]})


def in_labels(path: Path) -> Path:
    folder = tensors(path.with_suffix(""))
    torch.save(Intruder(), folder / "labels_best.pt")
    return folder


def in_the_rate(path: Path) -> Path:
    folder = tensors(path.with_suffix(""), ROWS)
    torch.save(Intruder(), folder / "lr_best.pt")
    return folder


def in_an_array(path: Path) -> Path:
    np.savez(path.with_suffix(".npz"), images=IMAGES.numpy(), labels=np.array([Intruder()], dtype=object))
    return path.with_suffix(".npz")


def in_a_tar(path: Path) -> Path:
    path.with_suffix(".tar").write_bytes(pickle.dumps(Intruder()))
    return path.with_suffix(".tar")


MALICIOUS: tuple[Callable[[Path], Path], ...] = (
    bare_pickle,
    in_a_zip,
    in_the_old_form,
    in_accuracies,
    in_labels,
    in_the_rate,
    in_an_array,
    in_a_tar,
)
