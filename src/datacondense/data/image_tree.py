"""What a folder of images holds: folders and images, and how many other files there are."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from PIL import Image

from datacondense.errors import InputError

# What systems and programs leave in folders: neither classes nor images.
_LITTER = re.compile(
    r"@eadir|__macosx|\$recycle\.bin|system volume information|lost\+found|\.git|thumbs\.db|desktop\.ini|"
    r"\.ds_store|\._.*",
    re.IGNORECASE,
)
# What accompanies images, and is not missed among them.
_TEXTS = re.compile(
    r".*\.(txt|md|rst|csv|tsv|json|jsonl|xml|ya?ml|toml|html?|log|py|safetensors)|readme|licen[cs]e|copying|makefile",
    re.IGNORECASE,
)
_DEEPEST = 100
_LISTED = 5


@dataclass
class ImageTree:
    """A folder with what it holds, in the order of names.

    Attributes:
        path: The folder.
        folders: The folders in it.
        images: The images that lie in it directly.
        ignored: How many other files there are, by kind, hidden folders included.
    """

    path: Path
    folders: "list[ImageTree]" = field(default_factory=list)
    images: list[Path] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.path.name

    @property
    def holders(self) -> "list[ImageTree]":
        """The folders in it with an image at any depth."""
        return [folder for folder in self.folders if next(folder.all_images(), None) is not None]

    def all_images(self) -> Iterator[Path]:
        """Yield the images at any depth."""
        yield from self.images
        for folder in self.folders:
            yield from folder.all_images()

    def all_ignored(self) -> Counter[str]:
        """Count the other files at any depth."""
        return sum((folder.all_ignored() for folder in self.folders), Counter(self.ignored))


def found_in(folder: Path) -> str:
    """Return in words what lies in a folder, for a message."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - of names alone
    except OSError:
        return "it cannot be looked into"
    more = f", … ({len(names)} in all)" if len(names) > _LISTED else ""
    return f"it holds {', '.join(names[:_LISTED])}{more}" if names else "it is empty"


def image_tree(path: Path) -> ImageTree:
    """Look through a folder, and through linked folders too."""
    return _tree(path, ())


def note_ignored(root: Path, used: int, ignored: Counter[str]) -> None:
    """Warn in one line of the files that are not read."""
    count = ignored.total()
    if count:
        warnings.warn(
            f"{count} of {used + count} files in {root} are ignored ({_kinds(ignored)}): if they belong to the data "
            "set, convert them to PNG or JPEG and put them into the folders of their classes.",
            UserWarning,
            stacklevel=2,
        )


def _tree(path: Path, above: Sequence[tuple[int, int]]) -> ImageTree:
    """Look through a folder that lies in others, to which links may lead back."""
    tree = ImageTree(path)
    try:
        status = path.stat()
        here = (status.st_dev, status.st_ino)
        if here in above:
            tree.ignored["links to a folder above"] += 1
            return tree
        if len(above) > _DEEPEST:
            raise InputError(f"{path} lies more than {_DEEPEST} folders deep: move the images further up.")
        with os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if not _LITTER.fullmatch(entry.name):
                    _add(entry, tree, (*above, here))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read as a folder ({error.strerror}): check its permissions."
        ) from error
    return tree


def _add(entry: "os.DirEntry[str]", tree: ImageTree, above: Sequence[tuple[int, int]]) -> None:
    """Sort in one entry of a folder."""
    hidden = entry.name.startswith(".")
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - of many files, faster than a Path
    if entry.is_dir():
        folder = _tree(Path(entry.path), above)
        if not hidden:
            tree.folders.append(folder)
        elif images := sum(1 for _ in folder.all_images()):
            tree.ignored["in hidden folders"] += images
    elif entry.is_file():
        if suffix in _image_suffixes() and not hidden:
            tree.images.append(Path(entry.path))
        elif suffix in _image_suffixes() or not (hidden or _TEXTS.fullmatch(entry.name)):
            tree.ignored["hidden" if hidden else suffix or "no suffix"] += 1
    else:
        tree.ignored["dangling links" if entry.is_symlink() else "no regular files"] += 1


@cache
def _image_suffixes() -> frozenset[str]:
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)


def _kinds(counts: Counter[str]) -> str:
    """Return the kinds with their numbers, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ordered[_LISTED:])
    named = [f"{kind} {count}" for kind, count in ordered[:_LISTED]]
    return ", ".join([*named, f"others {rest}"] if rest else named)
