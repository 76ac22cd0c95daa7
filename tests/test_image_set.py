"""`ImageSet`: its checks, and its views in numbers worked out by hand."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.image_set import ImageSet, check_trainable
from tests.made_images import facts, learned_images, read_images, with_pixel

NAN, INFINITE = float("nan"), float("inf")


def built(**changes: Any) -> ImageSet:
    return replace(learned_images(), **changes)


class TestChecks:
    @pytest.mark.parametrize(
        ("images", "message"),
        [
            (torch.zeros(3, 2, 1), r"Images have shape \(3, 2, 1\), but 4 axes are needed, \[N, C, H, W\]"),
            (
                torch.zeros(3, 2, 1, 2, dtype=torch.float64),
                r"Images are torch\.float64, but must be uint8 .* convert them",
            ),
            (torch.zeros(3, 2, 1, 2, dtype=torch.int64), r"Images are torch\.int64, but must be uint8"),
            (torch.zeros(0, 2, 1, 2), "The image set is empty: it needs at least one image of one pixel"),
            (torch.zeros(3, 2, 0, 2), "The image set is empty"),
            (with_pixel(NAN, 1), r"1 images hold NaN or infinite pixels \(the first at position 1\)"),
            (with_pixel(-INFINITE, 2), r"1 images hold NaN or infinite pixels \(the first at position 2\)"),
        ],
    )
    def test_images(self, images: Tensor, message: str) -> None:
        with pytest.raises(InputError, match=message):
            built(images=images)

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (
                torch.tensor([0, 1]),
                r"Labels are torch\.int64 of shape \(2,\), but must be int64 of shape \(3,\)",
            ),
            (torch.tensor([[0], [1], [1]]), r"of shape \(3, 1\), but must be int64 of shape \(3,\)"),
            (torch.tensor([0.0, 1.0, 1.0]), r"Labels are torch\.float32 of shape \(3,\), but must be int64"),
            (torch.tensor([0, 1, 2]), "Labels run from 0 to 2, but 2 classes need labels 0 to 1: renumber"),
            (torch.tensor([-1, 0, 1]), "Labels run from -1 to 1, but 2 classes need labels 0 to 1"),
        ],
    )
    def test_labels(self, labels: Tensor, message: str) -> None:
        with pytest.raises(InputError, match=message):
            built(labels=labels)

    @pytest.mark.parametrize(
        ("mean", "std", "message"),
        [
            (
                (0.5,),
                (0.5, 0.5),
                "Normalisation has 1 means and 2 stds, but images have 2 channels: give one of each",
            ),
            ((0.5, 0.5), (0.5,) * 3, "Normalisation has 2 means and 3 stds"),
            (
                (0.5, 0.5),
                (0.5, 0.0),
                r"mean \(0\.5, 0\.5\), std \(0\.5, 0\.0\) must be finite in float32 with every std above 0",
            ),
            ((0.5, 0.5), (-0.5, 0.5), "every std above 0"),
            ((NAN, 0.5), (0.5, 0.5), "must be finite"),
            ((0.5, 0.5), (0.5, INFINITE), "must be finite"),
        ],
    )
    def test_normalisation(self, mean: tuple[float, ...], std: tuple[float, ...], message: str) -> None:
        with pytest.raises(InputError, match=message):
            built(mean=mean, std=std)

    def test_pixels_outside_the_scale_are_allowed(self) -> None:
        assert built(images=with_pixel(-3.5, 0)).images.min() == -3.5


class TestViews:
    def test_sizes(self) -> None:
        images = read_images()
        assert len(images) == 3
        assert images.num_classes == 2
        assert images.image_shape == (2, 1, 2)
        assert images.class_sizes == (1, 2)
        assert [indices.tolist() for indices in images.class_indices] == [[1], [0, 2]]

    def test_class_without_images_counts(self) -> None:
        images = replace(read_images(), class_names=("cat", "dog", "cow"))
        assert images.num_classes == 3
        assert images.class_sizes == (1, 2, 0)
        assert images.class_indices[2].tolist() == []

    def test_pixels_by_hand(self) -> None:
        expected = torch.tensor([[[[0.0, 0.2]], [[0.4, 0.6]]], [[[0.8, 1.0]], [[0.0, 0.0]]]])
        torch.testing.assert_close(read_images().pixels(torch.tensor([0, 1])), expected)
        assert read_images().pixels().dtype == torch.float32
        assert len(read_images().pixels()) == 3

    def test_learned_pixels_are_returned_as_they_are(self) -> None:
        images = learned_images()
        assert torch.equal(images.pixels(), images.images)

    def test_normalised_by_hand(self) -> None:
        expected = torch.tensor([[[[-1.0, -0.6]], [[1.5, 3.5]]]])
        torch.testing.assert_close(read_images().normalised(torch.tensor([0])), expected)
        assert read_images().normalised().shape == (3, 2, 1, 2)

    def test_subset_keeps_the_order_given(self) -> None:
        images = read_images()
        part = images.subset(torch.tensor([2, 1]))
        assert torch.equal(part.images, images.images[[2, 1]])
        assert part.labels.tolist() == [1, 0]
        assert (part.class_names, part.mean, part.std) == (images.class_names, images.mean, images.std)
        assert part.provenance == images.provenance
        assert facts(part) == ("pets", False, "crop")
        assert [indices.tolist() for indices in part.class_indices] == [[1], [0]]
        with pytest.raises(InputError, match="The image set is empty"):
            images.subset(torch.tensor([], dtype=torch.int64))

    def test_same_device_needs_no_copy(self) -> None:
        images = read_images()
        assert images.to("cpu") is images

    def test_both_tensors_move(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # The meta device holds no numbers to check, so the checks rest.
        monkeypatch.setattr(ImageSet, "__post_init__", lambda self: None)
        moved = read_images().to("meta")
        assert {moved.images.device.type, moved.labels.device.type} == {"meta"}
        assert moved.class_names == read_images().class_names

    @pytest.mark.parametrize("normalised", [True, False])
    def test_torch_dataset_returns_pairs(self, normalised: bool) -> None:
        images = read_images()
        dataset = images.torch_dataset(normalised=normalised)
        view = images.normalised() if normalised else images.pixels()
        assert len(dataset) == 3
        for index in range(3):
            image, label = dataset[index]
            assert torch.equal(image, view[index])
            assert label == images.labels[index]
        assert torch.equal(images.torch_dataset()[0][0], images.normalised()[0])


class TestFingerprint:
    def test_fingerprints_of_equal_content_are_equal(self) -> None:
        fingerprint = read_images().fingerprint
        assert fingerprint == read_images().fingerprint
        assert len(fingerprint) == 16
        assert int(fingerprint, 16) >= 0

    def test_it_is_pinned(self) -> None:
        # Records of earlier runs name their sources by it.
        assert read_images().fingerprint == "665a538d9305faa6"

    def test_any_pixel_label_or_name_changes_it(self) -> None:
        images = read_images()
        pixel = images.images.clone()
        pixel[2, 1, 0, 1] += 1
        changed = [
            images,
            replace(images, images=pixel),
            replace(images, images=images.images.view(3, 2, 2, 1)),
            replace(images, images=images.images.float()),
            replace(images, labels=torch.tensor([1, 1, 1])),
            replace(images, class_names=("cat", "dog")),
            replace(images, class_names=("cat", "Größe", "")),
            images.subset(torch.tensor([0, 1])),
            images.subset(torch.tensor([1, 0, 2])),
        ]
        assert len({other.fingerprint for other in changed}) == len(changed)

    def test_memory_layout_does_not_change_it(self) -> None:
        images = read_images()
        strided = images.images.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
        assert not strided.is_contiguous()
        assert replace(images, images=strided).fingerprint == images.fingerprint


class TestText:
    def test_a_set_prints_as_one_line(self) -> None:
        assert repr(read_images()) == "ImageSet(3 images of 2 classes, 2×1×2 uint8, pets, none)"
        bare = built(provenance={}, dataset=None)
        assert str(bare) == "ImageSet(3 images of 2 classes, 2×1×2 float32)"


class TestTrainable:
    def test_complete_set_passes(self) -> None:
        check_trainable(read_images())

    def test_single_class_is_refused(self) -> None:
        images = replace(read_images(), labels=torch.zeros(3, dtype=torch.int64), class_names=("cat",))
        with pytest.raises(
            InputError, match=r"The data set has 1 class \(cat\), but a classifier needs at least 2"
        ):
            check_trainable(images)

    def test_empty_classes_are_refused(self) -> None:
        images = replace(read_images(), class_names=("cat", "dog", "cow", "ewe"))
        message = (
            r"No training image has the class 'cow' \(2 of 4 classes are empty\): add images of it or remove"
        )
        with pytest.raises(InputError, match=message):
            check_trainable(images)
