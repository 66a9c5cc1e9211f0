"""Programs that other people wrote on dulwich, at their main jobs on reftable repositories.

``python -m tests.clients --help`` tells how to run them; pytest does not collect them.
"""

import sys
from pathlib import Path

# As pytest does it: what the tests share is imported from beside this directory.
if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parents[1]))
