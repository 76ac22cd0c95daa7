"""Small mistakes put into the source one at a time, to see that a module's own tests notice each.

    python -m tests.mutations [--only WORD …] [--jobs N] [--results FILE] [--list]

Each mutation is applied to a copy of the tree, never to the tree itself, and the tests named beside it run on that copy
with `-x`. Results are kept in a file: a stopped run goes on where it was, and a mutation is tried again only when it or
its module has changed. Not collected by pytest and not part of CI: all of it takes half an hour on two cores.
"""

# ruff: noqa: T201

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_suffix(".toml")
SECONDS = 600  # for the tests of one mutation; a mutation that makes them hang is noticed too


@dataclass(frozen=True)
class Mutation:
    """One mistake.

    Attributes:
        module: File below src/datacondense.
        old: Text that occurs there exactly once.
        new: What replaces it.
        tests: Files or folders below tests, separated by spaces, that should fail.
    """

    module: str
    old: str
    new: str
    tests: str

    @property
    def path(self) -> Path:
        """The module within the tree."""
        return Path("src", "datacondense", self.module)

    @property
    def key(self) -> str:
        """What the result depends on, apart from the tests."""
        return _digest(self.module, self.old, self.new, self.tests, (ROOT / self.path).read_text("utf-8"))

    def __str__(self) -> str:
        return f"{self.module}: {_shown(self.old)} -> {_shown(self.new)}"


def read_table(path: Path) -> list[Mutation]:
    """Read the mutations."""
    modules = tomllib.loads(path.read_text("utf-8"))["module"]
    return [
        Mutation(module["path"], old, new, module["tests"])
        for module in modules
        for old, new in (*module.get("survived", ()), *module.get("others", ()))
    ]


def check(mutations: Iterable[Mutation]) -> None:
    """Check that every text to replace occurs exactly once; exit with a list of those that do not."""
    wrong = []
    for mutation in mutations:
        path = ROOT / mutation.path
        found = path.read_text("utf-8").count(mutation.old) if path.exists() else 0
        if found != 1:
            wrong.append(f"{found} times in {mutation.module}: {mutation.old!r}")
    if wrong:
        sys.exit("Each text must occur exactly once, but these occur\n" + "\n".join(wrong))


def outcome(tree: Path, mutation: Mutation | None, tests: str) -> str:
    """Run tests on a copy of the tree, with a mutation or as it is.

    Args:
        tree: The copy; as it was before when this returns.
        mutation: What to change; None for nothing.
        tests: Files or folders below tests.

    Returns:
        "killed" (a test failed), "survived" (all passed), "timeout" (noticed too), or "broken" (no test could run).
    """
    with _changed(tree, mutation):
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                [*command, *(f"tests/{name}" for name in tests.split())],
                cwd=tree,
                env=environment,
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "timeout"
    return {0: "survived", 1: "killed"}.get(done.returncode, "broken")


@contextmanager
def _changed(tree: Path, mutation: Mutation | None) -> Iterator[None]:
    """Change the copy for a while."""
    if mutation is None:
        yield
        return
    path = tree / mutation.path
    before = path.read_text("utf-8")
    path.write_text(before.replace(mutation.old, mutation.new), "utf-8")
    try:
        yield
    finally:
        path.write_text(before, "utf-8")


@contextmanager
def _copies(number: int) -> Iterator[SimpleQueue[Path]]:
    """Copy what tests need, once for each job."""
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        free: SimpleQueue[Path] = SimpleQueue()
        for job in range(number):
            tree = Path(folder, str(job))
            for name in ("src", "tests", "benchmarks", "docs"):
                shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
            for path in ROOT.iterdir():
                if path.is_file():
                    shutil.copy(path, tree)
            free.put(tree)
        yield free


def _sources() -> list[Path]:
    """List the files that decide whether tests pass."""
    return sorted(path for name in ("src", "tests") for path in (ROOT / name).rglob("*.py"))


def _digest(*texts: str) -> str:
    """Shorten texts to a key."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _shown(text: str) -> str:
    """Put a text on one short line."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."


def _known(results: Path) -> dict[str, str]:
    """Read what earlier runs found."""
    lines = results.read_text("utf-8").splitlines() if results.exists() else []
    return {entry["key"]: entry["outcome"] for entry in map(json.loads, lines)}


def main() -> int:
    """Try the mutations and print what happens to each; return 1 where one survives."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[""], help="words of which a mutation's line holds one")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path(tempfile.gettempdir(), "mutations.jsonl"))
    parser.add_argument("--list", action="store_true", help="check the table and print it")
    options = parser.parse_args()
    mutations = [m for m in read_table(TABLE) if any(word in str(m) for word in options.only)]
    check(mutations)
    if options.list:
        print(*mutations, sep="\n")
        return 0
    known = _known(options.results)

    def note(key: str, found: str, what: str) -> None:
        known[key] = found
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "outcome": found, "what": what}) + "\n")
        print(f"{found:9} {what}", flush=True)

    with _copies(options.jobs) as free, ThreadPoolExecutor(options.jobs) as pool:

        def attempt(mutation: Mutation | None, tests: str, key: str) -> None:
            tree = free.get()
            try:
                note(key, outcome(tree, mutation, tests), str(mutation or f"no mutation, {tests}"))
            finally:
                free.put(tree)

        for tests in dict.fromkeys(m.tests for m in mutations if m.key not in known):
            unchanged = _digest(tests, *(path.read_text("utf-8") for path in _sources()))
            if known.get(unchanged) != "survived":
                attempt(None, tests, unchanged)
            if known[unchanged] != "survived":
                sys.exit(f"Without any mutation, {tests} does not pass: repair it first.")
            pending = [m for m in mutations if m.tests == tests and m.key not in known]
            # A list, so that an error of a job is raised here.
            list(pool.map(lambda mutation: attempt(mutation, mutation.tests, mutation.key), pending))
    outcomes = [known[mutation.key] for mutation in mutations]
    killed = sum(found in {"killed", "timeout"} for found in outcomes)
    print(f"{killed} of {len(outcomes)} mutations are noticed ({killed / max(1, len(outcomes)):.0%}).")
    print(*(f"not noticed: {m}" for m in mutations if known[m.key] in {"survived", "broken"}), sep="\n")
    return int(killed < len(outcomes))


if __name__ == "__main__":
    sys.exit(main())
