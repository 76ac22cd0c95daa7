"""Wall time of `datacondense --help` and `datacondense condense --help`, each time in a fresh process.

    python benchmarks/startup.py

The help of a subcommand is kept: it is timed with an empty cache, and again. Run 0 only fills the disk's cache.
"""

import os
import subprocess
import sys
import tempfile
from functools import partial

import measure


@measure.benchmark("startup", lambda o: measure.grid(run=range(o.runs + 1)), lengths=("runs",), runs=10)
def one_process(_: measure.Options, __: measure.Point) -> measure.Row:
    def seconds(*arguments: str) -> float:
        command = [sys.executable, "-m", "datacondense", *arguments, "--help"]
        env = os.environ | {"XDG_CACHE_HOME": cache}
        return measure.seconds_of(partial(subprocess.run, command, check=True, capture_output=True, env=env))

    with tempfile.TemporaryDirectory() as cache:
        return {"seconds": seconds(), "first": seconds("condense"), "kept": seconds("condense")}
