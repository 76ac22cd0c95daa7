"""Exports read by the programs that they are for: plain `datasets`, `torch` and `numpy`."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from datacondense.data.exports import export
from datacondense.data.sources import load
from datacondense.data.whitening import unwhitened, whitened
from datacondense.image_set import ImageSet
from tests.conftest import make_set
from tests.data.test_exported_tiles import four_in_one
from tests.data.test_exports import load_with_datasets, rounded

NAMES = ["cat", "dog", "cow"]


def test_datasets_loads_a_saved_folder_with_exact_pixels(tmp_path: Path) -> None:
    import datasets

    exact = four_in_one().decoded()
    export(four_in_one(), tmp_path / "out", format="hf")
    rows = datasets.load_from_disk(str(tmp_path / "out"))
    assert rows.features["label"].names == NAMES
    assert rows["label"][:] == exact.labels.tolist()
    arrays = rows.with_format("torch")
    assert torch.equal(arrays["pixels"][:], exact.pixels())
    assert torch.equal(arrays["soft_label"][:], exact.targets)
    for row, expected in zip(rows, rounded(exact), strict=True):
        assert np.array_equal(np.asarray(row["image"]), expected.permute(1, 2, 0).numpy())
    assert load(tmp_path / "out").train.class_names == tuple(NAMES)


def test_torch_loads_tensors_and_builtin_types_only(tmp_path: Path) -> None:
    exact = four_in_one().decoded()
    export(four_in_one(), tmp_path / "out", format="torch")
    content = torch.load(tmp_path / "out" / "images.pt", weights_only=True)
    assert {name: type(value) for name, value in content.items()} == {
        **dict.fromkeys(("images", "labels", "mean", "std", "soft_labels"), torch.Tensor),
        "class_names": list,
    }
    assert torch.equal(content["images"], exact.pixels())
    assert torch.equal(content["labels"], exact.labels)
    assert torch.equal(content["soft_labels"], exact.targets)
    assert content["class_names"] == NAMES
    assert torch.equal(content["mean"], torch.tensor(exact.mean))
    assert torch.equal(content["std"], torch.tensor(exact.std))


def test_tensors_of_real_images_are_in_pixel_scale(tmp_path: Path) -> None:
    export(make_set(), tmp_path / "out", format="torch")
    images = torch.load(tmp_path / "out" / "images.pt", weights_only=True)["images"]
    assert torch.equal(images, make_set().images.float() / 255)


def test_a_tar_file_holds_samples_with_exact_arrays(tmp_path: Path) -> None:
    exact = four_in_one().decoded()
    export(four_in_one(), tmp_path / "out", format="webdataset")
    assert json.loads((tmp_path / "out" / "classes.json").read_text()) == NAMES
    with tarfile.open(tmp_path / "out" / "train-000000.tar") as shard:
        files = {each.name: shard.extractfile(each) for each in shard}
        content = {name: file.read() for name, file in files.items() if file}
    assert list(content)[:5] == ["000000.png", "000000.cls", "000000.npy", "000000.json", "000001.png"]
    for index, label in enumerate(exact.labels.tolist()):
        assert int(content[f"{index:06d}.cls"]) == label
        array = np.load(io.BytesIO(content[f"{index:06d}.npy"]), allow_pickle=False)
        assert np.array_equal(array, exact.pixels()[index].numpy())
        facts = json.loads(content[f"{index:06d}.json"])
        assert facts == {"class_name": NAMES[label], "soft_label": exact.targets[index].tolist()}


def test_datasets_loads_a_tar_file(tmp_path: Path) -> None:
    exact = four_in_one().decoded()
    export(four_in_one(), tmp_path / "out", format="webdataset")
    files = {"train": str(tmp_path / "out" / "train-000000.tar")}
    rows = load_with_datasets(tmp_path, "webdataset", data_files=files, split="train")
    assert rows["cls"][:] == exact.labels.tolist()
    assert torch.equal(rows.with_format("torch")["npy"][:], exact.pixels())
    assert np.array_equal(np.asarray(rows[3]["png"]), rounded(exact)[3].permute(1, 2, 0).numpy())
    assert rows[3]["json"]["class_name"] == NAMES[exact.labels[3]]


def test_a_whitened_set_is_exported_in_pixel_scale(tmp_path: Path) -> None:
    train = make_set(shape=(3, 4, 4))
    images: ImageSet = unwhitened(whitened(train, train), train)
    export(images, tmp_path / "out", format="torch")
    read = torch.load(tmp_path / "out" / "images.pt", weights_only=True)
    torch.testing.assert_close(read["images"], train.pixels(), atol=1e-4, rtol=0)
    assert replace(train, images=read["images"]).class_names == tuple(read["class_names"])
