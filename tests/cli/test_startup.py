"""Help comes at once: the libraries that take a second to load are left alone until a subcommand runs."""

import subprocess
import sys

import pytest

from datacondense.cli.main import COMMANDS

SLOW = {"torch", "datasets", "pyarrow", "sklearn", "PIL"}


def loaded(*arguments: str) -> tuple[str, set[str]]:
    """Run a fresh interpreter; give what it printed and the top-level packages that it loaded."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    modules = (line.rpartition("|")[2].strip() for line in done.stderr.splitlines())
    return done.stdout, {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize("subcommand", [[], *([name] for name in COMMANDS)], ids=" ".join)
def test_help_loads_nothing_slow(subcommand: list[str]) -> None:
    said, packages = loaded("-m", "datacondense", *subcommand, "--help")
    assert said.startswith(" ".join(["usage: datacondense", *subcommand]))
    assert "tyro" in packages
    assert not SLOW & packages


def test_configs_are_made_and_checked_without_torch() -> None:
    names = ("GradientMatchingConfig", "RunConfig", "EvaluationConfig", "DataConfig", "InputError")
    code = f"from datacondense import {', '.join(names)}\n"
    code += "GradientMatchingConfig(ipc=10).resolved(), RunConfig(), EvaluationConfig(), DataConfig()\n"
    code += "try: EvaluationConfig(augmentation='shear')\nexcept InputError as error: print(error)"
    said, packages = loaded("-c", code)
    assert said.startswith("Augmentation strategy 'shear' is unknown")
    assert not SLOW & packages
