"""Readers of the images that lie decoded in the cache, and of shards of WebDataset."""

import io
import json
import os
import shutil
import tarfile
from functools import partial
from pathlib import Path
from random import Random

import torch

from datacondense.data import image_store, stored_files
from datacondense.data.sources import load
from tests.fuzz.oracle import Sandbox, WrongError
from tests.fuzz.picture_readers import encoded
from tests.fuzz.reader import TRAIN, Attempt, Call, Reader, changed_tensors
from tests.fuzz.strange import changed_bytes, changed_json, to_json

_STORE = "store.json"


def _stores(home: Path) -> Attempt:
    """Make the reader of stores, of which one file is changed: it gives the pixels that were stored, or a sentence."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(home)
    rows, image_store._MOST_ROWS = image_store._MOST_ROWS, 3
    try:
        store = image_store.stored_tensor(TRAIN.images).stored.known.parent
    finally:
        image_store._MOST_ROWS = rows
        os.environ.pop("XDG_CACHE_HOME")
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before
    files = sorted(path for path in store.iterdir() if path.is_file())

    def attempt(rng: Random, _: Sandbox) -> Call:
        folder, changed = Path("store"), rng.choice(files)
        shutil.copytree(store, folder)
        path, data = folder / changed.name, changed.read_bytes()
        what = rng.random()
        if what < 0.05:
            path.unlink()
        elif changed.name == _STORE and what < 0.7:
            found = changed_json(rng, json.loads(data))
            if isinstance(found, dict) and rng.random() < 0.7:
                rest = {name: found.get(name) for name in ("size", "rows", "files")}
                found["checksum"] = stored_files.checksum(rest)
                path.write_bytes(to_json(found).encode("utf-8", "surrogatepass"))
                return partial(_opened, folder)  # who knows the checksum can have other pixels read
            path.write_bytes(to_json(found).encode("utf-8", "surrogatepass"))
        else:
            path.write_bytes(
                changed_tensors(rng, [data]) if changed.name != _STORE else changed_bytes(rng, data)
            )
        return partial(_read_store, folder)

    return attempt


def _opened(folder: Path) -> torch.Tensor:
    """Open a store and read all of it."""
    return stored_files.opened(folder)[:]


def _read_store(folder: Path) -> None:
    """Read all of a store, which must be what was stored."""
    if not torch.equal(_opened(folder), TRAIN.images):
        raise WrongError("other pixels", "a damaged store was read")


def _shards(_: Path) -> Attempt:
    """Make the reader of tar files: their bytes, their members' names, and what lies in these."""
    picture = encoded("RGB")

    def attempt(rng: Random, sandbox: Sandbox) -> Call:
        buffer = io.BytesIO()
        names = ["a.png", "a.cls", "b.png", "b.cls"]
        if rng.random() < 0.5:
            outside = (
                "../out.png",
                str(sandbox.root / "x.cls"),
                "a.pth",
                "b.npy",
                "b.json",
                "a",
                ".cls",
                "c.png",
            )
            names[rng.randrange(4)] = rng.choice(outside)
        with tarfile.open(fileobj=buffer, mode="w") as shard:
            for number, name in enumerate(names):
                member = tarfile.TarInfo(name)
                content = picture if number % 2 == 0 else str(number // 2).encode()
                content = changed_bytes(rng, content) if rng.random() < 0.2 else content
                if rng.random() < 0.05:
                    member.type, member.linkname = (
                        rng.choice((tarfile.SYMTYPE, tarfile.LNKTYPE)),
                        "/etc/passwd",
                    )
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
        data = buffer.getvalue()
        Path("shards").mkdir()
        Path("shards", "train-0.tar").write_bytes(data if rng.random() < 0.6 else changed_bytes(rng, data))
        return _read_shards

    return attempt


def _read_shards() -> None:
    """Read shards with the library's locks in the folder of the input."""
    import datasets

    before, datasets.config.HF_DATASETS_CACHE = datasets.config.HF_DATASETS_CACHE, Path("locks").absolute()
    try:
        load("shards")
    finally:
        datasets.config.HF_DATASETS_CACHE = before


READERS = (Reader("image-store", 20, _stores), Reader("shards", 2, _shards))
