"""What every test shares: no network, no leftovers of the environment, tiny image sets."""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from datacondense.image_set import ImageSet
from datacondense.kernels.build import UnavailableError, library

# Set before `datasets` is imported anywhere: tests never reach for the Hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

# Set before triton is imported anywhere: without a GPU its kernels run in its interpreter.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# Tiny tensors gain nothing from a second thread, and lose much where other processes keep the cores busy.
torch.set_num_threads(1)

# Nobody pulls the plug on a test; what is flushed, and when, is watched where it is promised.
os.fsync = lambda fd: None


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a lambda by its argument; every other value as pytest does."""
    return argname if getattr(val, "__name__", "") == "<lambda>" else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Refuse sets of values, whose order differs between processes."""
    for mark in metafunc.definition.iter_markers("parametrize"):
        if any(isinstance(given, (set, frozenset)) for given in (*mark.args, *mark.kwargs.values())):
            raise pytest.UsageError(f"{metafunc.definition.nodeid} is parametrized by a set: sort it.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse ids that differ between processes, which share out tests by id."""
    unstable = [item.nodeid for item in items if re.search(r"0x[0-9a-f]{8}|<lambda>", item.nodeid)]
    if unstable:
        raise pytest.UsageError(f"{unstable[0]} has an address or a lambda in its id: give ids=.")


def has_kernels() -> bool:
    """Whether the C kernels can be built on this machine."""
    try:
        library()
    except UnavailableError:
        return False
    return True


def run_module(name: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a harness of these tests as a command, its results in a folder."""
    command = [sys.executable, "-m", name, "--results", str(folder / "results.jsonl"), *options]
    root = Path(__file__).parents[1]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


MakeSet = Callable[..., ImageSet]


def make_set(
    *,
    num_classes: int = 3,
    per_class: int = 12,
    shape: tuple[int, int, int] = (1, 8, 8),
    seed: int = 0,
) -> ImageSet:
    """Make images that differ between classes in brightness, so that something can be learned."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_classes).repeat_interleave(per_class)
    noise = torch.randint(0, 60, (len(labels), *shape), generator=generator)
    level = (labels * 180 // max(num_classes - 1, 1)).view(-1, 1, 1, 1)
    channels = shape[0]
    return ImageSet(
        images=(noise + level).to(torch.uint8),
        labels=labels,
        class_names=tuple(f"class {label}" for label in range(num_classes)),
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        provenance={"source": {"name": "made"}},
    )


@pytest.fixture
def tiny() -> ImageSet:
    """Three classes of twelve grey 8×8 images."""
    return make_set()


@pytest.fixture
def make() -> MakeSet:
    """The function that makes tiny image sets."""
    return make_set


def forbid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse a look at what lies in a folder, to the superuser too, as whom some run the tests."""
    before = os.stat

    def refuse(path: int | str | bytes | os.PathLike[str], **options: Any) -> os.stat_result:
        if isinstance(path, (str, os.PathLike)) and folder in Path(path).parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return before(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
