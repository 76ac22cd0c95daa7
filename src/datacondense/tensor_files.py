"""Tensors in safetensors files: written atomically, with the same bytes for the same content.

A safetensors file is eight bytes of header length, a JSON header and the raw numbers. The library leaves the order
of the header's metadata to chance, so it is sorted here: equal runs must write equal files. A checksum of all numbers
and metadata lies among the metadata, since a flipped bit is otherwise just another number. It tells damage, not malice.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import xxhash
from safetensors import safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from datacondense.errors import InputError
from datacondense.files import reading, replacing

_CHECKSUM = "checksum"
_LENGTH = 8  # bytes of the header's length; the header itself is padded to a multiple of it
_PICKLE_STARTS = (b"\x80", b"PK\x03\x04")  # a bare pickle; the zip archive that torch.save writes


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, new_folder: bool = True
) -> None:
    """Write a safetensors file atomically and deterministically, from tensors on any device."""
    on_cpu = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    checked = {**metadata, _CHECKSUM: _checksum(on_cpu, metadata)}
    data = _with_sorted_header(serialize(on_cpu, checked))
    with replacing(path, new_folder=new_folder) as temporary:
        temporary.write_bytes(data)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors, to the CPU, and metadata; a pickle is refused unread, since loading one can run code."""
    remedy = "it is cut short or was not written by datacondense; copy it again or create it anew"
    with reading(path, "safetensors", remedy):
        if _is_pickle(path):
            raise InputError(
                f"{path} is a pickle (as torch.save writes), which can run code when it is loaded, so datacondense "
                "never reads one: give a .safetensors file, or load it where you trust it and pass arrays."
            )
        with safe_open(path, framework="pt") as file:
            # Copied, because tensors lie in the file at any offset, and kernels round differently where memory is not
            # aligned: a file must give the same results as the tensors that were written.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        # Files of the first release have none.
        if _CHECKSUM in metadata and metadata.pop(_CHECKSUM) != _checksum(tensors, metadata):
            raise InputError(
                f"{path} is damaged (its content no longer has the checksum with which it was written): copy it again "
                "or create it anew."
            )
        return tensors, metadata


class Place(NamedTuple):
    """Where the numbers of a tensor begin in its file, in bytes; the file's checksum and other metadata."""

    offset: int
    checksum: str
    metadata: dict[str, str]


def place_of(path: Path, name: str) -> Place:
    """Find a tensor in a file that was read or written before."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        header = json.loads(file.read(length))
    metadata = header["__metadata__"]
    return Place(_LENGTH + length + header[name]["data_offsets"][0], metadata.pop(_CHECKSUM), metadata)


def flattened(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Name the tensors of several groups "group/name", for one file."""
    return {f"{group}/{name}": tensor for group, own in groups.items() for name, tensor in own.items()}


def group_of(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    """Return the tensors of a group by their own names."""
    start = f"{group}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return a hash of everything that a file holds; not a cryptographic one, which would take longer than to read."""
    described = [[name, str(tensors[name].dtype), list(tensors[name].shape)] for name in sorted(tensors)]
    digest = xxhash.xxh3_128(json.dumps([described, sorted(metadata.items())]).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _is_pickle(path: Path) -> bool:
    """Whether the first bytes of a file are those of a pickle."""
    with path.open("rb") as file:
        start = file.read(_LENGTH + 1)
    # A header's length may begin with the byte that pickles begin with; the header itself begins with a brace.
    return start.startswith(_PICKLE_STARTS) and not start.endswith(b"{")


def _with_sorted_header(data: bytes) -> bytes:
    """Sort the header's keys; the numbers, whose offsets are relative to its end, stay as they are."""
    end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    header = json.dumps(json.loads(data[_LENGTH:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _LENGTH)
    return len(header).to_bytes(_LENGTH, "little") + header + data[end:]
