"""Gradient transforms in runs: what changes nothing, what is recorded, resumed and refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from datacondense import GradientMatchingConfig, ImageSet, InputError, RunConfig, condense
from datacondense.cli.main import main
from datacondense.matching.transforms import MASKS, check_applicable, transform_named
from datacondense.run_folder import RunFolder

METHOD = GradientMatchingConfig(
    ipc=2, network="convnet-w4-d2", matching_steps=2, network_epochs=1, real_batch=10, image_lr=0.5
)
RUN = RunConfig(seed=3, iterations=2, checkpoint_every=0)
# All that a transform can need: sub-batches, noise on images, a ranking of everything.
TRANSFORMS = ("wiener:4", "max-pool-2", "keep-sensitive-global:0.5")


@pytest.mark.parametrize("name", [f"{mask}{end}:1" for mask in MASKS for end in ("", "-global")])
def test_a_mask_that_keeps_everything_is_plain_matching_to_the_last_bit(tiny: ImageSet, name: str) -> None:
    plain = condense(tiny, METHOD, RUN)
    masked = condense(tiny, replace(METHOD, transform=(name, name)), RUN)
    assert torch.equal(masked.images, plain.images)


def test_transforms_are_recorded_in_order_by_their_full_names(tiny: ImageSet, tmp_path: Path) -> None:
    given = ("max-pool-1", "keep-stable:.10", "wiener")
    written = ["max-pool-1", "keep-stable:0.1", "wiener:4"]
    method = replace(METHOD, transform=given)
    condensed = condense(tiny, method, RUN, directory=tmp_path)
    assert list(condensed.provenance["settings"]["transform"]) == written
    assert ImageSet.load(tmp_path / "condensed.safetensors").provenance["settings"]["transform"] == written
    assert RunFolder(tmp_path).settings()["settings"]["transform"] == written
    assert list(condense(tiny, METHOD, RUN).provenance["settings"]["transform"]) == []


SMALL_MASK = ("max-pool-1", "keep-magnitude:0.01")


@pytest.mark.parametrize(
    ("network", "transform"),
    [
        *(("convnet-w4-d2-bn", names) for names in (TRANSFORMS, SMALL_MASK, ("keep-snr:1",))),
        ("resnet18-bn", SMALL_MASK),
        *(
            pytest.param("resnet18-bn", names, marks=pytest.mark.slow)
            for names in (TRANSFORMS, ("keep-snr:1",))
        ),
    ],
)
def test_networks_with_batch_norm_learn_finite_images(
    tiny: ImageSet, network: str, transform: tuple[str, ...]
) -> None:
    method = replace(METHOD, ipc=1, network=network, transform=transform, matching_steps=1, real_batch=4)
    start = method.build(tiny, 3).init().images
    condensed = condense(tiny, method, replace(RUN, iterations=1))
    assert bool(condensed.images.isfinite().all())
    assert not torch.allclose(condensed.normalised(torch.arange(3)), start.flatten(0, 1), atol=1e-4)


def test_images_stay_where_they_are_when_nothing_rises_above_the_noise(tiny: ImageSet) -> None:
    # All rows of the real side are zero then, and every distance is constant.
    method = replace(METHOD, transform=("keep-snr:1e30",))
    still = condense(tiny, method, RUN)
    assert torch.equal(still.images, condense(tiny, replace(method, image_lr=1e-3), RUN).images)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("min-pool-1",),
            r"no gradient transform 'min-pool-1': choose from max-pool-1, .* wiener:SUBBATCHES",
        ),
        (("max-pool-1", "keep-magnitude"), r"'keep-magnitude' must say which fraction"),
        (
            ("keep-stable:0",),
            r"'keep-stable:0' must say which fraction .* above 0 and at most 1, as in keep-st",
        ),
        (("keep-magnitude:1.5",), r"'keep-magnitude:1.5' must say which fraction"),
        (("keep-snr:-1",), r"'keep-snr:-1' must say a ratio above 0"),
        (("wiener:1",), r"'wiener:1' must say a whole number of sub-batches from 2 on, as in wiener:4"),
        (("wiener:four",), r"'wiener:four' must say a whole number of sub-batches from 2 on"),
        (("wiener:inf",), r"'wiener:inf' must say a whole number of sub-batches from 2 on"),
    ],
)
def test_wrong_transforms_are_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(METHOD, transform=names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"network": "mlp", "transform": ("max-pool-1",)},
            r"transform is 'max-pool-1', .* none of the compared parameters of mlp has any: leave it out, or ch",
        ),
        (
            {"compare": "9.weight", "transform": ("mean-pool-2",)},
            r"transform is 'mean-pool-2', .* none of the compared parameters of convnet-w4-d2 has any",
        ),
        (
            {"real_batch": 4, "transform": ("wiener:8",)},
            r"transform is 'wiener:8', .* into 8 sub-batches, but the smallest real batch has 4: give a larger",
        ),
        (
            {"real_batch": 3, "transform": ("keep-snr:2",)},
            r"transform is 'keep-snr:2', .* into 4 sub-batches, but the smallest real batch has 3",
        ),
    ],
)
def test_transforms_that_cannot_apply_are_refused_before_anything_is_written(
    tiny: ImageSet, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        condense(tiny, replace(METHOD, **change), RUN, directory=tmp_path / "run")  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_transforms_apply_by_shapes_and_batch() -> None:
    linear, point, kernel = torch.ones(2, 3), torch.ones(2, 3, 1, 1), torch.ones(2, 3, 1, 3)
    pooling, wiener = transform_named("max-pool-1"), transform_named("wiener:8")
    for compared in ([linear], [linear, point]):
        with pytest.raises(
            InputError, match=r"transform is 'max-pool-1', which pools .* compared parameters of mlp"
        ):
            check_applicable([pooling], compared, "mlp", 256)
    with pytest.raises(
        InputError, match=r"transform is 'wiener:8', .* into 8 sub-batches, but the smallest real batch has 7"
    ):
        check_applicable([pooling, wiener], [kernel], "convnet", 7)
    with pytest.raises(
        InputError,
        match=r"transform is 'keep-snr:1', .* into 4 sub-batches, but the smallest real batch has 3",
    ):
        check_applicable([transform_named("keep-snr:1")], [kernel], "convnet", 3)
    check_applicable([pooling, wiener], [linear, kernel], "convnet", 8)


def test_a_transform_outside_a_list_is_refused() -> None:
    with pytest.raises(InputError, match=r"transform is 'max-pool-1', but must be a list"):
        GradientMatchingConfig(transform="max-pool-1")  # type: ignore[arg-type]


SHORT = ["condense", "digits", "--iterations", "1", "--matching-steps", "1", "--device", "cpu", "--quiet"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--transform", "max-pool-9"],
            "There is no gradient transform 'max-pool-9': choose from max-pool-1,",
        ),
        (
            ["--transform", "max-pool-1", "--network", "mlp"],
            "compared parameters of mlp has any: leave it out",
        ),
    ],
)
def test_the_command_line_refuses_in_one_sentence(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SHORT, "--out", str(tmp_path / "out"), *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith("datacondense: ")
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_command_line_keeps_the_order(tmp_path: Path) -> None:
    for order in (["max-pool-1", "keep-magnitude:0.5"], ["keep-magnitude:0.5", "max-pool-1"]):
        out = tmp_path / order[0].partition(":")[0]
        options = [word for name in order for word in ("--transform", name)]
        small = ["--network", "convnet-w4-d1", "--real-batch", "4", "--out", str(out)]
        assert main([*SHORT, *small, *options]) == 0
        assert ImageSet.load(out / "condensed.safetensors").provenance["settings"]["transform"] == order
    first, second = (
        ImageSet.load(tmp_path / name / "condensed.safetensors") for name in ("max-pool-1", "keep-magnitude")
    )
    assert not torch.equal(first.images, second.images)
