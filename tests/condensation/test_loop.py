"""Counting, stopping, time, checkpoints, validation and finite checks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from datacondense import (
    EvaluationConfig,
    ImageSet,
    InputError,
    Progress,
    RunConfig,
    condense,
    evaluate,
)
from datacondense.condensation.gradient_matching import GradientMatching
from datacondense.condensation.state import State, Step
from datacondense.run_folder import RunFolder
from datacondense.selection.by_class import select_tiled
from datacondense.selection.random import select_random
from tests.condensation.made_runs import METHOD, RESULT, RUN, Clock, break_run
from tests.conftest import MakeSet


def test_the_result_is_in_pixel_scale(tiny: ImageSet) -> None:
    # Real images that hardly move must come back as they were read.
    still = replace(METHOD, start="real", image_lr=1e-9)
    condensed = condense(tiny, still, replace(RUN, iterations=1))
    assert condensed.images.dtype == torch.float32
    read = {tuple(image.flatten().tolist()) for image in tiny.images}
    back = (condensed.images * 255).round().to(torch.uint8)
    assert all(tuple(image.flatten().tolist()) in read for image in back)
    torch.testing.assert_close(condensed.images, back / 255, rtol=0, atol=1e-5)


def test_images_are_learned_from_those_that_a_set_of_tiles_decodes_to(tiny: ImageSet) -> None:
    tiles = select_tiled(tiny, 3, None, 2, lambda ipc: select_random(tiny, ipc, seed=1))
    method, run = replace(METHOD, ipc=4, start="real"), replace(RUN, iterations=1)
    found, expected = (condense(train, method, run) for train in (tiles, tiles.decoded()))
    assert torch.equal(found.images, expected.images)
    assert found.factor == 1
    assert found.provenance["source"]["fingerprint"] == tiles.fingerprint


def test_the_loss_falls_over_a_run(tiny: ImageSet) -> None:
    seen: list[float] = []
    condense(
        tiny,
        replace(METHOD, ipc=1, matching_steps=1, image_lr=1.0),
        RunConfig(iterations=60),
        observer=lambda progress: seen.append(progress.loss),
    )
    assert sum(seen[-10:]) < 0.8 * sum(seen[:10])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock on which every step of gradient matching takes ten seconds."""
    clock = Clock(patch=monkeypatch)
    clock.time_steps_of(GradientMatching)
    return clock


def test_time_left_is_that_of_the_steps_left(tiny: ImageSet, clock: Clock) -> None:
    seen: list[Progress] = []
    condense(tiny, METHOD, RUN, observer=seen.append)
    assert clock.now == 5060
    assert [progress.step for progress in seen] == [
        (outer, inner) for outer in range(2) for inner in range(3)
    ]
    assert [progress.seconds for progress in seen] == [10, 20, 30, 40, 50, 60]
    assert [progress.seconds_left for progress in seen] == [50, 40, 30, 20, 10, 0]


def test_time_left_is_estimated_from_the_steps_since_a_resume(
    tiny: ImageSet, tmp_path: Path, clock: Clock
) -> None:
    break_run(tiny, METHOD, RUN, tmp_path, at=(0, 1))
    clock.now, clock.seconds_per_step = 7.0, 40.0  # the clock of another process, on a slower machine
    seen: list[Progress] = []
    condense(tiny, METHOD, RUN, directory=tmp_path, resume=True, observer=seen.append)
    assert [progress.step for progress in seen] == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert [progress.seconds for progress in seen] == [50, 90, 130, 170, 210]
    assert [progress.seconds_left for progress in seen] == [160, 120, 80, 40, 0]


def test_a_time_limit_counts_the_time_before_a_resume(tiny: ImageSet, tmp_path: Path, clock: Clock) -> None:
    run = replace(RUN, iterations=100, time_limit="65s")
    break_run(tiny, METHOD, run, tmp_path, at=(0, 2))
    clock.now = 7.0
    seen: list[Progress] = []
    condensed = condense(tiny, METHOD, run, directory=tmp_path, resume=True, observer=seen.append)
    assert [progress.seconds_left for progress in seen] == [35, 25, 15, 5, 0]
    assert condensed.provenance["iterations_done"] == pytest.approx(7 / 3)


def test_checkpoints_are_as_far_apart_as_set(
    tiny: ImageSet, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[tuple[Step, float]] = []
    save = RunFolder.save_checkpoint

    def spy(self: RunFolder, tensors: Any, progress: Any) -> None:
        saved.append((progress["position"], progress["seconds"]))
        save(self, tensors, progress)

    monkeypatch.setattr(RunFolder, "save_checkpoint", spy)
    run = replace(RUN, iterations=3, checkpoint_every=35)
    condense(tiny, METHOD, run, directory=tmp_path)
    assert saved == [((1, 1), 40), ((2, 2), 80), ((3, 0), 90)]
    assert clock.now == 5090


def test_validation_scores_the_images_as_they_are_then_and_changes_nothing(
    tiny: ImageSet, make: MakeSet, tmp_path: Path
) -> None:
    # A set whose evaluation augments where nothing else is set, and images that no network tells apart well.
    train = replace(tiny, provenance={"source": {"name": "mnist"}})
    held_out = make(seed=7, per_class=67)
    held_out = replace(held_out, labels=held_out.labels.roll(31))
    run = replace(RUN, iterations=3, validate_every=2, validation_networks=2)
    seen: list[Progress] = []
    validated = condense(train, METHOD, run, validation=held_out, directory=tmp_path, observer=seen.append)
    ((step, score),) = [(each.step, each.validation) for each in seen if each.validation is not None]
    assert step == (1, 2)
    images_then = condense(train, METHOD, replace(RUN, iterations=2))
    protocol = EvaluationConfig(repeats=2, augmentation="none", seed=RUN.seed)
    expected = evaluate(images_then, held_out, protocol)
    assert (score.accuracies, score.protocol) == (expected.accuracies, expected.protocol)
    assert score.protocol.network == "convnet-w4-d1"
    entries = [entry["validation"] for entry in RunFolder(tmp_path).metrics() if "validation" in entry]
    assert entries == [{"accuracy": expected.mean, "std": expected.std, "n": 2}]
    assert torch.equal(validated.images, condense(train, METHOD, replace(RUN, iterations=3)).images)


@pytest.mark.parametrize("broken", ["images", "velocity", "learned"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_stops_the_run_before_it_is_saved(
    tiny: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, value: float
) -> None:
    step = GradientMatching.step

    def breaking(self: GradientMatching, state: State, here: Step) -> tuple[State, float]:
        new, loss = step(self, state, here)
        if here == (1, 1):
            tensor = new.images.clone()
            tensor[0, 0, 0, 0, 0] = value
            new = replace(new, **{broken: {"rates": tensor} if broken == "learned" else tensor})  # type: ignore[arg-type]
        return new, loss

    monkeypatch.setattr(GradientMatching, "step", breaking)
    seen: list[Progress] = []
    with pytest.raises(InputError, match=r"NaN or infinite in .* 1, step 1,.*give a smaller --image-lr"):
        condense(tiny, METHOD, RUN, directory=tmp_path, observer=seen.append)
    assert seen[-1].step == (1, 0)
    saved = RunFolder(tmp_path).checkpoint()
    assert saved is not None
    assert saved.progress["position"] == [1, 1]
    assert all(bool(tensor.isfinite().all()) for tensor in saved.tensors.values())
    assert not (tmp_path / RESULT).exists()


def test_images_that_explode_stop_the_run(tiny: ImageSet, tmp_path: Path) -> None:
    wild = replace(METHOD, image_lr=1e30, distance="squared")
    with pytest.raises(InputError, match=r"NaN or infinite in .* \d+, step \d.*give a smaller --image-lr"):
        condense(tiny, wild, RunConfig(iterations=50), directory=tmp_path)
    assert not (tmp_path / RESULT).exists()


def test_validation_without_images_is_refused(tiny: ImageSet) -> None:
    with pytest.raises(
        InputError, match="validate_every is 1, but there are no validation images: hold some out"
    ):
        condense(tiny, METHOD, RunConfig(validate_every=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iterations": 0}, "iterations is 0, but must be 1 or more"),
        ({"seed": -1}, "seed is -1, but must be 0 or more"),
        ({"validate_every": -1}, "validate_every is -1, but must be 0 or more"),
        ({"validation_networks": 0}, "validation_networks is 0, but must be 1 or more"),
        ({"patience": -1}, "patience is -1, but must be 0 or more"),
        ({"patience": 3}, "patience is 3 validations, but there are none: give --validate-every too"),
        ({"checkpoint_every": -1.0}, "checkpoint_every is -1.0 seconds, but must be 0 or more"),
        ({"time_limit": "10"}, "time_limit is '10', but must be a number above 0 with a unit"),
        ({"time_limit": "0m"}, "time_limit is '0m', but must be a number above 0"),
    ],
)
def test_wrong_run_settings_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunConfig(**change)


def test_time_limits_are_read_in_any_unit() -> None:
    limits = [RunConfig(time_limit=text).time_limit_seconds for text in ("90s", "10m", "1.5h", "1d")]
    assert limits == [90, 600, 5400, 86400]
    assert RunConfig().time_limit_seconds == float("inf")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: replace(s, labels=s.labels.clamp(max=1)), "No training image has the class 'class 2'"),
        (
            lambda s: replace(s, labels=s.labels * 0, class_names=("only",)),
            r"has 1 class \(only\), but a classifier needs at least 2",
        ),
    ],
)
def test_sets_that_teach_nothing_are_refused(
    tiny: ImageSet, spoil: Callable[[ImageSet], ImageSet], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        condense(spoil(tiny), METHOD, RUN)
