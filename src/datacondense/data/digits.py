"""The handwritten digits that come with scikit-learn: real images that need no network."""

import numpy as np
import torch

from datacondense.data.config import DataConfig
from datacondense.data.pixels import reformed
from datacondense.data.splits import ReadSplit

TEST_EVERY = 5


def read_digits(config: DataConfig) -> tuple[ReadSplit, ReadSplit]:
    """Return the 1,797 grey images of 8x8 pixels in two splits: the last of every five of a class is a test image.

    A rule instead of random numbers keeps the split the same with every release of scikit-learn.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415

    digits = load_digits()
    # Values are counts of 0 to 16.
    pixels = np.rint(digits.images * 255 / 16).astype(np.uint8)
    images = reformed(torch.from_numpy(pixels[:, None]), config.resize, config.channels)
    rank = np.zeros(len(digits.target), dtype=np.int64)
    for label in range(10):
        of_class = digits.target == label
        rank[of_class] = np.arange(of_class.sum())
    is_test = rank % TEST_EVERY == TEST_EVERY - 1
    names = tuple(map(str, range(10)))
    train, test = (
        ReadSplit(
            images=images[torch.from_numpy(part)],
            labels=digits.target[part].tolist(),
            class_names=names,
            split=split,
        )
        for part, split in ((~is_test, "train"), (is_test, "test"))
    )
    return train, test
