"""Short names of networks, such as "convnet-w64-d2-bn", to frozen specs and back; the only place that reads them.

A name is a family followed by tokens in any order, joined by hyphens. Its canonical form leaves the defaults out
and keeps one order, so that two names of one network compare equal. A name with a colon,
"package.module:callable", is the user's own network.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias, get_args

from datacondense.errors import InputError

Activation: TypeAlias = Literal["sigmoid", "relu", "leaky", "swish"]
Norm: TypeAlias = Literal["none", "batch", "layer", "instance", "group"]
Pooling: TypeAlias = Literal["none", "max", "average"]
Engine: TypeAlias = Literal["auto", "fused", "eager"]

ENGINES: tuple[str, ...] = get_args(Engine)
GROUPS = 4  # of group normalisation, as in the published networks


def check_engine(name: str) -> None:
    """Check the name of an engine.

    Args:
        name: The name.

    Raises:
        InputError: There is no such engine.
    """
    if name not in ENGINES:
        raise InputError(f"engine is {name!r}: choose one of {', '.join(ENGINES)}.")


@dataclass(frozen=True, kw_only=True)
class ConvNetSpec:
    """`depth` blocks of 3x3 convolution, norm, activation and 2x2 pooling, then one linear layer.

    Attributes:
        width: Channels of every convolution.
        depth: The number of blocks.
        activation: The non-linearity of every block.
        norm: What normalises each convolution's output.
        pooling: What halves height and width at the end of each block.
    """

    width: int = 128
    depth: int = 3
    activation: Activation = "relu"
    norm: Norm = "instance"
    pooling: Pooling = "average"

    def __post_init__(self) -> None:
        if self.width < 1 or self.depth < 1:
            raise InputError(
                f"A convnet of width {self.width} and depth {self.depth} has no layers, but both must be at least "
                "1: choose such as convnet-w128-d3."
            )
        if self.norm == "group" and self.width % GROUPS:
            raise InputError(
                f"A convnet of width {self.width} cannot have group normalisation, which splits the channels into "
                f"{GROUPS} equal groups: choose a width that {GROUPS} divides, such as -w{_next_multiple(self.width)}."
            )


@dataclass(frozen=True, kw_only=True)
class MLPSpec:
    """Two hidden layers of 128 with ReLU."""


@dataclass(frozen=True, kw_only=True)
class LeNetSpec:
    """LeNet-5 with ReLU and maximum pooling."""


@dataclass(frozen=True, kw_only=True)
class AlexNetSpec:
    """AlexNet for small images.

    Attributes:
        norm: What normalises each convolution's output; nothing by default.
    """

    norm: Norm = "none"


@dataclass(frozen=True, kw_only=True)
class AlexCifarNetSpec:
    """The AlexNet of Dataset Distillation, for 32x32 images."""


@dataclass(frozen=True, kw_only=True)
class VGGSpec:
    """VGG-11 with one linear layer.

    Attributes:
        norm: What normalises each convolution's output.
    """

    norm: Norm = "instance"


@dataclass(frozen=True, kw_only=True)
class ResNetSpec:
    """ResNet-18 with a 3x3 stem.

    Attributes:
        norm: What normalises each convolution's output.
        downsampling: Strided convolutions, or stride-1 convolutions followed by 2x2 average pooling ("ap").
    """

    norm: Norm = "instance"
    downsampling: Literal["stride", "average"] = "stride"


@dataclass(frozen=True, kw_only=True)
class CustomSpec:
    """The user's own network.

    Attributes:
        module: The Python module that holds it, as in an import statement.
        attribute: The name there of a callable `(image_shape, num_classes) -> nn.Module`.
    """

    module: str
    attribute: str


NetworkSpec: TypeAlias = (
    ConvNetSpec | MLPSpec | LeNetSpec | AlexNetSpec | AlexCifarNetSpec | VGGSpec | ResNetSpec | CustomSpec
)
_Tokens: TypeAlias = dict[str, tuple[str, str]]  # token -> (field, value)

_ACTIVATIONS: _Tokens = {token: ("activation", token) for token in ("sigmoid", "relu", "leaky", "swish")}
_NORMS: _Tokens = {
    "nonorm": ("norm", "none"),
    "bn": ("norm", "batch"),
    "ln": ("norm", "layer"),
    "in": ("norm", "instance"),
    "gn": ("norm", "group"),
}
_POOLINGS: _Tokens = {"nopool": ("pooling", "none"), "max": ("pooling", "max"), "avg": ("pooling", "average")}
_DOWNSAMPLINGS: _Tokens = {"ap": ("downsampling", "average")}
_NUMBERS = {"w": "width", "d": "depth"}  # ConvNet's tokens that carry a whole number

_FAMILIES: Mapping[str, tuple[type[Any], _Tokens]] = {
    "convnet": (ConvNetSpec, _ACTIVATIONS | _NORMS | _POOLINGS),
    "mlp": (MLPSpec, {}),
    "lenet": (LeNetSpec, {}),
    "alexnet": (AlexNetSpec, {token: _NORMS[token] for token in ("nonorm", "bn", "in")}),
    "alexcifarnet": (AlexCifarNetSpec, {}),
    "vgg11": (VGGSpec, {token: _NORMS[token] for token in ("bn", "in")}),
    "resnet18": (ResNetSpec, {token: _NORMS[token] for token in ("bn", "in")} | _DOWNSAMPLINGS),
}


def parse_name(name: str) -> NetworkSpec:
    """Read a network's short name.

    Args:
        name: A family and its tokens, such as "convnet-w64-d2-bn", or "package.module:callable".

    Returns:
        The spec of its family.

    Raises:
        InputError: The family or a token is unknown, or two tokens set one thing.
    """
    if ":" in name:
        return _parse_custom(name)
    family, *tokens = name.lower().split("-")
    if family not in _FAMILIES:
        raise InputError(
            f"There is no network {name!r}: choose one of {', '.join(_FAMILIES)}, with tokens such as "
            "convnet-w64-d2-bn, or give your own as package.module:callable."
        )
    spec_type, _ = _FAMILIES[family]
    spec: NetworkSpec = spec_type(**_settings(name, family, tokens))
    return spec


def canonical_name(spec: NetworkSpec) -> str:
    """Give the one short name of a spec: defaults left out, tokens in the order of the spec's fields.

    Args:
        spec: The spec of any family.

    Returns:
        The name that `parse_name` reads back as the same spec.
    """
    if isinstance(spec, CustomSpec):
        return f"{spec.module}:{spec.attribute}"
    family = next(family for family, (spec_type, _) in _FAMILIES.items() if type(spec) is spec_type)
    values = {field.name: getattr(spec, field.name) for field in fields(spec)}
    changed = [field.name for field in fields(spec) if values[field.name] != field.default]
    return "-".join([family, *(_token(family, field, values[field]) for field in changed)])


def varied(name: str, **changes: Any) -> str:
    """Change one thing of a named network, such as its activation.

    Args:
        name: The network.
        **changes: Fields of its family's spec, such as `pooling="max"`.

    Returns:
        The canonical name of the changed network.

    Raises:
        InputError: The family has no such field, or not that value.
    """
    spec = parse_name(name)
    for field, value in changes.items():
        if field not in {known.name for known in fields(spec)} or isinstance(spec, CustomSpec):
            raise InputError(
                f"{name} has no {field} to vary: give a network that has, such as --network convnet."
            )
        spec = replace(spec, **{field: value})
    canonical = canonical_name(spec)
    parse_name(canonical)
    return canonical


def evaluation_name(name: str) -> str:
    """Give the network that a condensed set is scored on (Zhao et al. 2021): batch becomes instance normalisation.

    A few synthetic images are too small a sample for batch statistics.

    Args:
        name: The network that the set is learned on.

    Returns:
        The canonical name of its twin with instance normalisation; its own canonical name where it has no batch
        normalisation or is the user's own.
    """
    spec = parse_name(name)
    if isinstance(spec, ConvNetSpec | AlexNetSpec | VGGSpec | ResNetSpec) and spec.norm == "batch":
        spec = replace(spec, norm="instance")
    return canonical_name(spec)


def _parse_custom(name: str) -> CustomSpec:
    """Read "package.module:callable"."""
    module, _, attribute = name.partition(":")
    if not attribute.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise InputError(
            f"{name!r} does not name a network of your own: write package.module:callable, with one colon, such "
            "as my_networks:small_net for small_net in my_networks.py."
        )
    return CustomSpec(module=module, attribute=attribute)


def _settings(name: str, family: str, tokens: list[str]) -> dict[str, int | str]:
    """Turn tokens into the fields they set, each at most once."""
    settings: dict[str, int | str] = {}
    origins: dict[str, str] = {}
    for token in tokens:
        field, value = _read_token(name, family, token)
        if field in settings:
            raise InputError(
                f"{name!r} sets the {field} twice, by {origins[field]!r} and {token!r}: keep one of the two."
            )
        settings[field], origins[field] = value, token
    return settings


def _read_token(name: str, family: str, token: str) -> tuple[str, int | str]:
    """Find the field that a token sets, and its value."""
    known = _FAMILIES[family][1]
    if token in known:
        return known[token]
    number = re.fullmatch(r"([wd])([0-9]{1,6})", token) if family == "convnet" else None
    if number:
        return _NUMBERS[number[1]], int(number[2])
    numbered = ["w<width>", "d<depth>"] if family == "convnet" else []
    choices = [*numbered, *known]
    remedy = (
        f"choose from {', '.join(choices)}" if choices else f"{family} has no tokens, so write just {family}"
    )
    raise InputError(f"{name!r} has the unknown token {token!r}: {remedy}.")


def _token(family: str, field: str, value: int | str) -> str:
    """Write one field as its token."""
    if isinstance(value, int):
        return next(letter for letter, number in _NUMBERS.items() if number == field) + str(value)
    tokens = {meaning: token for token, meaning in _FAMILIES[family][1].items()}
    if (field, value) not in tokens:
        known = ", ".join(str(choice) for name, choice in tokens if name == field)
        raise InputError(f"A {family} cannot have the {field} {value!r}: choose from {known}.")
    return tokens[field, value]


def _next_multiple(width: int) -> int:
    """Round a width up to what the groups divide."""
    return -(-width // GROUPS) * GROUPS
