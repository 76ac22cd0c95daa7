"""Cosine between fast gradients and float64 gradients, on real images and fresh networks.

    python benchmarks/gradient_cosine.py --dataset cifar10

Compares the rows of the paper's distance (the weights of one output unit), class by class, and the pixel gradient of
one matching step, image by image.
"""

import argparse
from typing import Any

import measure
import torch
from library import loaded
from torch import Tensor
from torch.nn import functional as F

from datacondense import GradientMatchingConfig, ImageSet
from datacondense.condensation.state import Step
from datacondense.matching.gradients import compared_parameters, parameter_gradients
from datacondense.networks.backend import Backend, first_order_model
from datacondense.networks.builder import build_network
from datacondense.random import seeded_generator

VARIANTS = {
    "float32 eager": Backend("eager", "float32"),
    "float32 fused": Backend("fused", "float32"),
    "bfloat16 eager": Backend("eager", "bfloat16"),
    "bfloat16 fused": Backend("fused", "bfloat16"),
}


def row_cosines(train: ImageSet, seed: int, batch: int) -> dict[str, Tensor]:
    """Return, for each variant, the cosines with float64 of all rows of all classes."""
    network = build_network("convnet", train.image_shape, train.num_classes)
    parameters = network.draw(seeded_generator(seed, "network"))
    exact = {name: value.double() for name, value in parameters.items()}
    compared = compared_parameters(parameters)
    found: dict[str, list[Tensor]] = {name: [] for name in VARIANTS}
    for label, members in enumerate(train.class_indices):
        images = train.normalised(
            members[torch.randperm(len(members), generator=seeded_generator(seed, "real", label))[:batch]]
        )
        truth = parameter_gradients(network, exact, compared, images.double(), label)
        for name, backend in VARIANTS.items():
            model = first_order_model(network, backend)
            gradients = parameter_gradients(model, parameters, compared, images, label)
            pairs = zip(truth, gradients, strict=True)
            found[name] += [F.cosine_similarity(t.flatten(1), g.double().flatten(1)) for t, g in pairs]
    return {name: torch.cat(cosines) for name, cosines in found.items()}


def pixel_cosines(train: ImageSet, seed: int, batch: int) -> dict[str, Tensor]:
    """Return, for each variant, the cosines with float64 of all pixel gradients of one step."""

    def gradient(**selected: Any) -> Tensor:
        method = GradientMatchingConfig(real_batch=batch, matching_steps=1, **selected).build(train, seed)
        state, _ = method.step(method.init(), Step(0, 0))
        return state.velocity.flatten(0, 1).flatten(1).double()

    truth = gradient(precision="float64", engine="eager", graph_memory=1)
    return {
        name: F.cosine_similarity(truth, gradient(precision=backend.precision, engine=backend.engine))
        for name, backend in VARIANTS.items()
    }


def one_process(options: argparse.Namespace, point: measure.Point) -> measure.Row:
    """Measure with one seed in this process."""
    train, _, _ = loaded(options.dataset)
    kinds = {"rows": row_cosines, "pixels": pixel_cosines}
    return {
        kind: {
            name: spread(values) for name, values in compute(train, point["seed"], options.real_batch).items()
        }
        for kind, compute in kinds.items()
    }


def spread(cosines: Tensor) -> measure.Row:
    """Return mean, 1 % quantile and minimum."""
    return {
        "mean": float(cosines.mean()),
        "quantile_01": float(cosines.quantile(0.01)),
        "min": float(cosines.min()),
        "n": len(cosines),
    }


def summarise(options: argparse.Namespace, record: measure.Row) -> measure.Row:
    """Return the mean over seeds of mean and quantile, and the smallest minimum."""
    return {
        kind: {
            name: {
                "mean": sum(row[kind][name]["mean"] for row in record["rows"]) / len(record["rows"]),
                "quantile_01": sum(row[kind][name]["quantile_01"] for row in record["rows"])
                / len(record["rows"]),
                "min": min(row[kind][name]["min"] for row in record["rows"]),
            }
            for name in VARIANTS
        }
        for kind in ("rows", "pixels")
    }


def main() -> None:
    """Run or continue the measurement."""
    parser = measure.parser(__doc__, "gradient-cosine")
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--real-batch", type=int, default=64)
    options = parser.parse_args()
    points = [{"seed": seed} for seed in options.seeds]
    measure.benchmark(options, points, one_process, summarise, lengths=("seeds",))


if __name__ == "__main__":
    main()
