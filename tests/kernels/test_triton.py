"""The Triton kernels against torch's own layers: on a GPU, or where there is none in Triton's interpreter."""

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.kernels.operations import norm_activation_pool

HAS_GPU = torch.cuda.is_available()
pytest.importorskip("triton", reason="triton is not installed")
# The interpreter computes with numpy, which warns of the infinity on the way to a sigmoid of zero.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp:RuntimeWarning")
DEVICE = "cuda" if HAS_GPU else "cpu"
needs_gpu = pytest.mark.skipif(not HAS_GPU, reason="no GPU on this machine")

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "relu": F.relu,
    "leaky": lambda x: F.leaky_relu(x, 0.01),
    "swish": F.silu,
}
POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "max": lambda x: F.max_pool2d(x, 2),
    "average": lambda x: F.avg_pool2d(x, 2),
}
Shape = tuple[int, int, int, int]


@pytest.fixture
def kernels() -> ModuleType:
    from datacondense.kernels import gpu

    return gpu


def inputs(shape: Shape, dtype: torch.dtype = torch.float32, level: float = 3) -> list[Tensor]:
    """Make images whose channels have levels of their own, a weight and a bias."""
    generator = torch.Generator().manual_seed(3)
    levels = level * torch.randn(shape[1], 1, 1, generator=generator)
    images = (torch.randn(shape, generator=generator) + levels).to(dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(2, shape[1], generator=generator)
    return [tensor.to(DEVICE) for tensor in (images, weight, bias)]


def direction_like(out: Tensor) -> Tensor:
    """Draw a gradient of the output."""
    drawn = torch.randn(out.shape, generator=torch.Generator().manual_seed(4)).to(out.device, out.dtype)
    return drawn.contiguous(memory_format=torch.channels_last)


def from_kernels(
    kernels: ModuleType,
    arguments: list[Tensor],
    groups: int,
    activation: str,
    pooling: str,
) -> tuple[list[Tensor], Tensor]:
    """Return values and the three gradients; the gradient of the output that they are for."""
    out, statistics = kernels.forward(*arguments, groups, 1e-5, activation, pooling)
    direction = direction_like(out)
    image_gradient, others = kernels.backward(direction, *arguments, statistics, groups, activation, pooling)
    return [out, image_gradient, *others.sum(1)], direction


def from_layers(
    arguments: list[Tensor], direction: Tensor, groups: int, activation: str, pooling: str
) -> list[Tensor]:
    """Compute the same with torch's own layers, in float64."""
    exact = [tensor.double().requires_grad_() for tensor in arguments]
    normal = F.group_norm(exact[0], groups, exact[1], exact[2], 1e-5)
    out = POOLINGS[pooling](ACTIVATIONS[activation](normal))
    return [out.detach(), *torch.autograd.grad(out, exact, direction.double())]


def check(
    kernels: ModuleType,
    arguments: list[Tensor],
    groups: int,
    activation: str = "relu",
    pooling: str = "average",
    tolerance: float = 1e-5,
) -> None:
    found, direction = from_kernels(kernels, arguments, groups, activation, pooling)
    expected = from_layers(arguments, direction, groups, activation, pooling)
    assert [f.dtype for f in found] == [*[arguments[0].dtype] * 2, torch.float32, torch.float32]
    for f, e in zip(found, expected, strict=True):
        scale = float(e.abs().max())
        torch.testing.assert_close(f.double(), e, rtol=tolerance, atol=tolerance * max(scale, 1e-3))


@pytest.mark.parametrize(("activation", "pooling"), list(product(ACTIVATIONS, POOLINGS)))
def test_each_activation_and_pooling(kernels: ModuleType, activation: str, pooling: str) -> None:
    check(kernels, inputs((2, 4, 3, 5)), 4, activation, pooling)


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 2, 2), (3, 3, 2, 3), (1, 16, 5, 4), (2, 20, 3, 3), (1, 130, 2, 2), (2, 2, 1, 6), (1, 2, 9, 1)],
)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_any_side_and_any_number_of_channels(kernels: ModuleType, shape: Shape, pooling: str) -> None:
    if pooling != "none" and 1 in shape[2:]:
        pytest.skip("torch pools no side of one pixel")
    check(kernels, inputs(shape), shape[1], pooling=pooling)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_bfloat16_differs_by_its_rounding(kernels: ModuleType, activation: str) -> None:
    check(kernels, inputs((2, 12, 5, 6), torch.bfloat16), 12, activation, tolerance=2**-8)


@pytest.mark.parametrize(("channels", "groups"), [(8, 4), (12, 4), (6, 1)])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_groups_of_channels(kernels: ModuleType, channels: int, groups: int, pooling: str) -> None:
    check(kernels, inputs((1, channels, 3, 4)), groups, "swish", pooling)


@pytest.mark.parametrize("groups", [5, 1])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_large_map_is_taken_in_parts(
    kernels: ModuleType, groups: int, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_FORWARD_ELEMENTS", 4 * 8 * 16)
    monkeypatch.setattr(kernels, "_BACKWARD_ELEMENTS", 4 * 8 * 8)
    arguments = inputs((2, 5, 9, 8))
    assert kernels._settings(arguments[0], groups, "relu", pooling, 4 * 8 * 8)["TILE"] < 20
    check(kernels, arguments, groups, pooling=pooling)


@pytest.mark.parametrize("parts", [False, True])
def test_a_level_far_from_zero_costs_no_digits(
    kernels: ModuleType, parts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if parts:
        monkeypatch.setattr(kernels, "_FORWARD_ELEMENTS", 4 * 4 * 4)
    images, weight, bias = inputs((2, 4, 6, 6), level=0)
    # In units that float32 represents beside the level, so that torch sees the same images.
    images = (images * 64).round() / 64 + 4096
    check(kernels, [images, weight, bias], 4, "swish", tolerance=1e-3)


def test_numbers_may_be_large(kernels: ModuleType) -> None:
    images, weight, bias = inputs((2, 4, 4, 4))
    check(kernels, [images * 1e12, weight, bias], 4)
    check(kernels, [images, weight * 1e4, bias * 1e4], 4, "swish")


def test_a_constant_channel_becomes_its_bias(kernels: ModuleType) -> None:
    images = torch.full((1, 4, 4, 4), 7.0, device=DEVICE).contiguous(memory_format=torch.channels_last)
    bias = torch.linspace(-1, 1, 4, device=DEVICE)
    out, _ = kernels.forward(images, torch.ones(4, device=DEVICE), bias, 4, 1e-5, "relu", "average")
    torch.testing.assert_close(out, bias.relu().view(1, -1, 1, 1).expand(1, 4, 2, 2), rtol=0, atol=1e-6)


def test_the_first_of_equal_maxima_takes_the_gradient(kernels: ModuleType) -> None:
    windows = [[1, 1, 1, 1], [0, 2, 2, 2], [0, 0, 3, 3], [1, 0, 0, 1], [0, 5, 5, 0], [0, 2, 0, 2], [-4] * 4]
    images = torch.tensor(windows, dtype=torch.float32).view(1, 7, 2, 2).transpose(1, 2).reshape(1, 1, 2, 14)
    arguments = [
        images.to(DEVICE).contiguous(memory_format=torch.channels_last),
        *torch.tensor([[1.0], [0.1]], device=DEVICE),
    ]
    for activation in ACTIVATIONS:
        check(kernels, arguments, 1, activation, "max")


def test_a_number_that_is_none_is_not_hidden(kernels: ModuleType) -> None:
    images, weight, bias = inputs((2, 3, 4, 4))
    images[1, 1, 2, 3] = torch.nan
    for pooling in POOLINGS:
        out, _ = kernels.forward(images, weight, bias, 3, 1e-5, "relu", pooling)
        spoilt = out.isnan()
        assert spoilt[1, 1].all()
        assert spoilt.sum() == spoilt[1, 1].numel()


COMPILE = """
import torch, triton
from triton.backends.compiler import GPUTarget
from datacondense.kernels import gpu

def compile_(kernel, shape, groups, activation, pooling, dtype):
    settings = gpu._settings(torch.empty(shape, device="meta"), groups, activation, pooling, 8192)
    options = {name: settings.pop(name) for name in ("num_warps", "enable_fp_fusion")}
    maps = ("images", "out", "gradient", "image_gradient")
    others = {"number": "i32", "eps": "fp32"} | dict.fromkeys(settings, "constexpr")
    signature = {name: others.get(name, "*" + (dtype if name in maps else "fp32")) for name in kernel.arg_names}
    source = triton.compiler.ASTSource(fn=kernel, signature=signature, constexprs=settings)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert compiled.asm["cubin"]

for kernel in (gpu.forward_kernel, gpu.backward_kernel):
    compile_(kernel, (4, 128, 32, 32), 128, "relu", "average", "bf16")
    compile_(kernel, (4, 128, 16, 16), 4, "swish", "max", "fp32")
    compile_(kernel, (4, 100, 7, 9), 100, "leaky", "none", "bf16")
"""


def test_the_kernels_compile_for_a_gpu_that_is_not_here(tmp_path: Path) -> None:
    """The interpreter takes what the compiler refuses: other types at both ends of a branch, for one."""
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "error::UserWarning", "-c", COMPILE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("side", [32, 17, 70])
def test_the_operation_on_a_gpu(kernels: ModuleType, side: int, dtype: torch.dtype) -> None:
    images, weight, bias = arguments = [
        tensor.requires_grad_() for tensor in inputs((5, 96, side, side), dtype)
    ]
    level = torch.ones(96, device="cuda", requires_grad=True)
    out = norm_activation_pool(images, weight, bias, 1e-5, groups=96, level=level)
    direction = direction_like(out)
    found = [out, *torch.autograd.grad(out, [*arguments, level], direction)]
    assert torch.equal(found.pop(), torch.zeros_like(level))
    expected = from_layers([a.detach() for a in arguments], direction, 96, "relu", "average")
    for f, e in zip(found, expected, strict=True):
        tolerance = (2**-8 if f.dtype == torch.bfloat16 else 1e-5) * float(e.abs().max())
        torch.testing.assert_close(
            f.double(), e, rtol=1e-2 if dtype == torch.bfloat16 else 1e-4, atol=tolerance
        )


@pytest.mark.gpu
@needs_gpu
def test_a_graph_replays_the_operation(kernels: ModuleType) -> None:
    images, weight, bias = arguments = [
        tensor.requires_grad_() for tensor in inputs((4, 64, 16, 16), torch.bfloat16)
    ]

    def step() -> list[Tensor]:
        out = norm_activation_pool(images, weight, bias, 1e-5, groups=64)
        return [out, *torch.autograd.grad(out.float().square().sum(), arguments)]

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        replayed = step()
    with torch.no_grad():
        images.copy_(images.flip(0) * 2 + 1)
    graph.replay()
    for r, e in zip(replayed, step(), strict=True):
        assert torch.equal(r, e)
