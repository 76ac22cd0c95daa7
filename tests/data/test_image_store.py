import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch

from datacondense.cache import cache_folder
from datacondense.data import decode, image_store, stored_files
from datacondense.data.config import DataConfig
from datacondense.data.sources import load
from datacondense.disk_images import DiskImages
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.locking import is_locked
from datacondense.tasks.workers import processes
from tests.data.made_files import pictures, png, write_folder, write_parquet

COLOUR, GREY = pictures(20, colour=True), pictures(6, colour=False, seed=1)
LABELS = [i % 3 for i in range(20)]
ON_DISK = DataConfig(cache=True)


@pytest.fixture(autouse=True)
def _in_small_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of five images, made in this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(image_store, "_MOST_ROWS", 5)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)


def folder(root: Path) -> Path:
    """A folder whose training images have colour from the tenth on; its test images have none."""
    write_folder(root / "train", {"cat": [*GREY, *COLOUR[:4]], "dog": COLOUR[4:]})
    return write_folder(root / "test", {"cat": GREY[:2], "dog": GREY[2:]}).parent


def tables(root: Path) -> Path:
    write_parquet(root / "train-0.parquet", COLOUR[:7], LABELS[:7], names="abc")
    write_parquet(root / "train-1.parquet", [*COLOUR[7:], *GREY], [*LABELS[7:], *LABELS[:6]], names="abc")
    return write_parquet(root / "test.parquet", GREY, LABELS[:6], names="abc").parent


def untyped(root: Path) -> Path:
    return write_parquet(root / "train.parquet", COLOUR, list(map(str, LABELS)), typed=False, names=None)


def arrays(root: Path) -> Path:
    root.mkdir()
    np.savez(root / "a.npz", x_train=np.stack(COLOUR), y_train=LABELS, x_test=COLOUR[:3], y_test=LABELS[:3])
    return root / "a.npz"


def memory(_: Path) -> datasets.Dataset:
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list("abc"))}
    values = {"image": [png(image) for image in COLOUR], "label": LABELS}
    return datasets.Dataset.from_dict(values, features=datasets.Features(kinds))


def saved(root: Path) -> Path:
    datasets.disable_progress_bars()
    memory(root).save_to_disk(str(root))
    return root


def lists(root: Path) -> Path:
    root.mkdir()
    table = datasets.Dataset.from_dict({"image": [image.tolist() for image in COLOUR], "label": LABELS})
    table.to_parquet(str(root / "train.parquet"))
    return root


SOURCES: list[tuple[Callable[[Path], Any], dict[str, Any]]] = [
    *((make, {}) for make in (folder, tables, untyped, arrays, memory, saved, lists, lambda _: "digits")),
    (folder, {"resize": 4}),
    (tables, {"channels": 1}),
]


def same(one: ImageSet | None, other: ImageSet | None) -> bool:
    """Whether a set on disk is the one in memory."""
    if one is None or other is None:
        return one is other
    assert isinstance(other.images, DiskImages)
    assert (one.mean, one.std, one.class_names) == (other.mean, other.std, other.class_names)
    assert one.provenance == other.provenance
    assert torch.equal(one.labels, other.labels)
    return one.fingerprint == other.fingerprint and torch.equal(one.images, other.images)


@pytest.mark.parametrize(("make", "form"), SOURCES)
def test_images_on_disk_are_those_in_memory(
    make: Callable[[Path], Any], form: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "data")
    if source == "digits":
        monkeypatch.setattr(image_store, "_MOST_ROWS", 1000)
    memory, disk = load(source, DataConfig(**form)), load(source, DataConfig(cache=True, **form))
    assert same(memory.train, disk.train)
    assert same(memory.test, disk.test)
    monkeypatch.setattr(image_store, "_build", None)
    assert same(memory.train, load(source, DataConfig(cache=True, **form)).train)  # as they were left


def test_images_are_decoded_in_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    source = write_folder(tmp_path / "train", {"cat": [*GREY, *COLOUR[:4]], "dog": COLOUR[4:]}).parent
    with processes(1, 1) as study:
        worker = study.submit(os.getpid).result()
        assert same(load(source).train, load(source, ON_DISK).train)
        assert study.submit(os.getpid).result() == worker  # which nobody took away


def files() -> dict[str, bytes]:
    """The files of all stores, those that say when they were written without it."""
    found = {}
    for path in sorted(cache_folder().rglob("*")):
        if path.is_file() and path.name != "store.json":
            found[path.relative_to(cache_folder()).as_posix()] = path.read_bytes()
    return found


@contextmanager
def decoding(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Note the names of the images that are decoded."""
    decoded: list[str] = []
    before = decode.decode_images

    def note(sources: Any, names: Any, **form: Any) -> Any:
        decoded.extend(names)
        return before(sources, names, **form)

    with monkeypatch.context() as patch:
        patch.setattr(image_store, "decode_images", note)
        yield decoded


KILLED = """
import os, signal, sys
from contextlib import contextmanager
os.sched_getaffinity = lambda _: {0}
from datacondense import DataConfig, load
from datacondense.data import decode, image_store, stored_files
image_store._MOST_ROWS = 5
@contextmanager
def observer(total):
    yield lambda done, rate: done == 15 and os.kill(os.getpid(), signal.SIGKILL)
image_store.OBSERVER.set(observer)
load(sys.argv[1], DataConfig(cache=True))
"""


def test_a_killed_build_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(tmp_path / "data")
    load(source, ON_DISK)
    unbroken = files()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "killed"))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(source)], check=False, stderr=subprocess.PIPE)
    assert killed.returncode < 0, killed.stderr
    (store,) = (path for path in (cache_folder() / "images").iterdir() if path.is_dir())
    assert sorted(path.name for path in store.iterdir()) == [f"00000{n}.safetensors" for n in range(3)]
    (store / f".000003.safetensors.{2**22}.datacondense-part").write_bytes(b"torn")  # of no living process
    (store / "000001.safetensors").unlink()  # other processes were faster than the one that had it
    with decoding(monkeypatch) as decoded:
        load(source, ON_DISK)
    assert len(decoded) == 26 - 10 + 6
    assert files() == unbroken


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "")], ids=repr)
def test_ctrl_c_and_a_full_disk_keep_what_is_decoded(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, before, written = folder(tmp_path / "data"), Path.write_bytes, list[Path]()

    def write(path: Path, content: bytes) -> int:
        if len(written) == 3:
            raise error
        written.append(path)
        return before(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write)
        with pytest.raises((KeyboardInterrupt, InputError), match=r"No space left on the disk|^$"):
            load(source, ON_DISK)
    with decoding(monkeypatch) as decoded:
        disk = load(source, ON_DISK)
    assert len(decoded) == 26 - 15 + 6
    assert same(load(source).train, disk.train)


def test_a_disk_without_room_is_refused_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2**26 + 1000))
    with pytest.raises(InputError, match=r"decoded images take 0.0 GB, but the disk of .* has 0.1 GB left"):
        load(arrays(tmp_path / "data"), ON_DISK)
    with pytest.raises(InputError, match="XDG_CACHE_HOME"):
        load(folder(tmp_path / "folder"), DataConfig(cache=True, channels=3))


def test_another_process_waits_until_images_are_decoded(tmp_path: Path) -> None:
    held: list[bool] = []

    @contextmanager
    def observer(total: int | None) -> Iterator[image_store.Report]:
        (lock,) = (cache_folder() / "images").glob("*.lock")
        held.append(is_locked(lock))
        yield lambda done, rate: held.append(done <= (total or 0))

    token = image_store.OBSERVER.set(observer)
    load(untyped(tmp_path / "data"), ON_DISK)
    image_store.OBSERVER.reset(token)
    assert held == [True] * 5


def store_of(images: ImageSet) -> Path:
    assert isinstance(images.images, DiskImages)
    return images.images.stored.shards[0].path.parent


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def edited(path: Path) -> None:
    found = json.loads(path.read_text())
    found["files"][0]["sums"][0] += 1
    path.write_text(json.dumps(found))


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a flipped bit": ("000001.safetensors", flip, "000001.safetensors is damaged"),
    "cut": ("000001.safetensors", lambda path: path.write_bytes(b"abc"), "000001.safetensors is damaged"),
    "missing": ("000001.safetensors", Path.unlink, "000001.safetensors is missing"),
    "of others": (
        "000001.safetensors",
        lambda path: path.write_bytes(path.with_stem("000000").read_bytes()),
        "000001.safetensors is damaged",
    ),
    "edited": ("store.json", edited, "it no longer has its checksum"),
    "empty": ("store.json", lambda path: path.write_text(""), "cannot be read as a store of images"),
    "no object": ("store.json", lambda path: path.write_text("[]"), "Expected `object`"),
}


@pytest.mark.parametrize(("name", "do", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_store_is_refused_with_the_remedy(
    name: str, do: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    source = untyped(tmp_path / "data")
    store = store_of(load(source, ON_DISK).train)
    do(store / name)
    with pytest.raises(
        InputError, match=f"{reason}.*remove the folder {store}, and its images are decoded again"
    ):
        load(source, ON_DISK)


def test_files_that_were_touched_are_compared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = untyped(tmp_path / "data")
    images = load(source, ON_DISK).train
    for path in store_of(images).glob("*.safetensors"):
        os.utime(path, (0, 0))
    assert load(source, ON_DISK).train.fingerprint == images.fingerprint
    monkeypatch.setattr(stored_files, "read_tensors", None)
    load(source, ON_DISK)


def test_other_images_are_another_store(tmp_path: Path) -> None:
    source = folder(tmp_path / "data")
    before = load(source, ON_DISK).train
    write_folder(source / "train", {"cat": [COLOUR[9]]})
    os.utime(source / "train" / "cat" / "0.png", (1, 1))
    after = load(source, ON_DISK).train
    assert store_of(after) != store_of(before)
    assert same(load(source).train, after)


def broken(root: Path) -> Path:
    source = folder(root)
    (source / "train" / "dog" / "7.png").write_bytes(b"no image")
    return source


def of_another_size(root: Path) -> Path:
    source = folder(root)
    write_folder(source / "train", {"dog": pictures(8, colour=False, size=9)})
    return source


def without_an_image(root: Path) -> Path:
    return write_parquet(root / "train.parquet", [*COLOUR[:8], None], LABELS[:9], names="abc")


def black(root: Path) -> Path:
    images = [np.full((6, 6), 200, dtype=np.uint16)] * 12
    return write_folder(root, {"cat": images[:6], "dog": images[6:]})  # type: ignore[dict-item]


def empty(root: Path) -> Path:
    return write_parquet(root / "train.parquet", [], [], names="abc")


@pytest.mark.parametrize("make", [broken, of_another_size, without_an_image, black, empty])
def test_wrong_images_are_refused_as_in_memory(make: Callable[[Path], Path], tmp_path: Path) -> None:
    source, said = make(tmp_path / "data"), []
    for config in (DataConfig(), ON_DISK):
        with pytest.raises(InputError) as caught:
            load(source, config)
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_pixels_that_are_no_whole_numbers_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=np.zeros((4, 8, 8), dtype=np.float32), y_train=[0, 0, 1, 1])
    with pytest.raises(InputError, match=r"Pixels are float32, but the cache holds whole numbers.*--cache"):
        load(tmp_path / "a.npz", ON_DISK)


def test_too_many_images_for_the_memory_are_told_of_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder(tmp_path / "data")
    monkeypatch.setattr("datacondense.memory_limits.total_memory", lambda: 500)
    with pytest.raises(InputError, match="or keep them on disk with --cache"):
        load(source)


def test_a_cache_that_cannot_be_made_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = arrays(tmp_path / "data")
    monkeypatch.setenv("XDG_CACHE_HOME", str(source))
    with pytest.raises(InputError, match=r"images cannot be written \(Not a directory\)"):
        load(source, ON_DISK)


def test_a_clock_may_stand_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store, "time", SimpleNamespace(monotonic=lambda: 0.0))
    assert len(load(untyped(tmp_path / "data"), ON_DISK).train) == 20
