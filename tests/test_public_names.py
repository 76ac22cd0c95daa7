"""The public surface is small, listed and sorted."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import datacondense

DOCUMENTED_BEFORE = """
    DataConfig DataSplits DatasetDistillationConfig DistributionMatchingConfig EvaluationConfig ExportReport
    ForgettingCounts GradientMatchingConfig ImageSet InputError Network ParameterMatchingConfig Progress RunConfig Score
    SiameseMatchingConfig build_network condense draw_grid evaluate export from_arrays from_torch_dataset hold_out load
    load_export published_schedule select_forgetting select_herding select_k_center select_random
"""


def test_public_names_are_sorted_and_exist() -> None:
    assert datacondense.__all__ == sorted(datacondense.__all__)
    assert all(hasattr(datacondense, name) for name in datacondense.__all__)


def test_names_that_were_public_stay_public() -> None:
    assert len(DOCUMENTED_BEFORE.split()) == 31
    assert set(DOCUMENTED_BEFORE.split()) <= set(datacondense.__all__)


def test_nothing_else_looks_public() -> None:
    package = Path(datacondense.__file__).parent
    modules = {path.stem for path in package.iterdir()}
    visible = {name for name in vars(datacondense) if not name.startswith("_")}
    assert visible - modules <= set(datacondense.__all__)
    assert dir(datacondense) == datacondense.__all__


def test_other_modules_list_no_public_names() -> None:
    package = Path(datacondense.__file__).parent
    listing = [path for path in package.rglob("*.py") if "__all__" in path.read_text(encoding="utf-8")]
    assert listing == [package / "__init__.py"]


def test_type_checkers_see_the_names_that_the_package_gives() -> None:
    stub = ast.parse(Path(datacondense.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    homes = {
        alias.name: f"datacondense.{node.module}"
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(homes) == datacondense.__all__
    for name, module in homes.items():
        assert getattr(datacondense, name) is getattr(import_module(module), name)
    # Importing such a submodule would put it in the name's place.
    assert not {path.stem for path in Path(datacondense.__file__).parent.iterdir()} & homes.keys()


def test_importing_the_package_loads_nothing_else() -> None:
    code = "import sys, datacondense; print([m for m in sys.modules if m.startswith(('torch', 'datacondense.'))])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
