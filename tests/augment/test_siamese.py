"""Differentiable Siamese augmentation, against loops over images and pixels in float64."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from datacondense.augment import siamese
from datacondense.augment.siamese import SIAMESE_OPERATIONS, SiameseDraw, apply_siamese, draw_siamese
from datacondense.errors import InputError
from datacondense.networks.torch_state import deterministic

ALL = "-".join(SIAMESE_OPERATIONS)
SHAPES = [(3, 8, 8), (1, 7, 7), (3, 9, 6), (2, 16, 11)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(num_images: int, shape: tuple[int, int, int], seed: int = 99) -> Tensor:
    return torch.randn(num_images, *shape, generator=generator(seed), dtype=torch.float64) + 0.5


def drawn(operation: str, *numbers: float, size: tuple[int, int] = (5, 5)) -> SiameseDraw:
    """Build the draw of one set of numbers by hand."""
    return SiameseDraw(
        operation=operation, numbers=torch.tensor([numbers], dtype=torch.float64), image_size=size
    )


def color(image: Tensor, brightness: float, saturation: float, contrast: float) -> Tensor:
    image = image + brightness
    channels, height, width = image.shape
    out = torch.empty_like(image)
    for y in range(height):
        for x in range(width):
            gray = float(sum(image[:, y, x])) / channels
            for c in range(channels):
                out[c, y, x] = (float(image[c, y, x]) - gray) * saturation + gray
    mean = float(out.sum()) / out.numel()
    return (out - mean) * contrast + mean


def crop(image: Tensor, down: float, right: float) -> Tensor:
    out = torch.zeros_like(image)
    _, height, width = image.shape
    for y in range(height):
        for x in range(width):
            if 0 <= y + down < height and 0 <= x + right < width:
                out[:, y, x] = image[:, y + int(down), x + int(right)]
    return out


def cutout(image: Tensor, top: float, left: float) -> Tensor:
    """Clear position by position, each moved to the nearest in the frame, as the published code does."""
    out = image.clone()
    _, height, width = image.shape
    for row in range(math.floor(height * 0.5 + 0.5)):
        for column in range(math.floor(width * 0.5 + 0.5)):
            y = min(max(int(top) + row, 0), height - 1)
            x = min(max(int(left) + column, 0), width - 1)
            out[:, y, x] = 0
    return out


def flip(image: Tensor, mirrored: float) -> Tensor:
    width = image.shape[2]
    return torch.stack([image[:, :, width - 1 - x] for x in range(width)], 2) if mirrored else image


def sampled(image: Tensor, source: Callable[[float, float], tuple[float, float]]) -> Tensor:
    """Sample bilinearly where positions, measured from the centre in pixels, come from."""
    _, height, width = image.shape
    out = torch.zeros_like(image)
    for y in range(height):
        for x in range(width):
            from_y, from_x = source(y - (height - 1) / 2, x - (width - 1) / 2)
            from_y, from_x = from_y + (height - 1) / 2, from_x + (width - 1) / 2
            for row in (math.floor(from_y), math.floor(from_y) + 1):
                for column in (math.floor(from_x), math.floor(from_x) + 1):
                    if 0 <= row < height and 0 <= column < width:
                        weight = (1 - abs(from_y - row)) * (1 - abs(from_x - column))
                        out[:, y, x] += weight * image[:, row, column]
    return out


def scale(image: Tensor, tall: float, wide: float) -> Tensor:
    return sampled(image, lambda y, x: (y * tall, x * wide))


def rotate(image: Tensor, degrees: float) -> Tensor:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return sampled(image, lambda y, x: (x * sin + y * cos, x * cos - y * sin))


REFERENCES: dict[str, Callable[..., Tensor]] = {
    "color": color,
    "crop": crop,
    "cutout": cutout,
    "flip": flip,
    "scale": scale,
    "rotate": rotate,
}


def reference(draw: SiameseDraw, images: Tensor) -> Tensor:
    """Change image by image."""
    rows = draw.numbers.tolist() * (len(images) if len(draw.numbers) == 1 else 1)
    change = REFERENCES[draw.operation]
    return torch.stack([change(image, *row) for image, row in zip(images, rows, strict=True)])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("number", [1, 6])
@pytest.mark.parametrize("operation", SIAMESE_OPERATIONS)
def test_batch_agrees_with_a_loop_over_images(
    operation: str, number: int, shape: tuple[int, int, int]
) -> None:
    images = random_images(6, shape)
    draw = draw_siamese(operation, number, shape, generator(number))
    torch.testing.assert_close(apply_siamese(draw, images), reference(draw, images), atol=1e-12, rtol=0)


@pytest.mark.parametrize("side", [1, 2, 5, 6, 7])
def test_every_cutout_is_the_published_one(side: int) -> None:
    shape = (1, side, side)
    draw = draw_siamese("cutout", 60, shape, generator())
    images = torch.ones(60, *shape, dtype=torch.float64)
    out = apply_siamese(draw, images)
    assert torch.equal(out, reference(draw, images))
    assert (out == 0).flatten(1).any(1).all()


@pytest.mark.parametrize("operation", SIAMESE_OPERATIONS)
@pytest.mark.parametrize("number", [1, 2])
def test_gradient_agrees_with_finite_differences(operation: str, number: int) -> None:
    images = random_images(2, (2, 4, 3)).requires_grad_()
    draw = draw_siamese(operation, number, (2, 4, 3), generator(1))
    assert torch.autograd.gradcheck(lambda x: apply_siamese(draw, x), (images,))


@pytest.mark.parametrize("operation", SIAMESE_OPERATIONS)
def test_two_batches_see_the_same_change(operation: str) -> None:
    images = random_images(5, (3, 8, 8))
    draw = draw_siamese(operation, 1, (3, 8, 8), generator(2))
    full, part = apply_siamese(draw, images), apply_siamese(draw, images[3:])
    torch.testing.assert_close(full[3:], part, atol=1e-14, rtol=0)
    assert torch.equal(full, apply_siamese(draw, images))


@pytest.mark.parametrize("operation", SIAMESE_OPERATIONS)
def test_numbers_differ_between_images_only_for_a_draw_of_many(operation: str) -> None:
    one, several = (draw_siamese(operation, number, (1, 8, 8), generator()).numbers for number in (1, 30))
    assert len(one) == 1
    assert len(several) == 30
    assert len(several.unique(dim=0)) > 1


@pytest.mark.parametrize("operation", SIAMESE_OPERATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_result_is_new_and_the_input_stays(operation: str, dtype: torch.dtype) -> None:
    images = random_images(4, (3, 6, 6)).to(dtype)
    before = images.clone()
    out = apply_siamese(draw_siamese(operation, 4, (3, 6, 6), generator()), images)
    assert out.dtype == dtype
    out.fill_(7)
    assert torch.equal(images, before)


def test_color_by_hand() -> None:
    image = torch.tensor([1.0, 3.0], dtype=torch.float64).view(1, 2, 1, 1)
    draw = drawn("color", 0.25, 2.0, 0.5, size=(1, 1))
    # Brighter: 1.25 and 3.25; saturated about 2.25: 0.25 and 4.25; half the contrast about 2.25.
    assert apply_siamese(draw, image).flatten().tolist() == pytest.approx([1.25, 3.25])


def test_window_moves_down_and_right() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)
    draw = drawn("crop", 1, -1, size=(3, 3))
    assert apply_siamese(draw, image).view(3, 3).tolist() == [[0, 3, 4], [0, 6, 7], [0, 0, 0]]


def test_square_is_cut_by_the_frame() -> None:
    out = apply_siamese(drawn("cutout", -1, 3), torch.ones(1, 1, 5, 5))
    assert out.view(5, 5).tolist() == [[1, 1, 1, 0, 0]] * 2 + [[1, 1, 1, 1, 1]] * 3


@pytest.mark.parametrize(("degrees", "turns"), [(90.0, 1), (-90.0, -1)])
def test_quarter_turn_is_counter_clockwise(degrees: float, turns: int) -> None:
    images = random_images(2, (1, 5, 5))
    out = apply_siamese(drawn("rotate", degrees), images)
    torch.testing.assert_close(out, images.rot90(turns, (2, 3)))


def test_a_factor_above_one_shrinks_its_side() -> None:
    ramp = torch.arange(-2.0, 3.0, dtype=torch.float64).expand(1, 1, 5, 5)
    out = apply_siamese(drawn("scale", 1, 0.5), ramp)
    torch.testing.assert_close(out, ramp / 2)
    assert not torch.allclose(apply_siamese(drawn("scale", 1, 2), ramp)[..., 0], ramp[..., 0])


def test_each_operation_is_as_likely_as_the_others() -> None:
    random = generator()
    operations = [draw_siamese(ALL, 1, (1, 8, 8), random).operation for _ in range(1800)]
    for name in SIAMESE_OPERATIONS:
        assert operations.count(name) == pytest.approx(300, abs=60)


def test_only_listed_operations_are_drawn() -> None:
    random = generator()
    operations = {draw_siamese("flip-color", 2, (1, 8, 8), random).operation for _ in range(40)}
    assert operations == {"color", "flip"}


@pytest.mark.parametrize(
    ("operation", "low", "high"),
    [
        ("color", (-0.5, 0, 0.5), (0.5, 2, 1.5)),
        ("scale", (1 / 1.2,) * 2, (1.2,) * 2),
        ("rotate", (-15,), (15,)),
    ],
)
def test_continuous_numbers_fill_their_published_ranges(
    operation: str, low: tuple[float, ...], high: tuple[float, ...]
) -> None:
    numbers = draw_siamese(operation, 20_000, (3, 8, 8), generator()).numbers
    assert numbers.shape == (20_000, len(low))
    for column, least, most in zip(numbers.T, low, high, strict=True):
        assert least <= column.min()
        assert column.max() <= most
        assert column.histc(4, least, most).tolist() == pytest.approx([5000] * 4, rel=0.06)
    if len(low) > 1:
        assert abs(torch.corrcoef(numbers.T[:2])[0, 1].item()) < 0.03


@pytest.mark.parametrize(
    ("operation", "side", "low", "high"),
    [
        ("crop", 32, -4, 4),
        ("crop", 28, -4, 4),  # 3.5 is rounded up
        ("crop", 8, -1, 1),
        ("crop", 3, 0, 0),
        ("cutout", 32, -8, 24),  # a square of 16, with its middle from 0 to 32
        ("cutout", 10, -2, 7),  # of 5, from 0 to 9
        ("cutout", 7, -2, 5),  # of 4, from 0 to 7
    ],
)
def test_whole_numbers_fill_their_published_ranges(operation: str, side: int, low: int, high: int) -> None:
    numbers = draw_siamese(operation, 20_000, (1, side, 16), generator()).numbers
    values, counts = numbers[:, 0].unique(return_counts=True)
    assert values.tolist() == list(range(low, high + 1))
    assert counts.tolist() == pytest.approx([20_000 / len(values)] * len(values), rel=0.2)
    assert abs(torch.corrcoef(numbers.T)[0, 1].item()) < 0.03 or low == high


def test_half_of_the_images_are_mirrored() -> None:
    numbers = draw_siamese("flip", 20_000, (1, 2, 2), generator()).numbers
    assert set(numbers.flatten().tolist()) == {0, 1}
    assert numbers.mean().item() == pytest.approx(0.5, abs=0.02)


def test_draw_is_a_function_of_the_generator() -> None:
    first, again, other = (
        draw_siamese(operations, 3, (1, 8, 8), generator(seed))
        for operations, seed in (("color-rotate", 5), ("rotate-color", 5), ("color-rotate", 6))
    )
    assert first.operation == again.operation
    assert torch.equal(first.numbers, again.numbers)
    assert first.operation != other.operation or not torch.equal(first.numbers, other.numbers)


def test_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    for operation in SIAMESE_OPERATIONS:
        draw = draw_siamese(operation, 2, (1, 4, 4), generator())
        apply_siamese(draw, random_images(2, (1, 4, 4)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("operations", ["", "noise", "color_crop", "dsa:color", "none"])
def test_unknown_operations_are_not_left_out(operations: str) -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        draw_siamese(operations, 1, (1, 4, 4), generator())


def test_batches_that_a_draw_is_not_for_are_refused() -> None:
    draw = draw_siamese("color", 3, (1, 4, 5), generator())
    with pytest.raises(InputError, match=r"shape \(3, 1, 5, 4\), but .* drawn for \[N, C, 4, 5\]"):
        apply_siamese(draw, random_images(3, (1, 5, 4)))
    with pytest.raises(InputError, match=r"shape \(1, 4, 5\), but .* drawn for \[N, C, 4, 5\]"):
        apply_siamese(draw, random_images(3, (1, 4, 5))[0])
    with pytest.raises(
        InputError, match=r"batch has 4 images, but the augmentation was drawn for 3: .* or for 1"
    ):
        apply_siamese(draw, random_images(4, (1, 4, 5)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("operation", ["scale", "rotate"])
@pytest.mark.parametrize("number", [1, 3])
def test_sampling_by_product_equals_sampling(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int], operation: str, number: int
) -> None:
    draw = draw_siamese(operation, number, shape, generator(5))
    images, gradient = random_images(3, shape).requires_grad_(), random_images(3, shape, seed=7)
    found = []
    for by_product in (False, True):
        monkeypatch.setattr(siamese, "_wants_fixed_order", lambda _, answer=by_product: answer)
        out = apply_siamese(draw, images)
        found.append((out.detach(), torch.autograd.grad(out, images, gradient)[0]))
    torch.testing.assert_close(*found)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
@pytest.mark.parametrize("operation", SIAMESE_OPERATIONS)
def test_gradients_on_a_gpu_are_deterministic(operation: str) -> None:
    draw = draw_siamese(operation, 1, (3, 32, 32), generator(5))
    images = random_images(64, (3, 32, 32)).float().cuda().requires_grad_()
    with deterministic():
        found = [torch.autograd.grad(apply_siamese(draw, images).square().sum(), images)[0] for _ in range(5)]
    assert all(torch.equal(each, found[0]) for each in found)
