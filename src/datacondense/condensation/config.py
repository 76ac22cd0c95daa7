"""What a user may say about a run and about gradient matching, checked before torch is loaded."""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import UseAppendAction

from datacondense.condensation.schedule import published_schedule
from datacondense.errors import InputError
from datacondense.matching.names import Precision, check_distance, check_precision, parse_transform
from datacondense.networks.names import Engine, check_engine

if TYPE_CHECKING:
    from datacondense.condensation.gradient_matching import GradientMatching
    from datacondense.image_set import ImageSet

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, kw_only=True)
class GradientMatchingConfig:
    """Settings of gradient matching; the defaults are the published ones.

    Attributes:
        ipc: Images per class to learn.
        network: Name of the network whose gradients are matched, such as "convnet", "convnet-w64-d2", "lenet", or
            your own as "package.module:callable".
        distance: How gradients are compared: "layerwise-cosine" (the paper's), "flat-cosine" or "squared".
        transform: What is done to both gradients before, in order; give the option once for each: "max-pool-1",
            "mean-pool-2", "abs-max-pool-1", "keep-magnitude:FRACTION", "keep-stable:FRACTION",
            "keep-sensitive:FRACTION" (with "-global" for a rank over all layers), "keep-snr:RATIO",
            "wiener:SUBBATCHES".
        join_classes: Compare the mean of the classes' gradients (Lee et al. 2022) instead of each class's own (the
            paper's): what a network asks of all classes alike cancels.
        compare: Parameters whose gradients are compared: "weights" (the paper's: no biases, no norm vectors), "all",
            or name patterns such as "features.*".
        start: What the images begin as: "noise" (standard normal after normalisation) or "real" images.
        matching_steps: Image updates on one network, T. Default: the published rule for this ipc.
        network_epochs: Passes over the synthetic images that train the network between two image updates, ς.
            Default: the published rule for this ipc.
        image_lr: Learning rate of the images, in normalised pixel units. Default: 0.1, and 0.01 for an MLP.
        image_momentum: Momentum of the images' updates, kept over the whole run, 0 to 1.
        shrink_pixels: Shrink each pixel's gradient by its signal-to-noise ratio over the networks and batches of the
            last steps, before it moves the images.
        average_images: Give the average of the images over all steps, step t weighing about t³, instead of the last
            images: what single networks and batches asked of the pixels averages out. Costs nothing.
        network_lr: Learning rate of the network's training between image updates.
        network_momentum: Momentum of the network's training, begun anew in every outer draw, 0 to 1: 0.5 as in the
            code that gave the published numbers; later releases of it use 0.
        network_batch: Synthetic images per network update.
        real_batch: Real images per class that give the gradient to match. A class with fewer is drawn with
            replacement.
        precision: Of what is differentiated once, the real images' gradients and the network's training: "bfloat16",
            "float32", or "auto": bfloat16 where the fused engine computes on a processor made for it, else float32. The
            rest is float32. "float64" is for everything, slow, for checks.
        engine: What computes that: "auto" (fused layers where the network and the machine allow them), "fused" or
            "eager" (torch's own layers). Results differ by rounding only.
        graph_memory: MiB that a graph for second derivatives may take, about: as many classes share one as fit, or
            each has its own. Default: 256 on a processor, where more brings nothing, and 8192 on a GPU.
    """

    ipc: int = 1
    network: str = "convnet"
    distance: str = "layerwise-cosine"
    transform: Annotated[tuple[str, ...], UseAppendAction] = ()
    join_classes: bool = False
    compare: str = "weights"
    start: Literal["noise", "real"] = "noise"
    matching_steps: int | None = None
    network_epochs: int | None = None
    image_lr: float | None = None
    image_momentum: float = 0.5
    shrink_pixels: bool = False
    average_images: bool = False
    network_lr: float = 0.01
    network_momentum: float = 0.5
    network_batch: int = 256
    real_batch: int = 256
    precision: Precision = "auto"
    engine: Engine = "auto"
    graph_memory: int | None = None

    def __post_init__(self) -> None:
        for name in ("ipc", "matching_steps", "network_batch", "real_batch", "graph_memory"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}, but must be 1 or more.")
        if self.network_epochs is not None and self.network_epochs < 0:
            raise InputError(f"network_epochs is {self.network_epochs}, but must be 0 or more.")
        for name in ("image_lr", "network_lr"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"{name} is {value}, but a learning rate must be a number above 0.")
        for name in ("image_momentum", "network_momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, but must be at least 0 and below 1.")
        if self.start not in {"noise", "real"}:
            raise InputError(f"start is {self.start!r}, but images begin as 'noise' or as 'real' images.")
        check_precision(self.precision)
        check_distance(self.distance)
        given: object = self.transform
        if isinstance(given, str):
            raise InputError(f"transform is {given!r}, but must be a list: give [{given!r}].")
        for name in self.transform:
            parse_transform(name)
        check_engine(self.engine)

    @property
    def name(self) -> str:
        """The method's name in records."""
        return "gradient-matching"

    def resolved(self) -> "GradientMatchingConfig":
        """Fill in the defaults that depend on other settings.

        Returns:
            The settings without None.
        """
        schedule = published_schedule(self.ipc)
        return replace(
            self,
            transform=tuple(str(parse_transform(name)) for name in self.transform),
            matching_steps=self.matching_steps or schedule.matching_steps,
            network_epochs=schedule.network_epochs if self.network_epochs is None else self.network_epochs,
            image_lr=self.image_lr or (0.01 if self.network == "mlp" else 0.1),
        )

    def build(self, train: "ImageSet", seed: int) -> "GradientMatching":
        """Make the method for one data set.

        Args:
            train: The real images, on the device where to compute.
            seed: Seed of everything that is drawn.

        Returns:
            The method.

        Raises:
            InputError: The network cannot take these images, no parameter would be compared, a transform cannot apply,
                `start` asks for more real images than a class has, or the engine cannot compute this.
        """
        from datacondense.condensation.gradient_matching import GradientMatching  # noqa: PLC0415

        return GradientMatching(self, train, seed)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How long a run goes on, from which seed, and what it tells on the way.

    Attributes:
        seed: Seed of everything that is drawn, from 0; the same seed gives the same bytes.
        draws: Outer draws, each on a freshly drawn network; published: 1000.
        time_limit: Stop after this time even if draws are left, with a complete result: "90s", "10m", "2h".
            Default: none.
        checkpoint_every: Seconds between checkpoints.
        validate_every: Outer draws between accuracies on the validation images; 0: never.
        validation_networks: Networks trained for each of these accuracies.
    """

    seed: int = 0
    draws: int = 1000
    time_limit: str | None = None
    checkpoint_every: float = 30.0
    validate_every: int = 0
    validation_networks: int = 3

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}, but seeds are whole numbers from 0.")
        for name, least in (("draws", 1), ("validate_every", 0), ("validation_networks", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}, but must be {least} or more.")
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
