"""Exports of sets that hold several images in each stored one, and soft labels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datacondense.data.exports import ExportFormat, export, load_export
from datacondense.image_set import ImageSet
from tests.data.test_exports import FORMATS, learned, load_with_datasets, written


def four_in_one() -> ImageSet:
    """Seven stored images of four tiles, with soft labels."""
    soft = torch.rand(28, 3, generator=torch.Generator().manual_seed(1)).softmax(1)
    return replace(learned(), factor=2, soft_labels=soft)


@pytest.mark.parametrize("form", FORMATS)
def test_images_are_exported_as_networks_see_them(tmp_path: Path, form: ExportFormat) -> None:
    images = four_in_one()
    report = export(images, tmp_path / "out", format=form)
    assert report.num_images == 28
    read, original = load_export(tmp_path / "out")
    assert torch.equal(read.images, written(images.decoded(), form))
    assert torch.equal(original.images, images.decoded().images)
    for back in (read, original):
        assert (back.factor, back.labels.tolist()) == (1, images.decoded().labels.tolist())
        assert torch.equal(back.targets, images.targets)


@pytest.mark.parametrize("form", FORMATS)
def test_stored_images_are_exported_where_that_is_wanted(tmp_path: Path, form: ExportFormat) -> None:
    images = four_in_one()
    assert export(images, tmp_path / "out", format=form, stored=True).num_images == 7
    read, original = load_export(tmp_path / "out")
    assert torch.equal(read.images, written(images, form))
    assert (read.factor, original.factor) == (2, 2)
    assert original.fingerprint == images.fingerprint


def test_soft_labels_are_in_parquet_and_npz(tmp_path: Path) -> None:
    images = four_in_one()
    export(images, tmp_path / "parquet", format="parquet")
    rows = load_with_datasets(tmp_path, str(tmp_path / "parquet"), split="train")
    assert torch.equal(torch.tensor(rows["soft_label"][:]), images.targets)
    export(images, tmp_path / "npz", format="npz")
    with np.load(tmp_path / "npz" / "images.npz") as arrays:
        assert np.array_equal(arrays["soft_labels"], images.targets.numpy())
    export(images, tmp_path / "stored", format="npz", stored=True)
    with np.load(tmp_path / "stored" / "images.npz") as arrays:
        assert "soft_labels" not in arrays
