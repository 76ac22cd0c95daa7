from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features
from datasets import Image as ImageFeature
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset, Subset, TensorDataset

from datacondense.data.arrays import from_arrays, from_torch_dataset
from datacondense.data.pixels import reformed
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from tests.data.made_files import pictures

GREY = np.stack(pictures(4, colour=False))
COLOUR = np.stack(pictures(4, colour=True))
LABELS = [0, 1, 1, 0]


class Pairs(list[tuple[object, object]]):
    """A map-style data set; `classes` is what torchvision's data sets have."""

    classes: tuple[str, ...] = ("cat", "dog")


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (GREY, GREY[:, None]),
        (COLOUR, COLOUR.transpose(0, 3, 1, 2)),
        (COLOUR.transpose(0, 3, 1, 2), COLOUR.transpose(0, 3, 1, 2)),
        (GREY[..., None], GREY[:, None]),
        (COLOUR[:, :3, ::-1], COLOUR[:, :3, ::-1]),  # both axes have 3 entries: the second one is taken
    ],
    ids=["NHW", "NHWC", "NCHW", "NHW1", "N3W3"],
)
@pytest.mark.parametrize(
    "kind", [np.asarray, lambda array: torch.from_numpy(array.copy())], ids=["numpy", "torch"]
)
def test_channel_axis_is_recognised(
    images: NDArray[np.uint8],
    expected: NDArray[np.uint8],
    kind: Callable[[object], NDArray[np.uint8] | Tensor],
) -> None:
    found = from_arrays(kind(images), LABELS)

    assert found.images.dtype == torch.uint8
    np.testing.assert_array_equal(found.images.numpy(), expected)


def test_pixels_are_copied() -> None:
    images = GREY.copy()
    found = from_arrays(images, LABELS)
    images[:] = 0

    np.testing.assert_array_equal(found.images[:, 0].numpy(), GREY)


def test_wider_whole_numbers_become_uint8() -> None:
    assert from_arrays(GREY.astype(np.int64), LABELS).images.dtype == torch.uint8


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floating_point_pixels_become_float32(dtype: torch.dtype) -> None:
    images = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0)).to(dtype)

    found = from_arrays(images, LABELS)

    assert found.images.dtype == torch.float32
    assert torch.equal(found.images, images.float())


def test_normalisation_is_computed_unless_given() -> None:
    computed = from_arrays(GREY, LABELS)
    given = from_arrays(GREY, LABELS, mean=[0.5], std=[0.25])

    assert computed.mean[0] == pytest.approx(GREY.mean() / 255)
    assert computed.std[0] == pytest.approx(GREY.std() / 255)
    assert (given.mean, given.std) == ((0.5,), (0.25,))


def test_names_and_source_are_kept() -> None:
    found = from_arrays(GREY, LABELS, class_names=["cat", "dog", "emu"], source="my scans")

    assert found.class_names == ("cat", "dog", "emu")
    assert found.provenance == {"source": {"name": "my scans", "num_images": 4}}
    assert (found.dataset, found.may_be_mirrored, found.augmentation) == ("my scans", True, "none")
    known = from_arrays(GREY, LABELS, source="mnist")
    assert (known.dataset, known.may_be_mirrored, known.augmentation) == ("mnist", False, "crop-scale-rotate")
    assert from_arrays(GREY, LABELS).class_names == ("0", "1")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (GREY[0], r"Images have shape \(6, 6\), but must be \[N, H, W\]"),
        (np.zeros((4, 6, 6, 4)), r"Images have shape \(4, 6, 6, 4\).*1 or 3 channels"),
        (np.zeros((0, 6, 6)), "which is empty"),
        (GREY.astype(np.int64) * 2, "Whole-number pixels run from .* must be in 0 to 255"),
        (GREY.astype(np.float32), "Floating-point pixels run from .* must be in 0 to 1: divide by 255"),
        (np.full((4, 6, 6), -0.5), "Floating-point pixels run from -0.5 .*undo the normalisation"),
        (np.full((4, 6, 6), np.nan), "NaN or infinite"),
        (GREY > 100, "Images are bool, but must be whole numbers"),
    ],
)
def test_pixels_that_break_a_rule(images: NDArray[np.generic], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_arrays(images, LABELS)


def test_learned_pixels_may_have_their_own_range() -> None:
    learned = np.linspace(-0.5, 1.5, 144, dtype=np.float32).reshape(4, 6, 6)
    found = from_arrays(learned, LABELS, mean=[0.5], std=[0.25], pixel_range=(-1, 2))
    np.testing.assert_array_equal(found.images[:, 0].numpy(), learned)
    with pytest.raises(
        InputError, match=r"from -0.5 to 1.5, but must be in -0.4 to 2: .* or give the pixel_range"
    ):
        from_arrays(learned, LABELS, pixel_range=(-0.4, 2))


def test_labels_that_break_a_rule() -> None:
    with pytest.raises(InputError, match="There are 4 images but 3 labels"):
        from_arrays(GREY, [0, 1, 1])
    with pytest.raises(InputError, match="Labels are float64 of shape"):
        from_arrays(GREY, np.array([0.0, 1.0, 0.0, 1.0]))
    with pytest.raises(InputError, match="The data set has 2 classes of the name 'cat'"):
        from_arrays(GREY, LABELS, class_names=["cat", "cat"])
    with pytest.raises(InputError, match="Labels run from 0 to 1, but 1 classes need labels 0 to 0"):
        from_arrays(GREY, LABELS, class_names=["cat"])


def test_labels_may_be_any_values() -> None:
    by_name = from_arrays(GREY, ["b", "a", "a", "b"])
    by_number = from_arrays(GREY, torch.tensor([[2], [1], [1], [2]]))

    assert (by_name.class_names, by_name.labels.tolist()) == (("a", "b"), [1, 0, 0, 1])
    assert (by_number.class_names, by_number.labels.tolist()) == (("1", "2"), [1, 0, 0, 1])
    # A test set need not have images of every class of its training set.
    part = from_arrays(GREY, ["c", "b", "c", "b"], class_names=("a", "b", "c"))
    assert (part.class_names, part.labels.tolist()) == (("a", "b", "c"), [2, 1, 2, 1])


def test_mean_needs_std() -> None:
    with pytest.raises(InputError, match="Only one of mean and std is given"):
        from_arrays(GREY, LABELS, mean=[0.5])


@pytest.mark.parametrize(
    "as_image",
    [Image.fromarray, np.asarray, torch.from_numpy, lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1)],
    ids=["PIL", "numpy", "torch HWC", "torch CHW"],
)
def test_torch_datasets_of_whole_numbers(as_image: Callable[[NDArray[np.uint8]], object]) -> None:
    found = from_torch_dataset(Pairs(zip(map(as_image, COLOUR), LABELS, strict=True)))

    np.testing.assert_array_equal(found.images.numpy(), COLOUR.transpose(0, 3, 1, 2))
    assert found.labels.tolist() == LABELS
    assert found.class_names == ("cat", "dog")
    assert found.provenance["source"]["name"] == "Pairs"


def test_torch_datasets_of_floating_point_numbers() -> None:
    images = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))

    found = from_torch_dataset(TensorDataset(images, torch.tensor(LABELS)))

    assert torch.equal(found.images, images)
    assert found.class_names == ("0", "1")


def test_an_image_set_survives_the_way_through_torch() -> None:
    images = from_arrays(COLOUR, LABELS)

    found = from_torch_dataset(images.torch_dataset(normalised=False))

    torch.testing.assert_close(found.pixels(), images.pixels())
    assert found.mean == pytest.approx(images.mean)


def test_torch_datasets_are_resized() -> None:
    pairs = Pairs([(Image.new("L", (4, 9)), 0), (np.zeros((3, 3), dtype=np.uint8), 1)])

    assert from_torch_dataset(pairs, resize=5, channels=3).images.shape == (2, 3, 5, 5)


def test_names_that_are_given_come_first() -> None:
    pairs = Pairs(zip(GREY, LABELS, strict=True))

    assert from_torch_dataset(pairs, class_names=["a", "b"]).class_names == ("a", "b")


@pytest.mark.parametrize("names", [None, ("ant", "bee", "cat", "dog")])
def test_a_subset_has_the_classes_that_are_present(names: tuple[str, ...] | None) -> None:
    full = Pairs(zip(GREY, [0, 1, 2, 3], strict=True))
    full.classes = ("ant", "bee", "cat", "dog")
    nested: Subset[tuple[object, object]] = Subset(Subset(full, [3, 1, 0]), [0, 1])  # type: ignore[arg-type]

    found = from_torch_dataset(nested, class_names=names)

    assert (found.class_names, found.labels.tolist()) == (("bee", "dog"), [1, 0])
    unnamed = from_torch_dataset(list(zip(GREY, [7, 5, 7, 5], strict=True)))
    assert (unnamed.class_names, unnamed.labels.tolist()) == (("5", "7"), [1, 0, 1, 0])


@pytest.mark.parametrize(("image", "label"), [("image", "label"), ("img", "target"), ("img", "labels")])
def test_items_may_be_dicts(image: str, label: str) -> None:
    items = [{"id": 1, image: pixels, label: name} for pixels, name in zip(GREY, "baab", strict=True)]

    found = from_torch_dataset(items)

    np.testing.assert_array_equal(found.images[:, 0].numpy(), GREY)
    assert (found.class_names, found.labels.tolist()) == (("a", "b"), [1, 0, 0, 1])


def test_hugging_face_data_sets_are_torch_data_sets() -> None:
    features = Features({"image": ImageFeature(), "label": ClassLabel(names=["cat", "dog"])})
    rows = {"image": list(map(Image.fromarray, COLOUR)), "label": LABELS}
    dataset = Dataset.from_dict(rows, features=features)

    for form in (dataset, dataset.with_format("torch"), Subset(dataset, range(4))):
        found = from_torch_dataset(form)
        np.testing.assert_array_equal(found.images.numpy(), COLOUR.transpose(0, 3, 1, 2))
        assert (found.class_names, found.labels.tolist()) == (("cat", "dog"), LABELS)
    with pytest.raises(InputError, match=r"DatasetDict is not a map-style data set .*has the entries train"):
        from_torch_dataset(DatasetDict(train=dataset))


class Stream(IterableDataset[tuple[Tensor, int]]):
    """A data set without positions."""

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        yield torch.zeros(1, 2, 2), 0


def test_iterable_datasets_are_refused() -> None:
    with pytest.raises(InputError, match="Stream is not a map-style data set"):
        from_torch_dataset(Stream())
    with pytest.raises(InputError, match="generator is not a map-style data set"):
        from_torch_dataset(pair for pair in [(GREY[0], 0)])


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "The data set is empty"),
        ([GREY[0]], r"Item 0 of the data set is not an \(image, label\) pair but a ndarray"),
        ([(GREY[0], 0), 3], r"Item 1 of the data set is not an \(image, label\) pair but a int"),
        (
            [(GREY[0], None)],
            "Item 0 of the data set has the label None, but a label is one whole number or string",
        ),
        ([(GREY[0], "cat"), (GREY[1], 0)], "has the label 'cat' in row 0 and 0 in row 1"),
        (
            [{"picture": GREY[0], "label": 0}],
            "has the entries picture, label, but one called image or img is needed",
        ),
        ([{"image": GREY[0], "kind": 0}], "one called label or labels or target or class is needed"),
        ([(GREY[0], 0.5)], "has the label 0.5"),
        ([(GREY[0], 0), (GREY[0].astype(np.float32) / 255, 1)], "Item 1 .*floating-point pixels and item 0"),
        ([(GREY[0, 0], 0)], r"Item 0 of the data set has an image of shape \(6,\)"),
        ([(GREY[0], 0), (GREY[1, :4], 1)], "Image 0 is 6x6 pixels but Image 1 is 6x4"),
        (
            [(torch.zeros(1, 4, 4), 0), (torch.zeros(1, 5, 4), 1)],
            r"Item 0 .*\(1, 4, 4\) but item 1 has \(1, 5, 4\)",
        ),
        ([(torch.zeros(3, 4, 4) - 1, 0)], "Floating-point pixels run from -1 .*undo the normalisation"),
    ],
)
def test_torch_datasets_that_break_a_rule(pairs: list[object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_torch_dataset(pairs)


def test_reformed_uint8_agrees_with_pil() -> None:
    small = reformed(torch.from_numpy(GREY[:, None]), 3, None)
    expected = [
        np.asarray(Image.fromarray(image).resize((3, 3), Image.Resampling.BILINEAR)) for image in GREY
    ]

    np.testing.assert_array_equal(small[:, 0].numpy(), np.stack(expected))


def test_reformed_floating_point_agrees_with_uint8() -> None:
    images = torch.from_numpy(COLOUR.transpose(0, 3, 1, 2).copy())

    for resize, channels in [(3, None), (None, 1), (4, 1), (9, None)]:
        full = reformed(images, resize, channels).float() / 255
        floating = reformed(images.float() / 255, resize, channels)
        torch.testing.assert_close(floating, full, atol=2 / 255, rtol=0)


def test_resizing_stays_in_the_pixel_scale() -> None:
    # Without the limit, white resized from 7 to 3 pixels comes out above 1 by rounding.
    assert reformed(torch.ones(1, 1, 7, 7), 3, None).max() <= 1


def test_reformed_keeps_channels_by_default() -> None:
    grey_in_three = torch.from_numpy(np.repeat(GREY[:, None], 3, axis=1))

    assert reformed(grey_in_three, 3, None).shape == (4, 3, 3, 3)
    assert reformed(grey_in_three, None, None) is grey_in_three
    assert reformed(grey_in_three[:, :1].float() / 255, None, 3).shape == (4, 3, 6, 6)


def test_image_sets_are_ready_to_use() -> None:
    found = from_arrays(COLOUR, LABELS)

    assert isinstance(found, ImageSet)
    assert found.normalised().mean().abs() < 1e-5
