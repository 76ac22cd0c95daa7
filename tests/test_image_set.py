"""`ImageSet`: its checks, its views in numbers worked out by hand, and its file."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from datacondense.errors import InputError
from datacondense.image_set import ImageSet, check_trainable

NAN, INFINITE = float("nan"), float("inf")


def read_images() -> ImageSet:
    """Three uint8 images of two channels, 1×2 pixels."""
    pixels = [[[[0, 51]], [[102, 153]]], [[[204, 255]], [[0, 0]]], [[[255, 255]], [[51, 51]]]]
    return ImageSet(
        images=torch.tensor(pixels, dtype=torch.uint8),
        labels=torch.tensor([1, 0, 1]),
        class_names=("cat", "Größe"),
        mean=(0.5, 0.25),
        std=(0.5, 0.1),
        provenance={"method": "none", "run": {"seed": 3}, "notes": ["a", None, 1.5]},
        dataset="pets",
        may_be_mirrored=False,
        augmentation="crop",
    )


def learned_images() -> ImageSet:
    """Three float32 images, of which some pixels lie outside 0 to 1."""
    images = torch.linspace(-0.25, 1.25, 12).view(3, 2, 1, 2)
    return replace(read_images(), images=images)


def built(**changes: Any) -> ImageSet:
    return replace(learned_images(), **changes)


def facts(images: ImageSet) -> tuple[str | None, bool, str]:
    return images.dataset, images.may_be_mirrored, images.augmentation


def with_pixel(value: float, position: int) -> Tensor:
    images = torch.zeros(3, 2, 1, 2)
    images[position, 0, 0, 0] = value
    return images


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
                r"mean \(0\.5, 0\.5\), std \(0\.5, 0\.0\) must be finite with every std above 0",
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


class TestFile:
    @pytest.mark.parametrize("make", [read_images, learned_images])
    def test_round_trip(self, tmp_path: Path, make: Callable[[], ImageSet]) -> None:
        images, path = make(), tmp_path / "new" / "a.safetensors"
        images.save(path)
        loaded = ImageSet.load(path)
        assert torch.equal(loaded.images, images.images)
        assert loaded.images.dtype == images.images.dtype
        assert torch.equal(loaded.labels, images.labels)
        assert loaded.class_names == images.class_names
        assert (loaded.mean, loaded.std) == (images.mean, images.std)
        assert loaded.provenance == images.provenance
        assert facts(loaded) == ("pets", False, "crop")
        assert loaded.fingerprint == images.fingerprint

    def test_bytes_are_a_function_of_the_content(self, tmp_path: Path) -> None:
        learned_images().save(tmp_path / "a")
        learned_images().save(tmp_path / "b")
        loaded = ImageSet.load(tmp_path / "a")
        reordered = replace(loaded, provenance=dict(reversed(list(loaded.provenance.items()))))
        reordered.save(str(tmp_path / "c"))
        first, second, third = ((tmp_path / name).read_bytes() for name in "abc")
        assert first == second == third

    def test_header_of_any_length_is_read(self, tmp_path: Path) -> None:
        # The first byte is the length's lowest, which may be the one that pickles begin with.
        first_bytes = set()
        for length in range(0, 264, 8):
            images = replace(learned_images(), provenance={"note": "x" * length})
            images.save(tmp_path / "a")
            first_bytes.add((tmp_path / "a").read_bytes()[0])
            assert ImageSet.load(tmp_path / "a").provenance == images.provenance
        assert 0x80 in first_bytes

    def test_views_of_larger_tensors_are_saved_alone(self, tmp_path: Path) -> None:
        images = learned_images()
        strided = replace(images, images=torch.zeros(3, 2, 1, 40)[..., ::20])
        strided.save(tmp_path / "a")
        assert torch.equal(ImageSet.load(tmp_path / "a").images, torch.zeros(3, 2, 1, 2))
        assert (tmp_path / "a").stat().st_size < 1000

    def test_missing_file_and_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"There is no file .*missing\.safetensors: give the path of a"):
            ImageSet.load(tmp_path / "missing.safetensors")
        with pytest.raises(InputError, match="There is no file"):
            ImageSet.load(tmp_path)

    def test_every_single_cut_is_noticed(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        learned_images().save(path)
        content = path.read_bytes()
        for length in range(len(content)):
            path.write_bytes(content[:length])
            with pytest.raises(
                InputError, match=r"a\.safetensors cannot be read as safetensors .* it is cut short"
            ):
                ImageSet.load(path)

    @pytest.mark.parametrize(
        "content", [b"", b"text", bytes(100), b"\xff" * 100, pickle.dumps([1, 2], protocol=0)]
    )
    def test_other_files(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as safetensors"):
            ImageSet.load(tmp_path / "a")

    def test_pickles_are_refused_unread(self, tmp_path: Path) -> None:
        torch.save({"images": torch.zeros(1)}, tmp_path / "by_torch.pt")
        torch.save(
            {"images": torch.zeros(1)}, tmp_path / "by_old_torch.pt", _use_new_zipfile_serialization=False
        )
        (tmp_path / "by_pickle.pkl").write_bytes(pickle.dumps([1, 2]))
        for path in tmp_path.iterdir():
            with pytest.raises(InputError, match=r"is a pickle .* datacondense never reads one"):
                ImageSet.load(path)

    def test_foreign_safetensors(self, tmp_path: Path) -> None:
        save_file({"weight": torch.zeros(2)}, tmp_path / "a")
        save_file({"weight": torch.zeros(2)}, tmp_path / "b", {"format": "pt"})
        with pytest.raises(
            InputError, match=r"not an image set \(its format entry is None, not 'datacondense"
        ):
            ImageSet.load(tmp_path / "a")
        with pytest.raises(InputError, match=r"not an image set \(its format entry is 'pt'"):
            ImageSet.load(tmp_path / "b")


class TestDamagedFile:
    """Files that are safetensors and say that they are image sets."""

    @staticmethod
    def write(path: Path, tensors: dict[str, Tensor], **changes: str | None) -> None:
        images = learned_images()
        metadata: dict[str, str | None] = {
            "format": "datacondense.image_set",
            "format_version": "1",
            "class_names": json.dumps(images.class_names),
            "mean": json.dumps(images.mean),
            "std": json.dumps(images.std),
            "record": "{}",
            **changes,
        }
        kept = {name: value for name, value in metadata.items() if value is not None}
        save_file({"images": images.images, "labels": images.labels, **tensors}, path, kept)

    def test_file_written_by_hand_is_read(self, tmp_path: Path) -> None:
        self.write(tmp_path / "a", {})
        assert torch.equal(ImageSet.load(tmp_path / "a").images, learned_images().images)

    @pytest.mark.parametrize(
        ("record", "expected"),
        [
            ({"source": {"name": "mnist"}}, ("mnist", False, "crop-scale-rotate")),
            ({"source": {"name": "digits"}}, ("digits", False, "none")),
            ({"source": {"name": "owner/name"}}, ("owner/name", True, "none")),
            ({"source": {}}, (None, True, "none")),
            ({"source": "mnist"}, (None, True, "none")),
            ({}, (None, True, "none")),
        ],
    )
    def test_facts_of_files_written_before_follow_from_the_name(
        self, tmp_path: Path, record: dict[str, Any], expected: tuple[str | None, bool, str]
    ) -> None:
        self.write(tmp_path / "a", {}, record=json.dumps(record))
        assert facts(ImageSet.load(tmp_path / "a")) == expected

    @pytest.mark.parametrize("version", ["2", "0", None])
    def test_other_version(self, tmp_path: Path, version: str | None) -> None:
        self.write(tmp_path / "a", {}, format_version=version)
        with pytest.raises(
            InputError, match=f"has format version {version}, but this release reads version 1: install"
        ):
            ImageSet.load(tmp_path / "a")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"class_names": None}, "KeyError: 'class_names'"),
            ({"record": None}, "KeyError: 'record'"),
            ({"mean": "[0.5,"}, "JSONDecodeError"),
            ({"record": ""}, "JSONDecodeError"),
            ({"class_names": "5"}, "class_names is a int, not a list"),
            ({"class_names": '"ab"'}, "class_names is a str, not a list"),
            ({"class_names": "{}"}, "class_names is a dict, not a list"),
            ({"mean": "0.5"}, "mean is a float, not a list"),
            ({"mean": "[null, 0.5]"}, "TypeError"),
            ({"std": '["a", 0.5]'}, "could not convert string to float"),
            ({"std": "[0.5]"}, "Normalisation has 2 means and 1 stds"),
            ({"std": "[Infinity, 0.5]"}, "must be finite"),
            ({"record": "[]"}, "record is a list, not a dict"),
            ({"record": "null"}, "record is a NoneType, not a dict"),
            ({"record": "[" * 100_000}, "RecursionError"),
            ({"mean": "[" + "9" * 5000 + "]"}, "ValueError"),
            ({"dataset": "3"}, r"dataset is a int, not a str \| None"),
            ({"dataset": "null"}, "KeyError: 'may_be_mirrored'"),
            ({"dataset": "null", "may_be_mirrored": "1"}, "may_be_mirrored is a int, not a bool"),
            (
                {"dataset": "null", "may_be_mirrored": "true", "augmentation": "null"},
                "augmentation is a NoneType",
            ),
            ({"class_names": "[]"}, "Labels run from 0 to 1, but 0 classes"),
        ],
    )
    def test_metadata(self, tmp_path: Path, changes: dict[str, str | None], message: str) -> None:
        self.write(tmp_path / "a", {}, **changes)
        with pytest.raises(
            InputError, match=f"a is a damaged image set .*{message}.*copy it again or create it anew"
        ):
            ImageSet.load(tmp_path / "a")

    @pytest.mark.parametrize(
        ("tensors", "message"),
        [
            ({"images": torch.zeros(3, 2, 1, 2, dtype=torch.float64)}, r"Images are torch\.float64"),
            ({"images": torch.zeros(3, 2)}, r"Images have shape \(3, 2\)"),
            ({"images": with_pixel(NAN, 0)}, "1 images hold NaN"),
            ({"labels": torch.tensor([0, 1])}, r"Labels are torch\.int64 of shape \(2,\)"),
            ({"labels": torch.tensor([0, 1, 9])}, "Labels run from 0 to 9"),
        ],
    )
    def test_tensors(self, tmp_path: Path, tensors: dict[str, Tensor], message: str) -> None:
        self.write(tmp_path / "a", tensors)
        with pytest.raises(InputError, match=f"a is a damaged image set .*{message}"):
            ImageSet.load(tmp_path / "a")

    @pytest.mark.parametrize("missing", ["images", "labels"])
    def test_missing_tensor(self, tmp_path: Path, missing: str) -> None:
        tensors = {"images": learned_images().images, "labels": learned_images().labels}
        del tensors[missing]
        save_file(tensors, tmp_path / "a", {"format": "datacondense.image_set", "format_version": "1"})
        with pytest.raises(InputError, match=f"a is a damaged image set .*KeyError: '{missing}'"):
            ImageSet.load(tmp_path / "a")


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
