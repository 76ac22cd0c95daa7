"""The search among candidates: which they are, what they are learned from and scored on, what is not repeated."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from datacondense import (
    DistributionMatchingConfig,
    GradientMatchingConfig,
    ImageSet,
    InputError,
    RunConfig,
    hold_out,
)
from datacondense.condensation import candidates as module
from datacondense.condensation.candidates import Found, candidates, search
from datacondense.condensation.presets import Preset
from tests.conftest import MakeSet

DC = Preset(
    name="dc",
    method=GradientMatchingConfig,
    settings={"real_batch": 4, "image_lr": 0.5},
    iterations=3,
    why="",
)
DM = Preset(
    name="dm",
    method=DistributionMatchingConfig,
    settings={"factor": 2, "start": "noise"},
    iterations=3,
    why="",
)
NETWORK = {"network": "mlp"}


def test_neighbours_have_half_and_twice_the_rate_another_factor_and_another_method(make: MakeSet) -> None:
    tiny = make(shape=(1, 16, 16))
    changes: list[dict[str, Any]] = [{}, {"image_lr": 0.25}, {"image_lr": 1.0}, {"factor": 2}]
    found = candidates(DC, [DM], tiny, {})
    assert found == [*(replace(DC, settings={**DC.settings, **change}) for change in changes), DM]
    # A rate that the preset leaves to the method is the published one; a factor of 2 becomes 1.
    settings = [each.settings for each in candidates(DM, [], tiny, {})]
    assert [(each.get("image_lr"), each["factor"]) for each in settings] == [
        (None, 2),
        (0.5, 2),
        (2, 2),
        (None, 1),
    ]


def test_what_is_given_stands_in_all_candidates(tiny: ImageSet) -> None:
    assert candidates(DC, [DM], tiny, {"image_lr": 0.1, "factor": 1}) == [DC, DM]
    assert candidates(DC, [DM], tiny, {"image_lr": 0.1, "factor": 1, "distance": "squared"}) == [DC]
    assert candidates(DC, [replace(DM, name="published")], tiny, {"image_lr": 0.1, "factor": 1}) == [DC]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Note what is learned from and scored on, in the place of doing either."""
    noted: list[Any] = []

    def planned(preset: Preset, *rest: Any) -> tuple[Any, RunConfig]:
        noted.append(rest[2])
        return preset.built(rest[3]), RunConfig(iterations=2)

    def condense(train: ImageSet, method: Any, *_: Any, **__: Any) -> Any:
        noted.append((train.fingerprint, method.image_lr))
        return SimpleNamespace(provenance={"iterations_done": 2.0})

    def evaluate(_: Any, held_out: ImageSet, protocol: Any, **__: Any) -> Any:
        noted.append(held_out.fingerprint)
        return SimpleNamespace(mean=0.5, std=0.1)

    for function in (planned, condense, evaluate):
        monkeypatch.setattr(module, function.__name__, function)
    return noted


def test_candidates_share_the_time_and_never_see_the_held_out_images(tiny: ImageSet, seen: list[Any]) -> None:
    rest, held_out = hold_out(tiny, 0.1, 4)
    found = search([DC, DM], tiny, RunConfig(seed=4), NETWORK, 60)
    # Half of the 30 s of each are for learning.
    expected = [["15.00s", (rest.fingerprint, rate), held_out.fingerprint] for rate in (0.5, 1.0)]
    assert seen == [*expected[0], *expected[1]]
    assert found[0] == Found(
        method="gradient-matching", settings=dict(DC.settings), iterations=2.0, accuracy=0.5, std=0.1
    )


def test_what_was_found_is_not_repeated(tiny: ImageSet, seen: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "run" / "search.json"
    first = search([DC], tiny, RunConfig(), NETWORK, 60, path=path)
    seen.clear()
    told: list[Found] = []
    again = search([DC, DM], tiny, RunConfig(), NETWORK, 120, path=path, resume=True, observer=told.append)
    assert (len(seen), told, again[0]) == (3, again[1:], first[0])
    seen.clear()
    assert search([DC, DM], tiny, RunConfig(), NETWORK, 120, path=path, resume=True) == again
    assert not seen
    # Another seed, given setting or time is another search; so is everything without --resume.
    search([DC], tiny, RunConfig(seed=1), NETWORK, 30, path=path, resume=True)
    search([DC], tiny, RunConfig(), NETWORK, 30, path=path, resume=True)
    search([DC], tiny, RunConfig(), {}, 30, path=path, resume=True)
    search([DC], tiny, RunConfig(), {}, 30, path=path)
    assert len(seen) == 12
    path.write_text("{")
    with pytest.raises(InputError, match=r"search\.json"):
        search([DC], tiny, RunConfig(), NETWORK, 60, path=path, resume=True)
