"""A folder of images: one folder for each class, optionally below one folder for each split."""

from collections import Counter
from pathlib import Path

from datacondense.data.config import DataConfig
from datacondense.data.image_files import ImageFiles
from datacondense.data.image_store import read_images
from datacondense.data.image_tree import ImageTree, image_tree, note_ignored
from datacondense.data.labels import normal
from datacondense.data.layout import check_classes, split_folders, unlabelled, unwrapped
from datacondense.data.splits import ReadSplit, Splits, kept, select_splits, split_role
from datacondense.errors import InputError
from datacondense.files import reading

_ANNOTATIONS = "*_annotations.txt"  # Tiny ImageNet's table of the classes of its validation images


def read_folder(path: Path, config: DataConfig) -> Splits:
    """Return the splits of `<class>/<image>` files, or of `<split>/<class>/<image>` files.

    Classes are taken in the order of their names, by value where all are whole numbers, and images in the order of
    their paths; images may lie deeper in the folder of their class.
    """
    root = unwrapped(image_tree(path))
    splits = split_folders(root, config)
    if not splits and config.train_split is None and config.test_split is None:
        check_classes(root)
        _note([root], [])
        return _read_split(root, "train", config), None
    train, test = select_splits(_labelled(splits, config), config, str(root.path))
    others = [folder for folder in root.folders if not (split_role(folder.name) or folder.name in splits)]
    _note([splits[name] for name in (train, test) if name is not None], [root, *others])
    images = _read_split(splits[train], train, config)
    if test is not None:
        return images, kept(lambda: _read_split(splits[test], test, config))
    flat = [folder for folder in root.folders if folder.images and split_role(folder.name) == "test"]
    return images, unlabelled(flat[:1]) if flat else None


def _labelled(splits: dict[str, ImageTree], config: DataConfig) -> list[str]:
    """Return the names of the splits, without test splits that lack labels where another has them in a table."""
    annotated = [name for name, folder in splits.items() if _annotations(folder.path) is not None]
    if not annotated or config.test_split is not None:
        return list(splits)
    return [name for name in splits if split_role(name) != "test" or name in annotated]


def _note(used: list[ImageTree], beside: list[ImageTree]) -> None:
    """Warn of what is not read in the splits that are used, and beside them."""
    ignored: Counter[str] = Counter()
    for split in used:
        ignored += split.all_ignored() + Counter({"beside class folders": len(split.images)})
    for folder in beside:
        images = folder.images if folder is beside[0] else list(folder.all_images())
        ignored += folder.ignored + Counter({"beside the splits": len(images)})
    count = sum(1 for split in used for folder in split.folders for _ in folder.all_images())
    note_ignored((beside or used)[0].path, count, ignored)


def _read_split(tree: ImageTree, split: str, config: DataConfig) -> ReadSplit:
    """Read the images of one split, whose classes are its folders, or stand in a table beside them."""
    table = _annotations(tree.path)
    if table is not None:
        paths = sorted(image for folder in tree.folders for image in folder.all_images())
        labels: list[str] | list[int] = _annotated(table, paths)
        names = None
    else:
        classes = _classes(tree)
        names = tuple(classes)
        files = [(label, file) for label, name in enumerate(names) for file in classes[name]]
        labels, paths = [label for label, _ in files], [file for _, file in files]
    return ReadSplit(
        images=read_images(ImageFiles(tree.path, paths), config),
        labels=labels,
        class_names=names,
        split=split,
    )


def _classes(tree: ImageTree) -> dict[str, list[Path]]:
    """Return the images of each class, by value where all are whole numbers; names that look the same are one class."""
    classes: dict[str, list[Path]] = {}
    for folder in tree.folders:
        # Those of one folder are in order; to compare a million paths takes long.
        images = sorted(folder.all_images()) if folder.folders else folder.images
        classes.setdefault(normal(folder.name), []).extend(images)
    if all(name.isascii() and name.isdigit() for name in classes):
        return dict(sorted(classes.items(), key=lambda item: (int(item[0]), item[0])))
    return classes


def _annotations(folder: Path) -> Path | None:
    """Return the table of labels of a split, if it has one."""
    return next(iter(sorted(folder.glob(_ANNOTATIONS))), None)


def _annotated(table: Path, paths: list[Path]) -> list[str]:
    """Return the class of each image by a table of lines "file name, tab, class, …"."""
    with reading(table, "a table of file names and classes", "copy or download it again"):
        lines = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines() if line]
        classes = {line[0]: line[1] for line in lines}
    missing = [path for path in paths if path.name not in classes]
    if missing:
        raise InputError(f"{missing[0]} has no line in {table}: add its class, or remove the image.")
    return [classes[path.name] for path in paths]
