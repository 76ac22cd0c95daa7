"""What a user may say about any study, checked before torch is loaded."""

from dataclasses import dataclass, field

from datacondense.augment.names import check_strategy
from datacondense.condensation.config import GradientMatchingConfig
from datacondense.errors import InputError

CELLS = "cells"  # folder of the cells, shared by all studies of one output folder


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """How many sets each arm of a study learns, how long, and how each set is scored.

    Attributes:
        draws: Outer draws of each condensed set; published: 1000.
        image_updates: Updates of the images of each set, in the place of `draws`: as many outer draws as that takes,
            which compares numbers of images per class at about equal work. Default: what `draws` gives.
        seeds: Sets of each arm, from seeds 0, 1, …; published: 5.
        repeats: Networks trained on each set; published: 20.
        epochs: Passes over a set. Default: 300, or 1000 with augmentation.
        augmentation: As in `evaluate`. Default: the paper's choice for the data set.
        networks: Networks of a study that compares them. Default: the study's own list.
        ipcs: Images per class of a study that compares them. Default: the study's own list.
        image_lr_scale: Factor on the image learning rate of every arm, whose default is the published one (0.1; 0.01
            for an MLP): fewer draws want longer steps.
        whole_epochs: Passes over the whole data set when a network is trained on it, for the upper bound and for the
            features that herding compares.
        whole_networks: Networks trained on the whole data set.
        method: Settings that all arms share.
    """

    draws: int = 1000
    image_updates: int | None = None
    seeds: int = 5
    repeats: int = 20
    epochs: int | None = None
    augmentation: str | None = None
    networks: tuple[str, ...] = ()
    ipcs: tuple[int, ...] = ()
    image_lr_scale: float = 1.0
    whole_epochs: int = 30
    whole_networks: int = 1
    method: GradientMatchingConfig = field(default_factory=GradientMatchingConfig)

    def __post_init__(self) -> None:
        for name in (
            "draws",
            "image_updates",
            "seeds",
            "repeats",
            "epochs",
            "whole_epochs",
            "whole_networks",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}, but must be 1 or more.")
        if not 0 < self.image_lr_scale < float("inf"):
            raise InputError(f"image_lr_scale is {self.image_lr_scale}, but must be a number above 0.")
        if any(ipc < 1 for ipc in self.ipcs):
            raise InputError(f"ipcs are {', '.join(map(str, self.ipcs))}, but each must be 1 or more.")
        if self.augmentation is not None:
            check_strategy(self.augmentation)
