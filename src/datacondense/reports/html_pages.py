"""Result pages in Markdown as parts of an HTML report, with their plots inside."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

from datacondense.files import reading
from datacondense.reports.html_pictures import file_uri


def pages_in(folder: Path) -> list[Path]:
    """Return the result pages in a folder: those with a table beside them."""
    return [path for path in sorted(folder.glob("*.md")) if path.with_suffix(".csv").exists()]


def page_html(path: Path, most: int) -> tuple[str, Markup]:
    """Return the title of a page and the rest as HTML.

    HTML in the page is shown as text, and pictures are those of its own folder.

    Args:
        path: The page.
        most: Bytes of each picture.

    Returns:
        The title, as plain text, and the rest.
    """
    with reading(path, "a page in Markdown", "give a page that a command of datacondense wrote"):
        text = path.read_text(encoding="utf-8")
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    for rule in (image, link_open, table_open, table_close):
        reader.add_render_rule(rule.__name__, rule)
    tokens = reader.parse(text)
    title = path.stem
    if len(tokens) > 2 and tokens[0].tag == "h1":
        title = "".join(token.content for token in tokens[1].children or ())
        tokens = tokens[3:]
    env = {"folder": path.parent, "most": most}
    return title, Markup(reader.renderer.render(tokens, reader.options, env))


def image(_: RendererHTML, tokens: Sequence[Token], index: int, __: Any, env: Mapping[str, Any]) -> str:
    """Return a picture with its content inside; its text alone where it is none of the page's folder."""
    name, caption = unquote(str(tokens[index].attrs.get("src", ""))), escape(tokens[index].content)
    path = Path(env["folder"], name)
    # Neither a path that leads elsewhere, nor a link, nor a pipe.
    try:
        is_near = path.resolve() == Path(env["folder"]).resolve() / path.name and path.is_file()
    except (OSError, ValueError):  # no file can have the name
        is_near = False
    source = file_uri(path, env["most"]) if is_near else None
    return f'<img src="{source}" alt="{caption}">' if source else f"[{caption}]"


def link_open(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Mapping[str, Any]
) -> str:
    """Open a link; one to another file leads nowhere from the report."""
    if urlsplit(str(tokens[index].attrs.get("href", ""))).scheme not in {"http", "https"}:
        tokens[index].attrs.pop("href", None)
    return renderer.renderToken(tokens, index, options, env)  # type: ignore[arg-type]


def table_open(*_: Any) -> str:
    """Open a table in a box of its own, in which a wide one scrolls."""
    return '<div class="box" tabindex="0"><table>\n'


def table_close(*_: Any) -> str:
    """Close table and box."""
    return "</table></div>\n"
