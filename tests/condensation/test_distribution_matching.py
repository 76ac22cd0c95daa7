"""Distribution matching step by step, against the same written out with features of the full network."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from datacondense import DistributionMatchingConfig, ImageSet, InputError, RunConfig, build_network, condense
from datacondense.condensation.state import State, Step
from datacondense.facts import facts_of
from datacondense.networks.features import penultimate_features
from datacondense.networks.network import Network, Parameters
from datacondense.random import seeded_generator
from tests.condensation.by_hand import SEED, fresh_parameters, real_batch, real_batches, siamese_view
from tests.conftest import MakeSet, has_kernels

CONFIG = DistributionMatchingConfig(
    ipc=2, network="convnet-w4-d2", real_batch=4, image_lr=0.3, siamese="none", precision="float64"
)
ALL = "color-crop-cutout-flip-scale-rotate"
SOURCE = """
from torch import nn

def all_convolutions(image_shape, num_classes):
    return nn.Sequential(nn.Conv2d(1, num_classes, 8), nn.Flatten())
"""


def features(network: Network, parameters: Parameters, images: Tensor, buffers: Parameters) -> Tensor:
    """Take the input of the full network's last layer, within the graph."""
    noted: list[Tensor] = []
    last = [layer for layer in network.structure.modules() if isinstance(layer, nn.Linear)][-1]
    with last.register_forward_pre_hook(lambda _, given: noted.append(given[0])):
        network(parameters, images, buffers)
    assert torch.equal(noted[0], penultimate_features(network, parameters, images, buffers))
    return noted[0]


def loss_by_hand(train: ImageSet, config: DistributionMatchingConfig, images: Tensor, outer: int) -> Tensor:
    """Write the loss of one step out, class by class and image by image."""
    network = build_network(config.network, train.image_shape, train.num_classes)
    parameters = fresh_parameters(network, "network", outer)
    buffers = network.measure_statistics(parameters, real_batches(train, 16, "statistics", outer, 0))
    loss = torch.zeros((), dtype=torch.float64)
    for label in range(train.num_classes):
        view = partial(siamese_view, config.siamese)
        real = view(
            real_batch(train, label, config.real_batch, "real", outer, 0), "real view", outer, 0, label
        )
        goal = penultimate_features(network, parameters, real, buffers).mean(0)
        synthetic = view(images[label], "real view", outer, 0, label)
        total = sum(features(network, parameters, image[None], buffers)[0] for image in synthetic)
        loss = loss + (goal - total / config.ipc).square().sum()
    return loss


@pytest.mark.parametrize("siamese", ["none", "dsa:crop", f"dsa:{ALL}"])
@pytest.mark.parametrize("network", ["mlp", "convnet-w4-d2", "convnet-w4-d2-bn"])
def test_updates_equal_those_by_hand(make: MakeSet, network: str, siamese: str) -> None:
    train = make(per_class=20)
    config = replace(CONFIG, network=network, siamese=siamese)
    method = config.build(train, SEED)
    state = method.init()
    images = torch.stack([real_batch(train, label, 2, "start") for label in range(3)]).requires_grad_()
    assert torch.equal(state.images, images)
    optimiser = torch.optim.SGD([images], lr=0.3, momentum=0.5)
    for outer in range(3):
        optimiser.zero_grad()
        expected = loss_by_hand(train, config, images, outer)
        expected.backward()
        optimiser.step()
        state, loss = method.step(state, Step(outer, 0))
        assert loss == pytest.approx(float(expected.detach()), rel=1e-10)
        torch.testing.assert_close(state.images, images.detach(), rtol=1e-10, atol=1e-10)


def maps_by_hand(network: Network, parameters: Parameters, images: Tensor) -> list[Tensor]:
    """Run a sequence of layers one after the other; return what its ReLUs pass on, and the features last."""
    found = []
    for name, layer in list(network.structure.named_children())[:-1]:
        own = {key.removeprefix(f"{name}."): p for key, p in parameters.items() if key.startswith(f"{name}.")}
        images = functional_call(layer, own, (images,))
        if isinstance(layer, nn.ReLU):
            found.append(images)
    return [*found, images]


def attention_loss(real: list[Tensor], synthetic: list[Tensor], _outer: int) -> Tensor:
    """Compare means of attention maps of the first layer, and of features."""
    first, second = (
        torch.stack([image.abs().sum(0) / image.abs().sum(0).norm() for image in maps[0]]).mean(0)
        for maps in (real, synthetic)
    )
    return 5 * (first - second).square().sum() + (real[-1].mean(0) - synthetic[-1].mean(0)).square().sum()


def characteristic_loss(real: list[Tensor], synthetic: list[Tensor], outer: int) -> Tensor:
    """Compare means of complex exponentials at the frequencies of one step."""
    frequencies = torch.randn(
        (20, real[-1].shape[1]), generator=seeded_generator(SEED, "frequencies", outer, 0)
    ).double()
    first, second = (
        torch.exp(
            1j * (maps[-1] / maps[-1].norm(dim=1, keepdim=True)) @ frequencies.T.to(torch.complex128)
        ).mean(0)
        for maps in (real, synthetic)
    )
    return 300 * ((first - second).abs().square() / 2).sqrt().mean()


@pytest.mark.parametrize(("siamese", "outer"), [("none", 0), ("dsa:crop", 3)])
@pytest.mark.parametrize(
    ("change", "loss_of"),
    [
        ({"match": "attention", "attention_weight": 5.0}, attention_loss),
        ({"match": "characteristic", "frequencies": 20}, characteristic_loss),
    ],
)
def test_other_things_to_match_equal_those_by_hand(
    tiny: ImageSet, change: dict[str, Any], loss_of: Callable[..., Tensor], siamese: str, outer: int
) -> None:
    config = replace(CONFIG, siamese=siamese, ipc=3, image_lr=1.0, **change)
    method = config.build(tiny, SEED)
    start = method.init()
    network = build_network(config.network, tiny.image_shape, tiny.num_classes)
    parameters = fresh_parameters(network, "network", outer)
    images = start.images.clone().requires_grad_()
    loss = torch.zeros(()).double()
    for label in range(3):
        real = real_batch(tiny, label, 4, "real", outer, 0)
        sides = (siamese_view(siamese, own, "real view", outer, 0, label) for own in (real, images[label]))
        loss = loss + loss_of(*(maps_by_hand(network, parameters, own) for own in sides), outer)
    (gradient,) = torch.autograd.grad(loss, images)
    found, value = method.step(start, Step(outer, 0))
    assert value == pytest.approx(float(loss.detach()), rel=1e-6)
    # The library adds 1e-12 under the root.
    torch.testing.assert_close(found.velocity, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("network", ["convnet-w4-d2-bn", "convnet-w4-d1"])
@pytest.mark.parametrize("match", ["attention", "characteristic"])
def test_slopes_of_other_things_to_match_follow_finite_differences(
    tiny: ImageSet, match: Literal["attention", "characteristic"], network: str
) -> None:
    config = replace(CONFIG, match=match, network=network, ipc=1, siamese="dsa:color-crop")
    method = config.build(tiny, SEED)
    start, here = method.init(), Step(0, 0)
    gradient = method.step(start, here)[0].velocity
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(1)).double()

    def loss(shift: float) -> float:
        return method.step(replace(start, images=start.images + shift * direction), here)[1]

    difference = (loss(1e-7) - loss(-1e-7)) / 2e-7
    assert float((gradient * direction).sum()) == pytest.approx(difference, rel=1e-4)
    assert abs(difference) > 1e-4


def test_attention_takes_layers_of_torch_from_networks_that_have_maps(tiny: ImageSet) -> None:
    config = replace(CONFIG, match="attention", precision="float32", network="convnet-w32-d2")
    assert config.build(tiny, SEED).backend.engine == "eager"
    assert config.resolved().resolved() == config.resolved()
    with pytest.raises(InputError, match=r"mlp has no activation layer, such as nn\.ReLU, on maps"):
        replace(config, network="mlp").build(tiny, SEED)
    with pytest.raises(InputError, match="match is 'attention', which the fused layers do not pass on"):
        replace(config, engine="fused")


def after(train: ImageSet, config: DistributionMatchingConfig, updates: int) -> tuple[State, list[float]]:
    method = config.build(train, SEED)
    state, losses = method.init(), []
    for outer in range(updates):
        state, loss = method.step(state, Step(outer, 0))
        losses.append(loss)
    return state, losses


def test_noise_takes_the_brightness_of_its_class(tiny: ImageSet) -> None:
    # The classes differ in brightness; each iteration has a fresh network.
    config = replace(CONFIG, start="noise", network="mlp", real_batch=12, image_lr=1.0)
    state, losses = after(tiny, config, 40)
    assert sum(losses[-5:]) < 0.1 * sum(losses[:5])
    expected = torch.stack([tiny.normalised(members).mean() for members in tiny.class_indices])
    torch.testing.assert_close(state.images.mean((1, 2, 3, 4)).float(), expected, rtol=0, atol=0.3)
    start = config.build(tiny, SEED).init().images.mean((1, 2, 3, 4))
    assert float((start - expected).abs().max()) > 0.6


def test_real_images_have_no_loss(tiny: ImageSet) -> None:
    assert after(tiny, replace(CONFIG, ipc=12, real_batch=12), 1)[1] == pytest.approx([0.0], abs=1e-20)
    # One change for both sides leaves them equal.
    same = replace(CONFIG, ipc=12, real_batch=12, siamese=f"dsa:{ALL}")
    assert after(tiny, same, 4)[1] == pytest.approx([0.0] * 4, abs=1e-20)


@pytest.mark.parametrize(
    ("name", "resolved"),
    [
        ("mnist", "dsa:color-crop-cutout-scale-rotate"),
        ("cifar10", f"dsa:{ALL}"),
        ("made", f"dsa:{ALL}"),
    ],
)
def test_provenance_holds_resolved_settings(tiny: ImageSet, name: str, resolved: str) -> None:
    train = replace(tiny, **facts_of(name)._asdict())
    method = DistributionMatchingConfig(network="convnet-w4-d1", real_batch=4)
    record = condense(train, method, RunConfig(seed=3, iterations=2)).provenance
    assert record["method"] == "distribution-matching"
    assert record["settings"]["siamese"] == resolved
    assert (record["settings"]["image_lr"], record["settings"]["image_momentum"]) == (1.0, 0.5)
    assert record["settings"]["start"] == "real"
    assert (record["run"]["seed"], record["iterations_done"]) == (3, 2)
    used = record["environment"]
    assert (used["engine"], used["precision"]) == ("eager", "float32")
    # "dsa" does what its resolved name says.
    spelled = condense(train, replace(method, siamese=resolved), RunConfig(seed=3, iterations=2))
    assert torch.equal(spelled.images, condense(train, method, RunConfig(seed=3, iterations=2)).images)


@pytest.mark.skipif(not has_kernels(), reason="no kernels on this machine")
def test_the_fused_engine_computes_the_features(tiny: ImageSet) -> None:
    eager = replace(CONFIG, network="convnet-w32-d2", precision="float32", siamese="dsa:crop")
    methods = [replace(eager, engine=engine).build(tiny, SEED) for engine in ("eager", "fused")]
    assert [method.backend.engine for method in methods] == ["eager", "fused"]
    (one, loss), (other, quick) = (method.step(method.init(), Step(0, 0)) for method in methods)
    assert quick == pytest.approx(loss, rel=1e-4)
    torch.testing.assert_close(other.velocity, one.velocity, rtol=1e-3, atol=1e-5)


def test_defaults_are_the_published_ones() -> None:
    config = DistributionMatchingConfig().resolved()
    assert (config.image_lr, config.image_momentum, config.real_batch) == (1.0, 0.5, 256)
    assert (config.start, config.published_iterations, config.steps_per_iteration) == ("real", 20000, 1)
    assert config.siamese == f"dsa:{ALL}"
    assert DistributionMatchingConfig(image_lr=0.7).resolved().image_lr == 0.7


def test_kinds_of_steps_have_names_of_their_own() -> None:
    changes = [{}, {"ipc": 3}, {"siamese": "dsa:crop"}, {"real_batch": 7}, {"network": "mlp"}]
    changes += [{"match": "attention"}, {"match": "characteristic"}]
    assert len({replace(CONFIG, **change).kind for change in changes}) == 7  # type: ignore[arg-type]
    assert CONFIG.kind == "convnet-w4-d2 by distribution matching, ipc 2, B = 4"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"match": "logits"}, "match is 'logits': choose one of features, attention, characteristic"),
        ({"attention_weight": 0.0}, "attention_weight is 0.0, but must be a number above 0"),
        ({"attention_weight": float("nan")}, "attention_weight is nan, but must be a number above 0"),
        ({"frequencies": 0}, "frequencies is 0, but must be 1 or more"),
        (
            {"cutmix": 0.5},
            r"cutmix is 0\.5, but mixes only real images that a pool trains on: give --pool too",
        ),
        ({"image_momentum": 1.0}, "image_momentum is 1.0, but must be at least 0 and below 1"),
        (
            {"siamese": "crop"},
            "siamese is 'crop', but must be 'none', 'dsa', 'idc', or operations such as 'dsa:color-crop-flip'",
        ),
        ({"siamese": "dsa:blur"}, "Augmentation strategy 'dsa:blur' is unknown: give 'none', or some of"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(CONFIG, **change)  # type: ignore[arg-type]


def test_a_network_without_features_is_refused_before_anything_is_written(
    make: MakeSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "without_linear_layer.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    for change, message in (
        ({"network": "without_linear_layer:all_convolutions"}, "calls no nn.Linear, but features are"),
        ({"engine": "fused"}, "engine is 'fused', but the fused layers compute in float32 and bfloat16"),
        ({"ipc": 6}, r"ipc is 6, but the class 'class 0' has only 5 images to start from"),
    ):
        config = replace(CONFIG, **change)
        with pytest.raises(InputError, match=message):
            condense(make(per_class=5), config, RunConfig(iterations=1), directory=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("match", ["features", "attention", "characteristic"])
@pytest.mark.parametrize("ipc_of", [None, {"class 1": 3}])
def test_images_in_parts_give_the_loss_and_slopes_of_all_at_once(
    tiny: ImageSet, match: Any, ipc_of: dict[str, int] | None
) -> None:
    config = replace(
        CONFIG, network="convnet-w4-d2", match=match, ipc_of=ipc_of, factor=2, image_momentum=0.0
    )
    methods: list[Any] = [config.build(tiny, SEED) for _ in range(2)]
    methods[1]._at_once = 5
    (whole, loss), (parts, same) = (method.step(method.init(), Step(0, 0)) for method in methods)
    assert same == pytest.approx(loss, rel=1e-12)
    torch.testing.assert_close(parts.images, whole.images, rtol=1e-10, atol=1e-12)
    assert not torch.equal(whole.images, methods[0].init().images)


def test_so_many_images_share_a_graph_as_the_limit_allows(make: MakeSet) -> None:
    train = make(shape=(3, 32, 32))
    built: list[Any] = [
        replace(CONFIG, network="convnet", graph_memory=limit).build(train, SEED) for limit in (64, 640, None)
    ]
    few, many, usual = (method._at_once for method in built)
    assert 1 < few < 64
    assert many == pytest.approx(10 * few, abs=10)
    assert usual > 500
