"""Parameter matching step by step, against the same written out with torch's SGD and against finite differences."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.condensation.config import RunConfig
from datacondense.condensation.loop import Progress, condense
from datacondense.condensation.parameter_matching_config import ParameterMatchingConfig
from datacondense.condensation.state import Step
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.networks.builder import build_network
from datacondense.networks.network import Parameters
from datacondense.random import seeded_generator
from tests.conftest import MakeSet, has_kernels

SEED = 9
CONFIG = ParameterMatchingConfig(
    ipc=2,
    network="convnet-w4-d1-bn",
    real_batch=4,
    real_steps=3,
    inner_steps=2,
    network_lr=0.2,
    inner_lr=0.25,
    image_lr=0.3,
    precision="float64",
)


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the library catches it."""


def real_images(train: ImageSet, size: int, *key: str | int) -> Tensor:
    """Draw a real batch of all classes the way the run's streams promise."""
    purpose, *index = key
    selected = []
    for label, members in enumerate(train.class_indices):
        generator = seeded_generator(SEED, str(purpose), *(int(i) for i in index), label)
        order = torch.randperm if size <= len(members) else partial(torch.randint, size=(size,))
        selected.append(members[order(len(members), generator=generator)[:size]])
    return train.normalised(torch.cat(selected)).double()


def vector(parameters: Parameters) -> Tensor:
    return torch.cat([parameter.flatten() for parameter in parameters.values()])


def loss_by_hand(train: ImageSet, config: ParameterMatchingConfig, images: Tensor, draw: int) -> Tensor:
    """Write the loss of one step out: torch's SGD on real images, explicit steps on synthetic ones."""
    K = train.num_classes
    network = build_network(config.network, train.image_shape, K)
    start = {name: w.double() for name, w in network.draw(seeded_generator(SEED, "network", draw)).items()}
    model = partial(
        network,
        buffers=network.measure_statistics(start, real_images(train, 16, "statistics", draw, 0)),
    )
    target = {name: weight.clone().requires_grad_() for name, weight in start.items()}
    optimiser = torch.optim.SGD(list(target.values()), lr=config.network_lr)
    for number in range(config.real_steps):
        optimiser.zero_grad()
        real = real_images(train, config.real_batch, "real", draw, 0, number)
        labels = torch.arange(K).repeat_interleave(config.real_batch)
        F.cross_entropy(model(target, real), labels).backward()
        optimiser.step()
    goal, origin = vector(target).detach(), vector(start)
    found = {name: weight.clone().requires_grad_() for name, weight in start.items()}
    labels = torch.arange(K).repeat_interleave(config.ipc)
    assert config.inner_lr is not None
    for _ in range(config.inner_steps):
        loss = F.cross_entropy(model(found, images.flatten(0, 1)), labels)
        slopes = torch.autograd.grad(loss, list(found.values()), create_graph=True)
        found = {
            name: found[name] - config.inner_lr * slope for name, slope in zip(found, slopes, strict=True)
        }
    return (vector(found) - goal).square().sum() / (goal - origin).square().sum()


@pytest.mark.parametrize("network", ["mlp", "convnet-w4-d1-bn"])
def test_updates_equal_those_written_out(tiny: ImageSet, network: str) -> None:
    config = replace(CONFIG, network=network)
    method = config.build(tiny, SEED)
    state = method.init()
    images = torch.randn(3, 2, 1, 8, 8, generator=seeded_generator(SEED, "start")).double().requires_grad_()
    optimiser = torch.optim.SGD([images], lr=0.3, momentum=0.5)
    for draw in range(3):
        optimiser.zero_grad()
        expected = loss_by_hand(tiny, config, images, draw)
        expected.backward()
        optimiser.step()
        state, loss = method.step(state, Step(draw, 0))
        assert loss == pytest.approx(float(expected.detach()), rel=1e-10)
        torch.testing.assert_close(state.images, images.detach(), rtol=1e-9, atol=1e-10)


def test_the_gradient_equals_finite_differences(tiny: ImageSet) -> None:
    method = replace(CONFIG, network="convnet-w4-d1").build(tiny, SEED)
    start, here = method.init(), Step(0, 0)
    gradient = method.step(start, here)[0].velocity
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(1)).double()

    def loss(shift: Tensor) -> float:
        return method.step(replace(start, images=start.images + shift), here)[1]

    difference = (loss(1e-6 * direction) - loss(-1e-6 * direction)) / 2e-6
    assert float((gradient * direction).sum()) == pytest.approx(difference, rel=1e-5)
    assert abs(difference) > 1e-3


def test_images_that_are_all_there_is_match_exactly(make: MakeSet) -> None:
    train = make(per_class=1)
    config = replace(CONFIG, ipc=1, real_batch=1, inner_steps=3, inner_lr=None, start="real")
    method = config.build(train, SEED)
    first = method.init()
    state, loss = method.step(first, Step(0, 0))
    assert loss < 1e-20
    torch.testing.assert_close(state.images, first.images, rtol=0, atol=1e-8)
    wrong = replace(first, images=first.images.flip(0))
    assert method.step(wrong, Step(0, 0))[1] > 0.1


def test_steps_lower_their_own_loss(tiny: ImageSet) -> None:
    method = replace(CONFIG, image_lr=1.0).build(tiny, SEED)
    state = method.init()
    losses = []
    for _ in range(10):
        state, loss = method.step(state, Step(0, 0))  # always the same network and real images
        losses.append(loss)
    assert losses[1] < losses[0]
    assert losses[-1] < 0.8 * losses[0]


def test_steps_leave_their_input_alone(tiny: ImageSet) -> None:
    method = CONFIG.build(tiny, SEED)
    # From the second state on, there is momentum that could be changed.
    state, _ = method.step(method.init(), Step(0, 0))
    before = {name: tensor.clone() for name, tensor in state.to_tensors().items()}
    new, _ = method.step(state, Step(1, 0))
    for name, tensor in state.to_tensors().items():
        assert torch.equal(tensor, before[name])
        assert not torch.equal(tensor, new.to_tensors()[name])
        assert not tensor.requires_grad


def test_every_draw_has_its_own_network_and_images(tiny: ImageSet) -> None:
    method = replace(CONFIG, real_batch=12).build(tiny, SEED)
    losses = [method.step(method.init(), Step(draw, 0))[1] for draw in range(3)]
    assert len({round(loss, 6) for loss in losses}) == 3


def test_a_broken_run_ends_with_the_same_bytes(tiny: ImageSet, tmp_path: Path) -> None:
    method = replace(CONFIG, precision="auto")
    run = RunConfig(seed=3, iterations=3, checkpoint_every=0)

    def kill(progress: Progress) -> None:
        if progress.step == (1, 0):
            raise Killed

    full = condense(tiny, method, run, directory=tmp_path / "whole")
    with pytest.raises(Killed):
        condense(tiny, method, run, directory=tmp_path / "broken", observer=kill)
    condense(tiny, method, run, directory=tmp_path / "broken", resume=True)
    broken, unbroken = (tmp_path / name / "condensed.safetensors" for name in ("broken", "whole"))
    assert broken.read_bytes() == unbroken.read_bytes()
    assert full.provenance["method"] == "parameter-matching"
    used = full.provenance["environment"]
    assert (used["engine"], used["precision"]) == ("eager", "float32")


def test_everything_is_float64_where_asked(tiny: ImageSet) -> None:
    method = CONFIG.build(tiny, 0)
    state, _ = method.step(method.init(), Step(0, 0))
    assert {tensor.dtype for tensor in state.to_tensors().values()} == {torch.float64}
    assert method.backend == ("eager", "float64")


@pytest.mark.skipif(not has_kernels(), reason="no kernels on this machine")
def test_the_fused_engine_trains_on_real_images(tiny: ImageSet) -> None:
    eager = replace(CONFIG, network="convnet-w32-d1", precision="float32")
    methods = [replace(eager, engine=engine).build(tiny, SEED) for engine in ("eager", "fused")]
    assert [method.backend.engine for method in methods] == ["eager", "fused"]
    losses = [method.step(method.init(), Step(0, 0))[1] for method in methods]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_defaults() -> None:
    config = ParameterMatchingConfig().resolved()
    assert (config.image_lr, config.image_momentum, config.network_lr) == (0.1, 0.5, 0.01)
    assert (config.real_batch, config.real_steps, config.inner_steps) == (16, 10, 10)
    assert (config.published_iterations, config.steps_per_iteration, config.start) == (1000, 1, "noise")
    # Fewer steps go as far with a larger rate.
    assert ParameterMatchingConfig(real_steps=20, inner_steps=5).resolved().inner_lr == pytest.approx(0.04)
    kept = ParameterMatchingConfig(inner_lr=0.3, image_lr=0.7).resolved()
    assert (kept.inner_lr, kept.image_lr) == (0.3, 0.7)


def test_what_takes_other_time_has_other_words() -> None:
    changes = [{}, {"ipc": 3}, {"real_steps": 9}, {"inner_steps": 9}, {"real_batch": 7}, {"network": "mlp"}]
    assert len({replace(CONFIG, **change).kind for change in changes}) == 6  # type: ignore[arg-type]
    assert CONFIG.kind == ("parameter-matching with convnet-w4-d1-bn, ipc 2, 3 real and 2 inner steps, B = 4")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"real_steps": 0}, "real_steps is 0, but must be 1 or more"),
        ({"inner_steps": 0}, "inner_steps is 0, but must be 1 or more"),
        ({"network_lr": 0.0}, "network_lr is 0.0, but a learning rate must be a number above 0"),
        ({"inner_lr": -1.0}, "inner_lr is -1.0, but a learning rate must be a number above 0"),
        ({"image_momentum": 1.0}, "image_momentum is 1.0, but must be at least 0 and below 1"),
        ({"real_batch": 0}, "real_batch is 0, but must be 1 or more"),
    ],
)
def test_wrong_settings_are_refused_when_given(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(CONFIG, **change)  # type: ignore[arg-type]


def test_small_classes_are_mentioned_and_real_start_is_refused(make: MakeSet) -> None:
    train = make(per_class=1)
    with pytest.warns(UserWarning, match="3 of 3 classes have fewer images than the real batch of 4"):
        CONFIG.build(train, 0)
    with pytest.raises(
        InputError, match=r"ipc is 2, but the class 'class 0' has only 1 images to start from"
    ):
        replace(CONFIG, start="real", real_batch=1).build(train, 0)
