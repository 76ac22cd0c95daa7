"""How a set is scored: the paper's protocol, and the score that carries it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from statistics import fmean, stdev
from typing import Any, Literal, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.augment.strategies import changed, check_strategy, resolved_strategy
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.networks.backend import Engine, Precision, check_backend
from datacondense.networks.names import canonical_network, evaluation_name
from datacondense.settings import (
    Named,
    added,
    check_at_least,
    check_momenta,
    check_probability,
    check_rates,
    is_rate,
    narrowed,
    plain_settings,
)
from datacondense.training import SGD, Change, Loss

EPOCHS = 300
EPOCHS_AUGMENTED = 1000
PROTOCOLS: Mapping[str, Mapping[str, Any]] = {
    "dc": {},
    "dc-bench": {"epochs": 300, "repeats": 5},
    "dd-ranking": {"epochs": 1000, "repeats": 5, "batch_size": 128, "augmentation": "dsa", "labels": "hard"},
    "idc": {
        "epochs": 1000,
        "batch_size": 64,
        "augmentation": "idc",
        "cutmix": 0.5,
        "lr_drops": (2 / 3, 5 / 6),
        "lr_factor": 0.2,
    },
}
"""What protocols of others change of `EvaluationConfig`: DC's, DSA's and DM's; DC-BENCH (Cui et al. 2022); DD-Ranking's
for hard labels, which takes the best epoch on the test images, as this library does not; IDC's (Kim et al. 2022)."""
NOISE = "crop-noise"  # makes batches of a few images trainable with batch normalisation; on every data set


def named_protocol(name: str, **changes: Any) -> "EvaluationConfig":
    """Return a protocol by its name.

    Args:
        name: "dc", for all sets of the kind of DC, DSA and DM; "dc-bench", "dd-ranking" or "idc".
        **changes: Fields of `EvaluationConfig` that differ from it.

    Returns:
        The protocol.

    Raises:
        InputError: There is no such protocol.
    """
    if name not in PROTOCOLS:
        raise InputError(f"There is no protocol {name!r}: choose from {', '.join(PROTOCOLS)}.")
    return EvaluationConfig(**{**PROTOCOLS[name], **changes})


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Train fresh networks on the set, then measure each on the test images (paper, section 4.1).

    Where the published code differs from the paper's text, the text holds: exactly `epochs` epochs (the code runs
    one more), and momentum survives the drop of the learning rate (the code rebuilds its optimiser).

    Attributes:
        network: Name of the network to train. Default: the one the set was condensed with, its BatchNorm replaced
            by InstanceNorm as in the paper; ConvNet for sets that were not condensed.
        repeats: Number of networks, each with fresh parameters.
        epochs: Passes over the set. Default: 300, or 1000 with augmentation.
        augmentation: One random change per image and epoch: "none"; or operations out of crop, scale, rotate and
            noise joined by hyphens, one drawn for each image; or "dsa:" and operations out of color, crop, cutout,
            flip, scale and rotate joined by hyphens, one drawn for each batch, as in differentiable Siamese
            augmentation; or "idc:" and the same names, all applied at once, but one drawn of crop, scale and rotate;
            or "dsa" or "idc" for all of these, without flip on digits. Default, as published: "crop-noise" for a
            network with batch normalisation; that of the set, if it was learned with Siamese augmentation; else that
            of the data set, "crop-scale-rotate" for MNIST and "none" for the others.
        cutmix: Probability of CutMix in a batch, 0 to 1: a box of each image comes from another one, and its share of
            the label too.
        learned_steps: Train as a set of Dataset Distillation says, by its own steps and learning rates, in the place of
            all settings but network, seed and precision; a set that was learned for one network is trained on that one.
        lr: Learning rate.
        lr_drops: After which shares of the epochs the learning rate drops, 0 to 1.
        lr_factor: What it is multiplied by at each drop, 0 to 1.
        momentum: Momentum of the network's updates, 0 to 1.
        weight_decay: Weight of the squared norm of the parameters.
        batch_size: Images per update.
        labels: What is learned of each image: "hard", its class; "soft", the set's own distribution over the classes;
            or "auto", soft where the set has such labels.
        temperature: T of the loss `T² · cross-entropy(label, softmax(logits / T))`.
            Default: for soft labels the one that the set was made with; else 1.
        seed: Seed of the networks, orders and augmentations.
        precision: Of training and test: "bfloat16" (convolutions, products and feature maps), "float32", "float64", or
            "auto": bfloat16 where a GPU or the fused engine's processor is made for it, else float32.
        engine: What computes: "auto" (fused layers where the network and the machine allow them), "fused" or "eager"
            (torch's own layers). Results differ by rounding only.
    """

    network: Named | None = None
    repeats: int = 20
    epochs: int | None = None
    augmentation: str | None = None
    cutmix: float = added(0.0)
    learned_steps: bool = False
    lr: float = 0.01
    lr_drops: tuple[float, ...] = added((0.5,))
    lr_factor: float = added(0.1)
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 256
    labels: Literal["auto", "hard", "soft"] = added("auto")
    temperature: float | None = added(None)
    seed: int = 0
    precision: Precision = "auto"
    engine: Engine = "auto"

    def __post_init__(self) -> None:
        check_at_least(self, 1, "repeats", "epochs", "batch_size")
        check_at_least(self, 0, "seed")
        check_rates(self, "lr")
        check_momenta(self, "momentum")
        for name, values in (
            ("cutmix", [self.cutmix]),
            ("lr_factor", [self.lr_factor]),
            ("lr_drops", self.lr_drops),
        ):
            for value in values:
                check_probability(name, value)
        if self.labels not in {"auto", "hard", "soft"}:
            raise InputError(f"labels is {self.labels!r}, but must be 'auto', 'hard' or 'soft'.")
        if self.temperature is not None and not is_rate(self.temperature):
            raise InputError(f"temperature is {self.temperature}, but must be above 0 and below 3e38.")
        if self.weight_decay != 0 and not is_rate(self.weight_decay):
            raise InputError(f"weight_decay is {self.weight_decay}, but must be at least 0 and below 3e38.")
        if self.augmentation is not None:
            check_strategy(self.augmentation)
        check_backend(self.engine, self.precision)

    def resolved(
        self, *, condensed_with: Named | None = None, augmentation: str = "none", may_be_mirrored: bool = True
    ) -> "ResolvedProtocol":
        """Return the protocol with the defaults filled in that depend on the set.

        Args:
            condensed_with: Network that the set was condensed with; None for other sets.
            augmentation: What published evaluation trains with on the data set.
            may_be_mirrored: Whether a mirrored image of the data set keeps its class.

        Returns:
            The protocol without None, its augmentation spelled out.
        """
        network = self.network or condensed_with or "convnet"
        if self.network is None and isinstance(network, str):
            network = evaluation_name(network)
        resolved = resolved_strategy(self.augmentation or augmentation, mirrored=may_be_mirrored)
        return narrowed(
            ResolvedProtocol,
            self,
            network=canonical_network(network),
            augmentation=resolved,
            epochs=self.epochs or (EPOCHS if resolved == "none" else EPOCHS_AUGMENTED),
        )

    def sgd(self, epoch: int, epochs: int) -> SGD:
        """Return the optimiser of an epoch: the learning rate drops on the way.

        Args:
            epoch: The epoch, from 0.
            epochs: Epochs in all.

        Returns:
            Learning rate, momentum, weight decay and batch size.
        """
        drops = sum(epoch >= int(share * epochs) for share in self.lr_drops)
        lr = self.lr * self.lr_factor**drops
        return SGD(lr=lr, momentum=self.momentum, weight_decay=self.weight_decay, batch_size=self.batch_size)


def own_protocol(images: ImageSet) -> EvaluationConfig:
    """Return the protocol of the paper that a set's method is from, as its provenance tells.

    Args:
        images: The set.

    Returns:
        IDC's for sets of IDC and DREAM; for others "dc", whose augmentation and network follow from the set, see
        `resolved`. A learning rate that was learned with the images takes the place of the protocol's.
    """
    rate = images.provenance.get("learned", {}).get("inner_lr")
    changes = {"lr": rate} if isinstance(rate, float) else {}
    method, settings = images.provenance.get("method"), images.provenance.get("settings", {})
    # IDC is recorded as gradient matching with several operations at once.
    is_idc = method == "gradient-matching" and str(settings.get("siamese")).startswith("idc")
    return named_protocol("idc" if is_idc or method in {"idc", "dream"} else "dc", **changes)


@dataclass(frozen=True, kw_only=True)
class ResolvedProtocol(EvaluationConfig):
    """A protocol without None, but for the temperature, which follows from the set (see `for_labels_of`).

    Attributes:
        network: Network to train.
        epochs: Passes over the set.
        augmentation: The augmentation, spelled out.
    """

    network: Named = field()
    epochs: int = field()
    augmentation: str = field()

    def for_labels_of(self, images: ImageSet) -> Self:
        """Return the protocol with what depends on the labels of a set: which are learned, and the temperature.

        Args:
            images: The set to train on.

        Returns:
            The protocol with hard or soft labels.

        Raises:
            InputError: Soft labels are to be learned, but the set has none.
        """
        has_soft = images.soft_labels is not None
        if self.labels == "soft" and not has_soft:
            raise InputError(
                'labels is "soft", but the set has class numbers only: leave it out, or give a set with soft labels.'
            )
        soft = has_soft and self.labels != "hard"
        known = images.provenance.get("soft_labels", {}).get("temperature", 1.0) if soft else 1.0
        temperature = known if self.temperature is None else self.temperature
        return replace(self, labels="soft" if soft else "hard", temperature=temperature)

    def change(self, num_classes: int, generator: torch.Generator) -> Change:
        """Return what makes batches to train on of images and labels: augmentation, and CutMix.

        Args:
            num_classes: The number of classes K.
            generator: Where its random numbers come from.

        Returns:
            From a batch to the one that is trained on.
        """
        return partial(
            changed, self.augmentation, generator=generator, num_classes=num_classes, cutmix=self.cutmix
        )

    def targets(self, images: ImageSet, dtype: torch.dtype) -> Tensor:
        """Return the labels that networks learn.

        Args:
            images: The set, decoded.
            dtype: Type of the logits.

        Returns:
            Class numbers `[N]`, or distributions `[N, K]` of that type.
        """
        return images.targets.to(dtype) if self.labels == "soft" else images.labels

    @property
    def loss(self) -> Loss:
        """From logits `[B, K]` and labels to `T² · cross-entropy(labels, softmax(logits / T))`, a mean over the batch.

        The factor keeps gradients of the size that they have at T = 1 (Hinton et al. 2015, section 2.1).
        """
        if self.temperature in {None, 1}:
            return F.cross_entropy
        return partial(_tempered, self.temperature)


def _tempered(temperature: float, logits: Tensor, labels: Tensor) -> Tensor:
    return temperature**2 * F.cross_entropy(logits / temperature, labels)


@dataclass(frozen=True, kw_only=True)
class Score:
    """Accuracies of fresh networks trained on a set, with what is needed to repeat them.

    Attributes:
        accuracies: Share of right answers on the test images, 0 to 1, one for each network.
        protocol: The protocol, every default filled in.
        trained_on: Fingerprint of the set that was scored.
        tested_on: Source and fingerprint of the test images.
        environment: Device, threads and versions.
    """

    accuracies: tuple[float, ...]
    protocol: ResolvedProtocol
    trained_on: str
    tested_on: Mapping[str, Any]
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """The number of networks."""
        return len(self.accuracies)

    @property
    def mean(self) -> float:
        """Mean accuracy, 0 to 1."""
        return fmean(self.accuracies)

    @property
    def std(self) -> float:
        """Standard deviation over networks (n - 1 in the denominator); 0 for a single network."""
        return stdev(self.accuracies) if self.n > 1 else 0.0

    def __str__(self) -> str:
        return f"{100 * self.mean:.2f} ± {100 * self.std:.2f} % (n = {self.n})"

    def as_dict(self) -> dict[str, Any]:
        """Return the score as plain JSON values.

        Returns:
            Accuracies, their mean, std and n, and the protocol.
        """
        values = {**asdict(self), "protocol": plain_settings(self.protocol)}
        return {"mean": self.mean, "std": self.std, "n": self.n, **values}
