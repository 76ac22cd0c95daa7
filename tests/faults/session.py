"""A run of the fault harness: which trials, what became of them so far, and what is printed and recorded."""

# ruff: noqa: T201

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch

from tests.faults.jobs import JOBS
from tests.faults.trials import SWEEPS, TRIALS, Bench, WrongError

_OTHERS = ("read-only", "vanished", "two", "torn")

Trial = tuple[str, str, int, Callable[[], str]]  # kind, job, number, and what to call


def main() -> int:
    """Run the harness; return 1 where a fault had an effect that it must not have."""
    options = _options()
    torch.set_num_threads(1)
    seed = f"{options.seed}-{'-'.join(options.jobs)}" if set(options.jobs) != set(JOBS) else str(options.seed)
    results = options.results or Path(tempfile.gettempdir(), f"faults-{seed}.jsonl")
    record = _record(options) if options.record else None
    with tempfile.TemporaryDirectory(prefix="faults-") as home:
        _run(Bench(Path(home), options.jobs), options, results)
    lines = list(map(json.loads, results.read_text("utf-8").splitlines()))
    rows = [_summary(kind, [line for line in lines if line["kind"] == kind]) for kind in (*TRIALS, *SWEEPS)]
    for row in rows:
        numbers = f"{row['trials']:5} trials, {row['failures']} failures, {row['seconds']:.1f} s"
        print(f"{row['kind']:11} {numbers}; {row['jobs']}")
    wrong = [line for line in lines if line["wrong"]]
    for line in wrong:
        print(f"    {line['kind']} of {line['job']}, number {line['number']}: {line['wrong']}")
    if record is not None:
        _write(record, options, rows, wrong)
    print(f"{len(lines)} trials, {len(wrong)} failures; {results} has them all.")
    return int(bool(wrong))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="signals at random moments")
    parser.add_argument(
        "--full-disks", type=int, default=200, help="full disks: half failing changes, half small disks"
    )
    parser.add_argument(
        "--others", type=int, default=200, help="read-only, vanished and shared folders, torn files"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS), help="commands to break off")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop after so long; the same command goes on"
    )
    parser.add_argument(
        "--results", type=Path, help="JSON lines, one for each trial, from which a stopped run goes on"
    )
    parser.add_argument("--record", type=Path, help="summary as a record of benchmarks/results")
    return parser.parse_args()


def _run(bench: Bench, options: argparse.Namespace, results: Path) -> None:
    """Try what the results do not have yet."""
    until = time.monotonic() + 60 * options.minutes
    lines = map(json.loads, results.read_text("utf-8").splitlines()) if results.exists() else ()
    done = {(line["kind"], line["number"]) for line in lines}
    for kind, job, number, call in _trials(bench, options):
        if (kind, number) in done or time.monotonic() > until:
            continue
        began = time.monotonic()
        what, wrong = tried(call)
        line = {"kind": kind, "job": job, "number": number, "what": what, "wrong": wrong}
        line["seconds"] = round(time.monotonic() - began, 2)
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _trials(bench: Bench, options: argparse.Namespace) -> Iterator[Trial]:
    """Yield all trials; the kinds take turns."""
    jobs = [JOBS[name] for name in options.jobs]
    shares = [job.share for job in jobs]
    counts = {"kill": options.kills, **dict.fromkeys(SWEEPS, options.full_disks // 2)}
    counts |= {kind: options.others // len(_OTHERS) for kind in _OTHERS}
    for number in range(max(counts.values())):
        for kind, count in counts.items():
            if number >= count:
                continue
            if kind in SWEEPS:  # every place once, in random order
                job = jobs[number % len(jobs)]
                places = _places(bench, kind, job.name, options.seed)
                if number // len(jobs) < len(places):
                    yield (
                        kind,
                        job.name,
                        number,
                        partial(SWEEPS[kind], bench, job, places[number // len(jobs)]),
                    )
            else:
                rng = Random(f"{kind} {options.seed} {number}")
                job = rng.choices(jobs, shares)[0]
                yield kind, job.name, number, partial(TRIALS[kind], bench, job, rng)


def _places(bench: Bench, kind: str, job: str, seed: int) -> list[int]:
    """Return every change that can fail, or every number of pages that can be left."""
    count = bench.changes[job] if kind == "full-disk" else bench.pages[job]
    return Random(f"{kind} {job} {seed}").sample(range(count), count)


def tried(call: Callable[[], str]) -> tuple[str, str]:
    """Return what a trial was like, and what was wrong with its end."""
    try:
        return call(), ""
    except (WrongError, TimeoutError, OSError) as error:
        return "", f"{type(error).__name__}: {error}"


def _summary(kind: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the trials of a kind in numbers."""
    return {
        "kind": kind,
        "trials": len(lines),
        "failures": sum(bool(line["wrong"]) for line in lines),
        "seconds": round(sum(line["seconds"] for line in lines), 1),
        "jobs": dict(Counter(line["job"] for line in lines)),
        "skipped": sum(line["what"].startswith("skipped") for line in lines),
    }


def _record(options: argparse.Namespace) -> Any:
    """Open the record, in the form of all others but without the ceilings of the machine, which do not matter here."""
    import measure  # of benchmarks/

    settings = {name: getattr(options, name) for name in ("kills", "full_disks", "others", "seed")}
    if not options.record.exists():
        empty = {"commits": [], "settings": settings, "rows": []}
        measure.write_record(options.record, {**measure.header(1), **empty})
    return measure.Record(options.record, settings, None)


def _write(
    record: Any, options: argparse.Namespace, rows: list[dict[str, Any]], wrong: list[dict[str, Any]]
) -> None:
    """Write the record: a row for each kind of fault, and every failure."""
    import measure

    names = ("kills", "full_disks", "others", "seed")
    numbers = " ".join(f"--{name.replace('_', '-')} {getattr(options, name)}" for name in names)
    command = f"python tests/faults/__main__.py {numbers} --record benchmarks/results/{options.record.name}"
    record.content |= {"command": command, "rows": rows, "failures": wrong}
    measure.write_record(options.record, record.content)
