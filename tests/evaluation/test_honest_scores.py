"""What must not become an accuracy, code that no file may name, and scores whatever the caller switched in torch."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from datacondense.condensation.dataset_distillation import DatasetDistillationConfig
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import RunConfig, condense
from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.evaluation.scoring import evaluate, evaluate_one, resolved
from datacondense.facts import facts_of
from datacondense.image_set import ImageSet
from datacondense.training import DivergedError
from tests.conftest import MakeSet

QUICK = EvaluationConfig(network="convnet-w4-d1", repeats=2, epochs=4, augmentation="none")
DIVERGED = r"NaN or infinite .*: give a smaller --lr, or look at the range of the pixels"


@pytest.mark.parametrize("lr", [1e6, 1e30])
@pytest.mark.parametrize("network", ["convnet-w4-d1", "mlp"])
def test_training_that_diverges_is_no_accuracy(tiny: ImageSet, lr: float, network: str) -> None:
    with pytest.raises(DivergedError, match=DIVERGED):
        evaluate(tiny, tiny, replace(QUICK, network=network, lr=lr))


@pytest.mark.parametrize(
    "change",
    [
        {"std": (1e-39,)},
        {"mean": (3e38,), "std": (0.5,)},
        {"images": torch.full((36, 1, 8, 8), 3e38)},
    ],
    ids=["std", "mean", "pixel"],
)
def test_pixels_that_are_beyond_float32_when_normalised_are_refused(
    make: MakeSet, change: dict[str, object]
) -> None:
    tiny = make()
    images = replace(tiny, images=tiny.pixels())
    with pytest.raises(
        InputError, match=r"With the normalisation mean .* these pixels are beyond float32: give"
    ):
        replace(images, **change)  # type: ignore[arg-type]


def test_learned_rates_that_are_no_numbers_are_no_accuracy(tiny: ImageSet) -> None:
    method = DatasetDistillationConfig(network="convnet-w4-d1", inner_epochs=1)
    condensed = condense(tiny, method, RunConfig(iterations=1))
    damaged = {**condensed.provenance, "learned": {"step_lrs": [float("nan")]}}
    with pytest.raises(DivergedError, match=DIVERGED):
        evaluate(replace(condensed, provenance=damaged), tiny, replace(QUICK, learned_steps=True))


@pytest.mark.parametrize("of_set", ["arrays", None, "owner/name"])
def test_a_set_made_elsewhere_is_scored_by_the_protocol_of_the_test_images(
    tiny: ImageSet, of_set: str | None
) -> None:
    mnist = facts_of("mnist")._asdict()
    foreign, test = replace(tiny, dataset=of_set), replace(tiny, dataset="mnist", **mnist)
    protocol = resolved(EvaluationConfig(), foreign, test)
    assert (protocol.augmentation, protocol.epochs) == ("crop-scale-rotate", 1000)
    # A set that tells its data set keeps its own, such as digits, which are not augmented.
    digits = replace(tiny, dataset="digits", **facts_of("digits")._asdict())
    assert resolved(EvaluationConfig(), digits, test).augmentation == "none"
    scored = evaluate(foreign, test, EvaluationConfig(network="mlp", repeats=1, epochs=1))
    assert scored.protocol.augmentation == "crop-scale-rotate"


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the working folder that says when it is imported."""
    (tmp_path / "evil_module.py").write_text(
        "from pathlib import Path\nPath('imported').touch()\n"
        "from torch import nn\n"
        "net = lambda shape, classes: nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    return "evil_module:net"


def named_by_a_file(images: ImageSet, network: str, folder: Path) -> ImageSet:
    """Return a set as it comes from a stranger's file."""
    settings = {"settings": {"network": network}}
    replace(images, provenance=settings).save(folder / "theirs.safetensors")
    return ImageSet.load(folder / "theirs.safetensors")


def test_code_that_a_file_names_is_not_imported(tiny: ImageSet, tmp_path: Path, evil: str) -> None:
    theirs = named_by_a_file(tiny, evil, tmp_path)
    with pytest.raises(
        InputError, match=f"names {evil}, code that .*: give --network {evil} if you trust it"
    ):
        evaluate(theirs, tiny, EvaluationConfig(repeats=1, epochs=1))
    assert not (tmp_path / "imported").exists()
    assert "evil_module" not in sys.modules
    try:
        evaluate(theirs, tiny, EvaluationConfig(repeats=1, epochs=1, network=evil))
        assert (tmp_path / "imported").exists()
        # The user has given it; now the file's name for it means this.
        evaluate(theirs, tiny, EvaluationConfig(repeats=1, epochs=1))
    finally:
        sys.modules.pop("evil_module", None)


@pytest.mark.parametrize("name", ["os:system", "shutil:rmtree", "builtins:exec", "torch.hub:load"])
def test_what_is_imported_already_is_not_called_either(tiny: ImageSet, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"names {name}, code"):
        evaluate(named_by_a_file(tiny, name, tmp_path), tiny, EvaluationConfig(repeats=1, epochs=1))


class Flat(nn.Sequential):
    """A linear classifier."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, num_classes))


def test_a_network_that_only_this_process_knows_scores_what_it_condensed(tiny: ImageSet) -> None:
    def local(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        return Flat(image_shape, num_classes)

    method = GradientMatchingConfig(network=local, real_batch=4, image_lr=0.01)
    condensed = condense(tiny, method, RunConfig(iterations=1))
    protocol = EvaluationConfig(repeats=1, epochs=2)
    expected = evaluate(condensed, tiny, replace(protocol, network=local))
    assert evaluate(condensed, tiny, protocol).accuracies == expected.accuracies


def test_a_name_that_stood_for_two_things_is_refused(tiny: ImageSet) -> None:
    def numbered(number: int) -> Callable[..., nn.Module]:
        def twice_named(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
            return nn.Sequential(
                nn.Flatten(), nn.Linear(64, number), nn.ReLU(), nn.Linear(number, num_classes)
            )

        return twice_named

    condensed = [
        condense(tiny, GradientMatchingConfig(network=numbered(n), real_batch=4), RunConfig(iterations=1))
        for n in (3, 4)
    ]
    with pytest.raises(InputError, match=r"twice_named, code that is not part of datacondense"):
        evaluate(condensed[0], tiny, EvaluationConfig(repeats=1, epochs=1))


@contextmanager
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


MODES: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "float64": float64,
}


@pytest.mark.parametrize("mode", MODES)
def test_results_do_not_depend_on_what_the_caller_switched(make: MakeSet, mode: str) -> None:
    def results() -> tuple[Tensor, tuple[float, ...], float]:
        train = make()
        train = replace(train, images=train.pixels())
        method = GradientMatchingConfig(network="convnet-w4-d1", ipc=2, matching_steps=2, real_batch=4)
        condensed = condense(train, method, RunConfig(iterations=2))
        score = evaluate(condensed, train, QUICK)
        return condensed.images, score.accuracies, evaluate_one(condensed, train, score.protocol, 1)

    usual = results()
    with MODES[mode]():
        switched = results()
    assert torch.equal(switched[0], usual[0])
    assert switched[1:] == usual[1:]
    assert torch.get_default_dtype() == torch.float32
