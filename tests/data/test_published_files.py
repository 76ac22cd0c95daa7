from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datacondense.data.published_files import read_tensors_of
from datacondense.errors import InputError
from tests.data.made_published import bare_pickle, in_a_zip, in_the_old_form


def read_again(value: Any, path: Path, *, old: bool = False) -> Any:
    torch.save(value, path, _use_new_zipfile_serialization=not old)
    return read_tensors_of(path)


@pytest.mark.parametrize("old", [False, True])
def test_tensors_and_numbers_of_numpy_come_back(tmp_path: Path, old: bool) -> None:
    columns = np.asfortranarray(np.arange(6, dtype=">f8").reshape(2, 3))
    value = {
        "a": [torch.arange(3), np.float64(0.1), np.int32(-7)],
        "b": (columns, np.array([True])),
        "c": "text",
    }
    found = read_again(value, tmp_path / "x.pt", old=old)
    assert found["a"][0].tolist() == [0, 1, 2]
    assert found["a"][1:] == [0.1, -7]
    assert found["b"][0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["b"][1].tolist() == [True]
    assert found["c"] == "text"


@pytest.mark.parametrize("write", [bare_pickle, in_a_zip, in_the_old_form])
def test_code_in_a_file_is_named_and_not_run(
    write: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"names the code posix.mkdir, and no code of a file is run"):
        read_tensors_of(write(tmp_path / "x.pt"))
    assert not (tmp_path / "intruded").exists()


@pytest.mark.parametrize("kind", ["O", "U3", "S2", "M8[s]", "V8"])
def test_arrays_of_other_things_than_numbers_are_refused(kind: str, tmp_path: Path) -> None:
    array = np.zeros(2, dtype=kind)
    with pytest.raises(InputError, match=r"which are no numbers"):
        read_again([array], tmp_path / "x.pt")


def test_an_array_shorter_than_its_shape_is_refused(tmp_path: Path) -> None:
    torch.save([np.zeros(4, dtype=np.float32)], tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "x.pt").read_bytes()
    changed = data.replace(b"K\x04\x85", b"K\x09\x85")  # the shape (4,) becomes (9,)
    assert changed != data
    (tmp_path / "x.pt").write_bytes(changed)
    with pytest.raises(InputError, match="cannot be read as a file of tensors"):
        read_tensors_of(tmp_path / "x.pt")


def test_what_a_file_repeats_is_taken_once(tmp_path: Path) -> None:
    nested: list[Any] = [1.0]
    for _ in range(60):  # 2**60 numbers, if each were copied
        nested = [nested, nested]
    assert len(read_again(nested, tmp_path / "x.pt")) == 2


def test_numbers_beyond_the_memory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"take .* GB, but this machine has"):
        read_again(torch.zeros(1).expand(10**9, 10**6), tmp_path / "x.pt")


@pytest.mark.parametrize(
    "tensor",
    [torch.eye(3).to_sparse(), torch.empty(3, device="meta")],
    ids=["sparse", "meta"],
)
def test_tensors_without_plain_numbers_are_refused(tensor: torch.Tensor, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sparse, quantized or without numbers"):
        read_again(tensor, tmp_path / "x.pt")


@pytest.mark.parametrize(
    "content", [b"", b"text", bytes(100), b"PK\x03\x04"], ids=["empty", "text", "zeros", "zip"]
)
def test_damaged_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as a file of tensors"):
        read_tensors_of(tmp_path / "x.pt")
    with pytest.raises(InputError, match="There is no file"):
        read_tensors_of(tmp_path / "y.pt")
