"""Tensors in files."""

from pathlib import Path

import torch

from datacondense.tensor_files import read_tensors, write_tensors


def test_tensors_come_back_as_kernels_expect_memory(tmp_path: Path) -> None:
    # Lengths that leave what follows at odd offsets of the file; kernels round differently off a boundary of 64 bytes.
    written = {f"t{length}": torch.arange(float(length)) for length in (3, 5, 16, 1)}
    write_tensors(tmp_path / "odd.safetensors", written, {})
    read, _ = read_tensors(tmp_path / "odd.safetensors")
    assert all(torch.equal(read[name], tensor) for name, tensor in written.items())
    assert {tensor.data_ptr() % 64 for tensor in read.values()} == {0}
