"""A stream of stages: data sets with the same classes, or one data set cut into groups of classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from datacondense.data.config import DataConfig
from datacondense.data.data_source import DataSource, identified
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.random import seeded_generator


@dataclass(frozen=True, kw_only=True)
class Stream:
    """The stages in which a network learns, each a data set of its own.

    Attributes:
        names: What each stage is called.
        stages: The data sets, all with images of one size and one pixel scale, that of the first: a network that goes
            on is not told which stage an image is from.
    """

    names: tuple[str, ...]
    stages: tuple[DataSource, ...]


def domain_stream(names: Sequence[str], config: DataConfig) -> Stream:
    """Return the stream of data sets with the same classes.

    Args:
        names: Names, paths or Hub ids, as in `load`.
        config: How they are read; size and channels are those of the largest where they are not given.

    Returns:
        The stream.

    Raises:
        InputError: A data set cannot be read, is named twice, or has other classes than the first.
    """
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(
            f"A stream of {', '.join(names)} has no stages: give two data sets or more, each once, or --stages to cut "
            "one into groups of classes."
        )
    sources = [identified(DataSource(name=name, config=config)) for name in names]
    sets = [source.read().train for source in sources]
    for name, images in zip(names, sets, strict=True):
        if images.class_names != sets[0].class_names:
            raise InputError(
                f"{names[0]} has {_listed(sets[0])}, but {name} has {_listed(images)}: the stages of a stream have the "
                "same classes."
            )
    channels = config.channels or max(images.image_shape[0] for images in sets)
    side = config.resize or max(max(images.image_shape[1:]) for images in sets)
    fitting = [
        source
        if images.image_shape == (channels, side, side)
        else replace(source, config=replace(source.config, resize=side, channels=channels))
        for source, images in zip(sources, sets, strict=True)
    ]
    first = replace(fitting[0], content={}).read().train
    scale = (first.mean, first.std)
    stages = [identified(replace(source, normalisation=scale, content={})) for source in fitting]
    return Stream(names=tuple(names), stages=tuple(stages))


def class_stream(name: str, config: DataConfig, number: int, seed: int | None) -> Stream:
    """Return the stream of groups of classes of one data set.

    Args:
        name: Name, path or Hub id, as in `load`.
        config: How it is read.
        number: Number of stages; where it does not divide the classes, the first stages have one more.
        seed: Seed of the order of classes; None keeps that of the data set.

    Returns:
        The stream.

    Raises:
        InputError: The data set cannot be read, or a stage would have fewer than two classes.
    """
    source = identified(DataSource(name=name, config=config))
    train = source.read().train
    most = train.num_classes // 2
    if not 2 <= number <= most:
        raise InputError(
            f"stages is {number}, but {name} has {train.num_classes} classes and a stage needs at least two: give 2 to "
            f"{most}."
            if most > 1
            else f"{name} has {train.num_classes} classes, too few for stages of two classes."
        )
    order = list(range(train.num_classes))
    if seed is not None:
        order = torch.randperm(len(order), generator=seeded_generator(seed, "class order")).tolist()
    named = [train.class_names[label] for label in order]
    size, longer = divmod(len(named), number)
    ends = [size * stage + min(stage, longer) for stage in range(number + 1)]
    groups = [tuple(named[begin:end]) for begin, end in pairwise(ends)]
    stages = tuple(identified(replace(source, classes=group, content={})) for group in groups)
    return Stream(names=tuple(", ".join(group) for group in groups), stages=stages)


def _listed(images: ImageSet) -> str:
    """Name the classes of a set and their number."""
    names = ", ".join(images.class_names[:3])
    return f"{images.num_classes} classes ({names}{', …' * (images.num_classes > 3)})"
