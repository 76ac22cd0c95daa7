import numpy as np
import torch
from sklearn.datasets import load_digits

from datacondense.data.config import DataConfig
from datacondense.data.digits import read_digits


def test_the_split_covers_every_digit_once() -> None:
    train, test = read_digits(DataConfig())
    found = torch.cat([train.images, test.images]).flatten(1).numpy()
    expected = np.rint(load_digits().data * 255 / 16).astype(np.uint8)

    assert (len(train.images), len(test.images)) == (1442, 355)
    assert sorted(map(bytes, found)) == sorted(map(bytes, expected))


def test_labels_belong_to_their_images() -> None:
    digits = load_digits()
    label_of = {
        bytes(image.astype(np.uint8)): label
        for image, label in zip(np.rint(digits.data * 255 / 16), digits.target, strict=True)
    }

    for part in read_digits(DataConfig()):
        assert [label_of[bytes(image)] for image in part.images.flatten(1).numpy()] == list(part.labels)


def test_every_class_is_divided_alike() -> None:
    train, test = read_digits(DataConfig())

    shares = np.bincount(test.labels) / (np.bincount(train.labels) + np.bincount(test.labels))

    assert ((shares > 0.19) & (shares <= 0.2)).all()


def test_the_split_never_changes() -> None:
    first, second = read_digits(DataConfig()), read_digits(DataConfig())

    assert all(torch.equal(a.images, b.images) for a, b in zip(first, second, strict=True))


def test_digits_are_resized_and_coloured() -> None:
    assert read_digits(DataConfig(resize=16, channels=3))[0].images.shape == (1442, 3, 16, 16)
