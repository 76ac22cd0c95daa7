"""Parameter matching step by step, against the same written out with torch's SGD and against finite differences."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense import ImageSet, InputError, ParameterMatchingConfig, RunConfig, build_network, condense
from datacondense.condensation.experts import Experts
from datacondense.condensation.parameter_matching import ParameterMatching, _expert_protocol
from datacondense.condensation.state import Step
from datacondense.networks.network import Parameters
from datacondense.random import seeded_generator
from tests.condensation.by_hand import SEED, fresh_parameters, real_batches
from tests.conftest import MakeSet, has_kernels

K = 3
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


EXPERTS = replace(
    CONFIG,
    network="convnet-w4-d1",
    experts=3,
    expert_epochs=4,
    start_epochs=2,
    inner_batch=4,
    inner_steps=3,
    learn_rate=True,
    rate_lr=0.01,
    learn_labels=True,
    label_lr=0.5,
)


def trajectory_loss_by_hand(
    train: ImageSet, config: ParameterMatchingConfig, leaves: list[Tensor], outer: int
) -> Tensor:
    """Write the loss between two epochs of an expert out, with learned images, labels and rate."""
    images, logits, lr = leaves
    settings = config.resolved()
    experts = Experts(train, _expert_protocol(settings, train, SEED))
    generator = seeded_generator(SEED, "expert", outer, 0)
    number, epoch = (int(torch.randint(end, (), generator=generator)) for end in (3, 3))
    start, goal = (experts.parameters(number, each, torch.float64) for each in (epoch, epoch + 2))
    # Six images in three batches of four: two passes over them.
    generator = seeded_generator(SEED, "inner batches", outer, 0)
    order = torch.cat([torch.randperm(6, generator=generator) for _ in range(2)])
    network = build_network(config.network, train.image_shape, K)
    found, seen = start, images.flatten(0, 1)
    for batch in (order[:4], order[4:8], order[8:]):
        here = {
            name: w.detach().requires_grad_() if config.constant_memory else w.requires_grad_()
            for name, w in found.items()
        }
        log_likely = network(here, seen[batch]).log_softmax(1)
        loss = -(logits[batch].softmax(1) * log_likely).sum(1).mean()
        slopes = torch.autograd.grad(loss, list(here.values()), create_graph=True)
        found = {name: found[name] - lr * slope for name, slope in zip(here, slopes, strict=True)}
    end, first, wanted = (torch.cat([each[name].flatten() for name in goal]) for each in (found, start, goal))
    return (end - wanted).square().sum() / (first - wanted).square().sum()


@pytest.mark.parametrize("constant_memory", [False, True])
def test_updates_with_experts_equal_those_by_hand(tiny: ImageSet, constant_memory: bool) -> None:
    config = replace(EXPERTS, constant_memory=constant_memory)
    method = config.build(tiny, SEED)
    state = method.init()
    logits = math.log(9 * (K - 1)) * F.one_hot(torch.tensor([0, 0, 1, 1, 2, 2])).double()
    leaves = [state.images.clone(), logits, torch.tensor(0.25, dtype=torch.float64)]
    rates = zip(leaves, (0.3, 0.5, 0.01), strict=True)
    groups = [{"params": [leaf.requires_grad_()], "lr": rate} for leaf, rate in rates]
    optimiser = torch.optim.SGD(groups, momentum=0.5)
    for outer in range(3):
        optimiser.zero_grad()
        expected = trajectory_loss_by_hand(tiny, config, leaves, outer)
        expected.backward()
        optimiser.step()
        state, loss = method.step(state, Step(outer, 0))
        assert loss == pytest.approx(float(expected.detach()), rel=1e-9)
    found = (state.images, state.learned["label_logits"], state.learned["inner_lr"])
    for own, leaf, name in zip(found, leaves, ("images", "logits", "rate"), strict=True):
        torch.testing.assert_close(own, leaf.detach(), rtol=1e-8, atol=1e-9, msg=name)
    assert abs(float(leaves[2].detach()) - 0.25) > 1e-5
    soft = condense(tiny, config, RunConfig(seed=SEED, iterations=3))
    assert soft.soft_labels is not None
    torch.testing.assert_close(soft.soft_labels, leaves[1].detach().softmax(1).float())
    assert float((soft.soft_labels.amax(1) - 0.9).abs().max()) > 1e-3
    assert soft.provenance["learned"] == {"inner_lr": pytest.approx(float(leaves[2].detach()))}


def test_late_epochs_come_in_by_and_by(tiny: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, int]] = []
    parameters = Experts.parameters

    def reading(self: Experts, number: int, epoch: int, dtype: torch.dtype) -> Parameters:
        read.append((number, epoch))
        return parameters(self, number, epoch, dtype)

    monkeypatch.setattr(Experts, "parameters", reading)
    method: ParameterMatching = replace(EXPERTS, start_epochs_grow=40).build(tiny, SEED)  # type: ignore[assignment]
    for outer in range(60):
        method._ends(Step(outer, 0))
    starts, ends = read[::2], read[1::2]
    assert ends == [(number, epoch + 2) for number, epoch in starts]
    assert {number for number, _ in starts} == {0, 1, 2}
    epochs = [epoch for _, epoch in starts]
    assert [set(epochs[first : first + 20]) for first in (0, 20, 40)] == [{0}, {0, 1}, {0, 1, 2}]


def test_labels_of_real_images_begin_with_right_answers_of_an_expert(tiny: ImageSet) -> None:
    config = replace(EXPERTS, start="real", factor=2, expert_epochs=4)
    method = config.build(tiny, SEED)
    state = method.init()
    logits = state.learned["label_logits"]
    expert = Experts(tiny, _expert_protocol(method.settings, tiny, SEED)).parameters(0, 4, torch.float64)
    answers = method.network(expert, method.decoded(state.images).flatten(0, 1))
    classes = torch.arange(K).repeat_interleave(8)
    right = answers.argmax(1) == classes
    assert 0 < int(right.sum()) < len(right)
    torch.testing.assert_close(logits[right], answers[right])
    shares = logits.softmax(1).gather(1, classes[:, None])[~right]
    torch.testing.assert_close(shares, torch.full_like(shares, 0.9))


def test_augmented_steps_are_differentiated_as_they_are(tiny: ImageSet) -> None:
    method = replace(EXPERTS, augmentation="dsa").build(tiny, SEED)
    assert method.settings.augmentation == "dsa:color-crop-cutout-flip-scale-rotate"
    start, here = method.init(), Step(0, 0)
    gradient = method.step(start, here)[0].velocity
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(1)).double()

    def loss(shift: Tensor) -> float:
        return method.step(replace(start, images=start.images + shift), here)[1]

    difference = (loss(1e-7 * direction) - loss(-1e-7 * direction)) / 2e-7
    assert float((gradient * direction).sum()) == pytest.approx(difference, rel=1e-4)
    assert loss(0 * direction) != pytest.approx(EXPERTS.build(tiny, SEED).step(start, here)[1], rel=1e-4)


def test_a_learned_rate_that_is_no_rate_any_more_is_refused(tiny: ImageSet) -> None:
    with pytest.raises(
        InputError, match=r"The learned rate became -.* in iteration 1: .* --rate-lr, such as 100000"
    ):
        condense(tiny, replace(EXPERTS, rate_lr=1e6), RunConfig(iterations=9))


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
    assert ParameterMatchingConfig(experts=1, real_steps=20).resolved().inner_lr == 0.01
    kept = ParameterMatchingConfig(inner_lr=0.3, image_lr=0.7).resolved()
    assert (kept.inner_lr, kept.image_lr) == (0.3, 0.7)


def test_kinds_of_steps_have_names_of_their_own() -> None:
    changes = [{}, {"ipc": 3}, {"real_steps": 9}, {"inner_steps": 9}, {"real_batch": 7}, {"network": "mlp"}]
    changes += [{"inner_batch": 3}, {"constant_memory": True}, {"experts": 2}]
    assert len({replace(CONFIG, **change).kind for change in changes}) == 9  # type: ignore[arg-type]
    assert CONFIG.kind == ("parameter-matching with convnet-w4-d1-bn, ipc 2, 3 real and 2 inner steps, B = 4")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"real_steps": 0}, "real_steps is 0, but must be 1 or more"),
        ({"inner_steps": 0}, "inner_steps is 0, but must be 1 or more"),
        ({"inner_batch": -1}, "inner_batch is -1, but must be 0 or more"),
        ({"rate_lr": 0.0}, "rate_lr is 0.0, but a learning rate must be a number above 0"),
        (
            {"experts": 1, "start_epochs": 49},
            r"start_epochs \+ target_epochs is 51, but experts are trained for 50 epochs: .* --expert-epochs 51",
        ),
        (
            {"start_epochs": 3},
            "start_epochs is 3, but there are no experts: give --experts, or leave --start-epochs",
        ),
        ({"augmentation": "dsa"}, "augmentation is 'dsa', but there are no experts"),
        ({"augmentation": "x", "experts": 1}, "Augmentation strategy 'x' is unknown"),
        ({"network_lr": 0.0}, "network_lr is 0.0, but a learning rate must be a number above 0"),
        ({"inner_lr": -1.0}, "inner_lr is -1.0, but a learning rate must be a number above 0"),
        ({"image_momentum": 1.0}, "image_momentum is 1.0, but must be at least 0 and below 1"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(CONFIG, **change)  # type: ignore[arg-type]
