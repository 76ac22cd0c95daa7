import copy
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from datacondense.data import image_store
from datacondense.data.image_store import stored_tensor
from datacondense.data.validation import hold_out
from datacondense.disk_images import DiskImages, Stored
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from tests.conftest import make_set


@pytest.fixture(autouse=True)
def _in_small_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(image_store, "_MOST_ROWS", 5)


@pytest.fixture
def pair(tiny: ImageSet) -> tuple[ImageSet, ImageSet]:
    """The same 36 images in memory, and on disk in files of 5."""
    return tiny, replace(tiny, images=stored_tensor(tiny.images))


def on_disk(images: ImageSet) -> DiskImages:
    assert isinstance(images.images, DiskImages)
    return images.images


WANTED = {
    "some": torch.tensor([3, 35, 4, 5, 3, 0]),
    "all in order": torch.arange(36),
    "none": torch.tensor([], dtype=torch.int64),
    "mask": torch.arange(36) % 3 == 0,
    "slice": slice(2, 17),
    "steps": slice(3, 30, 4),
    "last": -1,
    "first": 0,
    "pair": (torch.tensor([1, 2]), 0),
    "ellipsis": ...,
}


@pytest.mark.parametrize("wanted", WANTED.values(), ids=WANTED.keys())
def test_indexing_is_that_of_a_tensor(wanted: int | slice | Tensor, pair: tuple[ImageSet, ImageSet]) -> None:
    memory, disk = pair
    assert torch.equal(disk.images[wanted], memory.images[wanted])
    order = torch.randperm(36, generator=torch.Generator().manual_seed(0))
    assert torch.equal(on_disk(disk).subset(order)[wanted], memory.images[order][wanted])


def test_a_place_beyond_the_images_is_refused(pair: tuple[ImageSet, ImageSet]) -> None:
    _, disk = pair
    for wanted in (torch.tensor([36]), torch.tensor([-1])):
        with pytest.raises(IndexError, match="at places 0 to 35"):
            disk.images[wanted]
    with pytest.raises(IndexError):
        disk.torch_dataset()[36]


def test_only_what_is_indexed_is_read(
    pair: tuple[ImageSet, ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, disk = pair
    read: list[int] = []
    before = Stored.read

    def note(stored: Stored, positions: NDArray[np.int64], channels: int) -> NDArray[np.uint8]:
        read.extend(positions)
        return before(stored, positions, channels)

    monkeypatch.setattr(Stored, "read", note)
    rest, held = hold_out(disk, 0.25, 0)
    assert len(rest) + len(held) == 36
    assert rest.class_sizes == (9, 9, 9)
    assert not read
    held.normalised(torch.tensor([1]))
    assert len(read) == 1


def test_a_set_on_disk_gives_what_one_in_memory_gives(pair: tuple[ImageSet, ImageSet]) -> None:
    memory, disk = pair
    assert repr(disk) == repr(memory)
    assert disk.fingerprint == memory.fingerprint
    assert torch.equal(disk.pixels(), memory.pixels())
    assert torch.equal(disk.normalised(torch.tensor([7, 2])), memory.normalised(torch.tensor([7, 2])))
    for one, other in zip(hold_out(disk, 0.25, 0), hold_out(memory, 0.25, 0), strict=True):
        assert isinstance(one.images, DiskImages)
        assert one.fingerprint == other.fingerprint
        assert torch.equal(one.first(2).images, other.first(2).images)


@pytest.mark.parametrize("normalised", [True, False])
def test_a_torch_data_set_reads_images_as_they_are_needed(
    normalised: bool, pair: tuple[ImageSet, ImageSet]
) -> None:
    batches = [
        list(DataLoader(each.torch_dataset(normalised=normalised), batch_size=7))
        for each in (*pair, pair[1].subset(torch.arange(36)))
    ]
    for one, *others in zip(*batches, strict=True):
        assert all(torch.equal(one[part], other[part]) for other in others for part in (0, 1))
    assert torch.equal(pair[1].torch_dataset()[-1][0], pair[0].torch_dataset()[35][0])


def test_operations_on_all_images_read_all(pair: tuple[ImageSet, ImageSet]) -> None:
    memory, disk = pair
    assert torch.equal(disk.images.float() + 1, memory.images.float() + 1)
    assert torch.equal(torch.cat([disk.images, memory.images]), torch.cat([memory.images] * 2))
    assert disk.images.max() == memory.images.max()
    assert np.array_equal(disk.images.numpy(), memory.images.numpy())
    assert not isinstance(disk.images.clone(), DiskImages)


def test_operations_on_all_images_are_refused_where_they_do_not_fit(
    pair: tuple[ImageSet, ImageSet], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, disk = pair
    monkeypatch.setattr("datacondense.memory_limits.total_memory", lambda: 10_000)
    for do in (disk.pixels, disk.images.float, lambda: disk.save(tmp_path / "set.safetensors")):
        with pytest.raises(InputError, match=r"36 images of 8x8 pixels, all at once, take .* GB, but"):
            do()
    assert not list(tmp_path.glob("*.safetensors"))
    assert len(disk.fingerprint) == 16  # a part at a time


def test_images_on_disk_travel_to_other_devices_and_processes(pair: tuple[ImageSet, ImageSet]) -> None:
    memory, disk = pair
    assert disk.to("cpu") is disk
    elsewhere = on_disk(disk).to("meta")
    assert isinstance(elsewhere, DiskImages)
    assert elsewhere.device == torch.device("meta")
    assert elsewhere[torch.tensor([0])].device == torch.device("meta")
    for copied in (pickle.loads(pickle.dumps(disk)), copy.deepcopy(disk)):
        assert isinstance(copied.images, DiskImages)
        assert torch.equal(copied.images, memory.images)
    assert disk.images.to(torch.float32).dtype == torch.float32
    assert repr(disk.images).startswith("DiskImages(36×1×8×8 in ")


def test_a_set_on_disk_is_saved_as_one_in_memory(pair: tuple[ImageSet, ImageSet], tmp_path: Path) -> None:
    for name, images in zip(("memory", "disk"), pair, strict=True):
        images.save(tmp_path / name)
    assert (tmp_path / "disk").read_bytes() == (tmp_path / "memory").read_bytes()


def test_grey_images_become_colour_images_as_they_are_read() -> None:
    grey = stored_tensor(make_set().images)
    colour = grey.in_colour()
    assert colour.shape == (36, 3, 8, 8)
    assert torch.equal(colour[:4], grey[:4].expand(-1, 3, -1, -1))
    sums, squares = colour.sums() or ((), ())
    assert len(sums) == len(squares) == 3
    assert sums[2] == int(grey.long().sum())
    assert squares[0] == int(grey.long().square().sum())


def test_a_fingerprint_is_kept_and_computed_again_where_it_is_damaged(
    pair: tuple[ImageSet, ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, disk = pair
    disk.subset(torch.arange(3)).fingerprint  # noqa: B018
    disk.fingerprint  # noqa: B018
    known = sorted(on_disk(disk).stored.known.iterdir())
    assert len(known) == 2
    with monkeypatch.context() as patch:
        patch.setattr(Stored, "read", None)
        assert replace(disk).fingerprint == memory.fingerprint
    for path in known:
        path.write_bytes(b"\xff")
    assert replace(disk).fingerprint == memory.fingerprint
    assert replace(disk, labels=disk.labels.flip(0)).fingerprint != memory.fingerprint
    assert disk.subset(torch.arange(3, 6)).fingerprint == memory.subset(torch.arange(3, 6)).fingerprint


@pytest.mark.parametrize("cut", [None, 100])
def test_a_file_that_vanishes_or_shrinks_is_reported(
    cut: int | None, pair: tuple[ImageSet, ImageSet]
) -> None:
    _, disk = pair
    path = on_disk(disk).stored.shards[2].path
    content = path.read_bytes()
    path.unlink()
    if cut:
        path.write_bytes(content[:cut])
    with pytest.raises(InputError, match=r"000002\.safetensors cannot be read any more"):
        disk.pixels(torch.tensor([12]))
