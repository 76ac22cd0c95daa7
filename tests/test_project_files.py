"""What a stranger's machine reads: workflows, issue templates, the citation, the site, the package's data."""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import yaml

import datacondense

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BUILTIN = {"cd", "test", "bash"}


def parsed(path: Path) -> dict[Any, Any]:
    """Return what a YAML file holds."""
    found: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    """Return the jobs of a workflow."""
    found: dict[str, dict[str, Any]] = parsed(path)["jobs"]
    return found


def complaints(commands: list[str]) -> Iterator[str]:
    """List what the commands of a job name but nobody has: programs, modules, files, extras."""
    installed = {"venv", "pip"}
    for words in map(shlex.split, commands):
        match words:
            case ["python", "-m", "pip", "install", *names]:
                installed |= {re.sub(r"\W.*", "", name) for name in names if name[0] not in "-."}
            case ["python", "-m", module, *_] if module not in installed and find_spec(module) is None:
                yield f"no module {module}"
            case [program, *_] if program not in {*BUILTIN, "python"} and "fresh/bin/" not in program:
                yield f"no program {program}"
        for word in words:
            extra = re.fullmatch(r"\.\[(\w+)\]", word)
            if extra and extra[1] not in PROJECT["project"]["optional-dependencies"]:
                yield f"no extra {extra[1]}"
            if re.fullmatch(r"constraints.*|\.ci/\w+|tests/[\w/.]+", word) and not (ROOT / word).exists():
                yield f"no file {word}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_commands_that_exist(path: Path) -> None:
    for job in jobs(path).values():
        parts = [
            each.get("part", "") for each in job.get("strategy", {}).get("matrix", {}).get("include", [])
        ]
        runs = (line for step in job["steps"] for line in step.get("run", "").splitlines())
        commands = [run.replace("${{ matrix.part }}", " ".join(parts)) for run in runs]
        assert list(complaints(commands)) == []


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("python -m nothing", "no module nothing"),
        ("nothing --strict", "no program nothing"),
        ("bash .ci/nothing", "no file .ci/nothing"),
        ("python -m pip install '.[nothing]'", "no extra nothing"),
        ("python -m pytest tests/nothing", "no file tests/nothing"),
    ],
)
def test_what_does_not_exist_is_noticed(command: str, complaint: str) -> None:
    assert list(complaints([command])) == [complaint]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_end_and_pin_actions_and_permissions(path: Path) -> None:
    assert parsed(path)["permissions"] == {"contents": "read"}
    for job in jobs(path).values():
        assert job["timeout-minutes"] <= 90
        for step in job["steps"]:
            assert re.fullmatch(r"[\w-]+/[\w-]+@(release/)?v\d+", step.get("uses", "a/b@v1"))


def test_the_three_pythons_of_the_workflows_are_supported() -> None:
    for job in jobs(ROOT / ".github" / "workflows" / "tests.yml").values():
        assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert PROJECT["project"]["requires-python"] == ">=3.11"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_issue_templates_ask_for_something(path: Path) -> None:
    form = parsed(path)
    if path.stem == "config":
        assert form == {"blank_issues_enabled": True}
        return
    assert form["name"]
    assert form["description"]
    assert len({field["id"] for field in form["body"]}) == len(form["body"])
    assert all(field["attributes"]["label"] for field in form["body"])


def test_the_citation_has_the_version() -> None:
    citation = parsed(ROOT / "CITATION.cff")
    assert citation["version"] == datacondense.__version__
    assert citation["license"] == PROJECT["project"]["license"]


def test_torch_has_no_upper_bound_in_the_package_and_is_pinned_for_the_tests() -> None:
    (torch,) = (each for each in PROJECT["project"]["dependencies"] if each.startswith("torch"))
    assert re.fullmatch(r"torch>=[\d.]+", torch)
    assert re.search(r"^torch==[\d.]+$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    installs = re.findall(r"pip install --quiet .*", readme)
    assert len(installs) == 2
    assert all("-c constraints.txt" in each for each in installs)


def site() -> Any:
    """Return the module that makes pages of the site."""
    spec = spec_from_file_location("build_site", ROOT / "docs" / "build_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_site_documents_every_public_name() -> None:
    names = [name for area in site().public_names().values() for name in area]
    assert sorted(names) == datacondense.__all__


def test_the_site_has_every_page_once_and_new_ones_last() -> None:
    pages = [path.name for path in (ROOT / "docs").glob("*.md")]
    listed = {
        title: found for part in site().navigation([*pages, "new.md"], []) for title, found in part.items()
    }
    assert listed["Pages"][0] == "condensation.md"
    assert listed["Pages"][-1] == "new.md"
    assert sorted(listed["Pages"]) == sorted([*pages, "new.md"])


def test_notebooks_become_pages() -> None:
    module = site()
    text = module.notebook(module.notebooks()[0])
    assert text.startswith("# Your first set in five minutes")
    assert "(2-own-data-and-network.md)" in text
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        ast.parse(block)


def test_links_lead_to_pages_of_the_site() -> None:
    module = site()
    text = module.rewritten("[a](docs/data.md) [b](CONTRIBUTING.md) [c](docs/notebooks/1.ipynb)", "index.md")
    assert text == "[a](data.md) [b](contributing.md) [c](notebooks/1.md)"
    page = "<!-- a comment -->\n[d](../benchmarks/results/noise.json) [e](../benchmarks/results)"
    assert module.on_page_markdown(page) == "\n[d](benchmarks/results/noise.json) [e](records.md)"
