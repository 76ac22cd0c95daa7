"""Pages of the site that lie elsewhere: the README, notebooks, docstrings of the public names, records.

    .venv/bin/mkdocs build --strict

The README is the front page, and its table of pages is the order of the site's; a page that it lacks comes last.
"""

import ast
import json
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
LINK = re.compile(r"\]\(\.\./([\w./-]+\.(?:json|py))\)")  # to a file that is no page
PROJECT = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and put all in order."""
    pages = {
        "index.md": read("README.md"),
        **{f"notebooks/{path.stem}.md": notebook(path) for path in notebooks()},
        **{f"api/{area}.md": api_page(area, names) for area, names in public_names().items()},
        **{page: read(name) for name, page in PROJECT.items()},
        "records.md": records_page(),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=rewritten(text, name)))
    own = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
    linked = {name for text in own.values() for name in LINK.findall(text)}
    for name in sorted({name for name in linked if (ROOT / name).is_file()} | set(records())):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    config.nav = navigation(list(own), list(pages))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Return a page without comments, which would end a table or a paragraph, and with the links of the site."""
    linked = LINK.sub(r"](\1)", markdown.replace("](../benchmarks/results)", "](records.md)"))
    return COMMENT.sub("\n", linked)


def read(name: str) -> str:
    """Return a file of the repository's root."""
    return (ROOT / name).read_text(encoding="utf-8")


def rewritten(text: str, page: str) -> str:
    """Return the text of a file of the root with the links of a page of the site."""
    if "/" in page:
        return text
    for name, target in PROJECT.items():
        text = text.replace(f"]({name}", f"]({target}")
    return text.replace(".ipynb)", ".md)").replace("](docs/", "](")


def navigation(pages: list[str], made: list[str]) -> list[dict[str, str | list[str]]]:
    """Return the order of the pages of docs and of those that are made."""
    listed = re.findall(r"^\| \[docs/([\w-]+\.md)\]", read("README.md"), re.MULTILINE)
    return [
        {"Home": "index.md"},
        {"Notebooks": [page for page in made if page.startswith("notebooks/")]},
        {"Pages": [*listed, *(page for page in pages if page not in listed)]},
        {"Python": [page for page in made if page.startswith("api/")]},
        {"Project": [*PROJECT.values(), "records.md"]},
    ]


def notebooks() -> list[Path]:
    """Return the notebooks in the order in which they are read, which their titles' numbers give."""
    return sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def notebook(path: Path) -> str:
    """Return a notebook as Markdown; outputs are left out."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ("".join(each["source"]) for each in cells)
    kinds = (each["cell_type"] for each in cells)
    blocks = [
        text.replace(".ipynb)", ".md)") if kind == "markdown" else f"```python\n{text}\n```"
        for kind, text in zip(kinds, texts, strict=True)
    ]
    return "\n\n".join([*blocks, f"[Download the notebook]({path.name})"])


def public_names() -> dict[str, list[str]]:
    """Return the public names by the part of the package in which they are."""
    found: dict[str, list[str]] = {}
    for node in ast.parse(read("src/datacondense/__init__.pyi")).body:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            found.setdefault(node.module.partition(".")[0], []).extend(each.name for each in node.names)
    return dict(sorted(found.items()))


def api_page(area: str, names: list[str]) -> str:
    """Return a page of docstrings."""
    title = area.replace("_", " ").capitalize()
    return "\n\n".join([f"# {title}", *(f"::: datacondense.{name}" for name in sorted(names))])


def records() -> list[str]:
    """Return the records of measurements, by their paths."""
    paths = (ROOT / "benchmarks" / "results").glob("*.json")
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


def records_page() -> str:
    """Return a page of links to all records."""
    lines = [f"- [{Path(name).stem}]({name})" for name in records()]
    return "\n".join(["# Records", "", "Every measured number, with its settings and machine.", "", *lines])
