"""Condensed sets that others published, each in its own form, to `ImageSet`s.

What a file does not say is guessed from its name and numbers, or asked for in one sentence. Nothing in it is run.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from datacondense.data.published_layouts import Content, Layout, all_files, content_of
from datacondense.errors import InputError
from datacondense.files import expanded
from datacondense.image_set import ImageSet
from datacondense.set_metadata import Whitening, WhiteningKind
from datacondense.settings import is_rate

Format = Literal[
    "auto", "dc", "dsa", "dm", "idm", "datadam", "mtt", "tesla", "datm", "idc", "dream", "ncfm", "kip", "frepo",
    "rded", "sre2l",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Family:
    """How the sets of a method are stored and trained on.

    Attributes:
        layout: What its files hold; see `Content`.
        siamese: Augmentation that its sets are scored with; "none" for that of the data set.
        factor: Tiles a side; None where files differ.
        zca: Whether images are ZCA-whitened; None where files differ.
    """

    layout: Layout
    siamese: str = "none"
    factor: int | None = 1
    zca: bool | None = False


_FAMILIES = {
    "dc": _Family(layout="runs"),
    "dsa": _Family(layout="runs", siamese="dsa"),
    "dm": _Family(layout="runs", siamese="dsa"),
    "idm": _Family(layout="runs", siamese="dsa", factor=2),
    "datadam": _Family(layout="runs", siamese="dsa", zca=None),
    "mtt": _Family(layout="tensors", siamese="dsa", zca=None),
    "tesla": _Family(layout="tensors", siamese="dsa", zca=None),
    "datm": _Family(layout="tensors", siamese="dsa", zca=True),
    "idc": _Family(layout="pair", siamese="idc", factor=None),
    "dream": _Family(layout="pair", siamese="idc", factor=None),
    "ncfm": _Family(layout="pair", siamese="idc", factor=None),
    "kip": _Family(layout="arrays", zca=None),
    "frepo": _Family(layout="arrays", siamese="dsa", zca=None),
    "rded": _Family(layout="folder"),
    "sre2l": _Family(layout="folder"),
}
_WHITENINGS: dict[str, WhiteningKind] = {"kip": "kip", "frepo": "frepo"}  # others: zca
_EPSILON = 0.1  # of every published whitening
_NETWORKS = ("convnet", "mlp", "lenet", "alexnet", "vgg11", "resnet18")
_NORMALISED_BELOW = -1.0  # pixel scale overshoots 0 by little, normalised images by much


def read_published(
    *files: Path | str,
    on: ImageSet,
    format: Format = "auto",  # noqa: A002 — the option's name
    run: int = 0,
    factor: int | None = None,
    zca: bool | None = None,
    learning_rate: float | None = None,
) -> ImageSet:
    """Read a condensed set in the form in which its authors published it.

    Known are the files of DC, DSA, DM, IDM and DataDAM (`res_*.pt`), MTT, TESLA and DATM (`images_best.pt`,
    `labels_best.pt` and `lr_best.pt`, or the folder that holds them), IDC, DREAM and NCFM (`data_best.pt`), KIP and
    FRePo (`.npz`), RDED and SRe2L (folders of class folders). No code in a file is run.

    Args:
        *files: The file, or all that belong to one set, parts of it in their order.
        on: The real training images that it stands for, from `load`: their classes, shape and normalisation.
        format: Whose file it is; by its name and contents where "auto".
        run: Which of the sets in a file of several, from 0.
        factor: Tiles a side of each image (multi-formation); by the file's name where None.
        zca: Whether the images are ZCA-whitened; by the method and the file's name where None.
        learning_rate: Rate that the set is to be trained on with, where it was learned and no file holds it.

    Returns:
        The set: in pixel scale with the normalisation of `on`, or whitened. Soft labels are softmax(logits). Its
        provenance holds, under "imported": format, files with their SHA-256, run, runs, and the accuracies that the
        file carries (mean, std, n for each network); and the learned rate under "learned".

    Raises:
        InputError: A file is missing, damaged or of unknown form, names code, does not fit the data set, or leaves open
            what only an option can tell.
    """
    paths = all_files([expanded(path) for path in files])
    content = content_of(paths, run, on)
    name = _format(format, content, paths)
    family, words = _FAMILIES[name], _words(paths)
    if content.images.shape[1:] != on.image_shape:
        raise InputError(
            f"{paths[0]} has images of shape {tuple(content.images.shape[1:])}, but the real ones are "
            f"{on.image_shape} (channels, height, width): name the data set it stands for, with --resize or --channels."
        )
    rate = content.learning_rate if learning_rate is None else learning_rate
    _check_options(content.layout, run, zca, rate, on)
    whitening = _whitening(name, zca, words, on)
    images, scale = _pixels(content, whitening, on)
    labels, soft = _labels(content, on)
    tiles = _factor(family.factor if factor is None else factor, words, name)
    facts = {"format": name, "files": [_about(path) for path in paths], "scale": scale, **content.facts}
    network = next((word for word in words if word in _NETWORKS), None)
    settings = {"siamese": family.siamese, "factor": tiles, **({"network": network} if network else {})}
    return replace(
        on,
        images=images,
        labels=labels,
        mean=on.mean if whitening is None else (0.0,) * len(on.mean),
        std=on.std if whitening is None else (1.0,) * len(on.std),
        provenance={
            "method": name,
            "settings": settings,
            "source": dict(on.provenance.get("source", {"name": on.dataset})),
            "imported": facts,
            **({} if rate is None else {"learned": {"inner_lr": float(rate)}}),
        },
        factor=tiles,
        soft_labels=soft,
        whitening=whitening,
    )


def _check_options(layout: Layout, run: int, zca: bool | None, rate: float | None, on: ImageSet) -> None:
    """Refuse options that cannot apply to a file, and a learning rate that no network can be trained with."""
    if on.whitening is not None:
        raise InputError(
            "The real images are whitened: give them as they were read, by which the set is whitened."
        )
    if run and layout != "runs":
        raise InputError(f"run is {run}, but the file holds one set: leave it out.")
    if zca and layout == "folder":
        raise InputError("zca is on, but a folder of images holds pixels: leave it out.")
    if rate is not None and not is_rate(rate):
        raise InputError(f"learning_rate is {rate}, but must be above 0 and below 3e38.")


def _format(given: str, content: Content, paths: Sequence[Path]) -> str:
    """Return whose set it is: as given, by the name of the file or its folders, or by what it holds."""
    fitting = [name for name, family in _FAMILIES.items() if family.layout == content.layout]
    if given != "auto" and given not in fitting:
        raise InputError(
            f"format is {given!r}, but {paths[0]} is laid out as those of {', '.join(fitting)}: give one of these."
        )
    named = next((word for word in _words(paths) if word in fitting), content.likely)
    if given == "auto" and named is None:
        raise InputError(
            f"{paths[0]} does not say which method made it: give --format {', '.join(fitting[:-1])} or {fitting[-1]}."
        )
    return given if given != "auto" else str(named)


def _whitening(name: str, zca: bool | None, words: Sequence[str], on: ImageSet) -> Whitening | None:
    """Return how images are whitened: as given, as the method does, or as the file's name says."""
    known = _FAMILIES[name].zca if zca is None else zca
    if name == "frepo" and known is None:
        known = len(on.mean) > 1  # grey digits and clothes are not
    if known is None and {"zca", "nozca"} & set(words):
        known = "zca" in words
    if known is None:
        raise InputError(
            f"Files of {name} do not say whether their images are ZCA-whitened: give --zca (most published sets of "
            "CIFAR) or --no-zca (most others)."
        )
    return Whitening(_WHITENINGS.get(name, "zca"), _EPSILON, on.fingerprint) if known else None


def _factor(known: int | None, words: Sequence[str], name: str) -> int:
    """Return the tiles a side: as given, as the method has it, or as the file's name says."""
    named = next((word for word in words if re.fullmatch(r"factor[1-9]\d?", word)), None)
    if known is None and named is None:
        raise InputError(
            f"Files of {name} do not say how many tiles an image holds: give --factor, mostly 2, or 1."
        )
    return int(str(named).removeprefix("factor")) if known is None else known


def _pixels(content: Content, whitening: Whitening | None, on: ImageSet) -> tuple[Tensor, str]:
    """Return images as they are stored in a set, and the scale that they were published in."""
    images = content.images
    if whitening is not None:
        return images, "whitened"
    if content.layout == "folder" or (content.layout == "pair" and float(images.min()) > _NORMALISED_BELOW):
        return images, "pixels"
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (on.mean, on.std))
    return images * std + mean, "normalised"


def _labels(content: Content, on: ImageSet) -> tuple[Tensor, Tensor | None]:
    """Return class numbers, and the distributions of learned labels; targets of a regression are no distributions."""
    rows = content.labels
    if not rows.is_floating_point():
        return rows, None
    if rows.shape[1] != on.num_classes:
        raise InputError(
            f"The labels have {rows.shape[1]} classes, but the real data have {on.num_classes}: name the data set it "
            "stands for."
        )
    if content.layout == "arrays":
        return rows.argmax(1), None
    are_shares = bool((rows >= 0).all()) and bool(((rows.sum(1) - 1).abs() < 1e-3).all())
    return rows.argmax(1), rows if are_shares else rows.softmax(1)


def _words(paths: Sequence[Path]) -> list[str]:
    """Return the words of the name of a file and of the two folders that it lies in, in lower case."""
    names = paths[0].resolve().parts[:-4:-1]
    return [word for name in names for word in re.findall(r"[a-z0-9]+", name.lower())]


def _about(path: Path) -> dict[str, str]:
    """Return the name of a file and its SHA-256."""
    if path.is_dir():
        return {"name": path.name}
    with path.open("rb") as file:
        return {"name": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
