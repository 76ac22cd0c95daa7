"""Every example in the README and the docs runs as it stands."""

import re
import shlex
from pathlib import Path
from typing import cast

import pytest

from datacondense.cli.main import COMMANDS
from datacondense.data.data_source import DataSource
from datacondense.evaluation.protocol import Score
from datacondense.studies.catalogue import find_study
from datacondense.studies.running import declared
from datacondense.tasks.task import inputs_of, settings_of

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXECUTED = re.compile(r"<!-- executed -->\n```python\n(.*?)```", re.DOTALL)
NOT_EXECUTED = re.compile(r"<!-- not executed: [^>]+ -->\n```python\n")
PYTHON = re.compile(r"```python\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page.read_text(encoding="utf-8")
    examples = EXECUTED.findall(text)
    marked = len(examples) + len(NOT_EXECUTED.findall(text))
    assert marked == len(PYTHON.findall(text)), "every Python example is marked as executed, or why not"
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for example in examples:
        exec(compile(example, str(page), "exec"), names)
    if page.name == "README.md":
        assert cast(Score, names["score"]).mean > 0.8, "random images give 0.7"


def test_the_study_in_toml_can_be_declared(tmp_path: Path) -> None:
    (block,) = re.findall(
        r"```toml\n(.*?)```", (ROOT / "docs" / "studies.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(block.splitlines()) < 20
    path = tmp_path / "real-batch.toml"
    path.write_text(block, encoding="utf-8")
    study = declared(find_study(str(path)), DataSource(name="digits"))
    settings = [settings_of(source) for task in study.tasks for source in inputs_of(task)]
    assert {each["method"]["real_batch"] for each in settings} == {16, 64, 256}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_name_real_subcommands(page: Path) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for line in re.findall(r"^datacondense .*$", "\n".join(blocks), re.MULTILINE):
        assert shlex.split(line, comments=True)[1] in COMMANDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
