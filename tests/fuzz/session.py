"""A run of the fuzzer: which inputs, what became of them so far, and what is printed and recorded."""

# ruff: noqa: T201

import argparse
import json
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import torch

from tests.fuzz.batches import Batch, Prepared
from tests.fuzz.oracle import Sandbox
from tests.fuzz.readers import READERS

_ROUND = 50_000  # inputs after which every reader has had its turn
_LARGEST = 5000  # inputs of a batch

# What trying the library found, by reader, oracle and a pattern of type, place and text; numbered as there.
FINDINGS = (
    (1, "evaluate", "import", ""),
    (1, "study-file", "names code", ""),
    (2, "resume", "same result", ""),
    (4, "outputs", "destroyed", ""),
    (7, "image-set", "finite", ""),
    (7, "evaluate", "finite", ""),
    (7, "flags", "finite", ""),
    (14, "pixels", "noticed", ""),
    (14, "recorded-task", "accuracy", ""),
    (14, "recorded-task", "another task's record", ""),
    (17, "npz", "exception", ""),
    (17, "parquet", "exception", ""),
    (17, "features", "exception", ""),
    (17, "image-set", "exception", ""),
    (17, "evaluate", "exception", ""),
    (17, "run-folder", "exception", "run_folder.py:settings|settings.json"),
    (17, "run-folder", "exception", "metrics|run_folder.py:<listcomp>"),
    (17, "resume", "exception", "loop.py"),
    (17, "failure", "exception", ""),
    (17, "study-record", "exception", ""),
    (17, "study-file", "exception", "RecursionError"),
    (20, "npz", "memory|hang", ""),
    (20, "huge-picture", "memory|hang", ""),
    (20, "npz", "pipe opened", ""),
    (20, "parquet", "foreign file read", ""),
    (20, "parquet", "pipe opened", ""),
    (18, "runs", "exception", "IndexError"),
    (21, "flags", "exception", ""),
    (21, "runs", "exception", ""),
    (25, "image-set", "output|message", "raw|printable"),
    (25, "flags", "output|message", "long"),
)


def main() -> int:
    """Run the fuzzer; return 1 where an input had an effect that none may have."""
    options = _options()
    torch.set_num_threads(1)
    readers = [options.reader] if options.reader else list(READERS)
    results = options.results or Path(
        tempfile.gettempdir(), f"fuzz-{options.seed}-{options.reader or 'all'}.jsonl"
    )
    record = _record(options) if options.record else None
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
        prepared = {name: Prepared(READERS[name], Path(home)) for name in readers}
        if options.only is not None:
            return _reproduce(prepared[options.reader], options.seed, options.only)
        batches = _run(prepared, options, results)
    summary = [_summary(name, [batch for batch in batches if batch.reader == name]) for name in readers]
    for row in summary:
        _print(row, options.seed)
    if record is not None:
        _write(record, options, summary)
    found = sum(row["failures"] for row in summary)
    print(f"{sum(row['inputs'] for row in summary)} inputs, {found} failures; {results} has them all.")
    return int(found > 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="inputs in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", choices=READERS, help="one reader alone")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop after so long; the same command goes on"
    )
    parser.add_argument(
        "--results", type=Path, help="JSON lines, one for each batch, from which a stopped run goes on"
    )
    parser.add_argument("--record", type=Path, help="summary as a record of benchmarks/results")
    parser.add_argument(
        "--only", type=int, help="one input of --reader, unguarded: its traceback, and its files are kept"
    )
    options = parser.parse_args()
    if options.only is not None and options.reader is None:
        parser.error("--only needs --reader")
    return options


def _run(prepared: dict[str, Prepared], options: argparse.Namespace, results: Path) -> list[Batch]:
    """Try what the results do not have yet, and return all."""
    until = time.monotonic() + 60 * options.minutes
    lines = results.read_text("utf-8").splitlines() if results.exists() else []
    batches = [batch for batch in (Batch(**json.loads(line)) for line in lines) if batch.reader in prepared]
    done = {
        name: max((batch.past for batch in batches if batch.reader == name), default=0) for name in prepared
    }
    for name, past in _steps(prepared, options.inputs):
        while done[name] < past and time.monotonic() < until:
            batch = prepared[name].run(options.seed, done[name], min(past, done[name] + _LARGEST))
            done[name] = batch.past
            batches.append(batch)
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(batch)) + "\n")
    return batches


def _steps(prepared: dict[str, Prepared], inputs: int) -> Iterator[tuple[str, int]]:
    """Yield how far each reader should be, round by round."""
    shares = {name: one.reader.share for name, one in prepared.items()}
    whole = sum(shares.values())
    rounds = max(1, inputs // _ROUND)
    for part in range(1, rounds + 1):
        for name, share in shares.items():
            yield name, max(1, round(inputs * share / whole * part / rounds))


def _reproduce(prepared: Prepared, seed: int, number: int) -> int:
    """Try one input in this process, unguarded."""
    sandbox = Sandbox(Path(tempfile.mkdtemp(prefix="fuzz-input-")))
    sandbox.prepare()
    call = prepared.attempt(Random(f"{prepared.reader.name} {seed} {number}"), sandbox)
    print(f"{call} in {sandbox.work}", flush=True)
    call()
    return 0


def _summary(reader: str, batches: list[Batch]) -> dict[str, Any]:
    """Return what became of the inputs of a reader: failures by kind, each with its first input."""
    kinds: dict[tuple[str, ...], dict[str, Any]] = {}
    failures = [failure for batch in batches for failure in batch.failures]
    for failure in sorted(failures, key=lambda failure: int(failure["number"])):
        signature = tuple(failure[name] for name in ("oracle", "kind", "place"))
        kind = kinds.setdefault(signature, {**failure, "times": 0})
        kind["times"] += 1
    return {
        "inputs": sum(batch.past - batch.first for batch in batches),
        "accepted": sum(batch.accepted for batch in batches),
        "seconds": round(sum(batch.seconds for batch in batches), 1),
        "failures": len(failures),
        "reader": reader,
        "kinds": list(kinds.values()),
    }


def _print(row: dict[str, Any], seed: int) -> None:
    """Print the summary of a reader, and how to repeat the first failure of each kind."""
    print(
        f"{row['reader']:15} {row['inputs']:8} inputs ({row['accepted']} accepted) in {row['seconds']:7.1f} s: "
        f"{row['failures']} failures of {len(row['kinds'])} kinds"
    )
    for kind in row["kinds"]:
        print(f"    {kind['times']} × {kind['oracle']} {kind['kind']} {kind['place']}: {kind['text']}")
        print(f"        python -m tests.fuzz --reader {row['reader']} --seed {seed} --only {kind['number']}")


def _record(options: argparse.Namespace) -> Any:
    """Open the record, in the form of all others but without the ceilings of the machine, which do not matter here."""
    import measure  # of benchmarks/

    settings = {"inputs": options.inputs, "seed": options.seed}
    if not options.record.exists():
        empty = {"commits": [], "settings": settings, "rows": []}
        measure.write_record(options.record, {**measure.header(1), **empty})
    return measure.Record(options.record, settings, None)


def _write(record: Any, options: argparse.Namespace, summary: list[dict[str, Any]]) -> None:
    """Write the record: a row for each reader, and after how many inputs each known fault was found."""
    import measure

    found = {row["reader"]: row["kinds"] for row in summary}
    firsts = [
        {
            **{"finding": number, "reader": reader, "oracle": oracle, "pattern": pattern},
            "input": _first(found[reader], oracle, pattern),
        }
        for number, reader, oracle, pattern in FINDINGS
        if reader in found
    ]
    command = f"python tests/fuzz/__main__.py --inputs {options.inputs} --seed {options.seed} "
    command += f"--record benchmarks/results/{options.record.name}"
    record.content |= {"command": command, "rows": summary, "findings": firsts}
    measure.write_record(options.record, record.content)


def _first(kinds: list[dict[str, Any]], oracle: str, pattern: str) -> int | None:
    """Return the number of inputs until the first failure of a kind."""
    matching = [
        int(kind["number"]) + 1
        for kind in kinds
        if re.fullmatch(oracle, kind["oracle"]) and re.search(pattern, " ".join(map(str, kind.values())))
    ]
    return min(matching, default=None)
