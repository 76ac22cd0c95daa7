"""Knowledge distillation: the loss by hand, and networks that learn more classes."""

from functools import partial
from math import exp, log

import pytest
import torch
from torch import Tensor

from datacondense.applications.distillation import DistillationConfig, distillation_loss, distilling, grown
from datacondense.cuda_graphs import CudaGraphs
from datacondense.errors import InputError
from datacondense.networks.builder import build_network
from datacondense.random import seeded_generator
from datacondense.training import SGD, TrainState, train
from tests.captures import rerun

CONFIG = DistillationConfig(temperature=2.0, distillation_weight=0.5)
# Two images; three classes, of which the teacher knows two.
LOGITS = [[2.0, 0.0, -1.0], [1.0, 3.0, 0.5]]
TAUGHT = [[4.0, 0.0], [0.0, 2.0]]
OUTPUTS = torch.tensor(
    [own + taught for own, taught in zip(LOGITS, TAUGHT, strict=True)], dtype=torch.float64
)


def softmax(logits: list[float], temperature: float = 1.0) -> list[float]:
    powers = [exp(logit / temperature) for logit in logits]
    return [power / sum(powers) for power in powers]


def distilled(row: int) -> float:
    """Return T² times the cross-entropy of the softened outputs of one image."""
    taught, own = softmax(TAUGHT[row], 2.0), softmax(LOGITS[row][:2], 2.0)
    return -4 * sum(p * log(q) for p, q in zip(taught, own, strict=True))


@pytest.mark.parametrize(("old_only", "rows"), [(False, (0, 1)), (True, (0,))])
def test_the_loss_is_that_of_the_formula(old_only: bool, rows: tuple[int, ...]) -> None:
    labels = torch.tensor([1, 2])  # the second class is new
    entropy = -(log(softmax(LOGITS[0])[1]) + log(softmax(LOGITS[1])[2])) / 2
    expected = entropy + 0.5 * sum(map(distilled, rows)) / 2
    found = distillation_loss(CONFIG, 3, old_only, OUTPUTS, labels)
    assert float(found) == pytest.approx(expected, rel=1e-12)
    same = distillation_loss(CONFIG, 3, old_only, OUTPUTS, torch.eye(3, dtype=torch.float64)[labels])
    assert float(same) == pytest.approx(expected, rel=1e-12)


def test_mixed_images_are_distilled_as_far_as_they_are_old() -> None:
    labels = torch.tensor([[0.5, 0.25, 0.25], [0, 0, 1]], dtype=torch.float64)
    first, second = ([log(p) for p in softmax(logits)] for logits in LOGITS)
    entropy = -(0.5 * first[0] + 0.25 * first[1] + 0.25 * first[2] + second[2]) / 2
    found = distillation_loss(CONFIG, 3, True, OUTPUTS, labels)
    assert float(found) == pytest.approx(entropy + 0.5 * 0.75 * distilled(0) / 2, rel=1e-12)


def test_a_network_that_agrees_with_its_teacher_is_not_moved_by_it() -> None:
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    outputs = torch.cat([logits, logits.detach()], dim=1)
    labels = torch.tensor([0, 1])
    (with_teacher,) = torch.autograd.grad(distillation_loss(CONFIG, 3, False, outputs, labels), logits)
    (alone,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, labels), logits)
    torch.testing.assert_close(with_teacher, alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["temperature", "distillation_weight"])
def test_settings_are_numbers_above_zero(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is 0, but must be a number above 0"):
        DistillationConfig(**{name: 0})


def test_a_network_grows_by_fresh_outputs() -> None:
    small, large = (build_network("convnet-w4-d1-bn", (1, 8, 8), classes) for classes in (2, 5))
    old, fresh = small.draw(seeded_generator(0, "old")), large.draw(seeded_generator(0, "fresh"))
    found = grown(old, fresh)
    assert list(found) == list(old)
    for name, tensor in found.items():
        assert torch.equal(tensor[: len(old[name])], old[name])
        assert torch.equal(tensor[len(old[name]) :], fresh[name][len(old[name]) :])
        assert tensor.shape == fresh[name].shape
    assert torch.equal(grown(small.buffers(), large.buffers())["1.num_batches_tracked"], torch.tensor(0))


def test_a_network_that_changes_inside_cannot_grow() -> None:
    old = {"weight": torch.zeros(2, 3)}
    with pytest.raises(InputError, match="cannot go on with what it has learned"):
        grown(old, {"weight": torch.zeros(2, 4)})


def test_distillation_is_captured_as_it_is_called() -> None:
    network = build_network("convnet-w4-d1-nonorm", (1, 8, 8), 3)
    teacher = build_network("convnet-w4-d1-nonorm", (1, 8, 8), 2)
    numbers = (_float64(teacher.draw(seeded_generator(0, "teacher"))), teacher.buffers())
    images, labels = torch.randn(6, 1, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    start = TrainState.begun(_float64(network.draw(seeded_generator(0, "network"))))

    def trained(graphs: CudaGraphs | None) -> TrainState:
        model, loss = distilling(network, teacher, numbers, CONFIG, num_classes=3, old_only=True)
        return train(
            model, start, images, labels, epochs=3, sgd=lambda _: SGD(lr=0.1), loss=loss, graphs=graphs
        )

    graphs = CudaGraphs("cpu", capture=partial(rerun))
    eager, captured = trained(None), trained(graphs)
    assert not graphs.eager
    for name, parameter in eager.parameters.items():
        torch.testing.assert_close(captured.parameters[name], parameter, rtol=1e-9, atol=1e-12)
        assert not torch.equal(parameter, start.parameters[name])


def _float64(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.double() for name, tensor in parameters.items()}
