"""`python -m raysearch.cli`, where the command `raysearch` is not installed."""

import sys

from raysearch.cli import main

sys.exit(main())
