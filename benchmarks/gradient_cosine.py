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
from datacondense.matching.class_gradients import parameter_gradients
from datacondense.matching.gradients import compared_parameters
from datacondense.networks.backend import Backend, first_order_model
from datacondense.networks.builder import build_network
from datacondense.random import seeded_generator

EXACT = Backend("eager", "float64")


def row_gradients(backend: Backend, train: ImageSet, seed: int, batch: int) -> list[Tensor]:
    """Return the gradients of all rows, a tensor for each class and layer."""
    dtype = torch.float64 if backend == EXACT else torch.float32
    network = build_network("convnet", train.image_shape, train.num_classes)
    parameters = network.draw(seeded_generator(seed, "network"))
    compared, found = compared_parameters(parameters), list[Tensor]()
    model, given = (
        first_order_model(network, backend),
        {name: value.to(dtype) for name, value in parameters.items()},
    )
    for label, members in enumerate(train.class_indices):
        order = torch.randperm(len(members), generator=seeded_generator(seed, "real", label))
        images = train.normalised(members[order[:batch]]).to(dtype)
        found += [
            row.flatten(1).double() for row in parameter_gradients(model, given, compared, images, label)
        ]
    return found


def pixel_gradients(backend: Backend, train: ImageSet, seed: int, batch: int) -> list[Tensor]:
    """Return the pixel gradients of one step."""
    given: Any = backend._asdict() | ({"graph_memory": 1} if backend == EXACT else {})
    method = GradientMatchingConfig(real_batch=batch, matching_steps=1, **given).build(train, seed)
    state, _ = method.step(method.init(), Step(0, 0))
    return [state.velocity.flatten(0, 1).flatten(1).double()]


@measure.benchmark(
    "gradient-cosine", measure.of_seeds, lengths=("seeds",), dataset="cifar10", seeds=[0, 1, 2], real_batch=64
)  # fmt: skip
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    given = (loaded(options.dataset)[0], point["seed"], options.real_batch)
    found: measure.Row = {}
    for kind, gradients in {"rows": row_gradients, "pixels": pixel_gradients}.items():
        exact, found[kind] = gradients(EXACT, *given), {}
        for precision, engine in product(("float32", "bfloat16"), ("eager", "fused")):
            pairs = zip(exact, gradients(Backend(engine, precision), *given), strict=True)
            cosines = torch.cat([cosine_similarity(one, other) for one, other in pairs])
            figures = {"mean": cosines.mean(), "quantile_01": cosines.quantile(0.01), "min": cosines.min()}
            numbers = {name: float(value) for name, value in figures.items()}
            found[kind][f"{precision} {engine}"] = {**numbers, "n": len(cosines)}
    return found
