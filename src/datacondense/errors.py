"""The one error family that a user's input can cause, and how text from outside is shown.

    ValueError
    └── InputError      a value from outside breaks a rule; the message names the value, the rule and the remedy
        ├── ResumeError    (run_folder) a run cannot be resumed
        └── DivergedError  (training) training ended in numbers that are not finite

The command line catches `InputError` alone, prints its sentence and exits with code 2. Anything else that
escapes is a mistake of this library and keeps its traceback.
"""

_HEAD, _TAIL = 900, 500  # letters kept of a message that is too long: its remedy stands at the end


class InputError(ValueError):
    """A value given by the user breaks a rule; the message names the value, the rule and the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))


def escaped(text: str) -> str:
    """Return text that no terminal obeys: line breaks stay, other letters that are not printed become escapes."""
    return "".join(c if c == "\n" or c.isprintable() else ascii(c)[1:-1] for c in text)


def shown(text: str) -> str:
    """Return a message that may repeat anything: in one line, escaped, and cut in the middle where it is long."""
    line = escaped(" ".join(text.splitlines()) if len(text.splitlines()) > 1 else text)
    left_out = len(line) - _HEAD - _TAIL
    return line if left_out <= 0 else f"{line[:_HEAD]}[… {left_out} letters …]{line[-_TAIL:]}"
