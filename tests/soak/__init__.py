"""Longer runs, each a command of its own: ``python -m tests.soak.contention --seconds 60``."""

import sys
from pathlib import Path

# As pytest does it: what the tests share is imported from beside this directory.
if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parents[1]))
