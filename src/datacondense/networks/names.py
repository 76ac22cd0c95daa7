"""Short names of networks, such as "convnet-w64-d2-bn", to frozen specs and back; nothing else reads them.

A name is a family followed by tokens in any order, joined by hyphens. Its canonical form leaves the defaults out
and keeps one order, so that two names of one network compare equal. A name with a colon,
"package.module:callable", is the user's own network.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

from datacondense.errors import InputError
from datacondense.user_code import check_user_name, name_of

Activation: TypeAlias = Literal["sigmoid", "relu", "leaky", "swish"]
Norm: TypeAlias = Literal["none", "batch", "layer", "instance", "group"]
Pooling: TypeAlias = Literal["none", "max", "average"]

_WIDEST, _DEEPEST = 10_000, 100  # of a ConvNet
GROUPS = 4  # of group normalisation, as in the published networks


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
        if self.width > _WIDEST or self.depth > _DEEPEST:
            raise InputError(
                f"A convnet of width {self.width} and depth {self.depth} is larger than can be meant (w{_WIDEST}, "
                f"d{_DEEPEST}): choose such as convnet-w128-d3."
            )
        if self.norm == "group" and self.width % GROUPS:
            next_multiple = -(-self.width // GROUPS) * GROUPS
            raise InputError(
                f"A convnet of width {self.width} cannot have group normalisation, which splits the channels into "
                f"{GROUPS} equal groups: choose a width that {GROUPS} divides, such as -w{next_multiple}."
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
        name: "package.module:callable", of a callable `(image_shape, num_classes) -> nn.Module`.
    """

    name: str


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


def parse_name(name: str | Callable[..., Any]) -> NetworkSpec:
    """Read a network's short name."""
    if not isinstance(name, str) or ":" in name:
        if isinstance(name, str):
            check_user_name(name, "network")
        return CustomSpec(name=name_of(name))
    family, *tokens = name.lower().split("-")
    if family not in _FAMILIES:
        raise InputError(
            f"There is no network {name!r}: choose one of {', '.join(_FAMILIES)}, with tokens such as "
            "convnet-w64-d2-bn, or give your own as package.module:callable."
        )
    settings: dict[str, int | str] = {}
    for token in tokens:
        field, value = _read_token(name, family, token)
        if field in settings:
            first = _token(family, field, settings[field])
            raise InputError(
                f"{name!r} sets the {field} twice, by {first!r} and {token!r}: keep one of the two."
            )
        settings[field] = value
    spec: NetworkSpec = _FAMILIES[family][0](**settings)
    return spec


def usual_network(image_shape: tuple[int, int, int]) -> str:
    """Return the ConvNet for images of a size: as many blocks as leave 4 to 7 pixels of the side, and at least 3."""
    return canonical_name(ConvNetSpec(depth=max(ConvNetSpec().depth, min(image_shape[1:]).bit_length() - 3)))


def canonical_name(spec: NetworkSpec) -> str:
    """Return the one short name of a spec: defaults left out, tokens in the order of the spec's fields."""
    if isinstance(spec, CustomSpec):
        return spec.name
    family = next(family for family, (spec_type, _) in _FAMILIES.items() if type(spec) is spec_type)
    values = {field.name: getattr(spec, field.name) for field in fields(spec)}
    changed = [field.name for field in fields(spec) if values[field.name] != field.default]
    return "-".join([family, *(_token(family, field, values[field]) for field in changed)])


def network_name(network: str | Callable[..., Any]) -> str:
    """Return the canonical name of a network, however it is given."""
    return canonical_name(parse_name(network))


def canonical_network(network: str | Callable[..., Any]) -> str | Callable[..., Any]:
    """Return a network by its canonical name."""
    return network_name(network) if isinstance(network, str) else network


def varied(name: str | Callable[..., Any], **changes: Any) -> str:
    """Return the name of a network that differs from another in a setting, such as its activation."""
    spec = parse_name(name)
    for field, value in changes.items():
        if field not in {known.name for known in fields(spec)} or isinstance(spec, CustomSpec):
            raise InputError(
                f"{canonical_name(spec)} has no {field} to vary: give a network that has, such as convnet."
            )
        spec = replace(spec, **{field: value})
    canonical = canonical_name(spec)
    parse_name(canonical)
    return canonical


def evaluation_name(name: str | Callable[..., Any]) -> str:
    """Return the network that a condensed set is scored on (Zhao et al. 2021): batch becomes instance normalisation.

    A few synthetic images are too small a sample for batch statistics. A user's own network stays as it is.
    """
    spec = parse_name(name)
    if isinstance(spec, ConvNetSpec | AlexNetSpec | VGGSpec | ResNetSpec) and spec.norm == "batch":
        spec = replace(spec, norm="instance")
    return canonical_name(spec)


def has_batch_norm(network: str | Callable[..., Any] | None) -> bool:
    """Whether a network given by name has batch normalisation; a user's own counts as having none."""
    return network is not None and getattr(parse_name(network), "norm", None) == "batch"


def _read_token(name: str, family: str, token: str) -> tuple[str, int | str]:
    """Return the field that a token sets, and its value."""
    known = _FAMILIES[family][1]
    if token in known:
        return known[token]
    number = re.fullmatch(r"([wd])([0-9]{1,6})", token) if family == "convnet" else None
    if number:
        return _NUMBERS[number[1]], int(number[2])
    choices = [*(["w<width>", "d<depth>"] if family == "convnet" else []), *known]
    remedy = (
        f"choose from {', '.join(choices)}" if choices else f"{family} has no tokens, so write just {family}"
    )
    raise InputError(f"{name!r} has the unknown token {token!r}: {remedy}.")


def _token(family: str, field: str, value: int | str) -> str:
    """Return the token of a field."""
    if isinstance(value, int):
        return next(letter for letter, number in _NUMBERS.items() if number == field) + str(value)
    tokens = {meaning: token for token, meaning in _FAMILIES[family][1].items()}
    if (field, value) not in tokens:
        known = ", ".join(str(choice) for name, choice in tokens if name == field)
        raise InputError(f"A {family} cannot have the {field} {value!r}: choose from {known}.")
    return tokens[field, value]
