"""What a method keeps over the steps, averages and moments: what they do, and that they survive a stop."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from datacondense.condensation.config import RunConfig
from datacondense.condensation.gradient_matching_config import GradientMatchingConfig
from datacondense.condensation.loop import Progress, condense
from datacondense.image_set import ImageSet

PLAIN = GradientMatchingConfig(
    ipc=2, network="convnet-w4-d1", matching_steps=2, network_epochs=1, real_batch=4, image_lr=0.5
)
AVERAGED = replace(PLAIN, iterate_averaging=True)


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the library catches it."""


def images_after(train: ImageSet, steps: int, method: GradientMatchingConfig) -> torch.Tensor:
    """Run a number of steps that ends a draw."""
    iterations, rest = divmod(steps, 2)
    assert not rest
    return condense(train, method, RunConfig(iterations=iterations)).images


def test_step_t_weighs_as_the_formula_says(tiny: ImageSet) -> None:
    plain, averaged = (replace(method, matching_steps=1) for method in (PLAIN, AVERAGED))
    each = [condense(tiny, plain, RunConfig(iterations=iterations)).images for iterations in range(1, 6)]
    # What the recursion comes to: step t of T weighs 4 t (t+1) (t+2) / (T (T+1) (T+2) (T+3)).
    weights = [4 * t * (t + 1) * (t + 2) / (5 * 6 * 7 * 8) for t in range(1, 6)]
    assert sum(weights) == pytest.approx(1)
    expected = sum((weight * images.double() for weight, images in zip(weights, each, strict=True)), 0)
    found = condense(tiny, averaged, RunConfig(iterations=5)).images
    assert torch.allclose(found.double(), torch.as_tensor(expected), atol=1e-6)
    assert not torch.allclose(found, each[-1], atol=1e-3)


def test_one_step_is_its_own_average(tiny: ImageSet) -> None:
    one = RunConfig(iterations=1)
    plain = condense(tiny, replace(PLAIN, matching_steps=1), one).images
    averaged = condense(tiny, replace(AVERAGED, matching_steps=1), one).images
    assert torch.allclose(plain, averaged, atol=1e-6)


def test_the_run_itself_goes_as_without(tiny: ImageSet) -> None:
    def losses(method: GradientMatchingConfig) -> list[float]:
        seen: list[float] = []
        condense(tiny, method, RunConfig(iterations=3), observer=lambda progress: seen.append(progress.loss))
        return seen

    assert losses(PLAIN) == losses(AVERAGED)


def test_steps_within_a_draw_count_too(tiny: ImageSet) -> None:
    two = images_after(tiny, 2, AVERAGED)
    assert not torch.allclose(two, images_after(tiny, 2, PLAIN), atol=1e-3)


@pytest.mark.parametrize("option", ["iterate_averaging", "shrink_pixels"])
def test_a_stopped_run_ends_bit_identical(option: str, tiny: ImageSet, tmp_path: Path) -> None:
    method = AVERAGED if option == "iterate_averaging" else replace(PLAIN, shrink_pixels=True)
    run = RunConfig(iterations=3, checkpoint_every=0)
    unbroken = condense(tiny, method, run)
    assert not torch.equal(unbroken.images, condense(tiny, PLAIN, run).images)

    def kill(progress: Progress) -> None:
        if progress.step == (1, 1):
            raise Killed

    with pytest.raises(Killed):
        condense(tiny, method, run, directory=tmp_path / "run", observer=kill)
    resumed = condense(tiny, method, run, directory=tmp_path / "run", resume=True)
    assert torch.equal(resumed.images, unbroken.images)
    assert resumed.provenance["settings"][option] is True


def test_pixels_are_shrunk_from_the_second_step_on(tiny: ImageSet) -> None:
    plain, shrunk = (replace(PLAIN, matching_steps=1, shrink_pixels=shrinks) for shrinks in (False, True))
    one, two = RunConfig(iterations=1), RunConfig(iterations=2)
    assert torch.equal(condense(tiny, plain, one).images, condense(tiny, shrunk, one).images)
    first = condense(tiny, plain, one).images
    moved = [(condense(tiny, method, two).images - first).abs().sum() for method in (plain, shrunk)]
    assert moved[1] < moved[0]
