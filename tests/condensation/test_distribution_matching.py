"""Distribution matching step by step, against the same written out with features of the full network."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from datacondense.augment.siamese import apply_siamese, draw_siamese
from datacondense.condensation.config import RunConfig
from datacondense.condensation.distribution_matching_config import DistributionMatchingConfig
from datacondense.condensation.loop import Progress, condense
from datacondense.condensation.state import State, Step
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.networks.builder import build_network
from datacondense.networks.features import penultimate_features
from datacondense.networks.network import Network, Parameters
from datacondense.random import seeded_generator
from tests.conftest import MakeSet, has_kernels

SEED = 9
CONFIG = DistributionMatchingConfig(
    ipc=2, network="convnet-w4-d2", real_batch=4, image_lr=0.3, siamese="none", precision="float64"
)
ALL = "color-crop-cutout-flip-scale-rotate"
SOURCE = """
from torch import nn

def all_convolutions(image_shape, num_classes):
    return nn.Sequential(nn.Conv2d(1, num_classes, 8), nn.Flatten())
"""


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the library catches it."""


def real_images(train: ImageSet, label: int, size: int, purpose: str, *index: int) -> Tensor:
    """Draw real images of a class the way the run's streams promise."""
    members, generator = train.class_indices[label], seeded_generator(SEED, purpose, *index, label)
    if size > len(members):
        return train.normalised(members[torch.randint(len(members), (size,), generator=generator)]).double()
    return train.normalised(members[torch.randperm(len(members), generator=generator)[:size]]).double()


def seen(images: Tensor, strategy: str, draw: int, label: int) -> Tensor:
    """Change images the way the class is changed in a draw."""
    if strategy == "none":
        return images
    c, h, w = images.shape[1:]
    drawn = draw_siamese(
        strategy.removeprefix("dsa:"), 1, (c, h, w), seeded_generator(SEED, "real view", draw, 0, label)
    )
    return apply_siamese(drawn, images)


def features(network: Network, parameters: Parameters, images: Tensor, buffers: Parameters) -> Tensor:
    """Take the input of the full network's last layer, within the graph."""
    noted: list[Tensor] = []
    last = [layer for layer in network.structure.modules() if isinstance(layer, nn.Linear)][-1]
    with last.register_forward_pre_hook(lambda _, given: noted.append(given[0])):
        network(parameters, images, buffers)
    assert torch.equal(noted[0], penultimate_features(network, parameters, images, buffers))
    return noted[0]


def loss_by_hand(train: ImageSet, config: DistributionMatchingConfig, images: Tensor, draw: int) -> Tensor:
    """Write the loss of one step out, class by class and image by image."""
    network = build_network(config.network, train.image_shape, train.num_classes)
    drawn = network.draw(seeded_generator(SEED, "network", draw))
    parameters = {name: value.double() for name, value in drawn.items()}
    statistics = [real_images(train, label, 16, "statistics", draw, 0) for label in range(train.num_classes)]
    buffers = network.measure_statistics(parameters, torch.cat(statistics))
    loss = torch.zeros((), dtype=torch.float64)
    for label in range(train.num_classes):
        real = seen(
            real_images(train, label, config.real_batch, "real", draw, 0), config.siamese, draw, label
        )
        goal = penultimate_features(network, parameters, real, buffers).mean(0)
        synthetic = seen(images[label], config.siamese, draw, label)
        total = sum(features(network, parameters, image[None], buffers)[0] for image in synthetic)
        loss = loss + (goal - total / config.ipc).square().sum()
    return loss


@pytest.mark.parametrize("siamese", ["none", "dsa:crop", f"dsa:{ALL}"])
@pytest.mark.parametrize("network", ["mlp", "convnet-w4-d2", "convnet-w4-d2-bn"])
def test_updates_equal_those_written_out(tiny: ImageSet, network: str, siamese: str) -> None:
    config = replace(CONFIG, network=network, siamese=siamese)
    method = config.build(tiny, SEED)
    state = method.init()
    images = torch.stack([real_images(tiny, label, 2, "start") for label in range(3)]).requires_grad_()
    assert torch.equal(state.images, images)
    optimiser = torch.optim.SGD([images], lr=0.3, momentum=0.5)
    for draw in range(3):
        optimiser.zero_grad()
        expected = loss_by_hand(tiny, config, images, draw)
        expected.backward()
        optimiser.step()
        state, loss = method.step(state, Step(draw, 0))
        assert loss == pytest.approx(float(expected.detach()), rel=1e-10)
        torch.testing.assert_close(state.images, images.detach(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("siamese", ["none", "dsa:rotate", "dsa:color"])
def test_the_gradient_equals_finite_differences(tiny: ImageSet, siamese: str) -> None:
    method = replace(CONFIG, siamese=siamese).build(tiny, SEED)
    start, here = method.init(), Step(0, 0)
    gradient = method.step(start, here)[0].velocity
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(1)).double()

    def loss(shift: Tensor) -> float:
        return method.step(replace(start, images=start.images + shift), here)[1]

    difference = (loss(1e-6 * direction) - loss(-1e-6 * direction)) / 2e-6
    assert float((gradient * direction).sum()) == pytest.approx(difference, rel=1e-5)
    assert abs(difference) > 1e-4


def after(train: ImageSet, config: DistributionMatchingConfig, updates: int) -> tuple[State, list[float]]:
    method = config.build(train, SEED)
    state, losses = method.init(), []
    for draw in range(updates):
        state, loss = method.step(state, Step(draw, 0))
        losses.append(loss)
    return state, losses


def test_noise_takes_the_brightness_of_its_class(tiny: ImageSet) -> None:
    # The classes differ in brightness; networks are fresh in each draw.
    config = replace(CONFIG, start="noise", network="mlp", real_batch=12, image_lr=1.0)
    state, losses = after(tiny, config, 40)
    assert sum(losses[-5:]) < 0.1 * sum(losses[:5])
    expected = torch.stack([tiny.normalised(members).mean() for members in tiny.class_indices])
    torch.testing.assert_close(state.images.mean((1, 2, 3, 4)).float(), expected, rtol=0, atol=0.3)
    start = config.build(tiny, SEED).init().images.mean((1, 2, 3, 4))
    assert float((start - expected).abs().max()) > 0.6


def test_all_real_images_match_exactly(tiny: ImageSet) -> None:
    assert after(tiny, replace(CONFIG, ipc=12, real_batch=12), 1)[1] == pytest.approx([0.0], abs=1e-20)
    # One change for both sides leaves them equal.
    same = replace(CONFIG, ipc=12, real_batch=12, siamese=f"dsa:{ALL}")
    assert after(tiny, same, 4)[1] == pytest.approx([0.0] * 4, abs=1e-20)


def test_steps_leave_their_input_alone(tiny: ImageSet) -> None:
    method = replace(CONFIG, siamese=f"dsa:{ALL}").build(tiny, SEED)
    # From the second state on, there is momentum that could be changed.
    state, _ = method.step(method.init(), Step(0, 0))
    before = {name: tensor.clone() for name, tensor in state.to_tensors().items()}
    new, _ = method.step(state, Step(1, 0))
    for name, tensor in state.to_tensors().items():
        assert torch.equal(tensor, before[name])
        assert not torch.equal(tensor, new.to_tensors()[name])
        assert not tensor.requires_grad


def test_every_draw_has_its_own_network(tiny: ImageSet) -> None:
    method = replace(CONFIG, real_batch=12).build(tiny, SEED)
    losses = [method.step(method.init(), Step(draw, 0))[1] for draw in range(3)]
    assert len({round(loss, 8) for loss in losses}) == 3


def test_images_begin_as_real_ones(tiny: ImageSet) -> None:
    config = DistributionMatchingConfig(ipc=12, network="mlp", real_batch=4)
    images = config.build(tiny, 0).init().images
    for label, members in enumerate(tiny.class_indices):
        found, expected = (
            set(map(tuple, part.flatten(1).tolist())) for part in (images[label], tiny.normalised(members))
        )
        assert found == expected
    noise = replace(config, start="noise").build(tiny, 0).init().images
    assert torch.equal(noise, torch.randn(noise.shape, generator=seeded_generator(0, "start")))


@pytest.mark.parametrize("network", ["convnet-w4-d2", "convnet-w4-d2-bn"])
def test_a_broken_run_ends_with_the_same_bytes(tiny: ImageSet, tmp_path: Path, network: str) -> None:
    method = DistributionMatchingConfig(ipc=2, network=network, real_batch=4)
    run = RunConfig(seed=3, iterations=4, checkpoint_every=0)

    def kill(progress: Progress) -> None:
        if progress.step == (2, 0):
            raise Killed

    full = condense(tiny, method, run, directory=tmp_path / "whole")
    with pytest.raises(Killed):
        condense(tiny, method, run, directory=tmp_path / "broken", observer=kill)
    condense(tiny, method, run, directory=tmp_path / "broken", resume=True)
    broken, unbroken = (tmp_path / name / "condensed.safetensors" for name in ("broken", "whole"))
    assert broken.read_bytes() == unbroken.read_bytes()
    assert bool(full.images.isfinite().all())
    start = method.build(tiny, 3).init().images.flatten(0, 1)
    assert not torch.allclose(full.normalised(), start, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "settled"),
    [
        ("mnist", "dsa:color-crop-cutout-scale-rotate"),
        ("cifar10", f"dsa:{ALL}"),
        ("made", f"dsa:{ALL}"),
    ],
)
def test_the_record_says_what_was_done(tiny: ImageSet, name: str, settled: str) -> None:
    train = replace(tiny, provenance={"source": {"name": name}})
    method = DistributionMatchingConfig(network="convnet-w4-d1", real_batch=4)
    record = condense(train, method, RunConfig(seed=3, iterations=2)).provenance
    assert record["method"] == "distribution-matching"
    assert record["settings"]["siamese"] == settled
    assert (record["settings"]["image_lr"], record["settings"]["image_momentum"]) == (1.0, 0.5)
    assert record["settings"]["start"] == "real"
    assert (record["run"]["seed"], record["iterations_done"]) == (3, 2)
    used = record["environment"]
    assert (used["engine"], used["precision"]) == ("eager", "float32")
    # Settled in time: "dsa" does what its operations say.
    spelled = condense(train, replace(method, siamese=settled), RunConfig(seed=3, iterations=2))
    assert torch.equal(spelled.images, condense(train, method, RunConfig(seed=3, iterations=2)).images)


@pytest.mark.skipif(not has_kernels(), reason="no kernels on this machine")
def test_the_fused_engine_computes_the_features(tiny: ImageSet) -> None:
    eager = replace(CONFIG, network="convnet-w32-d2", precision="float32", siamese="dsa:crop")
    methods = [replace(eager, engine=engine).build(tiny, SEED) for engine in ("eager", "fused")]
    assert [method.backend.engine for method in methods] == ["eager", "fused"]
    (one, loss), (other, quick) = (method.step(method.init(), Step(0, 0)) for method in methods)
    assert quick == pytest.approx(loss, rel=1e-4)
    torch.testing.assert_close(other.velocity, one.velocity, rtol=1e-3, atol=1e-5)


def test_everything_is_float64_where_asked(tiny: ImageSet) -> None:
    method = CONFIG.build(tiny, 0)
    state, _ = method.step(method.init(), Step(0, 0))
    assert {tensor.dtype for tensor in state.to_tensors().values()} == {torch.float64}
    assert method.backend == ("eager", "float64")


def test_defaults_are_the_published_ones() -> None:
    config = DistributionMatchingConfig().resolved("cifar10")
    assert (config.image_lr, config.image_momentum, config.real_batch) == (1.0, 0.5, 256)
    assert (config.start, config.published_iterations, config.steps_per_iteration) == ("real", 20000, 1)
    assert config.siamese == f"dsa:{ALL}"
    assert DistributionMatchingConfig(image_lr=0.7).resolved().image_lr == 0.7


def test_what_takes_other_time_has_other_words() -> None:
    changes = [{}, {"ipc": 3}, {"siamese": "dsa:crop"}, {"real_batch": 7}, {"network": "mlp"}]
    assert len({replace(CONFIG, **change).kind for change in changes}) == 5  # type: ignore[arg-type]
    assert CONFIG.kind == "convnet-w4-d2 by distribution matching, ipc 2, B = 4"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_momentum": 1.0}, "image_momentum is 1.0, but must be at least 0 and below 1"),
        ({"image_lr": 0.0}, "image_lr is 0.0, but a learning rate must be a number above 0"),
        ({"real_batch": 0}, "real_batch is 0, but must be 1 or more"),
        ({"ipc": 0}, "ipc is 0, but must be 1 or more"),
        ({"start": "zeros"}, "start is 'zeros', but images begin as 'noise' or as 'real' images"),
        (
            {"siamese": "crop"},
            "siamese is 'crop', but must be 'none', 'dsa', or operations such as 'dsa:color-crop-flip'",
        ),
        ({"siamese": "dsa:blur"}, "Augmentation strategy 'dsa:blur' is unknown: give 'none', or some of"),
    ],
)
def test_wrong_settings_are_refused_when_given(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(CONFIG, **change)  # type: ignore[arg-type]


def test_what_does_not_fit_is_refused_before_anything_is_written(
    make: MakeSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "without_linear_layer.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    for change, message in (
        ({"network": "without_linear_layer:all_convolutions"}, "calls no nn.Linear, but features are"),
        ({"engine": "fused"}, "engine is 'fused', but the fused layers know float32 and bfloat16"),
        ({"ipc": 6}, r"ipc is 6, but the class 'class 0' has only 5 images to start from"),
    ):
        config = replace(CONFIG, **change)
        with pytest.raises(InputError, match=message):
            condense(make(per_class=5), config, RunConfig(iterations=1), directory=tmp_path / "run")
    assert not (tmp_path / "run").exists()
