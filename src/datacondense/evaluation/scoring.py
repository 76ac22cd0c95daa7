"""Scoring: fresh networks are trained on a set and measured on test images, which influence nothing.

A GPU trains as many networks side by side as fit into its memory, each with the numbers that it would have alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from datacondense.cuda_graphs import CudaGraphs, fitting, side_by_side
from datacondense.environment import environment
from datacondense.evaluation.learned_steps import train_by_learned_steps
from datacondense.evaluation.protocol import (
    NOISE,
    EvaluationConfig,
    ResolvedProtocol,
    Score,
    own_protocol,
)
from datacondense.evaluation.same_kind import check_same_kind
from datacondense.facts import is_known
from datacondense.image_set import ImageSet, check_trainable
from datacondense.networks.backend import Backend, NetworkFunction, choose_backend, first_order_model
from datacondense.networks.builder import build_network
from datacondense.networks.names import has_batch_norm
from datacondense.networks.network import Network, Parameters, moved
from datacondense.networks.torch_state import usual_torch
from datacondense.random import seeded_generator
from datacondense.ranks import current_ranks
from datacondense.settings import plain_settings
from datacondense.training import (
    DivergedError,
    Learner,
    TrainState,
    check_finite,
    networks_at_once,
    train_side_by_side,
)
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

    Where `torch.distributed.init_process_group` was called, its ranks share the networks out: all of them call this
    function with the same arguments, and get the same score.

    Args:
        images: The set to score: condensed, selected or read.
        test: Images never used in training. They are normalised with the mean and std of `images`, which is what
            the networks were trained with.
        config: The protocol; where None that of the paper of the set's method, see `own_protocol`.
        device: Where to compute.
        observer: Called after each network with its number, from 0, and its accuracy, 0 to 1; on the first rank only.

    Returns:
        Every accuracy, with the full protocol.

    Raises:
        InputError: The two sets have different image shapes or classes, a name in the protocol is unknown, the engine
            cannot compute this network, the set names a network of somebody's own, or training diverged.
    """
    ranks = current_ranks()
    with ranks.joint():
        protocol = resolved(config or own_protocol(images), images, test)
        scoring = _Scoring(images, test, protocol, device)
    facts = {"set": images.fingerprint, "test images": test.fingerprint, **plain_settings(protocol)}
    ranks.check_same(facts if ranks.size > 1 else {})
    observe = observer if observer is not None and ranks.is_first else lambda repeat, accuracy: None

    def of_repeats(repeats: range) -> tuple[Tensor]:
        found = []
        for repeat, accuracy in zip(repeats, scoring.accuracies(repeats), strict=True):
            found.append(accuracy)
            observe(repeat, accuracy)
        return (torch.tensor(found, dtype=torch.float64),)

    (all_found,) = ranks.gathered(protocol.repeats, of_repeats)
    accuracies: list[float] = all_found.tolist()
    for repeat in range(len(ranks.share(protocol.repeats)), protocol.repeats):  # of the other ranks
        observe(repeat, accuracies[repeat])
    source = test.provenance.get("source", {})
    return Score(
        accuracies=tuple(accuracies),
        protocol=protocol,
        trained_on=images.fingerprint,
        tested_on={**source, "fingerprint": test.fingerprint, "num_images": len(test)},
        environment={
            **environment(device),
            **backend(images, protocol, device)._asdict(),
            **scoring.on_gpu(),
        },
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
    return next(_Scoring(images, test, protocol, device).accuracies([repeat]))


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
    protocol = config.resolved(
        condensed_with=network, augmentation=augmentation, may_be_mirrored=known.may_be_mirrored
    )
    return protocol.for_labels_of(images)


def train_one(
    network: Network, images: ImageSet, protocol: ResolvedProtocol, repeat: int
) -> tuple[Parameters, Parameters]:
    """Train one fresh network on a set, by a protocol: parameters and buffers."""
    return _Training(network, images, protocol).trained([repeat])[0]


class _Training:
    """Trains fresh networks on a set; those of one's own as they are, since they may do what no graph repeats."""

    def __init__(self, network: Network, images: ImageSet, protocol: ResolvedProtocol) -> None:
        device, decoded = images.images.device, images.decoded()
        protocol = protocol.for_labels_of(images)
        self._network, self._images, self._protocol = network, images, protocol
        self._inputs = decoded.normalised().to(dtype_of(protocol))
        self._labels, self._loss = protocol.targets(decoded, self._inputs.dtype), protocol.loss
        self.model = first_order_model(network, _backend(network, protocol, device))
        self._in_training = partial(self.model, training=True)
        captured = ":" not in network.name and not protocol.learned_steps
        self.graphs = CudaGraphs(device if captured else "cpu")

    def fitting(self) -> int:
        """Return how many networks can be trained side by side."""
        sgd = self._protocol.sgd(0, self._protocol.epochs)
        batches = (self._inputs, self._labels)
        return networks_at_once(self._in_training, self._learner(0), *batches, sgd, self._loss)

    def fresh(self) -> tuple[Parameters, Parameters]:
        """Return parameters and buffers of a network that is not trained."""
        learner = self._learner(0)
        return learner.start.parameters, learner.buffers or {}

    def trained(self, repeats: Sequence[int]) -> list[tuple[Parameters, Parameters]]:
        """Return parameters and buffers of networks that were trained side by side."""
        protocol = self._protocol
        learners = [self._learner(repeat) for repeat in repeats]
        if protocol.learned_steps:
            by_steps = partial(train_by_learned_steps, self._network, self.model, self._images, protocol.seed)
            return [
                (by_steps(repeat, self._inputs.dtype), each.buffers or {})
                for repeat, each in zip(repeats, learners, strict=True)
            ]
        states = train_side_by_side(
            self._in_training,
            learners,
            self._inputs,
            self._labels,
            epochs=protocol.epochs,
            sgd=lambda epoch: protocol.sgd(epoch, protocol.epochs),
            graphs=self.graphs,
            loss=self._loss,
        )
        return [(state.parameters, each.buffers or {}) for state, each in zip(states, learners, strict=True)]

    def _learner(self, repeat: int) -> Learner:
        """Return a fresh network, with the random numbers that its number determines."""
        protocol, network = self._protocol, self._network
        drawn = network.draw(seeded_generator(protocol.seed, "evaluation network", repeat))
        parameters, buffers = (
            moved(tensors, self._inputs.device, self._inputs.dtype) for tensors in (drawn, network.buffers())
        )
        order = seeded_generator(protocol.seed, "evaluation order", repeat)
        change = seeded_generator(protocol.seed, "evaluation augmentation", repeat)
        return Learner(
            TrainState.begun(parameters),
            lambda _: order,
            lambda _: protocol.change(self._images.num_classes, change),
            buffers,
        )


class _Scoring:
    """Trains and tests the networks of one protocol on one device."""

    def __init__(
        self, images: ImageSet, test: ImageSet, protocol: ResolvedProtocol, device: torch.device | str
    ) -> None:
        check_same_kind(images, test)
        check_trainable(images)
        self._images, self._test, self._protocol = images.to(device), test.to(device), protocol
        self._training = _Training(_network(images, protocol), self._images, protocol)
        self._at_once = 1

    def accuracies(self, repeats: Sequence[int]) -> Iterator[float]:
        """Yield the accuracy of each network, in order."""
        training, size = self._training, self._networks_at_once(len(repeats))
        self._at_once = size
        for start in range(0, len(repeats), size):
            networks = training.trained(repeats[start : start + size])
            found = accuracies(training.model, networks, self._test, self._images, training.graphs)
            for parameters, _ in networks:
                check_finite(parameters, self._protocol.lr)
                yield next(found)

    def _networks_at_once(self, number: int) -> int:
        """Return how many networks to train and test side by side: groups that fit, as equal as can be."""
        training, test = self._training, self._test
        if not training.graphs.captures or number <= 1:
            return 1

        def test_one() -> None:
            few = test.subset(torch.arange(min(len(test), _TEST_BATCH), device=test.labels.device))
            next(accuracies(training.model, [training.fresh()], few, self._images, CudaGraphs("cpu")))

        fit = min(training.fitting(), fitting(test_one, test.labels.device))
        groups = -(-number // fit)
        return -(-number // groups)

    def on_gpu(self) -> dict[str, str | int]:
        """Return what is peculiar to a GPU: whether training was captured, and networks side by side."""
        if self._images.labels.device.type != "cuda":
            return {}
        graphs = self._training.graphs
        captured = graphs.captures and not graphs.eager
        return {"training": "captured" if captured else "eager", "side_by_side": self._at_once}


def accuracy(
    model: NetworkFunction, parameters: Parameters, buffers: Parameters, test: ImageSet, scale: ImageSet
) -> float:
    """Compute the share of right answers, 0 to 1, on test images in the normalisation of `scale`."""
    return next(accuracies(model, [(parameters, buffers)], test, scale, CudaGraphs("cpu")))


@torch.no_grad()
def accuracies(
    model: NetworkFunction,
    networks: Sequence[tuple[Parameters, Parameters]],
    test: ImageSet,
    scale: ImageSet,
    graphs: CudaGraphs,
) -> Iterator[float]:
    """Yield the accuracies of networks, given as parameters and buffers, tested side by side where `graphs` capture."""
    test = replace(test, mean=scale.mean, std=scale.std)
    dtype = next(iter(networks[0][0].values())).dtype
    key = ("right answers", model, len(networks))
    fixed, counts = graphs.static(key, (list(networks), test.labels.new_zeros(len(networks), 2)))
    for positions in torch.arange(len(test), device=test.labels.device).split(_TEST_BATCH):
        batch = test.normalised(positions).to(dtype), test.labels[positions]
        batch = graphs.static((key, "batch"), batch)
        graphs.captured(key, partial(_count, model), fixed, *batch, counts).replay()
    # Read once: until here nothing waits for the device.
    for right, not_finite in counts.tolist():
        if not_finite:
            raise DivergedError(
                "The trained network computes NaN or infinite logits for test images, which classify nothing: give a "
                "smaller --lr, or look at the range of the pixels."
            )
        yield right / len(test)


def _count(
    model: NetworkFunction,
    networks: Sequence[tuple[Parameters, Parameters]],
    images: Tensor,
    labels: Tensor,
    counts: Tensor,
) -> Tensor:
    """Add right answers and logits that are not finite to the counts `[R, 2]` of networks."""

    def count(parameters: Parameters, buffers: Parameters, own: Tensor) -> None:
        logits = model(parameters, images, buffers)
        own.add_(torch.stack([(logits.argmax(1) == labels).sum(), (~logits.isfinite()).sum()]))

    side_by_side(
        [partial(count, *each, own) for each, own in zip(networks, counts, strict=True)], images.device
    )
    return counts


def dtype_of(protocol: EvaluationConfig) -> torch.dtype:
    """Return the type of parameters and images under a protocol."""
    return torch.float64 if protocol.precision == "float64" else torch.float32


def _network(images: ImageSet, protocol: ResolvedProtocol) -> Network:
    return build_network(protocol.network, images.image_shape, images.num_classes)


def _backend(network: Network, protocol: EvaluationConfig, device: torch.device | str) -> Backend:
    return choose_backend(network, device, precision=protocol.precision, engine=protocol.engine)
