"""The command's entry: parse, run one subcommand, turn errors of the user into one sentence and exit code 2."""

import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from datacondense.cli.help import print_help
from datacondense.errors import InputError
from datacondense.renamed import current_options

# A module is imported when its command is used, so that this table answers --help at once.
COMMANDS = {
    "demo": ("demo:Demo", "Condense embedded digits and compare with random images, in a minute, offline."),
    "condense": ("condense:condense_command", "Learn a few synthetic images per class."),
    "select": ("select:Select", "Select real images: random, herding, k-center, forgetting."),
    "evaluate": ("evaluate:Evaluate", "Score a set by networks that are trained on it."),
    "compare": ("compare:Compare", "Compare methods on a data set in one table."),
    "study": ("study:Study", "Run a grid of experiments and write its table."),
    "noise": ("noise:Noise", "Measure how much of the matching gradient belongs to the data."),
    "show": ("show:Show", "Plot a set as a PNG picture."),
    "export": ("export:Export", "Write a set as an image folder, parquet or npz."),
    "info": ("info:Info", "Describe a set or a run."),
}
EXIT_INPUT = 2
EXIT_INTERRUPTED = 130
_PROGRAM = "datacondense"
_HELP = {"-h", "--help"}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line."""
    # A cluster's "please stop" is treated like Ctrl-C: save, then leave.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            warnings.filterwarnings("always", category=UserWarning, module="datacondense")
            return _run(list(sys.argv[1:] if args is None else args))
    except InputError as error:
        print(f"datacondense: {error}", file=sys.stderr)
        return EXIT_INPUT
    except KeyboardInterrupt:
        print("datacondense: stopped.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (`head`, `less`) has seen enough; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(args: list[str]) -> int:
    """Answer what needs no subcommand, else run it."""
    name, *_ = args or ["--help"]
    if name in _HELP:
        print(_help())
        return 0
    if name == "--version":
        print(_version())
        return 0
    if name not in COMMANDS:
        raise InputError(f"There is no command {name!r}: choose from {', '.join(COMMANDS)}.")
    args, notes = current_options(args)
    for note in notes:
        print(f"Note: {note}", file=sys.stderr)
    # The options of one's own method may change without a file of this package.
    if _HELP & set(args) and not any(":" in argument for argument in args):
        print_help(args, lambda: parsed(args))
        return 0
    return parsed(args)()


def _help() -> str:
    """Return what `--help` prints."""
    width = max(map(len, COMMANDS))
    lines = (f"  {name:{width}}  {summary}" for name, (_, summary) in COMMANDS.items())
    return "\n".join([
        f"usage: {_PROGRAM} [-h] [--version] COMMAND ...",
        "",
        "Shrink a labelled image data set to a few synthetic images per class.",
        "",
        "commands:",
        *lines,
        "",
        f"`{_PROGRAM} COMMAND --help` lists the options of a command.",
    ])


def _version() -> str:
    """Return the installed version."""
    try:
        return version(_PROGRAM)
    except PackageNotFoundError:
        return "unknown"


def parsed(args: list[str]) -> Callable[[], int]:
    """Turn arguments into a subcommand; a value that its settings refuse gets their own sentence."""
    name, *options = args
    import tyro  # noqa: PLC0415 — a third of a second that the table above does not need

    module, _, attribute = COMMANDS[name][0].partition(":")
    found: Any = getattr(import_module(f"datacondense.cli.{module}"), attribute)
    kind = found if isinstance(found, type) else found(options)  # options may depend on the arguments
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            command: Callable[[], int] = tyro.cli(
                kind,
                args=options,
                prog=f"{_PROGRAM} {name}",
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
            )
            return command
    except SystemExit as stop:
        # tyro reports any ValueError in a box of its own; ours is somewhere below its exit.
        error: BaseException | None = stop
        while error is not None:
            if isinstance(error, InputError):
                raise error from None
            error = error.__cause__ or error.__context__
        print(complaint.getvalue(), file=sys.stderr, end="")
        raise


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as a sentence, without the place in the code that a user does not know."""
    print(f"Note: {message}", file=sys.stderr)
