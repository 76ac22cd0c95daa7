"""Presets: settings that suit a budget, by device and data, and how many iterations fit into a time.

The presets are in `presets.toml`, each with the record that it rests on. They were measured on ConvNet: for another
network the learning rate of the images stays the published one.
"""

import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files
from math import isqrt
from typing import Any

import torch

from datacondense.condensation.estimate import timed
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import RunConfig
from datacondense.condensation.method import MethodConfig
from datacondense.condensation.registry import method_named
from datacondense.image_set import ImageSet, check_trainable
from datacondense.networks.names import canonical_network, usual_network
from datacondense.networks.torch_state import usual_torch
from datacondense.ranks import current_ranks
from datacondense.settings import Named, images_per_class, seconds_of

FAST, PUBLISHED = "fast", "published"
_TIMED = 0.05  # the share of a time that is spent on timing steps
_SMALLEST_TILE = 8  # pixels a side; digits of 4×4 pixels teach less than one of 8×8
_PLANNED = 0.95  # of what is left: steps do not all take the same time


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A method and the settings in which it differs from the published ones.

    Attributes:
        name: Its name, "published" where nothing differs.
        method: The class of the method's settings.
        settings: Settings by name.
        iterations: Iterations without a budget; None: the published number.
        why: What speaks for it, in a few words.
    """

    name: str
    method: type[MethodConfig]
    settings: Mapping[str, Any]
    iterations: int | None
    why: str

    def built(self, given: Mapping[str, Any]) -> MethodConfig:
        """Return the method's settings: those of the preset, unless they are given otherwise."""
        known = {field.name for field in fields(self.method)}
        return self.method(**{
            name: value for name, value in {**self.settings, **given}.items() if name in known
        })


def budget_seconds(budget: str) -> float | None:
    """Return a budget in seconds.

    Args:
        budget: "fast", "published" or a time such as "10m".

    Returns:
        The seconds: 0 for "fast", None for "published".

    Raises:
        InputError: It is neither of these nor a time.
    """
    if budget in {FAST, PUBLISHED}:
        return None if budget == PUBLISHED else 0.0
    return seconds_of("budget", budget, f"{FAST}, {PUBLISHED} or ")


def preset_for(
    train: ImageSet,
    ipc: int,
    device: torch.device | str = "cpu",
    *,
    seconds: float = 0.0,
    method: type[MethodConfig] | None = None,
    network: Named = "convnet",
) -> Preset:
    """Return the preset for a data set and a time.

    Args:
        train: The real images.
        ipc: Images per class to learn.
        device: Where they are learned.
        seconds: The time there is; 0 for the fast preset.
        method: The only method to consider; any where None.
        network: The network to learn on.

    Returns:
        The preset; for a method without one, the published settings.
    """
    kind = "cuda" if torch.device(device).type == "cuda" else "cpu"
    fitting = [
        row
        for row in presets()
        if kind in row["devices"]
        and train.image_shape[0] in (row["channels"] or train.image_shape[:1])
        and ipc <= row["max_ipc"]
        and row["budget"] <= seconds
        and (method is None or method_named(row["method"]) is method)
    ]
    if not fitting:
        known = method or GradientMatchingConfig
        return Preset(
            name=PUBLISHED, method=known, settings={}, iterations=None, why="no preset has this method"
        )
    row = max(fitting, key=lambda row: row["budget"])
    preset = Preset(
        name=row["name"],
        method=method_named(row["method"]),
        settings={
            name: value
            for name, value in row["settings"].items()
            if name != "image_lr"
            or canonical_network(network) in {"convnet", usual_network(train.image_shape)}
        },
        iterations=row.get("iterations"),
        why=row["why"],
    )
    return suited(preset, train, {"ipc": ipc})


def suited(preset: Preset, train: ImageSet, given: Mapping[str, Any]) -> Preset:
    """Return a preset with as many tiles as images and classes are large enough for, and noise where none will do."""
    built, changes, why = preset.built(given), dict[str, Any](), preset.why
    numbers = images_per_class(built.ipc, built.ipc_of, train.class_names)
    tiles = min(size // number for size, number in zip(train.class_sizes, numbers, strict=True))
    real = built.start == "real" and tiles > 0
    room = min(train.image_shape[1:]) // _SMALLEST_TILE
    factor = max(1, min(built.factor, room, isqrt(tiles) if real else room))
    if "factor" not in given and factor != built.factor:
        changes["factor"] = factor
        why = "these images, or their classes, are too small for more tiles"
    if built.start == "real" and not real:
        changes["start"] = "noise"
    return replace(preset, settings={**preset.settings, **changes}, why=why)


@cache
def presets() -> list[dict[str, Any]]:
    """Read the table of presets."""
    text = files(__package__).joinpath("presets.toml").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = tomllib.loads(text)["preset"]
    return found


@usual_torch()
def iterations_within(method: MethodConfig, train: ImageSet, seed: int, seconds: float) -> int:
    """Return how many iterations fit into a time, by timing steps of the method on these images.

    Args:
        method: Its settings.
        train: The real images, on the device that computes.
        seed: Seed of the run.
        seconds: The time there is, out of which the steps are timed too.

    Returns:
        A number from 1; the first step, which compiles and captures, is not taken for a usual one.
    """
    began = time.monotonic()
    built = method.build(train, seed)
    each, _ = timed(built, _TIMED * seconds)
    left = _PLANNED * (seconds - (time.monotonic() - began))
    fitting = max(1, int(left / (each * built.settings.steps_per_iteration)))
    return built.ranks.of_first(lambda: fitting)


def planned(
    preset: Preset,
    train: ImageSet,
    run: RunConfig,
    budget: str,
    given: Mapping[str, Any],
    *,
    spent: float = 0.0,
) -> tuple[MethodConfig, RunConfig]:
    """Return the method and the run that a preset stands for.

    Args:
        preset: The preset.
        train: The real images, on the device that computes.
        run: The run; its iterations, where it has some, stand.
        budget: What the preset was found for, see `recommended`.
        given: Settings of the method that stand, by name.
        spent: Seconds of the budget that are gone.

    Returns:
        The settings of the method, and the run with its iterations and what came from the preset. A run within a time
        is limited to it too: a machine that others use may slow down after its steps were timed.
    """
    began = time.monotonic() - spent
    if preset.name != PUBLISHED:
        preset = suited(preset, train, given)
    method, iterations, limit = preset.built(given), run.iterations, run.time_limit
    if iterations is None:
        iterations = preset.iterations
        if seconds := budget_seconds(budget):
            iterations = iterations_within(method, train, run.seed, seconds - spent)
            left = max(1.0, seconds - (time.monotonic() - began))
            limit = limit or current_ranks().of_first(lambda: f"{left:.1f}s")
    settings = {name: value for name, value in preset.settings.items() if name not in given}
    if not settings and iterations == run.iterations:
        return method, run
    kept = {"name": preset.name, "budget": budget, "settings": settings}
    return method, replace(run, iterations=iterations, time_limit=limit, preset=kept)


def recommended(
    train: ImageSet,
    *,
    ipc: int = 1,
    budget: str = FAST,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> tuple[MethodConfig, RunConfig]:
    """Return a method and a run that suit a budget, for `condense`.

    Args:
        train: The real images.
        ipc: Images per class to learn.
        budget: "fast"; a time such as "90s", "10m" or "2h", into which as many iterations are planned as fit, by
            timing a few; or "published": gradient matching as published.
        seed: Seed of the run.
        device: Where `condense` is going to compute.

    Returns:
        The settings of a method, and a run of so many iterations.

    Raises:
        InputError: The budget is none, or the images cannot be learned from.
    """
    began = time.monotonic()
    check_trainable(train)
    seconds, run = budget_seconds(budget), RunConfig(seed=seed)
    if seconds is None:
        return GradientMatchingConfig(ipc=ipc), run
    preset = preset_for(train, ipc, device, seconds=seconds)
    spent = time.monotonic() - began
    return planned(preset, train.to(device), run, budget, {"ipc": ipc}, spent=spent)
