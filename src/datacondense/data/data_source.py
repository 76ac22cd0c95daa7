"""The data set of a study: named by the user, read once per process, and identified by its content."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

import torch

from datacondense.data.catalogue import CATALOGUE
from datacondense.data.config import DataConfig
from datacondense.data.joining import only_classes
from datacondense.data.sources import MIRROR_VARIABLE, existing, load
from datacondense.data.splits import DataSplits, Normalisation, kept
from datacondense.data.validation import hold_out
from datacondense.errors import InputError
from datacondense.files import expanded
from datacondense.image_set import ImageSet

_provided: dict[tuple[str, DataConfig], DataSplits] = {}  # read by another process
_HOLD_OUT_SEED = 0  # one split for all tasks, so that choices made on it are comparable


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Where the images of a study come from, and which images they are.

    Attributes:
        name: Name, path or Hub id, as in `load`.
        config: How it is read.
        validation_fraction: If above 0, this fraction of the training images is held out, class by class, and replaces
            the test images: choices must not be made on the test images.
        num_images: If given, only so many of the first images of each split are read, for a trial.
        classes: If given, only the images of these classes are read, numbered in this order.
        normalisation: If given, mean and standard deviation per channel, in pixel scale, instead of the data set's.
        content: What `identified` found: fingerprints of the training and test images, and the normalisation, as plain
            JSON values.
    """

    name: str
    config: DataConfig = field(default_factory=DataConfig)
    validation_fraction: float = 0.0
    num_images: int | None = None
    classes: tuple[str, ...] = ()
    normalisation: Normalisation | None = None
    content: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def read(self) -> DataSplits:
        """Read the images, once per process.

        Returns:
            Training and test images.

        Raises:
            InputError: The data set cannot be read, or has changed since the study began.
        """
        splits = _read(replace(self, content={}))
        if self.content and _content(splits) != self.content:
            raise InputError(
                f"{self.name} has changed since the study began (it was {self.content} and is {_content(splits)}): "
                "restore the old images, or start the study again."
            )
        if self.content and not splits.has_test:
            return DataSplits(train=splits.train, test=None)  # Known to be of no use, and not needed.
        return splits


def identified(source: DataSource, *, needs_test: bool = True) -> DataSource:
    """Return a data set with fingerprints and absolute paths, so that results of different images are never mixed.

    It is read. `InputError` is raised if it lacks the test images that it needs, or they cannot be used.
    """
    root = source.config.data_root or os.environ.get(MIRROR_VARIABLE)
    path = existing(source.name)
    absolute = replace(
        source,
        name=str(path.resolve()) if path is not None and source.name not in CATALOGUE else source.name,
        config=replace(source.config, data_root=expanded(root).resolve() if root else None),
    )
    splits = absolute.read()
    if needs_test and splits.test is None:
        raise InputError(
            f"{source.name} has no test images: add a test split, such as a folder test/, or hold out part of the "
            "training images with --validation-fraction."
        )
    return replace(absolute, content=_content(splits))


def origin(source: DataSource) -> DataSource:
    """Return the full data set, of which a source may be a part."""
    return DataSource(name=source.name, config=source.config)


def provide(source: DataSource, splits: DataSplits) -> None:
    """Keep images of a full data set that another process read, perhaps from files that are not here."""
    place = (source.name, source.config)
    known = _provided.get(place)
    if known is None or _content(known) != _content(splits):
        _provided[place] = splits
        _read.cache_clear()


def _content(splits: DataSplits) -> dict[str, Any]:
    """Return fingerprints of the images, and their pixel scale."""
    test = splits.test if splits.has_test else None
    return {
        "train": splits.train.fingerprint,
        "test": None if test is None else test.fingerprint,
        "mean": list(splits.train.mean),
        "std": list(splits.train.std),
    }


@lru_cache(maxsize=16)
def _read(source: DataSource) -> DataSplits:
    """Read a data set, hold out a fraction of its training images, and keep what is wanted of them."""
    changes: dict[str, Any] = {}
    if source.num_images is not None:
        changes, change = {"num_images": None}, partial(_first, number=source.num_images)
    elif source.normalisation is not None:
        mean, std = source.normalisation
        changes, change = {"normalisation": None}, partial(replace, mean=mean, std=std)
    elif source.classes:
        changes, change = {"classes": ()}, partial(only_classes, names=source.classes)
    if changes:
        full = _read(replace(source, **changes))
        return DataSplits(
            train=change(full.train), test=kept(lambda: None if full.test is None else change(full.test))
        )
    if not source.validation_fraction:
        return _provided.get((source.name, source.config)) or load(source.name, source.config)
    full = _read(replace(source, validation_fraction=0.0))  # decoded once for both
    rest, held_out = hold_out(full.train, source.validation_fraction, _HOLD_OUT_SEED)
    return DataSplits(train=rest, test=held_out)


def _first(images: ImageSet, number: int) -> ImageSet:
    return images.subset(torch.arange(min(number, len(images))))
