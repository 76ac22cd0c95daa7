from pathlib import Path

import numpy as np
import pytest

from datacondense.data.config import DataConfig
from datacondense.data.parquet import parquet_folder, read_parquet
from datacondense.errors import InputError
from tests.data.made_files import pictures, write_parquet

GREY = pictures(6, colour=False)
LABELS = [0, 1, 0, 1, 0, 1]


def test_shards_are_joined_in_order(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-00001-of-00002.parquet", GREY[3:], LABELS[3:])
    write_parquet(tmp_path / "train-00000-of-00002.parquet", GREY[:3], LABELS[:3])

    train, test = read_parquet(tmp_path, DataConfig())

    np.testing.assert_array_equal(train.images[:, 0].numpy(), np.stack(GREY))
    assert (train.split, test) == ("train", None)


def test_splits_are_recognised_by_file_names(tmp_path: Path) -> None:
    for name, count in [("train", 6), ("test", 2), ("extra-hard", 3)]:
        write_parquet(tmp_path / f"{name}-00000-of-00001.parquet", GREY[:count], LABELS[:count])

    train, test = read_parquet(tmp_path, DataConfig())
    hard, _ = read_parquet(tmp_path, DataConfig(train_split="extra-hard"))

    assert test is not None
    assert (len(train.images), len(test.images), len(hard.images)) == (6, 2, 3)


def test_one_file_is_one_split(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "scans.parquet", GREY, LABELS)

    train, test = read_parquet(path, DataConfig())

    assert (train.split, len(train.images), test) == ("scans", 6, None)


def test_folders_named_like_columns_are_only_folders(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x=7" / "train.parquet", GREY, LABELS, label_column="kind", names=None)

    assert list(read_parquet(path.parent, DataConfig())[0].labels) == LABELS


def test_broken_files_are_named(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "train.parquet", GREY, LABELS)
    path.write_bytes(path.read_bytes()[:200])

    with pytest.raises(InputError, match=r"train\.parquet cannot be read as parquet"):
        read_parquet(path, DataConfig())


def test_shards_of_different_data_sets_are_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-00000-of-00002.parquet", GREY, LABELS)
    write_parquet(tmp_path / "train-00001-of-00002.parquet", GREY, list("ababab"), names=None)

    with pytest.raises(InputError, match="other files of its split have different columns"):
        read_parquet(tmp_path, DataConfig())


def test_configurations_are_folders(tmp_path: Path) -> None:
    write_parquet(tmp_path / "one" / "train-00000-of-00001.parquet", GREY, LABELS)
    assert parquet_folder(tmp_path, None) == tmp_path / "one"
    assert parquet_folder(tmp_path, "default") == tmp_path / "one"
    assert parquet_folder(tmp_path, "two") is None
    assert parquet_folder(tmp_path / "one", None) == tmp_path / "one"
    assert parquet_folder(tmp_path / "absent", None) is None

    write_parquet(tmp_path / "two" / "train-00000-of-00001.parquet", GREY, LABELS)
    assert parquet_folder(tmp_path, "two") == tmp_path / "two"
    with pytest.raises(InputError, match=r"has the configurations one, two, but one is needed.*--config"):
        parquet_folder(tmp_path, None)
