"""The command's entry: parse, run one subcommand, turn errors of the user into one sentence and exit code 2."""

import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, TypeAlias

import tyro

from datacondense.cli.condense import Condense
from datacondense.cli.demo import Demo
from datacondense.cli.evaluate import Evaluate
from datacondense.cli.export import Export
from datacondense.cli.info import Info
from datacondense.cli.show import Show
from datacondense.errors import InputError

Command: TypeAlias = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Condense, tyro.conf.subcommand("condense")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Info, tyro.conf.subcommand("info")]
)

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
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            command = tyro.cli(
                Command,  # type: ignore[arg-type]
                args=args,
                prog="datacondense",
                description="Shrink a labelled image data set to a few synthetic images per class.",
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
            )
            return command()
    except InputError as error:
        print(f"datacondense: {error}", file=sys.stderr)
        return EXIT_INPUT
    except KeyboardInterrupt:
        print("datacondense: stopped.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as a sentence, without the place in the code that a user does not know."""
    print(f"Note: {message}", file=sys.stderr)
