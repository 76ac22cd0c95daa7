"""`python -m datacondense`."""

import sys

from datacondense.cli import main

sys.exit(main())
