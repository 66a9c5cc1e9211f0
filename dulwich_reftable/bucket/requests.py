# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Making requests to an object store with obstore.

Reads, and writes that may be repeated, are retried with jittered pauses until a deadline. A
conditional write is sent once, and obstore is told not to repeat it either: a write that was
applied, answered with a fault and sent again would be told as lost. :mod:`.commit` knows what to
do then.

A request of obstore blocks its thread until it is answered or times out, and signals with it. So
the main thread leaves requests to threads of their own, and Ctrl-C ends its wait at once. They are
daemons, because Python waits for no such thread when it ends. What became of a request that nobody
waits for any more is not known; to the repository it is as if the process had been killed.

obstore's threads do not survive a fork, and a request of the child would wait for ever, so a
process that forked after the first request gets an error.
"""

from __future__ import annotations

import errno
import os
import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

from ..engine.errors import ConfigurationError, StorageError
from .answers import translate
from .errors import ConflictError, UnavailableError

__all__ = ["DEADLINE", "Client", "is_ending", "obstore", "tries"]

DEADLINE = 20.0
"""Seconds for which a request is repeated, unless the caller says otherwise."""

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 1.0
"""Seconds between two tries of a request, on average."""

_SIDE_BY_SIDE = 8
"""Requests that one call has under way at once."""

_T = TypeVar("_T")

_inside = threading.local()


def _on_threads(calls: Sequence[Callable[[], _T]]) -> list[_T]:
    """Make calls on threads that nobody has to wait for; give their results in order."""
    futures: list[Future[_T]] = [Future() for _ in calls]
    waiting = deque(zip(futures, calls, strict=True))

    def work() -> None:
        _inside.request = True
        while True:
            try:
                future, call = waiting.popleft()
            except IndexError:
                return
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)

    for _ in range(min(_SIDE_BY_SIDE, len(calls))):
        threading.Thread(target=work, name="bucket", daemon=True).start()
    try:
        return [future.result() for future in futures]
    finally:
        waiting.clear()


def obstore() -> ModuleType:
    """Import obstore.

    Raises:
      ConfigurationError: if it is not installed
    """
    try:
        import_module("obstore.store")
        return import_module("obstore")
    except ImportError as error:
        raise ConfigurationError(
            "repositories in an object store need obstore: pip install 'dulwich-reftable[bucket]'"
        ) from error


def tries(seconds: float) -> Iterator[None]:
    """Yield at once, and again after pauses that double, until the time is over.

    The pauses are random in length: otherwise clients that a store has turned away would all come
    back together.
    """
    end = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while True:
        yield
        rest = end - time.monotonic()
        if rest <= 0:
            return
        time.sleep(min(random.uniform(0, 2 * pause), rest))
        pause = min(2 * pause, _LONGEST_PAUSE)


def is_ending() -> bool:
    """Tell whether Ctrl-C or an exit is being handled: nothing should wait for the store now.

    What a process leaves then is what one leaves that was killed, and others see to it.
    """
    return isinstance(sys.exc_info()[1], (KeyboardInterrupt, SystemExit))


class Client:
    """A store that obstore speaks to.

    Args:
      store: the store of obstore, with short time-outs and without retries of its own
      bulk: the same with long time-outs, for large uploads; None for the same
      kind: ``"s3"``, ``"gs"``, ``"az"``, ``"memory"``, or another name for a store of the caller's
      deadline: seconds for which a request is repeated
      pace: minimum seconds between two writes of one object, where the store allows no more

    Attributes:
      module: obstore
      requests: how many of each kind were made
      keeps_conditions: whether :mod:`.probe` has seen that conditional writes mean something
      strips_quotes: whether conditions need entity tags without quotes; found out on the way
    """

    _first_user: int | None = None  # the process whose threads obstore has; of all clients

    def __init__(
        self,
        store: Any,
        bulk: Any = None,
        *,
        kind: str,
        deadline: float = DEADLINE,
        pace: float = 0,
    ) -> None:
        self.kind = kind
        self.deadline = deadline
        self.requests: Counter[str] = Counter()
        self.keeps_conditions = False
        self.strips_quotes = False
        self.pace = pace
        self.store = store
        self.bulk = store if bulk is None else bulk
        self.module = obstore()
        self._lock = threading.Lock()

    def call(self, kind: str, location: str, request: Callable[[ModuleType], _T]) -> _T:
        """Make a request once, and count it.

        Args:
          kind: what it is counted as
          location: of the object or prefix, for messages
          request: makes it, with obstore's module
        Raises:
          StorageError: one of :mod:`.errors`
        """
        pid = os.getpid()
        if Client._first_user is None:
            Client._first_user = pid
        elif Client._first_user != pid:
            raise StorageError(
                errno.ENOTSUP, "object stores cannot be used after a fork: start afresh", location
            )
        with self._lock:
            self.requests[kind] += 1
        try:
            if self.kind == "memory" or threading.current_thread() is not threading.main_thread():
                return request(self.module)
            return _on_threads([lambda: request(self.module)])[0]
        except StorageError:
            raise
        except (self.module.exceptions.BaseError, OSError, ValueError) as error:
            failure = translate(error, location)
        # Not in the handler: a traceback would show obstore's text, which may have secrets.
        raise failure

    def repeat(self, kind: str, location: str, request: Callable[[ModuleType], _T]) -> _T:
        """Make a request that may be repeated, until it is answered or the deadline is over."""
        failure: StorageError | None = None
        for _ in tries(self.deadline):
            try:
                return self.call(kind, location, request)
            except (UnavailableError, ConflictError) as error:
                failure = error
        assert failure is not None
        raise failure

    def side_by_side(self, calls: Sequence[Callable[[], _T]]) -> list[_T]:
        """Make several calls at once, and give their results in order."""
        if len(calls) < 2 or getattr(_inside, "request", False):  # threads make no threads
            return [call() for call in calls]
        return _on_threads(calls)

    def tag(self, etag: str) -> str:
        """Give an entity tag as the store's conditions want it."""
        return etag.strip('"') if self.strips_quotes else etag
