"""What graphs keep of a network: sizes as torch makes them."""

import pytest
import torch
from torch import nn

from datacondense.networks.builder import build_network
from datacondense.networks.graph_size import map_sizes
from datacondense.networks.layers import num_features
from tests.networks.own_layers import BLOCKS, OTHERS, Build, block

SHAPE, K = (2, 12, 10), 4
SEQUENCES = {**BLOCKS, **OTHERS}


@pytest.mark.parametrize("own", SEQUENCES.values(), ids=list(SEQUENCES))
def test_features_are_counted_as_torch_makes_them(own: Build) -> None:
    structure = own(SHAPE, K)
    assert isinstance(structure, nn.Sequential)
    features = torch.zeros(1, *SHAPE)
    for end, layer in enumerate(structure):
        if isinstance(layer, nn.Linear):
            break
        features = layer(features)
        assert num_features(list(structure)[: end + 1], SHAPE) == features.numel()


def test_windows_that_begin_outside_are_not_counted() -> None:
    pooling = nn.MaxPool2d(2, stride=3, padding=1, ceil_mode=True)
    for side in range(2, 12):
        expected = pooling(torch.zeros(1, 1, side, side)).numel()
        assert num_features([pooling], (1, side, side)) == expected


def test_each_map_that_a_layer_keeps_counts_once_and_parameters_do_not() -> None:
    network = build_network(block(), SHAPE, K)
    parameters = network.draw(torch.Generator().manual_seed(0))
    # The image; what convolution, activation and pooling make; mean and deviation of each channel.
    kept = [2 * 12 * 10, 32 * 12 * 10, 32 * 12 * 10, 32 * 6 * 5, 32, 32]
    assert map_sizes(network, parameters, {}) == (sum(kept), 32 * 12 * 10)


def test_statistics_that_are_frozen_are_no_maps() -> None:
    network = build_network("convnet-w4-d2-bn", SHAPE, K)
    plain = build_network("convnet-w4-d2-nonorm", SHAPE, K)
    sizes = [
        map_sizes(each, each.draw(torch.Generator().manual_seed(0)), each.buffers()).total
        for each in (network, plain)
    ]
    # Beside the image, each of two norms keeps what the convolution made, and the activation what it makes itself.
    assert sizes[0] - sizes[1] == 4 * 12 * 10 + 4 * 6 * 5
