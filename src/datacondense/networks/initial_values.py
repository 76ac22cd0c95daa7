"""First values of parameters and buffers, drawn from an explicit generator for a structure without numbers."""

import math

import torch
from torch import Tensor, nn

from datacondense.networks.network import Network, Parameters

_NORMS = (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm2d)


def draw_parameters(structure: nn.Module, generator: torch.Generator) -> Parameters:
    """Return float32 CPU parameters by name, drawn as PyTorch's own layers do, but from a generator.

    Weights and biases of convolutions and linear layers are uniform in ±1/√fan-in (He et al. 2015 with a = √5); norms
    start as the identity. The layers may lie on the meta device.
    """
    drawn: Parameters = {}
    for prefix, module in structure.named_modules():
        for name, parameter in module.named_parameters(prefix, recurse=False):
            drawn[name] = _first_value(module, name, parameter, generator)
    return drawn


def with_xavier_values(network: Network) -> Network:
    """Return a network whose convolutions and linear layers begin as in Glorot and Bengio 2010, with biases of 0.

    Weights are normal with variance 2 / (fan-in + fan-out), as the authors of Dataset Distillation draw them.
    """

    def draw(generator: torch.Generator) -> Parameters:
        drawn = network.draw(generator)
        for prefix, module in network.structure.named_modules():
            if not isinstance(module, (nn.Conv2d, nn.Linear)):
                continue
            for name, parameter in module.named_parameters(prefix, recurse=False):
                drawn[name] = torch.zeros(parameter.shape)
                if parameter is module.weight:
                    nn.init.xavier_normal_(drawn[name], generator=generator)
        return drawn

    return Network(
        name=network.name,
        image_shape=network.image_shape,
        num_classes=network.num_classes,
        structure=network.structure,
        draw=draw,
        buffers=network.buffers(),
    )


def initial_buffers(structure: nn.Module) -> Parameters:
    """Return the CPU buffers that batch normalisation starts with: mean 0, variance 1, no batches seen."""
    return {
        name: (torch.ones if name.endswith("running_var") else torch.zeros)(buffer.shape, dtype=buffer.dtype)
        for name, buffer in structure.named_buffers()
    }


def _first_value(module: nn.Module, name: str, parameter: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one parameter."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        bound = 1 / math.sqrt(module.weight[0].numel())
        return torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
    assert isinstance(module, _NORMS), f"no rule draws {name} of {type(module).__name__}"
    return (torch.ones if name.endswith("weight") else torch.zeros)(parameter.shape)
