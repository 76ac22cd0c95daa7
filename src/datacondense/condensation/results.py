"""From the state of a run to an image set, with what it depends on; and whether an earlier end is what is wanted."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from typing import Annotated, Any, NotRequired, TypedDict

import torch
from msgspec import Meta

from datacondense.condensation.learned_labels import LABEL_LOGITS
from datacondense.condensation.method import Method
from datacondense.condensation.state import State, Step
from datacondense.environment import environment
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.matching.gradients import used_images
from datacondense.run_folder import (
    CHANGEABLE,
    SETTINGS,
    Checkpoint,
    ResumeError,
    RunFolder,
    different_settings,
)
from datacondense.set_metadata import Whitening
from datacondense.settings import plain_settings

_TAKEN = ("class_names", "mean", "std", "dataset", "may_be_mirrored", "augmentation")
# What the result of a run has of its own: how far it went, what it learned, and where.
_OF_RESULTS = ("iterations_done", "learned", "environment.")


class _Facts(TypedDict):
    """What a checkpoint needs beside its state to be shown as an image set."""

    class_names: list[str]
    mean: list[float]
    std: list[float]
    dataset: str | None
    may_be_mirrored: bool
    augmentation: str
    factor: NotRequired[int]
    stored: NotRequired[list[int]]
    whitening: NotRequired[Whitening]


class Saved(TypedDict):
    """Progress of a run, in its checkpoint."""

    position: tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=0)]]
    seconds: Annotated[float, Meta(ge=0)]
    facts: NotRequired[_Facts]  # since release 0.2


def restored(saved: Checkpoint, device: torch.device | str = "cpu") -> State:
    """Return the state of a checkpoint."""
    try:
        return State.from_tensors({name: tensor.to(device) for name, tensor in saved.tensors.items()})
    except (KeyError, TypeError) as error:
        raise ResumeError(
            f"The checkpoint is no condensation run's ({type(error).__name__}: {error}): restore it from a copy, or "
            "start anew with --force."
        ) from error


def facts_of_set(train: ImageSet, method: Method[Any]) -> dict[str, Any]:
    """Return what the result takes over from the real images, and how its own are stored."""
    taken = {name: getattr(train, name) for name in _TAKEN}
    taken |= {"whitening": asdict(train.whitening)} if train.whitening else {}
    return {**taken, "factor": method.settings.factor, "stored": method.stored}


def frozen(state: State, facts: Mapping[str, Any], provenance: dict[str, Any]) -> ImageSet:
    """Freeze the images: from normalised units to pixel scale, class by class."""
    facts = {name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()}
    result = state.result.float().cpu()
    facts |= {"whitening": Whitening(**facts["whitening"])} if "whitening" in facts else {}
    stored = facts.pop("stored", (result.shape[1],) * len(result))
    labels = torch.arange(len(stored)).repeat_interleave(torch.tensor(stored))
    mean, std = (torch.tensor(facts[name], dtype=torch.float32).view(-1, 1, 1) for name in ("mean", "std"))
    learned = {name: tensor.tolist() for name, tensor in state.learned.items() if name != LABEL_LOGITS}
    logits = state.learned.get(LABEL_LOGITS)
    return ImageSet(
        images=used_images(result, stored) * std + mean,
        labels=labels,
        provenance={**provenance, "learned": learned} if learned else provenance,
        soft_labels=None if logits is None else logits.softmax(1).float().cpu(),
        **facts,
    )


def unfinished(folder: RunFolder) -> ImageSet:
    """Return the images that a run would return if it ended at its checkpoint."""
    saved = folder.checkpoint(Saved)
    if saved is None or "facts" not in saved.progress:
        raise InputError(
            f"{folder.path} holds no result, and no checkpoint to take images from: continue the run with --resume."
        )
    iteration, step = saved.progress["position"]
    provenance = {**folder.settings(), "unfinished": {"iteration": iteration, "step": step}}
    return frozen(restored(saved), saved.progress["facts"], provenance)


def provenance_of(
    method: Method[Any], run: Mapping[str, Any], train: ImageSet, fingerprint: str
) -> dict[str, Any]:
    """Return all that the result depends on, as plain JSON values; `run` are the run's settings."""
    source = train.provenance.get("source", {})
    hold_out = train.provenance.get("hold_out")
    processes = {"processes": method.ranks.size} if method.ranks.size > 1 else {}
    return {
        "method": method.settings.name,
        "settings": plain_settings(method.settings),
        "run": run,
        "source": {**source, "num_images": len(train), "fingerprint": fingerprint, "hold_out": hold_out},
        "environment": {**environment(train.images.device), **method.backend_facts, **processes},
    }


def done(method: Method[Any], provenance: Mapping[str, Any], end: Step) -> dict[str, Any]:
    """Return what is known of a run at its end only: how far it came, and what the device captured on the way."""
    iterations = end.outer + end.inner / method.settings.steps_per_iteration
    return {"environment": provenance["environment"] | method.backend_facts, "iterations_done": iterations}


def begun(
    folder: RunFolder | None, claim: ExitStack, provenance: Mapping[str, Any], resume: bool, force: bool
) -> ImageSet | None:
    """Claim and prepare the folder of a run, and return the result that it holds if the run needs no more."""
    if folder is None:
        return None
    claim.enter_context(folder.claimed())
    folder.begin(provenance, resume=resume, force=force)
    found = ImageSet.load(folder.result) if resume and folder.result.exists() else None
    return None if found is not None and is_prolonged(found, provenance, folder) else found


def is_prolonged(found: ImageSet, provenance: Mapping[str, Any], folder: RunFolder) -> bool:
    """Whether a finished run is to go further; refuse a result that is another run's."""
    differing = different_settings(found.provenance, provenance)
    further = {"run.iterations", "run.time_limit", "run.patience"} & differing.keys()
    foreign = [key for key in differing if key not in CHANGEABLE and not key.startswith(_OF_RESULTS)]
    if foreign:
        old, new = differing[foreign[0]]
        raise ResumeError(
            f"{folder.result} is the result of another run than {SETTINGS} beside it says ({foreign[0]} is {old!r} and "
            f"should be {new!r}): restore the right one from a copy, or start anew with --force."
        )
    return bool(further)
