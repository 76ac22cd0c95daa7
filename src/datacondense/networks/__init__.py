"""Networks: short names to structures whose parameters and buffers are arguments."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.networks.builder import build_network
    from datacondense.networks.features import embedding_network, features_of, penultimate_features
    from datacondense.networks.fused import (
        Computation,
        NetworkFunction,
        choose_computation,
        once_differentiable,
    )
    from datacondense.networks.names import evaluation_name
    from datacondense.networks.network import Network, Parameters, moved
    from datacondense.networks.stacked import StackedNetwork, bytes_of_graph, stack_network
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "builder": ["build_network"],
            "features": ["embedding_network", "features_of", "penultimate_features"],
            "fused": ["Computation", "NetworkFunction", "choose_computation", "once_differentiable"],
            "names": ["evaluation_name"],
            "network": ["Network", "Parameters", "moved"],
            "stacked": ["StackedNetwork", "bytes_of_graph", "stack_network"],
        },
    )

__all__ = [
    "Computation",
    "Network",
    "NetworkFunction",
    "Parameters",
    "StackedNetwork",
    "build_network",
    "bytes_of_graph",
    "choose_computation",
    "embedding_network",
    "evaluation_name",
    "features_of",
    "moved",
    "once_differentiable",
    "penultimate_features",
    "stack_network",
]
