"""The loop around every method: counting, stopping, finite checks, progress, checkpoints, validation, the result."""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.method import Method, MethodConfig
from datacondense.condensation.progress import Progress
from datacondense.condensation.results import Saved, facts_of_set, frozen, is_prolonged, restored
from datacondense.condensation.state import State, Step
from datacondense.environment import environment
from datacondense.errors import InputError
from datacondense.evaluation.full_training import TrainedNetwork
from datacondense.evaluation.protocol import EvaluationConfig, Score
from datacondense.evaluation.scoring import evaluate
from datacondense.evaluation.soft_labels import check_teacher, soft_labelled, teacher_facts
from datacondense.image_set import ImageSet, check_trainable, file_content
from datacondense.networks.torch_state import usual_torch
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
    """
    check_trainable(train)
    run = run or RunConfig()
    _check_validation(run, validation)
    fingerprint = train.fingerprint
    train = train.to(device)
    # Settings that do not fit the images are refused here, before anything is written or discarded.
    method = method or GradientMatchingConfig()
    built = method.build(train, run.seed)
    iterations = run.iterations or method.published_iterations
    resolved = narrowed(_ResolvedRun, run, iterations=iterations)
    provenance = _provenance(built, resolved, train, fingerprint)
    if teacher is not None:
        _check_teacher(teacher, train, built)
        provenance["soft_labels"] = teacher_facts(teacher, temperature)
    folder = None if directory is None else RunFolder(Path(directory))
    with nullcontext() if folder is None else folder.claimed():
        if folder is not None:
            folder.begin(provenance, resume=resume, force=force)
            found = ImageSet.load(folder.result) if resume and folder.result.exists() else None
            if found is not None and not is_prolonged(found, provenance, folder):
                return found
        state, end = _Loop(built, resolved, train, validation, folder, observer).run()
        result = frozen(state, facts_of_set(train, built), {**provenance, **_done(built, provenance, end)})
        if teacher is not None:
            result = soft_labelled(result, teacher, temperature=temperature)
        if folder is not None:
            folder.save_result(*file_content(result))
        return result


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
        self._method, self._run, self._train = method, run, train
        self._validation, self._folder, self._observer = validation, folder, observer
        self._steps: int = method.settings.steps_per_iteration
        self._accuracies: list[float] = []
        self._state, self._first, self._seconds_before = self._start()
        self._began = time.monotonic()

    def _start(self) -> tuple[State, Step, float]:
        """Return the state, step and seconds from which the run goes on."""
        saved = None if self._folder is None else self._folder.checkpoint(Saved)
        if saved is None:
            state, first, seconds = self._method.init(), Step(0, 0), 0.0
        else:
            state, first = restored(saved, self._train.images.device), Step(*saved.progress["position"])
            seconds = saved.progress["seconds"]
        if first > (self._run.iterations, 0):
            raise ResumeError(
                f"iterations is {self._run.iterations}, but the run is in iteration {first.outer + 1}: give more."
            )
        if self._folder is not None:
            self._folder.keep_metrics(lambda entry: Step(entry["iteration"], entry["step"]) < first)
            validations = (entry.get("validation") for entry in self._folder.metrics())
            self._accuracies = [found["accuracy"] for found in validations if found]
        return state, first, seconds

    def run(self) -> tuple[State, Step]:
        """Go on until the iterations are done, the time is over or the accuracy no longer grows."""
        state, step = self._state, self._first
        saved_at = self._seconds()
        try:
            # One step at least, however short the time: pure noise is no result.
            while (
                step.outer < self._run.iterations
                and not self._is_stalled()
                and (self._seconds() < self._run.time_limit_seconds or step == (0, 0))
            ):
                new, loss = self._method.step(state, step)
                _check_finite(new, step, self._method.settings.image_lr)
                # Interrupted while it is validated and logged, a step is taken again.
                progress = self._logged(new, step, loss)
                state, step = new, step.after(self._steps)
                if self._observer is not None:
                    self._observer(progress)
                if self._seconds() - saved_at >= self._run.checkpoint_every:
                    self._save(state, step)
                    saved_at = self._seconds()
        except KeyboardInterrupt:
            self._save(state, step)
            raise
        self._save(state, step)
        return state, step

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
        if self._folder is not None:
            entry = {"iteration": done.outer, "step": done.inner, "loss": loss, "seconds": seconds}
            found = {} if score is None else {"accuracy": score.mean, "std": score.std, "n": score.n}
            self._folder.log(**entry, **({"validation": found} if found else {}))
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


def _provenance(method: Method[Any], run: _ResolvedRun, train: ImageSet, fingerprint: str) -> dict[str, Any]:
    """Return all that the result depends on, as plain JSON values."""
    source = train.provenance.get("source", {})
    hold_out = train.provenance.get("hold_out")
    return {
        "method": method.settings.name,
        "settings": plain_settings(method.settings),
        "run": plain_settings(run),
        "source": {**source, "num_images": len(train), "fingerprint": fingerprint, "hold_out": hold_out},
        "environment": {**environment(train.images.device), **method.backend_facts},
    }


def _done(method: Method[Any], provenance: dict[str, Any], end: Step) -> dict[str, Any]:
    """Return what is known of a run at its end only: how far it came, and what the device captured on the way."""
    iterations = end.outer + end.inner / method.settings.steps_per_iteration
    return {"environment": provenance["environment"] | method.backend_facts, "iterations_done": iterations}


def _check_finite(state: State, step: Step, image_lr: float | None) -> None:
    """Stop before a broken state is saved."""
    tensors = (state.images, state.velocity, *state.learned.values())
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        smaller = "" if image_lr is None else f", such as {image_lr / 10:g}"
        raise InputError(
            f"The images became NaN or infinite in iteration {step.outer}, step {step.inner}, with image_lr "
            f"{image_lr}: give a smaller --image-lr{smaller}."
        )
