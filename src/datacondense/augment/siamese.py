"""Differentiable Siamese augmentation (DSA; Zhao and Bilen, ICML 2021).

A batch gets one operation. Its numbers are the same for all images where a set is condensed, so that real and
synthetic images see one change and gradients reach the pixels through it; each image has its own numbers where a
network is trained. Numbers and ranges are those of the published code, in normalised scale, where 0 is the data
set's mean. That code uses the global generator; here a draw is a value, from an explicit one.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from datacondense.cuda_graphs import sent
from datacondense.errors import InputError

SIAMESE_OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
BRIGHTNESS_RANGE = 1.0  # from end to end, in normalised scale
SATURATION_LIMIT = 2.0
CONTRAST_LEAST = 0.5
CROP_RATIO = 0.125  # of a side
CUTOUT_RATIO = 0.5  # of a side
FLIP_PROBABILITY = 0.5
SCALE_LIMIT = 1.2
ROTATE_LIMIT = 15.0  # degrees


@dataclass(frozen=True, kw_only=True, eq=False)
class SiameseDraw:
    """One operation with its numbers, for all images of any batch (n = 1) or for each image of one (n = N).

    Attributes:
        operation: A name out of `SIAMESE_OPERATIONS`.
        numbers: The numbers of the operation, float64 on the CPU:
            color `[n, 3]`: what is added to brightness, and the factors of saturation and contrast;
            crop `[n, 2]`: how far the window moves down and right, whole pixels;
            cutout `[n, 2]`: first row and first column of the square, which may lie outside the frame;
            flip `[n, 1]`: 1 for mirrored, 0 for not;
            scale `[n, 2]`: factors of the window's height and width, above 1 where the image shrinks;
            rotate `[n, 1]`: counter-clockwise angle, degrees.
        image_size: Height and width of the images that the draw is for, pixels.
    """

    operation: str
    numbers: Tensor
    image_size: tuple[int, int]


def draw_siamese(
    operations: str, number: int, image_shape: tuple[int, int, int], generator: torch.Generator
) -> SiameseDraw:
    """Return one operation, drawn uniformly from names joined by hyphens in any order, and its numbers, on the CPU.

    `number` is 1 for one set of numbers that serves a batch of any size, or N for one per image of a batch.
    """
    selected = sorted(operations.split("-"), key=SIAMESE_OPERATIONS.index)
    operation = selected[int(torch.randint(len(selected), (), generator=generator))]
    uniform = torch.rand(number, 3, generator=generator, dtype=torch.float64)
    _, height, width = image_shape
    numbers = _numbers(operation, uniform, (height, width))
    return SiameseDraw(operation=operation, numbers=numbers, image_size=(height, width))


def apply_siamese(draw: SiameseDraw, images: Tensor) -> Tensor:
    """Return normalised images `[N, C, H, W]` augmented as drawn; pixels left free become 0, the data set's mean.

    Differentiable in the images; on CUDA the gradient of scale and rotate is summed in a fixed order only where torch
    is told to use deterministic algorithms.
    """
    _check_fits(draw, images)
    return _OPERATIONS[draw.operation](draw.numbers, images)


def _check_fits(draw: SiameseDraw, images: Tensor) -> None:
    """Check that a draw is for images of this size, and as many."""
    if images.shape[2:] != draw.image_size:
        height, width = draw.image_size
        raise InputError(
            f"Images have shape {tuple(images.shape)}, but the augmentation was drawn for [N, C, {height}, {width}]: "
            "draw one for this size."
        )
    number = len(draw.numbers)
    if number not in {1, len(images)}:
        raise InputError(
            f"The batch has {len(images)} images, but the augmentation was drawn for {number}: draw one for this "
            "number, or for 1, which serves a batch of any size."
        )


def _numbers(operation: str, uniform: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Return numbers `[n, 3]`, uniform in 0 to 1, in the ranges and columns of an operation."""
    sides = uniform.new_tensor(image_size)
    one, two = uniform[:, :1], uniform[:, :2]
    match operation:
        case "color":
            ranges = uniform.new_tensor((BRIGHTNESS_RANGE, SATURATION_LIMIT, 1.0))
            return uniform * ranges + uniform.new_tensor((-BRIGHTNESS_RANGE / 2, 0.0, CONTRAST_LEAST))
        case "crop":
            limit = (sides * CROP_RATIO + 0.5).floor()
            return (two * (2 * limit + 1)).floor() - limit
        case "cutout":
            size = (sides * CUTOUT_RATIO + 0.5).floor()
            return (two * (sides - size % 2 + 1)).floor() - (size / 2).floor()
        case "flip":
            return (one < FLIP_PROBABILITY).to(uniform.dtype)
        case "scale":
            return 1 / SCALE_LIMIT + two * (SCALE_LIMIT - 1 / SCALE_LIMIT)
        case _:
            return (2 * one - 1) * ROTATE_LIMIT


def _color(numbers: Tensor, images: Tensor) -> Tensor:
    """Change brightness, then saturation about the mean of a pixel, then contrast about the mean of an image."""
    brightness, saturation, contrast = _like(numbers, images).view(-1, 3, 1, 1, 1).unbind(1)
    images = images + brightness
    gray = images.mean(1, keepdim=True)
    images = (images - gray) * saturation + gray
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * contrast + mean


def _crop(numbers: Tensor, images: Tensor) -> Tensor:
    """Shift by whole pixels."""
    for axis, start in ((2, numbers[:, 0]), (3, numbers[:, 1])):
        positions = start.long()[:, None] + torch.arange(images.shape[axis])
        inside = (positions >= 0) & (positions < images.shape[axis])
        nearest = sent(_along(positions.clamp(0, images.shape[axis] - 1), axis), images.device)
        outside = sent(_along(~inside, axis), images.device)
        images = images.gather(axis, nearest.expand_as(images)).masked_fill(outside, 0)
    return images


def _cutout(numbers: Tensor, images: Tensor) -> Tensor:
    """Cut a square out, as far as it lies within the frame."""
    hole = torch.ones((), dtype=torch.bool)
    for axis, start in ((2, numbers[:, 0]), (3, numbers[:, 1])):
        distance = torch.arange(images.shape[axis]) - start[:, None]
        size = int(images.shape[axis] * CUTOUT_RATIO + 0.5)
        hole = hole & _along((distance >= 0) & (distance < size), axis)
    return images.masked_fill(sent(hole, images.device), 0)


def _flip(numbers: Tensor, images: Tensor) -> Tensor:
    """Mirror left and right."""
    return torch.where(sent((numbers > 0).view(-1, 1, 1, 1), images.device), images.flip(3), images)


def _scale(numbers: Tensor, images: Tensor) -> Tensor:
    """Stretch rows and columns about the centre."""
    tall, wide = numbers.unbind(1)
    none = torch.zeros_like(tall)
    return _sampled((wide, none, none, tall), images)


def _rotate(numbers: Tensor, images: Tensor) -> Tensor:
    """Rotate about the centre."""
    height, width = images.shape[2:]
    angle = torch.deg2rad(numbers[:, 0])
    cos, sin = torch.cos(angle), torch.sin(angle)
    # Coordinates run from -1 to 1 over either side; without the two ratios images that are not square would shear.
    return _sampled((cos, -sin * (height / width), sin * (width / height), cos), images)


_OPERATIONS = {
    "color": _color,
    "crop": _crop,
    "cutout": _cutout,
    "flip": _flip,
    "scale": _scale,
    "rotate": _rotate,
}


def _sampled(matrix: tuple[Tensor, Tensor, Tensor, Tensor], images: Tensor) -> Tensor:
    """Sample bilinearly where a matrix, row by row `[n]`, sends each position (x, y); 0 outside."""
    linear = torch.stack(matrix, 1).view(-1, 2, 2)
    theta = _like(F.pad(linear, (0, 1)), images)
    grid = F.affine_grid(theta, [len(theta), *images.shape[1:]], align_corners=False)
    if _wants_fixed_order(images):
        return _sampled_by_product(images, grid)
    grid = grid.expand(len(images), -1, -1, -1)
    return F.grid_sample(images, grid, "bilinear", "zeros", align_corners=False)


def _wants_fixed_order(images: Tensor) -> bool:
    """Whether a gradient is needed that torch must compute deterministically and sampling on a GPU does not."""
    return images.is_cuda and images.requires_grad and torch.are_deterministic_algorithms_enabled()


def _sampled_by_product(images: Tensor, grid: Tensor) -> Tensor:
    """Sample as `grid_sample` does with grids `[n, H, W, 2]`, n = 1 or N, but with a gradient summed in a fixed order.

    Needs a matrix of (H·W)² weights: what sampling makes of images with a single pixel.
    """
    pixels = images.shape[2] * images.shape[3]
    single = torch.eye(pixels, dtype=images.dtype, device=images.device).view(1, pixels, *images.shape[2:])
    single = single.expand(len(grid), -1, -1, -1)
    weights = F.grid_sample(single, grid, "bilinear", "zeros", align_corners=False).flatten(2)
    return (images.flatten(2) @ weights).view_as(images)


def _along(values: Tensor, axis: int) -> Tensor:
    """Return values `[n, side]` shaped to broadcast along one axis of a batch."""
    return values[:, None, :, None] if axis == 2 else values[:, None, None, :]


def _like(numbers: Tensor, images: Tensor) -> Tensor:
    """Return numbers with the type and device of images."""
    # The type first, because some devices have no float64.
    return sent(numbers.to(images.dtype), images.device)
