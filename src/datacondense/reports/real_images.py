"""The real images behind a set, read again: what a run began with, and what privacy is measured against."""

from collections.abc import Mapping
from typing import Any

from datacondense.condensation.registry import METHODS
from datacondense.condensation.results import facts_of_set, frozen
from datacondense.data.catalogue import CATALOGUE, data_options
from datacondense.data.config import DataConfig
from datacondense.data.sources import load
from datacondense.data.splits import DataSplits
from datacondense.data.validation import hold_out
from datacondense.errors import InputError
from datacondense.image_set import ImageSet


def real_images(images: ImageSet, on: str | None) -> DataSplits:
    """Read the data set behind a set: the named one, or the recorded one where it is known by its name."""
    recorded, config = data_options(images.provenance) or ("", DataConfig())
    name = on or images.dataset or recorded
    if on is None and name not in CATALOGUE:
        raise InputError("the data set has no name that load knows, so give it (--on DATASET).")
    if name != recorded:  # another copy of it
        config = DataConfig(resize=config.resize, channels=config.channels)
    splits = load(name, config)
    train, held = splits.train, _entry(_entry(images.provenance, "source"), "hold_out")
    if held:
        train = hold_out(train, held.get("fraction", 0.0), held.get("seed", 0))[0]
    if train.image_shape != images.image_shape:
        raise InputError(
            f"{name} has images of shape {train.image_shape}, but the set has {images.image_shape} (channels, height, "
            "width): give the data set that it was learned from (--on DATASET)."
        )
    return DataSplits(train=train, test=splits.test if splits.has_test else None)


def first_images(provenance: Mapping[str, Any], train: ImageSet) -> ImageSet:
    """Return the images with which a run began, drawn again from its settings, seed and training images."""
    kind: type[Any] | None = METHODS.get(str(provenance.get("method")))
    settings = _entry(provenance, "settings")
    # A file names no code.
    if kind is None or any(isinstance(value, str) and ":" in value for value in settings.values()):
        raise InputError(
            "The first images are not shown: the run's method or settings are code of one's own."
        )
    if _entry(provenance, "source").get("fingerprint") != train.fingerprint:
        raise InputError("The first images are not shown: the training images are not those of the run.")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    try:
        method = kind(**values).build(train, _entry(provenance, "run").get("seed", 0))
    except (InputError, TypeError, ValueError) as error:  # of another release
        raise InputError(
            f"The first images are not shown: these settings cannot be built ({error})."
        ) from error
    return frozen(method.init(), facts_of_set(train, method), {})


def _entry(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Look up a nested mapping; an empty one where there is none."""
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}
