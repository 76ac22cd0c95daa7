"""What a user may say about a run and about any method, checked before torch is loaded."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self, TypeAlias, get_args

from datacondense.augment.names import check_strategy, is_siamese
from datacondense.errors import InputError
from datacondense.matching.names import Precision, check_precision
from datacondense.networks.names import Engine, check_engine

if TYPE_CHECKING:
    from datacondense.condensation.method import Method
    from datacondense.image_set import ImageSet

Start: TypeAlias = Literal["noise", "real"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """Settings that all methods have.

    Attributes:
        ipc: Images per class to learn.
        network: Name of the network that the method asks, such as "convnet", "convnet-w64-d2", "lenet", or your own as
            "package.module:callable".
        start: What the images begin as: "noise" (standard normal after normalisation) or "real" images.
        image_lr: Learning rate of the images, in normalised pixel units. Default: the method's published one.
        real_batch: Real images per class and step. A class with fewer is drawn with replacement.
        precision: Of what is differentiated once: "bfloat16", "float32", or "auto": bfloat16 where the fused engine
            computes on a processor made for it, else float32. The rest is float32. "float64" is for everything, slow,
            for checks.
        engine: What computes that: "auto" (fused layers where the network and the machine allow them), "fused" or
            "eager" (torch's own layers). Results differ by rounding only.
    """

    ipc: int = 1
    network: str = "convnet"
    start: Start = "noise"
    image_lr: float | None = None
    real_batch: int = 256
    precision: Precision = "auto"
    engine: Engine = "auto"

    def __post_init__(self) -> None:
        check_at_least(self, 1, "ipc", "real_batch")
        check_rates(self, "image_lr")
        if self.start not in get_args(Start):
            raise InputError(f"start is {self.start!r}, but images begin as 'noise' or as 'real' images.")
        check_precision(self.precision)
        check_engine(self.engine)

    @property
    def name(self) -> str:
        """The method's name in records."""
        raise NotImplementedError

    @property
    def published_iterations(self) -> int:
        """Outer draws of the published runs."""
        raise NotImplementedError

    @property
    def steps_per_iteration(self) -> int:
        """Updates of the images on one freshly drawn network."""
        return 1

    @property
    def kind(self) -> str:
        """What a step does, in a few words; where the words are equal, steps take about the same time."""
        return f"{self.name} with {self.network}, ipc {self.ipc}, B = {self.real_batch}"

    def resolved(self, dataset: str | None = None) -> Self:
        """Fill in the defaults that depend on other settings or on the data set.

        Args:
            dataset: The data set's name, as in `load`; None where it has none.

        Returns:
            The settings without None.
        """
        raise NotImplementedError

    def build(self, train: "ImageSet", seed: int) -> "Method":
        """Make the method for one data set.

        Args:
            train: The real images, on the device where to compute.
            seed: Seed of everything that is drawn.

        Returns:
            The method.

        Raises:
            InputError: The network cannot take these images, `start` asks for more real images than a class has, or
                another setting does not fit them.
        """
        raise NotImplementedError


def check_at_least(config: object, least: int, *names: str) -> None:
    """Check whole numbers.

    Args:
        config: A config.
        least: The smallest value that is allowed.
        *names: Fields to check; None passes.

    Raises:
        InputError: One is smaller.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and value < least:
            raise InputError(f"{name} is {value}, but must be {least} or more.")


def check_rates(config: object, *names: str) -> None:
    """Check learning rates.

    Args:
        config: A config.
        *names: Fields to check; None passes.

    Raises:
        InputError: One is not a number above 0.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name} is {value}, but a learning rate must be a number above 0.")


def check_momenta(config: object, *names: str) -> None:
    """Check momenta.

    Args:
        config: A config.
        *names: Fields to check.

    Raises:
        InputError: One is not at least 0 and below 1.
    """
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise InputError(f"{name} is {getattr(config, name)}, but must be at least 0 and below 1.")


def check_siamese(config: object, *names: str) -> None:
    """Check Siamese augmentations.

    Args:
        config: A config.
        *names: Fields to check.

    Raises:
        InputError: One is neither "none" nor "dsa" nor "dsa:" with operations.
    """
    for name in names:
        strategy = getattr(config, name)
        if strategy != "none" and not is_siamese(strategy):
            raise InputError(
                f"{name} is {strategy!r}, but must be 'none', 'dsa', or operations such as 'dsa:color-crop-flip'."
            )
        check_strategy(strategy)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How long a run goes on, from which seed, and what it tells on the way.

    Attributes:
        seed: Seed of everything that is drawn, from 0; the same seed gives the same bytes.
        iterations: Outer draws, each on a freshly drawn network. Default: the published number: 1000 for
            gradient matching, 20000 for distribution matching, 23600 for Dataset Distillation.
        time_limit: Stop after this time even if draws are left, with a complete result: "90s", "10m", "2h".
            Default: none.
        checkpoint_every: Seconds between checkpoints.
        validate_every: Outer draws between accuracies on the validation images; 0: never.
        validation_networks: Networks trained for each of these accuracies.
    """

    seed: int = 0
    iterations: int | None = None
    time_limit: str | None = None
    checkpoint_every: float = 30.0
    validate_every: int = 0
    validation_networks: int = 3

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}, but seeds are whole numbers from 0.")
        check_at_least(self, 1, "iterations", "validation_networks")
        check_at_least(self, 0, "validate_every")
        if not self.checkpoint_every >= 0:
            raise InputError(f"checkpoint_every is {self.checkpoint_every} seconds, but must be 0 or more.")
        _ = self.time_limit_seconds

    @property
    def time_limit_seconds(self) -> float:
        """The time limit in seconds; infinite where there is none.

        Raises:
            InputError: It is not a number with a unit.
        """
        if self.time_limit is None:
            return float("inf")
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", self.time_limit)
        if match is None or float(match[1]) == 0:
            raise InputError(
                f"time_limit is {self.time_limit!r}, but must be a number above 0 with a unit (s, m, h, d) as in 10m."
            )
        return float(match[1]) * _UNITS[match[2]]
