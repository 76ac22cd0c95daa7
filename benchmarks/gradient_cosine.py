"""Cosine between fast gradients and float64 gradients, on real images and fresh networks.

    python benchmarks/gradient_cosine.py --dataset cifar10

Compares the rows of the paper's distance (the weights of one output unit) and the pixel gradient of one matching step.
"""

from itertools import product
from typing import Any

import measure
import torch
from library import loaded
from torch import Tensor
from torch.nn.functional import cosine_similarity

from datacondense import GradientMatchingConfig, ImageSet
from datacondense.condensation.state import Step
from datacondense.matching.gradients import compared_parameters, parameter_gradients
from datacondense.networks.backend import Backend, first_order_model
from datacondense.networks.builder import build_network
from datacondense.random import seeded_generator


def row_cosines(backend: Backend, train: ImageSet, seed: int, batch: int) -> Tensor:
    """Return the cosines with float64 of all rows of all classes."""
    network = build_network("convnet", train.image_shape, train.num_classes)
    parameters = network.draw(seeded_generator(seed, "network"))
    exact = {name: value.double() for name, value in parameters.items()}
    compared, model = compared_parameters(parameters), first_order_model(network, backend)
    found: list[Tensor] = []
    for label, members in enumerate(train.class_indices):
        order = torch.randperm(len(members), generator=seeded_generator(seed, "real", label))
        images = train.normalised(members[order[:batch]])
        truth = parameter_gradients(network, exact, compared, images.double(), label)
        fast = parameter_gradients(model, parameters, compared, images, label)
        pairs = zip(truth, fast, strict=True)
        found += [cosine_similarity(one.flatten(1), other.double().flatten(1)) for one, other in pairs]
    return torch.cat(found)


def pixel_cosines(backend: Backend, train: ImageSet, seed: int, batch: int) -> Tensor:
    """Return the cosines with float64 of all pixel gradients of one step."""

    def gradient(**given: Any) -> Tensor:
        method = GradientMatchingConfig(real_batch=batch, matching_steps=1, **given).build(train, seed)
        state, _ = method.step(method.init(), Step(0, 0))
        return state.velocity.flatten(0, 1).flatten(1).double()

    exact = gradient(precision="float64", engine="eager", graph_memory=1)
    return cosine_similarity(exact, gradient(**backend._asdict()))


def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    """Measure with one seed in this process."""
    train, found = loaded(options.dataset)[0], measure.Row(rows={}, pixels={})
    for precision, engine, kind in product(("float32", "bfloat16"), ("eager", "fused"), found):
        cosines_of = row_cosines if kind == "rows" else pixel_cosines
        cosines = cosines_of(Backend(engine, precision), train, point["seed"], options.real_batch)
        figures = {"mean": cosines.mean(), "quantile_01": cosines.quantile(0.01), "min": cosines.min()}
        numbers = {name: float(value) for name, value in figures.items()}
        found[kind][f"{precision} {engine}"] = {**numbers, "n": len(cosines)}
    return found


if __name__ == "__main__":
    measure.benchmark(
        "gradient-cosine", one_process, points=measure.of_seeds, lengths=("seeds",), dataset="cifar10",
        seeds=[0, 1, 2], real_batch=64,
    )  # fmt: skip
