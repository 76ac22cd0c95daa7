"""The fault harness as a command: `python -m tests.faults --kills 1000 --full-disks 200 --seed 0`."""

import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(_ROOT), str(_ROOT / "benchmarks")]  # for the records, whose harness is a script

from tests.faults.session import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
