"""How many images or classes may share a graph, by the memory that it takes."""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import torch

from datacondense.networks.graph_size import MapSizes

_FLOAT = 4  # bytes
_LEAST = 256  # MiB, all that a processor gains from
_REAL_IMAGES_AT_ONCE = 256  # as many as the published batch of one class
_CACHED = (
    2**23
)  # bytes of a map of all images, beyond which a processor gains nothing from more images at once
KEPT_ONCE, KEPT_TWICE = (
    3,
    8,
)  # about: copies of each feature map that a graph for first, second derivatives holds


class GraphMemory(NamedTuple):
    """What determines how much a graph takes, and how much it may.

    Attributes:
        maps: Sizes of the feature maps of one image.
        num_parameters: Of the network.
        device: That computes.
        limit: MiB; None for 256 on a processor, and half of what a GPU has free; of all that it has where runs repeat
            to the same bytes.
        ranks: Processes that share the classes out in equal parts.
    """

    maps: MapSizes
    num_parameters: int
    device: torch.device
    limit: int | None = None
    ranks: int = 1

    def numbers(self, usual: int = _LEAST) -> int:
        """Return how many numbers the limit allows; `usual` MiB on a processor where there is none."""
        limit = self.limit or usual
        if self.limit is None and self.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self.device)
            # What is free changes from run to run, and with it how classes are grouped and sums are rounded.
            limit = max(_LEAST, (total if torch.are_deterministic_algorithms_enabled() else free) // 2**21)
        return limit * 2**20 // _FLOAT

    def images(self, usual: int) -> int:
        """Return how many images, at least one, fit into one graph for first derivatives."""
        return max(1, self.numbers(usual) // (KEPT_ONCE * self.maps.total))

    def classes(self, images: int, copies: int) -> int:
        """Return how many classes, at least one, of so many images fit into one graph that keeps maps so often."""
        return max(1, self.numbers() // (copies * (self.maps.total * images + self.num_parameters)))

    def cached(self, images: int) -> int:
        """Return how many classes a processor gains from taking together."""
        return max(1, max(1, _CACHED // (_FLOAT * self.maps.largest)) // images)

    def for_matching(
        self,
        sizes: Sequence[int],
        real_batch: int,
        obstacles: tuple[object, object],
        real_sizes: Sequence[int],
    ) -> tuple[int, int]:
        """Return how many classes are taken together, on the synthetic side and on the real one.

        `sizes` are the decoded images of each class, `real_sizes` the real ones. Where an obstacle stands in the way of
        a side, its classes are taken one by one.
        """
        images, classes = max(sizes), ceil(len(real_sizes) / self.ranks)
        synthetic, real = self.classes(images, KEPT_TWICE), self.classes(real_batch, KEPT_ONCE)
        if self.device.type == "cpu":
            synthetic, real = min(synthetic, self.cached(images)), self.cached(real_batch)
        apart = zip((synthetic, real), obstacles, strict=True)
        synthetic, real = (1 if reason else number for number, reason in apart)
        # Groups of about one size: those of one shape are captured once.
        return ceil(classes / ceil(classes / synthetic)), ceil(classes / ceil(classes / real))

    def for_their_mean(
        self,
        sizes: Sequence[int],
        real_batch: int,
        obstacles: tuple[object, object],
        real_sizes: Sequence[int],
    ) -> tuple[int, int]:
        """Return the same where the classes' mean gradient is matched, which takes no class apart."""
        # In one pass all images weigh the same, so classes must have as many.
        real = max(1, _REAL_IMAGES_AT_ONCE // real_batch) if min(real_sizes) >= real_batch else 1
        return self.classes(max(sizes), KEPT_TWICE), real
