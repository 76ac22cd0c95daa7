"""The loop around every method: counting, stopping, finite checks, progress, checkpoints, validation, the result."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.method import Method, MethodConfig
from datacondense.condensation.progress import Progress
from datacondense.condensation.results import (
    Saved,
    begun,
    done,
    facts_of_set,
    frozen,
    provenance_of,
    restored,
)
from datacondense.condensation.shared_run import (
    check_agreement,
    check_same_run,
    set_of_first,
    state_of_first,
)
from datacondense.condensation.state import State, Step, check_finite
from datacondense.errors import InputError
from datacondense.evaluation.full_training import TrainedNetwork
from datacondense.evaluation.protocol import EvaluationConfig, Score
from datacondense.evaluation.scoring import evaluate
from datacondense.evaluation.soft_labels import check_teacher, soft_labelled, teacher_facts
from datacondense.image_set import ImageSet, check_trainable, file_content
from datacondense.networks.torch_state import usual_torch
from datacondense.ranks import LostRankError, current_ranks
from datacondense.run_folder import ResumeError, RunFolder
from datacondense.settings import HIDDEN, added, check_at_least, narrowed, plain_settings, seconds_of


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How long a run goes on, from which seed, and what it reports on the way.

    Attributes:
        seed: Seed of everything that is drawn, from 0; the same seed gives the same bytes.
        iterations: Fresh networks to learn on, each for one step or several. Default: the published number: 1000 for
            gradient matching, 20000 for distribution matching, 23600 for Dataset Distillation.
        time_limit: Stop after this time even if iterations are left, with a complete result: "90s", "10m", "2h".
            Default: none.
        checkpoint_every: Seconds between checkpoints.
        validate_every: Iterations between accuracies on the validation images; 0: never.
        validation_networks: Networks trained for each of these accuracies.
        patience: Stop after so many of them in a row that are no better than an earlier one, with the images as they
            are then; 0: never.
        preset: What of these settings came from a preset, for provenance; see `recommended`.
    """

    seed: int = 0
    iterations: int | None = None
    time_limit: str | None = None
    checkpoint_every: float = 30.0
    validate_every: int = 0
    validation_networks: int = 3
    patience: int = added(0)
    preset: Annotated[Mapping[str, Any] | None, HIDDEN] = added(None)

    def __post_init__(self) -> None:
        check_at_least(self, 1, "iterations", "validation_networks")
        check_at_least(self, 0, "seed", "validate_every", "patience")
        if self.patience and not self.validate_every:
            raise InputError(
                f"patience is {self.patience} validations, but there are none: give --validate-every too."
            )
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
        return seconds_of("time_limit", self.time_limit)


@dataclass(frozen=True, kw_only=True)
class _ResolvedRun(RunConfig):
    iterations: int = field()


@usual_torch()
def condense(
    train: ImageSet,
    method: MethodConfig | None = None,
    run: RunConfig | None = None,
    *,
    validation: ImageSet | None = None,
    teacher: TrainedNetwork | None = None,
    temperature: float = 1.0,
    directory: Path | str | None = None,
    resume: bool = False,
    force: bool = False,
    device: torch.device | str = "cpu",
    observer: Callable[[Progress], None] | None = None,
) -> ImageSet:
    """Learn a few synthetic images per class that train networks as the real images do.

    Where `torch.distributed.init_process_group` was called, its ranks share the classes out: all of them call this
    function with the same arguments, and get the same set. Rank 0 alone writes into `directory` and calls `observer`.

    Args:
        train: The real images.
        method: What is learned and how; gradient matching of one image per class with the published settings where
            None.
        run: Seed, length and reports; the published number of iterations where None.
        validation: Images held out of `train` (see `hold_out`), for the accuracies that `run.validate_every` asks
            for. They influence nothing but where a run with `run.patience` stops.
        teacher: A network that labels the result with distributions over the classes, see `soft_labelled`.
        temperature: T of these labels.
        directory: Folder for settings, checkpoints, metrics and result; nothing is written where None.
        resume: Continue the unfinished run in `directory`, or begin it where there is none. The result has the
            same bytes as an unbroken run's, on the same machine with the same number of threads. A finished run
            is read and returned.
        force: Discard what an earlier run left in `directory`.
        device: Where to compute.
        observer: Called after every step.

    Returns:
        The images in pixel scale, class by class, as saved in `directory`; their provenance holds all settings.

    Raises:
        InputError: A class is empty or there is only one, the settings or the teacher do not fit the images,
            `directory` holds another run or cannot be written, or the images became NaN or infinite.
        KeyboardInterrupt: Ctrl-C was pressed; a checkpoint has been written first.
        LostRankError: Another rank ended; likewise.
    """
    ranks = current_ranks()
    with ranks.joint():
        check_trainable(train)
        run = run or RunConfig()
        _check_validation(run, validation)
        fingerprint = train.fingerprint
        train = train.to(device).decoded()
        # Settings that do not fit the images are refused here, before anything is written or discarded.
        method = method or GradientMatchingConfig()
        built = method.build(train, run.seed)
        resolved = narrowed(_ResolvedRun, run, iterations=run.iterations or method.published_iterations)
        provenance = provenance_of(built, plain_settings(resolved), train, fingerprint)
        if teacher is not None:
            _check_teacher(teacher, train, built)
            provenance["soft_labels"] = teacher_facts(teacher, temperature)
    check_same_run(ranks, provenance)
    folder = None if directory is None or not ranks.is_first else RunFolder(Path(directory))
    with ExitStack() as claim:
        found = set_of_first(ranks, lambda: begun(folder, claim, provenance, resume, force))
        if found is not None:
            return found
        state, end = _Loop(built, resolved, train, validation, folder, observer).run()

        def finish() -> ImageSet:
            result = frozen(state, facts_of_set(train, built), provenance | done(built, provenance, end))
            if teacher is not None:
                result = soft_labelled(result, teacher, temperature=temperature)
            if folder is not None:
                folder.save_result(*file_content(result))
            return result

        return set_of_first(ranks, finish)


def _check_teacher(teacher: TrainedNetwork, train: ImageSet, method: Method[Any]) -> None:
    """Refuse a teacher of other images, or beside labels that are learned."""
    check_teacher(teacher, train)
    if getattr(method.settings, "learn_labels", False):
        raise InputError("learn_labels is on, but a teacher labels the images too: leave one of them out.")


def _check_validation(run: RunConfig, validation: ImageSet | None) -> None:
    """Refuse reports on images that are not there."""
    if run.validate_every and validation is None:
        raise InputError(
            f"validate_every is {run.validate_every}, but there are no validation images: hold some out of the "
            "training images, with --validation-fraction on the command line or hold_out() in Python."
        )


class _Loop:
    """One run: where it stands, and the clock."""

    def __init__(
        self,
        method: Method[Any],
        run: _ResolvedRun,
        train: ImageSet,
        validation: ImageSet | None,
        folder: RunFolder | None,
        observer: Callable[[Progress], None] | None,
    ) -> None:
        self._method, self._run, self._train, self._ranks = method, run, train, method.ranks
        self._validation, self._folder, self._observer = validation, folder, observer
        self._steps: int = method.settings.steps_per_iteration
        self._accuracies: list[float] = []
        self._saved_at = 0.0
        self._state, self._first, self._seconds_before = self._start()
        self._began = time.monotonic()

    def _start(self) -> tuple[State, Step, float]:
        """Return the state, step and seconds from which the run goes on; the first rank reads them."""
        state: State | None = None

        def read() -> dict[str, Any]:
            nonlocal state
            saved = None if self._folder is None else self._folder.checkpoint(Saved)
            found: dict[str, Any] = {"position": (0, 0), "seconds": 0.0, "accuracies": []}
            if saved is not None:
                state = restored(saved, self._train.images.device)
                found |= {name: saved.progress[name] for name in ("position", "seconds")}
            first = Step(*found["position"])
            if first > (self._run.iterations, 0):
                raise ResumeError(
                    f"iterations is {self._run.iterations}, but the run is in iteration {first.outer + 1}: give more."
                )
            if self._folder is not None:
                self._folder.keep_metrics(lambda entry: Step(entry["iteration"], entry["step"]) < first)
                validations = (entry.get("validation") for entry in self._folder.metrics())
                found["accuracies"] = [each["accuracy"] for each in validations if each]
            return {**found, "begun": saved is not None}

        found = self._ranks.of_first(read)
        self._accuracies = found["accuracies"]
        if found["begun"]:
            state = state_of_first(self._ranks, state, self._train.images.device)
        return state or self._method.init(), Step(*found["position"]), found["seconds"]

    def run(self) -> tuple[State, Step]:
        """Go on until the iterations are done, the time is over or the accuracy no longer grows."""
        state, step, ranks = self._state, self._first, self._ranks
        self._saved_at = self._seconds()
        try:
            while ranks.of_first(partial(self._goes_on, step)):
                new, loss = self._method.step(state, step)
                check_finite(new, step, self._method.settings.image_lr)
                # Interrupted while it is validated and logged, a step is taken again.
                progress = self._logged(new, step, loss)
                state, step = new, step.after(self._steps)
                if ranks.of_first(partial(self._observed, progress)):
                    self._save_together(state, step)
        except (KeyboardInterrupt, LostRankError):
            self._save(state, step)
            raise
        self._save_together(state, step)
        return state, step

    def _goes_on(self, step: Step) -> bool:
        # One step at least, however short the time: pure noise is no result.
        return (
            step.outer < self._run.iterations
            and not self._is_stalled()
            and (self._seconds() < self._run.time_limit_seconds or step == (0, 0))
        )

    def _observed(self, progress: Progress) -> bool:
        """Call the observer, and return whether it is time for a checkpoint."""
        if self._observer is not None:
            self._observer(progress)
        return self._seconds() - self._saved_at >= self._run.checkpoint_every

    def _save_together(self, state: State, step: Step) -> None:
        """Write a checkpoint once all ranks agree on the state."""
        if self._ranks.size > 1:
            check_agreement(self._ranks, state, step)
        self._ranks.of_first(partial(self._save, state, step))
        self._saved_at = self._seconds()

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._began

    def _save(self, state: State, step: Step) -> None:
        if self._folder is not None:
            progress = {
                "position": step,
                "seconds": self._seconds(),
                "facts": facts_of_set(self._train, self._method),
            }
            self._folder.save_checkpoint(state.to_tensors(), progress)

    def _logged(self, state: State, done: Step, loss: float) -> Progress:
        """Log a step, with a validation accuracy where one is due, and return what the observer is told."""
        score = self._validate(self._images(state)) if self._is_validation_due(done) else None
        seconds = self._seconds()
        entry: dict[str, Any] = {
            "iteration": done.outer,
            "step": done.inner,
            "loss": loss,
            "seconds": seconds,
        }
        found = {} if score is None else {"accuracy": score.mean, "std": score.std, "n": score.n}
        entry |= {"validation": found} if found else {}
        self._ranks.of_first(lambda: None if self._folder is None else self._folder.log(**entry))
        self._accuracies += [] if score is None else [score.mean]
        return Progress(
            step=done,
            steps_per_iteration=self._steps,
            iterations=self._run.iterations,
            loss=loss,
            seconds=seconds,
            seconds_left=self._seconds_left(done.after(self._steps)),
            validation=score,
            stopped=self._is_stalled(),
            images=partial(self._images, state),
        )

    def _is_stalled(self) -> bool:
        """Whether none of the last `patience` validations is better than all before them."""
        patience, accuracies = self._run.patience, self._accuracies
        return 0 < patience < len(accuracies) and max(accuracies[-patience:]) <= max(accuracies[:-patience])

    def _seconds_left(self, step: Step) -> float | None:
        """Estimate from the steps since this process began."""
        done = (step.outer - self._first.outer) * self._steps + step.inner - self._first.inner
        if done <= 0:
            return None
        left = (self._run.iterations - step.outer) * self._steps - step.inner
        estimate = (self._seconds() - self._seconds_before) / done * left
        return max(0.0, min(estimate, self._run.time_limit_seconds - self._seconds()))

    def _is_validation_due(self, done: Step) -> bool:
        every = self._run.validate_every
        return every > 0 and done.after(self._steps).inner == 0 and (done.outer + 1) % every == 0

    def _images(self, state: State) -> ImageSet:
        """Return the images as they stand."""
        settings = plain_settings(self._method.settings)
        return frozen(state, facts_of_set(self._train, self._method), {"settings": settings})

    def _validate(self, images: ImageSet) -> Score:
        """Score images without augmentation: a cheap and even-handed measure of progress."""
        assert self._validation is not None
        protocol = EvaluationConfig(
            repeats=self._run.validation_networks, augmentation="none", seed=self._run.seed
        )
        return evaluate(images, self._validation, protocol, device=self._train.images.device)
