"""Sets that others published, imported and scored as the import prints it, beside the accuracies in their files.

    python benchmarks/published_sets.py --sets FOLDER --files res_DC_MNIST_ConvNet_1ipc.pt --networks ConvNet MLP

The files are the `res_*.pt` of Distill-Generalization-Group/Distill-Generalization, and `mnist.pt` of DanielHelle's
DatasetCondensation, all of gradient matching; their names say the data set. A file may hold sets of several runs and
the accuracies of all; the first run is scored. Networks go by their names in the file.
"""

from functools import partial
from pathlib import Path
from typing import Any

import measure
from library import loaded

from datacondense import EvaluationConfig, evaluate, read_published


@measure.benchmark(
    "published-sets",
    lambda options: measure.grid(file=options.files, network=options.networks),
    lengths=("sets", "files", "networks"), sets=Path, files=[str], networks=["ConvNet"], repeats=5, device="cpu",
)  # fmt: skip
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    dataset = next(name for name in ("mnist", "cifar10") if name in point["file"].lower())
    train, test = loaded(dataset)
    images = read_published(options.sets / point["file"], on=train, format="dc")
    imported: dict[str, Any] = images.provenance["imported"]
    published = imported["accuracies"][point["network"]]
    scores: measure.Row = {}
    config = EvaluationConfig(network=point["network"].lower(), repeats=options.repeats)
    score = partial(evaluate, images, test, config, device=options.device)
    took = measure.seconds_of(lambda: scores.update(score().as_dict()))
    off = (scores["mean"] - published["mean"]) / published["std"]
    facts = {"dataset": dataset, "published": published, "published_stds_off": off, "imported": imported}
    return {**facts, "score": scores, "evaluation_seconds": took, "fingerprint": images.fingerprint}
