"""The command's entry: parse, run one subcommand, turn errors of the user into one sentence and exit code 2."""

import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from typing import Any

import tyro

from datacondense.cli.compare import Compare
from datacondense.cli.condense import condense_command
from datacondense.cli.demo import Demo
from datacondense.cli.evaluate import Evaluate
from datacondense.cli.export import Export
from datacondense.cli.info import Info
from datacondense.cli.noise import Noise
from datacondense.cli.select import Select
from datacondense.cli.show import Show
from datacondense.cli.study import Study
from datacondense.errors import InputError
from datacondense.renamed import current_options

_CONDENSE = "condense"  # its options depend on the method

COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": Demo,
    _CONDENSE: condense_command(()),
    "select": Select,
    "evaluate": Evaluate,
    "compare": Compare,
    "study": Study,
    "noise": Noise,
    "show": Show,
    "export": Export,
    "info": Info,
}
EXIT_INPUT = 2
EXIT_INTERRUPTED = 130


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: Arguments after the program's name; those of the process where None.

    Returns:
        The exit code: 0; 2 after wrong input; 130 after Ctrl-C.
    """
    # A cluster's "please stop" is treated like Ctrl-C: save, then leave.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            warnings.filterwarnings("always", category=UserWarning, module="datacondense")
            return _parsed(args)()
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


def _parsed(args: Sequence[str] | None) -> Callable[[], int]:
    """Turn arguments into a subcommand; a value that a config refuses gets the config's own sentence."""
    given, notes = current_options(list(sys.argv[1:] if args is None else args))
    for note in notes:
        print(f"Note: {note}", file=sys.stderr)
    commands = {**COMMANDS, _CONDENSE: condense_command(given)} if _CONDENSE in given[:1] else COMMANDS
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            command: Callable[[], int] = tyro.extras.subcommand_cli_from_dict(
                commands,
                args=given,
                prog="datacondense",
                description="Shrink a labelled image data set to a few synthetic images per class.",
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
