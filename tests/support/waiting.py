"""Waiting for what another thread or process does.

No test asserts how long something takes. What would wait for ever, if the code were wrong, gives up
after `GUARD` seconds: far more than any machine needs, so that only a hang gets there.
"""

from __future__ import annotations

import time
from collections.abc import Callable

GUARD = 60.0


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(0.001)
