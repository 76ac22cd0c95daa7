"""Every family: sizes, parameter counts, information that passes every layer."""

from itertools import product

import pytest
import torch

from datacondense.errors import InputError
from datacondense.networks.builder import build_network
from datacondense.networks.network import Network

GREY_28, COLOUR_32 = (1, 28, 28), (3, 32, 32)
COUNTS = [  # name, 1x28x28, 3x32x32, parameter tensors; 10 classes
    ("mlp", 118_282, 411_146, 6),
    ("lenet", 61_706, 62_006, 10),
    ("convnet", 317_706, 320_010, 14),
    ("convnet-d1", 329_226, 331_530, 6),
    ("convnet-d2", 231_306, 233_610, 10),
    ("convnet-d4", 450_186, 452_490, 18),
    ("convnet-w32", 24_138, 24_714, 14),
    ("convnet-w64", 85_130, 86_282, 14),
    ("convnet-w256", 1_225_226, 1_229_834, 14),
    ("convnet-nonorm", 316_938, 319_242, 8),
    ("convnet-ln", 661_002, 663_306, 14),
    ("convnet-bn", 317_706, 320_010, 14),
    ("convnet-gn", 317_706, 320_010, 14),
    ("convnet-nopool", 1_607_946, 1_610_250, 14),
    ("alexnet", 1_865_802, 1_872_202, 12),
    ("alexnet-bn", 1_867_722, 1_874_122, 22),
    ("vgg11", 9_229_962, 9_231_114, 34),
    ("vgg11-bn", 9_229_962, 9_231_114, 34),
    ("resnet18", 11_172_810, 11_173_962, 62),
    ("resnet18-bn", 11_172_810, 11_173_962, 62),
    ("resnet18-ap", 11_213_770, 11_250_762, 62),
    ("resnet18-bn-ap", 11_213_770, 11_250_762, 62),
]
VISIBLE = 1e-4
FAMILIES = ["mlp", "lenet", "convnet-w8", "convnet-w8-bn", "alexnet", "alexnet-in", "vgg11"]
SIZES = [(1, 8, 8), (1, 28, 28), (3, 28, 28), (3, 32, 32), (2, 17, 23)]
LARGE = ["resnet18", "resnet18-ap"]  # slower, so fewer sizes


@pytest.mark.parametrize(("name", "grey", "colour", "tensors"), COUNTS)
def test_parameter_counts_are_the_published_networks(name: str, grey: int, colour: int, tensors: int) -> None:
    small, large = build_network(name, GREY_28, 10), build_network(name, COLOUR_32, 10)
    assert (small.num_parameters, large.num_parameters) == (grey, colour)
    drawn = small.draw(torch.Generator())
    assert len(drawn) == tensors
    assert sum(tensor.numel() for tensor in drawn.values()) == grey


@pytest.mark.parametrize(
    ("name", "shape"), [*product(FAMILIES, SIZES), *product(LARGE, [(1, 8, 8), (3, 28, 28), (2, 17, 23)])]
)
def test_every_family_tells_images_of_every_size_apart(name: str, shape: tuple[int, int, int]) -> None:
    network = build_network(name, shape, 3)
    assert _spread(network) > VISIBLE


@pytest.mark.parametrize("name", ["convnet-w8-d4", "mlp", "lenet", "alexnet", "vgg11", "alexnet-bn"])
def test_larger_images_fit(name: str) -> None:
    assert _spread(build_network(name, (3, 64, 64), 5)) > VISIBLE


def test_resnets_take_larger_images() -> None:
    for name, features in (("resnet18", 512), ("resnet18-bn-ap", 512 * 6 * 5)):
        network = build_network(name, (1, 48, 40), 2)
        parameters = network.draw(torch.Generator())
        assert list(parameters.values())[-2].shape == (2, features)
        with torch.no_grad():
            assert network(parameters, torch.zeros(1, 1, 48, 40)).shape == (1, 2)


@pytest.mark.parametrize("size", [(8, 30), (15, 15), (16, 17), (33, 47)], ids=str)
@pytest.mark.parametrize(
    "name", ["lenet", "alexnet", "vgg11", "resnet18-bn-ap", "convnet-w4-max", "convnet-w4-nopool"]
)
def test_borderline_sizes_fit(name: str, size: tuple[int, int]) -> None:
    network = build_network(name, (1, *size), 4)
    with torch.no_grad():
        assert network(network.draw(torch.Generator()), torch.zeros(1, 1, *size)).shape == (1, 4)


@pytest.mark.parametrize("num_classes", [1, 2, 100])
def test_any_number_of_classes(num_classes: int) -> None:
    network = build_network("convnet-w4", (1, 8, 8), num_classes)
    assert network(network.draw(torch.Generator()), torch.zeros(2, 1, 8, 8)).shape == (2, num_classes)
    assert network.num_classes == num_classes


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("convnet-w8", 1),
        ("convnet-w8", 3),
        ("lenet", 1),
        ("lenet", 3),
        ("alexnet", 3),
        ("vgg11", 3),
        ("alexcifarnet", 3),
    ],
)
def test_28_pixels_become_32_inside_whatever_the_channels(name: str, channels: int) -> None:
    framed, full = (build_network(name, (channels, side, side), 10) for side in (28, 32))
    assert framed.num_parameters == full.num_parameters
    parameters = framed.draw(torch.Generator().manual_seed(0))
    image = torch.randn(1, channels, 28, 28, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = framed(parameters, image)
        torch.testing.assert_close(logits, full(parameters, torch.nn.functional.pad(image, (2, 2, 2, 2))))


def test_the_network_knows_its_canonical_name() -> None:
    network = build_network("convnet-max-d2-w64", (3, 32, 32), 10)
    assert network.name == "convnet-w64-d2-max"
    assert network.image_shape == (3, 32, 32)
    assert repr(network) == "Network('convnet-w64-d2-max', image_shape=(3, 32, 32), num_classes=10)"


def test_the_global_generator_is_neither_read_nor_seeded() -> None:
    before = torch.random.get_rng_state()
    for name in [*FAMILIES, *LARGE, "alexcifarnet"]:
        build_network(name, (3, 32, 32), 10).draw(torch.Generator())
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "shape", "num_classes", "message"),
    [
        (
            "convnet-d4",
            (1, 8, 8),
            10,
            "convnet-d4 pools 4 times, but images of 8x8 can be halved 3 times only: use -d3 or fewer, larger images",
        ),
        (
            "convnet-d9-w64",
            (1, 70, 130),
            10,
            "convnet-w64-d9 pools 9 times, but images of 70x130 can be halved 6 times",
        ),
        (
            "convnet-d6",
            (1, 28, 28),
            10,
            "convnet-d6 pools 6 times, but images of 28x28 can be halved 5 times",
        ),
        (
            "convnet",
            (1, 7, 9),
            10,
            "convnet takes images of at least 1 channel and 8x8 pixels, but these have 1 and 7x9",
        ),
        ("mlp", (0, 9, 9), 10, "mlp takes images of at least 1 channel.* but these have 0 and 9x9: enlarge"),
        ("alexcifarnet", (3, 64, 64), 10, "alexcifarnet takes 32x32 images .*, not 64x64: resize"),
        ("mlp", (1, 8, 8), 0, "num_classes is 0, but a network needs at least 1"),
        ("vgg16", (1, 8, 8), 2, "no network 'vgg16'"),
    ],
)
def test_networks_that_cannot_work_are_refused_with_the_remedy(
    name: str, shape: tuple[int, int, int], num_classes: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build_network(name, shape, num_classes)


def test_as_deep_as_the_image_allows() -> None:
    for name, shape in (
        ("convnet-w4-d3", (1, 8, 8)),
        ("convnet-w4-d5", (3, 28, 28)),
        ("convnet-w4-d6", (1, 64, 99)),
    ):
        assert _spread(build_network(name, shape, 2)) > VISIBLE


def _spread(network: Network) -> float:
    """Measure how far the logits of two images lie apart: at rounding level where a layer loses all information."""
    generator = torch.Generator().manual_seed(0)
    parameters = network.draw(generator)
    with torch.no_grad():
        logits = network(parameters, torch.randn(2, *network.image_shape, generator=generator))
    assert logits.shape == (2, network.num_classes)
    return (logits[0] - logits[1]).abs().max().item()
