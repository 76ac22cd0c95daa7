import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets.exceptions import DatasetNotFoundError
from datasets.utils import are_progress_bars_disabled
from datasets.utils.logging import get_verbosity
from huggingface_hub import HfApi

from datacondense.data import hub
from datacondense.data.config import DataConfig
from datacondense.data.hub import is_hub_id, read_hub
from datacondense.data.sources import load
from datacondense.data.splits import ReadSplit
from datacondense.errors import InputError
from tests.data.made_files import pictures, write_folder, write_parquet

COLOUR = pictures(10, colour=True)
LABELS = list(range(10))
Answer = Callable[..., Any]
# The part of SVHN's page that names configurations and files.
SVHN_PAGE = """---
configs:
- config_name: cropped_digits
  data_files:
  - split: train
    path: cropped_digits/train-*
  - split: test
    path: cropped_digits/test-*
  - split: extra
    path: cropped_digits/extra-*
  default: true
---
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let `datasets` use an empty cache of its own."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.delenv("DATACONDENSE_DATA", raising=False)
    return tmp_path / "cache"


def answer(monkeypatch: pytest.MonkeyPatch, reply: Answer, *, reachable: bool = True) -> None:
    """Replace the Hub by a reply."""
    monkeypatch.setattr(hub, "_is_reachable", lambda hub_id: reachable)
    monkeypatch.setattr(datasets, "load_dataset", reply)


def refusal(error: Exception) -> Answer:
    def reply(*args: Any, **keywords: Any) -> None:
        raise error

    return reply


@pytest.mark.parametrize("name", ["owner/name", "a-b.c/d_e.f-1"])
def test_hub_ids(name: str) -> None:
    assert is_hub_id(name)


@pytest.mark.parametrize("name", ["name", "a/b/c", "/a", "a/", "../a", "a b/c"])
def test_what_is_no_hub_id(name: str) -> None:
    assert not is_hub_id(name)


def test_splits_of_the_hub_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = {
        name: str(write_parquet(tmp_path / f"{name}.parquet", COLOUR, LABELS)) for name in ("train", "test")
    }
    tables = datasets.DatasetDict({
        name: datasets.Dataset.from_parquet(file, cache_dir=str(tmp_path)) for name, file in files.items()
    })
    calls: list[Any] = []

    def reply(*args: Any, **keywords: Any) -> datasets.DatasetDict:
        calls.append((args, keywords, are_progress_bars_disabled()))
        return tables

    answer(monkeypatch, reply)

    train, test = read_hub("owner/name", DataConfig(config="small"))

    assert isinstance(test, ReadSplit)
    assert (train.images.shape, len(test.images)) == ((10, 3, 6, 6), 10)
    assert calls == [(("owner/name", "small"), {}, True)]


def test_svhn_is_downloaded_without_its_extra_split(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The library reads a folder of that name as it reads the Hub."""
    folder = tmp_path / "ufldl-stanford" / "svhn" / "cropped_digits"
    for name in ("train", "test", "extra"):
        write_parquet(folder / f"{name}-00000-of-00001.parquet", COLOUR, LABELS)
    (folder.parent / "README.md").write_text(SVHN_PAGE)
    monkeypatch.chdir(tmp_path)

    data = load("svhn")

    assert data.test is not None
    assert (data.train.image_shape, len(data.test)) == ((3, 6, 6), 10)
    assert data.train.provenance["source"]["hub_id"] == "ufldl-stanford/svhn"
    assert data.train.std == (0.1980, 0.2010, 0.1970)
    prepared = {file.name.split("-")[1].split(".")[0] for file in cache.rglob("*.arrow")}
    assert prepared == {"train", "test"}


def test_only_files_in_the_cache_are_read(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A table of the Hub may name the images that the library downloaded, and no other files."""
    write_folder(cache / "downloads", {"extracted": COLOUR[:2]})
    write_folder(tmp_path, {"private": COLOUR[:2]})

    def table(folder: Path) -> datasets.DatasetDict:
        images = [{"bytes": None, "path": str(folder / f"{index}.png")} for index in range(2)]
        file = write_parquet(tmp_path / f"{folder.name}.parquet", images, [0, 1])
        return datasets.DatasetDict(
            train=datasets.Dataset.from_parquet(str(file), cache_dir=str(tmp_path / "c"))
        )

    tables = {"a/inside": table(cache / "downloads" / "extracted"), "a/outside": table(tmp_path / "private")}
    answer(monkeypatch, lambda hub_id, config: tables[hub_id])

    assert read_hub("a/inside", DataConfig())[0].images.shape == (2, 3, 6, 6)
    with pytest.raises(InputError, match=r"names the file '.*private/0\.png' instead of holding the image"):
        read_hub("a/outside", DataConfig())


def test_what_the_hub_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, refusal(DatasetNotFoundError("Dataset 'a/b' doesn't exist")))
    with pytest.raises(InputError, match=r"The Hugging Face Hub has no data set 'a/b' .*hf auth login"):
        read_hub("a/b", DataConfig())


def test_other_failures_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, refusal(ValueError("Config name is missing.\nPlease pick one among: ['x', 'y']")))
    with pytest.raises(
        InputError, match=r"a/b cannot be loaded .*\(Config name is missing. Please pick.*--config"
    ):
        read_hub("a/b", DataConfig())


def test_global_settings_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, refusal(ValueError("broken")), reachable=False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    before = (are_progress_bars_disabled(), get_verbosity(), datasets.config.HF_HUB_OFFLINE)

    with pytest.raises(InputError):
        read_hub("a/b", DataConfig())

    assert (are_progress_bars_disabled(), get_verbosity(), datasets.config.HF_HUB_OFFLINE) == before


def test_hub_is_contacted_once_with_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []

    def silent(self: HfApi, hub_id: str, timeout: float) -> None:
        calls.append(timeout)
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "dataset_info", silent)

    assert not hub._is_reachable("a/b")
    assert calls == [hub.REACH_SECONDS]


def test_without_network_a_known_name_fails_in_seconds(tmp_path: Path) -> None:
    """In a process of its own, with the library's own retries in force and a Hub that refuses connections."""
    environment = {key: value for key, value in os.environ.items() if "OFFLINE" not in key}
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    environment.pop("DATACONDENSE_DATA", None)
    code = "from datacondense import load\nload('svhn')"

    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )

    assert "InputError: ufldl-stanford/svhn is neither on a local mirror" in done.stderr
    assert "the Hub cannot be reached: connect to the internet once" in done.stderr
    assert "Retrying" not in done.stderr
    assert time.monotonic() - start < 15
