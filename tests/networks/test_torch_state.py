"""Deterministic algorithms: on as long as they are wanted, with the same bytes on a processor."""

import os
from pathlib import Path

import pytest
import torch
from torch.backends import cudnn

from datacondense import EvaluationConfig, RunConfig, SiameseMatchingConfig, condense, deterministic, evaluate
from datacondense.cli import condense as command
from datacondense.cli.main import main
from datacondense.environment import environment
from datacondense.errors import InputError
from datacondense.image_set import ImageSet

METHOD = SiameseMatchingConfig(
    network="convnet-w4-d1", ipc=2, real_batch=5, matching_steps=2, network_epochs=1
)


def state() -> tuple[object, ...]:
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    filling = torch._C._get_deterministic_fill_uninitialized_memory()
    return torch.get_deterministic_debug_mode(), cudnn.deterministic, cudnn.benchmark, workspace, filling


@pytest.mark.parametrize("given", [None, ":16:8"])
@pytest.mark.parametrize("mode", [0, 1, 2])
def test_all_is_switched_and_restored(monkeypatch: pytest.MonkeyPatch, given: str | None, mode: int) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if given:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", given)
    monkeypatch.setattr(cudnn, "benchmark", True)
    torch.set_deterministic_debug_mode(mode)
    try:
        before = state()
        with deterministic():
            assert state() == (2, True, False, given or ":4096:8", False)
        assert state() == before
        with pytest.raises(KeyError), deterministic():
            raise KeyError
        assert state() == before
    finally:
        torch.use_deterministic_algorithms(False)


def test_what_has_no_deterministic_algorithm_is_named() -> None:
    said = "grid_sampler_2d_backward_cuda does not have a deterministic implementation, but you set …"
    left_out = "grid_sampler_2d_backward_cuda has no .* leave --deterministic out"
    with pytest.raises(InputError, match=left_out), deterministic():
        raise RuntimeError(said)
    with pytest.raises(RuntimeError, match="other"), deterministic():
        raise RuntimeError("other")


def test_records_tell_on_a_gpu_only() -> None:
    assert "deterministic" not in environment("cpu")
    assert environment("cuda:1")["deterministic"] == "no, bytes may differ"
    with deterministic():
        assert "deterministic" not in environment("cpu")
        assert environment("cuda:1")["deterministic"] == "yes"


def test_bytes_on_a_processor_are_the_same(tiny: ImageSet) -> None:
    def run() -> tuple[str, object]:
        condensed = condense(tiny, METHOD, RunConfig(iterations=2))
        score = evaluate(condensed, tiny, EvaluationConfig(network="lenet", repeats=1, epochs=3))
        return condensed.fingerprint, score

    plain = run()
    with deterministic():
        assert run() == plain


def test_the_option_holds_for_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[bool]()

    def stopping(*_: object, **__: object) -> ImageSet:
        seen.append(torch.are_deterministic_algorithms_enabled())
        raise InputError("seen")

    monkeypatch.setattr(command, "condense", stopping)
    for option in ([], ["--deterministic"]):
        assert main(["condense", "digits", "--out", str(tmp_path), "--device", "cpu", *option]) == 2
    assert seen == [False, True]
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
def test_bytes_on_a_gpu_are_the_same(tiny: ImageSet) -> None:
    with deterministic():
        runs = [condense(tiny, METHOD, RunConfig(iterations=8), device="cuda") for _ in range(2)]
    assert runs[0].fingerprint == runs[1].fingerprint
    assert runs[0].provenance["environment"]["deterministic"] == "yes"
