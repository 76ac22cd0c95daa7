"""Parameter matching (Zhao, Mopuri, Bilen 2021, section 2.2): images that lead a network where real images lead it.

With experts it is trajectory matching (Cazenavette et al., CVPR 2022, "MTT"), and with learned labels and late starts
that come in by and by, difficulty-aligned trajectory matching (Guo et al., ICLR 2024, "DATM").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from math import ceil
from typing import ClassVar

import torch
from torch import Tensor

from datacondense.augment.strategies import augmented, check_strategy, resolved_strategy
from datacondense.condensation.descent import DescentMethod, FirstOrderConfig
from datacondense.condensation.experts import ExpertProtocol, Experts
from datacondense.condensation.learned_labels import LABEL_LOGITS, current_labels, first_logits
from datacondense.condensation.state import State, Step
from datacondense.cuda_graphs import sent
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.matching.unrolled import InnerStep, gradients_step_by_step, unrolled_gradients
from datacondense.networks.names import canonical_network, network_name
from datacondense.networks.network import Parameters
from datacondense.settings import added, check_at_least, check_momenta, check_rates, narrowed
from datacondense.training import SGD, TrainState, train

INNER_LR = "inner_lr"
_OF_EXPERTS = (
    *("expert_epochs", "expert_momentum", "augmentation"),
    *("start_epochs", "start_epochs_grow", "target_epochs"),
)


@dataclass(frozen=True, kw_only=True)
class ParameterMatchingConfig(FirstOrderConfig):
    """Settings of parameter matching (Zhao et al. 2021, section 2.2), for which no published ones exist.

    Attributes:
        real_batch: Real images per class in one step of training on real images. A smaller class gives all of its own.
        real_steps: Steps of training on real images, each on a batch of its own.
        inner_steps: Steps of training on the synthetic images, each on all of them.
        network_lr: Learning rate of training on real images.
        inner_lr: Learning rate of training on the synthetic images. Default: network_lr × real_steps / inner_steps, so
            that both trainings can go as far; network_lr with experts.
        inner_batch: Decoded synthetic images in one step of training on them, drawn anew for each; 0: all.
        learn_rate: Learn the rate of training on the synthetic images too, from inner_lr on.
        rate_lr: Learning rate of that rate.
        learn_labels: Learn a distribution over the classes for each decoded image. It begins with 0.9 for the image's
            class; with experts and real images, with what the first expert answers where it is right.
        label_lr: Learning rate of the labels' logits.
        constant_memory: Differentiate one training step at a time (Cui et al. 2023, "TESLA"): the memory is that of a
            single step, while the later steps' parameters count as constants.
        experts: Networks trained on all real images, in batches of real_batch for each class, kept after every epoch in
            the user's cache folder. Each iteration draws one of them, from which training on the synthetic images
            starts and a later epoch of which it is to reach; 0: a fresh network, trained for real_steps.
        expert_epochs: Epochs that experts are trained for.
        expert_momentum: Momentum of their training, 0 to 1.
        augmentation: Augmentation in the training of experts and on synthetic images, as in evaluation.
        start_epochs: The latest epoch from which training on the synthetic images starts; each from 0 on is drawn.
        start_epochs_grow: Iterations over which that latest epoch grows from 0 on; 0: none.
        target_epochs: Epochs between the start and the parameters to reach.
    """

    _name: ClassVar[str] = "parameter-matching"

    real_batch: int = 16
    real_steps: int = 10
    inner_steps: int = 10
    network_lr: float = 0.01
    inner_lr: float | None = None
    inner_batch: int = added(0)
    learn_rate: bool = False
    rate_lr: float = added(1e-5)
    learn_labels: bool = False
    label_lr: float = added(2.0)
    constant_memory: bool = False
    experts: int = added(0)
    expert_epochs: int = added(50)
    expert_momentum: float = added(0.0)
    augmentation: str = "none"
    start_epochs: int = added(20)
    start_epochs_grow: int = added(0)
    target_epochs: int = added(2)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "real_steps", "inner_steps", "expert_epochs", "target_epochs")
        check_at_least(self, 0, "inner_batch", "experts", "start_epochs", "start_epochs_grow")
        check_rates(self, "network_lr", "inner_lr", "rate_lr", "label_lr")
        check_momenta(self, "expert_momentum")
        check_strategy(self.augmentation)
        _check_experts(self)

    @property
    def real_batches_per_iteration(self) -> int:
        """One for each step of training on real images; none with experts."""
        return 0 if self.experts else self.real_steps

    @property
    def kind(self) -> str:
        """The network, and what else takes time."""
        real = f"{self.target_epochs} expert epochs" if self.experts else f"{self.real_steps} real"
        inner = f"{self.inner_steps} inner steps" + (f" of {self.inner_batch}" if self.inner_batch else "")
        memory = " one by one" if self.constant_memory else ""
        return (
            f"{self.name} with {network_name(self.network)}, {self.size}, {real} and {inner}{memory}, "
            f"B = {self.real_batch}"
        )

    def resolved(self, *, may_be_mirrored: bool = True) -> "_Resolved":
        """Return the settings with the inner learning rate filled in, and the augmentation spelled out.

        Args:
            may_be_mirrored: Whether a mirrored image of the data set keeps its class.

        Returns:
            The resolved settings.
        """
        default = self.network_lr if self.experts else self.network_lr * self.real_steps / self.inner_steps
        return narrowed(
            _Resolved,
            self,
            network=canonical_network(self.network),
            inner_lr=self.inner_lr or default,
            augmentation=resolved_strategy(self.augmentation, mirrored=may_be_mirrored),
        )

    @property
    def method(self) -> "type[ParameterMatching]":
        """Parameter matching."""
        return ParameterMatching


def _check_experts(settings: ParameterMatchingConfig) -> None:
    """Check that experts are trained for long enough, and that nothing is said of experts that are not there."""
    reached = settings.start_epochs + settings.target_epochs
    if settings.experts and reached > settings.expert_epochs:
        raise InputError(
            f"start_epochs + target_epochs is {reached}, but experts are trained for {settings.expert_epochs} epochs: "
            f"give such as --expert-epochs {reached}."
        )
    for known in fields(settings):
        value = getattr(settings, known.name)
        if not settings.experts and known.name in _OF_EXPERTS and value != known.default:
            option = known.name.replace("_", "-")
            raise InputError(
                f"{known.name} is {value!r}, but there are no experts: give --experts, or leave --{option} out."
            )


@dataclass(frozen=True, kw_only=True)
class _Resolved(ParameterMatchingConfig):
    inner_lr: float = field()


class ParameterMatching(DescentMethod[_Resolved]):
    """For each fresh network: train it on real images, train it on synthetic ones, bring the ends together.

    The loss is `‖θ_S - θ_T‖² / ‖θ_T - θ_0‖²`, over all parameters together: θ_0 are those of a fresh network, θ_T those
    after training on real images, θ_S those after training on the synthetic ones. With experts, θ_0 and θ_T are those
    of one expert after two epochs.
    """

    def __init__(self, settings: _Resolved, train: ImageSet, seed: int) -> None:
        super().__init__(settings, train, seed)
        self._experts = Experts(train, _expert_protocol(settings, train, seed))
        self._has_shared_experts = self.ranks.size == 1

    @property
    def shares_work(self) -> bool:
        """Whether there are experts to train, or steps to differentiate one at a time."""
        return self.settings.experts > 0 or self.settings.constant_memory

    def init(self) -> State:
        """Return the state before the first step, with what is learned beside the images."""
        state = super().init()
        learned: dict[str, Tensor] = {}
        if self.settings.learn_rate:
            learned[INNER_LR] = state.images.new_tensor(self.settings.inner_lr)
        if self.settings.learn_labels:
            learned[LABEL_LOGITS] = self._first_logits(state.images)
        other = {f"{name}_velocity": torch.zeros_like(tensor) for name, tensor in learned.items()}
        return replace(state, learned=learned, other=other)

    def _first_logits(self, stored: Tensor) -> Tensor:
        """Return the logits with which labels begin, `[N, K]`."""
        images, classes = self.in_one_batch(self.decoded(stored))
        logits = first_logits(classes, len(self.labels)).to(images)
        if not self.settings.experts or self.settings.start == "noise":
            return logits
        expert = self._expert(0, self.settings.expert_epochs)
        buffers = self.sampler.frozen_buffers(self.network, expert, 0, purpose="label statistics")
        with torch.no_grad():
            answers = self.network(expert, images, buffers)
        return torch.where((answers.argmax(1) == classes)[:, None], answers, logits)

    @property
    def learned_lrs(self) -> dict[str, float]:
        """Learning rates of what is learned beside the images, by name."""
        return {INNER_LR: self.settings.rate_lr, LABEL_LOGITS: self.settings.label_lr}

    def gradient(self, images: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Differentiate the loss through the training on synthetic images."""
        return self.gradients(images, {}, step)[:2]

    def gradients(
        self, images: Tensor, learned: Mapping[str, Tensor], step: Step
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Differentiate the loss likewise, in what is learned beside the images too."""
        if INNER_LR in learned and not learned[INNER_LR] > 0:
            raise InputError(
                f"The learned rate became {float(learned[INNER_LR]):g} in iteration {step.outer}: give a smaller "
                f"--rate-lr, such as {self.settings.rate_lr / 10:g}."
            )
        start, target = self._ends(step) if self.settings.experts else (None, None)
        if start is None:
            start = self.sampler.network(self.network, "network", step.outer)
        buffers = self.sampler.frozen_buffers(self.network, start, *step)
        if target is None:
            target = self._trained_on_real(start, buffers, step)
        batches = self._batches(step)
        arguments = ({"images": images, **learned}, start, buffers, target, batches)
        compute = partial(self._differentiated, step)
        # A change of images draws random numbers, which no graph repeats.
        plain = self.settings.augmentation == "none"
        loss, found = self.graphs.replay("synthetic", compute, *arguments) if plain else compute(*arguments)
        if self.settings.constant_memory and self.ranks.size > 1:
            found = self._of_all_steps(found)
        return loss, found.pop("images"), found

    def draw_ahead(self, step: Step) -> None:
        """Draw nothing: real batches are those of its training steps."""

    def _differentiated(
        self,
        step: Step,
        learned: Parameters,
        start: Parameters,
        buffers: Parameters,
        target: Parameters,
        batches: list[Tensor],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and its gradients in images and all else that is learned."""

        def loss(end: Parameters) -> Tensor:
            return _squared_distance(end, target) / _squared_distance(target, start)

        own = self.ranks.share(self.settings.inner_steps)
        one_by_one = partial(gradients_step_by_step, own=own)
        gradients = one_by_one if self.settings.constant_memory else unrolled_gradients
        of_each: Sequence[Tensor | None] = batches or [None] * self.settings.inner_steps
        steps = [partial(self._inner_step, step, number, batch) for number, batch in enumerate(of_each)]
        return gradients(partial(self.network, buffers=buffers), start, steps, learned, loss)

    def _of_all_steps(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """Add the gradients that each process has of its share of the steps."""
        ranks = self.ranks
        rows = ranks.gathered(ranks.size, lambda _: tuple(tensor[None] for tensor in found.values()))
        return {name: row.sum(0) for name, row in zip(found, rows, strict=True)}

    def _inner_step(
        self, step: Step, number: int, batch: Tensor | None, learned: Mapping[str, Tensor]
    ) -> InnerStep:
        """Return one step of training on the synthetic images, or on those at some positions."""
        images, classes = self.in_one_batch(learned["images"])
        labels = current_labels(learned, classes)
        if batch is not None:
            images, labels = images[batch], labels[batch]
        if self.settings.augmentation != "none":
            generator = self.sampler.generator("inner augmentation", *step, number)
            images = augmented(self.settings.augmentation, images, generator)
        return InnerStep(images, labels, learned.get(INNER_LR, self.settings.inner_lr))

    def _batches(self, step: Step) -> list[Tensor]:
        """Draw the positions of each step's synthetic images, in passes over all of them; none where steps take all."""
        total, size = sum(self.sizes), self.settings.inner_batch
        if not 0 < size < total:
            return []
        number, generator = size * self.settings.inner_steps, self.sampler.generator("inner batches", *step)
        passes = [torch.randperm(total, generator=generator) for _ in range(ceil(number / total))]
        return list(sent(torch.cat(passes)[:number], self.labels.device).split(size))

    def _ends(self, step: Step) -> tuple[Parameters, Parameters]:
        """Draw an expert and an epoch of it; return its parameters then, and those that are to be reached."""
        settings, generator = self.settings, self.sampler.generator("expert", *step)
        latest = settings.start_epochs
        if settings.start_epochs_grow:
            latest = min(latest, latest * step.outer // settings.start_epochs_grow)
        number, epoch = (
            int(torch.randint(end, (), generator=generator)) for end in (settings.experts, latest + 1)
        )
        return self._expert(number, epoch), self._expert(number, epoch + settings.target_epochs)

    def _expert(self, number: int, epoch: int) -> Parameters:
        """Return the parameters of an expert after an epoch; several processes first train their shares of all."""
        if not self._has_shared_experts:
            with self.ranks.joint():
                for own in self.ranks.share(self.settings.experts):
                    self._experts.parameters(own, 0)
            self._has_shared_experts = True
        return self._experts.parameters(number, epoch, self.sampler.dtype)

    def _trained_on_real(self, parameters: Parameters, buffers: Parameters, step: Step) -> Parameters:
        """Train on real images, each step on one batch of all classes."""
        size = self.settings.real_batch
        sgd = SGD(lr=self.settings.network_lr, batch_size=size * len(self.labels))
        for number in range(self.settings.real_steps):
            batches = [self.real_batch(k, step, number) for k in range(len(self.labels))]
            parameters = train(
                self.model,
                TrainState.begun(parameters),
                torch.cat(batches),
                torch.cat([k.expand(len(batch)) for k, batch in zip(self.labels, batches, strict=True)]),
                epochs=1,
                sgd=lambda _: sgd,
                buffers=buffers,
                graphs=self.graphs,
            ).parameters
        return parameters


def _expert_protocol(settings: _Resolved, train: ImageSet, seed: int) -> ExpertProtocol:
    """Return how experts are trained."""
    return ExpertProtocol(
        network=settings.network,
        epochs=settings.expert_epochs,
        augmentation=settings.augmentation,
        lr=settings.network_lr,
        momentum=settings.expert_momentum,
        weight_decay=0.0,
        batch_size=settings.real_batch * train.num_classes,
        seed=seed,
        precision=settings.precision,
        engine=settings.engine,
    )


def _squared_distance(first: Parameters, second: Parameters) -> Tensor:
    """Compute the sum of squared differences of all parameters."""
    return torch.stack([(first[name] - second[name]).square().sum() for name in first]).sum()
