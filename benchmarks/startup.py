"""Wall time of `datacondense --help`, each in a fresh process.

python benchmarks/startup.py
"""

import argparse
import subprocess
import sys

import measure


def one_process(options: argparse.Namespace, point: measure.Point) -> measure.Row:
    """Time one start of a child process."""
    command = [sys.executable, "-m", "datacondense", "--help"]
    return {"seconds": measure.seconds_of(lambda: subprocess.run(command, check=True, capture_output=True))}


def summarise(options: argparse.Namespace, record: measure.Row) -> measure.Row:
    """Return all times but the first, which fills the disk cache."""
    return {"seconds": [row["seconds"] for row in record["rows"] if row["run"] > 0]}


def main() -> None:
    """Run or continue the measurement."""
    parser = measure.parser(__doc__, "startup")
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    points = [{"run": run} for run in range(options.runs + 1)]
    measure.benchmark(options, points, one_process, summarise, lengths=("runs",))


if __name__ == "__main__":
    main()
