"""Networks: short names to structures whose parameters and buffers are arguments."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.networks.builder import build_network
    from datacondense.networks.fused import NetworkFunction, choose_engine, once_differentiable
    from datacondense.networks.names import evaluation_name
    from datacondense.networks.network import Network, Parameters
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "builder": ["build_network"],
            "fused": ["NetworkFunction", "choose_engine", "once_differentiable"],
            "names": ["evaluation_name"],
            "network": ["Network", "Parameters"],
        },
    )

__all__ = [
    "Network",
    "NetworkFunction",
    "Parameters",
    "build_network",
    "choose_engine",
    "evaluation_name",
    "once_differentiable",
]
