"""What the catalogues share: networks by their printed labels, refused settings, comparability with print."""

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.errors import InputError
from datacondense.networks.names import canonical_name, parse_name
from datacondense.studies import published
from datacondense.studies.factory import TaskFactory

_NETWORKS = dict(
    zip(published.NETWORKS, ("mlp", "convnet", "lenet", "alexnet", "vgg11", "resnet18"), strict=True)
)
# Networks to condense with where the plain one condenses poorly (Zhao et al. 2021, Table 2): batch normalisation for
# the deep ones, and no strided convolutions.
_CONDENSED_WITH = {"vgg11": "vgg11-bn", "resnet18": "resnet18-bn-ap"}
# Settings that make gradient matching another method than the published one.
_PUBLISHED_AS = ("distance", "transform", "compare", "class_collective", "siamese")


def listed_networks(tasks: TaskFactory) -> dict[str, str]:
    """Return the networks that the user listed, by default all six.

    Args:
        tasks: The factory of the study.

    Returns:
        Names by printed labels.

    Raises:
        InputError: One is listed twice or does not exist.
    """
    labels = {name: label for label, name in _NETWORKS.items()}
    names = [canonical_name(parse_name(name)) for name in tasks.config.networks] or list(labels)
    if len(set(names)) < len(names):
        raise InputError(
            f"networks are {', '.join(tasks.config.networks)}, but some are the same: list each once."
        )
    return {labels.get(name, name): name for name in names}


def condensed_with(network: str) -> str:
    """Return the network to condense with for training a network on the set.

    Args:
        network: Name of the network that is trained on the set.

    Returns:
        The name of the same network, or of its variant with batch normalisation and without strides.
    """
    return _CONDENSED_WITH.get(network, network)


def refuse_unused(tasks: TaskFactory, *names: str) -> None:
    """Refuse settings that a study does not use.

    Args:
        tasks: The factory of the study.
        *names: Names of these settings.

    Raises:
        InputError: One of them is given.
    """
    for name in names:
        given = " ".join(map(str, getattr(tasks.config, name)))
        if given:
            raise InputError(f"{name} is {given}, but this study does not use it: leave --{name} out.")


def is_comparable(tasks: TaskFactory) -> bool:
    """Return whether images and method are the published ones, apart from the numbers of iterations and repeats.

    Args:
        tasks: The factory of the study.

    Returns:
        Whether published numbers may be printed beside the results.
    """
    data, method, usual = tasks.data, tasks.config.method, GradientMatchingConfig()
    same_images = not data.validation_fraction and data.config.resize is None and data.config.channels is None
    return same_images and all(getattr(method, name) == getattr(usual, name) for name in _PUBLISHED_AS)
