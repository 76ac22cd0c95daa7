"""Data sets that are read row by row: shards of WebDataset, and streams of the Hub."""

import io
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from huggingface_hub import HfApi
from numpy.typing import NDArray

from datacondense import tensor_files
from datacondense.data import hub, hub_streams, image_store
from datacondense.data.config import DataConfig
from datacondense.data.exports import export
from datacondense.data.sources import load
from datacondense.data.streams import StreamedRows
from datacondense.disk_images import DiskImages
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from tests.conftest import make_set
from tests.data.made_files import pictures, png, write_folder, write_parquet

COLOUR = pictures(18, colour=True)
LABELS = [i % 3 for i in range(18)]
ON_DISK = DataConfig(cache=True)


@pytest.fixture(autouse=True)
def _in_small_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches of our own, files of four images, made in this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.delenv("DATACONDENSE_DATA", raising=False)
    monkeypatch.setattr(image_store, "_MOST_ROWS", 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)


def write_shard(
    path: Path, images: Sequence[NDArray[np.uint8]], labels: Sequence[Any], kind: str = "cls"
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            for name, content in (("png", png(image)["bytes"]), (kind, str(label).encode())):
                member = tarfile.TarInfo(f"{index:05d}.{name}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))


def by_names(root: Path) -> Path:
    write_shard(root / "train-000000.tar", COLOUR[:7], LABELS[:7])
    write_shard(root / "train-000001.tar", COLOUR[7:], LABELS[7:])
    write_shard(root / "test-000000.tar", COLOUR[:6], LABELS[:6])
    return root


def by_folders(root: Path) -> Path:
    for name, part in (("train", slice(0, 18)), ("val", slice(0, 6))):
        write_shard(
            root / name / "0.tar", COLOUR[part], [f"class {label}" for label in LABELS[part]], "label.txt"
        )
    return root


def same(one: ImageSet | None, other: ImageSet | None) -> bool:
    assert one is not None
    assert other is not None
    assert isinstance(other.images, DiskImages)
    assert one.provenance == other.provenance
    return one.fingerprint == other.fingerprint and torch.equal(one.images, other.images)


@pytest.mark.parametrize(("make", "column"), [(by_names, None), (by_folders, "label.txt")])
def test_shards_are_read_into_memory_and_onto_the_disk(
    make: Callable[[Path], Path], column: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "shards")
    memory = load(source, DataConfig(label_column=column))
    assert torch.equal(memory.train.images[9], torch.from_numpy(COLOUR[9]).permute(2, 0, 1))
    assert memory.train.labels.tolist() == LABELS
    disk = load(source, DataConfig(label_column=column, cache=True))
    assert same(memory.train, disk.train)
    assert same(memory.test, disk.test)
    monkeypatch.setattr(image_store, "_build", None)
    assert same(memory.train, load(source, DataConfig(label_column=column, cache=True)).train)


def test_an_export_to_webdataset_is_read_again(tmp_path: Path) -> None:
    images = make_set()
    export(images, tmp_path / "export", format="webdataset")
    found = load(tmp_path / "export", DataConfig(label_column="cls")).train
    assert torch.equal(found.images, images.images)
    assert torch.equal(found.labels, images.labels)


def test_a_stopped_build_skips_the_rows_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, before = by_names(tmp_path / "shards"), tensor_files.write_tensors
    written: list[str] = []

    def write(path: Path, *content: Any) -> None:
        if len(written) == 2:
            written.append("stopped")
            raise KeyboardInterrupt
        before(path, *content)
        written.append(path.name)

    monkeypatch.setattr(image_store, "write_tensors", write)
    with pytest.raises(KeyboardInterrupt):
        load(source, ON_DISK)
    with monkeypatch.context() as patch:
        starts: list[int] = []
        batches = StreamedRows.batches

        def noted(rows: StreamedRows, size: int, start: int) -> Iterator[Callable[[], image_store.Batch]]:
            starts.append(start)
            return batches(rows, size, start)

        patch.setattr(StreamedRows, "batches", noted)
        disk = load(source, ON_DISK)
    assert starts == [0, 2, 0, 0]  # the first image of each split, and the rows
    assert same(load(source).train, disk.train)
    assert written[3:] == [f"00000{n}.safetensors" for n in (2, 3, 4, 0, 1)]


@pytest.mark.parametrize("config", [DataConfig(), ON_DISK], ids=["memory", "disk"])
def test_damaged_shards_are_refused(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = by_names(tmp_path / "shards")
    shard = source / "train-000001.tar"
    shard.write_bytes(shard.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"cannot be read as WebDataset's shards .*: write them again"):
        load(source, config)
    if not config.cache:
        return
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    with pytest.raises(InputError, match="cannot be read as WebDataset's shards"):
        load(source, config)


def test_an_archive_beside_class_folders_is_no_data_set(tmp_path: Path) -> None:
    write_folder(tmp_path / "f", {"cat": COLOUR[:3], "dog": COLOUR[3:6]})
    write_shard(tmp_path / "f" / "train.tar", COLOUR, LABELS)
    with pytest.warns(UserWarning, match="ignored"):
        assert len(load(tmp_path / "f").train) == 6


def test_shards_that_would_fill_the_memory_are_told_of_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = by_names(tmp_path / "shards")
    monkeypatch.setattr("datacondense.memory_limits.total_memory", lambda: 500)
    with pytest.raises(InputError, match="keep them on disk with --cache"):
        load(source)


class Hub:
    """A data set of the Hub at a revision, as `datasets` opens it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str = "owner/name") -> None:
        self.folder, self.name, self.revision, self.opened = folder, name, "a" * 40, 0
        self.load = datasets.load_dataset
        self.reachable = True
        monkeypatch.setattr(datasets, "load_dataset", self.answer)
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(HfApi, "dataset_info", self.info)
        monkeypatch.setattr(hub, "_is_reachable", lambda _: self.reachable)

    def info(self, hub_id: str, **_: Any) -> SimpleNamespace:
        if not self.reachable:
            raise OSError
        return SimpleNamespace(sha=self.revision)

    def answer(self, hub_id: str, config: Any, **options: Any) -> Any:
        assert (hub_id, config) == (self.name, None)
        assert options.pop("revision", self.revision) == self.revision
        self.opened += 1
        return self.load(str(self.folder), **options)


def test_the_hub_is_streamed_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split, part in (("train", slice(0, 18)), ("test", slice(0, 6))):
        write_parquet(tmp_path / "hub" / f"{split}.parquet", COLOUR[part], LABELS[part], names="abc")
    there = Hub(tmp_path / "hub", monkeypatch)
    disk = load("owner/name", ON_DISK)
    assert disk.train.class_names == ("a", "b", "c")
    assert not list((tmp_path / "datasets").rglob("*.arrow"))
    opened = there.opened
    assert load("owner/name", ON_DISK).train.fingerprint == disk.train.fingerprint
    assert there.opened == opened
    there.reachable = False
    assert load("owner/name", ON_DISK).train.fingerprint == disk.train.fingerprint
    there.reachable, there.revision = True, "b" * 40
    assert load("owner/name", ON_DISK).train.fingerprint == disk.train.fingerprint
    assert there.opened > opened
    assert same(load("owner/name").train, disk.train)


@pytest.mark.parametrize("cache", [False, True])
def test_imagenette_is_read_from_the_branch_of_parquet_files(
    cache: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library reads a folder as it reads that branch, in which there are no configurations."""
    for size in ("160px", "320px"):
        for split, part in (("train", slice(0, 18)), ("validation", slice(0, 6))):
            path = tmp_path / "hub" / size / split / "0000.parquet"
            write_parquet(path, COLOUR[part], LABELS[part], names="abc")
    there = Hub(tmp_path / "hub", monkeypatch, name="frgfm/imagenette")
    there.revision = "refs/convert/parquet"
    data = load("imagenette", DataConfig(cache=cache))
    assert data.test is not None
    assert (len(data.train), len(data.test), data.train.std) == (18, 6, (0.229, 0.224, 0.225))
    assert data.train.provenance["source"]["config"] == "160px"


def test_the_hub_is_downloaded_where_rows_name_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "hub" / "train", {"cat": COLOUR[:3], "dog": COLOUR[3:6]})
    Hub(tmp_path / "hub", monkeypatch)
    monkeypatch.setattr(hub, "_cache_folders", lambda: [tmp_path])
    assert isinstance(load("owner/name", ON_DISK).train.images, DiskImages)


def test_a_stream_that_nobody_knows_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Hub(tmp_path / "hub", monkeypatch).reachable = False
    assert hub_streams.read_streamed("owner/name", ON_DISK) is None
    with pytest.raises(InputError, match="the Hub cannot be reached"):
        load("owner/name", ON_DISK)


def test_lists_of_numbers_are_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hub").mkdir()
    table = datasets.Dataset.from_dict({"image": [image.tolist() for image in COLOUR], "label": LABELS})
    table.to_parquet(str(tmp_path / "hub" / "train.parquet"))
    Hub(tmp_path / "hub", monkeypatch)
    train = load("owner/name", ON_DISK).train
    assert isinstance(train.images, DiskImages)
    assert torch.equal(train.images[9], torch.from_numpy(COLOUR[9]).permute(2, 0, 1))
    assert train.labels.tolist() == LABELS
