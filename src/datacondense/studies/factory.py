"""The factory of a study's tasks: settings that its variants share, and the changes of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from math import ceil
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from datacondense.condensation.method import MethodConfig
from datacondense.data.data_source import DataSource, identified
from datacondense.errors import InputError
from datacondense.evaluation.protocol import NOISE, EvaluationConfig, ResolvedProtocol
from datacondense.facts import facts_of
from datacondense.networks.backend import Precision, has_bfloat16
from datacondense.networks.names import evaluation_name, has_batch_norm, network_name
from datacondense.selection.by_network import SelectionMethod, selection
from datacondense.selection.full_tasks import TrainFull
from datacondense.studies.config import StudyConfig, check_image_lrs
from datacondense.studies.study import Entry, Study
from datacondense.studies.tasks import Condense, Evaluate, SearchLearningRate, SetTask

Source: TypeAlias = Callable[[int], SetTask]  # from a seed to the task whose result is the set
Changes: TypeAlias = Mapping[str, Any]  # fields of a config that a variant changes

_SEARCH_FRACTION = 0.1  # of the training images, held out to compare learning rates
_SEARCH_SEED = 10_000  # first seed of the learning-rate search, which must not use the study's seeds
_PARAMETERS = {"self", "method", "time_budget_from", "source", "condensed_with"}  # of the factory's own
_OF_THE_STUDY = {"seed", "repeats"}  # evaluation settings that variants may not change


@dataclass(frozen=True, kw_only=True)
class TaskFactory:
    """Builds the tasks of one study from the settings that its variants share.

    Attributes:
        data: The data set.
        config: The settings.
        held_out: The data set whose held-out images compare learning rates; None holds a tenth out of `data`.
    """

    data: DataSource
    config: StudyConfig
    held_out: DataSource | None = None

    def condensed(
        self, *, method: MethodConfig | None = None, time_budget_from: Source | None = None, **changes: Any
    ) -> Source:
        """Declare condensed sets.

        Args:
            method: The method; None means that of the study's settings.
            time_budget_from: Sets whose condensing seconds these may spend, seed by seed, instead of a number of
                iterations.
            **changes: Fields of the method's config, `iterations`, or `image_lrs` to search.

        Returns:
            For each seed the task that condenses the set.

        Raises:
            InputError: A field is unknown or a value is invalid.
        """
        iterations = changes.pop("iterations", None)
        if iterations is not None and (not isinstance(iterations, int) or iterations < 1):
            raise InputError(f"iterations is {iterations!r}, but must be an integer of 1 or more.")
        rates = _rates(changes.pop("image_lrs", self.config.image_lrs))
        searches = bool(rates) and changes.get("image_lr") is None
        changed: MethodConfig = _changed(method or self.config.method, changes)
        method = changed.resolved(may_be_mirrored=facts_of(self.data.name).may_be_mirrored)
        image_lr = None if method.image_lr is None else method.image_lr * self.config.image_lr_scale
        precision = self._resolved_precision(method.precision)
        method = replace(method, image_lr=image_lr, precision=precision)
        iterations = iterations or self._iterations(changed)  # resolved, IDC is gradient matching
        search = self._search(method, iterations, rates) if searches else None

        def condensed(seed: int) -> Condense:
            budget = None if time_budget_from is None else time_budget_from(seed)
            assert budget is None or isinstance(budget, Condense)
            return Condense(
                data=self.data,
                method=method,
                seed=seed,
                iterations=iterations if budget is None else None,
                search=search,
                time_budget_from=budget,
            )

        return condensed

    def _search(self, method: MethodConfig, iterations: int, rates: Sequence[float]) -> SearchLearningRate:
        """Score every learning rate on held-out images, with the network that condenses."""
        held_out = self.held_out or _held_out(self.data)
        candidates = {
            float(rate): partial(
                Condense,
                data=held_out,
                method=replace(method, image_lr=float(rate)),
                iterations=iterations,
            )
            for rate in rates
        }
        trained = evaluation_name(method.network)
        return SearchLearningRate(
            scores={
                rate: tuple(
                    task
                    for number in range(self.config.search_seeds)
                    for task in self._scored(
                        condensed(seed=_SEARCH_SEED + number),
                        self.config.search_repeats,
                        {"network": trained},
                    )
                )
                for rate, condensed in candidates.items()
            }
        )

    def scored(self, source: Source, **changes: Any) -> tuple[Evaluate, ...]:
        """Declare the scores of sets: `seeds` sets, `repeats` networks on each.

        Entries that train the same architecture are scored by the same initial networks.

        Args:
            source: The sets.
            **changes: Fields of `EvaluationConfig`.

        Returns:
            The tasks, seed by seed.

        Raises:
            InputError: A field is unknown or a value is invalid.
        """
        for name in _OF_THE_STUDY & changes.keys():
            raise InputError(
                f"{name} is {changes[name]!r} in one variant, but entries are paired by it: give --seeds and --repeats "
                "for the study as a whole."
            )
        return tuple(
            task
            for seed in range(self.config.seeds)
            for task in self._scored(source(seed), self.config.repeats, changes, seed)
        )

    def _scored(
        self, images: SetTask, repeats: int, changes: Changes, seed: int = _SEARCH_SEED
    ) -> list[Evaluate]:
        """Declare networks trained on one set."""
        resolved = self.protocol(seed, condensed_with=images.network, **changes)
        scored = partial(Evaluate, source=images, data=images.data, protocol=resolved)
        return [scored(repeat=repeat) for repeat in range(repeats)]

    def selected(self, method: SelectionMethod, ipc: int) -> Source:
        """Declare sets of selected real images.

        Args:
            method: "random", "herding", "k-center", "forgetting", "forgetting-learned" or "rded".
            ipc: Images per class; the factor, and numbers of single classes, are those of the study's method.

        Returns:
            For each seed the task that selects; the same for all seeds, unless the selection is random.
        """
        storage = {"factor": self.config.method.factor, "ipc_of": self.config.method.ipc_of}
        return lambda seed: selection(method, ipc, self.data, seed, lambda: self._full(0), **storage)

    def full(self) -> tuple[TrainFull, ...]:
        """Declare full training: the upper bound, and what coreset selection uses.

        Returns:
            `full_networks` tasks.
        """
        return tuple(map(self._full, range(self.config.full_networks)))

    def _full(self, repeat: int) -> TrainFull:
        """Declare one network of full training."""
        network = network_name(self.config.method.network)
        resolved = self.protocol(0, condensed_with=network, epochs=self.config.full_epochs)
        return TrainFull(data=self.data, protocol=resolved, repeat=repeat)

    def protocol(self, seed: int, *, condensed_with: str | None = None, **changes: Any) -> ResolvedProtocol:
        """Return the protocol of networks, with the settings of the study.

        Args:
            seed: Seed of the networks.
            condensed_with: The network that a set was condensed with.
            **changes: Fields of `EvaluationConfig`.

        Returns:
            The resolved protocol.

        Raises:
            InputError: A field is unknown or a value is invalid.
        """
        shared = EvaluationConfig(
            epochs=self.config.epochs,
            augmentation=self.config.augmentation,
            seed=seed,
            # One for all variants, fused or not, so that their arithmetic does not differ.
            precision=self._resolved_precision(self.config.method.precision),
            engine=self.config.method.engine,
        )
        protocol: EvaluationConfig = _changed(shared, changes)
        if protocol.augmentation is None and has_batch_norm(protocol.network):
            protocol = replace(protocol, augmentation=NOISE)
        facts = facts_of(self.data.name)._asdict()
        return protocol.resolved(condensed_with=condensed_with, **facts)

    @staticmethod
    def _resolved_precision(precision: Precision) -> Precision:
        """Resolve "auto" by the CPU alone."""
        if precision != "auto":
            return precision
        return "bfloat16" if has_bfloat16() else "float32"

    def _iterations(self, method: MethodConfig) -> int:
        """Return the iterations of a variant that does not set its own."""
        updates = self.config.image_updates
        if updates is not None:
            return ceil(updates / method.steps_per_iteration)
        return self.config.iterations or method.published_iterations


Declaration: TypeAlias = Callable[[TaskFactory], Study]


def grid(
    tasks: TaskFactory, *, rows: Mapping[str, Source], columns: Mapping[str, Changes]
) -> dict[Entry, tuple[Evaluate, ...]]:
    """Declare the scores of the sets of every row under the settings of every column.

    Args:
        tasks: The factory of the study.
        rows: The sets of each label.
        columns: Fields of `EvaluationConfig` of each label.

    Returns:
        The entries of a study.
    """
    return {
        (row, column): tasks.scored(source, **changes)
        for row, source in rows.items()
        for column, changes in columns.items()
    }


def refuse_parameters(changes: Changes) -> None:
    """Refuse settings in a file or an option that only have the name of a parameter of `TaskFactory`."""
    for name in _PARAMETERS & changes.keys():
        raise InputError(f"{name} is no setting that a variant can change: leave it out.")


@cache
def _held_out(source: DataSource) -> DataSource:
    """Hold out training images, on which learning rates are compared."""
    if source.validation_fraction:
        raise InputError(
            "image_lrs are compared on held-out images, but validation_fraction already is "
            f"{source.validation_fraction}: leave one of them out."
        )
    return identified(replace(source, validation_fraction=_SEARCH_FRACTION, content={}))


def _rates(given: Any) -> tuple[float, ...]:
    """Check the learning rates of a variant; a single one counts as a list."""
    rates = tuple(given) if isinstance(given, list | tuple) else (given,)
    if not _fits(rates, tuple[float, ...]):
        raise InputError(f"image_lrs is {given!r}, but must be of type {_words(tuple[float, ...])}.")
    check_image_lrs(rates)
    return rates


def _changed(config: Any, changes: Changes) -> Any:
    """Replace fields of a config; refuse unknown fields and values of a wrong type."""
    known = {known.name: known.type for known in fields(config)}
    # TOML has lists only.
    changes = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
    for name, value in changes.items():
        if name not in known:
            raise InputError(
                f"There is no setting {name!r} of {type(config).__name__}: choose from {', '.join(known)}."
            )
        if not _fits(value, known[name]):
            raise InputError(f"{name} is {value!r}, but must be of type {_words(known[name])}.")
    return replace(config, **changes)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value has a type that a field allows; the config checks names."""
    many, types = _allowed(hint)
    if many:
        return isinstance(value, tuple) and all(_fits(item, Union[types]) for item in value)  # noqa: UP007
    wide = (*types, int) if float in types else types
    return isinstance(value, wide) and (bool in types or not isinstance(value, bool))


def _words(hint: Any) -> str:
    """Return the names of the types that a field allows."""
    many, types = _allowed(hint)
    return "list of " * many + " or ".join(one.__name__ for one in types if one is not NoneType)


def _allowed(hint: Any) -> tuple[bool, tuple[type, ...]]:
    """Whether a field is a list, and the types of its plain values: choices and names of callables are strings."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Annotated, tuple}:
        many, types = _allowed(arguments[0])
        return many or origin is tuple, types
    if origin in {Union, UnionType}:
        return False, tuple(kind for one in arguments for kind in _allowed(one)[1])
    if origin is Literal:
        return False, (str,)
    return False, () if origin is Callable else (origin or hint,)
