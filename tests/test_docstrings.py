"""Docstrings are there, and whole where they must be; a tool checks what ruff cannot.

The public names, those of `datacondense.__all__` with their methods, document every parameter and result. What is
internal may do with one line, but sections that it has are right.
"""

import ast
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

import datacondense

PACKAGE = Path(datacondense.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
SECTIONS = ("Args", "Returns", "Yields", "Raises", "Attributes", "Example", "Examples", "Note", "References")
SECTION = re.compile(r"^(Args|Returns|Yields|Raises):$", re.MULTILINE)
PROPERTIES = {"property", "cached_property"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def complaints(source: str, public: Collection[str] | None = None) -> list[str]:
    """List what the docstrings of a module lack; without a list of public names all are public."""
    module = ast.parse(source)
    found = [] if ast.get_docstring(module) else ["the module has no docstring"]
    return found + list(of_body(module.body, "", public))


def of_body(body: list[ast.stmt], prefix: str, public: Collection[str] | None) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            name = prefix + node.name
            docstring = ast.get_docstring(node)
            if docstring is None:
                yield f"{name} has no docstring"
            elif isinstance(node, ast.ClassDef):
                yield from of_fields(node, name, docstring)
            elif not decorators(node) & PROPERTIES and (is_public(name, public) or SECTION.search(docstring)):
                yield from of_function(node, name, docstring, is_method=bool(prefix))
            if isinstance(node, ast.ClassDef):
                yield from of_body(node.body, f"{name}.", public)


def is_public(name: str, public: Collection[str] | None) -> bool:
    """Whether a function or method is part of what users are told of."""
    return public is None or name.partition(".")[0] in public


def of_function(node: Function, name: str, docstring: str, *, is_method: bool) -> Iterator[str]:
    documented = section(docstring, "Args")
    for parameter in parameters(node, is_method=is_method):
        if parameter not in documented:
            yield f"{name} does not document its parameter {parameter}"
    for parameter in documented - parameters(node, is_method=is_method):
        yield f"{name} documents {parameter}, which it does not take"
    if raises(node) and not re.search(r"^Raises:$", docstring, re.MULTILINE):
        yield f"{name} does not document what it raises"
    gives_nothing = node.returns is None or ast.unparse(node.returns) in {"None", "Never", "NoReturn"}
    if not gives_nothing and not re.search(r"^(Returns|Yields):$", docstring, re.MULTILINE):
        yield f"{name} does not document what it returns"


def raises(node: ast.AST) -> bool:
    """Whether a function raises an error of its own, outside of the functions in it."""
    inside = [each for each in ast.iter_child_nodes(node) if not isinstance(each, Function | ast.Lambda)]
    return any((isinstance(each, ast.Raise) and each.exc is not None) or raises(each) for each in inside)


def of_fields(node: ast.ClassDef, name: str, docstring: str) -> Iterator[str]:
    if not decorators(node) & {"dataclass"}:
        return
    documented = section(docstring, "Attributes")
    for position, statement in enumerate(node.body):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        field = statement.target.id
        is_constant = ast.unparse(statement.annotation).startswith("ClassVar")
        if field.startswith("_") or is_constant or is_text(node.body[position + 1 : position + 2]):
            continue
        if field not in documented:
            yield f"{name} does not document its field {field}"


def parameters(node: Function, *, is_method: bool) -> set[str]:
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args]
    if is_method and "staticmethod" not in decorators(node):
        named = named[1:]
    rest = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    return {argument.arg for argument in (*named, *arguments.kwonlyargs, *rest)}


def decorators(node: Function | ast.ClassDef) -> set[str]:
    calls = (entry.func if isinstance(entry, ast.Call) else entry for entry in node.decorator_list)
    return {ast.unparse(call).rpartition(".")[2] for call in calls}


def section(docstring: str, title: str) -> set[str]:
    """List the names that a section documents."""
    found = re.search(
        rf"^{title}:\n(.*?)(?=^(?:{'|'.join(SECTIONS)}):$|\Z)", docstring, re.MULTILINE | re.DOTALL
    )
    return (
        set(re.findall(r"^ {4}\*{0,2}(\w+)(?: \([^)]*\))?: \S", found[1], re.MULTILINE)) if found else set()
    )


def is_text(body: list[ast.stmt]) -> bool:
    """Whether a statement is a docstring below a field."""
    return any(
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for node in body
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_docstrings_are_whole(path: Path) -> None:
    names = path.relative_to(PACKAGE).with_suffix("").parts
    if any(name.startswith("_") and not name.startswith("__") for name in names):
        pytest.skip("a private module")
    module = ".".join(["datacondense", *names])
    public = [
        name
        for name in datacondense.__all__
        if getattr(getattr(datacondense, name), "__module__", module) == module
    ]
    found = complaints(path.read_text(encoding="utf-8"), public)
    assert not found, "\n".join(found)


def test_package_is_found() -> None:
    assert PACKAGE / "image_set.py" in MODULES


FULL = '''
"""A module."""
@dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
        size: A size.
    """

    size: int
    depth: int
    """Depth, described below."""
    _hidden: int
    limit: ClassVar[int] = 3

    @property
    def area(self) -> int:
        """The area."""

    @staticmethod
    def read(path: str) -> "Config":
        """Read.

        Args:
            path: A file.

        Returns:
            The settings.
        """

    def __len__(self): ...

def walk(step: int, *index: int, **rest: int) -> Iterator[int]:
    """Walk.

    Args:
        step: A step,
            told at length: on two lines.
        *index: Counters.
        **rest: Whatever
            else: it is.

    Yields:
        Numbers.

    Raises:
        InputError: Never.
    """

def act() -> None:
    """Act."""

def _private(x): ...
'''


def test_complete_docstrings_pass() -> None:
    assert complaints(FULL) == []


@pytest.mark.parametrize(
    ("removed", "complaint"),
    [
        ('"""A module."""', "the module has no docstring"),
        ("        size: A size.\n", "Config does not document its field size"),
        ('"""Depth, described below."""', "Config does not document its field depth"),
        ('"""The area."""', "Config.area has no docstring"),
        ("            path: A file.\n", "Config.read does not document its parameter path"),
        ("        Returns:\n            The settings.\n", "Config.read does not document what it returns"),
        ("        *index: Counters.\n", "walk does not document its parameter index"),
        ("        **rest: Whatever\n            else: it is.\n", "walk does not document its parameter rest"),
        ("    Yields:\n        Numbers.\n", "walk does not document what it returns"),
        ('"""Act."""', "act has no docstring"),
        ("step: int, ", "walk documents step, which it does not take"),
    ],
)
def test_what_is_missing_is_noticed(removed: str, complaint: str) -> None:
    assert removed in FULL
    assert complaints(FULL.replace(removed, "..." if removed.startswith('"') else "")) == [complaint]
