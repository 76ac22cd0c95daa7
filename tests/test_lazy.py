"""Packages load their modules on first use, and what they list for type checkers is what they give."""

import ast
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import datacondense

ROOT = Path(datacondense.__file__).parent
INITS = [
    path for path in sorted(ROOT.rglob("__init__.py")) if "lazy_names" in path.read_text(encoding="utf-8")
]


def listed(init: Path) -> Iterator[tuple[str, str]]:
    """List module and name of every import that type checkers see in a package."""
    tree = ast.parse(init.read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module is not None
        yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("init", INITS, ids=lambda init: init.parent.name)
def test_public_names_are_what_type_checkers_see(init: Path) -> None:
    package = import_module(".".join(["datacondense", *init.relative_to(ROOT).parent.parts]))
    homes = {name: module for module, name in listed(init)}
    assert set(package.__all__) == set(homes) == set(dir(package))
    for name, module in homes.items():
        assert getattr(package, name) is getattr(import_module(module), name)


@pytest.mark.parametrize("init", INITS, ids=lambda init: init.parent.name)
def test_no_public_name_is_a_submodule(init: Path) -> None:
    submodules = {path.stem for path in init.parent.iterdir()}
    assert not submodules & {name for _, name in listed(init)}


def test_only_the_package_itself_is_lazy() -> None:
    assert [init.parent.name for init in INITS] == ["datacondense"]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package with one lazy name in its module `one`, beside modules that it does not list."""
    folder = tmp_path / "made_lazy"
    folder.mkdir()
    init = "from datacondense.lazy import lazy_names\n__getattr__, __dir__ = lazy_names(__name__, {'one': ['value']})"
    (folder / "__init__.py").write_text(init)
    (folder / "one.py").write_text("value = object()")
    (folder / "two.py").write_text("")
    (folder / "broken.py").write_text("import made_lazy_missing")
    (folder / "__main__.py").write_text("raise RuntimeError('the program was run')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield import_module("made_lazy")
    for name in [name for name in sys.modules if name.startswith("made_lazy")]:
        del sys.modules[name]


def test_a_name_is_loaded_on_first_use(made: ModuleType) -> None:
    assert dir(made) == ["value"]
    assert "made_lazy.one" not in sys.modules
    value = made.value
    assert value is sys.modules["made_lazy.one"].value
    assert vars(made)["value"] is value


def test_submodules_are_attributes(made: ModuleType) -> None:
    assert made.two is sys.modules["made_lazy.two"]


@pytest.mark.parametrize("name", ["three", "__main__", "_hidden"])
def test_other_names_are_missing(made: ModuleType, name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'made_lazy' has no attribute '{name}'"):
        getattr(made, name)


def test_a_broken_submodule_says_what_it_lacks(made: ModuleType) -> None:
    with pytest.raises(ModuleNotFoundError, match="made_lazy_missing"):
        _ = made.broken
