"""The operation on a CPU against torch's own three layers, and what it is to torch."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.kernels.build import UnavailableError
from datacondense.kernels.operations import has_kernel, load_kernels, norm_activation_pool
from tests.conftest import has_kernels

pytestmark = pytest.mark.skipif(not has_kernels(), reason="no kernels on this machine")

SHAPES = [(3, 32, 4, 4), (2, 64, 8, 6), (2, 32, 5, 7), (1, 32, 2, 2), (2, 96, 3, 2)]


def plain(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.avg_pool2d(F.relu(F.group_norm(images, images.shape[1], weight, bias, 1e-5)), 2)


def kernel(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return norm_activation_pool(images, weight, bias, 1e-5, groups=images.shape[1])


def inputs(shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Images far from zero in some channels, where a careless variance would lose its digits."""
    generator = torch.Generator().manual_seed(3)
    level = 20 * torch.randn(shape[1], 1, 1, generator=generator)
    images = (torch.randn(shape, generator=generator) + level).requires_grad_()
    weight = torch.randn(shape[1], generator=generator).requires_grad_()
    bias = torch.randn(shape[1], generator=generator).requires_grad_()
    return images, weight, bias


def outcome(
    function: Callable[[Tensor, Tensor, Tensor], Tensor], arguments: tuple[Tensor, Tensor, Tensor]
) -> list[Tensor]:
    """Return values and the three gradients, for some gradient of the output."""
    out = function(*arguments)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(4)).to(out.dtype)
    return [out, *torch.autograd.grad(out, arguments, direction)]


@pytest.mark.parametrize("shape", SHAPES)
def test_float32_equals_torchs_layers(shape: tuple[int, int, int, int]) -> None:
    arguments = inputs(shape)
    found = outcome(kernel, arguments)
    # The truth in float64: both implementations round on their own.
    exact = tuple(a.detach().double().requires_grad_() for a in arguments)
    out = plain(*exact)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(4)).double()
    expected = [out, *torch.autograd.grad(out, exact, direction)]
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f.double(), e, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_equals_float32_up_to_its_rounding(shape: tuple[int, int, int, int]) -> None:
    images, weight, bias = inputs(shape)
    rounded = (images.detach() / 8).bfloat16().requires_grad_()
    found = outcome(kernel, (rounded, weight, bias))
    expected = outcome(plain, (rounded.detach().float().requires_grad_(), weight, bias))
    assert [f.dtype for f in found] == [torch.bfloat16, torch.bfloat16, torch.float32, torch.float32]
    torch.testing.assert_close(found[0].float(), expected[0], rtol=2**-8, atol=1e-3)
    # The gradient that comes in is rounded to bfloat16 as well.
    scale = float(expected[1].detach().abs().max())
    torch.testing.assert_close(found[1].float(), expected[1], rtol=2**-6, atol=2**-7 * scale)
    for f, e in zip(found[2:], expected[2:], strict=True):
        torch.testing.assert_close(f, e, rtol=2e-2, atol=5e-2)


def test_order_of_memory_does_not_matter() -> None:
    images, weight, bias = inputs((2, 32, 4, 4))
    other = images.detach().contiguous(memory_format=torch.channels_last)
    assert torch.equal(kernel(images, weight, bias), kernel(other, weight, bias))


def test_threads_do_not_change_a_bit() -> None:
    arguments = inputs((5, 32, 6, 6))
    one = outcome(kernel, arguments)
    torch.set_num_threads(3)
    try:
        three = outcome(kernel, arguments)
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))


def test_constant_channel_becomes_its_bias() -> None:
    bias = torch.linspace(-1, 1, 32)
    out = kernel(torch.full((1, 32, 4, 4), 7.0), torch.ones(32), bias)
    # As torch does, x * scale + shift is computed with scale = 1 / sqrt(eps): 7 * 316 leaves 1e-4 of rounding.
    torch.testing.assert_close(out, bias.relu().view(1, -1, 1, 1).expand(1, 32, 2, 2), rtol=0, atol=5e-4)


def test_a_second_derivative_is_refused() -> None:
    images, weight, bias = inputs((1, 32, 2, 2))
    out = kernel(images, weight, bias)
    (gradient,) = torch.autograd.grad(out.square().sum(), images, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        gradient.sum().backward()


def test_a_level_has_gradient_zero() -> None:
    images, weight, bias = inputs((1, 32, 2, 2))
    level = torch.ones(32, requires_grad=True)
    out = norm_activation_pool(images, weight, bias, 1e-5, groups=32, level=level)
    assert torch.equal(out, kernel(images, weight, bias))
    assert torch.equal(torch.autograd.grad(out.sum(), level)[0], torch.zeros(32))


def test_no_gradient_of_the_output_is_none_of_the_inputs() -> None:
    class Cut(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> None:
            return None

    arguments = inputs((1, 32, 2, 2))
    out: Tensor = Cut.apply(kernel(*arguments))  # type: ignore[no-untyped-call]
    gradients = torch.autograd.grad(out.sum(), arguments, allow_unused=True)
    assert not any(isinstance(gradient, Tensor) for gradient in gradients)


def test_torch_knows_the_shapes_without_computing() -> None:
    images, weight, bias = (tensor.to("meta") for tensor in inputs((2, 64, 5, 7)))
    out = kernel(images, weight, bias)
    assert out.shape == (2, 64, 2, 3)
    assert out.is_contiguous(memory_format=torch.channels_last)
    for gradient, argument in zip(
        torch.autograd.grad(out, (images, weight, bias), torch.empty_like(out)),
        (images, weight, bias),
        strict=True,
    ):
        assert gradient.shape == argument.shape
        assert gradient.dtype == argument.dtype
    unpooled = norm_activation_pool(images, weight, bias, 1e-5, groups=4, activation="swish", pooling="none")
    assert unpooled.shape == images.shape


def test_torch_finds_the_operation_well_formed() -> None:
    arguments = (*inputs((1, 32, 3, 2)), None, 32, 1e-5, "relu", "average")
    torch.library.opcheck(
        torch.ops.datacondense.norm_activation_pool.default,
        (
            arguments[0].detach().contiguous(memory_format=torch.channels_last).requires_grad_(),
            *arguments[1:],
        ),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


def test_neither_import_nor_use_loads_a_compiler_of_torchs() -> None:
    code = (
        "import sys, torch; from datacondense.kernels.operations import norm_activation_pool as f; "
        "x, w = torch.ones(1, 32, 2, 2), torch.ones(32, requires_grad=True); "
        "f(x, w, w, 1e-5, groups=32).sum().backward(); "
        "print([name for name in ('torch._dynamo', 'torch._inductor', 'triton') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("device", "channels", "groups", "activation", "pooling", "has"),
    [
        ("cpu", 64, 64, "relu", "average", True),
        ("cpu", 48, 48, "relu", "average", False),
        ("cpu", 64, 4, "relu", "average", False),
        ("cpu", 64, 64, "swish", "average", False),
        ("cpu", 64, 64, "relu", "max", False),
        ("cuda", 48, 48, "swish", "max", True),
        ("cuda", 64, 4, "relu", "none", True),
        ("cuda", 514, 2, "relu", "none", False),
        ("mps", 64, 64, "relu", "average", False),
    ],
)
def test_what_has_a_kernel(
    device: str, channels: int, groups: int, activation: str, pooling: str, has: bool
) -> None:
    assert has_kernel(device, channels, groups, activation, pooling) is has


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> Callable[[torch.device], None]:
    """`load_kernels` without the memory of an earlier call."""
    for name in ("datacondense.kernels.gpu", "datacondense.kernels.triton_kernels"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.delattr(name, raising=False)
    return load_kernels.__wrapped__


def test_a_gpu_without_triton_has_no_kernels(
    unloaded: Callable[[torch.device], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(UnavailableError, match=r"triton cannot be imported \(.*triton.*\)"):
        unloaded(torch.device("cuda"))


def test_a_gpu_for_which_triton_cannot_compile_has_no_kernels(
    unloaded: Callable[[torch.device], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton", reason="triton is not installed")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Failed to find C compiler.")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.ones", fail)
    with pytest.raises(
        UnavailableError, match=r"triton cannot compile the kernels \(Failed to find C compiler.\)"
    ):
        unloaded(torch.device("cuda"))
