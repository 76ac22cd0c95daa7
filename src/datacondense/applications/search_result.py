"""The numbers of a search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from datacondense.applications.search_space import SETTINGS

REFERENCE = "reference"
NUMBERS = ("held_out", "test", "images", "seconds")
COLUMNS = ("proxy", "network", *SETTINGS, *NUMBERS)


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The numbers of a search.

    Attributes:
        proxies: Names of the proxies, in the order of the table.
        networks: Names of the architectures, in the order of the space.
        reference: Whether there is a reference.
        frame: One line for each proxy (or "reference") and architecture that was tried: its settings, the mean accuracy
            of its networks on held-out and on test images, 0 to 1, the images that they were trained on, and the
            seconds of their training; NaN where it was pruned, or where training diverged.
        set_seconds: For each proxy that is a set the seconds that making it took.
        environments: The environments in which networks were trained, each once.
    """

    proxies: tuple[str, ...]
    networks: tuple[str, ...]
    reference: bool
    frame: pd.DataFrame
    set_seconds: Mapping[str, float]
    environments: Sequence[Mapping[str, Any]]
