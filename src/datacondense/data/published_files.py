"""Tensors out of files that others wrote with torch.save: read as data, and no code in them is run.

torch unpickles them under a list of what it may build (`weights_only`). Files with NumPy numbers in them need more than
that list has, so the names of NumPy stand for the three small functions and classes here, which read bytes and nothing
else: NumPy's own would take flags and layouts from the file too.
"""

import math
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datacondense.errors import InputError
from datacondense.files import reading
from datacondense.memory_limits import check_memory

_NUMBERS = re.compile(r"[fiub][1248]")
_REMEDY = "it is cut short, or not as torch.save writes it; copy it again"


def read_tensors_of(path: Path) -> Any:
    """Read dicts, lists, tensors, numbers and text that `torch.save` wrote, to the CPU; arrays become tensors."""
    with reading(path, "a file of tensors", _REMEDY):
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = max(size, sum(member.file_size for member in archive.infolist()))
        check_memory(size, f"The contents of {path}", "give a smaller file")
        try:
            with torch.serialization.safe_globals(_ALLOWED), warnings.catch_warnings(action="ignore"):
                return _plain(torch.load(path, map_location="cpu", weights_only=True), path, {})
        except pickle.UnpicklingError as error:
            named = re.search(r"GLOBAL (\S+)", str(error))
            if named is None:
                raise
            raise InputError(
                f"{path} names the code {named[1]}, and no code of a file is run: save the tensors alone, as "
                "torch.save([images, labels]) does."
            ) from None


class _Dtype:
    """Stands for `numpy.dtype`: a kind of number and its byte order."""

    def __init__(self, code: str, *_: object) -> None:
        if not _NUMBERS.fullmatch(code):
            raise ValueError(f"it holds NumPy data of the type {code!r}, which are no numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in {"<", ">"}:
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for `numpy.ndarray`: numbers in a shape."""

    values: NDArray[Any]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_columns, data = state
        flat = np.frombuffer(data, kind.dtype)
        self.values = flat.reshape(shape, order="F" if by_columns else "C")


def _array(*_: object) -> _Array:
    """Stand for `numpy.core.multiarray._reconstruct`."""
    return _Array()


def _scalar(kind: _Dtype, data: bytes) -> Any:
    """Stand for `numpy.core.multiarray.scalar`."""
    (value,) = np.frombuffer(data, kind.dtype).tolist()
    return value


_ALLOWED: list[Any] = [
    (_Dtype, "numpy.dtype"),
    (_Array, "numpy.ndarray"),
    *((_array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *((_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]


def _plain(value: Any, path: Path, seen: dict[int, Any]) -> Any:
    """Return what was read as dicts, lists, dense tensors of numbers, numbers and text; what is there twice, once."""
    if id(value) not in seen:
        if isinstance(value, dict):
            seen[id(value)] = {name: _plain(each, path, seen) for name, each in value.items()}
        elif isinstance(value, list | tuple):
            seen[id(value)] = [_plain(each, path, seen) for each in value]
        elif isinstance(value, _Array):
            seen[id(value)] = torch.from_numpy(value.values.astype(value.values.dtype.newbyteorder("=")))
        else:
            seen[id(value)] = _checked(value, path) if isinstance(value, Tensor) else value
    return seen[id(value)]


def _checked(tensor: Tensor, path: Path) -> Tensor:
    """Return a dense tensor on the CPU that fits into the memory, which a few bytes repeated need not."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        raise ValueError("it holds tensors that are sparse, quantized or without numbers")
    size = math.prod(tensor.shape) * tensor.element_size()
    check_memory(size, f"The {tuple(tensor.shape)} numbers in {path}", "give a smaller file")
    return tensor.detach()
