"""Running a function in a forked child: for what it inherits, and for what a kill leaves behind."""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Callable

import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def exit_code_of(body: Callable[[], int | None]) -> int:
    """Run a function in a child.

    Args:
      body: may give an exit code; an exception is printed, and the exit code is 1
    Returns: the child's exit code, or the negative number of the signal that killed it
    """
    child = os.fork()
    if not child:
        code = 1
        try:
            code = body() or 0
            gc.collect()  # what finalizers would do wrong, they do now
        except BaseException:
            traceback.print_exc()
            code = 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
