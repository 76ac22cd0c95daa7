"""Processor seconds to train several networks of one shape as one stack, against one by one, on a hundred images.

    python benchmarks/stacked.py --pairs 5

One thread; a stack is torch.func.vmap over the parameters. One by one is what `search` does, by torch's own layers and
as `auto` chooses them. Both are timed in turn, in one process: a ratio above 1 says that the stack takes longer.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from statistics import median
from typing import Any

import measure
import torch
from torch.func import grad, vmap
from torch.nn import functional as F

from datacondense.networks.backend import choose_backend, first_order_model
from datacondense.networks.builder import build_network
from datacondense.networks.network import Network, Parameters
from datacondense.random import seeded_generator
from datacondense.training import SGD, Model, TrainState, train

NETWORKS, NUMBERS, STEPS = ("convnet-w32-d2", "convnet-w64-d3"), (2, 4), 6
IMAGES, LABELS = (
    torch.randn(100, 1, 28, 28, generator=seeded_generator(0, "images")),
    torch.arange(10).repeat(10),
)
RATE = SGD(lr=0.01, momentum=0.9, weight_decay=5e-4)


def one_by_one(model: Model, networks: Sequence[Parameters]) -> None:
    """Train each network alone."""
    for each in networks:
        train(model, TrainState.begun(each), IMAGES, LABELS, epochs=STEPS, sgd=lambda _: RATE)


def stacked(network: Network, networks: Sequence[Parameters]) -> None:
    """Train all networks as one stack."""
    parameters = {name: torch.stack([each[name] for each in networks]) for name in networks[0]}
    velocity = {name: torch.zeros_like(tensor) for name, tensor in parameters.items()}
    gradients = vmap(grad(lambda own: F.cross_entropy(network(own, IMAGES), LABELS)))
    for _ in range(STEPS):
        found = gradients(parameters)
        for name, tensor in parameters.items():
            velocity[name].mul_(RATE.momentum).add_(found[name] + RATE.weight_decay * tensor)
            parameters[name] = tensor - RATE.lr * velocity[name]


def processor_seconds(run: Callable[[], Any]) -> float:
    """Return the processor time of a call."""
    began = time.process_time()
    run()
    return time.process_time() - began


def main() -> None:
    """Time all pairs and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    pairs = parser.parse_args().pairs
    torch.set_num_threads(1)
    rows = []
    for name, number, auto in product(NETWORKS, NUMBERS, (False, True)):
        network = build_network(name, (1, 28, 28), 10)
        settings = (
            {"precision": "auto", "engine": "auto"} if auto else {"precision": "float32", "engine": "eager"}
        )
        backend = choose_backend(network, "cpu", **settings)
        networks = [network.draw(seeded_generator(0, "network", index)) for index in range(number)]
        alone = partial(one_by_one, first_order_model(network, backend), networks)
        together = partial(stacked, network, networks)
        alone(), together()
        ratios = [processor_seconds(together) / processor_seconds(alone) for _ in range(pairs)]
        rows.append({"network": name, "number": number, **backend._asdict(), "n": pairs, "ratios": ratios})
        print(name, number, *backend, f"{median(ratios):.2f}")
    measure.write_record(measure.RESULTS / "stacked.json", {**measure.header(1), "seed": 0, "rows": rows})


if __name__ == "__main__":
    main()
