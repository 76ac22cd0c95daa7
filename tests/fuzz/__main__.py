"""The fuzzer as a command: `python -m tests.fuzz --inputs 1000000 --seed 0`."""

import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(_ROOT), str(_ROOT / "benchmarks")]  # for the records, whose harness is a script

from tests.fuzz.session import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
