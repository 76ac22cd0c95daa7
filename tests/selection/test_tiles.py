"""Selections in tiles, with numbers of their own for some classes, and labelled by a teacher."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from datacondense.data.data_source import DataSource
from datacondense.decoder import encode
from datacondense.errors import InputError
from datacondense.evaluation.full_training import TrainedNetwork
from datacondense.evaluation.soft_labels import soft_labelled
from datacondense.image_set import ImageSet
from datacondense.networks.builder import build_network
from datacondense.networks.network import Network, moved
from datacondense.selection import rded
from datacondense.selection.by_class import select_tiled
from datacondense.selection.by_network import SelectionConfig, select
from datacondense.selection.random import select_random
from datacondense.selection.rded import select_rded
from datacondense.selection.teacher import trained_teacher
from datacondense.set_metadata import Whitening


class Brightness(nn.Module):
    """The logit of class k is k times the mean of the image."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.arange(float(num_classes)))

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))[:, None] * self.factors


def by_brightness(image_shape: tuple[int, int, int], num_classes: int) -> TrainedNetwork:
    """Return a teacher that tells classes by brightness."""
    structure = Brightness(num_classes)
    parameters = {name: tensor.detach() for name, tensor in structure.named_parameters()}
    network = Network(
        name="brightness",
        image_shape=image_shape,
        num_classes=num_classes,
        structure=structure,
        draw=lambda _: parameters,
        buffers={},
    )
    return TrainedNetwork(network, parameters, {})


def test_tiles_are_the_selected_images_shrunk_in_their_order(tiny: ImageSet) -> None:
    plain = select_random(tiny, 8, seed=1)
    found = select_tiled(tiny, 2, None, 2, lambda ipc: select_random(tiny, ipc, seed=1))
    assert (found.factor, found.class_sizes) == (2, (2, 2, 2))
    expected = encode(plain.pixels().unflatten(0, (6, 4)), 2) * 255
    assert torch.equal(found.images, expected.round().to(torch.uint8))
    record = found.provenance
    assert record["indices"] == plain.provenance["indices"]
    assert record["settings"] == {"ipc": 2, "factor": 2}


def test_numbers_of_single_classes(tiny: ImageSet) -> None:
    found = select_tiled(tiny, 2, {"class 1": 3}, 2, lambda ipc: select_random(tiny, ipc, seed=1))
    assert found.class_sizes == (2, 3, 2)
    assert found.provenance["settings"] == {"ipc": 3, "sizes": [2, 3, 2], "factor": 2}


def test_too_few_images_for_the_tiles(tiny: ImageSet) -> None:
    with pytest.raises(InputError, match="ipc is 16, but the class 'class 0' has 12 images to select from"):
        select_tiled(tiny, 4, None, 2, lambda ipc: select_random(tiny, ipc, seed=1))


def test_select_lays_out_and_labels(tmp_path: Path) -> None:
    config = SelectionConfig(
        method="random", ipc=1, ipc_of={"2": 2}, factor=2, soft_labels="mlp", temperature=4.0, epochs=1
    )
    images = select(DataSource(name="digits"), config, cache=tmp_path)
    assert images.class_sizes == (1, 1, 2, *([1] * 7))
    assert images.targets.shape == (44, 10)
    record = images.provenance["soft_labels"]
    assert (record["teacher"], record["temperature"], record["trained"]["epochs"]) == ("mlp", 4.0, 1)
    assert "trained" not in images.provenance


def test_soft_labels_are_those_of_the_decoded_images_at_the_temperature(tiny: ImageSet) -> None:
    images = select_tiled(tiny, 1, None, 2, lambda ipc: select_random(tiny, ipc, seed=1))
    found = soft_labelled(images, by_brightness(tiny.image_shape, 3), temperature=2.0)
    brightness = (images.decoded().pixels().mean((1, 2, 3)) - 0.5) / 0.25
    expected = (brightness[:, None] * torch.arange(3.0) / 2).softmax(1)
    torch.testing.assert_close(found.targets, expected)
    with pytest.raises(
        InputError, match=r"The teacher takes images of shape .* of 4 classes, but the set has"
    ):
        soft_labelled(images, by_brightness(tiny.image_shape, 4))
    with pytest.raises(InputError, match="temperature is 0"):
        soft_labelled(images, by_brightness(tiny.image_shape, 3), temperature=0)


def test_pixels_beyond_the_scale_are_cut_off_but_kept_where_images_are_whitened(tiny: ImageSet) -> None:
    learned = replace(tiny, images=3 * tiny.pixels() - 1)
    white = replace(learned, whitening=Whitening("zca", 0.1, "0" * 16))

    def as_bytes(pixels: Tensor) -> Tensor:
        return (pixels.clamp(0, 1) * 255).round().to(torch.uint8)

    def tiles(train: ImageSet) -> Tensor:
        return select_tiled(train, 2, None, 2, lambda ipc: select_random(train, ipc, seed=1)).images

    expected = encode(select_random(white, 8, seed=1).pixels().unflatten(0, (6, 4)), 2)
    assert torch.equal(tiles(white), expected)
    assert torch.equal(tiles(learned), as_bytes(expected))
    exact, cut = (
        select_rded(train, 4, by_brightness(tiny.image_shape, 3), seed=2).images for train in (white, learned)
    )
    assert float(exact[:4].max()) < 0
    assert float(exact[8:].min()) > 1
    assert torch.equal(cut, as_bytes(exact))


def test_a_teacher_sees_images_in_its_own_type(tiny: ImageSet) -> None:
    network = build_network("mlp", tiny.image_shape, 3)
    single = TrainedNetwork(network, network.draw(torch.Generator().manual_seed(1)), {})
    double = single._replace(parameters=moved(single.parameters, "cpu", torch.float64))
    expected, labelled = (soft_labelled(tiny, teacher).targets for teacher in (single, double))
    torch.testing.assert_close(labelled, expected)
    expected, crops = (select_rded(tiny, 4, teacher, seed=2).images for teacher in (single, double))
    assert torch.equal(crops, expected)


class TestRded:
    def test_the_surest_crops_first(self, tiny: ImageSet) -> None:
        teacher = by_brightness(tiny.image_shape, 3)
        found = select_rded(tiny, 4, teacher, seed=2)
        brightness = found.pixels().mean((1, 2, 3)).unflatten(0, (3, 4))
        # The brightest crops are surest of the last class, the darkest of the first.
        assert bool((brightness[2].diff() <= 1e-2).all())
        assert bool((brightness[0].diff() >= -1e-2).all())
        assert select_rded(tiny, 4, teacher, seed=2).fingerprint == found.fingerprint
        assert select_rded(tiny, 4, teacher, seed=3).fingerprint != found.fingerprint
        assert select_rded(tiny, 2, teacher, seed=2).fingerprint == found.first(2).fingerprint

    def test_of_every_image_the_best_crop(self, tiny: ImageSet) -> None:
        """Each class has fewer images than are looked at, so every selected crop is the best of one image."""
        found = select_rded(tiny, 12, by_brightness(tiny.image_shape, 3), seed=2)
        assert sorted(found.provenance["indices"]) == list(range(36))
        mean = tiny.pixels().mean((1, 2, 3))[found.provenance["indices"]]
        crops = found.pixels().mean((1, 2, 3))
        assert bool((crops[24:] > mean[24:]).float().mean() > 0.9)
        assert bool((crops[:12] < mean[:12]).float().mean() > 0.9)

    def test_crops_lie_within_the_image(self) -> None:
        ramp = torch.arange(16.0).expand(200, 1, 16, 16)
        crops = rded._random_crops(ramp, torch.Generator().manual_seed(0))
        steps = crops[:, 0, 0].diff(dim=1)
        shares = steps[:, 8]  # how far apart two pixels of the crop are in the image, of a side
        assert float(shares.min()) >= 0.08**0.5 - 1e-4
        assert float(shares.max()) <= 1 + 1e-4
        # Inside, the enlarged ramp is straight but for the half pixel beyond the outermost centres.
        torch.testing.assert_close(steps[:, 4:-4], shares[:, None].expand(-1, 7), atol=1e-3, rtol=0)
        assert float(crops.min()) == 0
        assert float(crops.max()) == 15


def test_a_teacher_is_trained_once_or_read_from_its_file(tmp_path: Path) -> None:
    data = DataSource(name="digits")
    first = trained_teacher("mlp", data, cache=tmp_path)
    (file,) = tmp_path.rglob("network.safetensors")
    again, read = trained_teacher("mlp", data, cache=tmp_path), trained_teacher(str(file), data)
    for name, tensor in first.parameters.items():
        assert torch.equal(again.parameters[name], tensor)
        assert torch.equal(read.parameters[name], tensor)
    short = trained_teacher("mlp", data, epochs=1, cache=tmp_path)
    assert not all(torch.equal(short.parameters[name], tensor) for name, tensor in first.parameters.items())
    config = SelectionConfig(method="random", ipc=1, soft_labels=str(file))
    selected = select(data, config, cache=tmp_path)
    expected = soft_labelled(select(data, SelectionConfig(method="random", ipc=1), cache=tmp_path), first)
    assert torch.equal(selected.targets, expected.targets)
    with pytest.raises(InputError, match=r"There is no file nowhere\.safetensors"):
        trained_teacher("nowhere.safetensors", data)
    with pytest.raises(InputError, match="There is no network 'nowhere'"):
        trained_teacher("nowhere", data)
