"""Which networks the arms of a study are about, and what of a study was published, as the catalogues choose them."""

from datacondense.condensation.gradient_matching_config import GradientMatchingConfig
from datacondense.errors import InputError
from datacondense.networks.names import canonical_name, parse_name
from datacondense.studies import published
from datacondense.studies.factory import TaskFactory

_NETWORKS = dict(
    zip(published.NETWORKS, ("mlp", "convnet", "lenet", "alexnet", "vgg11", "resnet18"), strict=True)
)
# What gives the gradients where the plain network is a poor teacher (Zhao et al. 2021, Table 2): batch statistics of
# real images for the deep ones, and no strided convolutions.
_CONDENSED_WITH = {"vgg11": "vgg11-bn", "resnet18": "resnet18-bn-ap"}


# What makes gradient matching another method than the published one.
_PUBLISHED_AS = ("distance", "transform", "compare", "class_collective", "siamese")


def listed_networks(tasks: TaskFactory) -> dict[str, str]:
    """Give the networks that the user listed, else all six.

    Args:
        tasks: What the user said.

    Returns:
        Names by printed labels.

    Raises:
        InputError: One is listed twice, or there is none of that name.
    """
    labels = {name: label for label, name in _NETWORKS.items()}
    names = [canonical_name(parse_name(name)) for name in tasks.config.networks] or list(labels)
    if len(set(names)) < len(names):
        raise InputError(
            f"networks are {', '.join(tasks.config.networks)}, but each may be listed once only."
        )
    return {labels.get(name, name): name for name in names}


def condensed_with(network: str) -> str:
    """Give the form of a network whose gradients are matched.

    Args:
        network: Name of the network that is trained on the set.

    Returns:
        The name of the same network, or of its form with batch normalisation and without strides.
    """
    return _CONDENSED_WITH.get(network, network)


def refuse_unused(tasks: TaskFactory, *names: str) -> None:
    """Refuse settings that a study would not look at.

    Args:
        tasks: What the user said.
        *names: Names of these settings.

    Raises:
        InputError: One of them is given.
    """
    for name in names:
        given = " ".join(map(str, getattr(tasks.config, name)))
        if given:
            raise InputError(f"{name} is {given}, but this study has no such choice: leave --{name} out.")


def is_comparable(tasks: TaskFactory) -> bool:
    """Tell whether what is measured is what was published, but for how long and how often: images, test, gradients.

    Args:
        tasks: What the user said.

    Returns:
        Whether published numbers may stand beside.
    """
    data, method, usual = tasks.data, tasks.config.method, GradientMatchingConfig()
    same_images = not data.validation_fraction and data.config.resize is None and data.config.channels is None
    return same_images and all(getattr(method, name) == getattr(usual, name) for name in _PUBLISHED_AS)
