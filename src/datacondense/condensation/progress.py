"""`Progress`: what a run tells its observer after each step."""

from collections.abc import Callable
from dataclasses import dataclass, field

from datacondense.condensation.state import Step
from datacondense.evaluation.protocol import Score
from datacondense.image_set import ImageSet


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a run reports after each step.

    Attributes:
        step: The step that was done.
        steps_per_iteration: Steps of one iteration.
        iterations: Iterations of the run.
        loss: The matching loss of the step.
        seconds: Time spent, over all parts of a resumed run.
        seconds_left: Estimate of what is left; None until there is something to estimate from.
        validation: The accuracy on the validation images, where this step asked for one.
        stopped: Whether the run stops here since the accuracy no longer grows; see `RunConfig.patience`.
        images: Builds the set as it stands after the step, in pixel scale.
    """

    step: Step
    steps_per_iteration: int
    iterations: int
    loss: float
    seconds: float
    seconds_left: float | None
    validation: Score | None = None
    stopped: bool = False
    images: Callable[[], ImageSet] = field(repr=False)

    def ends_iteration(self, every: int = 1) -> bool:
        """Whether the step is the last of an iteration.

        Args:
            every: Of each one, or of every so many: the second, fourth, sixth for 2.

        Returns:
            Whether it is.
        """
        is_last = self.step.inner + 1 == self.steps_per_iteration
        return is_last and (self.step.outer + 1) % every == 0
