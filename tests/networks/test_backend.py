"""Fused networks against the networks they stand for."""

import warnings
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datacondense.errors import InputError
from datacondense.kernels.build import UnavailableError
from datacondense.networks import backend
from datacondense.networks.backend import Backend, choose_backend, first_order_model
from datacondense.networks.builder import build_network
from datacondense.networks.network import Network, Parameters
from tests.cases import logits_and_gradients
from tests.conftest import has_kernels
from tests.networks.own_layers import (
    BLOCKS,
    OTHERS,
    Build,
    hooked,
    sequence,
    shared_activation,
    shared_layer,
    shared_weight,
)

pytestmark = pytest.mark.skipif(not has_kernels(), reason="no kernels on this machine")

SHAPES = [(1, 28, 28), (3, 12, 20), (2, 8, 8)]


def setting(
    shape: tuple[int, int, int], name: str | Build = "convnet-w32-d2"
) -> tuple[Network, Parameters, Tensor]:
    generator = torch.Generator().manual_seed(1)
    network = build_network(name, shape, 3)
    parameters = network.draw(generator)
    # Norms start as the identity, which would hide a mistake.
    parameters = {k: v + 0.1 * torch.randn(v.shape, generator=generator) for k, v in parameters.items()}
    return network, parameters, torch.randn(4, *shape, generator=generator)


@pytest.mark.parametrize("shape", SHAPES)
def test_fused_equals_eager_in_float32(shape: tuple[int, int, int]) -> None:
    network, parameters, images = setting(shape)
    quick = first_order_model(network, Backend("fused", "float32"))
    found = logits_and_gradients(quick, parameters, images)
    expected = logits_and_gradients(network, parameters, images)
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f, e, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("engine", ["fused", "eager"])
@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_points_where_float32_points(shape: tuple[int, int, int], engine: str) -> None:
    network, parameters, images = setting(shape)
    half = first_order_model(network, Backend(engine, "bfloat16"))
    found = logits_and_gradients(half, parameters, images)
    expected = logits_and_gradients(network, parameters, images)
    assert all(f.dtype == torch.float32 for f in found)
    for name, f, e in zip(["logits", "images", *parameters], found, expected, strict=True):
        # A convolution's bias has no gradient but rounding: the instance norm after it takes every level off.
        if "bias" not in name:
            assert F.cosine_similarity(f.flatten(), e.flatten(), dim=0) > 0.95, name
    assert not torch.equal(found[0], expected[0])


@pytest.mark.parametrize("own", [*BLOCKS.values(), shared_activation], ids=[*BLOCKS, "shared activation"])
def test_fused_equals_eager_for_own_layers(own: Build) -> None:
    network, parameters, images = setting((2, 12, 10), own)
    assert choose_backend(network, "cpu", precision="float32", engine="auto") == ("fused", "float32")
    found = logits_and_gradients(first_order_model(network, Backend("fused", "float32")), parameters, images)
    expected = logits_and_gradients(network, parameters, images)
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f, e, rtol=1e-3, atol=5e-5)


@pytest.mark.parametrize(
    "own",
    [*OTHERS.values(), hooked, shared_layer, shared_weight],
    ids=[*OTHERS, "hook", "shared layer", "shared weight"],
)
def test_own_layers_without_a_kernel_stay_eager(own: Build) -> None:
    network = build_network(own, (2, 12, 10), 3)
    assert choose_backend(network, "cpu", precision="float32", engine="auto").engine == "eager"


def test_layers_beside_a_fused_block_keep_their_settings() -> None:
    def own(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        layers = [
            nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"),
            nn.GroupNorm(2, 4, eps=0.2, affine=False),
            nn.LeakyReLU(0.3),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
        ]
        fused = [
            nn.Conv2d(4, 64, 3, padding=1, groups=4),
            nn.GroupNorm(64, 64, eps=0.1),
            nn.ReLU(),
            nn.AvgPool2d(2),
        ]
        return nn.Sequential(*layers, *fused, nn.Flatten(), nn.Linear(64 * 3 * 2, num_classes, bias=False))

    network, parameters, images = setting((2, 12, 10), own)
    found = logits_and_gradients(first_order_model(network, Backend("fused", "float32")), parameters, images)
    for f, e in zip(found, logits_and_gradients(network, parameters, images), strict=True):
        torch.testing.assert_close(f, e, rtol=1e-3, atol=5e-5)


def test_a_fused_network_takes_fewer_stages() -> None:
    network, parameters, images = setting((3, 12, 20))
    quick = first_order_model(network, Backend("fused", "float32"))
    with torch.profiler.profile() as profile:
        quick(parameters, images)
    names = {event.key for event in profile.key_averages()}
    assert "datacondense::norm_activation_pool" in names
    assert "aten::native_group_norm" not in names


@pytest.mark.parametrize(
    ("name", "precision", "device", "engine", "selected"),
    [
        ("convnet", "float32", "cpu", "auto", "fused"),
        ("convnet", "bfloat16", "cpu", "fused", "fused"),
        ("convnet", "bfloat16", "cpu", "eager", "eager"),
        ("convnet", "float64", "cpu", "auto", "eager"),
        ("convnet", "float32", "mps", "auto", "eager"),
        ("convnet", "bfloat16", "cuda", "auto", "fused"),
        ("convnet", "float32", "cuda", "eager", "eager"),
        ("convnet", "float64", "cuda", "auto", "eager"),
        ("convnet-w17-max-swish", "bfloat16", "cuda", "auto", "fused"),
        ("convnet-gn-nopool", "bfloat16", "cuda", "auto", "fused"),
        ("vgg11", "float32", "cuda", "auto", "fused"),
        ("convnet-bn", "bfloat16", "cuda", "auto", "eager"),
        ("convnet-ln", "bfloat16", "cuda", "auto", "eager"),
        ("mlp", "bfloat16", "cuda", "auto", "eager"),
        ("convnet-w16", "float32", "cpu", "auto", "eager"),
        ("convnet-max", "float32", "cpu", "auto", "eager"),
        ("convnet-bn", "float32", "cpu", "auto", "eager"),
        ("convnet-gn", "float32", "cpu", "auto", "eager"),
        ("convnet-leaky", "float32", "cpu", "auto", "eager"),
        ("mlp", "float32", "cpu", "auto", "eager"),
        ("resnet18", "float32", "cpu", "auto", "eager"),
    ],
)
def test_engine_depends_on_network_and_machine(
    name: str, precision: str, device: str, engine: str, selected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "load_kernels", lambda device: None)
    network = build_network(name, (3, 32, 32), 2)
    assert choose_backend(network, device, precision=precision, engine=engine).engine == selected


@pytest.mark.parametrize(
    ("name", "precision", "device", "obstacle"),
    [
        ("convnet", "float64", "cpu", "compute in float32 and bfloat16, not float64"),
        ("convnet", "float32", "mps", "run on the CPU and on CUDA, not on mps"),
        ("mlp", "float32", "cuda", "mlp has no instance or group norm with an activation after it"),
        ("mlp", "float32", "cpu", "mlp has no instance norm, ReLU and 2x2 average pooling in a row"),
    ],
)
def test_an_impossible_engine_is_refused(name: str, precision: str, device: str, obstacle: str) -> None:
    network = build_network(name, (3, 32, 32), 2)
    with pytest.raises(InputError, match=f"engine is 'fused', but .*{obstacle}.*: give 'auto' or 'eager'"):
        choose_backend(network, device, precision=precision, engine="fused")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_without_kernels_auto_means_eager(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(device: torch.device) -> None:
        raise UnavailableError("there is no C compiler")

    monkeypatch.setattr(backend, "load_kernels", missing)
    monkeypatch.setattr(backend, "_gpu_has_bfloat16", lambda device: False)
    backend._mention.cache_clear()
    network = build_network("convnet", (3, 32, 32), 2)
    with pytest.warns(
        UserWarning, match="fused engine is unavailable because there is no C compiler: using torch's own"
    ):
        assert choose_backend(network, device, precision="auto", engine="auto") == ("eager", "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        choose_backend(network, device, precision="auto", engine="auto")
    with pytest.raises(InputError, match="but there is no C compiler: give 'auto' or 'eager'"):
        choose_backend(network, device, precision="float32", engine="fused")


@pytest.mark.parametrize(
    ("name", "has", "selected"),
    [
        ("convnet", True, ("fused", "bfloat16")),
        ("convnet", False, ("fused", "float32")),
        ("mlp", True, ("eager", "float32")),
    ],
)
def test_automatic_precision_follows_engine_and_processor(
    name: str, has: bool, selected: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datacondense.networks.backend.has_bfloat16", lambda: has)
    network = build_network(name, (3, 32, 32), 2)
    assert choose_backend(network, "cpu", precision="auto", engine="auto") == selected


@pytest.mark.parametrize("engine", ["auto", "eager"])
@pytest.mark.parametrize(("has", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_automatic_precision_of_a_gpu_is_its_own(
    has: bool, precision: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "load_kernels", lambda device: None)
    monkeypatch.setattr(backend, "_gpu_has_bfloat16", lambda device: has)
    monkeypatch.setattr(backend, "has_bfloat16", lambda: not has)
    network = build_network("convnet", (3, 32, 32), 2)
    assert choose_backend(network, "cuda", precision="auto", engine=engine).precision == precision


def test_a_gpu_that_is_not_there_has_no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert not backend._gpu_has_bfloat16(torch.device("cuda"))


def in_plain_layers(
    images: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    groups: int,
    activation: str,
    pooling: str,
    level: Tensor | None,
) -> Tensor:
    """Compute what the kernels of a GPU compute."""
    assert images.is_contiguous(memory_format=torch.channels_last)
    normal = F.group_norm(images, groups, weight, bias, eps)
    layers = {"relu": nn.ReLU(), "swish": nn.SiLU(), "leaky": nn.LeakyReLU(), "sigmoid": nn.Sigmoid()}
    out: Tensor = layers[activation](normal)
    if pooling != "none":
        out = F.max_pool2d(out, 2) if pooling == "max" else F.avg_pool2d(out, 2)
    return out if level is None else out + 0 * level.sum()


@pytest.mark.parametrize(
    "name",
    [
        "convnet-w17-d2-max-swish",
        "convnet-w8-d2-gn-leaky-nopool",
        "convnet-w8-d1-sigmoid",
        "vgg11",
        *BLOCKS,
        *OTHERS,
    ],
)
def test_what_a_gpu_fuses_equals_the_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages for a GPU, run on this machine with torch's layers in place of its kernels."""
    monkeypatch.setattr(backend, "norm_activation_pool", in_plain_layers)
    monkeypatch.setattr(backend, "_DEVICES", {"cuda": ""})
    own = (BLOCKS | OTHERS).get(name)
    network, parameters, images = setting((2, 12, 10) if own else (3, 16, 16), own or name)
    stages = backend._stages(network.structure, "cuda")
    if stages is None:
        assert name in {"reflected", "circular", "norm without parameters"}
        return
    model = partial(backend._run_fused, {"cpu": stages}, torch.float32)
    found = logits_and_gradients(model, parameters, images)
    for f, e in zip(found, logits_and_gradients(network, parameters, images), strict=True):
        torch.testing.assert_close(f, e, rtol=1e-3, atol=5e-4)


def test_a_leak_that_a_gpu_has_no_kernel_for_is_left_to_torch() -> None:
    layers = (lambda: nn.Conv2d(2, 4, 3), lambda: nn.GroupNorm(4, 4), lambda: nn.LeakyReLU(0.3))
    network = build_network(sequence(*layers, features=4 * 10 * 8), (2, 12, 10), 3)
    assert backend._stages(network.structure, "cuda") is None


def test_a_narrow_convolution_is_the_same_with_channels_of_zeros() -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, 3, 5, 6, generator=generator).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(4, 3, 3, 3, generator=generator, requires_grad=True)
    wide = backend._widened(x, weight)
    assert [tensor.shape[1] for tensor in wide] == [8, 8]
    assert wide[0].is_contiguous(memory_format=torch.channels_last)
    out, expected = F.conv2d(*wide), F.conv2d(x, weight)
    torch.testing.assert_close(out, expected)
    gradients = [torch.autograd.grad(o.square().sum(), weight)[0] for o in (out, expected)]
    torch.testing.assert_close(*gradients)
    assert all(a is b for a, b in zip(backend._widened(*wide), wide, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["convnet-w32-d2", "convnet-w20-d2-gn-max-swish", "vgg11"])
def test_fused_equals_eager_on_a_gpu(name: str, precision: str) -> None:
    network, parameters, images = setting((3, 28, 28), name)
    parameters, images = {k: v.cuda() for k, v in parameters.items()}, images.cuda()
    found_backend = choose_backend(network, "cuda", precision=precision, engine="auto")
    assert found_backend == ("fused", precision)
    found = logits_and_gradients(first_order_model(network, found_backend), parameters, images)
    expected = logits_and_gradients(network, parameters, images)
    for key, f, e in zip(["logits", "images", *parameters], found, expected, strict=True):
        if "bias" not in key:
            cosine = F.cosine_similarity(f.flatten(), e.flatten(), dim=0)
            assert cosine > (0.999 if precision == "float32" else 0.95), key


@pytest.mark.parametrize("channels", [1, 3])
def test_images_make_convolutions_answer_in_channels_last(channels: int) -> None:
    images = backend._channels_last(torch.randn(2, channels, 6, 6), torch.float32)
    out = F.conv2d(images, torch.randn(8, channels, 3, 3))
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert not out.is_contiguous()
