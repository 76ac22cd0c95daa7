"""The data set of a study: recognised by its content, found from any folder, and partly held out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datacondense.data import data_source as sources
from datacondense.data.config import DataConfig
from datacondense.data.data_source import DataSource, identified
from datacondense.data.sources import load
from datacondense.data.validation import hold_out
from datacondense.errors import InputError
from tests.data.made_files import pictures, write_parquet

LABELS = [0, 0, 0, 0, 1, 1, 1, 1]


def write(path: Path, seed: int = 0, *, test: bool = True) -> Path:
    images = np.stack(pictures(16, colour=False, seed=seed))
    held = {"x_test": images[8:], "y_test": np.array(LABELS)} if test else {}
    np.savez(path, x_train=images[:8], y_train=np.array(LABELS), **held)  # type: ignore[arg-type]
    return path


@pytest.fixture(autouse=True)
def _unread() -> None:
    sources._read.cache_clear()


def test_content_depends_on_the_images_not_on_their_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = identified(DataSource(name=str(write(tmp_path / "a.npz"))))
    splits = first.read()
    assert splits.test is not None
    assert first.content == {
        "train": splits.train.fingerprint,
        "test": splits.test.fingerprint,
        "mean": list(splits.train.mean),
        "std": list(splits.train.std),
    }
    write(tmp_path / "b.npz")
    monkeypatch.chdir(tmp_path)
    second = identified(DataSource(name="./b.npz"))
    assert second.name == str(tmp_path / "b.npz")
    assert second.content == first.content
    assert identified(DataSource(name=str(write(tmp_path / "c.npz", seed=1)))).content != first.content

    monkeypatch.chdir("/")  # as a worker may be
    assert second.read() is second.read()
    assert second.read().train.fingerprint == first.content["train"]


def test_a_known_name_stays_even_beside_a_folder_called_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    source = identified(DataSource(name="digits"))
    assert source.name == "digits"
    assert source.content["train"] == load("digits").train.fingerprint


@pytest.mark.parametrize("by_variable", [True, False])
def test_the_mirror_is_kept_for_workers_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_variable: bool
) -> None:
    for split in ("train", "test"):
        path = tmp_path / "mirror/ylecun/mnist/mnist" / f"{split}-00000-of-00001.parquet"
        write_parquet(path, pictures(20, colour=False), list(range(10)) * 2)
    monkeypatch.chdir(tmp_path)
    if by_variable:
        monkeypatch.setenv("DATACONDENSE_DATA", "mirror")
    else:
        monkeypatch.delenv("DATACONDENSE_DATA", raising=False)
    source = identified(
        DataSource(name="mnist", config=DataConfig(data_root=None if by_variable else Path("mirror")))
    )
    assert source.config.data_root == tmp_path / "mirror"
    assert source.content["mean"] == [0.1307]

    monkeypatch.delenv("DATACONDENSE_DATA", raising=False)
    monkeypatch.chdir("/")
    sources._read.cache_clear()
    assert len(source.read().train) == 20


def test_images_that_changed_since_the_start_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz")
    source = identified(DataSource(name=str(path)))
    write(path, seed=1)
    sources._read.cache_clear()  # another process
    with pytest.raises(
        InputError,
        match=rf"a\.npz has changed since the study began \(it was .*{source.content['train']}.*"
        "restore the old images, or start the study again",
    ):
        source.read()


def test_held_out_images_replace_the_test_images(tmp_path: Path) -> None:
    full = DataSource(name=str(write(tmp_path / "a.npz", test=False)))
    with pytest.raises(
        InputError, match=r"a\.npz has no test images: add a test split.* --validation-fraction"
    ):
        identified(full)
    source = identified(DataSource(name=full.name, validation_fraction=0.25))
    splits = source.read()
    rest, held_out = hold_out(load(full.name).train, 0.25, 0)
    assert splits.test is not None
    assert (splits.train.fingerprint, splits.test.fingerprint) == (rest.fingerprint, held_out.fingerprint)
    assert (splits.train.class_sizes, splits.test.class_sizes) == ((3, 3), (1, 1))
    # Where there are test images too, they are not looked at.
    write(tmp_path / "a.npz")
    sources._read.cache_clear()
    assert identified(DataSource(name=full.name, validation_fraction=0.25)).content == source.content
    with pytest.raises(InputError, match=r"fraction to hold out is -0\.1, but must be between 0 and 1"):
        identified(DataSource(name=full.name, validation_fraction=-0.1))


def test_only_the_first_images_are_read_for_a_trial(tmp_path: Path) -> None:
    full = identified(DataSource(name=str(write(tmp_path / "a.npz"))))
    few = identified(replace(full, num_images=3, content={})).read()
    assert few.test is not None
    assert torch.equal(few.train.images, full.read().train.images[:3])
    assert len(few.test) == 3
    assert len(replace(full, num_images=99, content={}).read().train) == 8


def test_test_images_may_be_missing_if_none_are_needed(tmp_path: Path) -> None:
    source = identified(DataSource(name=str(write(tmp_path / "a.npz", test=False))), needs_test=False)
    assert source.read().test is None
    assert source.content["test"] is None
    assert source.content["train"] == source.read().train.fingerprint


def test_test_images_of_no_use_stop_only_what_needs_them(tmp_path: Path) -> None:
    images = np.stack(pictures(8, colour=False))
    np.savez(tmp_path / "a.npz", x_train=images, y_train=LABELS, x_test=images, y_test=np.full(8, -1))
    full = DataSource(name=str(tmp_path / "a.npz"))

    source = identified(full, needs_test=False)

    assert source.content["test"] is None
    assert (len(source.read().train), source.read().test) == (8, None)
    assert not replace(source, num_images=3, content={}).read().has_test
    for needing in (lambda: identified(full), lambda: full.read().test):
        with pytest.raises(InputError, match="The split 'test' has the label '-1'"):
            needing()


def test_classes_and_scale_are_read_of_every_part(tmp_path: Path) -> None:
    name = str(write(tmp_path / "a.npz"))
    scale = ((0.25,), (0.75,))
    source = DataSource(name=name, validation_fraction=0.25)
    every = source.read()
    second = replace(source, classes=("1",), normalisation=scale).read()
    assert every.test is not None
    assert second.test is not None
    for found, whole in ((second.train, every.train), (second.test, every.test)):
        assert torch.equal(found.images, whole.images[whole.labels == 1])
        assert set(found.labels.tolist()) == {0}
        assert (found.mean, found.std) == scale
    few = replace(source, classes=("1",), num_images=1).read()
    assert torch.equal(few.train.images, second.train.images[:1])


def test_classes_and_scale_are_part_of_the_content(tmp_path: Path) -> None:
    source = DataSource(name=str(write(tmp_path / "a.npz")))
    contents = [
        identified(replace(source, **changes)).content
        for changes in ({}, {"classes": ("1",)}, {"normalisation": ((0.25,), (0.75,))})
    ]
    assert contents[0]["train"] == contents[2]["train"] != contents[1]["train"]
    assert contents[0]["mean"] == contents[1]["mean"] != contents[2]["mean"] == [0.25]


def test_a_name_that_no_file_can_have_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"There is no data set 'aaa.*The known names are"):
        identified(DataSource(name="a" * 300))
