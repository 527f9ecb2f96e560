"""``python -m core`` is the same program as ``lowrank``."""

import sys

from core.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
