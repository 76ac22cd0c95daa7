"""The loop around every method: counting, stopping, finite checks, progress, checkpoints, validation, the result."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from datacondense.condensation.config import MethodConfig, RunConfig
from datacondense.condensation.gradient_matching_config import GradientMatchingConfig
from datacondense.condensation.method import Method
from datacondense.condensation.run_folder import Checkpoint, RunFolder
from datacondense.condensation.state import State, Step
from datacondense.environment import environment
from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig, Score
from datacondense.evaluation.scoring import evaluate
from datacondense.image_set import ImageSet, check_trainable


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a run tells after each step.

    Attributes:
        step: The step that was done.
        steps_per_iteration: Steps of one outer draw.
        iterations: Outer draws of the whole run.
        loss: The matching loss of the step.
        seconds: Time spent, over all parts of a resumed run.
        seconds_left: Estimate of what is left; None until there is something to estimate from.
        validation: The accuracy on the validation images, where this step asked for one.
    """

    step: Step
    steps_per_iteration: int
    iterations: int
    loss: float
    seconds: float
    seconds_left: float | None
    validation: Score | None = None


def condense(
    train: ImageSet,
    method: MethodConfig | None = None,
    run: RunConfig | None = None,
    *,
    validation: ImageSet | None = None,
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
        run: Seed, length and reports; the published number of draws where None.
        validation: Images held out of `train` (see `hold_out`), for the accuracies that `run.validate_every` asks
            for. They influence nothing.
        directory: Folder for settings, checkpoints, metrics and result; nothing is written where None.
        resume: Continue the unfinished run in `directory`, or begin it where there is none. The result has the
            same bytes as an unbroken run's, on the same machine with the same number of threads. A finished run
            is read and returned.
        force: Discard what an earlier run left in `directory`.
        device: Where to compute.
        observer: Called after every step.

    Returns:
        The images in pixel scale, class by class, as saved in `directory`; its record holds all settings.

    Raises:
        InputError: A class is empty or there is only one, the settings do not fit the images, `directory` holds
            another run or cannot be written, or the images became NaN or infinite.
        KeyboardInterrupt: Ctrl-C was pressed; a checkpoint has been written first.
    """
    check_trainable(train)
    source = train.provenance.get("source", {})
    method = (method or GradientMatchingConfig()).resolved(source.get("name"))
    run = run or RunConfig()
    run = replace(run, iterations=run.iterations or method.published_iterations)
    if run.validate_every and validation is None:
        raise InputError(
            f"validate_every is {run.validate_every}, but there are no validation images: hold some out of the "
            "training images, with --validation-fraction on the command line or hold_out() in Python."
        )
    settings = {
        "method": method.name,
        "settings": asdict(method),
        "run": asdict(run),
        "source": {
            **source,
            "num_images": len(train),
            "fingerprint": train.fingerprint,
            "hold_out": train.provenance.get("hold_out"),
        },
    }
    train = train.to(device)
    # Settings that do not fit the images are refused here, before anything is written or discarded.
    built = method.build(train, run.seed)
    settings["environment"] = {**environment(device), **built.backend._asdict()}
    folder = None if directory is None else RunFolder(Path(directory))
    with nullcontext() if folder is None else folder.claimed():
        if folder is not None and resume and folder.result.exists():
            folder.begin(settings, resume=True, force=False)
            return ImageSet.load(folder.result)
        if folder is not None:
            folder.begin(settings, resume=resume, force=force)
        state, end = _Loop(built, method, run, train, validation, folder, observer).run()
        done = {"iterations_done": _iterations_done(end, method.steps_per_iteration)}
        result = _image_set(state, train, {**settings, **done})
        if folder is not None:
            result.save(folder.result)
        return result


class _Loop:
    """One run: where it stands, and the clock."""

    def __init__(
        self,
        method: Method,
        config: MethodConfig,
        run: RunConfig,
        train: ImageSet,
        validation: ImageSet | None,
        folder: RunFolder | None,
        observer: Callable[[Progress], None] | None,
    ) -> None:
        self._method, self._config, self._run, self._train = method, config, run, train
        self._validation, self._folder, self._observer = validation, folder, observer
        assert run.iterations is not None
        self._iterations = run.iterations
        saved = None if folder is None else folder.restore(train.images.device)
        self._start = saved or Checkpoint(self._method.init(), Step(0, 0), 0.0)
        self._began = time.monotonic()

    def run(self) -> tuple[State, Step]:
        """Go on until the draws are done or the time is over."""
        state, step, _ = self._start
        saved_at = self._seconds()
        try:
            while step.outer < self._iterations and self._seconds() < self._run.time_limit_seconds:
                new, loss = self._method.step(state, step)
                assert self._config.image_lr is not None
                _check_finite(new, step, self._config.image_lr)
                state, done, step = new, step, self._after(step)
                self._report(state, done, loss)
                if self._seconds() - saved_at >= self._run.checkpoint_every:
                    self._save(state, step)
                    saved_at = self._seconds()
        except KeyboardInterrupt:
            self._save(state, step)
            raise
        self._save(state, step)
        return state, step

    def _seconds(self) -> float:
        return self._start.seconds + time.monotonic() - self._began

    def _after(self, step: Step) -> Step:
        """The step that follows."""
        if step.inner + 1 < self._config.steps_per_iteration:
            return Step(step.outer, step.inner + 1)
        return Step(step.outer + 1, 0)

    def _save(self, state: State, step: Step) -> None:
        if self._folder is not None:
            self._folder.save_checkpoint(Checkpoint(state, step, self._seconds()))

    def _report(self, state: State, done: Step, loss: float) -> None:
        """Log a step and tell the observer, with a validation accuracy where one is due."""
        score = self._validate(state) if self._is_validation_due(done) else None
        seconds = self._seconds()
        if self._folder is not None:
            entry: dict[str, Any] = {
                "iteration": done.outer,
                "step": done.inner,
                "loss": loss,
                "seconds": seconds,
            }
            if score is not None:
                entry["validation"] = {"accuracy": score.mean, "std": score.std, "n": score.n}
            self._folder.log(**entry)
        if self._observer is not None:
            self._observer(
                Progress(
                    step=done,
                    steps_per_iteration=self._config.steps_per_iteration,
                    iterations=self._iterations,
                    loss=loss,
                    seconds=seconds,
                    seconds_left=self._seconds_left(self._after(done)),
                    validation=score,
                )
            )

    def _seconds_left(self, step: Step) -> float | None:
        """Estimate from the steps since this process began."""
        steps = self._config.steps_per_iteration
        start = self._start.step
        done = (step.outer - start.outer) * steps + step.inner - start.inner
        if done <= 0:
            return None
        left = (self._iterations - step.outer) * steps - step.inner
        estimate = (self._seconds() - self._start.seconds) / done * left
        return max(0.0, min(estimate, self._run.time_limit_seconds - self._seconds()))

    def _is_validation_due(self, done: Step) -> bool:
        every = self._run.validate_every
        return every > 0 and self._after(done).inner == 0 and (done.outer + 1) % every == 0

    def _validate(self, state: State) -> Score:
        """Score the images as they stand, without augmentation: a cheap and even-handed measure of progress."""
        assert self._validation is not None
        config = EvaluationConfig(
            repeats=self._run.validation_networks, augmentation="none", seed=self._run.seed
        )
        images = _image_set(state, self._train, {"settings": asdict(self._config)})
        return evaluate(images, self._validation, config, device=self._train.images.device)


def _image_set(state: State, train: ImageSet, record: dict[str, Any]) -> ImageSet:
    """Freeze the images: from normalised units to pixel scale, class by class."""
    images = state.result.flatten(0, 1).float().cpu()
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (train.mean, train.std))
    labels = torch.arange(len(state.result)).repeat_interleave(state.result.shape[1])
    if state.learned:
        record = {**record, "learned": {name: tensor.tolist() for name, tensor in state.learned.items()}}
    return replace(train, images=images * std + mean, labels=labels, provenance=record)


def _iterations_done(end: Step, steps: int) -> float:
    """Count outer draws; a time limit can end a run within one."""
    return end.outer + end.inner / steps


def _check_finite(state: State, step: Step, image_lr: float) -> None:
    """Stop before a broken state is saved."""
    tensors = (state.images, state.velocity, *state.learned.values())
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise InputError(
            f"The images became NaN or infinite in outer draw {step.outer}, step {step.inner}, with image_lr "
            f"{image_lr}: give a smaller --image-lr, such as {image_lr / 10:g}."
        )
