"""The images of some classes of a set, and several sets as one."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.errors import InputError
from datacondense.image_set import ImageSet


def only_classes(images: ImageSet, names: Sequence[str]) -> ImageSet:
    """Return the images of some classes in their order, the classes numbered as they are named.

    Soft labels are left behind: they are distributions over all classes.
    """
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
    part = replace(images, soft_labels=None).subset(kept)
    return replace(part, labels=labels[kept], class_names=tuple(names))


def numbered(images: ImageSet, names: Sequence[str]) -> ImageSet:
    """Return the same images with their classes numbered as they are named, others among these."""
    numbers = torch.tensor([names.index(name) for name in images.class_names], device=images.labels.device)
    soft = images.soft_labels
    if soft is not None:
        soft = soft.new_zeros(len(soft), len(names)).index_copy(1, numbers, soft)
    return replace(images, labels=numbers[images.labels], class_names=tuple(names), soft_labels=soft)


def joined(sets: Sequence[ImageSet], names: Sequence[str] = ()) -> ImageSet:
    """Return all images of some sets, in the pixel scale of the first; classes are matched by their names.

    Classes are numbered as they are named; by default those that the first set lacks follow its own. Pixels stay uint8
    if all are, else they become float32. Sets of different factors are decoded, and where one has soft labels the
    others' classes become distributions too.
    """
    if len({each.factor for each in sets}) > 1:
        sets = [each.decoded() for each in sets]
    first, names = sets[0], names or tuple(dict.fromkeys(name for each in sets for name in each.class_names))
    for each in sets:
        if each.image_shape != first.image_shape:
            raise InputError(
                f"Sets to join have images of shapes {first.image_shape} and {each.image_shape} (channels, height, "
                "width): read all with the same --resize and --channels."
            )
    is_read = all(each.images.dtype == torch.uint8 for each in sets)
    sets = [numbered(each, names) for each in sets]
    soft = None
    if any(each.soft_labels is not None for each in sets):
        soft = torch.cat([_distributions(each) for each in sets])
    return replace(
        first,
        images=torch.cat([each.images if is_read else each.pixels() for each in sets]),
        labels=torch.cat([each.labels for each in sets]),
        soft_labels=soft,
        class_names=tuple(names),
        provenance={"joined": [dict(each.provenance) for each in sets]},
    )


def _distributions(images: ImageSet) -> Tensor:
    """Return a distribution for each decoded image, certain where a set has class numbers."""
    if images.soft_labels is not None:
        return images.soft_labels
    return F.one_hot(images.labels.repeat_interleave(images.factor**2), images.num_classes).float()
