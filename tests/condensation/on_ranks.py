"""What the tests of several processes run in each: `python -m tests.condensation.on_ranks FOLDER` with RANK."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist

from datacondense.condensation.dataset_distillation import DatasetDistillationConfig
from datacondense.condensation.distribution_matching import DistributionMatchingConfig
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.graph_memory import GraphMemory
from datacondense.condensation.loop import RunConfig, condense
from datacondense.condensation.method import MethodConfig
from datacondense.condensation.parameter_matching import ParameterMatchingConfig
from datacondense.condensation.progress import Progress
from datacondense.data.config import DataConfig
from datacondense.data.digits import read_digits
from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.evaluation.scoring import evaluate
from datacondense.image_set import ImageSet
from datacondense.ranks import LostRankError, current_ranks
from tests.conftest import make_set

SMALL: dict[str, Any] = {"ipc": 2, "network": "convnet-w8-d2", "real_batch": 8}
GRADIENTS = GradientMatchingConfig(**SMALL, siamese="dsa", matching_steps=2, network_epochs=2)
METHODS: dict[str, MethodConfig] = {
    "gradients": GRADIENTS,
    "multi-formation": replace(
        GRADIENTS, factor=2, ipc_of={"3": 1}, compare="all", transform=("keep-snr:1",)
    ),
    "features": DistributionMatchingConfig(**SMALL),
    "representatives": DistributionMatchingConfig(**SMALL, siamese="none", real_sampling="representative"),
}
# Whose sum over steps is rounded otherwise.
STEPS: dict[str, MethodConfig] = {
    "steps": ParameterMatchingConfig(
        **SMALL, constant_memory=True, inner_steps=5, real_steps=2, learn_rate=True, learn_labels=True
    ),
    "experts": ParameterMatchingConfig(
        **SMALL, experts=3, expert_epochs=2, start_epochs=1, target_epochs=1, inner_steps=3
    ),
}
RUN = RunConfig(seed=3, iterations=1)
SIZES = (2, 3)
LONG = replace(RUN, iterations=3, validate_every=2, validation_networks=1)


def digits(split: int = 0) -> ImageSet:
    """Return 20 digits of each class, for training or for tests; without the readers, which take long to import."""
    found = read_digits(DataConfig())[split]
    return ImageSet(
        images=found.images,
        labels=torch.as_tensor(found.labels),
        class_names=tuple(map(str, range(10))),
        mean=(0.3,),
        std=(0.38,),
        provenance={"source": {"name": "digits"}},
    ).first(20)


def one_by_one() -> Any:
    """Let every class and every image be differentiated alone, so that no grouping rounds."""
    return mock.patch.multiple(GraphMemory, for_matching=lambda *_: (1, 1), images=lambda *_: 1)


def learned(train: ImageSet) -> dict[str, ImageSet]:
    """Learn with every method, as classes are grouped and with each alone."""
    found = {name: condense(train, method, RUN) for name, method in (METHODS | STEPS).items()}
    with one_by_one():
        return found | {f"{name} alone": condense(train, method, RUN) for name, method in METHODS.items()}


def accuracies(train: ImageSet) -> list[float]:
    """Score images by three networks."""
    protocol = EvaluationConfig(repeats=3, epochs=2, network="convnet-w8-d1")
    told: list[tuple[int, float]] = []
    score = evaluate(train.first(2), train, protocol, observer=lambda *each: told.append(each))
    assert told == (list(enumerate(score.accuracies)) if current_ranks().is_first else [])
    return list(score.accuracies)


def go_on(train: ImageSet, folder: Path, **options: Any) -> ImageSet:
    """Begin or continue a run with validations, each class alone."""
    held_out = digits(1)
    with one_by_one():
        return condense(train, GRADIENTS, LONG, validation=held_out, directory=folder, resume=True, **options)


def refused(train: ImageSet, folder: Path) -> dict[str, str]:
    """Return what is said of wrong input, of which a rank has its own."""
    rank = current_ranks().rank
    other, method = train.first(19) if rank == 1 else train, METHODS["features"]

    def stop(_: Progress) -> None:
        raise InputError("no more room")

    attempts: dict[str, Callable[[], object]] = {
        "data": lambda: condense(other, method, RUN),
        "seed": lambda: condense(train, method, replace(RUN, seed=3 + (rank == 1))),
        "ranks": lambda: condense(make_set(num_classes=2), method, RUN),
        "method": lambda: condense(train, DatasetDistillationConfig(network="convnet-w8-d2"), RUN),
        "own": lambda: condense(train, replace(method, ipc_of={"ten": 1}) if rank == 1 else method, RUN),
        "disk": lambda: condense(train, method, RUN, directory=folder, observer=stop),
        "folder": lambda: condense(train, method, RUN, directory=folder),
        "collective": lambda: condense(train, replace(GRADIENTS, class_collective=True), RUN),
    }
    found = {}
    for name, attempt in attempts.items():
        try:
            attempt()
        except InputError as error:
            found[name] = str(error)
    return found


def broken(train: ImageSet, folder: Path) -> str:
    """Let the first rank end in the midst of a run; return what the others notice."""

    def end(progress: Progress) -> None:
        if progress.step == (2, 0):
            raise KeyboardInterrupt

    try:
        go_on(train, folder, observer=end)
    except (KeyboardInterrupt, LostRankError) as error:
        return type(error).__name__
    return ""


def together(train: ImageSet, folder: Path, size: int) -> None:
    """Join a group of so many ranks, run everything on this one and write what comes of it."""
    rank, own = int(os.environ["RANK"]), folder / f"{os.environ['RANK']} of {size}"
    place, patience = f"file://{folder}/meeting-of-{size}", timedelta(seconds=120)
    dist.init_process_group("gloo", place, rank=rank, world_size=size, timeout=patience)
    for name, images in learned(train).items():
        images.save(own / f"{name}.safetensors")
    found = {"accuracies": accuracies(train), "refused": refused(train, folder / f"refused-{size}")}
    if (folder / "run").exists():
        found["resumed"] = go_on(train, folder / "run").fingerprint
        found["finished"] = go_on(train, folder / "run").fingerprint
    else:
        dist.barrier()  # all have looked whether there is a run
        found["broken"] = broken(train, folder / "run")
    (own / "found.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def main(folder: Path) -> None:
    """Run everything on two ranks, then on three, of which the third was none of the two."""
    torch.set_num_threads(1)
    train = digits()
    for size in SIZES:
        if int(os.environ["RANK"]) < size:
            together(train, folder, size)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
