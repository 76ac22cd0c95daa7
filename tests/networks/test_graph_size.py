"""What graphs keep of a network: sizes as torch makes them."""

import torch

from datacondense.networks.builder import build_network
from datacondense.networks.graph_size import map_sizes
from tests.networks.own_layers import block

SHAPE, K = (2, 12, 10), 4


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
