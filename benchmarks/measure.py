"""The harness of the benchmarks: options, fresh processes and records.

Every point is measured in a process of its own, in the default environment, so that no variant profits from what
another left behind (memory, compiled code, warm pages). A record is written after every point and continued where it
stopped. This module does not import torch.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from datacondense.files import write_text
from datacondense.renamed import current_names, current_options

RESULTS = Path(__file__).parent / "results"
VARIANTS = ("plain", "datacondense")
# What earlier records call things, in names that are not settings and in the facts that pages print.
_FORMER = {
    '"cells": ': '"tasks": ', '"cell_hours": ': '"task_hours": ', '"choices": ': '"searches": ',
    '"chosen": ': '"selected": ', '"same_choice": ': '"same_selection": ', '"plain_draws": ': '"plain_iterations": ',
    "--plain-draws": "--plain-iterations", "join-classes": "class-collective", "equal draws": "equal iterations",
    "classes joined, images averaged": "class-collective, iterate averaging", "outer draws": "iterations",
    ".draws=": ".iterations=", " draws": " iterations", "of each arm": "of each variant",
    " of each class": " per class", "each arm's own": "each variant's own",
}  # fmt: skip
# Settings of the allocator and of the thread pools; users of such programs rarely have any.
_TUNING = ("MALLOC_", "GLIBC_TUNABLES", "THP_MEM_ALLOC_ENABLE", "LD_PRELOAD", "OMP_", "KMP_", "MKL_")

Row = dict[str, Any]
Point = dict[str, Any]
Options = argparse.Namespace


def header(threads: int) -> Row:
    """Return the command, date, hardware and versions of a record."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = sorted({line.split(":")[1].strip() for line in lines if "model name" in line})
    processor = ", ".join(names) or platform.processor()
    return {
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": {"processor": processor, "cores": os.cpu_count(), "threads": threads},
        "versions": {"torch": version("torch"), "python": platform.python_version()},
    }


def code_version(folder: Path = RESULTS.parent) -> str:
    """Return the commit of the measured code."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def peak_megabytes() -> float:
    """Return the peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seconds_of(call: Callable[[], object]) -> float:
    """Time one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def timed(call: Callable[[], object], repeats: int) -> Row:
    """Time calls after a warm-up, which is reported apart because it may compile."""
    return timing([seconds_of(call) for _ in range(1 + repeats)])


def timing(seconds: Sequence[float]) -> Row:
    """Return the row of some times, of which the first is the warm-up, and the peak memory."""
    warm_up, *each = seconds
    times = {"seconds": median(each), "seconds_each": each, "seconds_warm_up": warm_up}
    return {**times, "megabytes_peak": peak_megabytes()}


def empty_caches(folder: str) -> dict[str, str]:
    """Return variables that move the caches of compiled code to another folder; downloaded data stay."""
    usual = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    data = os.environ.get("HF_HOME", str(usual / "huggingface"))
    return {"XDG_CACHE_HOME": folder, "TORCHINDUCTOR_CACHE_DIR": folder, "HF_HOME": data}


def run_child(script: str | Path, *arguments: str, **variables: str) -> Row:
    """Run a script in a fresh process and read the JSON on its last line."""
    default = {name: value for name, value in os.environ.items() if not name.startswith(_TUNING)}
    command = [sys.executable, str(script), *arguments]
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=default | variables)
    row: Row = json.loads(finished.stdout.splitlines()[-1])
    return row


def read_record(path: Path) -> Row:
    """Read a record; those of earlier releases come with today's names and options."""
    text = path.read_text(encoding="utf-8")
    for former, current in _FORMER.items():
        text = text.replace(former, current)
    arguments, _ = current_options(text.split(" "))
    record: Row = current_names(json.loads(" ".join(arguments)))
    return record


class Record:
    """A result file, written after every row and continued where it stopped."""

    def __init__(self, path: Path, settings: Row, threads: int | None) -> None:
        self._path = path
        settings = json.loads(json.dumps(settings, default=str))
        if path.exists():
            self.content = read_record(path)
            if self.content.get("settings") != settings:
                sys.exit(f"{path} holds a measurement with other settings; remove it or give another --out.")
        else:
            arguments = () if threads is None else ("--threads", str(threads))
            machine = run_child(Path(__file__).with_name("ceilings.py"), *arguments)
            self.content = {**header(machine.pop("threads")), "commits": [], "settings": settings, "rows": []}
            self.content["versions"]["datacondense"] = machine["environment"].get("datacondense")
            self.content |= machine
        self.rows: list[Row] = self.content["rows"]
        self.content["commits"] = list(dict.fromkeys([*self.content["commits"], code_version()]))

    def add(self, point: Point, measure: Callable[[], Row]) -> None:
        """Measure a point unless the record has it."""
        if any(point.items() <= row.items() for row in self.rows):
            return
        self.rows.append({**point, "load_before": os.getloadavg()[0], **measure()})
        print(self.rows[-1], flush=True)
        write_text(self._path, json.dumps(self.content, indent=1) + "\n")


def parse_options(**defaults: Any) -> Options:
    """Read the options of a script, given their defaults; a type in place of a value means that there is none."""
    doc = sys.modules["__main__"].__doc__
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    for name, value in defaults.items():
        flag, several = f"--{name.replace('_', '-')}", isinstance(value, list)
        example = value[0] if several else value
        kind = example if isinstance(example, type) else type(example)
        if kind is bool:
            parser.add_argument(flag, action="store_true")
            continue
        default = value if example is not kind else [] if several else None
        # A shape such as 3x32x32.
        read = (lambda text: tuple(map(int, text.split("x")))) if kind is tuple else kind
        parser.add_argument(flag, type=read, nargs="*" if several else None, default=default)
    return parser.parse_args()


def grid(**axes: Iterable[Any]) -> list[Point]:
    """Return every combination, the last axis fastest."""
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def pairs(options: Options, **axes: Iterable[Any]) -> list[Point]:
    """Return the points A B A B … of a paired measurement, for each combination of other axes."""
    return grid(**axes, pair=range(options.pairs), variant=VARIANTS)


def of_seeds(options: Options, **axes: Iterable[Any]) -> list[Point]:
    """Return a point for each seed, and each combination of other axes."""
    return grid(seed=options.seeds, **axes)


def benchmark(
    name: str | Callable[[Options], str],
    measure: Callable[[Options, Point], Row],
    *,
    points: Callable[[Options], Iterable[Point]] = pairs,
    lengths: Sequence[str] = ("pairs",),
    cache: Callable[[Options, Point], str | None] = lambda _, __: None,
    **defaults: Any,
) -> None:
    """Measure every missing point in a process of its own, or be such a process.

    `lengths` names the options that only set which points there are: a record may be continued with other values of
    them. `cache` names the cache of compiled code that a point uses, empty at first; None is the user's own.
    """
    options = parse_options(out=Path, threads=int, **defaults)
    if options.child is not None:
        import torch  # noqa: PLC0415 — who only reads records need not load it

        if options.threads is not None:
            torch.set_num_threads(options.threads)
        print(json.dumps(measure(options, options.child)))
        return
    path = options.out or RESULTS / f"{name if isinstance(name, str) else name(options)}.json"
    apart = {"out", "child", *lengths}
    settings = {key: value for key, value in vars(options).items() if key not in apart}
    record = Record(path, settings, options.threads)
    with tempfile.TemporaryDirectory() as folder:
        for point in points(options):
            used = cache(options, point)
            variables = {} if used is None else empty_caches(f"{folder}/{used}")
            arguments = (*sys.argv[1:], "--child", json.dumps(point))
            record.add(point, partial(run_child, sys.argv[0], *arguments, **variables))
