"""Gradient matching under Siamese augmentation: by hand, with the same draws applied to both sides."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.augment.by_name import augmented
from datacondense.augment.siamese import SiameseDraw, apply_siamese, draw_siamese
from datacondense.condensation import gradient_matching as module
from datacondense.condensation.config import RunConfig
from datacondense.condensation.gradient_matching_config import GradientMatchingConfig, SiameseMatchingConfig
from datacondense.condensation.loop import Progress, condense
from datacondense.condensation.method import Sampler
from datacondense.condensation.state import Step
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.matching import reference
from datacondense.matching.gradients import compared_parameters, matching_gradient
from datacondense.networks.builder import build_network
from datacondense.random import seeded_generator
from datacondense.training import train as train_network
from tests.conftest import MakeSet

STEPS, EPOCHS, BATCH, IPC, SEED = 2, 2, 4, 2, 9
ALL = "dsa:color-crop-cutout-flip-scale-rotate"
CONFIG = SiameseMatchingConfig(
    ipc=IPC,
    network="convnet-w4-d2",
    siamese=ALL,
    matching_steps=STEPS,
    network_epochs=EPOCHS,
    image_lr=0.1,
    network_lr=0.05,
    real_batch=BATCH,
    precision="float64",
)


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the library catches it."""


def real_batch(train: ImageSet, label: int, size: int, purpose: str, *index: int) -> Tensor:
    """Draw a batch the way the run's streams promise."""
    members, generator = train.class_indices[label], seeded_generator(SEED, purpose, *index, label)
    return train.normalised(members[torch.randperm(len(members), generator=generator)[:size]]).double()


def views(strategy: str, shape: tuple[int, int, int], step: int) -> list[SiameseDraw]:
    """Draw the change of every class in a step."""
    operations = strategy.removeprefix("dsa:")
    return [
        draw_siamese(operations, 1, shape, seeded_generator(SEED, "real view", 0, step, label))
        for label in range(3)
    ]


def by_hand(train: ImageSet, config: GradientMatchingConfig) -> tuple[Tensor, list[float]]:
    """Write one outer draw out: changed batches, explicit gradient loops, the chain rule, torch's optimisers."""
    K = train.num_classes
    network = build_network(config.network, train.image_shape, K)
    images = torch.stack([real_batch(train, label, IPC, "start") for label in range(K)]).requires_grad_()
    image_optimiser = torch.optim.SGD([images], lr=0.1, momentum=0.5)
    drawn = network.draw(seeded_generator(SEED, "network", 0))
    parameters = {name: value.double().requires_grad_() for name, value in drawn.items()}
    network_optimiser = torch.optim.SGD(list(parameters.values()), lr=0.05, momentum=0.5)
    compared, losses = compared_parameters(parameters), []
    for step in range(STEPS):
        statistics = torch.cat([real_batch(train, label, 16, "statistics", 0, step) for label in range(K)])
        model = partial(network, buffers=network.measure_statistics(parameters, statistics))
        changes = views(config.siamese, train.image_shape, step)
        real = torch.stack([
            apply_siamese(change, real_batch(train, label, BATCH, "real", 0, step))
            for label, change in enumerate(changes)
        ])
        seen = torch.stack([apply_siamese(change, own) for change, own in zip(changes, images, strict=True)])
        distances, gradient = reference.matching_gradient(
            model, parameters, compared, real, seen, kind=config.distance, joint=config.class_collective
        )
        losses.append(float(distances.sum()))
        image_optimiser.zero_grad()
        seen.backward(gradient)
        image_optimiser.step()
        if step + 1 < STEPS:
            labels = torch.arange(K).repeat_interleave(IPC)
            generator = seeded_generator(SEED, "augmentation", 0, step)
            for _ in range(EPOCHS):
                network_optimiser.zero_grad()
                changed = augmented(config.siamese, images.detach().flatten(0, 1), generator)
                F.cross_entropy(model(parameters, changed), labels).backward()
                network_optimiser.step()
    return images.detach(), losses


@pytest.mark.parametrize("class_collective", [False, True])
@pytest.mark.parametrize("siamese", ["dsa:color", "dsa:crop-flip", "dsa:scale-rotate", ALL])
@pytest.mark.parametrize("network", ["mlp", "convnet-w4-d2", "convnet-w4-d1-bn"])
def test_an_outer_draw_equals_the_algorithm_by_hand(
    make: MakeSet, network: str, siamese: str, class_collective: bool
) -> None:
    train = make(per_class=20)
    config = replace(CONFIG, network=network, siamese=siamese, class_collective=class_collective)
    method = config.build(train, SEED)
    state, losses = method.init(), []
    for step in range(STEPS):
        state, loss = method.step(state, Step(0, step))
        losses.append(loss)
    images, expected = by_hand(train, config)
    assert losses == pytest.approx(expected, rel=1e-9)
    torch.testing.assert_close(state.images, images, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("siamese", ["dsa:color", "dsa:rotate", "dsa:crop"])
def test_the_gradient_equals_finite_differences(tiny: ImageSet, siamese: str) -> None:
    method = replace(CONFIG, siamese=siamese, matching_steps=1).build(tiny, SEED)
    start, here = method.init(), Step(0, 0)
    gradient = method.step(start, here)[0].velocity
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(1)).double()

    def loss(shift: Tensor) -> float:
        return method.step(replace(start, images=start.images + shift), here)[1]

    difference = (loss(1e-6 * direction) - loss(-1e-6 * direction)) / 2e-6
    assert float((gradient * direction).sum()) == pytest.approx(difference, rel=1e-5)
    assert abs(difference) > 1e-4


def test_both_sides_of_a_class_see_one_change_and_classes_their_own(
    make: MakeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[SiameseDraw, int]] = []

    def spy(draw: SiameseDraw, images: Tensor) -> Tensor:
        asked.append((draw, len(images)))
        return apply_siamese(draw, images)

    monkeypatch.setattr("datacondense.condensation.method.apply_siamese", spy)
    method = replace(CONFIG, siamese="dsa:rotate", matching_steps=1).build(make(num_classes=5), SEED)
    for draw in range(2):
        method.step(method.init(), Step(draw, 0))
    angles = {
        number: [float(draw.numbers) for draw, size in asked if size == number] for number in (IPC, BATCH)
    }
    assert angles[IPC] == angles[BATCH]
    assert len(set(angles[IPC])) == len(angles[IPC]) == 10
    assert len(asked) == 20


def test_probes_are_changed_too(tiny: ImageSet) -> None:
    images = CONFIG.build(tiny, SEED).init().images
    plain, changed = (
        replace(CONFIG, siamese=siamese).build(tiny, SEED).probe(images, network=0, batch=0)
        for siamese in ("none", "dsa:crop")
    )
    assert not torch.allclose(plain, changed, atol=1e-4)
    with_other_draw = replace(CONFIG, siamese="dsa:crop").build(tiny, SEED).probe(images, network=0, batch=1)
    assert not torch.allclose(with_other_draw, changed, atol=1e-4)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Note with what networks are trained."""
    noted: list[dict[str, Any]] = []

    def spy(*args: Any, **options: Any) -> Any:
        noted.append(options)
        return train_network(*args, **options)

    monkeypatch.setattr(module, "train", spy)
    return noted


def test_without_it_nothing_is_drawn_or_changed(
    tiny: ImageSet, monkeypatch: pytest.MonkeyPatch, trainings: list[dict[str, Any]]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("plain matching augments")

    for name in ("augmented", "seen_by_class"):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(Sampler, "view", refuse)
    found: list[tuple[Tensor, Tensor]] = []

    def spy(objective: Any, parameters: Any, real: Any, images: Tensor) -> tuple[Tensor, Tensor]:
        distances, gradient = matching_gradient(objective, parameters, real, images)
        assert torch.equal(real(1), method._sampler.real(1, BATCH, "real", 0, len(found)))
        found.append((images, gradient))
        return distances, gradient

    monkeypatch.setattr(module, "matching_gradient", spy)
    method = GradientMatchingConfig(
        ipc=IPC, network="convnet-w4-d2", matching_steps=STEPS, network_epochs=1, real_batch=BATCH
    ).build(tiny, SEED)
    first = method.init()
    state, _ = method.step(first, Step(0, 0))
    method.step(state, Step(0, 1))
    assert [options["augmentation"] for options in trainings] == [None]
    assert found[0][0] is first.images
    assert found[1][0] is state.images
    assert torch.equal(state.images, first.images - 0.1 * found[0][1])


def test_the_network_trains_on_images_changed_one_by_one(
    tiny: ImageSet, trainings: list[dict[str, Any]]
) -> None:
    method = replace(CONFIG, siamese="dsa:rotate").build(tiny, SEED)
    method.step(method.init(), Step(3, 0))
    (options,) = trainings
    alike = torch.rand(1, *tiny.image_shape).expand(6, -1, -1, -1)
    first, second = (options["augmentation"](alike) for _ in range(2))
    assert len(torch.unique(first.flatten(1), dim=0)) == 6
    assert not torch.equal(first, second)


def test_a_broken_run_ends_with_the_same_bytes(tiny: ImageSet, tmp_path: Path) -> None:
    method = replace(CONFIG, siamese="dsa", precision="auto")
    run = RunConfig(seed=3, iterations=2, checkpoint_every=0)

    def kill(progress: Progress) -> None:
        if progress.step == (1, 1):
            raise Killed

    full = condense(tiny, method, run, directory=tmp_path / "whole")
    assert full.provenance["settings"]["siamese"] == ALL
    with pytest.raises(Killed):
        condense(tiny, method, run, directory=tmp_path / "broken", observer=kill)
    with pytest.raises(InputError, match=r"settings\.siamese was 'dsa:.*' and is now 'none'"):
        condense(tiny, replace(method, siamese="none"), run, directory=tmp_path / "broken", resume=True)
    condense(tiny, method, run, directory=tmp_path / "broken", resume=True)
    broken, unbroken = (tmp_path / name / "condensed.safetensors" for name in ("broken", "whole"))
    assert broken.read_bytes() == unbroken.read_bytes()
    plain = condense(tiny, replace(method, siamese="none"), run)
    assert not torch.allclose(plain.images, full.images, atol=1e-3)


def test_defaults_are_the_published_ones() -> None:
    config = SiameseMatchingConfig(ipc=10)
    assert (config.start, config.siamese, config.published_iterations) == ("real", "dsa", 1000)
    assert config.resolved("cifar10").siamese == ALL
    assert config.resolved("mnist").siamese == "dsa:color-crop-cutout-scale-rotate"
    # All else is as in plain matching.
    plain = GradientMatchingConfig(ipc=10)
    assert vars(config) == {**vars(plain), "start": "real", "siamese": "dsa"}
    assert (plain.start, plain.siamese) == ("noise", "none")


def test_what_takes_other_time_has_other_words() -> None:
    kinds = {replace(CONFIG, siamese=siamese).kind for siamese in ("none", "dsa", "dsa:crop")}
    assert len(kinds) == 3
    crop = replace(CONFIG, siamese="dsa:crop", class_collective=True)
    assert crop.kind == "convnet-w4-d2, classes joined, dsa:crop, 2 epochs between, ipc 2, B = 4"


@pytest.mark.parametrize(
    ("siamese", "message"),
    [
        ("flip", "siamese is 'flip', but must be 'none', 'dsa', or operations such as"),
        ("dsa:", "Augmentation strategy 'dsa:' is unknown"),
        ("dsa:crop-crop", "Augmentation strategy 'dsa:crop-crop' is unknown"),
        ("dsa:noise", "Augmentation strategy 'dsa:noise' is unknown"),
    ],
)
def test_wrong_operations_are_refused_when_given(siamese: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(CONFIG, siamese=siamese)
