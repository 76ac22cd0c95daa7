"""Seconds to train the network between two matching steps; the library's are those that twice as many epochs add.

python benchmarks/inner_training.py --pairs 10
"""

from functools import partial

import measure
import plain
import torch
from library import MatchingSteps, random_set


@measure.benchmark(
    "inner-training", pairs=10, repeats=2, epochs=50, shape=(3, 32, 32), precision="bfloat16",
    set=[str], classes=10, ipc=10,
)  # fmt: skip
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    if point["variant"] == "datacondense":
        train = random_set(options.shape, options.classes, 1)
        given: measure.Row = {"ipc": options.ipc, "real_batch": 1, "matching_steps": 2}
        once, twice = (
            MatchingSteps(options, train, network_epochs=times * options.epochs, **given) for times in (1, 2)
        )
        once()  # so that both are warm
        row = measure.timed(
            twice, options.repeats, lambda call: measure.seconds_of(call) - measure.seconds_of(once)
        )
        return {**row, **once.backend}
    labels = torch.arange(options.classes).repeat_interleave(options.ipc)
    images, net = torch.randn(len(labels), *options.shape), plain.ConvNet(options.shape, options.classes)
    return measure.timed(partial(plain.inner_training, net, images, labels, options.epochs), options.repeats)
