"""The options that say where to compute."""

import pytest
import torch

from datacondense.cli import machine


@pytest.mark.parametrize(("name", "current"), [("cuda:1", ["cuda:1"]), ("cuda", []), ("cpu", [])])
def test_a_named_gpu_is_the_one_where_kernels_start(
    monkeypatch: pytest.MonkeyPatch, name: str, current: list[str]
) -> None:
    found = list[str]()
    monkeypatch.setattr(machine, "choose_device", torch.device)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: found.append(str(device)))
    assert machine.Machine(device=name).prepare() == torch.device(name)
    assert found == current
