"""The augmentation with which condensed sets are evaluated: each image gets one operation at random.

It follows the code published with gradient matching (Zhao et al., ICLR 2021), whose MNIST networks train under
"crop-scale-rotate" and whose batch-norm networks train under "crop-noise". That code goes image by image through
nearest-neighbour resizing (scale) and cubic splines (rotation); here the whole batch is sampled once, bilinearly,
so scaled and rotated images differ from the published ones within a pixel's neighbourhood, and scaled sizes are
not rounded to whole pixels. A rotated image is filled channel by channel, not with one mean of all channels.

A draw is a value: applied to a second batch of the same shape, it is Siamese augmentation.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from datacondense.cuda_graphs import sent
from datacondense.errors import InputError

OPERATIONS = ("crop", "scale", "rotate", "noise")
CROP_PAD = 4  # pixels; the published window starts at 0 to 7 of a pad of 4, which is a shift of -4 to 3
SCALE_RANGE = 0.2
ROTATE_RANGE = 45  # degrees
NOISE_STD = 0.001  # in normalised scale
_CROP, _SCALE, _ROTATE, _NOISE = range(4)


@dataclass(frozen=True, kw_only=True, eq=False)
class AugmentationDraw:
    """Random numbers for each image of one batch; those of operations that an image does not get are neutral.

    Attributes:
        images_shape: The batch that the draw is for, (N, C, H, W).
        operation: Index in `OPERATIONS` `[N]`, int64; -1 for none.
        shift: How far the crop window moves down and right `[N, 2]`, whole pixels.
        scale: Factors of height and width `[N, 2]`, about the centre.
        angle: Counter-clockwise rotation about the centre `[N]`, degrees.
        noise: What is added `[N, C, H, W]`, in normalised scale; None where no image gets any.
    """

    images_shape: tuple[int, int, int, int]
    operation: Tensor
    shift: Tensor
    scale: Tensor
    angle: Tensor
    noise: Tensor | None


def draw_augmentation(
    operations: str, images_shape: tuple[int, int, int, int], generator: torch.Generator
) -> AugmentationDraw:
    """Return one operation, drawn uniformly, and its numbers for each image of a batch (N, C, H, W), on the CPU.

    `operations` is "none", or names out of `OPERATIONS` joined by hyphens. Shifts are whole pixels in -4 to 3, factors
    are uniform in 0.8 to 1.2 for height and width apart, angles are whole degrees in -45 to 44, noise is normal with
    standard deviation 0.001.
    """
    selected = [-1] if operations == "none" else sorted(map(OPERATIONS.index, operations.split("-")))
    # An image gets one operation only, so the same two numbers serve as its shift, its factors or its angle.
    uniform = torch.rand(images_shape[0], 3, generator=generator, dtype=torch.float64)
    operation = torch.tensor(selected)[(uniform[:, 0] * len(selected)).long()]
    first, both = uniform[:, 1], uniform[:, 1:]
    crop, scale = (operation == _CROP)[:, None], (operation == _SCALE)[:, None]
    return AugmentationDraw(
        images_shape=images_shape,
        operation=operation,
        shift=((both * 2 * CROP_PAD).floor() - CROP_PAD) * crop,
        scale=1 + SCALE_RANGE * (2 * both - 1) * scale,
        angle=((first * 2 * ROTATE_RANGE).floor() - ROTATE_RANGE) * (operation == _ROTATE),
        noise=_noise(operation, images_shape, generator) if _NOISE in selected else None,
    )


def apply_augmentation(draw: AugmentationDraw, images: Tensor) -> Tensor:
    """Return normalised images `[N, C, H, W]`, of the draw's shape, augmented as drawn."""
    if images.shape != draw.images_shape:
        raise InputError(
            f"Images have shape {tuple(images.shape)}, but the augmentation was drawn for {draw.images_shape}: "
            "draw one for this shape."
        )
    stays = (draw.operation < 0) | (draw.operation == _NOISE)
    moved = images.clone() if bool(stays.all()) else _resample(draw, images)
    return moved if draw.noise is None else moved + sent(draw.noise, images.device)


def _noise(operation: Tensor, images_shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw noise for the images that get some; zero for the others."""
    noise = torch.zeros(images_shape)
    rows = torch.nonzero(operation == _NOISE).flatten()
    noise[rows] = torch.randn((len(rows), *images_shape[1:]), generator=generator) * NOISE_STD
    return noise


def _resample(draw: AugmentationDraw, images: Tensor) -> Tensor:
    """Return images shifted, scaled and rotated by one bilinear sampling of the batch.

    Where an image leaves its frame free, crop and rotation fill with the batch's mean per channel, scale with 0, the
    data set's mean. Whole-pixel shifts are exact up to rounding. Differentiable in the images, the fill included; on
    CUDA that gradient is summed in no fixed order.
    """
    height, width = images.shape[2:]
    # Coordinates run from -1 to 1 over what is sampled. Over a side that is a power of two they are exact in
    # binary, and so are whole-pixel shifts; over 28 pixels they would be off by up to 2e-6 pixels in float32.
    side = 1 << (max(height, width) - 1).bit_length()
    numbers = sent(_affine_numbers(draw, side).to(images.dtype), images.device)
    along_x, along_y, start = numbers[:, :6].view(-1, 1, 1, 3, 2).unbind(3)
    x, y = (_centred(size, side, numbers)[:, None] for size in (width, height))
    grid = along_x * x + (along_y * y[:, None] + start)
    fill = numbers[:, 6].view(-1, 1, 1, 1) * images.mean((0, 2, 3), keepdim=True)
    # Outside counts as 0, so the fill is subtracted first and added again after.
    canvas = F.pad(images - fill, (0, side - width, 0, side - height))
    return F.grid_sample(canvas, grid, "bilinear", "zeros", align_corners=False) + fill


def _centred(size: int, side: int, like: Tensor) -> Tensor:
    """Return the distances `[size]` of pixels from their middle, in units of half a canvas side."""
    return (torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2) * (2 / side)


def _affine_numbers(draw: AugmentationDraw, side: int) -> Tensor:
    """Return `[N, 7]`: where a step right, a step down and the middle come from as (x, y), and 1 for a mean fill."""
    _, _, height, width = draw.images_shape
    angle = torch.deg2rad(draw.angle)
    cos, sin = torch.cos(angle), torch.sin(angle)
    (down, right), (tall, wide) = draw.shift.unbind(1), draw.scale.unbind(1)
    middle = ((width + 2 * right) / side - 1, (height + 2 * down) / side - 1)
    fills = ((draw.operation == _CROP) | (draw.operation == _ROTATE)).to(cos.dtype)
    # One tensor, because a transfer to a device costs as much as the sampling of a small batch.
    return torch.stack((cos / wide, sin / tall, -sin / wide, cos / tall, *middle, fills), 1)
