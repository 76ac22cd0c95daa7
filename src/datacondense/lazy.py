"""Public names of a package that load their module on first use, so that importing the package loads nothing else."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions `__getattr__` and `__dir__` of a package (PEP 562).

    Submodules are attributes too, whether they were imported or not. No public name may also be the name of a
    submodule: importing that one would put the module in the name's place.

    Args:
        package: The package's `__name__`.
        names: For each submodule, relative to the package, the public names that it holds.

    Returns:
        `__getattr__`, which loads a name on first use, and `__dir__`, which lists the public names.
    """
    homes = {name: module for module, held in names.items() for name in held}

    def load(name: str) -> Any:
        if name in homes:
            value = getattr(import_module(f"{package}.{homes[name]}"), name)
            setattr(sys.modules[package], name, value)  # found directly from now on
            return value
        submodule = None if name.startswith("_") else _submodule(f"{package}.{name}")
        if submodule is None:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package]
            )
        return submodule

    return load, lambda: sorted(homes)


def _submodule(name: str) -> Any:
    """Import a module, or give None where there is none of that name."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None
