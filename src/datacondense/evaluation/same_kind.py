"""Whether a network that is trained on one set can classify the images of another."""

from datacondense.errors import InputError
from datacondense.image_set import ImageSet


def check_same_kind(images: ImageSet, test: ImageSet) -> None:
    """Check that a network for one set can classify the other."""
    if images.image_shape != test.image_shape:
        raise InputError(
            f"The set has images of shape {images.image_shape}, but the test images are {test.image_shape} "
            "(channels, height, width): test on the data set it was made from, with the same --resize and --channels."
        )
    if images.class_names != test.class_names:
        raise InputError(
            f"The set has the classes {_listed(images)}, but the test images have {_listed(test)}: test on the data "
            "set it was made from."
        )
    if images.whitening != test.whitening:
        raise InputError(
            f"The set is {_scale(images)}, but the test images are {_scale(test)}: whiten these as the set is, "
            "in Python with whitened(test, train, images.whitening)."
        )


def _scale(images: ImageSet) -> str:
    """Describe whether and how a set is whitened."""
    known = images.whitening
    return f"whitened ({known.kind}, fitted on {known.fitted_on})" if known else "not whitened"


def _listed(images: ImageSet) -> str:
    """Name the first classes of a set and their number."""
    names = ", ".join(images.class_names[:5])
    return f"{names}{', …' if images.num_classes > 5 else ''} ({images.num_classes})"
