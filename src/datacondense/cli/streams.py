"""Standard output and error in any encoding: letters that it lacks are written in plain ones, and nothing fails."""

import codecs
import sys
import unicodedata

_PLAIN = {
    **{"±": "+-", "×": "x", "·": "*", "–": "-", "—": "-", "…": "...", "≥": ">=", "≤": "<=", "→": "->", "←": "<-"},
    **{"“": '"', "”": '"', "„": '"', "\u2018": "'", "\u2019": "'", "²": "^2", "³": "^3", "ς": "s"},
    **{"η": "eta", "θ": "theta", "μ": "mu", "Σ": "Sum", "√": "sqrt", "†": "+", "‡": "++", "§": "section ", "‖": "||"},
}  # fmt: skip
_NAME = "datacondense.plain"


def prepare_streams() -> None:
    """Let standard output and error write whatever they are given."""
    codecs.register_error(_NAME, _in_plain_letters)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # which a stream of somebody's own may lack
        if reconfigure is not None:
            reconfigure(errors=_NAME)


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(letter: str) -> str:
    """Return an ASCII form of a letter: one that reads well, else its backslash escape."""
    if letter in _PLAIN:
        return _PLAIN[letter]
    name = unicodedata.name(letter, "")
    if name.startswith("BOX DRAWINGS"):
        return "+" if " AND " in name else "|" if name.endswith(("VERTICAL", "UP", "DOWN")) else "-"
    return ascii(letter)[1:-1]
