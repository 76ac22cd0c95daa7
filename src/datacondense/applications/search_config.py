"""What a search trains architectures on: its settings, its proxies and its reference."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from datacondense.applications.architecture_score import Scorer
from datacondense.applications.search_result import REFERENCE
from datacondense.applications.search_space import SearchSpace
from datacondense.augment.strategies import check_strategy
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.data.data_source import DataSource, identified
from datacondense.errors import InputError
from datacondense.settings import check_at_least
from datacondense.studies.config import StudyConfig
from datacondense.studies.factory import TaskFactory
from datacondense.studies.named_sets import full_name, named_set, refuse_overrides
from datacondense.studies.read_set import set_in_file

SamplerName: TypeAlias = Literal["grid", "random", "tpe", "gp", "nsgaii"]
PrunerName: TypeAlias = Literal["none", "median", "successive-halving", "hyperband"]

EARLY_STOPPED = "early-stopped"
_SET_FILE = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Which architectures to compare, on what, and for how long.

    Attributes:
        proxies: What architectures are trained on in the place of the training set: names of methods and selections, as
            in `compare`; "package.module:function" of your own; a .safetensors file with a set; or "early-stopped",
            the training set until as many images were seen as in the training on a set.
        epochs: Passes over a proxy; published: 100.
        repeats: Networks of each architecture on each proxy, and for reference.
        reference_epochs: Passes over the training set for reference, with which proxies are compared; 0 means no
            reference.
        augmentation: As in `evaluate`.
        validation_fraction: Fraction of the training images that is held out, class by class, and ranks the
            architectures; nothing is trained on it.
        seed: Seed of the sets, the networks and the sampler.
        sampler: "grid" tries every architecture on every proxy; "random", "tpe", "gp" or "nsgaii" let Optuna suggest
            `trials` of them on each, and the reference trains those.
        trials: Architectures that the sampler suggests for each proxy; not with "grid".
        pruner: "median", "successive-halving" or "hyperband" stop an architecture between its networks.
        iterations: Iterations of condensed sets. Default: the published number of the method.
        image_lrs: Image learning rates to choose from for condensed sets, as in `study`.
        override: Settings of one method, as METHOD.SETTING=VALUE, as in `compare`.
        full_epochs: Passes over the training set of the network that coreset selection relies on.
        space: The architectures.
        method: Images per class, and the settings of gradient matching.
    """

    proxies: tuple[str, ...] = ("gradient-matching", "random", "herding", EARLY_STOPPED)
    epochs: int = 100
    repeats: int = 1
    reference_epochs: int = 30
    augmentation: str = "none"
    validation_fraction: float = 0.1
    seed: int = 0
    sampler: SamplerName = "grid"
    trials: int | None = None
    pruner: PrunerName = "none"
    iterations: int | None = None
    image_lrs: tuple[float, ...] = ()
    override: tuple[str, ...] = ()
    full_epochs: int = 30
    space: SearchSpace = field(default_factory=SearchSpace)
    method: GradientMatchingConfig = field(default_factory=lambda: GradientMatchingConfig(ipc=10))

    def __post_init__(self) -> None:
        check_at_least(self, 1, "epochs", "repeats", "trials")
        check_at_least(self, 0, "seed")
        check_strategy(self.augmentation)
        if not 0 < self.validation_fraction < 1:
            raise InputError(
                f"validation_fraction is {self.validation_fraction}, but must be above 0 and below 1: held-out images "
                "rank the architectures."
            )
        if self.reference_epochs != 0 and self.reference_epochs < 2:
            raise InputError(
                f"reference_epochs is {self.reference_epochs}, but must be 2 or more, since the learning rate drops "
                "after half of them, or 0 for no reference."
            )
        for name, value, known in (
            ("sampler", self.sampler, get_args(SamplerName)),
            ("pruner", self.pruner, get_args(PrunerName)),
        ):
            if value not in known:
                raise InputError(f"{name} is {value!r}: choose one of {', '.join(known)}.")
        if (self.sampler == "grid") is not (self.trials is None):
            raise InputError(
                f"trials is {self.trials} with the sampler {self.sampler}: give --trials with all samplers but grid, "
                "which tries every architecture."
            )
        if self.pruner != "none" and self.repeats == 1:
            raise InputError(
                f"pruner is {self.pruner!r}, but acts between the networks of an architecture, and repeats is 1: give "
                "--repeats 2 or more."
            )
        names = list(map(proxy_name, self.proxies))
        if not names or len(set(names)) < len(names) or REFERENCE in names:
            raise InputError(
                f"proxies are {', '.join(self.proxies) or 'none'}, but must be one or more, each once and none called "
                f"{REFERENCE}."
            )
        refuse_overrides(self.override, names, "are the same for all proxies: give --ipc")
        self.study_config()

    def study_config(self) -> StudyConfig:
        """Return the settings of a study that makes the same sets.

        Returns:
            The settings.
        """
        return StudyConfig(
            iterations=self.iterations,
            image_lrs=self.image_lrs,
            override=self.override,
            full_epochs=self.full_epochs,
            method=self.method,
        )


def proxy_name(proxy: str) -> str:
    """Return what a proxy is called: a file by its name without the suffix."""
    return Path(proxy).stem if proxy.endswith(_SET_FILE) else full_name(proxy)


def declared_scorers(data: DataSource, config: SearchConfig) -> Sequence[Scorer]:
    """Declare how architectures are scored on each proxy, then for reference where there is one.

    Everything is made of training images that are not held out.

    Args:
        data: The data set; it is read.
        config: The settings.

    Returns:
        One scorer for each proxy, and one for the reference.

    Raises:
        InputError: The data set cannot be read, a network does not fit its images, or a proxy or a setting is wrong.
    """
    tested_on = data if data.content else identified(data)
    held_out = identified(replace(tested_on, validation_fraction=config.validation_fraction, content={}))
    train = held_out.read().train
    config.space.check(train.image_shape, train.num_classes)
    factory = TaskFactory(data=held_out, config=config.study_config(), held_out=held_out)
    protocol = factory.protocol(
        config.seed, network="convnet", repeats=1, epochs=config.epochs, augmentation=config.augmentation
    )

    def scorer(name: str, **changes: object) -> Scorer:
        settings = {"protocol": protocol, "repeats": config.repeats, **changes}
        return Scorer(name=name, data=held_out, tested_on=tested_on, **settings)  # type: ignore[arg-type]

    def on_proxy(proxy: str) -> Scorer:
        name = proxy_name(proxy)
        if proxy == EARLY_STOPPED:
            seen = config.method.ipc * train.num_classes * config.epochs
            return scorer(name, stop_after=seen)
        if proxy.endswith(_SET_FILE):
            return scorer(name, source=set_in_file(held_out, proxy))
        return scorer(name, source=named_set(factory, proxy, config.method.ipc)(config.seed))

    found = list(map(on_proxy, config.proxies))
    if config.reference_epochs:
        found.append(scorer(REFERENCE, protocol=replace(protocol, epochs=config.reference_epochs)))
    return found
