"""What the folders in a folder of images are: splits or classes.

It is decided by their names and by what they hold: a split of a usual name holds class folders, a class holds images.
Where that leaves a doubt, the folder is refused, so that no image is trained on by mistake or left out in silence.
"""

from pathlib import Path

from datacondense.data.config import DataConfig
from datacondense.data.image_tree import ImageTree, found_in
from datacondense.data.labels import normal
from datacondense.data.splits import split_role
from datacondense.errors import InputError


def unwrapped(root: ImageTree) -> ImageTree:
    """Return the one folder in a folder, as archives have it, that holds the splits or classes."""
    holders = root.holders
    if root.images or len(holders) != 1 or not holders[0].holders or split_role(holders[0].name):
        return root
    inner = holders[0]
    inner.ignored.update(root.ignored)
    return unwrapped(inner)


def split_folders(root: ImageTree, config: DataConfig) -> dict[str, ImageTree]:
    """Return the folders that hold class folders, where these are splits; none where the folders are classes."""
    holders = {folder.name: folder for folder in root.folders if folder.holders}
    if config.train_split or config.test_split:
        for folder in root.folders:
            if (
                folder.name in {config.train_split, config.test_split}
                and not folder.holders
                and folder.images
            ):
                raise unlabelled([folder])
        return holders
    usual = [folder for folder in holders.values() if split_role(folder.name)]
    if not usual:
        return {}
    training = [folder for folder in root.holders if split_role(folder.name) == "train"]
    if training and not training[0].holders:
        raise unlabelled(training)
    _refuse_classes(root, [*training, *usual])
    return holders


def check_classes(root: ImageTree) -> None:
    """Refuse class folders that are splits by their names, or that hold splits."""
    holders = root.holders
    if not holders:
        raise InputError(
            f"{root.path} has no folders of images (one for each class) and no parquet files ({found_in(root.path)}): "
            "give a folder such as <folder>/cat/1.png, <folder>/dog/1.png."
        )
    roles = {split_role(folder.name) for folder in holders}
    if None not in roles or {"train", "test"} <= roles:
        raise unlabelled([folder for folder in holders if split_role(folder.name)])
    inner = [{split_role(folder.name) for folder in holder.holders} for holder in holders]
    for holder, found in zip(holders, inner, strict=True):
        if {"train", "test"} <= found or all("test" in each for each in inner):
            split = next(folder for folder in holder.holders if split_role(folder.name))
            raise InputError(
                f"{split.path} is a split in the folder of a class, but splits hold classes: move its images to "
                f"{root.path / split.name / holder.name}, and the others likewise."
            )


def unlabelled(folders: list[ImageTree]) -> InputError:
    """Return the refusal of splits that hold images without class folders."""
    names = " and ".join(f"{folder.name}/" for folder in folders[:3])
    return InputError(
        f"{names} in {folders[0].path.parent} {'holds' if len(folders) == 1 else 'hold'} images without class folders, "
        f"so their labels are unknown: put them into a folder for each class, such as "
        f"{Path(folders[0].name, 'cat', '1.png')}, or rename {names} if that is the name of a class."
    )


def _refuse_classes(root: ImageTree, splits: list[ImageTree]) -> None:
    """Refuse folders beside the splits that are classes, as far as can be seen."""
    classes = {normal(folder.name) for split in splits for folder in split.holders}
    for folder in root.holders:
        inner = {normal(each.name) for each in folder.holders}
        if not split_role(folder.name) and (folder.images or not inner & classes):
            name = splits[0].name
            raise InputError(
                f"{root.path} holds {name}/, a split by its name and its folders, and {folder.name}/, which seems "
                f"to be a class: say that it is a split with --train-split {name}, or rename it if it is a class."
            )
