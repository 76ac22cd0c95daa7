"""The one loop over epochs: networks between condensation steps, in evaluation, and on a full data set."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.cuda_graphs import Captured, CudaGraphs, fitting, sent, side_by_side
from datacondense.errors import InputError
from datacondense.networks.network import Parameters

Model: TypeAlias = Callable[..., Tensor]
"""From parameters and inputs to logits, such as a `Network`; with buffers in third place where there are some."""
Change: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From images and labels of a batch to those that are trained on, such as an augmentation."""
Watcher: TypeAlias = Callable[[Tensor, Tensor], None]
Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From what the model returns for a batch, and its labels, to a scalar."""

_Tensors: TypeAlias = tuple[Parameters, Parameters, Parameters]
"""Parameters, velocity and buffers of a network."""
_Part: TypeAlias = tuple[Tensor | None, tuple[Tensor, Tensor]]
"""The positions of a batch, None for all images in their order, and its images and labels."""


class DivergedError(InputError):
    """Training ended in numbers that are not finite: what they would classify is no accuracy."""


@dataclass(frozen=True, kw_only=True)
class SGD:
    """The update `v = momentum * v + gradient + weight_decay * p`, `p = p - lr * v`.

    Attributes:
        lr: Learning rate.
        momentum: Share of the last update that is kept, 0 to 1.
        weight_decay: Weight of the squared norm of the parameters.
        batch_size: Images per update; a smaller set is one batch.
    """

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 256


class TrainState(NamedTuple):
    """Training between two epochs.

    Attributes:
        epoch: The one that comes next, from 0.
        parameters: Parameters by name.
        velocity: Their momentum by name.
    """

    epoch: int
    parameters: Parameters
    velocity: Parameters

    @staticmethod
    def begun(parameters: Parameters) -> "TrainState":
        """Return the state before the first epoch: these parameters at rest."""
        return TrainState(0, parameters, zero_velocity(parameters))


def zero_velocity(parameters: Parameters) -> Parameters:
    """Return the momentum with which training begins: zeros of the same shapes."""
    return {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}


class Learner(NamedTuple):
    """A network in training: its state, and what it does not share with networks that train beside it.

    Attributes:
        start: Its state at the beginning; not changed.
        order: From the number of an epoch to the generator that draws its order; needed for more than one batch.
        change: From the number of an epoch to what changes its batches.
        buffers: What the model takes in third place, and may change in place, such as the statistics of batch
            normalisation; a model without takes two arguments.
    """

    start: TrainState
    order: Callable[[int], torch.Generator] | None = None
    change: Callable[[int], Change] | None = None
    buffers: Parameters | None = None


def train(
    model: Model,
    start: TrainState,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    sgd: Callable[[int], SGD],
    order: Callable[[int], torch.Generator] | None = None,
    change: Callable[[int], Change] | None = None,
    buffers: Parameters | None = None,
    loss: Loss = F.cross_entropy,
    watch: Watcher | None = None,
    after_epoch: Callable[[TrainState], None] | None = None,
    graphs: CudaGraphs | None = None,
) -> TrainState:
    """Return the state, in new tensors, after training until `epochs` in all are done, those of `start` included.

    Each batch's `loss` is minimised, by default the mean cross-entropy. What an epoch needs is a function of its
    number, so that training which was stopped after one goes on with the next: `sgd`, the generator that draws its
    `order` (needed for more than one batch), and the `change` of its batches, such as an augmentation. Images are
    normalised `[N, C, H, W]`, or whatever `change` makes them of, such as positions `[N]`; labels are class numbers
    `[N]`, int64, or distributions `[N, K]` of the type of the logits. `buffers` are what the model takes in third place
    and changes in place. `watch` is called for each batch with positions `[B]` and logits `[B, K]` from before its
    update; `after_epoch` with a state that changes in place later on.

    With `graphs`, an update is captured where the device captures, and replayed in every later call with this very
    model and these shapes. The model must then take whatever changes between calls as an argument, buffers above all,
    and neither wait for the device nor draw random numbers: a user's own network trains without.
    """
    learner = Learner(start, order, change, buffers)
    if graphs is not None and graphs.captures:
        captured = _Captured(model, [learner], images, labels, graphs, loss)
        return captured.train(epochs, sgd, watch=watch, after_epoch=after_epoch)[0]
    parameters = {name: tensor.detach().clone().requires_grad_() for name, tensor in start.parameters.items()}
    velocity = {name: tensor.clone() for name, tensor in start.velocity.items()}
    for epoch in range(start.epoch, epochs):
        settings = sgd(epoch)
        for batch, (seen, targets) in _batches(images, labels, settings.batch_size, learner, epoch):
            logits = model(parameters, seen, *((buffers,) if buffers else ()))
            if watch is not None:
                watch(_positions(batch, images), logits.detach())
            gradients = torch.autograd.grad(loss(logits, targets), list(parameters.values()))
            _update(parameters, velocity, gradients, settings)
        if after_epoch is not None:
            after_epoch(TrainState(epoch + 1, _detached(parameters), velocity))
    return TrainState(max(start.epoch, epochs), _detached(parameters), velocity)


def train_side_by_side(
    model: Model,
    learners: Sequence[Learner],
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    sgd: Callable[[int], SGD],
    graphs: CudaGraphs,
    loss: Loss = F.cross_entropy,
) -> list[TrainState]:
    """Return the states of networks after training each as `train` does, with the same numbers as alone.

    Where the device captures, one update of all networks is one graph, in which each is a branch. All start after the
    same epoch. See `train` for what the model must be.
    """
    if graphs.captures:
        return _Captured(model, learners, images, labels, graphs, loss).train(epochs, sgd)
    alone = partial(train, model, images=images, labels=labels, epochs=epochs, sgd=sgd, loss=loss)
    return [alone(**each._asdict()) for each in learners]


def networks_at_once(
    model: Model, learner: Learner, images: Tensor, labels: Tensor, sgd: SGD, loss: Loss = F.cross_entropy
) -> int:
    """Return how many networks like this one can train side by side in the memory that the images' device has free."""
    parameters, velocity, buffers = map(_copied, _tensors(learner))
    state = (parameters, velocity, buffers)
    batch = images[: sgd.batch_size], labels[: sgd.batch_size]
    step = partial(_step, model, loss, sgd.momentum, sgd.weight_decay, state, batch, _zero_rate(learner))
    return fitting(step, images.device)


def check_finite(parameters: Parameters, lr: float) -> None:
    """Refuse trained parameters that are not finite."""
    finite = torch.stack([tensor.isfinite().all() for tensor in parameters.values()]).tolist()
    bad = [name for name, is_finite in zip(parameters, finite, strict=True) if not is_finite]
    if bad:
        raise DivergedError(
            f"Training diverged: {bad[0]} ({len(bad)} of {len(parameters)} parameters) became NaN or infinite with the "
            f"learning rate {lr:g}: give a smaller --lr, or look at the range of the pixels."
        )


class _Captured:
    """Networks in training on tensors that stay where they are, so that one update of all of them is one graph."""

    def __init__(
        self,
        model: Model,
        learners: Sequence[Learner],
        images: Tensor,
        labels: Tensor,
        graphs: CudaGraphs,
        loss: Loss,
    ) -> None:
        self._model, self._learners, self._graphs, self._loss = model, learners, graphs, loss
        self._images, self._labels = images, labels
        self._key = ("update", model, loss, len(learners))
        self._states = graphs.static((self._key, "states"), list(map(_tensors, learners)))
        self._rate = graphs.static((self._key, "rate"), _zero_rate(learners[0]))
        self._batches: dict[int, tuple[Tensor, Tensor]] = {}
        self._unchanged: dict[int, bool] = {}
        self._updates: dict[Hashable, Captured] = {}

    def train(
        self,
        epochs: int,
        sgd: Callable[[int], SGD],
        watch: Watcher | None = None,
        after_epoch: Callable[[TrainState], None] | None = None,
    ) -> list[TrainState]:
        """Train all; the first network is watched."""
        begun = self._learners[0].start.epoch
        for epoch in range(begun, epochs):
            settings = sgd(epoch)
            self._rate.fill_(settings.lr)
            of_each = partial(_batches, self._images, self._labels, settings.batch_size, epoch=epoch)
            batches = [of_each(each) for each in self._learners]
            for parts in zip(*batches, strict=True):
                logits = self._update(settings, parts)
                if watch is not None:
                    watch(_positions(parts[0][0], self._images), logits[0].clone())
            if after_epoch is not None:
                after_epoch(self._reached(epoch + 1)[0])
        return [
            TrainState(epoch, _copied(parameters), _copied(velocity))
            for epoch, parameters, velocity in self._reached(max(begun, epochs))
        ]

    def _update(self, settings: SGD, parts: Sequence[_Part]) -> list[Tensor]:
        """Move every network by one step on its own batch; return their logits."""
        for number, (_, batch) in enumerate(parts):
            # What is shown in every epoch alike is copied once.
            unchanged = batch[0] is self._images and batch[1] is self._labels
            if not (unchanged and self._unchanged.get(number)):
                self._batches[number] = self._graphs.static((self._key, "batch", number), batch)
                self._unchanged[number] = unchanged
        numbers = (settings.momentum, settings.weight_decay)
        name = (numbers, *((each.shape, each.dtype) for _, batch in parts for each in batch))
        if name not in self._updates:
            self._updates[name] = self._graphs.captured(
                (self._key, numbers),
                partial(_steps, self._model, self._loss, *numbers),
                self._states,
                list(self._batches.values()),
                self._rate,
            )
        logits: list[Tensor] = self._updates[name].replay()
        return logits

    def _reached(self, epoch: int) -> list[TrainState]:
        """Return the states after an epoch, and let each network's own buffers follow."""
        for learner, (_, _, buffers) in zip(self._learners, self._states, strict=True):
            for name, own in (learner.buffers or {}).items():
                own.copy_(buffers[name])
        return [TrainState(epoch, parameters, velocity) for parameters, velocity, _ in self._states]


def _steps(
    model: Model,
    loss: Loss,
    momentum: float,
    weight_decay: float,
    states: Sequence[_Tensors],
    batches: Sequence[tuple[Tensor, Tensor]],
    rate: Tensor,
) -> list[Tensor]:
    """Move networks by one step, in place and side by side; return their logits."""
    steps = [
        partial(_step, model, loss, momentum, weight_decay, state, batch, rate)
        for state, batch in zip(states, batches, strict=True)
    ]
    return side_by_side(steps, rate.device)


def _step(
    model: Model,
    loss: Loss,
    momentum: float,
    weight_decay: float,
    state: _Tensors,
    batch: tuple[Tensor, Tensor],
    rate: Tensor,
) -> Tensor:
    """Move a network by one step, in place; return its logits from before."""
    parameters, velocity, buffers = state
    images, labels = batch
    # New leaves for each call: autograd remembers on which stream a leaf was first used.
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in parameters.items()}
    logits = model(leaves, images, *((buffers,) if buffers else ()))
    gradients = torch.autograd.grad(loss(logits, labels), list(leaves.values()))
    moved, moving = list(parameters.values()), [velocity[name] for name in parameters]
    with torch.no_grad():
        # The same update as below in a few kernels for all tensors, its learning rate a tensor that a graph can read.
        if weight_decay:
            gradients = torch._foreach_add(gradients, moved, alpha=weight_decay)
        torch._foreach_mul_(moving, momentum)
        torch._foreach_add_(moving, gradients)
        torch._foreach_sub_(moved, torch._foreach_mul(moving, rate))
    return logits.detach()


def _tensors(learner: Learner) -> _Tensors:
    return learner.start.parameters, learner.start.velocity, learner.buffers or {}


def _zero_rate(learner: Learner) -> Tensor:
    """Return room for a learning rate, of the type and on the device of the parameters."""
    return next(iter(learner.start.parameters.values())).new_zeros(())


def _batches(images: Tensor, labels: Tensor, size: int, learner: Learner, epoch: int) -> Iterator[_Part]:
    """Yield the batches of an epoch."""
    change = None if learner.change is None else learner.change(epoch)
    order: list[Tensor | None] = [None]
    # One batch needs no order: the mean over it does not depend on one, and gathering costs time.
    if len(images) > size:
        assert learner.order is not None, "more than one batch needs an order"
        drawn = torch.randperm(len(images), generator=learner.order(epoch))
        order = [*sent(drawn, images.device).split(size)]
    for positions in order:
        batch = (images, labels) if positions is None else (images[positions], labels[positions])
        yield positions, batch if change is None else change(*batch)


def _positions(batch: Tensor | None, images: Tensor) -> Tensor:
    return torch.arange(len(images), device=images.device) if batch is None else batch


def _copied(parameters: Parameters) -> Parameters:
    return {name: tensor.detach().clone() for name, tensor in parameters.items()}


def _detached(parameters: Parameters) -> Parameters:
    return {name: parameter.detach() for name, parameter in parameters.items()}


@torch.no_grad()
def _update(parameters: Parameters, velocity: Parameters, gradients: tuple[Tensor, ...], sgd: SGD) -> None:
    """Move the parameters by one step, in place."""
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        step = gradient.add(parameter, alpha=sgd.weight_decay) if sgd.weight_decay else gradient
        velocity[name].mul_(sgd.momentum).add_(step)
        parameter.sub_(velocity[name], alpha=sgd.lr)
