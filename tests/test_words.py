"""The field's words, and no dialect of our own: in identifiers, options, messages, docstrings, pages and tests.

The table of words is in CONTRIBUTING.md. Each exception below says why the word stands there.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = [path for folder in ("src", "tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# What no identifier is made of: words of the private dialect that this library had.
IDENTIFIERS = {
    *(
        "cell",
        "cells",
        "wave",
        "waves",
        "arm",
        "arms",
        "chosen",
        "asked",
        "tuned",
        "untuned",
        "recipe",
        "recipes",
    ),
    *("draws", "computation", "computations"),
}
# What no text says, but for the exceptions.
TEXTS = [
    r"\bcells?\b",
    r"\bwaves?\b",
    r"\barms?\b",
    r"\buntuned\b",
    r"\brecipes?\b",
    r"\bouter draws?\b",
    r"\bdraws? of a run\b",
    r"\bonce differentiable\b",
    r"\bclasses joined\b",
    r"\bimages averaged\b",
    r"\bwhole (data )?set\b",
]
# "file" or "file:word": why.
EXCEPTIONS = {
    "src/datacondense/tasks/store.py:cell": "file name of earlier outputs",
    "src/datacondense/studies/running.py:cells": "folder name of earlier outputs",
    "src/datacondense/studies/noise.py:cells": "folder name of earlier outputs",
    "src/datacondense/renamed.py": "holds the former names",
    "tests/test_words.py": "holds the words",
    "tests/mutations.py": "quotes source",
    "benchmarks/measure.py": "holds the former phrases of records",
    "docs/studies.md:cells": "folder name of outputs",
}


def words(identifier: str) -> set[str]:
    """Split an identifier at underscores and capitals."""
    return {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)}


def identifiers(source: str) -> Iterator[tuple[int, str]]:
    """List identifiers with their lines."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string


def texts(source: str) -> Iterator[tuple[int, str]]:
    """List comments and strings that read as text, with their lines."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def is_exception(path: Path, word: str) -> bool:
    """Whether a word may stand in a file."""
    name = path.relative_to(ROOT).as_posix()
    return name in EXCEPTIONS or f"{name}:{word}" in EXCEPTIONS


def name_of(path: Path) -> str:
    """Name a file in a test's id."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_identifiers_are_of_the_fields_words(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    found = [
        f"line {line}: {identifier}"
        for line, identifier in identifiers(source)
        if any(not is_exception(path, word) for word in words(identifier) & IDENTIFIERS)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", [path for path in CODE if "tests" not in path.parts], ids=name_of)
def test_texts_in_code_are_of_the_fields_words(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    found = [
        f"line {line}: …{match[0]}… in {text.strip()[:100]!r}"
        for line, text in texts(source)
        for match in re.finditer("|".join(TEXTS), text)
        if not is_exception(path, match[0])
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_pages_are_of_the_fields_words(path: Path) -> None:
    found = [
        f"line {number}: {match[0]}"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for match in re.finditer("|".join(TEXTS), line)
        if not is_exception(path, match[0])
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("identifier", "found"),
    [("CondenseCell", {"cell"}), ("whole_draws", {"draws"}), ("charm", set()), ("ARMS", {"arms"})],
)
def test_words_are_noticed_in_identifiers(identifier: str, found: set[str]) -> None:
    assert words(identifier) & IDENTIFIERS == found


OPENING = re.compile(r"(Give|Gives|Tell|Tells|Say|Says)\b")


@pytest.mark.parametrize("path", [path for path in CODE if "src" in path.parts], ids=name_of)
def test_docstrings_open_as_google_style_does(path: Path) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [
        f"{node.name}: {docstring.splitlines()[0]}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, functions)
        and (docstring := ast.get_docstring(node)) is not None
        and OPENING.match(docstring)
    ]
    assert not found, "\n".join(found)
