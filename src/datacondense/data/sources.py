"""Find the reader of a data set that the user names: in the catalogue, by its path, or by its id on the Hub."""

import difflib
import os
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datacondense.data.catalogue import CATALOGUE, COLUMNS, DIGITS, CatalogueEntry
from datacondense.data.config import DataConfig
from datacondense.data.digits import read_digits
from datacondense.data.folder import read_folder
from datacondense.data.hub import CONDENSED, is_hub_id, is_published, published_file, read_hub
from datacondense.data.hub_streams import read_streamed
from datacondense.data.image_store import stored_tensor
from datacondense.data.image_tree import found_in
from datacondense.data.npz import read_npz
from datacondense.data.parquet import parquet_folder, read_parquet
from datacondense.data.splits import DataSplits, ReadSplit, Splits, assemble, kept
from datacondense.data.tables import is_saved, is_table, read_saved, read_tables
from datacondense.data.webdataset import has_shards, read_webdataset
from datacondense.disk_images import DiskImages
from datacondense.errors import InputError
from datacondense.files import expanded
from datacondense.image_set import ImageSet

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

MIRROR_VARIABLE = "DATACONDENSE_DATA"
_PATH_STARTS = ("/", ".", "~")
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
_PATH_SUFFIXES = (".npz", ".parquet", ".safetensors", ".npy", ".csv", ".pt", ".arrow", *_ARCHIVES)

_DEFAULTS = DataConfig()
_HUB_FIELDS = (*COLUMNS, "config", "train_split", "test_split")


def load(source: "str | Path | Dataset | DatasetDict", config: DataConfig = _DEFAULTS) -> DataSplits:
    """Read a data set by name, path or Hub id, or take one of the Hugging Face `datasets` library.

    The source is the first of these that it can be:

    1. A name of the catalogue: cifar10, cifar100, digits, fashion-mnist, imagenet-100, imagenette, imagewoof, mnist,
       svhn, tiny-imagenet, usps. `digits` comes with scikit-learn and needs no network; a folder of such a name is
       reached as `./mnist`. Images of imagenet-100, imagenette and imagewoof differ in size: give `resize`.
    2. A path: a `.npz` file (arrays x_train and y_train, optionally x_test and y_test; or images and labels,
       optionally test_images and test_labels; or those of MedMNIST, train_images and so on; optionally class_names),
       a `.parquet` file, a folder of parquet files in the layout of the Hub, a folder that `save_to_disk` wrote, a
       folder of WebDataset's tar files, or a folder of class folders with images, optionally below split folders such
       as train and test.
    3. A Hub id, "owner/name", looked up on the local mirror first (`config.data_root`, or the environment variable
       DATACONDENSE_DATA), then on the Hugging Face Hub or in its cache.

    A folder or a repository of the Hub that holds a condensed set, as `push_to_hub` publishes it, is that set: exactly
    as it was saved, with its provenance, as the training set, and without a test set.

    Columns are found by their types. Grey images have 1 channel, and 3 where any image has colour; transparent ones are
    put on white; 16 bits are scaled to 8. Labels of any kind become 0..K-1 in their sorted order, unless the source
    numbers and names them itself. The normalisation is the published one where the catalogue has it for that number
    of channels, else that of the training images; the test images share it. Files in a folder of images that are not
    read are counted in a warning.

    Args:
        source: The name, path or Hub id; or a `Dataset` or `DatasetDict` in memory.
        config: Columns, configuration, splits, mirror, and the form that images are to take.

    Returns:
        The training set, and the test set or None; why a test split cannot be used is said when it is needed. Their
        provenance holds, under "source": name, hub_id, config, split, resize, channels, num_images, the fingerprint of
        the training set, and the columns that were named.

    Raises:
        InputError: There is no such source, it cannot be reached or read, or its content breaks a rule.
    """
    name = str(source) if isinstance(source, (str, Path)) else type(source).__name__
    columns = {field: given for field in COLUMNS if (given := getattr(config, field)) is not None}
    entry = CATALOGUE.get(name) if isinstance(source, str) else None
    hub_id = entry.hub_id if entry is not None else None
    if not isinstance(source, (str, Path)):
        splits: Splits = _read_memory(source, config)
    elif name == DIGITS and entry is not None:
        _check_unset(config, _HUB_FIELDS, DIGITS)
        splits = read_digits(config)
    elif entry is None and (path := existing(source)) is not None:
        if is_published(path):
            return _read_condensed(path / CONDENSED, config)
        splits = _read_path(path, config)
    else:
        hub_id = hub_id or _checked_id(source)
        if entry is None and (file := condensed_file(hub_id, config)) is not None:
            return _read_condensed(file, config)
        config = entry.filled(config) if entry is not None else config
        splits = _read_id(hub_id, config, entry)
    origin = {
        "name": name,
        "hub_id": hub_id,
        "config": config.config,
        "resize": config.resize,
        "channels": config.channels,
        **columns,
    }
    published = entry.normalisation if entry is not None else None
    if config.cache:
        train, test = splits
        splits = _on_disk(train), test if not isinstance(test, ReadSplit) else kept(partial(_on_disk, test))
    return assemble(*splits, source=origin, published=published)


def condensed_file(hub_id: str, config: DataConfig = _DEFAULTS) -> Path | None:
    """Return the condensed set that a repository holds, on the mirror or the Hub; None where it holds none."""
    root = _mirror_root(config)
    if root is not None and os.path.isdir(root / hub_id):
        return root / hub_id / CONDENSED if is_published(root / hub_id) else None
    return published_file(hub_id)


def is_repository(text: str) -> bool:
    """Whether a text names a repository of the Hub, and not a file or folder that is missing."""
    return is_hub_id(text) and not text.endswith(_PATH_SUFFIXES) and not os.path.exists(Path(text).parent)


def _read_condensed(file: Path, config: DataConfig) -> DataSplits:
    """Read a condensed set: images to train on, as they are."""
    names = tuple(field.name for field in fields(DataConfig) if field.name != "data_root")
    _check_unset(config, names, "a condensed set")
    return DataSplits(train=ImageSet.load(file), test=None)


def _check_unset(config: DataConfig, names: tuple[str, ...], where: str) -> None:
    """Refuse settings that have no effect."""
    for name in names:
        value = getattr(config, name)
        if value is not None and value is not False:
            raise InputError(
                f"{name} is {value!r}, but {where} has no such setting: leave --{name.replace('_', '-')} out."
            )


def _on_disk(split: ReadSplit) -> ReadSplit:
    """Return a split whose images lie in the cache."""
    if isinstance(split.images, DiskImages):
        return split
    return replace(split, images=stored_tensor(split.images))


def _read_memory(source: object, config: DataConfig) -> Splits:
    """Read what is no name and no path."""
    if not is_table(source):
        raise InputError(
            f"{type(source).__name__} is no name, path, Dataset or DatasetDict: give one of these to load, arrays to "
            "from_arrays, and a torch data set to from_torch_dataset."
        )
    _check_unset(config, ("config",), "a data set in memory")
    return read_tables(source, config)


def existing(source: str | Path) -> Path | None:
    """Return the path of a file or folder, if there is one."""
    try:
        path = expanded(source)
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):  # Too long, the home of nobody, a NUL.
        return None


def _read_path(path: Path, config: DataConfig) -> Splits:
    """Read a file or folder by what it holds."""
    if path.is_dir():
        return _read_folder(path, config)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        _check_unset(config, _HUB_FIELDS, str(path))
        return read_npz(path, config)
    if suffix == ".parquet":
        _check_unset(config, ("config",), str(path))
        return read_parquet(path, config)
    if suffix == ".safetensors":
        raise InputError(
            f"{path} is a set that was condensed or selected, not a data set: read it with ImageSet.load, or score it "
            f"with datacondense evaluate {path} --on DATASET."
        )
    if suffix in _ARCHIVES:
        raise InputError(f"{path} is an archive, which is not read: unpack it and give the folder.")
    raise InputError(
        f"{path} is a file of unknown kind, but data sets are .npz or .parquet files or folders: give one of these."
    )


def _read_folder(path: Path, config: DataConfig) -> Splits:
    """Read a folder by what it holds."""
    try:
        saved, folder = is_saved(path), parquet_folder(path, config.config)
        shards = folder is None and has_shards(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read as a folder ({error.strerror}): check its permissions."
        ) from error
    if saved:
        _check_unset(config, ("config",), f"{path} (saved by save_to_disk)")
        return read_saved(path, config)
    if folder is not None:
        return read_parquet(folder, config)
    if shards:
        _check_unset(config, ("config",), f"{path} (shards of WebDataset)")
        return read_webdataset(path, config)
    if config.config is not None:
        raise InputError(
            f"{path} has no parquet files of the configuration {config.config!r}: name a folder in it, or leave "
            "--config out."
        )
    _check_unset(config, COLUMNS, f"{path} (a folder of images)")
    return read_folder(path, config)


def _read_id(hub_id: str, config: DataConfig, entry: CatalogueEntry | None) -> Splits:
    """Read a Hub id from the mirror where it is there, else from the Hub."""
    root = _mirror_root(config)
    folder = None
    if root is not None and os.path.isdir(root / hub_id):
        folder = parquet_folder(root / hub_id, config.config)
    if folder is not None:
        return read_parquet(folder, config)
    given: dict[str, Any] = (entry.files(config) if entry is not None else None) or {}
    if given.get("revision"):
        config = replace(config, config=None)
    streamed = read_streamed(hub_id, config, **given) if config.cache else None
    return streamed or read_hub(hub_id, config, **given)


def _mirror_root(config: DataConfig) -> Path | None:
    """Return the root of the local mirror, if there is one."""
    given, variable = config.data_root, os.environ.get(MIRROR_VARIABLE)
    if given is None and not variable:
        return None
    root = expanded(given if given is not None else str(variable))
    if not os.path.isdir(root):
        option = "--data-root" if given is not None else MIRROR_VARIABLE
        raise InputError(f"{option} is {root}, but there is no such folder: correct it or leave it unset.")
    return root


def _checked_id(source: str | Path) -> str:
    """Check that what is neither a known name nor a path has the form of a Hub id."""
    text = str(source)
    is_path = (
        isinstance(source, Path)
        or text.startswith(_PATH_STARTS)
        or text.endswith((*_PATH_SUFFIXES, "/", os.sep))
    )
    if is_path or text.count("/") > 1:
        raise InputError(f"There is no file or folder {text}{_beside(text)}: check the path.")
    if is_hub_id(text):
        return text
    close = difflib.get_close_matches(text.lower(), CATALOGUE, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise InputError(
        f"There is no data set {text!r}{hint} The known names are {', '.join(sorted(CATALOGUE))}; or give a path, or "
        "a Hub id such as owner/name."
    )


def _beside(text: str) -> str:
    """Return in words what there is in place of a path that is missing."""
    try:
        parent = expanded(text).parent
        while not parent.exists():
            parent = parent.parent
        return f" ({parent} is a file)" if parent.is_file() else f" (of {parent}: {found_in(parent)})"
    except (OSError, RuntimeError, ValueError):
        return ""
