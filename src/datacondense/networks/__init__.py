"""Networks: short names to structures whose parameters and buffers are arguments."""

from datacondense.networks.builder import build_network
from datacondense.networks.names import evaluation_name
from datacondense.networks.network import Network, Parameters

__all__ = ["Network", "Parameters", "build_network", "evaluation_name"]
