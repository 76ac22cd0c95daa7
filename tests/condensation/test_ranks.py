"""Several processes that share a run: what comes of it is what one process learns."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from datacondense.cli.processes import _loopback
from datacondense.image_set import ImageSet
from datacondense.ranks import Ranks, current_ranks
from datacondense.run_folder import RunFolder
from tests.condensation.on_ranks import METHODS, SIZES, STEPS, accuracies, digits, go_on, learned


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImageSet]:
    """What one process learns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return learned(digits())


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what two processes find, and three that continue the run of the two."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "tests.condensation.on_ranks", str(folder)]
    shared = {"XDG_CACHE_HOME": str(folder / "cache"), **_loopback()}
    variables = [os.environ | shared | {"RANK": str(rank)} for rank in range(max(SIZES))]
    children = [subprocess.Popen(command, env=env, cwd=Path(__file__).parents[2]) for env in variables]
    assert [child.wait(timeout=240) for child in children] == [0] * max(SIZES)
    return folder


def findings(folder: Path, size: int) -> list[dict[str, Any]]:
    """Return what each of so many ranks found."""
    return [json.loads((folder / f"{rank} of {size}" / "found.json").read_text()) for rank in range(size)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", [*METHODS, *STEPS])
def test_ranks_learn_what_one_process_learns(
    alone: dict[str, ImageSet], ranked: Path, name: str, size: int
) -> None:
    for rank in range(size):
        read = {key: ImageSet.load(ranked / f"{rank} of {size}" / f"{key}.safetensors") for key in alone}
        if name in METHODS:
            assert read[f"{name} alone"].fingerprint == alone[f"{name} alone"].fingerprint
        torch.testing.assert_close(read[name].images, alone[name].images, rtol=0, atol=1e-6)
        assert read[name].provenance["environment"]["processes"] == size


@pytest.mark.parametrize("size", SIZES)
def test_ranks_share_the_networks_of_an_evaluation(ranked: Path, size: int) -> None:
    expected = accuracies(digits())
    assert [found["accuracies"] for found in findings(ranked, size)] == [expected] * size


def test_a_run_goes_on_with_another_number_of_ranks(ranked: Path, tmp_path: Path) -> None:
    assert [found["broken"] for found in findings(ranked, 2)] == ["KeyboardInterrupt", "LostRankError"]
    expected = go_on(digits(), tmp_path).fingerprint
    found = [(each["resumed"], each["finished"]) for each in findings(ranked, 3)]
    assert found == [(expected, expected)] * 3
    logged = RunFolder(ranked / "run").metrics()
    assert [(each["iteration"], each["step"]) for each in logged] == [
        (i, s) for i in range(3) for s in range(2)
    ]
    assert sum("validation" in each for each in logged) == 1


@pytest.mark.parametrize("size", SIZES)
def test_every_rank_raises_the_same_sentence(ranked: Path, size: int) -> None:
    found = findings(ranked, size)
    said: dict[str, str] = found[0]["refused"]
    assert [each["refused"] for each in found] == [said] * size
    same = "but must be the same: start all processes with the same options, data and versions."
    assert said["data"].startswith("source.fingerprint is ")
    assert said["data"].endswith(f" on rank 0, {same}")
    assert said["seed"] == f"run.seed is 4 on rank 1 and 3 on rank 0, {same}"
    assert said["own"].startswith("Rank 1: ipc_of names the class 'ten'")
    assert said["disk"] == "no more room"
    assert "holds an unfinished run" in said["folder"]
    assert said["method"].startswith("dataset-distillation cannot share its work out")
    assert said["collective"].startswith("gradient-matching cannot share its work out")
    if size == 3:
        assert said["ranks"] == ("There are 3 processes, but only 2 classes to share out: start 2 at most.")


def test_shares_follow_each_other_and_are_about_equal() -> None:
    assert [Ranks(rank, 3).share(10) for rank in range(3)] == [range(3), range(3, 6), range(6, 10)]
    assert current_ranks() == Ranks(0, 1)
