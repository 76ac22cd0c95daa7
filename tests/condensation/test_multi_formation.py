"""Methods that store several images in one: what they begin with, and what networks see of it."""

from dataclasses import replace

import torch

from datacondense import DistributionMatchingConfig, ImageSet
from datacondense.condensation.results import facts_of_set, frozen
from datacondense.decoder import encode
from tests.conftest import MakeSet

CONFIG = DistributionMatchingConfig(network="convnet-w4-d1", real_batch=4, precision="float64")


def test_images_begin_as_real_images_shrunk_into_tiles(tiny: ImageSet) -> None:
    method = replace(CONFIG, ipc=2, factor=2, ipc_of={"class 1": 3}).build(tiny, 5)
    images = method.init().images
    for label, number in enumerate((2, 3, 2)):
        drawn = method.sampler.real(label, 4 * number, "start")
        assert torch.equal(images[label, :number], encode(drawn.unflatten(0, (number, 4)), 2))
    assert not images[0, 2].any()  # not used


def test_networks_see_in_training_what_they_see_of_the_saved_set(make: MakeSet) -> None:
    train = make(shape=(1, 9, 11))  # padded with grey
    method = replace(CONFIG, ipc=2, factor=2, ipc_of={"class 1": 3}).build(train, 5)
    state = method.init()
    seen, classes = method.in_one_batch(method.decoded(state.images))
    saved = frozen(state, facts_of_set(train, method), {}).decoded()
    assert classes.tolist() == saved.labels.tolist()
    torch.testing.assert_close(saved.normalised().double(), seen, atol=1e-5, rtol=1e-5)
