"""A memory in a training loop of one's own."""

from pathlib import Path

import pytest
import torch

import datacondense as dc
from datacondense.condensation.loop import RunConfig, condense
from datacondense.data.joining import only_classes
from datacondense.image_set import ImageSet

DIGITS = dc.load("digits").train
STAGES = [only_classes(DIGITS, names) for names in (("3", "1"), ("8", "1", "5"))]


def first(images: ImageSet, ipc: int, seed: int) -> ImageSet:
    """Keep the first images of each class."""
    return images.subset(torch.cat([members[:ipc] for members in images.class_indices]))


def test_each_stage_adds_images_of_its_own_classes() -> None:
    memory = dc.ReplayMemory(2, first)
    for stage in STAGES:
        memory.add(stage)
    images = memory.images
    assert len(memory) == len(images) == 2 * 2 + 3 * 2
    assert images.class_names == ("3", "1", "8", "5")
    assert images.labels.tolist() == [0, 0, 1, 1, 2, 2, 1, 1, 3, 3]
    expected = [first(stage, 2, 0).images for stage in STAGES]
    assert torch.equal(images.images, torch.cat(expected))


def test_methods_and_functions_fill_it_by_stage_and_seed() -> None:
    config, run = dc.GradientMatchingConfig(network="mlp", real_batch=4), RunConfig(iterations=2)
    memory = dc.ReplayMemory(1, config, run=run, seed=5)
    found = [memory.add(stage) for stage in STAGES]
    for number, (stage, each) in enumerate(zip(STAGES, found, strict=True)):
        alone = condense(stage, config, RunConfig(iterations=2, seed=5 + number))
        assert each.fingerprint == alone.fingerprint
    seeds: list[int] = []

    def noted(images: ImageSet, ipc: int, seed: int) -> ImageSet:
        seeds.append(seed)
        return dc.select_random(images, ipc, seed)

    memory = dc.ReplayMemory(1, noted, seed=5)
    for stage in STAGES:
        memory.add(stage)
    assert seeds == [5, 6]


def test_it_is_a_torch_data_set_in_the_scale_of_networks() -> None:
    memory = dc.ReplayMemory(2, first)
    memory.add(STAGES[0])
    images, labels = memory.torch_dataset()[:]
    assert torch.equal(images, memory.images.normalised())
    assert torch.equal(labels, memory.images.labels)


def test_it_goes_on_from_what_was_kept(tmp_path: Path) -> None:
    whole = dc.ReplayMemory(1, dc.select_random)
    for stage in STAGES:
        whole.add(stage)
    whole.sets[0].save(tmp_path / "first.safetensors")
    memory = dc.ReplayMemory(1, dc.select_random, sets=[ImageSet.load(tmp_path / "first.safetensors")])
    memory.add(STAGES[1])
    assert memory.images.fingerprint == whole.images.fingerprint


def test_what_cannot_stand_for_a_stage_is_refused_and_not_kept() -> None:
    refused = {
        "returned Tensor, but must return an ImageSet": lambda images, ipc, seed: images.images,
        "returned images of shape .* and 2 classes": lambda images, ipc, seed: STAGES[0],
        "no image of the class '1'": lambda images, ipc, seed: images.subset(images.class_indices[0]),
    }
    for message, fill in refused.items():
        memory = dc.ReplayMemory(1, fill)
        with pytest.raises(dc.InputError, match=message):
            memory.add(STAGES[1])
        assert memory.sets == []
    memory = dc.ReplayMemory(1, first)
    memory.add(STAGES[0])
    with pytest.raises(dc.InputError, match=r"shapes \(1, 8, 8\) and \(1, 4, 4\)"):
        memory.add(dc.from_arrays(DIGITS.images[:, 0, :4, :4].numpy(), DIGITS.labels.numpy()))
    assert len(memory.sets) == 1


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(dc.InputError, match="ipc is 0, but must be 1 or more"):
        dc.ReplayMemory(0)
    with pytest.raises(dc.InputError, match="fill is a function: leave run out"):
        dc.ReplayMemory(1, dc.select_random, run=RunConfig())
    with pytest.raises(dc.InputError, match="The memory is empty: add a stage first"):
        _ = dc.ReplayMemory(1).images
