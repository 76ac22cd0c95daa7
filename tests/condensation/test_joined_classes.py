"""Classes joined in whole runs: what is recorded, resumed, the same within any memory, and off by default."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from datacondense.cli import main
from datacondense.condensation import gradient_matching as module
from datacondense.condensation.config import RunConfig
from datacondense.condensation.gradient_matching import GradientMatching
from datacondense.condensation.gradient_matching_config import GradientMatchingConfig
from datacondense.condensation.loop import Progress, condense
from datacondense.condensation.run_folder import RunFolder
from datacondense.condensation.state import Step
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.matching import reference
from datacondense.random import seeded_generator
from tests.conftest import MakeSet

PLAIN = GradientMatchingConfig(
    ipc=2, network="convnet-w4-d2", matching_steps=2, network_epochs=1, real_batch=4, image_lr=0.5
)
JOINED = replace(PLAIN, class_collective=True)
RUN = RunConfig(seed=3, iterations=2, checkpoint_every=0)
CONDENSED = "condensed.safetensors"


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the library catches it."""


def kill(progress: Progress) -> None:
    if progress.step == (1, 0):
        raise Killed


def test_joining_is_recorded(tiny: ImageSet, tmp_path: Path) -> None:
    condensed = condense(tiny, JOINED, RUN, directory=tmp_path)
    assert condensed.provenance["settings"]["class_collective"] is True
    assert ImageSet.load(tmp_path / CONDENSED).provenance["settings"]["class_collective"] is True
    assert RunFolder(tmp_path).settings()["settings"]["class_collective"] is True


def test_it_is_off_by_default(tiny: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    joined = condense(tiny, JOINED, RUN)

    def refuse(*_: Any) -> None:
        raise AssertionError("plain matching joined the classes")

    monkeypatch.setattr(module, "class_collective_gradient", refuse)
    plain = condense(tiny, PLAIN, RUN)
    assert plain.provenance["settings"]["class_collective"] is False
    assert torch.equal(plain.images, condense(tiny, replace(JOINED, class_collective=False), RUN).images)
    assert not torch.allclose(plain.images, joined.images, atol=1e-3)


def test_a_step_is_that_of_the_explicit_loops(tiny: ImageSet) -> None:
    built = replace(JOINED, precision="float64").build(tiny, 3)
    start = built.init()
    new, loss = built.step(start, Step(0, 0))
    drawn = built._network.draw(seeded_generator(3, "network", 0))
    real = torch.stack([built._sampler.real(label, 4, "real", 0, 0) for label in range(3)])
    distance, gradient = reference.matching_gradient(
        built._network,
        {name: tensor.double() for name, tensor in drawn.items()},
        built._compared,
        real,
        start.images,
        kind="layerwise-cosine",
        joint=True,
    )
    assert loss == pytest.approx(float(distance), rel=1e-10)
    torch.testing.assert_close(new.images, start.images - 0.5 * gradient, rtol=1e-10, atol=1e-12)


def test_a_broken_run_ends_with_the_same_bytes(tiny: ImageSet, tmp_path: Path) -> None:
    condense(tiny, JOINED, RUN, directory=tmp_path / "whole")
    with pytest.raises(Killed):
        condense(tiny, JOINED, RUN, directory=tmp_path / "broken", observer=kill)
    with pytest.raises(InputError, match=r"settings\.class_collective was True and is now False"):
        condense(tiny, PLAIN, RUN, directory=tmp_path / "broken", resume=True)
    condense(tiny, JOINED, RUN, directory=tmp_path / "broken", resume=True)
    broken, full = (tmp_path / name / CONDENSED for name in ("broken", "whole"))
    assert broken.read_bytes() == full.read_bytes()


@pytest.mark.parametrize("transform", [(), ("keep-sensitive-global:0.5", "wiener:2")], ids="+".join)
def test_little_memory_gives_the_same_images(make: MakeSet, transform: tuple[str, ...]) -> None:
    five = make(num_classes=5)
    wide = replace(
        JOINED, network="convnet-w32-d2", ipc=3, precision="float64", transform=transform, real_batch=6
    )
    runs = {memory: replace(wide, graph_memory=memory) for memory in (1, 2, 3, 4096)}
    at_once = [method.build(five, 3)._classes_at_once for method in runs.values()]
    assert at_once[:3] == [1, 2, 3]
    assert at_once[3] >= 5
    images = [condense(five, method, RUN).images for method in runs.values()]
    for other in images[1:]:
        torch.testing.assert_close(other, images[0], rtol=1e-5, atol=1e-6)


@pytest.fixture
def all_at_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let any network take all classes in one graph from now on."""
    return lambda: monkeypatch.setattr(GradientMatching, "_classes_at_once", 100)


def test_a_network_that_cannot_be_stacked_gives_what_one_graph_gives(
    tiny: ImageSet, all_at_once: Callable[[], None]
) -> None:
    built = replace(JOINED, network="convnet-w4-d2-bn", precision="float64").build(tiny, 3)
    assert built._stacked is None
    apart = built.step(built.init(), Step(0, 0))
    all_at_once()
    together = built.step(built.init(), Step(0, 0))
    torch.testing.assert_close(apart[0].images, together[0].images, rtol=1e-10, atol=1e-12)
    assert apart[1] == pytest.approx(together[1], rel=1e-10)


def test_a_network_with_shortcuts_learns(tiny: ImageSet) -> None:
    method = replace(JOINED, ipc=1, network="resnet18-bn", matching_steps=1)
    start = method.build(tiny, 3).init().images
    condensed = condense(tiny, method, replace(RUN, iterations=1))
    assert bool(condensed.images.isfinite().all())
    assert not torch.allclose(condensed.normalised(torch.arange(3)), start.flatten(0, 1), atol=1e-4)


def test_the_command_line_joins_classes(tmp_path: Path) -> None:
    small = ["--network", "convnet-w4-d1", "--real-batch", "4", "--iterations", "1", "--matching-steps", "1"]
    for name, options in (("joined", ["--class-collective"]), ("plain", [])):
        out = ["--out", str(tmp_path / name), "--device", "cpu", "--quiet"]
        assert main(["condense", "digits", *small, *out, *options]) == 0
    joined, plain = (ImageSet.load(tmp_path / name / CONDENSED) for name in ("joined", "plain"))
    assert (
        joined.provenance["settings"]["class_collective"],
        plain.provenance["settings"]["class_collective"],
    ) == (
        True,
        False,
    )
    assert not torch.equal(joined.images, plain.images)
