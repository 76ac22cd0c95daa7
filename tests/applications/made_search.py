"""Results of searches, made by hand."""

from collections.abc import Mapping
from math import prod

import pandas as pd
from torch import Tensor, nn

from datacondense.applications.search_result import COLUMNS, REFERENCE, SearchResult

Scores = Mapping[str, tuple[float, float]]  # held-out and test accuracy of each architecture


def made(scores: Mapping[str, Scores]) -> SearchResult:
    """Return a result with the scores on each proxy, and for reference."""
    lines = [
        {
            "proxy": proxy,
            "network": network,
            "held_out": held_out,
            "test": test,
            "images": 50_000.0 if proxy == REFERENCE else 100.0,
            "seconds": 90.0,
        }
        for proxy, own in scores.items()
        for network, (held_out, test) in own.items()
    ]
    return SearchResult(
        proxies=tuple(name for name in scores if name != REFERENCE),
        networks=tuple(dict.fromkeys(network for own in scores.values() for network in own)),
        reference=REFERENCE in scores,
        frame=pd.DataFrame(lines, columns=COLUMNS),
        set_seconds={"random": 3.0},
        environments=[{"engine": "fused", "threads": 1}],
    )


class Fragile(nn.Module):
    """A network that cannot be trained on a set of 20 images."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(prod(image_shape), num_classes)

    def forward(self, images: Tensor) -> Tensor:
        if len(images) == 20:
            raise RuntimeError("too many images")
        logits: Tensor = self.linear(images.flatten(1))
        return logits
