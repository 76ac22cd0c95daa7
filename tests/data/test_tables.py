"""Data sets of the Hugging Face `datasets` library: in memory, and as `save_to_disk` writes them."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, IterableDataset
from datasets import Image as ImageFeature
from PIL import Image

from datacondense.data.config import DataConfig
from datacondense.data.sources import load
from datacondense.errors import InputError
from tests.data.made_files import pictures, write_folder

COLOUR = pictures(6, colour=True)
PIXELS = np.stack(COLOUR).transpose(0, 3, 1, 2)
LABELS = [0, 1, 0, 1, 0, 1]


@pytest.fixture
def dataset() -> Dataset:
    features = Features({"img": ImageFeature(), "label": ClassLabel(names=["cat", "dog"])})
    return Dataset.from_dict({"img": list(map(Image.fromarray, COLOUR)), "label": LABELS}, features=features)


def test_a_data_set_in_memory(dataset: Dataset) -> None:
    for form in (
        dataset,
        dataset.with_format("torch"),
        dataset.select([1, 0, 2, 3, 4, 5]).select([1, 0, 2, 3, 4, 5]),
    ):
        data = load(form)
        np.testing.assert_array_equal(data.train.images.numpy(), PIXELS)
        assert (data.train.class_names, data.train.labels.tolist(), data.test) == (
            ("cat", "dog"),
            LABELS,
            None,
        )
    source = data.train.provenance["source"]
    assert (source["name"], source["hub_id"], source["split"]) == ("Dataset", None, "train")


def test_splits_in_memory(dataset: Dataset) -> None:
    data = load(DatasetDict(Train=dataset, dev=dataset.select(range(2)), extra=dataset.select(range(3))))

    assert data.test is not None
    assert (len(data.train), len(data.test)) == (6, 2)
    other = load(DatasetDict(a=dataset, b=dataset.select(range(4))), DataConfig(train_split="b", resize=3))
    assert other.train.images.shape == (4, 3, 3, 3)
    with pytest.raises(InputError, match=r"The data set has no split 'train' \(splits: a, b\)"):
        load(DatasetDict(a=dataset, b=dataset))
    with pytest.raises(InputError, match="config is 'x', but a data set in memory has no such setting"):
        load(dataset, DataConfig(config="x"))


def test_the_users_own_data_set_may_name_files(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": COLOUR[:3]})
    paths = [str(tmp_path / "cat" / f"{index}.png") for index in range(3)]
    features = Features({"image": ImageFeature(), "label": ClassLabel(names=["cat", "dog"])})

    data = load(Dataset.from_dict({"image": paths, "label": [0, 1, 0]}, features=features))

    np.testing.assert_array_equal(data.train.images.numpy(), PIXELS[:3])


@pytest.mark.parametrize(
    "source", [PIXELS, [(PIXELS[0], 0)], None, IterableDataset.from_generator(lambda: iter([{"a": 1}]))]
)
def test_other_things_in_memory_are_refused(source: Any) -> None:
    with pytest.raises(
        InputError, match=r"is no name, path, Dataset or DatasetDict: .*from_arrays.*from_torch_dataset"
    ):
        load(source)


def test_saved_data_sets(dataset: Dataset, tmp_path: Path) -> None:
    dataset.save_to_disk(tmp_path / "one", num_shards=2)
    DatasetDict(train=dataset, test=dataset.select([1, 0])).save_to_disk(tmp_path / "two")

    one, two, train = load(tmp_path / "one"), load(str(tmp_path / "two")), load(tmp_path / "two" / "train")

    assert two.test is not None
    assert two.test.labels.tolist() == [1, 0]
    for data in (one, two, train):
        np.testing.assert_array_equal(data.train.images.numpy(), PIXELS)
        assert (data.train.class_names, data.train.labels.tolist()) == (("cat", "dog"), LABELS)
    assert len(load(tmp_path / "two" / "test").train) == 2
    with pytest.raises(
        InputError, match=r"config is 'x', but .*one \(saved by save_to_disk\) has no such setting"
    ):
        load(tmp_path / "one", DataConfig(config="x"))


def test_a_saved_data_set_names_no_files_outside(dataset: Dataset, tmp_path: Path) -> None:
    folder, other = tmp_path / "set", tmp_path / "other"
    DatasetDict(train=dataset).save_to_disk(folder)
    DatasetDict(train=dataset).save_to_disk(other)
    state = json.loads((folder / "train" / "state.json").read_text())
    state["_data_files"] = [{"filename": "../../other/train/data-00000-of-00001.arrow"}]
    (folder / "train" / "state.json").write_text(json.dumps(state))
    with pytest.raises(InputError, match=r"names the file '\.\./.*', which lies outside of it"):
        load(folder)
    (folder / "dataset_dict.json").write_text('{"splits": ["../other/train"]}')
    with pytest.raises(InputError, match=r"names the file '\.\./other/train', which lies outside of it"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("state.json", b"{", r"state\.json cannot be read as the description of a saved data set"),
        ("state.json", b"{}", "_data_files"),
        ("state.json", b'{"_data_files": [1]}', "Expected `object`"),
        ("dataset_info.json", b"[1]", r"state\.json cannot be read as the description of a saved data set"),
        ("dataset_info.json", None, "lacks the file"),
        ("data-00000-of-00001.arrow", b"x" * 99, r"state\.json cannot be read as the description"),
        ("data-00000-of-00001.arrow", None, "lacks the file"),
    ],
)
def test_damaged_saved_data_sets(
    dataset: Dataset, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    dataset.save_to_disk(tmp_path / "set")
    path = tmp_path / "set" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(InputError, match=message):
        load(tmp_path / "set")


def test_pipes_in_a_saved_data_set_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    dataset.save_to_disk(tmp_path / "set")
    for name in ("data-00000-of-00001.arrow", "dataset_info.json"):
        path = tmp_path / "set" / name
        kept = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(InputError, match="lacks the file"):
            load(tmp_path / "set")
        path.unlink()
        path.write_bytes(kept)
