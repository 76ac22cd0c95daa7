"""Wall time of `datacondense --help` and `datacondense condense --help`, each time in a fresh process.

The help of a subcommand is kept when it was printed once: it is timed with an empty cache, and again.

python benchmarks/startup.py
"""

import argparse
import os
import subprocess
import sys
import tempfile

import measure


def one_process(options: argparse.Namespace, point: measure.Point) -> measure.Row:
    """Time starts, of processes below this one, from the outside."""

    def seconds(*arguments: str, cache: str) -> float:
        command = [sys.executable, "-m", "datacondense", *arguments, "--help"]
        environment = os.environ | {"XDG_CACHE_HOME": cache}
        return measure.seconds_of(
            lambda: subprocess.run(command, check=True, capture_output=True, env=environment)
        )

    with tempfile.TemporaryDirectory() as cache:
        return {
            "seconds": seconds(cache=cache),
            "first": seconds("condense", cache=cache),
            "kept": seconds("condense", cache=cache),
        }


def summarise(options: argparse.Namespace, record: measure.Row) -> measure.Row:
    """Collect all times, without the first row, which fills the disk's cache."""
    rows = [row for row in record["rows"] if row["run"] > 0]
    return {name: [row[name] for row in rows] for name in ("seconds", "first", "kept")}


def main() -> None:
    """Measure, or continue."""
    parser = measure.parser(__doc__, "startup")
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    points = [{"run": run} for run in range(options.runs + 1)]
    measure.benchmark(options, points, one_process, summarise, lengths=("runs",))


if __name__ == "__main__":
    main()
