"""Augmentation of a batch, against an explicit loop over pixels in float64."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from datacondense.augment.per_image import (
    OPERATIONS,
    AugmentationDraw,
    apply_augmentation,
    draw_augmentation,
)
from datacondense.errors import InputError

SHAPE = (7, 2, 6, 9)  # not square, so that a swapped axis shows
CROP, SCALE, ROTATE, NOISE = range(4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(shape: tuple[int, ...] = SHAPE, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=generator(99), dtype=dtype) + 0.5


def neutral(shape: tuple[int, int, int, int], operation: int = -1) -> AugmentationDraw:
    num_images = shape[0]
    return AugmentationDraw(
        images_shape=shape,
        operation=torch.full((num_images,), operation),
        shift=torch.zeros(num_images, 2, dtype=torch.float64),
        scale=torch.ones(num_images, 2, dtype=torch.float64),
        angle=torch.zeros(num_images, dtype=torch.float64),
        noise=None,
    )


def interpolated(plane: Tensor, y: float, x: float, fill: float) -> float:
    """One value between pixels, bilinearly, where every pixel outside the plane is `fill`."""
    height, width = plane.shape
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            inside = 0 <= row < height and 0 <= column < width
            value = float(plane[row, column]) if inside else fill
            total += (1 - abs(y - row)) * (1 - abs(x - column)) * value
    return total


def source_of(draw: AugmentationDraw, n: int, y: float, x: float) -> tuple[float, float]:
    """Where the pixel (y, x) of image n comes from."""
    _, _, height, width = draw.images_shape
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    match int(draw.operation[n]):
        case 0:
            y, x = y + float(draw.shift[n, 0]), x + float(draw.shift[n, 1])
        case 1:
            y, x = y / float(draw.scale[n, 0]), x / float(draw.scale[n, 1])
        case 2:
            angle = math.radians(float(draw.angle[n]))
            y, x = x * math.sin(angle) + y * math.cos(angle), x * math.cos(angle) - y * math.sin(angle)
    return y + (height - 1) / 2, x + (width - 1) / 2


def reference(draw: AugmentationDraw, images: Tensor) -> Tensor:
    out = torch.empty_like(images)
    num_images, channels, height, width = images.shape
    for n in range(num_images):
        for c in range(channels):
            fill = float(images[:, c].mean()) if int(draw.operation[n]) in {CROP, ROTATE} else 0.0
            for y in range(height):
                for x in range(width):
                    out[n, c, y, x] = interpolated(images[n, c], *source_of(draw, n, y, x), fill)
    return out if draw.noise is None else out + draw.noise


@pytest.mark.parametrize("strategy", ["none", "crop", "scale", "rotate", "noise", "crop-scale-rotate-noise"])
def test_batch_agrees_with_a_loop_over_pixels(strategy: str) -> None:
    images = random_images()
    draw = draw_augmentation(strategy, SHAPE, generator(3))
    torch.testing.assert_close(apply_augmentation(draw, images), reference(draw, images), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (33, 57), (64, 64)])
def test_whole_pixel_shifts_are_exact_in_float32(height: int, width: int) -> None:
    shape = (40, 3, height, width)
    images = random_images(shape, torch.float32)
    draw = draw_augmentation("crop", shape, generator())
    out = apply_augmentation(draw, images)
    for n, (down, right) in enumerate(draw.shift.long().tolist()):
        for c in range(3):
            padded = F.pad(images[n, c], (4, 4, 4, 4), value=float(images[:, c].mean()))
            window = padded[4 + down : 4 + down + height, 4 + right : 4 + right + width]
            torch.testing.assert_close(out[n, c], window, atol=1e-6, rtol=0)


def test_quarter_turn_is_counter_clockwise() -> None:
    shape = (2, 1, 5, 5)
    images = random_images(shape)
    draw = replace(neutral(shape, ROTATE), angle=torch.tensor([90.0, -90.0], dtype=torch.float64))
    out = apply_augmentation(draw, images)
    torch.testing.assert_close(out[0], images[0].rot90(1, (1, 2)))
    torch.testing.assert_close(out[1], images[1].rot90(-1, (1, 2)))


def test_scaling_a_ramp_changes_its_slope_about_the_centre() -> None:
    shape = (1, 1, 3, 7)
    images = torch.arange(-3.0, 4.0, dtype=torch.float64).expand(shape)
    draw = replace(neutral(shape, SCALE), scale=torch.tensor([[1.0, 2.0]], dtype=torch.float64))
    expected = images / 2
    torch.testing.assert_close(apply_augmentation(draw, images), expected)


@pytest.mark.parametrize(("operation", "border"), [(CROP, 1.0), (ROTATE, 1.0), (SCALE, 0.0)])
def test_border_is_the_batch_mean_or_the_data_mean(operation: int, border: float) -> None:
    shape = (2, 1, 9, 9)
    images = torch.tensor([0.0, 2.0], dtype=torch.float64).view(2, 1, 1, 1).repeat(1, 1, 9, 9)
    draw = replace(
        neutral(shape, operation),
        shift=torch.full((2, 2), 4.0 * (operation == CROP), dtype=torch.float64),
        scale=torch.full((2, 2), 0.5 if operation == SCALE else 1.0, dtype=torch.float64),
        angle=torch.full((2,), 45.0 * (operation == ROTATE), dtype=torch.float64),
    )
    out = apply_augmentation(draw, images)
    assert out[:, 0, 8, 8].tolist() == pytest.approx([border, border])
    assert out[1, 0, 4, 4].item() == pytest.approx(2)


def test_gradient_agrees_with_finite_differences() -> None:
    shape = (4, 2, 4, 5)
    draw = draw_augmentation("crop-scale-rotate-noise", shape, generator(1))
    images = random_images(shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: apply_augmentation(draw, x), (images,))


@pytest.mark.parametrize("strategy", ["none", "noise", "crop-scale-rotate"])
def test_result_is_new_and_the_input_stays(strategy: str) -> None:
    images = random_images(dtype=torch.float32)
    before = images.clone()
    out = apply_augmentation(draw_augmentation(strategy, SHAPE, generator()), images)
    out.zero_()
    assert torch.equal(images, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_type_is_kept(dtype: torch.dtype) -> None:
    draw = draw_augmentation("crop-scale-rotate-noise", SHAPE, generator())
    assert apply_augmentation(draw, random_images(dtype=dtype)).dtype == dtype


def test_one_draw_does_the_same_to_another_batch() -> None:
    draw = draw_augmentation("crop-scale-rotate", SHAPE, generator())
    images = random_images()
    torch.testing.assert_close(apply_augmentation(draw, 3 * images), 3 * apply_augmentation(draw, images))


def test_no_strategy_changes_nothing() -> None:
    images = random_images()
    assert torch.equal(apply_augmentation(draw_augmentation("none", SHAPE, generator()), images), images)


def test_drawn_numbers_fill_their_published_ranges() -> None:
    draw = draw_augmentation("crop-scale-rotate-noise", (20_000, 1, 1, 1), generator())
    cropped, scaled, rotated = (draw.operation == number for number in (CROP, SCALE, ROTATE))
    assert draw.operation.bincount().tolist() == pytest.approx([5000] * 4, rel=0.05)
    assert sorted(set(draw.shift[cropped].flatten().tolist())) == [-4, -3, -2, -1, 0, 1, 2, 3]
    assert sorted(set(draw.angle[rotated].tolist())) == list(range(-45, 45))
    for side in draw.scale[scaled].unbind(1):
        assert side.min().item() == pytest.approx(0.8, abs=1e-3)
        assert side.max().item() == pytest.approx(1.2, abs=1e-3)
    for pair in (draw.shift[cropped], draw.scale[scaled]):
        assert abs(torch.corrcoef(pair.T)[0, 1].item()) < 0.05
    assert draw.noise is not None
    assert draw.noise[draw.operation == NOISE].std().item() == pytest.approx(0.001, rel=0.05)


def test_other_operations_stay_neutral() -> None:
    draw = draw_augmentation("crop-scale-rotate-noise", (200, 1, 2, 2), generator())
    assert not draw.shift[draw.operation != CROP].any()
    assert (draw.scale[draw.operation != SCALE] == 1).all()
    assert not draw.angle[draw.operation != ROTATE].any()
    assert draw.noise is not None
    assert not draw.noise[draw.operation != NOISE].any()


@pytest.mark.parametrize(
    "strategy", ["none", *OPERATIONS, "crop-noise", "scale-rotate", "crop-scale-rotate-noise"]
)
def test_a_strategy_has_its_own_operations_only(strategy: str) -> None:
    draw = draw_augmentation(strategy, (200, 1, 2, 2), generator())
    drawn = {OPERATIONS[number] for number in draw.operation.tolist() if number >= 0}
    assert "-".join(name for name in OPERATIONS if name in drawn) == strategy.replace("none", "")
    assert (draw.noise is not None) == ("noise" in strategy)


def test_draw_is_a_function_of_the_generator() -> None:
    images = random_images()
    first, again = (
        apply_augmentation(draw_augmentation(strategy, SHAPE, generator(5)), images)
        for strategy in ("crop-noise", "noise-crop")
    )
    other = apply_augmentation(draw_augmentation("crop-noise", SHAPE, generator(6)), images)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    apply_augmentation(draw_augmentation("crop-noise", SHAPE, generator()), random_images())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("operations", ["flip", "none-crop", "", "dsa", "crop-"])
def test_unknown_operations_are_not_left_out(operations: str) -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        draw_augmentation(operations, SHAPE, generator())


def test_batch_of_another_shape_is_refused() -> None:
    draw = draw_augmentation("crop", SHAPE, generator())
    message = r"Images have shape \(6, 2, 6, 9\), but the augmentation was drawn for \(7, 2, 6, 9\)"
    with pytest.raises(InputError, match=message):
        apply_augmentation(draw, random_images()[1:])
