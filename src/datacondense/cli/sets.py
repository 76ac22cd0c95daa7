"""Reading the sets that subcommands take: files, run folders, exports."""

import os
import warnings
from pathlib import Path

from datacondense.condensation.results import unfinished
from datacondense.data.catalogue import data_options
from datacondense.data.config import DataConfig
from datacondense.data.exports import is_export, load_export
from datacondense.data.sources import condensed_file, is_repository, load
from datacondense.data.whitening import unwhitened
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.run_folder import RunFolder


def described(images: ImageSet) -> str:
    """Return a text of how many images a set has of each class, and how many are decoded from each."""
    fewest, most = min(images.class_sizes), max(images.class_sizes)
    each = str(most) if fewest == most else f"{fewest} to {most}"
    decoded = "" if images.factor == 1 else f", {images.factor**2} decoded from each"
    return f"{len(images)} images ({each} for each of {images.num_classes} classes{decoded})"


def with_pixels(images: ImageSet, on: str | None) -> ImageSet:
    """Undo the whitening of a set where its data set is named; any other set stays as it is."""
    if images.whitening is None or on is None:
        return images
    _, data = data_options(images.provenance) or ("", DataConfig())
    return unwhitened(images, load(on, data).train)


def read_set(path: Path) -> ImageSet:
    """Read a set from its file, its run's folder or an export."""
    return read_set_and_original(path)[0]


def read_set_and_original(path: Path) -> tuple[ImageSet, ImageSet | None]:
    """Read a set and, for an export, the exact set that it was made from."""
    # Functions of os.path raise nothing where one may not look, or no file can have the name.
    if is_repository(path.as_posix()) and not os.path.exists(path):
        return _of_the_hub(path.as_posix()), None
    if not os.path.isdir(path):
        return ImageSet.load(path), None
    if is_export(path):
        return load_export(path)
    folder = RunFolder(path)
    if os.path.exists(folder.result):
        return ImageSet.load(folder.result), None
    if not folder.has_settings:
        raise InputError(
            f"{path} holds neither a run nor an export: give a .safetensors file, or such a folder."
        )
    images = unfinished(folder)
    at = images.provenance["unfinished"]
    warnings.warn(
        f"The run in {path} is unfinished: these are its images in iteration {at['iteration'] + 1}, step "
        f"{at['step'] + 1}.",
        stacklevel=2,
    )
    return images, None


def _of_the_hub(repository: str) -> ImageSet:
    """Read the condensed set that a repository of the Hub holds."""
    file = condensed_file(repository)
    if file is None:
        raise InputError(
            f"There is no file {repository}, and no condensed set of that name on the Hugging Face Hub that can be "
            "read: check the name and the connection, and log in with `hf auth login` where it is private."
        )
    return ImageSet.load(file)
