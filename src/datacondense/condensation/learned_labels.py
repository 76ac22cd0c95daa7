"""Soft labels that are learned beside the images, as logits (Guo et al., ICLR 2024, "DATM", section 3.3)."""

from collections.abc import Mapping
from math import log

from torch import Tensor
from torch.nn import functional as F

LABEL_LOGITS = "label_logits"
"""Their name among what a method learns: `[N, K]`, one row for each decoded image."""
_FIRST_SHARE = 0.9  # of an image's class


def first_logits(classes: Tensor, num_classes: int) -> Tensor:
    """Return logits `[N, K]` in float64 of distributions that begin with 0.9 for the classes `[N]`, the rest equal."""
    scale = log(_FIRST_SHARE / (1 - _FIRST_SHARE) * (num_classes - 1))
    return scale * F.one_hot(classes, num_classes).double()


def current_labels(learned: Mapping[str, Tensor], classes: Tensor) -> Tensor:
    """Return the distributions `[N, K]` that a method has learned so far; the classes `[N]` where it learns none."""
    return learned[LABEL_LOGITS].softmax(1) if LABEL_LOGITS in learned else classes
