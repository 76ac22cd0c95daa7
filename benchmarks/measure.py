"""What the benchmarks share: a record's header, the machine's ceilings, child processes, records read and continued.

    python benchmarks/measure.py

prints what the machine is and how fast it is. Every row is measured in a fresh process, in the default environment, so
that no variant profits from what another left behind (memory kept by the allocator, compiled code, warm pages).
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
from pathlib import Path
from statistics import median
from typing import Any

import torch

from datacondense.allocator import keep_freed_memory
from datacondense.environment import environment, package_version
from datacondense.files import write_text
from datacondense.renamed import current_names, current_options

RESULTS = Path(__file__).parent / "results"
# What earlier records call things, in names that are not settings and in recorded sentences.
_FORMER = {
    '"cells": ': '"tasks": ',
    '"cell_hours": ': '"task_hours": ',
    '"choices": ': '"searches": ',
    '"chosen": ': '"selected": ',
    '"same_choice": ': '"same_selection": ',
    '"plain_draws": ': '"plain_iterations": ',
    "--plain-draws": "--plain-iterations",
    "classes joined, images averaged": "class-collective, iterate averaging",
    "join-classes": "class-collective",
    "equal draws": "equal iterations",
    "outer draws": "iterations",
    ".draws=": ".iterations=",
    " draws": " iterations",
    "of each arm": "of each variant",
    " of each class": " per class",
    "each arm's own": "each variant's own",
}
# Settings of the allocator and of the thread pools; users of such programs rarely have any.
_TUNING = ("MALLOC_", "GLIBC_TUNABLES", "THP_MEM_ALLOC_ENABLE", "LD_PRELOAD", "OMP_", "KMP_", "MKL_")

Row = dict[str, Any]
Point = dict[str, Any]


def processor() -> str:
    """Return the name of the processor, on Linux in full."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = {
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        }
        return ", ".join(sorted(names))
    return platform.processor()


def header(threads: int) -> Row:
    """Return the command, date, hardware and versions of a record."""
    return {
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": {"processor": processor(), "cores": os.cpu_count(), "threads": threads},
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
    }


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
    warm_up = seconds_of(call)
    times = [seconds_of(call) for _ in range(repeats)]
    return {
        "seconds": median(times),
        "seconds_each": times,
        "seconds_warm_up": warm_up,
        "megabytes_peak": peak_megabytes(),
    }


def ceilings() -> Row:
    """Measure the best rates of a large convolution and a large copy, keeping freed memory as the command line does.

    The convolution is the ConvNet's heaviest: 128 to 128 channels, 3x3, on 16x16, 256 images; 2·256·128·128·9·16·16
    operations for its output and for each of its two gradients. The better of the two memory layouts counts.
    """
    keep_freed_memory()
    rates: dict[str, dict[str, float]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        layouts = [
            _convolution_rates(dtype, layout) for layout in (torch.contiguous_format, torch.channels_last)
        ]
        rates[str(dtype).removeprefix("torch.")] = {
            kind: max(layout[kind] for layout in layouts) for kind in layouts[0]
        }
    source = torch.ones(2**26)
    target = torch.empty_like(source)
    copying = min(seconds_of(lambda: target.copy_(source)) for _ in range(7))
    return {"convolution_gflops": rates, "copy_gigabytes_per_second": 2 * source.nbytes / copying / 1e9}


def _convolution_rates(dtype: torch.dtype, layout: torch.memory_format) -> dict[str, float]:
    """Measure GFLOP/s of a convolution and its two gradients in one layout."""
    images = torch.randn(256, 128, 16, 16).to(dtype).to(memory_format=layout)
    weight = torch.randn(128, 128, 3, 3).to(dtype).to(memory_format=layout)
    slope = torch.ones_like(images)

    def backward(wanted: list[bool]) -> object:
        return torch.ops.aten.convolution_backward(
            slope, images, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, wanted
        )

    calls: dict[str, Callable[[], object]] = {
        "forward": lambda: torch.conv2d(images, weight, padding=1),
        "input_gradient": lambda: backward([True, False, False]),
        "weight_gradient": lambda: backward([False, True, False]),
    }
    operations = 2 * 256 * 128 * 128 * 9 * 16 * 16
    return {kind: operations / min(seconds_of(call) for _ in range(6)) / 1e9 for kind, call in calls.items()}


def default_environment() -> dict[str, str]:
    """Return the environment variables of this process without those that tune the allocator and threads."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_TUNING)}


def empty_caches(folder: str) -> dict[str, str]:
    """Return variables that move the caches of compiled code to another folder; downloaded data stay."""
    usual = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    data = os.environ.get("HF_HOME", str(usual / "huggingface"))
    return {"XDG_CACHE_HOME": folder, "TORCHINDUCTOR_CACHE_DIR": folder, "HF_HOME": data}


def run_child(script: str, *arguments: str, **variables: str) -> Row:
    """Run a script in a fresh process and read the JSON on its last line."""
    finished = subprocess.run(
        [sys.executable, script, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=default_environment() | variables,
    )
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
            self.content: Row = read_record(path)
            if self.content["settings"] != settings:
                sys.exit(f"{path} holds a measurement with other settings; remove it or give another --out.")
        else:
            machine = run_child(__file__, *(() if threads is None else ("--threads", str(threads))))
            self.content = {**header(machine["threads"]), "commits": [], "settings": settings, "rows": []}
            self.content["versions"]["datacondense"] = package_version()
            self.content |= {"environment": machine["environment"], "ceilings": machine["ceilings"]}
        commit = code_version()
        if commit not in self.content["commits"]:
            self.content["commits"].append(commit)

    @property
    def rows(self) -> list[Row]:
        """The rows measured so far."""
        rows: list[Row] = self.content["rows"]
        return rows

    def add(self, point: Point, measure: Callable[[], Row]) -> None:
        """Measure a point unless the record has it."""
        if any(point.items() <= row.items() for row in self.rows):
            return
        self.rows.append({**point, "load_before": os.getloadavg()[0], **measure()})
        print(self.rows[-1], flush=True)
        self.write()

    def write(self, **more: Any) -> None:
        """Write the file with additional entries."""
        self.content |= more
        write_text(self._path, json.dumps(self.content, indent=1) + "\n")


def code_version(folder: Path = RESULTS.parent) -> str:
    """Return the measured version of the code."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def parser(doc: str | None, name: str) -> argparse.ArgumentParser:
    """Build a parser with the options that every benchmark has."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--out", type=Path, default=RESULTS / f"{name}.json", help="the record to write")
    made.add_argument("--threads", type=int, default=None, help="default: torch's own choice")
    made.add_argument("--child", type=json.loads, default=None, help=argparse.SUPPRESS)
    return made


def benchmark(
    options: argparse.Namespace,
    points: Iterable[Point],
    measure: Callable[[argparse.Namespace, Point], Row],
    summarise: Callable[[argparse.Namespace, Row], Row],
    *,
    lengths: Sequence[str] = ("pairs",),
    fresh_cache: bool = False,
) -> None:
    """Measure every missing point in a process of its own, then summarise; or be such a process.

    `lengths` names the options that only set the number of rows: a record may be continued with other values of them.
    With `fresh_cache` every process compiles again.
    """
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    if options.child is not None:
        print(json.dumps(measure(options, options.child)))
        return
    apart = {"out", "child", *lengths}
    settings = {name: value for name, value in vars(options).items() if name not in apart}
    record = Record(options.out, settings, options.threads)
    for point in points:
        arguments = [*sys.argv[1:], "--child", json.dumps(point)]
        with tempfile.TemporaryDirectory() as cache:
            variables = empty_caches(cache) if fresh_cache else {}
            record.add(point, partial(run_child, sys.argv[0], *arguments, **variables))
    record.write(summary=summarise(options, record.content))
    print(json.dumps(record.content["summary"], indent=1))


def main() -> None:
    """Print what the machine is and how fast it is."""
    options = parser(__doc__, "machine").parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    described = {
        "threads": torch.get_num_threads(),
        "environment": environment("cpu"),
        "ceilings": ceilings(),
    }
    print(json.dumps(described))


if __name__ == "__main__":
    main()
