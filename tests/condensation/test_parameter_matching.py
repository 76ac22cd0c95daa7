"""Parameter matching step by step, against the same written out with torch's SGD and against finite differences."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense import ImageSet, InputError, ParameterMatchingConfig, build_network
from datacondense.condensation.state import Step
from datacondense.networks.network import Parameters
from tests.condensation.by_hand import SEED, fresh_parameters, real_batches
from tests.conftest import MakeSet, has_kernels

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


def vector(parameters: Parameters) -> Tensor:
    return torch.cat([parameter.flatten() for parameter in parameters.values()])


def loss_by_hand(train: ImageSet, config: ParameterMatchingConfig, images: Tensor, outer: int) -> Tensor:
    """Write the loss of one step out: torch's SGD on real images, explicit steps on synthetic ones."""
    K = train.num_classes
    network = build_network(config.network, train.image_shape, K)
    start = {name: w.detach() for name, w in fresh_parameters(network, "network", outer).items()}
    model = partial(
        network,
        buffers=network.measure_statistics(start, real_batches(train, 16, "statistics", outer, 0)),
    )
    target = {name: weight.clone().requires_grad_() for name, weight in start.items()}
    optimiser = torch.optim.SGD(list(target.values()), lr=config.network_lr)
    for number in range(config.real_steps):
        optimiser.zero_grad()
        real = real_batches(train, config.real_batch, "real", outer, 0, number)
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
def test_updates_equal_those_by_hand(make: MakeSet, network: str) -> None:
    train = make(per_class=20)
    config = replace(CONFIG, network=network)
    method = config.build(train, SEED)
    state = method.init()
    images = state.images.clone().requires_grad_()
    optimiser = torch.optim.SGD([images], lr=0.3, momentum=0.5)
    for outer in range(3):
        optimiser.zero_grad()
        expected = loss_by_hand(train, config, images, outer)
        expected.backward()
        optimiser.step()
        state, loss = method.step(state, Step(outer, 0))
        assert loss == pytest.approx(float(expected.detach()), rel=1e-10)
        torch.testing.assert_close(state.images, images.detach(), rtol=1e-9, atol=1e-10)


def test_all_real_images_have_no_loss(make: MakeSet) -> None:
    train = make(per_class=1)
    config = replace(CONFIG, ipc=1, real_batch=1, inner_steps=3, inner_lr=None, start="real")
    method = config.build(train, SEED)
    first = method.init()
    state, loss = method.step(first, Step(0, 0))
    assert loss < 1e-20
    torch.testing.assert_close(state.images, first.images, rtol=0, atol=1e-8)
    wrong = replace(first, images=first.images.flip(0))
    assert method.step(wrong, Step(0, 0))[1] > 0.1


@pytest.mark.skipif(not has_kernels(), reason="no kernels on this machine")
def test_the_fused_engine_trains_on_real_batches(tiny: ImageSet) -> None:
    eager = replace(CONFIG, network="convnet-w32-d1", precision="float32")
    methods = [replace(eager, engine=engine).build(tiny, SEED) for engine in ("eager", "fused")]
    assert [method.backend.engine for method in methods] == ["eager", "fused"]
    losses = [method.step(method.init(), Step(0, 0))[1] for method in methods]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_defaults_are_resolved() -> None:
    config = ParameterMatchingConfig().resolved()
    assert (config.image_lr, config.image_momentum, config.network_lr) == (0.1, 0.5, 0.01)
    assert (config.real_batch, config.real_steps, config.inner_steps) == (16, 10, 10)
    assert (config.published_iterations, config.steps_per_iteration, config.start) == (1000, 1, "noise")
    # Fewer steps go as far with a larger rate.
    assert ParameterMatchingConfig(real_steps=20, inner_steps=5).resolved().inner_lr == pytest.approx(0.04)
    kept = ParameterMatchingConfig(inner_lr=0.3, image_lr=0.7).resolved()
    assert (kept.inner_lr, kept.image_lr) == (0.3, 0.7)


def test_kinds_of_steps_have_names_of_their_own() -> None:
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
    ],
)
def test_wrong_settings_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(CONFIG, **change)  # type: ignore[arg-type]
