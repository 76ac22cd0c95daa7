"""Memories compared in continual learning: what is declared, run and measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from datacondense.applications.continual_learning import KeepAll, LearnEndToEnd, LearnFromMemory, LearnStage
from datacondense.applications.continual_results import ContinualResult, collect_continual
from datacondense.applications.distillation import DistillationConfig
from datacondense.applications.stream import Stream
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.data.data_source import DataSource
from datacondense.errors import InputError
from datacondense.networks.names import evaluation_name
from datacondense.settings import check_at_least
from datacondense.studies.config import StudyConfig
from datacondense.studies.factory import TaskFactory
from datacondense.studies.named_sets import full_name, named_set, refuse_overrides
from datacondense.studies.published import TITLES, published_table, shown
from datacondense.studies.running import Run, run_recorded
from datacondense.studies.study import Claim, Entry, Published, Study
from datacondense.tasks.scheduler import Observer
from datacondense.tasks.workers import WorkersConfig

Protocol: TypeAlias = Literal["end-to-end", "from-memory"]
Distilled: TypeAlias = Literal["both", "with", "without"]

ALL, NOTHING = "all", "nothing"  # memories that are bounds
_REFUSED = ("rows", "networks", "ipcs", "kept", "image_lrs", "image_updates", "full_networks")
_USUAL = StudyConfig(repeats=3, method=GradientMatchingConfig(ipc=10))


@dataclass(frozen=True, kw_only=True)
class ContinualConfig:
    """Which memories to compare, and how networks learn from stage to stage.

    Attributes:
        protocol: "end-to-end" (Castro et al. 2018, as in the paper): one network goes on with the new images and the
            memory, and is fine-tuned on equally many images of each stage; or "from-memory" (Prabhu et al. 2020): a
            fresh network learns from the memory alone.
        memories: What fills the memory with `ipc` images per class of each stage: methods and selections as in
            `compare`, "package.module:name" of one's own, and the bounds "all" (everything is kept) and "nothing".
        distillation: Whether the network is held to the one of the stage before: "with", "without", or "both", side by
            side; end-to-end only.
        steps: Updates in each stage, end-to-end: whole epochs, as many as come closest.
        fine_tuning_steps: Updates of fine-tuning; 0 leaves it out.
        distilling: Temperature and weight of the distillation.
        study: Images per class, iterations, seeds and protocol; `repeats` networks learn from each memory, from-memory.
    """

    protocol: Protocol = "end-to-end"
    memories: tuple[str, ...] = ("gradient-matching", "herding", "random", ALL, NOTHING)
    distillation: Distilled = "both"
    steps: int = 2000
    fine_tuning_steps: int = 200
    distilling: DistillationConfig = field(default_factory=DistillationConfig)
    study: StudyConfig = _USUAL

    def __post_init__(self) -> None:
        for name, known in (("protocol", Protocol), ("distillation", Distilled)):
            if getattr(self, name) not in get_args(known):
                raise InputError(
                    f"{name} is {getattr(self, name)!r}: choose one of {', '.join(get_args(known))}."
                )
        check_at_least(self, 1, "steps")
        check_at_least(self, 0, "fine_tuning_steps")
        names = [full_name(name) for name in self.memories]
        if not names or len(set(names)) < len(names):
            raise InputError(f"memories are {', '.join(names) or 'none'}: give at least one, and each once.")
        for name in _REFUSED:
            if getattr(self.study, name) != StudyConfig.__dataclass_fields__[name].default:
                raise InputError(
                    f"{name} is given, but continual learning does not use it: leave --{name.replace('_', '-')} out."
                )
        refuse_overrides(self.study.override, names, "are the same for all memories: give --ipc")

    @property
    def rows(self) -> dict[str, tuple[str, bool]]:
        """The memory of each row, and whether the network is held to the one before."""
        ways = {"both": (False, True), "with": (True,), "without": (False,)}[self.distillation]
        if self.protocol == "from-memory":
            ways = (False,)
        return {
            f"{name}, distilled" if distilled else name: (name, distilled)
            for distilled in ways
            for name in map(full_name, self.memories)
            if not (distilled and name == ALL and len(ways) > 1)  # which forgets nothing
        }


def continual_study(stream: Callable[[int], Stream], config: ContinualConfig) -> Study:
    """Declare the comparison: a row for each memory, a column for each stage.

    Args:
        stream: For each seed the stages.
        config: What to compare.

    Returns:
        A study whose tasks are `LearnStage`.

    Raises:
        InputError: There is no such memory, or a setting does not fit.
    """
    chains = {
        row: [
            chain
            for seed in range(config.study.seeds)
            for chain in _chains(stream(seed), config, memory, distilled=distilled, seed=seed)
        ]
        for row, (memory, distilled) in config.rows.items()
    }
    names = [shown(name) for name in stream(0).names]
    columns = tuple(str(stage + 1) for stage in range(len(names)))
    published: dict[Entry, Published] = {}
    source = ""
    if config.protocol == "end-to-end":
        published, source = published_table("continual", "-".join(stream(0).names))
    return Study(
        name="continual",
        title=TITLES["continual"],
        subject=f"{len(names)} stages, {config.protocol}",
        rows=tuple(config.rows),
        columns=columns,
        row_axis="memory",
        column_axis="stage",
        entries={
            (row, column): [chain[int(column) - 1] for chain in found]
            for row, found in chains.items()
            for column in columns
        },
        published={entry: value for entry, value in published.items() if entry[0] in config.rows},
        source=source,
        claims=_claims(config, columns[-1]),
        plot="curves",
    )


def _claims(config: ContinualConfig, last: str) -> tuple[Claim, ...]:
    """Return the published ordering, for each way of training that is compared."""
    pairs = [(f"gradient-matching{how}", f"herding{how}") for how in ("", ", distilled")]
    return tuple(
        Claim(text=f"{better} > {worse}, stage {last}", better=((better, last),), worse=((worse, last),))
        for better, worse in pairs
        if {better, worse} <= config.rows.keys()
    )


def _chains(
    stream: Stream, config: ContinualConfig, memory: str, *, distilled: bool, seed: int
) -> list[list[LearnStage]]:
    """Return the tasks of all stages, for each network that learns with a memory."""
    kept = [_kept(stage, config, memory, seed) for stage in stream.stages]
    if config.protocol == "end-to-end":
        return [_end_to_end(stream, config, kept, distilled=distilled, seed=seed)]
    epochs = config.study.full_epochs if memory in {ALL, NOTHING} else config.study.epochs
    return [
        [
            LearnFromMemory(
                stages=stream.stages[: stage + 1],
                memory=tuple(kept[stage : stage + 1] if memory == NOTHING else kept[: stage + 1]),
                protocol=_protocol(stream, config, seed, epochs=epochs),
                repeat=repeat,
            )
            for stage in range(len(stream.stages))
        ]
        for repeat in range(config.study.repeats)
    ]


def _end_to_end(
    stream: Stream, config: ContinualConfig, kept: Sequence[Any], *, distilled: bool, seed: int
) -> list[LearnStage]:
    """Return the tasks of one network that goes on from stage to stage."""
    whole = isinstance(kept[0], KeepAll) or not config.fine_tuning_steps
    chain: list[LearnStage] = []
    before: LearnEndToEnd | None = None
    for stage, own in enumerate(kept):
        balanced = before is not None and own is not None and not whole
        before = LearnEndToEnd(
            stages=stream.stages[: stage + 1],
            memory=tuple(each for each in kept[:stage] if each is not None),
            protocol=_protocol(stream, config, seed),
            before=before,
            steps=config.steps,
            distillation=config.distilling if distilled and before is not None else None,
            own=own if balanced else None,
            fine_tuning_steps=config.fine_tuning_steps if balanced else 0,
        )
        chain.append(before)
    return chain


def _kept(stage: DataSource, config: ContinualConfig, memory: str, seed: int) -> Any:
    """Return the task that makes what is kept of a stage; None for nothing, end-to-end."""
    if memory == ALL or (memory == NOTHING and config.protocol == "from-memory"):
        return KeepAll(data=stage)
    if memory == NOTHING:
        return None
    return named_set(TaskFactory(data=stage, config=config.study), memory, config.study.method.ipc)(seed)


def _protocol(stream: Stream, config: ContinualConfig, seed: int, **changes: Any) -> Any:
    """Return the protocol of the networks, by default without augmentation, which data sets do not share."""
    study = replace(config.study, augmentation=config.study.augmentation or "none")
    tasks = TaskFactory(data=stream.stages[0], config=study)
    return tasks.protocol(seed, network=evaluation_name(study.method.network), **changes)


def run_continual(
    stream: Callable[[int], Stream],
    config: ContinualConfig,
    out: Path | str,
    *,
    workers: WorkersConfig | None = None,
    device: str = "cpu",
    observer: Observer | None = None,
) -> Run[ContinualResult]:
    """Run the stages that are not finished, and collect all numbers.

    Args:
        stream: For each seed the stages, see `domain_stream` and `class_stream`.
        config: What to compare.
        out: Output folder; records, networks and memories are kept there, and studies may share it.
        workers: How many tasks run at once, and where; None means as many processes as cores.
        device: The device that each task computes on.
        observer: Called regularly with the progress, from another thread.

    Returns:
        The numbers, and what was done.

    Raises:
        InputError: There is no such memory, the cluster cannot be reached, or the folder cannot be written.
    """
    study = continual_study(stream, config)
    store, outcome = run_recorded(study.tasks, out, workers, device, observer)
    return Run(collect_continual(study, tested_names(stream, config), store), outcome)


def tested_names(stream: Callable[[int], Stream], config: ContinualConfig) -> tuple[str, ...]:
    """Return what the test set of each stage is called: by its number where seeds have other stages."""
    first, *others = [stream(seed).names for seed in range(config.study.seeds)]
    if all(names == first for names in others):
        return tuple(map(shown, first))
    return tuple(f"stage {number + 1}" for number in range(len(first)))
