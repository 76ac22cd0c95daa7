"""Every option of every command, short runs with strange values, and outputs that are inputs or not ours."""

import io
import re
import shutil
from contextlib import redirect_stdout, suppress
from functools import partial
from math import isfinite
from pathlib import Path
from random import Random

import torch

from datacondense.cli.main import COMMANDS, main, parsed
from tests.fuzz.array_readers import write_data
from tests.fuzz.oracle import Sandbox, checking
from tests.fuzz.reader import TRAIN, Attempt, Call, Reader
from tests.fuzz.strange import NUMBERS, TEXTS

# Valid arguments of every command, to which strange ones are added.
_ARGUMENTS = {
    "demo": [],
    "condense": ["given.npz", "--out", "out"],
    "select": ["given.npz", "--out", "o.safetensors", "--method", "random", "--ipc", "1"],
    "evaluate": ["given.safetensors", "--on", "given.npz"],
    "compare": ["given.npz", "--out", "out"],
    "study": ["ipc", "given.npz", "--out", "out"],
    "noise": ["given.npz", "--out", "out"],
    "continual": ["given.npz", "--stages", "2", "--out", "out"],
    "search": ["given.npz", "--out", "out"],
    "import": ["given.npz", "--on", "given.npz"],
    "show": ["given.safetensors", "--out", "o.png"],
    "export": ["given.safetensors", "--out", "out", "--format", "npz"],
    "publish": ["given.safetensors", "owner/name", "--to", "out"],
    "report": ["given.safetensors", "--out", "r.html"],
    "info": ["given.safetensors"],
}
_METHODS = (
    "gradient-matching",
    "siamese-matching",
    "distribution-matching",
    "parameter-matching",
    "dataset-distillation",
)


def _options(arguments: list[str]) -> list[str]:
    """Return the options that the help of a command lists."""
    said = io.StringIO()
    with redirect_stdout(said), suppress(SystemExit):
        parsed([*arguments, "--help"])
    return sorted(set(re.findall(r"--[a-z][a-z-]+", said.getvalue())) - {"--help"})


def _flags(_: Path) -> Attempt:
    known = {name: (name, _options([name])) for name in COMMANDS}
    known |= {method: ("condense", _options(["condense", "--method", method])) for method in _METHODS}

    def attempt(rng: Random, __: Sandbox) -> Call:
        kind = rng.choice(list(known))
        name, options = known[kind]
        words = [name, *_ARGUMENTS[name], *(["--method", kind] if kind in _METHODS else [])]
        for _ in range(rng.choice((1, 1, 2))):
            words += [rng.choice(options or ["--x"])] if rng.random() < 0.95 else []
            words += [_word(rng) for _ in range(rng.choice((0, 1, 1, 1, 1, 2)))]
        if rng.random() < 0.05:
            words = words[: rng.randrange(1, len(words) + 1)]
        return partial(_parse, words)

    return attempt


def _word(rng: Random) -> str:
    value = rng.choice((rng.choice(NUMBERS), rng.choice(TEXTS)))
    return str(value)


def _parse(words: list[str]) -> None:
    """Parse as the command does; what the machine is told is tried, nothing else runs."""
    command = parsed(words)
    machine = getattr(command, "machine", None)
    try:
        if machine is not None:
            machine.prepare()
    finally:
        torch.set_num_threads(1)
    config = getattr(command, "config", None)
    with checking("finite"):
        lr = getattr(config, "lr", 1.0)
        assert isfinite(torch.tensor(lr, dtype=torch.float32).item()), f"the learning rate {lr} was accepted"


def _outputs(home: Path) -> Attempt:
    """Make the reader of outputs that are inputs, or not ours."""
    TRAIN.save(home / "set.safetensors")

    def attempt(rng: Random, sandbox: Sandbox) -> Call:
        shutil.copy(home / "set.safetensors", "given.safetensors")
        write_data(Path("given.npz"))
        Path("mine").mkdir()
        Path("mine", "thesis.txt").write_text("mine")
        Path("link").symlink_to(sandbox.root)
        Path("photo.png").write_bytes(b"mine")
        before = _others()
        out = rng.choice((
            "given.safetensors",
            "given.npz",
            "mine",
            "link",
            "..",
            ".",
            "photo.png",
            "mine/x",
            "/dev/null",
            "link/private.png",
            "new",
        ))
        words = rng.choice((
            ["show", "given.safetensors", "--out", out],
            ["export", "given.safetensors", "--format", "npz", "--out", out, *rng.choice(([], ["--force"]))],
            ["select", "given.npz", "--method", "random", "--ipc", "1", "--out", out],
        ))
        return partial(_write, words, before)

    return attempt


def _others() -> dict[str, bytes]:
    """Return the files that no command may change."""
    return {
        str(path): path.read_bytes()
        for path in (Path("photo.png"), Path("given.safetensors"), Path("given.npz"), *Path("mine").iterdir())
        if path.is_file()
    }


def _write(words: list[str], before: dict[str, bytes]) -> None:
    main(words)
    after = {name: Path(name).read_bytes() if Path(name).is_file() else b"" for name in before}
    with checking("destroyed"):
        lost = [name for name, data in before.items() if after[name] != data]
        assert not lost, f"{' '.join(words)} destroyed {', '.join(lost)}"


# An option may name code, which is then imported.
_WORDS = tuple(text for text in TEXTS if ":" not in text)

# Options of short runs, each with values beside the strange numbers.
_RUNS = {
    "condense": {
        "--time-limit": ("0.000001s", "0.01s"), "--network": _WORDS, "--distance": _WORDS, "--transform": _WORDS,
        "--siamese": _WORDS, "--image-column": _WORDS, "--threads": (), "--graph-memory": (), "--ipc": (),
        "--image-lr": (), "--real-batch": (), "--network-lr": (), "--resize": (), "--channels": (), "--seed": (),
        "--validation-fraction": (), "--validate-every": (), "--checkpoint-every": (), "--network-momentum": (),
    },
    "evaluate": {
        "--network": _WORDS, "--augmentation": _WORDS, "--precision": _WORDS, "--engine": _WORDS, "--device": _WORDS,
        "--lr": (), "--batch-size": (), "--weight-decay": (), "--momentum": (), "--seed": (), "--threads": (),
    },
    "select": {
        "--features": _WORDS, "--cache": ("given.npz", "", "cache", "x" * 300),
        "--ipc": (), "--threads": (), "--seed": (), "--resize": (),
    },
}  # fmt: skip
_LONG = {"--ipc": {255, 256, 65535}}  # which are so much work as they say, and no hang
_SHORT = {
    "condense": [
        "--iterations",
        "1",
        "--budget",
        "published",
        "--network",
        "convnet-w4-d1",
        "--engine",
        "eager",
        "--quiet",
    ],
    "evaluate": ["--repeats", "1", "--epochs", "1", "--engine", "eager", "--quiet"],
    "select": ["--quiet"],
}


def _runs(home: Path) -> Attempt:
    """Make the reader of options that shows only in a run what they do."""
    TRAIN.save(home / "set.safetensors")
    write_data(home / "data.npz")

    def attempt(rng: Random, _: Sandbox) -> Call:
        shutil.copy(home / "set.safetensors", "given.safetensors")
        shutil.copy(home / "data.npz", "given.npz")
        name = rng.choice(list(_RUNS))
        option, values = rng.choice(list(_RUNS[name].items()))
        numbers = [number for number in NUMBERS if number not in _LONG.get(option, ())]
        value = rng.choice(values) if values and rng.random() < 0.8 else str(rng.choice(numbers))
        return partial(_run, [name, *_ARGUMENTS[name], *_SHORT[name], f"{option}={value}"])

    return attempt


def _run(words: list[str]) -> None:
    try:
        main(words)
    finally:
        torch.set_num_threads(1)


READERS = (Reader("flags", 5, _flags), Reader("runs", 1.5, _runs), Reader("outputs", 2, _outputs))
