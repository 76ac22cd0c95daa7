"""The harness of the benchmarks: options, fresh processes and records.

Every point is measured in a process of its own, so that no variant profits from what another left behind (memory,
compiled code, warm pages). A record is written after every point and continued where it stopped.
"""

import argparse
import json
import os
import platform
import re
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

from datacondense.allocator import keep_freed_memory
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
    "benchmarks/image_content.py": "benchmarks/studies.py images",
}  # fmt: skip
# Settings of the allocator and of the thread pools; users of such programs rarely have any.
_TUNING = ("MALLOC_", "GLIBC_TUNABLES", "THP_MEM_ALLOC_ENABLE", "LD_PRELOAD", "OMP_", "KMP_", "MKL_")

Row = dict[str, Any]
Point = dict[str, Any]
Options = argparse.Namespace
Measure = Callable[[Options, Point], Row]


def header(threads: int) -> Row:
    """Return the command, date, hardware and versions of a record."""
    cpuinfo = Path("/proc/cpuinfo")
    names = set(re.findall("model name.*: (.*)", cpuinfo.read_text())) if cpuinfo.exists() else ()
    processor = ", ".join(sorted(names)) or platform.processor()
    return {
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": {"processor": processor, "cores": os.cpu_count(), "threads": threads},
        "versions": {"torch": version("torch"), "python": platform.python_version()},
    }


def code_version(folder: Path = RESULTS.parent) -> str:
    """Return the commit of the measured code."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def peak_megabytes() -> float:
    """Return the peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seconds_of(call: Callable[[], object]) -> float:
    """Time one call, and the work on a GPU that it leaves behind."""
    began = time.perf_counter()
    call()
    torch = sys.modules.get("torch")  # who only reads records need not load it
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def timed(call: Callable[[], object], repeats: int, clock: Callable[[Any], float] = seconds_of) -> Row:
    """Time calls after a warm-up, which is reported apart because it may compile, and the peak memory."""
    warm_up, *each = (clock(call) for _ in range(1 + repeats))
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
    record: Row = current_names(json.loads(" ".join(current_options(text.split(" "))[0])))
    return record


def write_record(path: Path, content: Row) -> None:
    """Write a record."""
    write_text(path, json.dumps(content, indent=1) + "\n")


class Record:
    """A result file, written after every row and continued where it stopped."""

    def __init__(self, path: Path, settings: Row, threads: int | None, machine: Row | None = None) -> None:
        self._path, settings = path, json.loads(json.dumps(settings, default=str))
        if path.exists():
            self.content = read_record(path)
            if self.content.get("settings") != settings:
                sys.exit(f"{path} holds a measurement with other settings; remove it or give another --out.")
        else:
            arguments = () if threads is None else ("--threads", str(threads))
            machine = machine or run_child(Path(__file__).with_name("ceilings.py"), *arguments)
            empty = {"commits": [], "settings": settings, "rows": []}
            self.content = {**header(machine.pop("threads")), **empty, **machine}
            self.content["versions"]["datacondense"] = machine["environment"].get("datacondense")
        self.rows: list[Row] = self.content["rows"]
        self.content["commits"] = list(dict.fromkeys([*self.content["commits"], code_version()]))

    def add(self, point: Point, measure: Callable[[], Row]) -> None:
        """Measure a point unless the record has it."""
        if not any(point.items() <= row.items() for row in self.rows):
            self.rows.append({**point, "load_before": os.getloadavg()[0], **measure()})
            print(self.rows[-1], flush=True)
            write_record(self._path, self.content)


def parse_options(**defaults: Any) -> Options:
    """Read the options of a script, given their defaults; a type in place of a value means that there is none."""
    doc = sys.modules["__main__"].__doc__
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    for name, value in defaults.items():
        several = isinstance(value, list)
        example = value[0] if several else value
        kind = example if isinstance(example, type) else type(example)
        default = value if example is not kind else [] if several else None
        # A shape such as 3x32x32.
        read = (lambda text: tuple(map(int, text.split("x")))) if kind is tuple else kind
        given: Any = {"type": read, "nargs": "*" if several else None, "default": default}
        given = {"action": "store_true"} if kind is bool else given
        parser.add_argument(f"--{name.replace('_', '-')}", **given)
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
    points: Callable[[Options], Iterable[Point]] = pairs,
    *,
    lengths: Sequence[str] = ("pairs",),
    cache: Callable[[Options, Point], str | None] = lambda _, __: None,
    **defaults: Any,
) -> Callable[[Measure], Measure]:
    """Return a decorator that makes a function the measurement of a script, and runs the script.

    It measures every missing point in a process of its own, or is such a process; only plain ones return freed memory.
    A record may be continued with other values of the options `lengths`, which only set which points there are.
    `cache` names the cache of compiled code that a point uses, empty at first; None is the user's own.
    """

    def run(measure: Measure) -> Measure:
        if measure.__module__ != "__main__":
            return measure
        options = parse_options(out=Path, threads=int, **defaults)
        if options.child is not None:
            print(json.dumps(in_child(measure, options)))
            return measure
        path = options.out or RESULTS / f"{name if isinstance(name, str) else name(options)}.json"
        settings = {k: value for k, value in vars(options).items() if k not in {"out", "child", *lengths}}
        record = Record(path, settings, options.threads)
        with tempfile.TemporaryDirectory() as folder:
            for point in points(options):
                used = cache(options, point)
                variables = empty_caches(f"{folder}/{used}") if used else {}
                arguments = (*sys.argv[1:], "--child", json.dumps(point))
                record.add(point, partial(run_child, sys.argv[0], *arguments, **variables))
        return measure

    return run


def in_child(measure: Measure, options: Options) -> Row:
    """Measure a point in this process."""
    import torch  # noqa: PLC0415 — who only reads records need not load it

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    if options.child.get("variant") != "plain" and "plain_iterations" not in options.child:
        keep_freed_memory()
    return measure(options, options.child)
