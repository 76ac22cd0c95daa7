"""Condensed sets that come with the library."""

from pathlib import Path

from datacondense.errors import InputError
from datacondense.image_set import ImageSet

_FOLDER = Path(__file__).parents[1] / "condensed"


def load_condensed(name: str) -> ImageSet:
    """Return a condensed set that comes with the library, for tests and lessons without a network connection.

    Args:
        name: "digits-1" or "digits-10": scikit-learn's digits as so many images per class, by distribution matching.

    Returns:
        The set; its provenance says how it was made. `load("digits").test` has the images to score it on.

    Raises:
        InputError: No set has the name.
    """
    known = sorted((path.stem for path in _FOLDER.glob("*.safetensors")), key=lambda stem: (len(stem), stem))
    if name not in known:
        raise InputError(
            f"No condensed set {name!r} comes with datacondense: give one of {', '.join(known)}."
        )
    return ImageSet.load(_FOLDER / f"{name}.safetensors")
