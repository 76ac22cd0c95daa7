"""A method, a distance, a transform and a network of the user's own: from the command line, and as objects."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from datacondense import (
    EvaluationConfig,
    FirstOrderConfig,
    FirstOrderMethod,
    GradientMatchingConfig,
    ImageSet,
    InputError,
    RunConfig,
    condense,
    evaluate,
    method_named,
)
from datacondense.cli.main import main
from datacondense.condensation.state import Step

OWN = '''
from dataclasses import dataclass

import torch
from torch import nn

from datacondense import FirstOrderConfig, FirstOrderMethod


@dataclass(frozen=True, kw_only=True)
class MeanMatchingConfig(FirstOrderConfig):
    """Match mean images.

    Attributes:
        weight: Weight of the loss.
    """

    image_lr: float = 0.2
    weight: float = 1.0

    @property
    def method(self):
        return MeanMatching


class MeanMatching(FirstOrderMethod):
    def loss(self, images, step):
        real = torch.stack([self.real_batch(k, step).mean(0) for k in range(len(images))])
        return self.settings.weight * (real - images.mean(1)).square().sum()


def squares(real, synthetic):
    return sum((r - s).square().sum() for r, s in zip(real, synthetic, strict=True))


def doubled(gradients):
    return [2 * gradient for gradient in gradients]


class Net(nn.Sequential):
    def __init__(self, image_shape, num_classes):
        channels, height, width = image_shape
        super().__init__(nn.Flatten(), nn.Linear(channels * height * width, num_classes))
'''
RUN = RunConfig(seed=3, iterations=3)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's in the current folder, of a name that no other test has imported."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(OWN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return name


class Net(nn.Sequential):
    """A network as an object."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        channels, height, width = image_shape
        super().__init__(nn.Flatten(), nn.Linear(channels * height * width, num_classes))


def squares(real: Any, synthetic: Any) -> Tensor:
    return torch.stack([(r - s).square().sum() for r, s in zip(real, synthetic, strict=True)]).sum()


def doubled(gradients: Any) -> list[Tensor]:
    return [2 * gradient for gradient in gradients]


class MeanMatchingConfig(FirstOrderConfig):
    @property
    def method(self) -> type[FirstOrderMethod[FirstOrderConfig]]:
        return MeanMatching


class MeanMatching(FirstOrderMethod[FirstOrderConfig]):
    def loss(self, images: Tensor, step: Step) -> Tensor:
        real = torch.stack([self.real_batch(k, step).mean(0) for k in range(len(images))])
        return (real - images.mean(1)).square().sum()


def test_a_method_does_what_its_loss_says(tiny: ImageSet) -> None:
    settings = MeanMatchingConfig(ipc=2, network="mlp", real_batch=12, image_lr=0.25, image_momentum=0.5)
    condensed = condense(tiny, settings, RUN)
    means = torch.stack([tiny.normalised(members).mean(0) for members in tiny.class_indices])
    images = settings.build(tiny, RUN.seed).init().images
    velocity = torch.zeros_like(images)
    for _ in range(3):  # a batch of all images has one mean, whichever network and batch
        velocity = 0.5 * velocity + (images.mean(1) - means)[:, None].expand_as(images)
        images = images - 0.25 * velocity
    torch.testing.assert_close(condensed.normalised(), images.flatten(0, 1), rtol=1e-4, atol=1e-4)
    assert condensed.provenance["method"] == f"{__name__}:MeanMatchingConfig"
    assert condensed.provenance["settings"]["image_lr"] == 0.25


def test_a_method_runs_from_the_command_line(own: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "condense",
        "digits",
        "--method",
        f"{own}:MeanMatchingConfig",
        "--weight",
        "0.5",
        "--real-batch",
        "8",
    ]
    command += ["--iterations", "2", "--network", "mlp", "--json", "--quiet"]
    assert main([*command, "--out", "run"]) == 0
    provenance = json.loads(capsys.readouterr().out)["provenance"]
    assert provenance["method"] == f"{own}:MeanMatchingConfig"
    assert (provenance["settings"]["weight"], provenance["settings"]["image_lr"]) == (0.5, 0.2)
    assert provenance["run"]["iterations"] == 2
    assert main([*command, "--out", "run", "--resume"]) == 0
    with pytest.raises(SystemExit):
        main(["condense", "--method", f"{own}:MeanMatchingConfig", "--help"])
    assert "--weight FLOAT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:Config", "the module nowhere cannot be imported"),
        ("{own}:Nothing", "has no 'Nothing': name a method that it defines"),
        ("{own}:squares", "is no subclass of MethodConfig: name the class of the method's settings"),
    ],
)
def test_what_is_no_method_gets_a_sentence(own: str, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        method_named(name.format(own=own))


def test_own_things_equal_the_built_in_ones_that_they_write_again(tiny: ImageSet, own: str) -> None:
    usual = GradientMatchingConfig(
        network="convnet-w4-d1", real_batch=4, precision="float64", distance="squared"
    )
    expected = condense(tiny, usual, RUN)
    for distance in (squares, f"{own}:squares"):
        found = condense(tiny, replace(usual, distance=distance), RUN)
        torch.testing.assert_close(found.images, expected.images, rtol=1e-6, atol=1e-6)
    # Gradients twice as large are four times as far apart.
    faster = condense(tiny, replace(usual, image_lr=0.4), RUN)
    for transform in (doubled, f"{own}:doubled"):
        found = condense(tiny, replace(usual, transform=(transform,)), RUN)
        torch.testing.assert_close(found.images, faster.images, rtol=1e-6, atol=1e-6)


def test_names_are_recorded_and_a_run_is_continued_with_the_objects(tiny: ImageSet, tmp_path: Path) -> None:
    settings = GradientMatchingConfig(network=Net, distance=squares, transform=(doubled,), image_lr=0.001)
    condensed = condense(tiny, settings, RUN, directory=tmp_path / "run")
    recorded = condensed.provenance["settings"]
    assert recorded["network"] == f"{__name__}:Net"
    assert recorded["distance"] == f"{__name__}:squares"
    assert recorded["transform"] == (f"{__name__}:doubled",)
    again = condense(tiny, settings, RUN, directory=tmp_path / "run", resume=True)
    assert again.fingerprint == condensed.fingerprint
    with pytest.raises(InputError, match=r"settings\.network was '.*:Net' and is now 'mlp'"):
        condense(tiny, replace(settings, network="mlp"), RUN, directory=tmp_path / "run", resume=True)
    score = evaluate(condensed, tiny, EvaluationConfig(repeats=1, epochs=2, network=Net))
    assert score.as_dict()["protocol"]["network"] == f"{__name__}:Net"
    assert evaluate(condensed, tiny, EvaluationConfig(repeats=1, epochs=2)).accuracies == score.accuracies


def test_local_objects_work_in_python(tiny: ImageSet) -> None:
    settings = GradientMatchingConfig(
        network=lambda shape, classes: nn.Sequential(nn.Flatten(), nn.Linear(64, classes)),
        distance=lambda real, synthetic: 2 * squares(real, synthetic),
        real_batch=4,
        image_lr=0.001,
    )
    assert condense(tiny, settings, RUN).provenance["settings"]["network"].endswith("<lambda>")


def test_own_things_work_from_the_command_line(own: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "condense",
        "digits",
        "--network",
        f"{own}:Net",
        "--distance",
        f"{own}:squares",
        "--real-batch",
        "8",
    ]
    command += ["--transform", f"{own}:doubled", "--transform", "keep-magnitude:0.5", "--image-lr", "0.001"]
    assert main([*command, "--iterations", "2", "--out", "run", "--json", "--quiet"]) == 0
    settings = json.loads(capsys.readouterr().out)["provenance"]["settings"]
    assert settings["network"] == f"{own}:Net"
    assert settings["distance"] == f"{own}:squares"
    assert settings["transform"] == [f"{own}:doubled", "keep-magnitude:0.5"]


@pytest.mark.parametrize("name", ["mlp", "MLP", "Mlp"])
def test_the_published_rate_of_an_mlp_is_found_whichever_way_it_is_written(name: str) -> None:
    resolved = GradientMatchingConfig(network=name).resolved()
    assert (resolved.network, resolved.image_lr) == ("mlp", 0.01)
