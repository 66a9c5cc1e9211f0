# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Merge packs when there are many: what ``git gc --auto`` is after a push, for a bucket.

Each push leaves a pack, and each miss looks into the indexes of all. Once more than
``gc.autoPackLimit`` packs are in use, a thread runs :mod:`.gc`; the push does not wait for it. As
in git, 0 switches this off, and so does a ``gc.auto`` of 0.

All servers see the same packs, and one of them gets to it: it writes the object
``objects/auto-gc``, unless somebody has in the last minutes, or is faster. So a run is not repeated
by each push where packs have to stay because they are younger than the grace period. Two runs at
once would do no harm, nor does one that dies with its process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

from dulwich.config import Config
from dulwich.objects import ObjectID
from dulwich.refs import RefsContainer

from ..config.types import integer
from ..config.values import find_value
from .client import Bucket
from .errors import ConditionError, ConflictError, MissingObjectError
from .gc import collect_garbage, read_clock
from .head import new_nonce
from .object_store import BucketObjectStore
from .probe import check_conditions

__all__ = ["AutoGC"]

_log = logging.getLogger(__name__)

_LIMIT = 50
"""git's default of ``gc.autoPackLimit``."""

_PAUSE = 600.0
"""Seconds between the beginnings of two runs."""

_CLAIM = "objects/auto-gc"


class AutoGC:
    """Decides whether a repository needs a run, and runs it. Threads may share it.

    Args:
      store: its objects
      refs: what needs them
      shallow: gives the hex ids of shallow commits
    """

    def __init__(
        self,
        store: BucketObjectStore,
        refs: RefsContainer,
        shallow: Callable[[], Collection[ObjectID]],
    ) -> None:
        self._store = store
        self._refs = refs
        self._shallow = shallow
        self._lock = threading.Lock()
        self._not_before = float("-inf")

    def start(self, config: Config) -> threading.Thread | None:
        """Run it in the background if it is needed, which is found out without a request.

        Args:
          config: in force
        Returns: the thread; None if there is nothing to do
        """
        limit = _limit_of(config)
        packs = self._store.pack_list.known()
        if not limit or sum(pack.retired is None for pack in packs) <= limit:
            return None
        with self._lock:
            if time.monotonic() < self._not_before:
                return None
            self._not_before = time.monotonic() + _PAUSE
        thread = threading.Thread(target=self._run, name="bucket-gc", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        store = self._store
        try:
            if _claim(store.bucket):
                report = collect_garbage(store, self._refs, shallow=self._shallow())
                _log.info("%s: gc has left %d packs", store.bucket.location, len(report.packs))
        except Exception as error:  # nobody waits for it, and the next one tries again
            _log.warning("%s: gc failed: %s", store.bucket.location, error)


def _limit_of(config: Config) -> int:
    """Read how many packs are too few for a run; 0 for none ever."""
    threshold = find_value(config, b"gc", b"auto", integer)
    if threshold is not None and threshold <= 0:
        return 0
    limit = find_value(config, b"gc", b"autoPackLimit", integer)
    return _LIMIT if limit is None else max(limit, 0)


def _claim(bucket: Bucket) -> bool:
    """Tell others that this process is at it; False if one of them was faster.

    Raises:
      StorageError: one of :mod:`.errors`
    """
    check_conditions(bucket)
    now = read_clock(bucket)
    try:
        last = bucket.head(_CLAIM)
    except MissingObjectError:
        last = None
    if last is not None and now - last.modified < _PAUSE:
        return False
    body = new_nonce().encode()
    try:
        if last is None:
            bucket.create(_CLAIM, body)
        else:
            bucket.replace(_CLAIM, body, last.version)
    except (ConditionError, ConflictError):
        return False
    return True
