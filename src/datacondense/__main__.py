"""`python -m datacondense`."""

import sys

from datacondense.cli.main import main

sys.exit(main())
