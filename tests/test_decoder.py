"""Multi-formation against interpolation of one tile after the other, and sets that hold it or soft labels."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense import memory_limits
from datacondense.decoder import decode, encode
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from tests.conftest import make_set


def tile_by_tile(stored: Tensor, factor: int, fill: float) -> Tensor:
    """Cut and interpolate as the paper says: pad, then every tile by itself."""
    height, width = stored.shape[-2:]
    padded = F.pad(stored, (0, -width % factor, 0, -height % factor), value=fill)
    rows, columns = (size // factor for size in padded.shape[-2:])
    tiles = [
        padded[..., i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
        for i in range(factor)
        for j in range(factor)
    ]
    return torch.stack([F.interpolate(t, (height, width), mode="bilinear") for t in tiles], 1)


@pytest.mark.parametrize(
    ("height", "width", "factor"), [(8, 8, 2), (7, 5, 2), (9, 6, 3), (4, 6, 1), (8, 8, 3)]
)
def test_decode_is_interpolation_of_every_tile(height: int, width: int, factor: int) -> None:
    stored = torch.rand(2, 3, height, width, dtype=torch.float64)
    torch.testing.assert_close(decode(stored, factor, 0.3), tile_by_tile(stored, factor, 0.3))


def test_padding_is_grey_in_any_scale() -> None:
    stored = torch.rand(1, 2, 5, 5, dtype=torch.float64)
    mean, std = torch.tensor([0.3, 0.6]).view(2, 1, 1).double(), 0.2
    normalised = decode((stored - mean) / std, 2, (0.5 - mean) / std)
    torch.testing.assert_close(normalised, (decode(stored, 2) - mean) / std)


def test_gradient_of_decode() -> None:
    stored = torch.rand(1, 1, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: decode(x, 2), stored)


def test_encode_averages_by_hand() -> None:
    images = torch.stack([torch.full((1, 4, 4), float(n)) for n in range(4)])
    images[1] += torch.arange(4.0)  # columns 1 2 3 4, whose pairs average to 1.5 and 3.5
    assert encode(images, 2)[0].tolist() == [
        [0, 0, 1.5, 3.5],
        [0, 0, 1.5, 3.5],
        [2, 2, 3, 3],
        [2, 2, 3, 3],
    ]


@pytest.mark.parametrize("side", [6, 7])
def test_encoded_flat_images_come_back(side: int) -> None:
    values = torch.rand(9, 2, 1, 1, dtype=torch.float64)
    images = values.expand(9, 2, side, side)
    middle = decode(encode(images, 3), 3, 0.0)[:, :, : side // 4, : side // 4]
    torch.testing.assert_close(middle, images[:, :, : side // 4, : side // 4])


def made(**changes: Any) -> ImageSet:
    """Three classes of two grey 8×8 images, each of four tiles, with soft labels."""
    plain = make_set(per_class=2)
    soft = torch.rand(24, 3, generator=torch.Generator().manual_seed(1)).softmax(1)
    return replace(plain, **{"factor": 2, "soft_labels": soft, **changes})


class TestSets:
    def test_decoded(self) -> None:
        images = made()
        seen = images.decoded()
        assert (len(images), len(seen), seen.factor) == (6, 24, 1)
        assert seen.labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8
        torch.testing.assert_close(seen.images, tile_by_tile(images.pixels(), 2, 0.5).flatten(0, 1))
        assert seen.targets is images.soft_labels

    def test_what_would_fill_the_memory_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory_limits, "total_memory", lambda: 10_000)
        with pytest.raises(InputError, match=r"4 images decoded from each take .* take fewer images"):
            made().decoded()
        assert len(made(factor=1, soft_labels=None).decoded()) == 6

    def test_without_factor_nothing_changes(self) -> None:
        plain = make_set()
        assert plain.decoded() is plain
        assert plain.targets is plain.labels

    def test_subset_keeps_the_soft_labels_of_each_image(self) -> None:
        images = made()
        assert images.soft_labels is not None
        part = images.subset(torch.tensor([4, 0]))
        expected = torch.cat([images.soft_labels[16:20], images.soft_labels[:4]])
        assert torch.equal(part.targets, expected)
        assert torch.equal(
            part.decoded().images, torch.cat([images.decoded().images[16:20], images.decoded().images[:4]])
        )

    def test_first_of_each_class(self) -> None:
        images = make_set(per_class=3)
        assert torch.equal(images.first(2).images, images.images[[0, 1, 3, 4, 6, 7]])
        assert images.first(5).fingerprint == images.fingerprint

    def test_file(self, tmp_path: Path) -> None:
        images = made()
        images.save(tmp_path / "a.safetensors")
        found = ImageSet.load(tmp_path / "a.safetensors")
        assert found.factor == 2
        assert torch.equal(found.targets, images.targets)
        assert found.fingerprint == images.fingerprint

    @pytest.mark.parametrize("changes", [{"factor": 1, "soft_labels": None}, {"soft_labels": None}])
    def test_file_names_the_version_that_can_read_it(self, tmp_path: Path, changes: dict[str, Any]) -> None:
        path = tmp_path / "a.safetensors"
        made(**changes).save(path)
        version = b'"format_version":"1"' if changes.get("factor") == 1 else b'"format_version":"2"'
        assert version in path.read_bytes()

    def test_fingerprint_changes_with_factor_and_soft_labels(self) -> None:
        found = {made(), made(factor=1, soft_labels=None), made(soft_labels=None)}
        assert len({each.fingerprint for each in found}) == 3

    def test_torch_dataset_stored_or_decoded(self) -> None:
        images = made()
        decoded, stored = images.torch_dataset(), images.torch_dataset(decoded=False)
        assert len(decoded) == 24
        assert torch.equal(decoded.tensors[1], images.targets)
        assert len(stored) == 6
        assert torch.equal(stored.tensors[1], images.labels)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"factor": 9}, "factor is 9, but images of 8×8 pixels can be cut into 1 to 8 tiles a side"),
            ({"factor": 0}, "factor is 0"),
            ({"factor": 1}, r"float32 of shape \(24, 3\), but must be float32 of shape \(6, 3\)"),
            ({"soft_labels": torch.ones(24, 3)}, "does not sum to 1"),
            ({"soft_labels": torch.tensor([[1.5, -0.5, 0]]).repeat(24, 1)}, "negative or NaN"),
            ({"soft_labels": torch.full((24, 3), float("nan"))}, "negative or NaN"),
        ],
    )
    def test_wrong_values(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            made(**changes)
