"""Pixels in memory, as arrays or tensors, to uint8 or float32 `[N, C, H, W]`."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from datacondense.data.decode import decode_images, widened
from datacondense.errors import InputError

_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as PIL converts colour to grey


def image_tensor(images: NDArray[Any] | Tensor, pixel_range: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """Convert images, as `from_arrays` takes them, to a uint8 or float32 copy `[N, C, H, W]` on the CPU."""
    array = _channels_first(as_array(images))
    if array.dtype.kind in "iu":
        _check_range(array, (0, 255))
        return torch.from_numpy(array.astype(np.uint8, order="C"))
    if array.dtype.kind != "f":
        raise InputError(
            f"Images are {array.dtype}, but must be whole numbers in 0-255 or floating-point numbers in 0-1: convert "
            "them."
        )
    _check_range(array, pixel_range)
    return torch.from_numpy(array.astype(np.float32, order="C"))


def reformed(images: Tensor, resize: int | None, channels: int | None) -> Tensor:
    """Return images `[N, C, H, W]` resized (bilinear, antialiased) and with 1 or 3 channels; None keeps either."""
    if images.dtype == torch.uint8 and (resize is not None or channels is not None):
        return decoded(list(images.permute(0, 2, 3, 1).numpy()), resize, channels or images.shape[1])
    if resize is not None:
        # Rounding may step over the ends of the scale.
        images = F.interpolate(images, size=(resize, resize), mode="bilinear", antialias=True).clamp(0, 1)
    if channels == 1 and images.shape[1] == 3:
        images = (images * torch.tensor(_LUMINANCE).view(-1, 1, 1)).sum(1, keepdim=True)
    return widened(images) if channels == 3 else images


def decoded(images: list[Any], resize: int | None, channels: int | None) -> Tensor:
    """Decode images in memory; messages name their positions."""
    return decode_images(images, (f"Image {i}" for i in range(len(images))), resize=resize, channels=channels)


def as_array(images: Any) -> NDArray[Any]:
    """Return an array or a tensor on any device as a NumPy array."""
    if isinstance(images, Tensor):
        images = images.detach().cpu()
        images = (images.float() if images.dtype == torch.bfloat16 else images).numpy()
    return np.asarray(images)


def _channels_first(array: NDArray[Any]) -> NDArray[Any]:
    """Move the channels to `[N, C, H, W]`; see `from_arrays` for the rule."""
    if array.size == 0:
        raise InputError(
            f"Images have shape {array.shape}, which is empty: give at least one image of each class."
        )
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[1] in {1, 3}:
        return array
    if array.ndim == 4 and array.shape[3] in {1, 3}:
        return array.transpose(0, 3, 1, 2)
    raise InputError(
        f"Images have shape {array.shape}, but must be [N, H, W], [N, C, H, W] or [N, H, W, C] with 1 or 3 channels: "
        "reorder the axes, or drop the channels that are no colour."
    )


def _check_range(array: NDArray[Any], allowed: tuple[float, float]) -> None:
    """Check that pixels are in a range; `ImageSet` checks that they are finite."""
    (low, high), low_found, high_found = allowed, array.min(), array.max()
    if low_found < low or high_found > high:
        kind, remedy = "Whole-number", "scale them, or give uint8"
        if array.dtype.kind == "f":
            kind = "Floating-point"
            remedy = (
                "divide by 255, or undo the normalisation (it is applied when networks see them), or give the "
                "pixel_range of learned ones"
            )
        raise InputError(
            f"{kind} pixels run from {low_found:g} to {high_found:g}, but must be in {low:g} to {high:g}: {remedy}."
        )
