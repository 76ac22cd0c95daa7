"""The blocks of ResNet-18 against the same function written out."""

from typing import Literal

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datacondense.networks.families import BasicBlock
from datacondense.networks.names import ResNetSpec


def _block(
    downsampling: Literal["stride", "average"], *, halve: bool
) -> tuple[BasicBlock, list[Tensor], Tensor]:
    """Build a block with random numbers, float64."""
    generator = torch.Generator().manual_seed(4)
    with torch.device("meta"):
        block = BasicBlock(3, 6 if halve else 3, ResNetSpec(downsampling=downsampling), halve=halve)
    block = block.to_empty(device="cpu").double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    images = torch.randn(2, 3, 7, 8, generator=generator, dtype=torch.float64)
    return block, [parameter.detach() for parameter in block.parameters()], images


def _norm(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Normalise each channel of each image."""
    return F.instance_norm(features, weight=weight, bias=bias)


def test_strided_block() -> None:
    block, (w1, g1, b1, w2, g2, b2, ws, gs, bs), images = _block("stride", halve=True)
    main = _norm(F.conv2d(images, w1, stride=2, padding=1), g1, b1).relu()
    shortcut = _norm(F.conv2d(images, ws, stride=2), gs, bs)
    expected = (_norm(F.conv2d(main, w2, padding=1), g2, b2) + shortcut).relu()
    assert expected.shape == (2, 6, 4, 4)
    torch.testing.assert_close(block(images), expected)


def test_pooling_block_has_no_stride() -> None:
    block, (w1, g1, b1, w2, g2, b2, ws, gs, bs), images = _block("average", halve=True)
    main = F.avg_pool2d(_norm(F.conv2d(images, w1, padding=1), g1, b1).relu(), 2)
    shortcut = _norm(F.avg_pool2d(F.conv2d(images, ws), 2), gs, bs)
    expected = (_norm(F.conv2d(main, w2, padding=1), g2, b2) + shortcut).relu()
    assert expected.shape == (2, 6, 3, 4)
    torch.testing.assert_close(block(images), expected)


@pytest.mark.parametrize("downsampling", ["stride", "average"])
def test_block_of_one_size_adds_its_input(downsampling: Literal["stride", "average"]) -> None:
    block, (w1, g1, b1, w2, g2, b2), images = _block(downsampling, halve=False)
    main = _norm(F.conv2d(images, w1, padding=1), g1, b1).relu()
    expected = (_norm(F.conv2d(main, w2, padding=1), g2, b2) + images).relu()
    torch.testing.assert_close(block(images), expected)
