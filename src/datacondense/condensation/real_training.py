"""Training on real images between two steps, for methods whose networks are not fresh (Kim et al., ICML 2022)."""

from functools import partial

from datacondense.augment.strategies import changed
from datacondense.condensation.sampler import Sampler
from datacondense.cuda_graphs import CudaGraphs
from datacondense.networks.network import Parameters
from datacondense.training import SGD, Model, TrainState, train


def trained_on_real(
    model: Model,
    start: TrainState,
    sampler: Sampler,
    number: int,
    *,
    images: int,
    sgd: SGD,
    augmentation: str,
    cutmix: float = 0.0,
    epochs: int = 1,
    buffers: Parameters | None = None,
    graphs: CudaGraphs | None = None,
) -> TrainState:
    """Return the state of a network after training on real images of all classes, augmented each in its own way.

    Args:
        model: From parameters, images and buffers to logits.
        start: The network before, with its momentum.
        sampler: Draws the images: those of consecutive numbers follow each other through the data set.
        number: Which images, from 0.
        images: How many.
        sgd: The optimiser.
        augmentation: A resolved strategy.
        cutmix: Probability of CutMix in a batch.
        epochs: Passes over them.
        buffers: What the model takes in third place.
        graphs: What captures the updates.

    Returns:
        The state after the last epoch.
    """
    order, change = (sampler.generator(f"real training {what}", number) for what in ("order", "augmentation"))
    return train(
        model,
        TrainState(0, start.parameters, start.velocity),
        *sampler.real_of_all(images, "real training", number),
        epochs=epochs,
        sgd=lambda _: sgd,
        order=lambda _: order,
        change=lambda _: partial(
            changed, augmentation, generator=change, num_classes=sampler.train.num_classes, cutmix=cutmix
        ),
        buffers=buffers,
        graphs=graphs,
    )
