from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Array2D, Array3D, ClassLabel, Dataset, Features, LargeList, List, Value
from numpy.typing import NDArray

from datacondense.data.catalogue import data_options
from datacondense.data.columns import read_table
from datacondense.data.config import DataConfig
from datacondense.data.sources import load
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

    config = DataConfig(label_column="weight")
    split = read(path, config)

    assert list(split.labels) == [5, 6, 7, 8]
    assert split.class_names is None
    source = load(path, config).train.provenance["source"]
    assert data_options({"source": {**source, "split": "train"}}) == (str(path), config)


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


def test_paths_are_read_only_in_the_folders_that_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "private.png").write_bytes(png(COLOUR[0])["bytes"])
    (tmp_path / "cache" / "a.png").write_bytes(png(COLOUR[0])["bytes"])

    def table(*names: str, typed: bool = True) -> Dataset:
        images = [{"bytes": None, "path": str(tmp_path / name)} for name in names]
        return read_dataset(write_parquet(tmp_path / "a.parquet", images, [0, 1], typed=typed))

    inside, outside = table("cache/a.png", "cache/a.png"), table("cache/a.png", "cache/../private.png")
    allowed = [tmp_path / "cache"]
    for folders in (allowed, None):
        split = read_table(inside, "train", DataConfig(), folders=folders)
        assert split.images.shape == (2, 3, 6, 6)
    message = r"Row 1 of the split 'train' names the file '.*private\.png' instead of holding the image"
    with pytest.raises(InputError, match=message):
        read_table(outside, "train", DataConfig(), folders=allowed)
    for refused in (inside, outside, table("private.png", "private.png", typed=False)):
        with pytest.raises(InputError, match=r"Row 0 .* names the file .* save it with the images in it"):
            read_table(refused, "train", DataConfig())


def test_a_column_of_paths_is_refused() -> None:
    table = Dataset.from_dict({"image": ["/private.png", "/private.png"], "label": [0, 1]})

    with pytest.raises(InputError, match=r"Row 0 of the split 'train' names the file '/private.png'"):
        read_table(table, "train", DataConfig(image_column="image"))


def lists(images: list[Any], labels: list[int] = [0, 1], **types: Any) -> Dataset:  # noqa: B006
    features = Features({"image": types["image"], "label": Value("int64")}) if types else None
    return Dataset.from_dict({"image": images, "label": labels}, features=features)


GREY = pictures(2, colour=False)
BYTE = Value("uint8")


@pytest.mark.parametrize(
    ("images", "kind"),
    [
        (GREY, None),
        (GREY, List(List(BYTE))),
        (GREY, LargeList(LargeList(BYTE))),
        (GREY, List(List(BYTE, length=6), length=6)),
        (GREY, List(List(Value("int64")))),
        (GREY, Array2D(shape=(6, 6), dtype="uint8")),
        (GREY, Array2D(shape=(6, 6), dtype="int32")),
        (COLOUR[:2], None),
        (COLOUR[:2], List(List(List(BYTE)))),
        (COLOUR[:2], Array3D(shape=(6, 6, 3), dtype="uint8")),
        ([image.transpose(2, 0, 1) for image in COLOUR[:2]], Array3D(shape=(3, 6, 6), dtype="uint8")),
    ],
)
def test_lists_of_pixels_are_read_as_they_are(
    images: list[NDArray[np.uint8]], kind: Any, tmp_path: Path
) -> None:
    table = lists([image.tolist() for image in images], **({} if kind is None else {"image": kind}))
    colour = images[0].ndim == 3
    expected = np.stack(COLOUR[:2]).transpose(0, 3, 1, 2) if colour else np.stack(GREY)[:, None]

    for form, order in (
        (table, [0, 1]),
        (table.select([1, 0]), [1, 0]),
        (table.with_format("numpy"), [0, 1]),
    ):
        np.testing.assert_array_equal(read_table(form, "train", DataConfig()).images.numpy(), expected[order])
    table.to_parquet(tmp_path / "a.parquet")
    np.testing.assert_array_equal(load(tmp_path / "a.parquet").train.images.numpy(), expected)
    assert read_table(table, "train", DataConfig(resize=3, channels=1)).images.shape == (2, 1, 3, 3)


def test_lists_of_floating_point_pixels_are_in_the_pixel_scale() -> None:
    table = lists([(image / 255).tolist() for image in GREY])

    np.testing.assert_allclose(
        read_table(table, "train", DataConfig()).images[:, 0].numpy() * 255, np.stack(GREY), atol=1e-4
    )
    with pytest.raises(InputError, match="Floating-point pixels run from"):
        read_table(lists([(image / 2).tolist() for image in GREY]), "train", DataConfig())


def test_lists_of_other_sizes_need_resize() -> None:
    table = lists([GREY[0].tolist(), GREY[1][:4].tolist()])

    with pytest.raises(InputError, match=r"Image 0 is 6x6 pixels but Image 1 is 6x4.*--resize"):
        read_table(table, "train", DataConfig())
    assert read_table(table, "train", DataConfig(resize=6)).images.shape == (2, 1, 6, 6)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            [[1] * 64, [2] * 64],
            "holds flat lists, whose height and width are unknown, but an image is a list of rows",
        ),
        ([[[[[1]]]], [[[[2]]]]], "holds lists in 4 levels, but"),
        ([[[1, 2], [3]], [[1, 2], [3, 4]]], "has lists of different lengths in the image of row 0"),
        ([[[1, None]], [[1, 2]]], "has pixels without a value"),
        ([None, [[1, 2]]], "has rows without an image"),
        ([[[0, 300]], [[0, 1]]], "Whole-number pixels run from 0 to 300, but must be in 0 to 255"),
        ([[["a"]], [["b"]]], "Images are object"),
    ],
)
def test_lists_that_are_no_images(images: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_table(lists(images), "train", DataConfig(image_column="image"))
