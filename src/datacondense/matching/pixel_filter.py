"""A filter of pixel gradients, which networks have in common, unlike the gradients of their parameters."""

from typing import NamedTuple

import torch
from torch import Tensor

_DECAY = 0.9  # of the running means: about the last twenty steps count


class Moments(NamedTuple):
    """Running means over steps, each with the network of its iteration and a real batch of its own.

    Attributes:
        mean: Of the pixel gradient `[K, S, C, H, W]`, not yet divided by the sum of its weights.
        square: Of its square, likewise.
    """

    mean: Tensor
    square: Tensor


def shrink_pixels(gradient: Tensor, moments: Moments | None, steps: int) -> tuple[Tensor, Moments]:
    """Return a gradient `[K, S, C, H, W]` shrunk pixel by pixel by its signal-to-noise ratio, and the new moments.

    With the mean m and the variance v of a pixel's gradient over the last steps, exponentially weighted, and n the
    number of steps that such a mean is worth, the gradient is multiplied by m² / (m² + v / n), as by a Wiener filter:
    what the networks and batches agree on stays, and the rest goes. The first step (`steps` is 1) changes nothing,
    because nothing is known yet.
    """
    before = moments or Moments(torch.zeros_like(gradient), torch.zeros_like(gradient))
    now = Moments(
        _DECAY * before.mean + (1 - _DECAY) * gradient,
        _DECAY * before.square + (1 - _DECAY) * gradient.square(),
    )
    weight = 1 - _DECAY**steps
    signal = (now.mean / weight).square()
    noise = (now.square / weight - signal).clamp(min=0) / min(steps, (1 + _DECAY) / (1 - _DECAY))
    kept = torch.where(signal > 0, signal / (signal + noise), 0.0)
    return (gradient if moments is None else gradient * kept), now
