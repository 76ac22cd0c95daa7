"""Dataset distillation step by step, against the same written out with torch's Adam and against finite differences."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense import DatasetDistillationConfig, ImageSet, InputError, RunConfig, build_network, condense
from datacondense.condensation.dataset_distillation import InitialValues, Moving, adam_step
from datacondense.condensation.state import State, Step
from datacondense.networks.backend import Precision
from datacondense.networks.network import Network, Parameters
from datacondense.random import seeded_generator
from tests.condensation.by_hand import SEED

CONFIG = DatasetDistillationConfig(
    ipc=4,
    network="convnet-w4-d1",
    real_batch=16,
    images_per_step=2,
    inner_epochs=2,
    step_lr=0.5,
    image_lr=0.1,
    halve_every=2,
    precision="float64",
)


def first_values(network: Network, config: DatasetDistillationConfig, number: int) -> Parameters:
    """Draw a network; by Xavier's rule from the same generator, after its usual values."""
    generator = seeded_generator(SEED, "network", number)
    drawn = {name: value.double() for name, value in network.draw(generator).items()}
    if config.initial_values == "xavier":
        # convnet-w4-d1 on 8×8 grey images: 3×3 filters from 1 channel to 4, then 64 features to 3 classes.
        for layer, shape, fans in (("0", (4, 1, 3, 3), 9 + 36), ("5", (3, 64), 64 + 3)):
            normal = torch.empty(shape).normal_(0, (2 / fans) ** 0.5, generator=generator)
            drawn |= {f"{layer}.weight": normal.double(), f"{layer}.bias": torch.zeros(shape[0]).double()}
    return {name: value.requires_grad_() for name, value in drawn.items()}


def by_hand(train: ImageSet, config: DatasetDistillationConfig, updates: int) -> tuple[Tensor, Tensor]:
    """Write the updates out: explicit inner steps, torch's Adam with its learning rate set anew for each."""
    K = train.num_classes
    images = config.build(train, SEED).init().images.clone()
    assert (config.step_lr, config.image_lr) == (0.5, 0.1)
    raw = (
        torch.full((config.inner_epochs * config.ipc // config.images_per_step,), 0.5).double().expm1().log()
    )
    leaves = [images.requires_grad_(), raw.requires_grad_()]
    optimiser = torch.optim.Adam(leaves, betas=(0.5, 0.999))
    for outer in range(updates):
        optimiser.param_groups[0]["lr"] = 0.1 / 2 ** (outer // config.halve_every)
        optimiser.zero_grad()
        network = build_network(config.network, train.image_shape, K)
        weights = first_values(network, config, 0 if config.fixed_network else outer)
        used = 0
        for _ in range(config.inner_epochs):
            for first in range(0, config.ipc, config.images_per_step):
                batch = images[:, first : first + config.images_per_step]
                labels = torch.arange(K)[:, None].expand(batch.shape[:2]).flatten()
                loss = F.cross_entropy(network(weights, batch.flatten(0, 1)), labels)
                slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
                lr = torch.log1p(raw[used].exp())
                weights = {
                    name: weights[name] - lr * slope for name, slope in zip(weights, slopes, strict=True)
                }
                used += 1
        # 36 images in batches of 16: the third batch of an epoch has 4.
        order = torch.randperm(36, generator=seeded_generator(SEED, "real", outer // 3))
        batch = order[16 * (outer % 3) : 16 * (outer % 3 + 1)]
        logits = network(weights, train.normalised(batch).double())
        F.cross_entropy(logits, train.labels[batch]).backward()
        optimiser.step()
    return images.detach(), raw.detach().exp().log1p()


def after(train: ImageSet, config: DatasetDistillationConfig, updates: int) -> State:
    method = config.build(train, SEED)
    state = method.init()
    for outer in range(updates):
        state, _ = method.step(state, Step(outer, 0))
    return state


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("values", ["xavier", "default"])
def test_updates_equal_those_by_hand(tiny: ImageSet, fixed: bool, values: InitialValues) -> None:
    config = replace(CONFIG, fixed_network=fixed, initial_values=values)
    state = after(tiny, config, 5)
    images, step_lrs = by_hand(tiny, config, 5)
    torch.testing.assert_close(state.images, images, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(state.learned["step_lrs"], step_lrs, rtol=1e-8, atol=1e-8)


def test_adam_step_equals_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    moving = Moving(*[torch.randn(7, generator=generator, dtype=torch.float64), *torch.zeros(2, 7).double()])
    leaf = moving.value.clone().requires_grad_()
    optimiser = torch.optim.Adam([leaf], lr=0.3, betas=(0.5, 0.999))
    for number in range(1, 6):
        leaf.grad = torch.randn(7, generator=generator, dtype=torch.float64) * 10.0 ** (number - 9)
        moving = adam_step(moving, leaf.grad, lr=0.3, number=number)
        optimiser.step()
        torch.testing.assert_close(moving.value, leaf.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("factor", [1, 2])
def test_gradients_of_all_that_is_learned_equal_finite_differences(tiny: ImageSet, factor: int) -> None:
    method = replace(CONFIG, learn_labels=True, label_lr=0.3, factor=factor).build(tiny, SEED)
    start, here = method.init(), Step(0, 0)
    new, _ = method.step(start, here)
    moved = new.learned["label_logits"] - start.learned["label_logits"]  # by the rate, at Adam's first step
    assert moved.shape == (12 * factor**2, 3)
    assert float(moved.abs().max()) == pytest.approx(0.3, rel=1e-3)
    # After one update Adam's first moments are half of the gradients.
    gradients = {"images": 2 * new.velocity, "raw_lrs": 2 * new.other["raw_lrs_mean"]}
    gradients["label_logits"] = 2 * new.other["label_logits_mean"]

    def loss(name: str, shift: Tensor) -> float:
        if name == "images":
            return method.step(replace(start, images=start.images + shift), here)[1]
        if name == "label_logits":
            learned = {**start.learned, name: start.learned[name] + shift}
            return method.step(replace(start, learned=learned), here)[1]
        return method.step(replace(start, other={**start.other, name: start.other[name] + shift}), here)[1]

    for name, gradient in gradients.items():
        direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(1)).double()
        difference = (loss(name, 1e-6 * direction) - loss(name, -1e-6 * direction)) / 2e-6
        assert float((gradient * direction).sum()) == pytest.approx(difference, rel=1e-5)
        assert abs(difference) > 1e-3


def loss_by_number(train: ImageSet, config: DatasetDistillationConfig, outer: int) -> float:
    """Return the loss of the first images where the real batch is all images."""
    method = replace(config, real_batch=36).build(train, SEED)
    return method.step(method.init(), Step(outer, 0))[1]


def test_a_fixed_network_is_the_same_in_every_iteration(tiny: ImageSet) -> None:
    for network in ("convnet-w4-d1", "convnet-w4-d1-bn"):
        config = replace(CONFIG, network=network)
        fixed = [loss_by_number(tiny, replace(config, fixed_network=True), outer) for outer in (0, 1, 7)]
        fresh = [loss_by_number(tiny, config, outer) for outer in (0, 1, 7)]
        assert fixed[1:] == pytest.approx([fixed[0]] * 2, rel=1e-12)
        assert fresh[0] == pytest.approx(fixed[0], rel=1e-12)
        assert all(abs(loss - fixed[0]) > 1e-4 for loss in fresh[1:])


@pytest.mark.parametrize("lr", [1e-6, 0.02, 1.0, 1000.0])
def test_learned_rates_begin_at_step_lr(tiny: ImageSet, lr: float) -> None:
    state = replace(CONFIG, step_lr=lr).build(tiny, 0).init()
    assert state.learned["step_lrs"].tolist() == pytest.approx([lr] * 4, rel=1e-12)
    assert state.learned["step_lrs"].dtype == torch.float64


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_provenance_names_the_backend_that_is_used(
    tiny: ImageSet, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datacondense.networks.backend.has_bfloat16", lambda: True)
    config = replace(CONFIG, network="convnet-w32-d1", real_batch=2, ipc=2, inner_epochs=1)
    used = condense(tiny, replace(config, precision=precision), RunConfig(iterations=1))
    assert (used.provenance["environment"]["engine"], used.provenance["environment"]["precision"]) == (
        "eager",
        "float32",
    )
    assert torch.equal(
        used.images, condense(tiny, replace(config, precision="float32"), RunConfig(iterations=1)).images
    )


def test_defaults_are_the_published_ones() -> None:
    config = DatasetDistillationConfig().resolved()
    assert (config.image_lr, config.step_lr, config.halve_every) == (0.01, 0.02, 2360)
    assert (config.start, config.images_per_step, config.inner_epochs) == ("noise", 1, 3)
    assert (config.real_batch, config.published_iterations, config.steps_per_iteration) == (1024, 23600, 1)
    assert config.initial_values == "xavier"
    assert not config.fixed_network
    assert replace(config, ipc=10, images_per_step=2).inner_steps == 15
    assert DatasetDistillationConfig(network="AlexCifarNet").resolved().step_lr == 0.001
    kept = DatasetDistillationConfig(network="alexcifarnet", step_lr=0.3, image_lr=0.7).resolved()
    assert (kept.step_lr, kept.image_lr) == (0.3, 0.7)


def test_kinds_of_steps_have_names_of_their_own() -> None:
    changes = [{}, {"ipc": 8}, {"inner_epochs": 1}, {"real_batch": 7}, {"network": "mlp"}]
    kinds = [replace(CONFIG, **change).kind for change in [*changes, {"fixed_network": True}]]  # type: ignore[arg-type]
    assert len(set(kinds)) == 6
    assert CONFIG.kind == "dataset-distillation with convnet-w4-d1, ipc 4, 4 inner steps, B = 16"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ipc": 5}, "ipc is 5, but must be a multiple of images_per_step, which is 2: give such as --ipc 6"),
        ({"images_per_step": 0}, "images_per_step is 0, but must be 1 or more"),
        ({"inner_epochs": 0}, "inner_epochs is 0, but must be 1 or more"),
        ({"halve_every": 0}, "halve_every is 0, but must be 1 or more"),
        ({"initial_values": "zeros"}, "initial_values is 'zeros': choose one of 'xavier' and 'default'"),
        ({"label_lr": 0.0}, "label_lr is 0.0, but a learning rate must be a number above 0"),
        ({"step_lr": -0.1}, "step_lr is -0.1, but a learning rate must be a number above 0"),
        (
            {"engine": "fused"},
            "engine is 'fused', but dataset distillation differentiates all training twice.*: give 'auto'",
        ),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(CONFIG, **change)  # type: ignore[arg-type]
