"""Presets: the table is sound, the right row is found, and as many iterations are planned as fit into a time."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from datacondense import (
    DistributionMatchingConfig,
    GradientMatchingConfig,
    ImageSet,
    InputError,
    RunConfig,
    SiameseMatchingConfig,
    recommended,
)
from datacondense.condensation import presets
from datacondense.condensation.presets import budget_seconds, iterations_within, planned, preset_for
from datacondense.condensation.registry import method_named
from datacondense.data.validation import hold_out
from tests.condensation.made_runs import METHOD, Clock
from tests.conftest import MakeSet

ROWS: list[dict[str, Any]] = [
    {"name": "grey", "devices": ["cpu"], "channels": [1], "max_ipc": 1, "budget": 0, "iterations": 130},
    {"name": "slow", "devices": ["cpu"], "channels": [], "max_ipc": 9, "budget": 600},
    {"name": "any", "devices": ["cpu", "cuda"], "channels": [], "max_ipc": 9, "budget": 0, "iterations": 7},
]
METHODS_OF_ROWS = {
    "grey": ("gradient-matching", {"real_batch": 16, "image_lr": 0.5}),
    "slow": ("gradient-matching", {"real_batch": 64}),
    "any": ("distribution-matching", {"factor": 2}),
}


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a small table in the place of the recorded one."""
    made = [
        row | dict(zip(("method", "settings"), METHODS_OF_ROWS[row["name"]], strict=True)) for row in ROWS
    ]
    monkeypatch.setattr(presets, "presets", lambda: [{"why": "it is so", **row} for row in made])


@pytest.fixture
def clock() -> Iterator[Clock]:
    made = Clock()
    yield made
    made.patch.undo()


def test_every_row_of_the_table_can_be_built() -> None:
    for row in presets.presets():
        method_named(row["method"])(ipc=min(10, row["max_ipc"]), **row["settings"])
        assert set(row["devices"]) <= {"cpu", "cuda"}
        assert ("iterations" in row) == (row["budget"] == 0)
        assert not {"ipc", "network"} & row["settings"].keys()
        assert row["why"]
    assert len({row["name"] for row in presets.presets()}) == len(presets.presets())


def test_there_is_a_fast_preset_for_everything(make: MakeSet) -> None:
    for ipc, channels, device in product((1, 10, 50, 100), (1, 3), ("cpu", "cuda", "mps")):
        assert preset_for(make(shape=(channels, 8, 8)), ipc, device).iterations


@pytest.mark.usefixtures("rows")
def test_the_first_row_counts_that_fits_of_those_with_the_largest_budget(make: MakeSet) -> None:
    grey, colour = make(), make(shape=(3, 8, 8))
    assert [preset_for(grey, ipc).name for ipc in (1, 2)] == ["grey", "any"]
    assert preset_for(colour, 1).name == "any"
    assert preset_for(grey, 1, "cuda").name == "any"
    assert [preset_for(grey, 1, seconds=seconds).name for seconds in (599, 600)] == ["grey", "slow"]
    assert preset_for(grey, 1, method=DistributionMatchingConfig).name == "any"
    for method, ipc in ((SiameseMatchingConfig, 1), (GradientMatchingConfig, 2)):
        published = preset_for(grey, ipc, method=method)
        assert (published.name, published.settings, published.method) == ("published", {}, method)


@pytest.mark.usefixtures("rows")
def test_a_rate_holds_for_the_network_that_it_was_measured_on(make: MakeSet) -> None:
    assert preset_for(make(), 1, network="ConvNet-D3-IN").settings == {"real_batch": 16, "image_lr": 0.5}
    assert preset_for(make(), 1, network="mlp").settings == {"real_batch": 16}


@pytest.mark.usefixtures("rows")
def test_small_classes_have_fewer_tiles_or_begin_as_noise(make: MakeSet) -> None:
    # Twelve images of a class: three with four tiles each, no more.
    large = {"shape": (1, 16, 16)}
    assert preset_for(make(**large), 3).built({"ipc": 3}).factor == 2
    assert preset_for(make(**large), 4).built({"ipc": 4}).factor == 1
    assert "start" not in preset_for(make(**large), 4).settings
    assert preset_for(make(per_class=3, **large), 4).settings["start"] == "noise"


@pytest.mark.usefixtures("rows")
def test_a_plan_has_as_many_tiles_as_single_classes_and_images_that_are_left_allow(make: MakeSet) -> None:
    train = make(shape=(1, 16, 16))
    left, _ = hold_out(train, 0.1, 0)
    preset = preset_for(train, 3)
    for images, ipc_of, settings in (
        (train, None, {"factor": 2}),
        (train, {"class 1": 4}, {"factor": 1}),
        (left, None, {"factor": 1}),
        (train, {"class 1": 13}, {"factor": 2, "start": "noise"}),
    ):
        method, run = planned(preset, images, RunConfig(), "fast", {"ipc": 3, "ipc_of": ipc_of})
        assert run.preset is not None
        assert run.preset["settings"] == settings
        method.build(images, 0)


@pytest.mark.usefixtures("rows")
def test_small_images_have_fewer_tiles(make: MakeSet) -> None:
    small, large = (preset_for(make(shape=(1, side, 17)), 2) for side in (15, 16))
    assert [each.built({"ipc": 2}).factor for each in (small, large)] == [1, 2]
    assert [each.why for each in (small, large)] == [
        "these images, or their classes, are too small for more tiles",
        "it is so",
    ]


@pytest.mark.usefixtures("rows")
def test_what_is_given_stands_and_the_rest_is_recorded(make: MakeSet) -> None:
    preset = preset_for(make(), 1)
    method, run = planned(preset, make(), RunConfig(seed=2), "fast", {"image_lr": 0.25, "network": "mlp"})
    assert method == GradientMatchingConfig(image_lr=0.25, network="mlp", real_batch=16)
    kept = {"name": "grey", "budget": "fast", "settings": {"real_batch": 16}}
    assert run == RunConfig(seed=2, iterations=130, preset=kept)
    all_given = {"image_lr": 0.25, "real_batch": 8}
    _, run = planned(preset, make(), RunConfig(iterations=4), "10m", all_given)
    assert run == RunConfig(iterations=4)


def test_as_many_iterations_are_planned_as_fit_into_a_time(tiny: ImageSet, clock: Clock) -> None:
    # Steps take 10 s, three an iteration. Two of them are timed, which leaves 180 s of 200; 95 % are 171.
    clock.time_steps_of(METHOD.method)
    assert iterations_within(METHOD, tiny, 0, 200) == 5
    assert iterations_within(METHOD, tiny, 0, 1) == 1
    # Of 1000 s, 5 % are for timing: five steps. 0.95 * 950 s are 30 iterations.
    began = clock.now
    assert iterations_within(METHOD, tiny, 0, 1000) == 30
    assert clock.now - began == 50


def test_the_first_step_is_not_taken_for_a_usual_one(
    tiny: ImageSet, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = METHOD.method.step

    def step(*args: Any) -> Any:
        clock.now += 100 if args[2] == (0, 0) else 0
        return usual(*args)

    monkeypatch.setattr(METHOD.method, "step", step)
    clock.time_steps_of(METHOD.method)
    # 110 s, then 10 s: 80 s are left, of which 95 % are two iterations of 30 s.
    assert iterations_within(METHOD, tiny, 0, 200) == 2


@pytest.mark.usefixtures("rows")
def test_a_time_limits_the_run_too(tiny: ImageSet, clock: Clock) -> None:
    preset = preset_for(tiny, 1)
    clock.time_steps_of(METHOD.method)
    _, run = planned(preset, tiny, RunConfig(), "200s", {"network": "mlp"}, spent=50)
    # One step an iteration: of 150 s two are timed, and 0.95 * 130 s hold 12.
    assert (run.iterations, run.time_limit) == (12, "130.0s")
    _, run = planned(preset, tiny, RunConfig(time_limit="9s"), "200s", {"network": "mlp"})
    assert run.time_limit == "9s"


def test_published_is_what_condense_does_by_itself(tiny: ImageSet) -> None:
    assert recommended(tiny, ipc=3, budget="published", seed=5) == (
        GradientMatchingConfig(ipc=3),
        RunConfig(seed=5),
    )


def test_a_recommendation_is_a_preset(tiny: ImageSet) -> None:
    method, run = recommended(tiny, ipc=2, seed=5)
    preset = preset_for(tiny, 2)
    assert method == preset.built({"ipc": 2})
    assert (run.seed, run.iterations, run.time_limit) == (5, preset.iterations, None)


@pytest.mark.parametrize("budget", ["abc", "0s", "10", "-1m", ""])
def test_what_is_no_budget_is_refused(budget: str, tiny: ImageSet) -> None:
    with pytest.raises(InputError, match=f"budget is '{budget}', but must be fast, published or a number"):
        recommended(tiny, budget=budget)
    assert (budget_seconds("fast"), budget_seconds("published"), budget_seconds("1.5m")) == (0, None, 90)
