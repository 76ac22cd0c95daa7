"""Sets by the name of what makes them, functions of one's own among them."""

import sys
from pathlib import Path

import pytest
import torch

from datacondense.data.data_source import DataSource, identified
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.selection.by_network import Select
from datacondense.studies.config import StudyConfig
from datacondense.studies.factory import TaskFactory
from datacondense.studies.named_sets import MakeSet, named_set
from datacondense.studies.tasks import Condense
from datacondense.tasks.scheduler import schedule
from datacondense.tasks.store import Store, Workspace
from datacondense.tasks.workers import inline

OWN = """
from datacondense import DistributionMatchingConfig

class Mine(DistributionMatchingConfig):
    pass

def last(images, ipc, seed):
    import torch
    return images.subset(torch.cat([members[-ipc:] for members in images.class_indices]))

def broken(images, ipc, seed):
    return 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_sets.py").write_text(OWN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_sets", raising=False)


def factory(**settings: object) -> TaskFactory:
    config = StudyConfig(**settings)  # type: ignore[arg-type]
    return TaskFactory(data=identified(DataSource(name="digits")), config=config)


@pytest.mark.usefixtures("own")
def test_a_function_of_ones_own_makes_a_set(tmp_path: Path) -> None:
    task = named_set(factory(), "own_sets:last", 2)(7)
    assert isinstance(task, MakeSet)
    assert (task.ipc, task.seed) == (2, 7)
    workspace = Workspace(Store(tmp_path / "cells"))
    assert not schedule([task], workspace.store, inline(1)).failed
    train, made = task.data.read().train, task.image_set(workspace)
    assert isinstance(made, ImageSet)
    assert made.class_sizes == (2,) * 10
    assert torch.equal(made.images[:2], train.images[train.class_indices[0][-2:]])
    assert workspace.result(task)["fingerprint"] == made.fingerprint


@pytest.mark.usefixtures("own")
def test_a_function_that_returns_no_set_fails_in_one_sentence(tmp_path: Path) -> None:
    task = named_set(factory(), "own_sets:broken", 2)(0)
    assert isinstance(task, MakeSet)
    outcome = schedule([task], Store(tmp_path / "cells"), inline(1))
    assert outcome.failed[task.key] == "own_sets:broken returned int, but must return an ImageSet."


@pytest.mark.usefixtures("own")
def test_a_method_of_ones_own_condenses() -> None:
    task = named_set(factory(iterations=3), "own_sets:Mine", 2)(0)
    assert isinstance(task, Condense)
    assert type(task.method).__name__ == "Mine"
    assert (task.method.ipc, task.iterations) == (2, 3)


def test_abbreviations_and_selections_are_known() -> None:
    condensed, selected = (named_set(factory(), name, 3)(0) for name in ("dm", "random"))
    assert isinstance(condensed, Condense)
    assert condensed.method.name == "distribution-matching"
    assert isinstance(selected, Select)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"There is no method 'magic': choose from random, .* package\.module:name"
    ):
        named_set(factory(), "magic", 1)
