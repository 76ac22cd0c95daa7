"""Sets that a teacher labels at the end of a run."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from datacondense import ImageSet, InputError, ParameterMatchingConfig, condense, soft_labelled
from datacondense.evaluation.full_training import TrainedNetwork
from datacondense.networks.builder import build_network
from tests.condensation.made_runs import METHOD, RUN, break_run, result_bytes

FACTORED = replace(METHOD, factor=2)


def teacher(seed: int, num_classes: int = 3) -> TrainedNetwork:
    network = build_network("mlp", (1, 8, 8), num_classes)
    return TrainedNetwork(network, network.draw(torch.Generator().manual_seed(seed)), {})


def test_the_result_has_the_labels_of_the_teacher(tiny: ImageSet, tmp_path: Path) -> None:
    plain = condense(tiny, FACTORED, RUN)
    labelled = condense(tiny, FACTORED, RUN, teacher=teacher(1), temperature=2.0, directory=tmp_path)
    assert torch.equal(labelled.images, plain.images)
    assert torch.equal(labelled.targets, soft_labelled(plain, teacher(1), temperature=2.0).targets)
    assert labelled.targets.shape == (24, 3)
    record = ImageSet.load(tmp_path / "condensed.safetensors").provenance["soft_labels"]
    assert record == labelled.provenance["soft_labels"]
    assert (record["teacher"], record["temperature"]) == ("mlp", 2.0)


def test_a_broken_run_goes_on_with_the_same_teacher_only(tiny: ImageSet, tmp_path: Path) -> None:
    given: dict[str, Any] = {"teacher": teacher(1), "temperature": 2.0}
    condense(tiny, METHOD, RUN, **given, directory=tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.condensation.made_runs.condense", partial(condense, **given))
        break_run(tiny, METHOD, RUN, tmp_path / "broken", at=(0, 1))
    others: list[tuple[dict[str, Any], str]] = [
        ({"teacher": teacher(2), "temperature": 2.0}, r"soft_labels\.fingerprint was '\w{16}' and is now"),
        ({"teacher": teacher(1), "temperature": 1.0}, r"soft_labels\.temperature was 2\.0 and is now 1\.0"),
        ({}, r"soft_labels\.\w+ was .* and is now None"),
    ]
    for other, message in others:
        with pytest.raises(InputError, match=message):
            condense(tiny, METHOD, RUN, **other, directory=tmp_path / "broken", resume=True)
    condense(tiny, METHOD, RUN, **given, directory=tmp_path / "broken", resume=True)
    assert result_bytes(tmp_path / "broken") == result_bytes(tmp_path / "whole")


def test_a_teacher_of_other_classes_is_refused_before_anything_is_written(
    tiny: ImageSet, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"The teacher takes images of shape \(1, 8, 8\) of 4 classes"):
        condense(tiny, METHOD, RUN, teacher=teacher(1, num_classes=4), directory=tmp_path / "run")
    learned = ParameterMatchingConfig(network="mlp", learn_labels=True)
    with pytest.raises(InputError, match="learn_labels is on, but a teacher labels the images too"):
        condense(tiny, learned, RUN, teacher=teacher(1), directory=tmp_path / "run")
    assert not (tmp_path / "run").exists()
