"""What a user may say about gradient matching, plain or Siamese, checked before torch is loaded."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Self

from tyro.conf import UseAppendAction

from datacondense.augment.names import resolved_strategy
from datacondense.condensation.config import (
    MethodConfig,
    Start,
    check_at_least,
    check_momenta,
    check_rates,
    check_siamese,
)
from datacondense.condensation.schedule import published_schedule
from datacondense.data.catalogue import may_be_mirrored
from datacondense.errors import InputError
from datacondense.matching.names import check_distance, parse_transform

if TYPE_CHECKING:
    from datacondense.condensation.gradient_matching import GradientMatching
    from datacondense.image_set import ImageSet


@dataclass(frozen=True, kw_only=True)
class GradientMatchingConfig(MethodConfig):
    """Settings of gradient matching; the defaults are the published ones.

    Attributes:
        distance: How gradients are compared: "layerwise-cosine" (the paper's), "flat-cosine" or "squared".
        transform: What is done to both gradients before, in order; give the option once for each: "max-pool-1",
            "mean-pool-2", "abs-max-pool-1", "keep-magnitude:FRACTION", "keep-stable:FRACTION",
            "keep-sensitive:FRACTION" (with "-global" for a rank over all layers), "keep-snr:RATIO",
            "wiener:SUBBATCHES".
        class_collective: Compare the mean of the classes' gradients (Lee et al. 2022) instead of each class's own (the
            paper's): what a network asks of all classes alike cancels.
        compare: Parameters whose gradients are compared: "weights" (the paper's: no biases, no norm vectors), "all",
            or name patterns such as "features.*".
        siamese: Random change of the images, the same for the real and the synthetic images of a class, through which
            is differentiated: "none"; "dsa", all operations of Zhao and Bilen (ICML 2021), without mirroring where that
            changes digits; or "dsa:OPERATIONS" out of color, crop, cutout, flip, scale and rotate joined by hyphens.
            The network's training between image updates is augmented likewise.
        matching_steps: Image updates on one network, T. Default: the published rule for this ipc.
        network_epochs: Passes over the synthetic images that train the network between two image updates, ς.
            Default: the published rule for this ipc.
        image_momentum: Momentum of the images' updates, kept over the whole run, 0 to 1.
        shrink_pixels: Shrink each pixel's gradient by its signal-to-noise ratio over the networks and batches of the
            last steps, before it moves the images.
        iterate_averaging: Give the average of the images over all steps, step t weighing about t³, instead of the last
            images: what single networks and batches asked of the pixels averages out. Costs nothing.
        network_lr: Learning rate of the network's training between image updates.
        network_momentum: Momentum of the network's training, begun anew in every outer draw, 0 to 1: 0.5 as in the
            code that gave the published numbers; later releases of it use 0.
        network_batch: Synthetic images per network update.
        graph_memory: MiB that a graph for second derivatives may take, about: as many classes share one as fit, or
            each has its own. Default: 256 on a processor, where more brings nothing, and 8192 on a GPU.
    """

    distance: str = "layerwise-cosine"
    transform: Annotated[tuple[str, ...], UseAppendAction] = ()
    class_collective: bool = False
    compare: str = "weights"
    siamese: str = "none"
    matching_steps: int | None = None
    network_epochs: int | None = None
    image_momentum: float = 0.5
    shrink_pixels: bool = False
    iterate_averaging: bool = False
    network_lr: float = 0.01
    network_momentum: float = 0.5
    network_batch: int = 256
    graph_memory: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "matching_steps", "network_batch", "graph_memory")
        check_at_least(self, 0, "network_epochs")
        check_rates(self, "network_lr")
        check_momenta(self, "image_momentum", "network_momentum")
        check_distance(self.distance)
        check_siamese(self, "siamese")
        given: object = self.transform
        if isinstance(given, str):
            raise InputError(f"transform is {given!r}, but must be a list: give [{given!r}].")
        for name in self.transform:
            parse_transform(name)

    @property
    def name(self) -> str:
        """The method's name in records."""
        return "gradient-matching"

    @property
    def published_iterations(self) -> int:
        """Outer draws of the published runs."""
        return 1000

    @property
    def steps_per_iteration(self) -> int:
        """Updates of the images on one freshly drawn network."""
        return self.matching_steps or published_schedule(self.ipc).matching_steps

    @property
    def kind(self) -> str:
        """The network, and what else takes time."""
        siamese = [] if self.siamese == "none" else [self.siamese]
        joined = ["classes joined"] if self.class_collective else []
        changed = "".join(f", {name}" for name in (*self.transform, *joined, *siamese))
        trained = "" if self.steps_per_iteration == 1 else f", {self.network_epochs} epochs between"
        return f"{self.network}{changed}{trained}, ipc {self.ipc}, B = {self.real_batch}"

    def resolved(self, dataset: str | None = None) -> Self:
        """Fill in the defaults that depend on other settings or on the data set.

        Args:
            dataset: The data set's name, as in `load`; None where it has none.

        Returns:
            The settings without None.
        """
        schedule = published_schedule(self.ipc)
        return replace(
            self,
            transform=tuple(str(parse_transform(name)) for name in self.transform),
            siamese=resolved_strategy(self.siamese, mirrored=may_be_mirrored(dataset)),
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
class SiameseMatchingConfig(GradientMatchingConfig):
    """Gradient matching as Zhao and Bilen (ICML 2021) run it: with Siamese augmentation, from real images on.

    Attributes:
        start: What the images begin as: "real" images, as published, or "noise".
        siamese: As in gradient matching, "dsa" where nothing is said.
    """

    start: Start = "real"
    siamese: str = "dsa"
