"""The data set of a study: named once by the user, read once by each process, and recognised by its content."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from datacondense.data.catalogue import CATALOGUE
from datacondense.data.config import DataConfig
from datacondense.data.sources import MIRROR_VARIABLE, load
from datacondense.data.splits import DataSplits
from datacondense.data.validation import hold_out
from datacondense.errors import InputError

_HOLD_OUT_SEED = 0  # one split for all cells: what is chosen on it must be comparable


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Where a study's images come from, and which they are.

    Attributes:
        name: Name, path or Hub id, as in `load`.
        config: How it is read.
        validation_fraction: Where above 0, this share of the training images is held out, class by class, and stands
            in the place of the test images: for choices, which must not be made on the test images.
        content: What `identified` found: fingerprints of the training images and of those to be scored on, and the
            normalisation, as plain JSON values.
    """

    name: str
    config: DataConfig = field(default_factory=DataConfig)
    validation_fraction: float = 0.0
    content: Mapping[str, Any] = field(default_factory=dict)

    @property
    def training_content(self) -> dict[str, Any]:
        """What of `content` speaks of the training images and their pixel scale."""
        return {name: self.content[name] for name in ("train", "mean", "std")}

    def read(self) -> DataSplits:
        """Read the images, once in each process.

        Returns:
            Training images and images to be scored on.

        Raises:
            InputError: The data set cannot be read, has no test images, or is no longer what the study began with.
        """
        splits = _read(self.name, self.config, self.validation_fraction)
        if self.content and _content(splits) != self.content:
            raise InputError(
                f"{self.name} has changed since the study began (it was {self.content} and is {_content(splits)}): "
                "bring the old images back, or begin the study anew."
            )
        return splits


def identified(source: DataSource, *, needs_test: bool = True) -> DataSource:
    """Read a data set and note which images it holds, so that results are never mixed with those of others.

    Args:
        source: What the user named.
        needs_test: Whether images to be scored on must be there.

    Returns:
        The same with fingerprints, and with paths that hold in any folder.

    Raises:
        InputError: The data set cannot be read, or has no images to be scored on though it needs them.
    """
    root = source.config.data_root or os.environ.get(MIRROR_VARIABLE)
    path = Path(source.name).expanduser()
    lasting = replace(
        source,
        name=str(path.resolve()) if path.exists() and source.name not in CATALOGUE else source.name,
        config=replace(source.config, data_root=Path(root).expanduser().resolve() if root else None),
    )
    splits = lasting.read()
    if needs_test and splits.test is None:
        raise InputError(
            f"{source.name} has no test images: add a test split, such as a folder test/, or hold out a part of the "
            "training images with --validation-fraction."
        )
    return replace(lasting, content=_content(splits))


def _content(splits: DataSplits) -> dict[str, Any]:
    """Describe images by their content and pixel scale."""
    return {
        "train": splits.train.fingerprint,
        "test": None if splits.test is None else splits.test.fingerprint,
        "mean": list(splits.train.mean),
        "std": list(splits.train.std),
    }


@lru_cache(maxsize=2)
def _read(name: str, config: DataConfig, fraction: float) -> DataSplits:
    """Read, and hold out."""
    splits = load(name, config)
    if not fraction:
        return splits
    rest, held_out = hold_out(splits.train, fraction, _HOLD_OUT_SEED)
    return DataSplits(train=rest, test=held_out)
