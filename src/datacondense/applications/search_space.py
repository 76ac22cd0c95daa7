"""The architectures of a search: a grid of ConvNets, or a list of networks."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

from datacondense.errors import InputError
from datacondense.files import reading
from datacondense.networks.builder import build_network
from datacondense.networks.layers import ImageShape
from datacondense.networks.names import ConvNetSpec, canonical_name, network_name
from datacondense.user_code import is_user_name

Settings: TypeAlias = Mapping[str, int | str]  # of an architecture, by the name of the setting

SETTINGS = ("width", "depth", "norm", "activation", "pooling")


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """The architectures to choose from; by default the 720 ConvNets of the paper.

    Attributes:
        widths: Channels of every convolution.
        depths: Numbers of blocks.
        norms: "none", "batch", "layer", "instance" or "group".
        activations: "sigmoid", "relu", "leaky" or "swish".
        poolings: "none", "max" or "average".
        networks: Names of networks in place of the grid, also "package.module:callable" of your own.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    depths: tuple[int, ...] = (1, 2, 3, 4)
    norms: tuple[str, ...] = ("none", "batch", "layer", "instance", "group")
    activations: tuple[str, ...] = ("sigmoid", "relu", "leaky")
    poolings: tuple[str, ...] = ("none", "max", "average")
    networks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [name for name, _ in self._named()]
        twice = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
        if twice:
            raise InputError(f"The network {twice[0]} is in the search twice: give each value and name once.")
        if len(names) < 2:
            raise InputError(
                f"The search has {len(names)} network(s), but needs at least 2: give more values."
            )

    @property
    def choices(self) -> Mapping[str, tuple[int | str, ...]]:
        """The values of each setting; one setting, `network`, where networks are listed."""
        if self.networks:
            return {"network": tuple(map(network_name, self.networks))}
        return {name: getattr(self, f"{name}s") for name in SETTINGS}

    @cached_property
    def architectures(self) -> Mapping[str, Settings]:
        """The settings of every architecture by its canonical name, in the order of the grid or the list."""
        return dict(self._named())

    def check(self, image_shape: ImageShape, num_classes: int) -> None:
        """Refuse networks that cannot be built for some images.

        Args:
            image_shape: Channels, height and width.
            num_classes: The number of classes K.

        Raises:
            InputError: A network does not fit the images, or cannot be imported.
        """
        for name in self.architectures:
            build_network(name, image_shape, num_classes)

    def _named(self) -> Iterator[tuple[str, Settings]]:
        for values in product(*self.choices.values()):
            settings = dict(zip(self.choices, values, strict=True))
            yield name_of_settings(settings), settings


def name_of_settings(settings: Settings) -> str:
    """Return the canonical name of an architecture."""
    if "network" in settings:
        return str(settings["network"])
    values: dict[str, Any] = dict(settings)
    return network_name(canonical_name(ConvNetSpec(**values)))


def read_space(path: Path, *, trust_code: bool = False) -> SearchSpace:
    """Read a search space from a TOML file whose keys are the fields of `SearchSpace`.

    Args:
        path: The file.
        trust_code: Whether it may name networks of the user's own, which are then imported.

    Returns:
        The space; what the file leaves out is as in the paper.

    Raises:
        InputError: The file cannot be read, has an unknown key or a wrong value, or names code without `trust_code`.
    """
    if not path.is_file():
        raise InputError(f"There is no search space {str(path)!r}: give a TOML file.")
    with reading(path, "TOML", "correct it"):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    known = {each.name: int if each.name in {"widths", "depths"} else str for each in fields(SearchSpace)}
    for key, values in content.items():
        if key not in known:
            raise InputError(f"{path} has the unknown key {key!r}: choose from {', '.join(known)}.")
        if not isinstance(values, list) or not all(type(value) is known[key] for value in values):
            kind = "whole numbers" if known[key] is int else "names"
            raise InputError(f"{path} has {key} = {values!r}, but it must be a list of {kind}.")
    own = [name for name in content.get("networks", ()) if is_user_name(name)]
    if own and not trust_code:
        raise InputError(
            f"{path} names {own[0]}, code that is not part of datacondense, and code is never imported because a file "
            "names it: give --trust-code if you trust it."
        )
    return SearchSpace(**{key: tuple(values) for key, values in content.items()})


def suggested(trial: Any, space: SearchSpace) -> str:
    """Return the name of the architecture that an Optuna trial suggests."""
    return name_of_settings({
        name: trial.suggest_categorical(name, list(values)) for name, values in space.choices.items()
    })
