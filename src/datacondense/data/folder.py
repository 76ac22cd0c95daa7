"""A folder of images: one folder for each class, optionally below one folder for each split."""

from pathlib import Path

from PIL import Image

from datacondense.data.config import DataConfig
from datacondense.data.decode import decode_images
from datacondense.data.splits import ReadSplit, Splits, read_splits, select_splits
from datacondense.errors import InputError


def read_folder(path: Path, config: DataConfig) -> Splits:
    """Return the splits of `<class>/<image>` files, or of `<split>/<class>/<image>` files.

    Classes and images are taken in the order of their names; images may lie deeper in the folder of their class.
    """
    # A class may be called "train" too: a split holds class folders, a class holds images.
    splits = [folder.name for folder in _folders(path) if _folders(folder)]
    if not {"train", config.train_split} & set(splits):
        if config.train_split is not None or config.test_split is not None:
            select_splits(splits, config, str(path))
        return _read_split(path, "train", config), None
    return read_splits(splits, lambda split: _read_split(path / split, split, config), config, str(path))


def _read_split(path: Path, split: str, config: DataConfig) -> ReadSplit:
    """Read the class folders of one split."""
    classes = _folders(path)
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    files = [(label, file) for label, folder in enumerate(classes) for file in _images(folder, suffixes)]
    if not files:
        raise InputError(
            f"{path} has no folders of images (one for each class) and no parquet files: give a folder such as "
            "<folder>/cat/1.png, <folder>/dog/1.png."
        )
    paths = [file for _, file in files]
    return ReadSplit(
        images=decode_images(paths, map(str, paths), resize=config.resize, channels=config.channels),
        labels=[label for label, _ in files],
        class_names=tuple(folder.name for folder in classes),
        split=split,
    )


def _folders(path: Path) -> list[Path]:
    """Return the folders in a folder by name, without hidden ones."""
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _images(path: Path, suffixes: set[str]) -> list[Path]:
    """Return the image files below a folder by name, without hidden ones."""
    files = (file for file in path.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
    return sorted(file for file in files if not file.name.startswith("."))
