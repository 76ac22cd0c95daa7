"""Scoring: fresh networks are trained on a set and measured on test images, which influence nothing."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from datacondense.augment.strategies import augmented
from datacondense.environment import environment
from datacondense.errors import InputError
from datacondense.evaluation.learned_steps import train_by_learned_steps
from datacondense.evaluation.protocol import NOISE, EvaluationConfig, ResolvedProtocol, Score
from datacondense.facts import is_known
from datacondense.image_set import ImageSet, check_trainable
from datacondense.networks.backend import Backend, NetworkFunction, choose_backend, first_order_model
from datacondense.networks.builder import build_network
from datacondense.networks.names import has_batch_norm
from datacondense.networks.network import Network, Parameters, moved
from datacondense.networks.torch_state import usual_torch
from datacondense.random import seeded_generator
from datacondense.training import DivergedError, TrainState, check_finite, train
from datacondense.user_code import given_before

_TEST_BATCH = 500  # images per forward pass: large enough to be fast, small enough for any memory


@usual_torch()
def evaluate(
    images: ImageSet,
    test: ImageSet,
    config: EvaluationConfig | None = None,
    *,
    device: torch.device | str = "cpu",
    observer: Callable[[int, float], None] | None = None,
) -> Score:
    """Score a set by the accuracy of networks trained on it alone.

    Args:
        images: The set to score: condensed, selected or read.
        test: Images never used in training. They are normalised with the mean and std of `images`, which is what
            the networks were trained with.
        config: The protocol; the paper's where None.
        device: Where to compute.
        observer: Called after each network with its number, from 0, and its accuracy, 0 to 1.

    Returns:
        Every accuracy, with the full protocol.

    Raises:
        InputError: The two sets have different image shapes or classes, a name in the protocol is unknown, the engine
            cannot compute this network, the set names a network of somebody's own, or training diverged.
    """
    protocol = resolved(config or EvaluationConfig(), images, test)
    accuracies = []
    for repeat in range(protocol.repeats):
        accuracies.append(evaluate_one(images, test, protocol, repeat, device=device))
        if observer is not None:
            observer(repeat, accuracies[-1])
    source = test.provenance.get("source", {})
    return Score(
        accuracies=tuple(accuracies),
        protocol=protocol,
        trained_on=images.fingerprint,
        tested_on={**source, "fingerprint": test.fingerprint, "num_images": len(test)},
        environment={**environment(device), **backend(images, protocol, device)._asdict()},
    )


@usual_torch()
def evaluate_one(
    images: ImageSet,
    test: ImageSet,
    protocol: ResolvedProtocol,
    repeat: int,
    *,
    device: torch.device | str = "cpu",
) -> float:
    """Compute the accuracy, 0 to 1, of one of the networks that `evaluate` trains, alone and in any order."""
    _check_same_kind(images, test)
    check_trainable(images)
    images, test = images.to(device), test.to(device)
    network = _network(images, protocol)
    parameters, buffers = train_one(network, images, protocol, repeat)
    check_finite(parameters, protocol.lr)
    model = first_order_model(network, _backend(network, protocol, device))
    return accuracy(model, parameters, buffers, test, images)


def backend(images: ImageSet, protocol: ResolvedProtocol, device: torch.device | str) -> Backend:
    """Return how a resolved protocol computes here, for provenance."""
    return _backend(_network(images, protocol), protocol, device)


def resolved(config: EvaluationConfig, images: ImageSet, test: ImageSet | None = None) -> ResolvedProtocol:
    """Return a protocol with the defaults filled in that depend on the set.

    As published, a set that was learned with Siamese augmentation is scored with it, networks with batch normalisation
    train on noise, and what remains follows from the data set: that of the set, or that of the test images where the
    set was made elsewhere and does not tell.
    """
    known = next((each for each in (images, test) if each and is_known(each.dataset)), images)
    settings = images.provenance.get("settings", {})
    network, siamese = settings.get("network"), settings.get("siamese", "none")
    if config.network is None and ":" in (network or ""):
        network = given_before(network, "--network")
    augmentation = known.augmentation if siamese == "none" else siamese
    if has_batch_norm(config.network):
        augmentation = NOISE
    return config.resolved(
        condensed_with=network, augmentation=augmentation, may_be_mirrored=known.may_be_mirrored
    )


def train_one(
    network: Network, images: ImageSet, protocol: ResolvedProtocol, repeat: int
) -> tuple[Parameters, Parameters]:
    """Train one fresh network on a set, the learning rate dropping to a tenth after half of the epochs."""
    seed, epochs = protocol.seed, protocol.epochs
    inputs = images.normalised().to(dtype_of(protocol))
    drawn = network.draw(seeded_generator(seed, "evaluation network", repeat))
    parameters, buffers = (
        moved(tensors, inputs.device, inputs.dtype) for tensors in (drawn, network.buffers())
    )
    model = first_order_model(network, _backend(network, protocol, inputs.device))
    if protocol.learned_steps:
        return train_by_learned_steps(network, model, images, seed, repeat, inputs.dtype), buffers
    order = seeded_generator(seed, "evaluation order", repeat)
    change = seeded_generator(seed, "evaluation augmentation", repeat)
    trained = train(
        partial(model, buffers=buffers, training=True),
        TrainState.begun(parameters),
        inputs,
        images.labels,
        epochs=epochs,
        sgd=lambda epoch: protocol.sgd(epoch, epochs),
        order=lambda _: order,
        inputs=lambda _: partial(augmented, protocol.augmentation, generator=change),
    )
    return trained.parameters, buffers


@torch.inference_mode()
def accuracy(
    model: NetworkFunction, parameters: Parameters, buffers: Parameters, test: ImageSet, scale: ImageSet
) -> float:
    """Compute the share of right answers, 0 to 1, on test images in the normalisation of `scale`."""
    test = replace(test, mean=scale.mean, std=scale.std)
    dtype = next(iter(parameters.values())).dtype
    right = 0
    for batch in torch.arange(len(test), device=test.labels.device).split(_TEST_BATCH):
        logits = model(parameters, test.normalised(batch).to(dtype), buffers)
        if not bool(logits.isfinite().all()):
            raise DivergedError(
                "The trained network computes NaN or infinite logits for test images, which classify nothing: give a "
                "smaller --lr, or look at the range of the pixels."
            )
        right += int((logits.argmax(1) == test.labels[batch]).sum())
    return right / len(test)


def dtype_of(protocol: EvaluationConfig) -> torch.dtype:
    """Return the type of parameters and images under a protocol."""
    return torch.float64 if protocol.precision == "float64" else torch.float32


def _network(images: ImageSet, protocol: ResolvedProtocol) -> Network:
    return build_network(protocol.network, images.image_shape, images.num_classes)


def _backend(network: Network, protocol: EvaluationConfig, device: torch.device | str) -> Backend:
    return choose_backend(network, device, precision=protocol.precision, engine=protocol.engine)


def _check_same_kind(images: ImageSet, test: ImageSet) -> None:
    """Check that a network for one set can classify the other."""
    if images.image_shape != test.image_shape:
        raise InputError(
            f"The set has images of shape {images.image_shape}, but the test images are {test.image_shape} "
            "(channels, height, width): test on the data set it was made from, with the same --resize and --channels."
        )
    if images.class_names != test.class_names:
        raise InputError(
            f"The set has the classes {_listed(images)}, but the test images have {_listed(test)}: test on the data "
            "set it was made from."
        )


def _listed(images: ImageSet) -> str:
    """Name the first classes of a set and their number."""
    names = ", ".join(images.class_names[:5])
    return f"{names}{', …' if images.num_classes > 5 else ''} ({images.num_classes})"
