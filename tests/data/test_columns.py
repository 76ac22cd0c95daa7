from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset

from datacondense.data.columns import read_table
from datacondense.data.config import DataConfig
from datacondense.data.splits import ReadSplit
from datacondense.errors import InputError
from tests.data.made_files import pictures, png, write_parquet

COLOUR = pictures(4, colour=True)
LABELS = [3, 0, 3, 1]


def read_dataset(path: Path) -> Dataset:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    return Dataset(pq.read_table(path))


def read(path: Path, config: DataConfig = DataConfig()) -> ReadSplit:  # noqa: B008
    return read_table(read_dataset(path), "train", config)


def test_columns_are_found_by_type(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "a.parquet",
        COLOUR,
        LABELS,
        image_column="img",
        label_column="kind",
        extra={"label": [9, 9, 9, 9]},
    )

    split = read(path)

    np.testing.assert_array_equal(split.images.numpy(), np.stack(COLOUR).transpose(0, 3, 1, 2))
    assert list(split.labels) == LABELS
    assert split.class_names == tuple("0123456789")


def test_files_without_types_are_understood(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", COLOUR, ["b", "a", "b", "a"], names=None, typed=False)

    split = read(path)

    assert split.images.shape == (4, 3, 6, 6)
    assert list(split.labels) == ["b", "a", "b", "a"]
    assert split.class_names is None


def test_a_usual_label_name_is_found_without_a_type(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, names=None, extra={"weight": [5, 6, 7, 8]})

    assert list(read(path).labels) == LABELS


def test_columns_that_are_named_come_first(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, extra={"weight": [5, 6, 7, 8]})

    split = read(path, DataConfig(label_column="weight"))

    assert list(split.labels) == [5, 6, 7, 8]
    assert split.class_names is None


def test_missing_columns_are_named_with_those_there_are(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, image_column="img")

    with pytest.raises(InputError, match=r"no column 'image' \(columns: img, label\).*--image-column"):
        read(path, DataConfig(image_column="image"))
    with pytest.raises(InputError, match=r"no column 'fine' \(columns: img, label\).*--label-column"):
        read(path, DataConfig(label_column="fine"))


def test_ambiguous_columns_are_refused(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "a.parquet", COLOUR, LABELS, names=None, label_column="x", extra={"y": [1, 2, 3, 4]}
    )
    with pytest.raises(InputError, match=r"labels is ambiguous \(columns: image, x, y\).*--label-column"):
        read(path)

    path = write_parquet(tmp_path / "b.parquet", COLOUR, LABELS, label_column="fine")
    kinds = read_dataset(path)
    twice = kinds.add_column("coarse", [0, 0, 1, 1]).cast_column("coarse", ClassLabel(names=["a", "b"]))
    with pytest.raises(InputError, match=r"labels is ambiguous \(columns: image, fine, coarse\)"):
        read_table(twice, "train", DataConfig())

    table = Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
    with pytest.raises(InputError, match=r"0 columns of images \(columns: text, label\).*--image-column"):
        read_table(table, "train", DataConfig())


def test_a_column_without_images_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, extra={"weight": [5, 6, 7, 8]})

    with pytest.raises(InputError, match=r"The column 'weight' .*holds no encoded images"):
        read(path, DataConfig(image_column="weight"))


def test_broken_and_missing_images_are_named_by_row(tmp_path: Path) -> None:
    broken = {"bytes": png(COLOUR[2])["bytes"][:40], "path": None}
    path = write_parquet(tmp_path / "a.parquet", [COLOUR[0], COLOUR[1], broken, COLOUR[3]], LABELS)
    with pytest.raises(InputError, match="Row 2 of the split 'train' cannot be decoded as an image"):
        read(path)

    path = write_parquet(tmp_path / "b.parquet", [COLOUR[0], None, *COLOUR[2:]], LABELS)
    with pytest.raises(InputError, match="Row 1 of the split 'train' has no image"):
        read(path)


def test_images_may_be_paths(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(COLOUR[0])["bytes"])
    task = {"bytes": None, "path": str(tmp_path / "a.png")}
    path = write_parquet(tmp_path / "a.parquet", [task, task], [0, 1])

    assert read(path).images.shape == (2, 3, 6, 6)
