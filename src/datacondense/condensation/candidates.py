"""A short search within a time: a preset and its neighbours, scored on training images that are held out."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypedDict

import torch

from datacondense.condensation.loop import RunConfig, condense
from datacondense.condensation.presets import PUBLISHED, Preset, planned, suited
from datacondense.data.validation import hold_out
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.evaluation.scoring import evaluate
from datacondense.files import read_json, write_text
from datacondense.image_set import ImageSet

SEARCH = "search.json"
SHARE = 1 / 3
"""Part of a budget that a search takes."""
_HELD_OUT, _MOST_HELD_OUT = 0.1, 5000
_PROTOCOL = EvaluationConfig(repeats=2, epochs=100)


class Found(TypedDict):
    """A candidate, and its accuracy on the held-out images."""

    method: str
    settings: dict[str, Any]
    iterations: float
    accuracy: float
    std: float


class _Search(TypedDict):
    what: str
    found: list[Found]


def candidates(
    preset: Preset, others: Sequence[Preset], train: ImageSet, given: Mapping[str, Any]
) -> list[Preset]:
    """Return a preset and its neighbours: half and twice its image rate, another factor, another method.

    Args:
        preset: The preset.
        others: Presets of other methods, if another one will do.
        train: The real images.
        given: Settings that stand, by name.

    Returns:
        Up to five presets, this one first.
    """
    built = preset.built(given).resolved(may_be_mirrored=train.may_be_mirrored)
    rate, factor = built.image_lr, built.factor - 1 if built.factor > 1 else 2
    changes: list[dict[str, Any]] = [{"image_lr": rate * times} for times in (0.5, 2) if rate is not None]
    changes += [{"factor": factor}] if factor <= min(train.image_shape[1:]) else []
    neighbours = [
        replace(preset, settings={**preset.settings, **change})
        for change in changes
        if not change.keys() & given.keys()
    ]
    fitting = [
        each
        for each in others
        if each.name != PUBLISHED and given.keys() <= {known.name for known in fields(each.method)}
    ]
    return [suited(each, train, given) for each in (preset, *neighbours, *fitting)]


def search(
    presets: list[Preset],
    train: ImageSet,
    run: RunConfig,
    given: Mapping[str, Any],
    seconds: float,
    *,
    device: torch.device | str = "cpu",
    path: Path | None = None,
    resume: bool = False,
    observer: Callable[[Found], None] | None = None,
) -> list[Found]:
    """Score candidates, each learned in an equal share of the time on training images without the held-out ones.

    Args:
        presets: The candidates.
        train: The real images; a tenth of each class, at most 5000 in all, is held out by the run's seed.
        run: The run whose seed all of them have.
        given: Settings that stand, by name.
        seconds: The time for all of them, evaluation included as far as half of it suffices.
        device: Where to compute.
        path: A file for what was found; none where None.
        resume: Do not repeat what the file holds.
        observer: Called with each candidate that is scored now.

    Returns:
        What was found, in the order of the candidates.
    """
    rest, held_out = hold_out(train, min(_HELD_OUT, _MOST_HELD_OUT / len(train)), run.seed)
    budget = f"{max(0.1, seconds / len(presets) / 2):.2f}s"
    what = f"{budget} each, {dict(sorted(given.items()))}, {rest.fingerprint}"
    before: Any = read_json(path, _Search, "search", "delete it") if resume and path and path.exists() else {}
    known = before.get("found", []) if before.get("what") == what else []
    found: list[Found] = []
    for preset in presets:
        name, settings = preset.built(given).name, dict(preset.settings)
        done = [each for each in known if (each["method"], each["settings"]) == (name, settings)]
        if not done:
            method, plan = planned(preset, rest.to(device), RunConfig(seed=run.seed), budget, given)
            learned = condense(rest, method, plan, device=device)
            score = evaluate(learned, held_out, replace(_PROTOCOL, seed=run.seed), device=device)
            iterations = learned.provenance["iterations_done"]
            done = [
                Found(
                    method=name, settings=settings, iterations=iterations, accuracy=score.mean, std=score.std
                )
            ]
            if observer is not None:
                observer(done[0])
        found.append(done[0])
        if path is not None:
            write_text(path, json.dumps({"what": what, "found": found}, indent=2) + "\n")
    return found
