"""A store that fails as real ones do, by a seed.

It stands in for the module ``obstore``, so that all of the client is under test. A write may be
refused, applied and answered with a fault, or applied at some later time. A read may be cut off. An
entity tag may be wrong.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, GenericError, PreconditionError

from dulwich_reftable.bucket import Bucket


def status(number: int) -> GenericError:
    return GenericError(f"Server returned non-2xx status code: {number} Whatever: ")


class LateWrites:
    """Writes that nobody has seen yet; they are applied at some request or other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writes: list[Callable[[], object]] = []

    def add(self, write: Callable[[], object]) -> None:
        with self._lock:
            self._writes.append(write)

    def apply(self, at_most: int | None = None) -> None:
        with self._lock:
            count = len(self._writes) if at_most is None else min(at_most, len(self._writes))
            writes, self._writes = self._writes[:count], self._writes[count:]
        for write in writes:
            try:
                write()
            except (obstore.exceptions.BaseError, OSError):
                continue  # its condition is not met any more


class _Cut:
    """An answer whose body ends early."""

    def __init__(self, found: Any) -> None:
        self.meta = found.meta
        self._data = bytes(found.bytes())

    def bytes(self) -> bytes:
        return self._data[: len(self._data) // 2]


class FaultyStore:
    """The functions of obstore, some of which fail.

    Args:
      seed: of the choices
      rate: how many requests in one go wrong
      late: the writes that are applied later
    """

    exceptions = obstore.exceptions

    def __init__(self, seed: object, rate: float, late: LateWrites) -> None:
        self._random = random.Random(repr(seed))
        self._rate = rate
        self._late = late
        self.seen: Counter[str] = Counter()

    def into(self, bucket: Bucket) -> Bucket:
        """Have a bucket's client use this one from now on."""
        bucket.client.module = self  # type: ignore[assignment]
        return bucket

    def _pick(self, *faults: str) -> str:
        if self._random.random() < 0.2:
            self._late.apply(1)
        fault = self._random.choice(faults) if self._random.random() < self._rate else ""
        self.seen[fault] += 1
        return fault

    def put(self, *args: Any, **options: Any) -> Any:
        def apply() -> Any:
            return obstore.put(*args, **options)

        is_conditional = options.get("mode", "overwrite") != "overwrite"
        faults = ["unsent", "before", "after", "late", "429"]
        if is_conditional:
            faults += ["409", "412", "412 after", "wrong etag", "no etag"]
        fault = self._pick(*faults)
        if fault == "unsent":
            raise GenericError("Http(HttpError { kind: Connect, source: refused })")
        if fault == "before":
            raise status(500)
        if fault == "429":
            raise status(429)
        if fault == "409":
            raise AlreadyExistsError("status code: 409 Conflict: ")
        if fault == "412":
            raise PreconditionError("status code: 412 Precondition Failed: ")
        if fault == "late":
            self._late.add(apply)
            raise GenericError("Http(HttpError { kind: Timeout, source: TimedOut })")
        done = apply()
        if fault == "after":
            raise status(503)
        if fault == "412 after":
            raise PreconditionError("status code: 412 Precondition Failed: ")
        if fault == "wrong etag":
            return {**done, "e_tag": '"wrong"'}
        if fault == "no etag":
            raise GenericError("Unable to extract metadata: ETag Header missing from response")
        return done

    def get(self, *args: Any, **options: Any) -> Any:
        fault = self._pick("500", "timeout", "cut")
        self._raise(fault)
        found = obstore.get(*args, **options)
        return _Cut(found) if fault == "cut" else found

    def get_range(self, *args: Any, **options: Any) -> Any:
        self._raise(self._pick("500", "timeout"))
        return obstore.get_range(*args, **options)

    def list(self, *args: Any, **options: Any) -> Any:
        self._raise(self._pick("500", "timeout"))
        return obstore.list(*args, **options)

    def delete(self, *args: Any, **options: Any) -> Any:
        fault = self._pick("500", "after")
        self._raise(fault)
        obstore.delete(*args, **options)
        if fault == "after":
            raise status(500)

    def _raise(self, fault: str) -> None:
        if fault == "500":
            raise status(500)
        if fault == "timeout":
            raise GenericError("Http(HttpError { kind: Timeout, source: TimedOut })")


class ScriptedStore(FaultyStore):
    """A store whose next conditional puts go wrong as it is told; nothing else does.

    Args:
      faults: one a put, by the names of :class:`FaultyStore`; ``""`` for none. The last one
        stays.
      late: the writes that are applied later
    """

    def __init__(self, faults: Sequence[str], late: LateWrites | None = None) -> None:
        super().__init__(0, 0, late or LateWrites())
        self.faults = list(faults)
        self.reads_fail = False

    def _pick(self, *faults: str) -> str:
        if "late" not in faults:
            return "500" if self.reads_fail else ""
        return self.faults.pop(0) if len(self.faults) > 1 else self.faults[0]
