"""What a user may say about any study, checked before torch is loaded."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from datacondense.augment.names import check_strategy
from datacondense.condensation.config import check_at_least
from datacondense.condensation.gradient_matching_config import GradientMatchingConfig
from datacondense.errors import InputError
from datacondense.renamed import current_name

Plain: TypeAlias = int | float | bool | str

TASKS = "cells"  # folder of the cells, shared by all studies of one output folder


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """How many sets each arm of a study learns, how long, and how each set is scored.

    Attributes:
        iterations: Outer draws of each condensed set. Default: the published number, 1000 for gradient matching.
        image_updates: Updates of the images of each set, in the place of `draws`: as many outer draws as that takes,
            which compares numbers of images per class at about equal work. Default: what `draws` gives.
        seeds: Sets of each arm, from seeds 0, 1, …; published: 5.
        repeats: Networks trained on each set; published: 20.
        epochs: Passes over a set. Default: 300, or 1000 with augmentation.
        augmentation: As in `evaluate`. Default: the paper's choice for the data set.
        rows: Rows of the table to run, by their labels, beside those that they are compared with. Default: all.
        networks: Networks of a study that compares them. Default: the study's own list.
        ipcs: Images per class of a study that compares them. Default: the study's own list.
        kept: Percentages of the gradient's entries, of a study that compares them. Default: the study's own list.
        image_lr_scale: Factor on the image learning rate of every arm, whose default is the published one (0.1; 0.01
            for an MLP): fewer draws want longer steps.
        image_lrs: Image learning rates from which each arm chooses its own: each is tried on training images without a
            tenth of them, class by class, and the one with the highest accuracy on that tenth is taken for all seeds of
            the arm. Default: no choice.
        search_seeds: Sets that each of them is tried with; none of them is among the sets of the study.
        search_repeats: Networks trained on each of these.
        override: Settings of one method of a study that compares methods, as METHOD.SETTING=VALUE, such as
            "dm.draws=2000", "dsa.real_batch=64" or, in the place of --image-lrs, "dm.image_lrs=1,3,10".
        full_epochs: Passes over the whole data set when a network is trained on it, for the upper bound and for the
            features that herding compares.
        full_networks: Networks trained on the whole data set for the upper bound; 0: none. What selections need
            is trained all the same.
        method: Settings that all arms share.
    """

    iterations: int | None = None
    image_updates: int | None = None
    seeds: int = 5
    repeats: int = 20
    epochs: int | None = None
    augmentation: str | None = None
    rows: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    ipcs: tuple[int, ...] = ()
    kept: tuple[float, ...] = ()
    image_lr_scale: float = 1.0
    image_lrs: tuple[float, ...] = ()
    search_seeds: int = 1
    search_repeats: int = 2
    override: tuple[str, ...] = ()
    full_epochs: int = 30
    full_networks: int = 1
    method: GradientMatchingConfig = field(default_factory=GradientMatchingConfig)

    def __post_init__(self) -> None:
        check_at_least(
            self,
            1,
            *("iterations", "image_updates", "seeds", "repeats", "epochs"),
            *("search_seeds", "search_repeats", "full_epochs"),
        )
        check_at_least(self, 0, "full_networks")
        if not 0 < self.image_lr_scale < float("inf"):
            raise InputError(f"image_lr_scale is {self.image_lr_scale}, but must be a number above 0.")
        check_image_lrs(self.image_lrs)
        if self.image_lrs and (self.image_lr_scale != 1 or self.method.image_lr is not None):
            raise InputError("image_lrs are given beside another image learning rate: give one of them only.")
        if any(ipc < 1 for ipc in self.ipcs):
            raise InputError(f"ipcs are {', '.join(map(str, self.ipcs))}, but each must be 1 or more.")
        if not all(0 < percent < 100 for percent in self.kept):
            raise InputError(
                f"kept is {', '.join(map(str, self.kept))}, but percentages lie above 0 and below 100 (all entries are "
                "always compared with)."
            )
        if self.augmentation is not None:
            check_strategy(self.augmentation)
        for text in self.override:
            parse_override(text)


def check_image_lrs(rates: Sequence[float]) -> None:
    """Check learning rates to choose from.

    Args:
        rates: The rates.

    Raises:
        InputError: They are not different numbers above 0.
    """
    if not all(0 < rate < float("inf") for rate in rates) or len(set(rates)) < len(rates):
        raise InputError(
            f"image_lrs are {', '.join(map(str, rates))}, but must be different numbers above 0."
        )


def parse_override(text: str) -> "tuple[str, str, Plain | tuple[Plain, ...]]":
    """Read a setting of one method.

    Args:
        text: As METHOD.SETTING=VALUE.

    Returns:
        Method, setting and value: a number, True or False where it reads as such, else text; a list where there is a
        comma, also of one with a comma behind it.

    Raises:
        InputError: The text has another form.
    """
    name, equals, value = text.partition("=")
    method, dot, setting = name.partition(".")
    if not (equals and dot and method and setting and value):
        raise InputError(f"override is {text!r}, but must be METHOD.SETTING=VALUE, as in dm.draws=2000.")
    read = (
        tuple(_read_value(part) for part in value.split(",") if part) if "," in value else _read_value(value)
    )
    return method, current_name(setting.replace("-", "_")), read


def _read_value(text: str) -> Plain:
    """Read a number or a truth value; other text stays as it is."""
    if text in {"True", "False"}:
        return text == "True"
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    return text
