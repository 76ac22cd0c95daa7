"""What a reader under test is, and the valid files that its inputs are made from."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from datacondense.condensation.dataset_distillation import DatasetDistillationConfig
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import RunConfig, condense
from datacondense.condensation.progress import Progress
from datacondense.image_set import ImageSet
from tests.conftest import make_set
from tests.fuzz.oracle import Sandbox
from tests.fuzz.strange import changed_bytes, changed_json, to_json

Call = Callable[[], object]
Attempt = Callable[[Random, Sandbox], Call]


@dataclass(frozen=True)
class Reader:
    """Something that reads what others wrote.

    Attributes:
        name: Its name on the command line.
        share: How many of a thousand inputs are for it, by how long one takes.
        prepare: Makes valid files in a folder, once, and returns what writes one input and returns the call to watch.
    """

    name: str
    share: float
    prepare: Callable[[Path], Attempt]


TRAIN = make_set(num_classes=2, per_class=4, shape=(1, 8, 8))
METHOD = GradientMatchingConfig(ipc=1, network="convnet-w4-d1", real_batch=2, engine="eager")
RUN = RunConfig(iterations=3, checkpoint_every=0)
CHECKSUM = (
    "checksum"  # notices every change; files of the first release have none, and who means harm leaves it out
)


class StoppedError(BaseException):
    """Ends a run as a kill does."""


def unfinished_run(
    folder: Path, method: GradientMatchingConfig = METHOD, run: RunConfig = RUN
) -> dict[str, bytes]:
    """Return the files of a run that was killed in its second iteration."""

    def stop(progress: Progress) -> None:
        if progress.step.outer == 1:
            raise StoppedError

    with suppress(StoppedError):
        condense(TRAIN, method, run, directory=folder, observer=stop)
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def saved_sets(folder: Path) -> list[bytes]:
    """Return image sets: learned and read, grey and in colour, with and without much provenance."""
    learned = condense(TRAIN, METHOD, RunConfig(iterations=1), directory=folder / "run")
    distilled = condense(TRAIN, DatasetDistillationConfig(ipc=1, network="mlp"), RunConfig(iterations=1))
    sets: list[ImageSet] = [learned, distilled, make_set(num_classes=3, per_class=2, shape=(3, 4, 4))]
    for number, images in enumerate(sets):
        images.save(folder / f"{number}.safetensors")
    return [(folder / f"{number}.safetensors").read_bytes() for number in range(len(sets))]


def taken_apart(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header and the numbers of a safetensors file."""
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def put_together(header: Any, body: bytes) -> bytes:
    """Return the safetensors file with this header."""
    text = to_json(header).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def changed_tensors(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """Change a safetensors file: its bytes, its header, its metadata, or its numbers."""
    data = rng.choice(seeds)
    if rng.random() < 0.3:
        return changed_bytes(rng, data, seeds)
    header, body = taken_apart(data)
    metadata = header["__metadata__"]
    if rng.random() < 0.5:
        metadata.pop(CHECKSUM, None)
    what = rng.random()
    if what < 0.65 and metadata:
        name = "record" if "record" in metadata and rng.random() < 0.4 else rng.choice(list(metadata))
        metadata[name] = _changed_entry(rng, metadata[name])
    elif what < 0.8:
        header = changed_json(rng, header)
    else:
        number = rng.choice((float("nan"), float("inf"), 3e38, -3e38, 1e-45, 5.0, -1.0))
        at = 4 * rng.randrange(max(1, len(body) // 4))
        body = body[:at] + np.float32(number).tobytes() + body[at + 4 :]
    return put_together(header, body)


def _changed_entry(rng: Random, text: str) -> Any:
    """Change an entry of the metadata, most of which are JSON again."""
    try:
        value = json.loads(text)
    except ValueError:
        return changed_json(rng, text)
    changed = changed_json(rng, value)
    return to_json(changed) if rng.random() < 0.95 else changed
