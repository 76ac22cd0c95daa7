"""The images of some classes of a set, and several sets as one."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from datacondense.errors import InputError
from datacondense.image_set import ImageSet


def only_classes(images: ImageSet, names: Sequence[str]) -> ImageSet:
    """Return the images of some classes in their order, the classes numbered as they are named."""
    for name in names:
        if name not in images.class_names:
            known = ", ".join(images.class_names[:10])
            more = ", …" * (images.num_classes > 10)
            raise InputError(f"There is no class {name!r} among {known}{more}: correct its name.")
    numbers = [images.class_names.index(name) for name in names]
    renumbered = torch.full((images.num_classes,), -1)
    renumbered[numbers] = torch.arange(len(numbers))
    labels = renumbered.to(images.labels.device)[images.labels]
    kept = torch.nonzero(labels >= 0).flatten()
    return replace(images, images=images.images[kept], labels=labels[kept], class_names=tuple(names))


def numbered(images: ImageSet, names: Sequence[str]) -> ImageSet:
    """Return the same images with their classes numbered as they are named, others among these."""
    numbers = torch.tensor([names.index(name) for name in images.class_names], device=images.labels.device)
    return replace(images, labels=numbers[images.labels], class_names=tuple(names))


def joined(sets: Sequence[ImageSet], names: Sequence[str] = ()) -> ImageSet:
    """Return all images of some sets, in the pixel scale of the first; classes are matched by their names.

    Classes are numbered as they are named; by default those that the first set lacks follow its own. Pixels stay uint8
    if all are, else they become float32.
    """
    first, names = sets[0], names or tuple(dict.fromkeys(name for each in sets for name in each.class_names))
    for each in sets:
        if each.image_shape != first.image_shape:
            raise InputError(
                f"Sets to join have images of shapes {first.image_shape} and {each.image_shape} (channels, height, "
                "width): read all with the same --resize and --channels."
            )
    is_read = all(each.images.dtype == torch.uint8 for each in sets)
    return replace(
        first,
        images=torch.cat([each.images if is_read else each.pixels() for each in sets]),
        labels=torch.cat([numbered(each, names).labels for each in sets]),
        class_names=tuple(names),
        provenance={"joined": [dict(each.provenance) for each in sets]},
    )
