"""What makes the cells of a study: the settings that its arms have in common, and what each sets otherwise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from math import ceil
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin

from datacondense.condensation.config import MethodConfig
from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.matching.names import Precision
from datacondense.networks.fused import has_bfloat16
from datacondense.networks.names import canonical_name, evaluation_name, parse_name
from datacondense.selection.forgetting import NeverLearned
from datacondense.studies.config import StudyConfig, check_image_lrs
from datacondense.studies.data_source import DataSource
from datacondense.studies.full_training import TrainFull
from datacondense.studies.learning_rate_search import CondenseSearched, SearchLearningRate
from datacondense.studies.selections import (
    ComputeFeatures,
    SelectByFeatures,
    SelectForgetting,
    Selection,
    SelectRandom,
)
from datacondense.studies.study import Entry, Study
from datacondense.studies.tasks import Condense, Evaluate, SetTask

Source: TypeAlias = Callable[[int], SetTask]  # from a seed to the cell that gives the set
Changes: TypeAlias = Mapping[str, Any]  # fields of a config that an arm sets otherwise

_SEARCH_SEED = 10_000  # and on: the sets on which a learning rate is chosen are no sets of the study
_OF_THE_STUDY = {"seed", "repeats"}  # of evaluation


@dataclass(frozen=True, kw_only=True)
class TaskFactory:
    """Makes the cells of one study: what its arms have in common is said here once.

    Attributes:
        data: The data set.
        config: What the user said.
        held_out: The same with some training images held out to be scored on, where arms choose a learning rate.
    """

    data: DataSource
    config: StudyConfig
    held_out: DataSource | None = None

    def condensed(
        self, *, method: MethodConfig | None = None, time_budget_from: Source | None = None, **changes: Any
    ) -> Source:
        """Declare sets that are condensed with some settings of their own.

        Args:
            method: The method; what the user said where None.
            time_budget_from: Sets whose condensing seconds these may spend, seed by seed, in the place of a number of draws.
            **changes: Fields of the method's config, `draws`, or `image_lrs` to choose from.

        Returns:
            For each seed the cell that learns the set.

        Raises:
            InputError: A field is unknown or a value breaks its rule.
        """
        iterations = changes.pop("iterations", None)
        if iterations is not None and (not isinstance(iterations, int) or iterations < 1):
            raise InputError(f"iterations is {iterations!r}, but must be a whole number from 1.")
        rates = _rates(changes.pop("image_lrs", self.config.image_lrs))
        chooses = bool(rates) and changes.get("image_lr") is None
        changed: MethodConfig = _changed(method or self.config.method, changes)
        method = replace(changed, network=canonical_name(parse_name(changed.network))).resolved(
            self.data.name
        )
        assert method.image_lr is not None
        method = replace(
            method,
            image_lr=method.image_lr * self.config.image_lr_scale,
            precision=self._settled(method.precision),
        )
        iterations = iterations or self._iterations(method)
        condensed = partial(Condense, data=self.data, method=method, iterations=iterations)
        if not chooses and time_budget_from is None:
            return lambda seed: condensed(seed=seed)
        choice = self._choice(method, iterations, rates) if chooses else None

        def searched(seed: int) -> CondenseSearched:
            limit = None if time_budget_from is None else time_budget_from(seed)
            assert limit is None or isinstance(limit, (Condense, CondenseSearched))
            return CondenseSearched(base=condensed(seed=seed), choice=choice, time_budget_from=limit)

        return searched

    def _choice(self, method: MethodConfig, iterations: int, rates: Sequence[float]) -> SearchLearningRate:
        """Try every learning rate on held-out images, on the network that is condensed with."""
        assert self.held_out is not None
        candidates = {
            rate: partial(
                Condense,
                data=self.held_out,
                method=replace(method, image_lr=float(rate)),
                iterations=iterations,
            )
            for rate in rates
        }
        trained = evaluation_name(method.network)
        return SearchLearningRate(
            scores={
                rate: [
                    task
                    for number in range(self.config.search_seeds)
                    for task in self._scored(
                        condensed(seed=_SEARCH_SEED + number),
                        self.config.search_repeats,
                        {"network": trained},
                    )
                ]
                for rate, condensed in candidates.items()
            }
        )

    def scored(self, source: Source, **changes: Any) -> tuple[Evaluate, ...]:
        """Declare the scores of sets: `seeds` sets, `repeats` networks each.

        Two entries of a study are scored by the same networks where both train the same architecture.

        Args:
            source: The sets.
            **changes: Fields of `EvaluationConfig`.

        Returns:
            The cells, seed by seed.

        Raises:
            InputError: A field is unknown or a value breaks its rule.
        """
        for name in _OF_THE_STUDY & changes.keys():
            raise InputError(
                f"{name} is {changes[name]!r} in one arm, but entries are paired by it: give --seeds and --repeats for "
                "the whole study."
            )
        return tuple(
            task
            for seed in range(self.config.seeds)
            for task in self._scored(source(seed), self.config.repeats, changes, seed)
        )

    def _scored(
        self, images: SetTask, repeats: int, changes: Changes, seed: int = _SEARCH_SEED
    ) -> list[Evaluate]:
        """Train some networks on one set."""
        protocol = _changed(self._protocol(seed), changes)
        if protocol.augmentation is None and _has_batch_norm(protocol.network):
            # With it, batches of a few images can be trained on; as published, on every data set.
            protocol = replace(protocol, augmentation="crop-noise")
        protocol = protocol.resolved(images.network, self.data.name)
        return [Evaluate(source=images, protocol=protocol, repeat=repeat) for repeat in range(repeats)]

    def random(self, ipc: int) -> Source:
        """Declare sets of real images chosen at random.

        Args:
            ipc: Images per class.

        Returns:
            For each seed the cell that chooses.
        """
        return lambda seed: SelectRandom(data=self.data, ipc=ipc, seed=seed)

    def selected(self, method: Selection, ipc: int) -> Source:
        """Declare a set of real images chosen by the features of a network trained on the whole set.

        Args:
            method: "herding" or "k-center".
            ipc: Images per class.

        Returns:
            For each seed the same cell, since nothing is drawn.
        """
        task = SelectByFeatures(method=method, ipc=ipc, features=ComputeFeatures(trained=self._full(0)))
        return lambda seed: task

    def forgotten(self, ipc: int, never_learned: NeverLearned = "first") -> Source:
        """Declare a set of the real images that a network forgets most often while it trains on the whole set.

        Args:
            ipc: Images per class.
            never_learned: Where images come that it never gets right.

        Returns:
            For each seed the same cell, since nothing is drawn.
        """
        task = SelectForgetting(ipc=ipc, trained=self._full(0), never_learned=never_learned)
        return lambda seed: task

    def full(self) -> tuple[TrainFull, ...]:
        """Declare networks trained on the whole data set: the upper bound, and the source of features.

        Returns:
            `full_networks` cells.
        """
        return tuple(map(self._full, range(self.config.full_networks)))

    def _full(self, repeat: int) -> TrainFull:
        """Train one network on the whole data set."""
        protocol = replace(self._protocol(0), epochs=self.config.full_epochs)
        protocol = protocol.resolved(self.config.method.network, self.data.name)
        return TrainFull(data=self.data, protocol=protocol, repeat=repeat)

    @property
    def _precision(self) -> Precision:
        """One precision for all arms, fused or not, so that they do not differ in their arithmetic."""
        return self._settled(self.config.method.precision)

    @staticmethod
    def _settled(precision: Precision) -> Precision:
        """Settle "auto" by the processor alone."""
        if precision != "auto":
            return precision
        return "bfloat16" if has_bfloat16() else "float32"

    def _iterations(self, method: MethodConfig) -> int:
        """Give the outer draws of an arm that does not set its own."""
        updates = self.config.image_updates
        if updates is not None:
            return ceil(updates / method.steps_per_iteration)
        return self.config.iterations or method.published_iterations

    def _protocol(self, seed: int) -> EvaluationConfig:
        """Give the protocol that all arms share; each set has networks of its own."""
        config = self.config
        return EvaluationConfig(
            epochs=config.epochs,
            augmentation=config.augmentation,
            seed=seed,
            precision=self._precision,
            engine=config.method.engine,
        )


Declaration: TypeAlias = Callable[[TaskFactory], Study]


def grid(
    tasks: TaskFactory, *, rows: Mapping[str, Source], columns: Mapping[str, Changes]
) -> dict[Entry, tuple[Evaluate, ...]]:
    """Score every row's sets in every column's way.

    Args:
        tasks: What the arms have in common.
        rows: For each label the sets.
        columns: For each label fields of `EvaluationConfig`.

    Returns:
        The entries of a study.
    """
    return {
        (row, column): tasks.scored(source, **changes)
        for row, source in rows.items()
        for column, changes in columns.items()
    }


def _rates(given: Any) -> tuple[float, ...]:
    """Check the learning rates of an arm; one alone is a list too."""
    rates = tuple(given) if isinstance(given, list | tuple) else (given,)
    if not _fits(rates, tuple[float, ...]):
        raise InputError(f"image_lrs is {given!r}, but must be of the type {_words(tuple[float, ...])}.")
    check_image_lrs(rates)
    return rates


def _has_batch_norm(network: str | None) -> bool:
    """Tell whether a network that is asked for by name has batch normalisation."""
    return network is not None and getattr(parse_name(network), "norm", None) == "batch"


def _changed(config: Any, changes: Changes) -> Any:
    """Set fields of a config, and name those that it does not have or that cannot hold the value."""
    known = {known.name: known.type for known in fields(config)}
    # TOML has lists only.
    changes = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
    for name, value in changes.items():
        if name not in known:
            raise InputError(
                f"There is no setting {name!r} of {type(config).__name__}: choose from {', '.join(known)}."
            )
        if not _fits(value, known[name]):
            raise InputError(f"{name} is {value!r}, but must be of the type {_words(known[name])}.")
    return replace(config, **changes)


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether a value has one of the types that a field allows; names are checked by the config."""
    hint = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(item, get_args(hint)[0]) for item in value)
    types = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    plain: dict[Any, Any] = {float: (int, float)}
    return any(
        isinstance(value, str) if get_origin(one) is Literal else isinstance(value, plain.get(one, one))
        for one in types
        if not isinstance(value, bool) or one is bool
    )


def _words(hint: Any) -> str:
    """Name the types that a field allows."""
    hint = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(hint) is tuple:
        return f"list of {_words(get_args(hint)[0])}"
    types = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    names = ["str" if get_origin(one) is Literal else one.__name__ for one in types if one is not NoneType]
    return " or ".join(names)
