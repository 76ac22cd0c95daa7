"""The table of tiny networks, distances and sets on which fast and obvious computations are held equal."""

NETWORKS = (
    "mlp",
    "lenet",
    "alexnet",
    "alexnet-bn",
    "vgg11",
    "vgg11-bn",
    "resnet18",
    "resnet18-bn",
    "resnet18-ap",
    "resnet18-bn-ap",
    "alexcifarnet",
    *(f"convnet-w4-d2{norm}" for norm in ("", "-nonorm", "-bn", "-ln", "-gn")),
    *(f"convnet-w4-d2-{activation}" for activation in ("sigmoid", "leaky", "swish")),
    *(f"convnet-w4-d2-{pooling}" for pooling in ("max", "nopool")),
)
"""Every family × norm, and for ConvNet every activation and pooling."""

LARGE = tuple(name for name in NETWORKS if name.startswith(("alexnet", "vgg", "resnet", "alexcifar")))
"""Networks of millions of parameters, of which a test takes fewer combinations."""
