"""Imports run in one direction, whoever counts them, and need nothing that only Unix has."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import datacondense

PACKAGE = Path(datacondense.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imports(source: str, module: str) -> Iterator[str]:
    """List what a module imports, at the top, in functions, and for type checkers alike."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in MODULES else str(node.module)


def circle(sources: dict[str, str]) -> list[str]:
    """Return the modules of one import circle; none where there is no circle."""
    # The public names of the package are imported lazily, and by nothing inside of it.
    graph = {
        module: set(imports(source, module)) & sources.keys() - {"datacondense"}
        for module, source in sources.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_there_is_no_import_circle() -> None:
    sources = {module: path.read_text(encoding="utf-8") for module, path in MODULES.items()}
    assert circle(sources) == []


def test_a_circle_of_two_files_is_noticed() -> None:
    sources = {
        "datacondense.files": "import datacondense.errors",
        "datacondense.errors": "def f():\n    from datacondense.files import write_text",
    }
    assert set(circle(sources)) == {"datacondense.files", "datacondense.errors"}


HIDDEN = """
import sys
for name in ("fcntl", "resource"):
    sys.modules[name] = None  # importing it fails, as on Windows
"""


def without_unix(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that has no Unix modules."""
    return subprocess.run([sys.executable, "-c", HIDDEN + code], capture_output=True, text=True, check=False)


def test_every_module_is_imported_without_fcntl_and_resource() -> None:
    modules = [module for module in MODULES if not module.endswith("__main__")]
    done = without_unix(f"from importlib import import_module\nfor name in {modules!r}: import_module(name)")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["condense", "--help"]], ids=" ".join)
def test_help_needs_neither_fcntl_nor_resource(arguments: list[str]) -> None:
    done = without_unix(f"from datacondense.cli.main import main\nmain({arguments!r})")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: datacondense")


WITHOUT_PACKAGES = """
import sys
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"datasets", "dill", "docstring_parser", "multiprocess", "rich", "typeguard", "tyro"}:
            raise ModuleNotFoundError(f"{name} is missing", name=name)
sys.meta_path.insert(0, Refusing())

import numpy as np
from datacondense import EvaluationConfig, GradientMatchingConfig, RunConfig, condense, evaluate, load
images, labels = np.arange(8 * 64).reshape(8, 8, 8).astype("uint8"), np.arange(8) % 2
np.savez(sys.argv[1], train_images=images, train_labels=labels, test_images=images, test_labels=labels)
splits = load(sys.argv[1])
settings = {"network": "mlp", "ipc": 1, "real_batch": 2}
condensed = condense(splits.train, GradientMatchingConfig(**settings), RunConfig(iterations=1))
evaluate(condensed, splits.test, EvaluationConfig(repeats=1, epochs=1))
"""


def test_arrays_are_condensed_and_scored_without_command_line_and_hub(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_PACKAGES, str(tmp_path / "set.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
