"""Networks that are scored side by side on a GPU, against one by one."""

from dataclasses import replace
from math import prod
from typing import Any

import pytest
import torch
from torch import nn

from datacondense.cuda_graphs import CudaGraphs
from datacondense.evaluation import scoring
from datacondense.evaluation.protocol import ResolvedProtocol
from datacondense.evaluation.scoring import evaluate, evaluate_one
from datacondense.image_set import ImageSet
from datacondense.training import DivergedError, TrainState, train_side_by_side
from tests.captures import GPU, rerun
from tests.conftest import MakeSet
from tests.evaluation.test_scoring import QUICK, noisy


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the groups of networks that are trained side by side, on a CPU that captures."""

    def graphs(device: torch.device | str) -> CudaGraphs:
        # By its name the device is given where nothing may be captured.
        return CudaGraphs(device, capture=None if isinstance(device, str) else rerun)

    def counted(
        model: Any, learners: Any, *rest: Any, graphs: CudaGraphs, **options: Any
    ) -> list[TrainState]:
        states = train_side_by_side(model, learners, *rest, graphs=graphs, **options)
        assert not graphs.eager
        sizes.append(len(learners) if graphs.captures else 0)
        return states

    sizes: list[int] = []
    monkeypatch.setattr(scoring, "CudaGraphs", graphs)
    monkeypatch.setattr(scoring, "train_side_by_side", counted)
    return sizes


def let_fit(monkeypatch: pytest.MonkeyPatch, training: int, testing: int = 32) -> None:
    monkeypatch.setattr(scoring, "networks_at_once", lambda *_: training)
    monkeypatch.setattr(scoring, "fitting", lambda run, _: (run(), testing)[1])


MANY = replace(QUICK, repeats=5, lr=0.02, batch_size=4, precision="float64")


@pytest.mark.parametrize(
    "protocol",
    [
        replace(MANY, augmentation="crop-rotate"),
        replace(MANY, network="convnet-w4-d1-bn", augmentation="crop-noise"),
        replace(MANY, network="convnet-w4-d1", batch_size=256),
        replace(MANY, augmentation="dsa:color-crop-rotate", batch_size=256),
        replace(MANY, augmentation="idc:color-crop-flip", cutmix=0.5),
    ],
)
def test_accuracies_do_not_depend_on_what_is_trained_beside(
    monkeypatch: pytest.MonkeyPatch, groups: list[int], make: MakeSet, protocol: ResolvedProtocol
) -> None:
    images, test = make(per_class=3), noisy(make, 201)  # two passes, the second one smaller
    found = []
    for fit, testing, sizes in (
        (1, 32, [1] * 5),
        (2, 32, [2, 2, 1]),
        (4, 32, [3, 2]),
        (32, 4, [3, 2]),
        (32, 32, [5]),
    ):
        let_fit(monkeypatch, fit, testing)
        groups.clear()
        seen: list[tuple[int, float]] = []
        score = evaluate(images, test, protocol, observer=lambda *each, seen=seen: seen.append(each))
        assert groups == sizes
        assert seen == list(enumerate(score.accuracies))
        found.append(score.accuracies)
    assert len(set(found)) == 1
    assert len(set(found[0])) > 1
    for repeat in (3, 0):
        assert evaluate_one(images, test, protocol, repeat) == found[0][repeat]
    monkeypatch.undo()
    assert evaluate(images, test, protocol).accuracies == found[0]


def linear(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(image_shape), num_classes))


def test_networks_of_ones_own_are_trained_one_by_one_and_not_captured(
    monkeypatch: pytest.MonkeyPatch, groups: list[int], tiny: ImageSet, make: MakeSet
) -> None:
    let_fit(monkeypatch, 32)
    evaluate(tiny, make(seed=5), replace(QUICK, network=linear))
    assert groups == [0, 0, 0]


def test_a_diverged_network_is_told_of_after_those_before_it(
    monkeypatch: pytest.MonkeyPatch, groups: list[int], tiny: ImageSet, make: MakeSet
) -> None:
    let_fit(monkeypatch, 32)

    def spoilt(*args: Any, **options: Any) -> list[TrainState]:
        states = train_side_by_side(*args, **options)
        next(iter(states[1].parameters.values())).fill_(float("nan"))
        return states

    monkeypatch.setattr(scoring, "train_side_by_side", spoilt)
    seen: list[int] = []
    with pytest.raises(DivergedError, match="Training diverged"):
        evaluate(tiny, make(seed=5), QUICK, observer=lambda repeat, _: seen.append(repeat))
    assert seen == [0]


def test_the_cpu_tells_of_no_graphs(tiny: ImageSet, make: MakeSet) -> None:
    assert not {"training", "side_by_side"} & set(evaluate(tiny, make(seed=5), QUICK).environment)


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("network", ["convnet-w16-d2", "convnet-w16-d2-bn", "mlp"])
@pytest.mark.parametrize("batch_size", [4, 256])
def test_a_gpu_scores_networks_side_by_side_as_one_by_one(
    monkeypatch: pytest.MonkeyPatch, make: MakeSet, network: str, batch_size: int
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    images, test = make(per_class=3), noisy(make, 201)
    protocol = replace(MANY, network=network, batch_size=batch_size, augmentation="crop-noise")
    protocol = replace(protocol, precision="float32", engine="eager")
    score = evaluate(images, test, protocol, device="cuda")
    assert (score.environment["training"], score.environment["side_by_side"]) == ("captured", 5)
    for repeat in range(5):
        assert evaluate_one(images, test, protocol, repeat, device="cuda") == score.accuracies[repeat]
    let_fit(monkeypatch, 2)
    fewer = evaluate(images, test, protocol, device="cuda")
    assert fewer.accuracies == score.accuracies
    assert fewer.environment["side_by_side"] == 2


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("engine", ["auto", "eager"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_engine_of_a_gpu_is_captured(make: MakeSet, engine: Any, precision: Any) -> None:
    images, test = make(per_class=3), make(seed=5, per_class=201)
    protocol = replace(QUICK, network="convnet-w16-d2", engine=engine, precision=precision, epochs=30)
    score = evaluate(images, test, protocol, device="cuda")
    assert score.environment["training"] == "captured"
    assert score.mean > 0.5


@pytest.mark.gpu
@GPU
def test_a_gpu_scores_as_the_cpu_does(make: MakeSet) -> None:
    images, test = make(per_class=3), make(seed=5, per_class=201)
    protocol = replace(MANY, network="convnet-w16-d2-bn", augmentation="crop-scale-rotate")
    found, expected = (
        evaluate(images, test, protocol, device=device).accuracies for device in ("cuda", "cpu")
    )
    assert found == pytest.approx(expected, abs=0.01)
