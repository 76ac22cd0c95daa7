from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from datacondense.condensation.distribution_matching import DistributionMatchingConfig
from datacondense.condensation.loop import RunConfig, condense
from datacondense.condensation.results import unfinished
from datacondense.data.whitening import unwhitened, whitened
from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.evaluation.scoring import evaluate
from datacondense.image_set import ImageSet
from datacondense.run_folder import RunFolder
from datacondense.set_metadata import Whitening, WhiteningKind
from tests.conftest import make_set

KINDS: tuple[WhiteningKind, ...] = ("zca", "frepo", "kip")
TRAIN = make_set(shape=(3, 2, 2), per_class=20)
TEST = make_set(shape=(3, 2, 2), per_class=3, seed=1)


def of_kind(kind: WhiteningKind, epsilon: float = 0.1, train: ImageSet = TRAIN) -> Whitening:
    return Whitening(kind, epsilon, train.fingerprint)


def obvious(images: ImageSet, kind: WhiteningKind) -> Tensor:
    """Whiten by the definition, with a matrix root in the place of eigenvectors, every image at once."""

    def prepared(part: ImageSet) -> Tensor:
        rows = (part.images.double() / 255).flatten(1)
        if kind != "zca":
            rows = ((rows - 0.5) / 0.25).double()
        if kind == "kip":
            rows = rows - rows.mean(1, keepdim=True)
            rows = rows / rows.square().sum(1, keepdim=True).sqrt()
        return rows

    real, seen = prepared(TRAIN), prepared(images)
    centre = 0 if kind == "kip" else real.mean(0)
    covariance = (real - centre).T @ (real - centre) / len(real)
    added = 0.1 if kind == "zca" else 0.1 * covariance.trace() / 12
    u, s, _ = torch.linalg.svd(covariance + added * torch.eye(12, dtype=torch.float64))
    found: Tensor = (seen - centre) @ u @ (u / s.sqrt()).T
    return found.view(-1, 3, 2, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_test_images_are_whitened_by_the_definition(kind: WhiteningKind) -> None:
    found = whitened(TEST, TRAIN, of_kind(kind))
    torch.testing.assert_close(found.images.double(), obvious(TEST, kind), atol=1e-5, rtol=1e-4)
    assert torch.equal(found.normalised(), found.images)
    assert (found.mean, found.std, found.whitening) == ((0.0,) * 3, (1.0,) * 3, of_kind(kind))


def test_two_numbers_whitened_by_hand() -> None:
    # Pixels 0 and 1 apart: variances 1/4 and 0, so that the roots are sqrt(0.25 + 0.11) = 0.6 and sqrt(0.11).
    pixels = torch.tensor([[0.0, 0.5], [1.0, 0.5]]).view(2, 1, 1, 2)
    train = replace(make_set(num_classes=2, per_class=1, shape=(1, 8, 8)), images=pixels)
    found = whitened(train, train, Whitening("zca", 0.11, train.fingerprint))
    torch.testing.assert_close(found.images.flatten(), torch.tensor([-0.5 / 0.6, 0.0, 0.5 / 0.6, 0.0]))


@pytest.mark.parametrize("kind", ["zca", "frepo"])
def test_pixels_come_back(kind: WhiteningKind) -> None:
    found = unwhitened(whitened(TEST, TRAIN, of_kind(kind)), TRAIN)
    torch.testing.assert_close(found.images, TEST.pixels(), atol=1e-5, rtol=0)
    assert (found.mean, found.std, found.whitening) == (TRAIN.mean, TRAIN.std, None)
    assert unwhitened(TEST, TRAIN) is TEST


def test_pixels_of_kip_do_not_come_back() -> None:
    with pytest.raises(InputError, match="KIP's whitening drops the brightness and contrast"):
        unwhitened(whitened(TEST, TRAIN, of_kind("kip")), TRAIN)


def test_other_training_images_are_refused() -> None:
    other = make_set(shape=(3, 2, 2), per_class=20, seed=2)
    with pytest.raises(
        InputError, match=f"fingerprint {TRAIN.fingerprint}, but these have {other.fingerprint}"
    ):
        whitened(TEST, other, of_kind("zca"))
    once = whitened(TEST, TRAIN)
    with pytest.raises(InputError, match="whitened already"):
        whitened(once, TRAIN)
    with pytest.raises(InputError, match="fitted on training images"):
        unwhitened(once, other)


def test_a_whitened_set_is_scored_on_whitened_images_alone() -> None:
    train, test = (make_set(seed=seed) for seed in (0, 1))
    config = EvaluationConfig(network="mlp", repeats=1, epochs=30)
    learned, tested = whitened(train, train), whitened(test, train)
    assert evaluate(learned, tested, config).mean > 0.6  # of three classes
    with pytest.raises(
        InputError, match=r"The set is whitened \(zca, fitted on .*\), but the test images are not whit"
    ):
        evaluate(learned, test, config)
    with pytest.raises(InputError, match="The set is not whitened, but the test images are whitened"):
        evaluate(train, tested, config)


def test_what_is_condensed_from_whitened_images_is_whitened(tmp_path: Path) -> None:
    train = whitened(make_set(), make_set())
    method = DistributionMatchingConfig(network="mlp", real_batch=4)
    condensed = condense(train, method, RunConfig(iterations=1), directory=tmp_path / "run")
    assert (
        condensed.whitening
        == train.whitening
        == ImageSet.load(tmp_path / "run" / "condensed.safetensors").whitening
    )
    (tmp_path / "run" / "condensed.safetensors").unlink()
    assert unfinished(RunFolder(tmp_path / "run")).whitening == train.whitening
