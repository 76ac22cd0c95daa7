"""The command's entry: parse, run one subcommand, turn errors of the user into one sentence and exit code 2."""

# ruff: noqa: PLC0415 — what takes time is imported once Ctrl-C is prepared for, and --help needs little of it.

import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr
from types import FrameType
from typing import Any

from datacondense import __version__
from datacondense.errors import InputError, escaped, shown

# A module is imported when its command is used, so that this table answers --help at once.
COMMANDS = {
    "demo": ("demo:Demo", "Condense embedded digits and compare with random images, in a minute, offline."),
    "condense": ("condense:condense_command", "Learn a few synthetic images per class."),
    "select": ("select:Select", "Select real images: random, herding, k-center, forgetting."),
    "evaluate": ("evaluate:evaluate_command", "Score a set by networks that are trained on it."),
    "compare": ("compare:Compare", "Compare methods on a data set in one table."),
    "study": ("study:Study", "Run a grid of experiments and write its table."),
    "continual": ("continual:Continual", "Compare memories in continual learning."),
    "noise": ("noise:Noise", "Measure how much of the matching gradient belongs to the data."),
    "search": ("search:Search", "Compare architectures on small sets, and judge how these rank them."),
    "import": ("import_:Import", "Read a condensed set that others published."),
    "show": ("show:Show", "Plot a set as a picture."),
    "export": ("export:Export", "Write a set in a format that other programs read."),
    "publish": ("publish:Publish", "Put a set on the Hugging Face Hub, with a card."),
    "report": ("report:Report", "Write one HTML page of runs, sets and studies."),
    "info": ("info:Info", "Describe a set or a run."),
}
SHARED = ("condense", "evaluate")  # by several processes, see `processes`
EXIT_INPUT = 2
EXIT_INTERRUPTED = 130
_PROGRAM = "datacondense"
_HELP = {"-h", "--help"}
_STOPPED = f"{_PROGRAM}: stopped.\n"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST = 4000  # letters of what tyro says of wrong options


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line."""
    with _stopping_at_once():
        from datacondense.cli.streams import prepare_streams

        prepare_streams()
        stop = _Stop()
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                warnings.filterwarnings("always", category=UserWarning, module="datacondense")
                given = list(sys.argv[1:] if args is None else args)
                return _run_as_rank(given, stop) if _is_rank(given) else _run(given, stop)
        except (InputError, KeyboardInterrupt) as error:
            if stop.came or isinstance(error, KeyboardInterrupt):
                print(_STOPPED, file=sys.stderr, end="")
                return EXIT_INTERRUPTED
            print(f"{_PROGRAM}: {error}", file=sys.stderr)
            return EXIT_INPUT
        except BrokenPipeError:
            # The reader (`head`, `less`) has seen enough; Python would complain once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


@contextmanager
def _stopping_at_once() -> Iterator[None]:
    """Leave at Ctrl-C or a cluster's "please stop" without further ado; afterwards what was before."""
    # While modules are imported nothing can be lost, and an exception could come up in code that is not ours.
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    _on_signals(_leave)
    try:
        yield
    finally:
        for each, handler in before.items():
            if handler is not None:  # None stands for one that was not set from Python
                signal.signal(each, handler)


def _on_signals(handler: Callable[[int, FrameType | None], Any]) -> None:
    """Handle Ctrl-C and SIGTERM alike; a Ctrl-C that the shell ignores for a job in its background stays ignored."""
    signal.signal(signal.SIGTERM, handler)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def _leave(signum: int, frame: FrameType | None) -> None:
    """Stop in the midst of imports."""
    if not _is_rank(sys.argv[1:]) or os.environ["RANK"] == "0":
        os.write(2, _STOPPED.encode())
    os._exit(EXIT_INTERRUPTED)


class _Stop:
    """Raises KeyboardInterrupt at a signal, and remembers it: foreign code may make another error of it."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.came = True
        raise KeyboardInterrupt


def _is_rank(args: Sequence[str]) -> bool:
    """Whether torchrun or `--processes` started this process as one of several that share a command."""
    several = os.environ.get("WORLD_SIZE", "1") != "1" and "RANK" in os.environ
    return several and next(iter(args), "") in SHARED


def _run_as_rank(args: list[str], stop: _Stop) -> int:
    """Run a command together with the other processes."""
    from datacondense.cli.processes import run_as_rank
    from datacondense.ranks import LostRankError

    def run() -> int:
        try:
            return _run(args, stop)
        except (InputError, LostRankError):
            if stop.came:
                raise KeyboardInterrupt from None
            raise

    return run_as_rank(run)


def _run(args: list[str], stop: _Stop) -> int:
    """Answer what needs no subcommand, else run it."""
    name, *_ = args or ["--help"]
    if name in _HELP:
        print(_help())
        return 0
    if name == "--version":
        print(__version__)
        return 0
    if name not in COMMANDS:
        raise InputError(f"There is no command {name!r}: choose from {', '.join(COMMANDS)}.")
    from datacondense.cli.help import print_help
    from datacondense.renamed import current_options

    args, notes = current_options(args)
    for note in notes:
        print(f"Note: {note}", file=sys.stderr)
    # The options of one's own method may change without a file of this package.
    if _HELP & set(args) and not any(":" in argument for argument in args):
        print_help(args, lambda: parsed(args))
        return 0
    command = parsed(args)
    _on_signals(stop)  # from now on: save, then leave
    if name in SHARED:
        from datacondense.cli.processes import number_to_start, start_all

        if number := number_to_start(command):
            return start_all(args, number)
    with ExitStack() as stack:
        if getattr(getattr(command, "machine", command), "deterministic", False):
            from datacondense.networks.torch_state import deterministic

            stack.enter_context(deterministic())  # before anything starts the GPU
        if getattr(getattr(command, "data", command), "cache", False):
            from datacondense.cli.decoding import decoding_shown

            stack.enter_context(decoding_shown(command))
        return command()


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


def parsed(args: list[str]) -> Callable[[], int]:
    """Turn arguments into a subcommand; a value that its settings refuse gets their own sentence."""
    name, *options = args
    import io
    from importlib import import_module

    import tyro

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
        # In which a wrong argument is repeated, whatever it holds and however long it is.
        text = escaped(_COLOURS.sub("", complaint.getvalue()))
        print(
            text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}",
            file=sys.stderr,
            end="",
        )
        raise


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as a sentence, without the place in the code that a user does not know."""
    print(f"Note: {shown(str(message))}", file=sys.stderr)
