"""What the catalogues share: networks by their printed labels, refused settings, comparability with print."""

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.errors import InputError
from datacondense.networks.names import canonical_name, network_name, parse_name
from datacondense.settings import Named
from datacondense.studies.factory import TaskFactory
from datacondense.studies.published import shown

_LABELS = {
    "mlp": "MLP",
    "convnet": "ConvNet",
    "lenet": "LeNet",
    "alexnet": "AlexNet",
    "vgg11": "VGG",
    "resnet18": "ResNet",
}
# Settings that make gradient matching another method than the published one.
_PUBLISHED_AS = ("distance", "transform", "compare", "class_collective", "siamese")


def listed_networks(tasks: TaskFactory) -> dict[str, str]:
    """Return the networks that the user listed, by default all six: names by printed labels."""
    names = [canonical_name(parse_name(name)) for name in tasks.config.networks] or list(_LABELS)
    if len(set(names)) < len(names):
        raise InputError(
            f"networks are {', '.join(tasks.config.networks)}, but some are the same: list each once."
        )
    return {_LABELS.get(name, name): name for name in names}


def subject(tasks: TaskFactory, network: Named | None = None) -> str:
    """Return what a study is on: the data set as papers print it, and the network if there is only one."""
    if network is None:
        return shown(tasks.data.name)
    name = network_name(network)
    return f"{shown(tasks.data.name)}, {_LABELS.get(name, name)}"


def refuse_unused(tasks: TaskFactory, *names: str) -> None:
    """Refuse settings that a study does not use."""
    for name in names:
        given = " ".join(map(str, getattr(tasks.config, name)))
        if given:
            raise InputError(f"{name} is {given}, but this study does not use it: leave --{name} out.")


def is_comparable(tasks: TaskFactory) -> bool:
    """Whether images and method are the published ones, apart from the numbers of iterations and repeats."""
    data, method, usual = tasks.data, tasks.config.method, GradientMatchingConfig()
    same_images = not data.validation_fraction and data.config.resize is None and data.config.channels is None
    return same_images and all(getattr(method, name) == getattr(usual, name) for name in _PUBLISHED_AS)
