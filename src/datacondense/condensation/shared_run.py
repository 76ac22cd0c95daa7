"""What the processes of one run settle with each other: that they agree, where the run stands, and its result."""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from datacondense.condensation.state import State, Step
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.ranks import Ranks
from datacondense.settings import joined_keys

SetT = TypeVar("SetT", bound=ImageSet | None)

# What may differ: where a machine has the images, which GPU a process has, and what the first alone adds at the end.
_OWN = ("source.", "environment.device", "soft_labels.")
_SHARED = "source.fingerprint"


def check_same_run(ranks: Ranks, provenance: Mapping[str, Any]) -> None:
    """Refuse ranks with other settings, images or versions than the first."""
    if ranks.size > 1:
        facts = joined_keys(provenance)
        ranks.check_same({
            name: fact for name, fact in facts.items() if name == _SHARED or not name.startswith(_OWN)
        })


def check_agreement(ranks: Ranks, state: State, step: Step) -> None:
    """Refuse to save a state that differs between ranks, as machines of two kinds may make it.

    A GPU that computes other bytes at every run trains the network to a slightly different one on each rank; the images
    are the same, since every rank moves them by the same gradients.
    """
    tensors = state.to_tensors() if state.images.device.type == "cpu" else {"images": state.images}
    digest = hashlib.sha256()
    for tensor in tensors.values():
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).cpu().numpy().data)
    first, *others = ranks.of_each(digest.hexdigest())
    if differing := [rank for rank, found in enumerate(others, 1) if found != first]:
        raise InputError(
            f"Rank {differing[0]} holds other numbers than rank 0 after iteration {step.outer}, step {step.inner}: "
            "start all processes on machines of one kind, with equal --threads."
        )


def state_of_first(ranks: Ranks, state: State | None, device: torch.device) -> State:
    """Return the state that the first rank has, on this rank's device."""
    tensors = {} if state is None else state.to_tensors()
    return State.from_tensors(ranks.tensors_of_first(tensors, device))


def set_of_first(ranks: Ranks, make: Callable[[], SetT]) -> SetT:
    """Return the set that the first rank makes, or None where it makes none."""
    if ranks.size == 1:
        return make()
    made: ImageSet | None = None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.safetensors"

        def write() -> bool:
            nonlocal made
            made = make()
            if made is not None:
                made.save(path)
            return made is not None

        if ranks.of_first(write):
            content = ranks.bytes_of_first(path.read_bytes() if ranks.is_first else b"")
            if not ranks.is_first:
                path.write_bytes(content)
                made = ImageSet.load(path)
    return cast(SetT, made)
