"""Exports: what other programs read, what comes back, and what rounding changed."""

import errno
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image

from datacondense.data.exports import ExportFormat, ExportReport, export, is_export, load_export
from datacondense.data.sources import load
from datacondense.errors import InputError
from datacondense.image_set import ImageSet

FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)


def learned(channels: int = 3, class_names: tuple[str, ...] = ("cat", "dog", "cow")) -> ImageSet:
    """Seven images of 5×4 pixels, some of whose pixels lie outside 0 to 1, in mixed order."""
    generator = torch.Generator().manual_seed(0)
    return ImageSet(
        images=torch.randn(7, channels, 5, 4, generator=generator) * 0.4 + 0.5,
        labels=torch.tensor([2, 0, 1, 1, 0, 2, 0]),
        class_names=class_names,
        mean=tuple(0.1 * (channel + 1) for channel in range(channels)),
        std=tuple(0.2 * (channel + 1) for channel in range(channels)),
        provenance={"method": "gradient-matching"},
    )


def rounded(images: ImageSet) -> torch.Tensor:
    return (images.pixels().clamp(0, 1) * 255).round().to(torch.uint8)


def written(images: ImageSet, form: ExportFormat) -> torch.Tensor:
    """Return what a format holds: tensors are exact."""
    return images.pixels() if form == "torch" else rounded(images)


def content(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def load_with_datasets(tmp_path: Path, *args: Any, **settings: Any) -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.load_dataset(*args, **settings, cache_dir=str(tmp_path / "cache"))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_round_trip(tmp_path: Path, form: ExportFormat, channels: int) -> None:
    images = replace(learned(channels), dataset="mnist", may_be_mirrored=False, augmentation="crop")
    export(images, tmp_path / "out", format=form)
    read, original = load_export(tmp_path / "out")
    assert torch.equal(read.images, written(images, form))
    assert torch.equal(original.images, images.images)
    for back in (read, original):
        assert torch.equal(back.labels, images.labels)
        assert (back.class_names, back.mean, back.std) == (images.class_names, images.mean, images.std)
        assert back.provenance == images.provenance
        assert (back.dataset, back.may_be_mirrored, back.augmentation) == ("mnist", False, "crop")


@pytest.mark.parametrize("form", FORMATS)
def test_uint8_images_come_back_unchanged(tmp_path: Path, form: ExportFormat) -> None:
    images = replace(learned(), images=rounded(learned()))
    report = export(images, tmp_path / "out", format=form)
    read, original = load_export(tmp_path / "out")
    assert torch.equal(read.images, written(images, form))
    assert original.fingerprint == images.fingerprint
    assert (report.below, report.above, report.mean_change, report.max_change) == pytest.approx(
        (0, 0, 0, 0), abs=1e-7
    )


def test_report_by_hand(tmp_path: Path) -> None:
    pixels = torch.tensor([[-0.5, 0.0, 0.5, 1.0], [1.25, 0.25, 1.0, 0.2]]).view(2, 1, 2, 2)
    images = ImageSet(
        images=pixels, labels=torch.tensor([0, 1]), class_names=("a", "b"), mean=(0.5,), std=(0.5,)
    )
    report = export(images, tmp_path / "out", format="npz")
    # Rounding moves 0.5 to 128/255 and 0.25 to 64/255; clamping moves -0.5 by 0.5 and 1.25 by 0.25.
    moved = (0.5, 0.25, 128 / 255 - 0.5, 64 / 255 - 0.25)
    assert report.mean_change == pytest.approx(sum(moved) / 8, abs=1e-8)
    assert report == ExportReport(
        num_images=2,
        below=1 / 8,
        above=1 / 8,
        lowest=-0.5,
        highest=1.25,
        mean_change=report.mean_change,
        max_change=0.5,
        files=("images.npz", "original.safetensors"),
    )
    assert load_export(tmp_path / "out")[0].images.flatten().tolist() == [0, 0, 128, 255, 255, 64, 255, 51]


def test_files_are_listed_by_class_and_position(tmp_path: Path) -> None:
    report = export(learned(), tmp_path / "out", format="image-folder")
    assert report.files == tuple(sorted(content(tmp_path / "out")))
    assert report.files == (
        "classes.json",
        "original.safetensors",
        "train/cat/00001.png",
        "train/cat/00004.png",
        "train/cat/00006.png",
        "train/cow/00000.png",
        "train/cow/00005.png",
        "train/dog/00002.png",
        "train/dog/00003.png",
    )
    parquet = export(learned(), tmp_path / "parquet", format="parquet")
    assert parquet.files == ("original.safetensors", "train-00000-of-00001.parquet")


@pytest.mark.parametrize("form", FORMATS)
def test_same_set_gives_the_same_bytes(tmp_path: Path, form: ExportFormat) -> None:
    export(learned(), tmp_path / "a", format=form)
    export(learned(), tmp_path / "b", format=form)
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.parametrize("channels", [1, 3])
def test_datasets_reads_parquet_with_class_names(tmp_path: Path, channels: int) -> None:
    images = learned(channels, ("zebra", "a/b", "Größe"))
    export(images, tmp_path / "out", format="parquet")
    splits = load_with_datasets(tmp_path, str(tmp_path / "out"))
    assert list(splits) == ["train"]
    rows = splits["train"]
    assert rows.features["label"].names == ["zebra", "a/b", "Größe"]
    assert rows["label"] == images.labels.tolist()
    for row, expected in zip(rows, rounded(images), strict=True):
        pixels = np.asarray(row["image"])
        assert np.array_equal(pixels.reshape(5, 4, channels), expected.permute(1, 2, 0).numpy())


def test_datasets_reads_image_folders_with_class_names(tmp_path: Path) -> None:
    images = learned()
    export(images, tmp_path / "out", format="image-folder")
    rows = load_with_datasets(tmp_path, "imagefolder", data_dir=str(tmp_path / "out"))["train"]
    names = rows.features["label"].names
    assert sorted(names) == sorted(images.class_names)
    expected = rounded(images)
    for row in rows:
        position = int(Path(row["image"].filename).stem)
        assert names[row["label"]] == images.class_names[images.labels[position]]
        assert np.array_equal(np.asarray(row["image"]), expected[position].permute(1, 2, 0).numpy())
    assert len(rows) == len(images)


def test_class_called_like_a_split_stays_a_class(tmp_path: Path) -> None:
    images = learned(1, ("test", "train", "valid"))
    export(images, tmp_path / "out", format="image-folder")
    rows = load_with_datasets(tmp_path, "imagefolder", data_dir=str(tmp_path / "out"), split="train")
    assert rows.features["label"].names == ["test", "train", "valid"]
    assert len(rows) == len(images)


@pytest.mark.parametrize("form", ["image-folder", "parquet"])
def test_this_library_reads_its_exports_as_data_sets(tmp_path: Path, form: ExportFormat) -> None:
    export(learned(), tmp_path / "out", format=form)
    train = load(str(tmp_path / "out")).train
    assert sorted(train.class_names) == ["cat", "cow", "dog"]
    assert train.images.long().sum() == rounded(learned()).long().sum()


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_npz_holds_plain_arrays(tmp_path: Path, channels: int) -> None:
    images = learned(channels, ("cat", "Größe", "日本"))
    export(images, tmp_path / "out", format="npz")
    with np.load(tmp_path / "out" / "images.npz", allow_pickle=False) as arrays:
        assert arrays["images"].dtype == np.uint8
        assert np.array_equal(arrays["images"], rounded(images).permute(0, 2, 3, 1).numpy())
        assert arrays["labels"].tolist() == images.labels.tolist()
        assert arrays["class_names"].tolist() == ["cat", "Größe", "日本"]
        assert arrays["mean"].tolist() == list(images.mean)
        assert arrays["std"].tolist() == list(images.std)


@pytest.mark.parametrize("form", ["image-folder", "parquet", "hf", "webdataset"])
@pytest.mark.parametrize("channels", [2, 5])
def test_channels_that_png_lacks_are_refused(tmp_path: Path, form: ExportFormat, channels: int) -> None:
    message = f"Images have {channels} channels, but PNG holds 1, 3 or 4: export as npz or torch, which"
    with pytest.raises(InputError, match=message):
        export(learned(channels), tmp_path / "out", format=form)
    assert not list(tmp_path.iterdir())


def test_unknown_format_is_refused(tmp_path: Path) -> None:
    message = "Export format 'csv' is unknown: give one of image-folder, parquet, npz, hf, webdataset, torch"
    with pytest.raises(InputError, match=message):
        export(learned(), tmp_path / "out", format="csv")  # type: ignore[arg-type]


SAME_FOLDER = "Classes 'a/b' and 'a:b' would share the folder 'a_b': rename one, or export as parquet or npz"
SAME_NAME = "Several classes are called 'cat', but parquet needs every class name once"


@pytest.mark.parametrize(
    ("names", "form", "other", "message"),
    [
        (("a/b", "dog", "a:b"), "image-folder", "parquet", SAME_FOLDER),
        (("cat", "dog", "cat"), "parquet", "npz", SAME_NAME),
    ],
)
def test_class_names_that_a_format_cannot_tell_apart_are_refused(
    tmp_path: Path, names: tuple[str, ...], form: ExportFormat, other: ExportFormat, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        export(learned(1, names), tmp_path / "out", format=form)
    assert not list(tmp_path.iterdir())
    export(learned(1, names), tmp_path / "out", format=other)


def test_class_without_images(tmp_path: Path) -> None:
    images = learned(1, ("cat", "dog", "cow", "ewe"))
    for form in FORMATS:
        export(images, tmp_path / form, format=form)
        assert load_export(tmp_path / form)[0].class_names == ("cat", "dog", "cow", "ewe")


def test_full_folder_needs_force(tmp_path: Path) -> None:
    export(learned(), tmp_path / "out", format="npz")
    with pytest.raises(InputError, match="out is not empty: give a new folder, or --force"):
        export(learned(), tmp_path / "out", format="parquet")
    export(learned(), tmp_path / "out", format="parquet", force=True)
    assert sorted(content(tmp_path / "out")) == ["original.safetensors", "train-00000-of-00001.parquet"]


@pytest.mark.parametrize("form", FORMATS)
def test_full_disk_leaves_the_old_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: ExportFormat
) -> None:
    export(learned(), tmp_path / "out", format=form)
    before = content(tmp_path)

    def refuse(*args: object, **settings: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("PIL.Image.Image.save", refuse)
    monkeypatch.setattr("numpy.savez_compressed", refuse)
    monkeypatch.setattr("datacondense.data.export_formats.torch.save", refuse)
    other = replace(learned(), labels=torch.zeros(7, dtype=torch.int64))
    with pytest.raises(InputError, match=r"No space left on the disk while writing .*out"):
        export(other, tmp_path / "out", format=form, force=True)
    assert content(tmp_path) == before


def test_is_export(tmp_path: Path) -> None:
    export(learned(), tmp_path / "out", format="npz")
    assert is_export(tmp_path / "out")
    assert not is_export(tmp_path)
    assert not is_export(tmp_path / "missing")
    assert not is_export(tmp_path / "out" / "images.npz")


def test_folder_without_the_original_or_its_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"is not an export \(it has no original\.safetensors\): give a folder"
    ):
        load_export(tmp_path)
    learned().save(tmp_path / "original.safetensors")
    message = "holds 0 of train, train-00000-of-00001.parquet, images.npz, .*, but an export has one of them"
    with pytest.raises(InputError, match=message):
        load_export(tmp_path)


@pytest.mark.parametrize("form", FORMATS)
def test_broken_files_are_refused(tmp_path: Path, form: ExportFormat) -> None:
    report = export(learned(), tmp_path / "out", format=form)
    own = {"original.safetensors", "classes.json"}
    file = tmp_path / "out" / next(name for name in report.files if name not in own)
    full = file.read_bytes()
    for part in (b"", b"text", full[: len(full) // 2]):
        file.write_bytes(part)
        with pytest.raises(InputError, match=r"out cannot be read back \(.*\): export the set again"):
            load_export(tmp_path / "out")


@pytest.mark.parametrize("form", FORMATS)
def test_another_set_is_refused(tmp_path: Path, form: ExportFormat) -> None:
    images = learned()
    export(images, tmp_path / "out", format=form)
    others = [replace(images, images=images.images[:, :, :, :2])]
    if form != "image-folder":  # whose labels are the original's
        others.append(replace(images, labels=images.labels.flip(0)[[1, *range(6)]]))
    for other in others:
        other.save(tmp_path / "out" / "original.safetensors")
        message = r"holds other images or labels than original\.safetensors beside them"
        with pytest.raises(InputError, match=message):
            load_export(tmp_path / "out")


def test_edited_png_is_refused_or_read_and_a_missing_one_refused(tmp_path: Path) -> None:
    export(learned(1), tmp_path / "out", format="image-folder")
    file = tmp_path / "out" / "train" / "cat" / "00001.png"
    Image.new("L", (4, 5), 7).save(file)
    assert load_export(tmp_path / "out")[0].images[1].unique().tolist() == [7]
    Image.new("RGB", (4, 5)).save(file)
    with pytest.raises(InputError, match="out cannot be read back"):
        load_export(tmp_path / "out")
    file.unlink()
    with pytest.raises(InputError, match="out cannot be read back"):
        load_export(tmp_path / "out")


def test_nothing_is_left_outside_or_changed(tmp_path: Path) -> None:
    """In a fresh process with an empty home: no caches, no output, and the settings of `datasets` as they were."""
    learned().save(tmp_path / "set.safetensors")
    home = tmp_path / "home"
    home.mkdir()
    program = (
        "import sys; from pathlib import Path; import datasets; from datacondense import export, load_export\n"
        "from datacondense.image_set import ImageSet\n"
        "folder = Path(sys.argv[1])\n"
        "before = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()\n"
        "export(ImageSet.load(folder / 'set.safetensors'), folder / 'out', format='parquet')\n"
        "load_export(folder / 'out')\n"
        "assert before == (datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity())\n"
    )
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("form", ["image-folder", "parquet", "npz"])
def test_class_names_of_letters_that_do_not_exist_are_refused(tmp_path: Path, form: ExportFormat) -> None:
    images = learned()
    names = ("\ud800", *images.class_names[1:])
    with pytest.raises(InputError, match=r"The class name .*d800.* holds letters that do not exist"):
        export(replace(images, class_names=names), tmp_path / "out", format=form)


def test_an_npz_export_without_arrays_gets_a_sentence(tmp_path: Path) -> None:
    export(learned(), tmp_path / "out", format="npz")
    with zipfile.ZipFile(tmp_path / "out" / "images.npz", "w") as archive:
        archive.writestr("images", b"x")
        archive.writestr("labels", b"x")
    with pytest.raises(InputError, match=r"cannot be read back .*: export the set again"):
        load_export(tmp_path / "out")
