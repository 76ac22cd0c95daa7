"""What the networks of a search are trained and measured on."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from datacondense.applications import architecture_score
from datacondense.applications.architecture_score import ScoreArchitecture, Scorer, StoppedProtocol
from datacondense.applications.search_config import SearchConfig, declared_scorers
from datacondense.applications.search_space import SearchSpace
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.data.data_source import DataSource, identified
from datacondense.errors import InputError
from datacondense.evaluation.full_training import FullTraining
from datacondense.evaluation.scoring import evaluate_one
from datacondense.image_set import ImageSet
from datacondense.selection.random import select_random
from datacondense.settings import narrowed
from datacondense.tasks.scheduler import schedule
from datacondense.tasks.store import Store, Workspace
from datacondense.tasks.workers import inline
from datacondense.training import Change

DIGITS = DataSource(name="digits")
SPACE = SearchSpace(
    widths=(8,), depths=(1, 2), norms=("none",), activations=("relu",), poolings=("max",), networks=()
)
NETWORK = "convnet-w8-d1-nonorm-max"


def config(*proxies: str, ipc: int = 2, epochs: int = 3, **changes: object) -> SearchConfig:
    """Return settings of a small search."""
    method = GradientMatchingConfig(ipc=ipc, precision="float32", engine="eager")
    settings = {"reference_epochs": 2, "full_epochs": 1, "space": SPACE, "iterations": 1, **changes}
    return SearchConfig(proxies=proxies, epochs=epochs, method=method, **settings)  # type: ignore[arg-type]


def scored(scorer: Scorer, folder: Path) -> tuple[ScoreArchitecture, dict[str, object]]:
    """Run one task of a scorer, and what it needs; return it with its result."""
    (task,), store = scorer.tasks(NETWORK), Store(folder)
    assert not schedule([task], store, inline(1)).failed
    return task, Workspace(store).result(task)


def rows(images: ImageSet) -> set[bytes]:
    return {pixels.numpy().tobytes() for pixels in images.images}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Collect the images that networks are trained on, batch by batch."""
    batches: list[Tensor] = []

    class Watched(FullTraining):
        def _change(self, epoch: int) -> Change:
            change = super()._change(epoch)

            def watched(positions: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
                batches.append(self._images.images[positions])
                return change(positions, labels)

            return watched

    monkeypatch.setattr(architecture_score, "FullTraining", Watched)
    return batches


@pytest.mark.parametrize(("ipc", "epochs", "expected"), [(2, 3, 60), (2, 100, 1299), (40, 10, 3 * 1299)])
def test_early_stopping_sees_as_many_images_as_the_training_on_a_set(
    ipc: int, epochs: int, expected: int, seen: list[Tensor], tmp_path: Path
) -> None:
    (early, _) = declared_scorers(DIGITS, config("early-stopped", ipc=ipc, epochs=epochs))
    assert early.stop_after == ipc * 10 * epochs
    _, result = scored(early, tmp_path)
    assert sum(map(len, seen)) == expected
    assert result["images"] == min(expected, 1299)
    if expected <= 1299:
        assert len(rows(replace_images(early, torch.cat(seen)))) > 0.95 * expected, "each image once"


def replace_images(scorer: Scorer, images: Tensor) -> ImageSet:
    """Return a set of other images."""
    train = scorer.data.read().train
    return replace(train.subset(torch.arange(len(images))), images=images)


def test_early_stopping_keeps_the_first_learning_rate() -> None:
    (early, reference) = declared_scorers(DIGITS, config("early-stopped"))
    stopped = narrowed(StoppedProtocol, early.protocol, epochs=1)
    assert [stopped.sgd(epoch, 1).lr for epoch in range(1)] == [early.protocol.lr]
    assert [reference.protocol.sgd(epoch, 2).lr for epoch in range(2)] == pytest.approx([0.01, 0.001])


def test_held_out_images_are_never_trained_on_and_test_images_are_apart(
    seen: list[Tensor], tmp_path: Path
) -> None:
    scorers = declared_scorers(DIGITS, config("random", "herding", "dm", "early-stopped", ipc=20))
    full = DIGITS.read()
    held_out = scorers[0].data.read().test
    assert held_out is not None
    assert rows(held_out) <= rows(full.train)
    assert len(held_out) == pytest.approx(len(full.train) * 0.1, abs=5)
    for scorer in scorers:
        _, result = scored(scorer, tmp_path)
        assert result["held_out"] != result["test"]
        if scorer.source is not None:
            images = scorer.source.image_set(Workspace(Store(tmp_path)))
            assert not rows(images) & rows(held_out)
    assert seen
    assert not rows(replace_images(scorers[0], torch.cat(seen)[:1299])) & rows(held_out)


def test_one_network_is_measured_twice(tmp_path: Path) -> None:
    (random, _) = declared_scorers(DIGITS, config("random", epochs=30))
    task, result = scored(random, tmp_path)
    images = random.source.image_set(Workspace(Store(tmp_path)))
    for name, source in (("held_out", task.data), ("test", DIGITS)):
        part = source.read().test
        assert part is not None
        assert result[name] == evaluate_one(images, part, task.protocol, 0)


def test_the_test_images_change_no_held_out_accuracy(tmp_path: Path) -> None:
    (random, _) = declared_scorers(DIGITS, config("random", epochs=30))
    other = identified(replace(DIGITS, num_images=100))
    (changed, _) = declared_scorers(DIGITS, config("random", epochs=30))
    changed = replace(changed, tested_on=other)
    _, first = scored(random, tmp_path / "first")
    _, second = scored(changed, tmp_path / "second")
    assert first["held_out"] == second["held_out"]
    assert first["test"] != second["test"]


def test_a_network_that_diverges_has_no_accuracy(tmp_path: Path) -> None:
    for scorer in declared_scorers(DIGITS, config("random", "early-stopped", epochs=30)):
        hot = replace(scorer, protocol=replace(scorer.protocol, lr=1e30))
        _, result = scored(hot, tmp_path / scorer.name)
        assert (result["held_out"], result["test"]) == (None, None)
        assert result["images"]


def test_a_set_of_ones_own_is_a_proxy_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    select_random(DIGITS.read().train, 3, seed=1).save(path)
    (own, _) = declared_scorers(DIGITS, config(str(path)))
    assert own.name == "mine"
    _, result = scored(own, tmp_path / "out")
    assert result["images"] == 30
    path.unlink()
    with pytest.raises(InputError, match=r"mine\.safetensors"):
        declared_scorers(DIGITS, config(str(path)))
    DIGITS.read().train.subset(torch.arange(3)).save(path)
    with pytest.raises(InputError, match="returned no image of the class"):
        declared_scorers(DIGITS, config(str(path)))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dsa.siamese=none", "siamese-matching is not compared here: leave it out, or compare"),
        ("dm.ipc=3", "images per class are the same for all proxies: give --ipc"),
    ],
)
def test_overrides_without_effect_are_refused(override: str, message: str) -> None:
    assert config("dm", override=("distribution-matching.iterations=3",)).override
    with pytest.raises(InputError, match=message):
        config("dm", override=(override,))
