from pathlib import Path

import numpy as np
import pytest

from datacondense import memory_limits as budget
from datacondense.data.config import DataConfig
from datacondense.data.parquet import parquet_folder, read_parquet
from datacondense.data.sources import load
from datacondense.data.splits import ReadSplit
from datacondense.errors import InputError
from tests.data.made_files import pictures, png, write_parquet

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

    assert isinstance(test, ReadSplit)
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

    with pytest.raises(InputError, match=r"train\.parquet cannot be read as a parquet file"):
        read_parquet(path, DataConfig())


@pytest.mark.parametrize(
    "names",
    [
        ("train_0", "train_2", "train_10"),
        ("train-0", "train-2", "train-10"),
        ("Train.00000", "Train.00001", "Train.00010"),
        ("train0", "train2", "train10"),
        ("train/0000", "train/0001", "train/0010"),
    ],
)
def test_numbered_files_are_parts_of_their_split(tmp_path: Path, names: tuple[str, ...]) -> None:
    for index, name in enumerate(names):
        part = slice(2 * index, 2 * index + 2)
        write_parquet(tmp_path / f"{name}.parquet", GREY[part], LABELS[part], names=["a", "b"])
    write_parquet(tmp_path / f"{names[0].replace('rain', 'est')}.parquet", GREY, LABELS, names=["a", "b"])

    data = load(tmp_path)

    np.testing.assert_array_equal(data.train.images[:, 0].numpy(), np.stack(GREY))
    assert data.test is not None
    assert (len(data.test), data.train.provenance["source"]["split"].lower()) == (6, "train")


def test_numbers_in_other_names_stay(tmp_path: Path) -> None:
    for name in ("fold_1", "fold_2"):
        write_parquet(tmp_path / f"{name}.parquet", GREY, LABELS)

    with pytest.raises(InputError, match=r"no split 'train' \(splits: fold_1, fold_2\)"):
        read_parquet(tmp_path, DataConfig())


def test_a_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "test-00000-of-00001.parquet", GREY, LABELS)

    assert read_parquet(path, DataConfig())[0].split == "test"
    with pytest.raises(InputError, match=r"has only test images \(splits: test\)"):
        read_parquet(tmp_path, DataConfig())


def test_only_the_columns_that_are_needed_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(
        tmp_path / "a.parquet",
        GREY,
        LABELS,
        extra={"text": ["x" * 50_000] * 5 + ["y" * 50_000]},
        names=["a", "b"],
    )
    monkeypatch.setattr(budget, "total_memory", lambda: 20_000)

    assert len(load(path).train) == 6
    monkeypatch.setattr(budget, "total_memory", lambda: 1000)
    with pytest.raises(InputError, match=r"The images of .*a\.parquet take 0\.0 GB, but this machine has"):
        load(path)


def test_repeated_values_that_fill_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the file they take the room of one."""
    path = write_parquet(tmp_path / "a.parquet", [png(GREY[0])] * 3000, [0, 1] * 1500)
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(budget, "total_memory", lambda: 150_000)
    with pytest.raises(InputError, match=r"The images of .*a\.parquet take"):
        load(path)


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


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("full", [0, 1])
def test_a_shard_may_be_empty(
    full: int, cache: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shards = [tmp_path / "data" / f"train-0000{index}-of-00002.parquet" for index in range(2)]
    write_parquet(shards[full], GREY, LABELS, names="ab")
    write_parquet(shards[1 - full], [], [], names="ab")

    train = load(tmp_path / "data", DataConfig(cache=cache)).train

    np.testing.assert_array_equal(train.images[:][:, 0].numpy(), np.stack(GREY))
    assert train.labels.tolist() == LABELS
