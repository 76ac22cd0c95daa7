"""Settings that all studies share."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from datacondense.augment.strategies import check_strategy
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.errors import InputError
from datacondense.renamed import current_name
from datacondense.settings import check_at_least, check_number, is_rate

Plain: TypeAlias = int | float | bool | str


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """How many sets each variant of a study condenses, for how long, and how each set is scored.

    Attributes:
        iterations: Iterations of each condensed set. Default: the published number, 1000 for gradient matching.
        image_updates: Steps on the images of each set, instead of `iterations`, which compares numbers of images per
            class at about equal work. Default: as `iterations` gives.
        seeds: Sets of each variant, from seeds 0, 1, …; published: 5.
        repeats: Networks trained on each set; published: 20.
        epochs: Passes over a set. Default: 300, or 1000 with augmentation.
        augmentation: As in `evaluate`. Default: the paper's choice for the data set.
        rows: Rows of the table to run, by label; rows that they are compared with run too. Default: all.
        networks: Networks, for studies that compare them. Default: the study's own list.
        ipcs: Images per class, for studies that compare them. Default: the study's own list.
        kept: Percentages of the gradient's entries, for studies that compare them. Default: the study's own list.
        image_lr_scale: Factor on the image learning rate of every variant, by default the published one (0.1; 0.01
            for an MLP): fewer iterations need larger steps.
        image_lrs: Image learning rates of a learning-rate search: a tenth of the training images is held out, class by
            class, and each variant takes the rate with the highest accuracy on that tenth, for all its seeds. Default:
            no search.
        search_seeds: Sets condensed with each rate in the search; the study itself uses other seeds.
        search_repeats: Networks trained on each of these sets.
        override: Settings of one method of a study that compares methods, as METHOD.SETTING=VALUE, such as
            "dm.iterations=2000", "dsa.real_batch=64" or, instead of --image-lrs, "dm.image_lrs=1,3,10".
        full_epochs: Passes over the full data set in full training, for the upper bound and for coreset selection.
        full_networks: Networks of full training for the upper bound; 0 means none. Coreset selection trains what it
            needs in any case.
        method: Settings that all variants share.
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
        if not is_rate(self.image_lr_scale):
            raise InputError(
                f"image_lr_scale is {self.image_lr_scale}, but must be a number above 0 and below 3e38."
            )
        check_image_lrs(self.image_lrs)
        if self.image_lrs and (self.image_lr_scale != 1 or self.method.image_lr is not None):
            raise InputError(
                "image_lrs are given together with another image learning rate: give one of them only."
            )
        if any(ipc < 1 for ipc in self.ipcs):
            raise InputError(f"ipcs are {', '.join(map(str, self.ipcs))}, but each must be 1 or more.")
        for ipc in self.ipcs:
            check_number("ipc", ipc, 1)
        if not all(0 < percent < 100 for percent in self.kept):
            raise InputError(
                f"kept is {', '.join(map(str, self.kept))}, but percentages must lie above 0 and below 100: the study "
                "always includes 100."
            )
        if self.augmentation is not None:
            check_strategy(self.augmentation)
        for text in self.override:
            parse_override(text)


def check_image_lrs(rates: Sequence[float]) -> None:
    """Refuse learning rates of a search that are not distinct numbers above 0."""
    if not all(map(is_rate, rates)) or len(set(rates)) < len(rates):
        raise InputError(f"image_lrs are {', '.join(map(str, rates))}, but must be distinct numbers above 0.")


def parse_override(text: str) -> tuple[str, str, Plain | tuple[Plain, ...]]:
    """Return method, setting and value of a text METHOD.SETTING=VALUE.

    The value is a number, True or False if it reads as one, otherwise text; a comma makes a list, also a list of one if
    it comes last.
    """
    name, equals, value = text.partition("=")
    method, dot, setting = name.partition(".")
    if not (equals and dot and method and setting and value):
        raise InputError(f"override is {text!r}, but must be METHOD.SETTING=VALUE, as in dm.iterations=2000.")
    read = (
        tuple(_read_value(part) for part in value.split(",") if part) if "," in value else _read_value(value)
    )
    return method, current_name(setting.replace("-", "_")), read


def _read_value(text: str) -> Plain:
    """Read a number or a Boolean; other text stays as it is."""
    if text in {"True", "False"}:
        return text == "True"
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    return text
