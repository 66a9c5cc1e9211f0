"""Writers that add one to a counter, each as if it were a process of its own.

The counter is a ref. Each increment is a compare-and-swap that logs who made it. So the reflog
tells afterwards which ones have happened, and in what order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from dulwich_reftable.bucket import Bucket
from dulwich_reftable.bucket.storage import BucketStorage
from dulwich_reftable.engine.errors import (
    OutcomeUnknownError,
    StorageError,
)
from dulwich_reftable.engine.format.records import LogRecord, LogUpdate, RefRecord
from dulwich_reftable.engine.stack.addition import Addition
from dulwich_reftable.engine.stack.stack import Stack

COUNTER = b"refs/heads/counter"


@dataclass
class Outcomes:
    """What writers were told of their increments, by their names."""

    done: list[bytes] = field(default_factory=list)
    failed: list[bytes] = field(default_factory=list)
    unknown: list[bytes] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    @property
    def all(self) -> list[bytes]:
        return self.done + self.failed + self.unknown


def increment(stack: Stack, name: bytes) -> None:
    """Add one.

    Args:
      stack: has the counter
      name: of the increment
    """

    def work(addition: Addition) -> None:
        found = addition.snapshot.lookup_ref(COUNTER)
        old = found.value if found is not None and found.value is not None else bytes(20)
        new = (int.from_bytes(old, "big") + 1).to_bytes(20, "big")
        index = addition.next_update_index
        update = LogUpdate(old, new, b"N", b"e", 1, 0, name + b"\n")
        addition.write([RefRecord(COUNTER, index, new)], [LogRecord(COUNTER, index, update)])

    stack.update(work)


def write(stack: Stack, names: list[bytes], outcomes: Outcomes) -> None:
    """Make increments, and note what became of each."""
    for name in names:
        try:
            increment(stack, name)
        except OutcomeUnknownError:
            outcomes.unknown.append(name)
        except StorageError:
            outcomes.failed.append(name)
        except BaseException as error:
            outcomes.errors.append(error)
            return
        else:
            outcomes.done.append(name)


def race(open_bucket: Callable[[int], Bucket], writers: int, increments: int) -> Outcomes:
    """Run writers in threads; each has a client and a storage of its own."""
    outcomes = Outcomes()
    threads = []
    for writer in range(writers):
        stack = Stack(BucketStorage(open_bucket(writer)), lock_timeout=None)
        names = [b"%d-%d" % (writer, number) for number in range(increments)]
        threads.append(threading.Thread(target=write, args=(stack, names, outcomes)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def check(bucket: Bucket, outcomes: Outcomes) -> None:
    """Compare the reflog with what the writers were told."""
    assert not outcomes.errors, outcomes.errors
    snapshot = Stack(BucketStorage(bucket)).snapshot()
    logs = [*snapshot.logs_of(COUNTER)][::-1]
    updates = [log.update for log in logs if log.update is not None]
    happened = [update.message.strip() for update in updates]
    assert len(happened) == len(logs) == len({*happened})
    assert {*happened} <= {*outcomes.all}
    assert {*outcomes.done} <= {*happened}, "an acknowledged increment is lost"
    assert not {*outcomes.failed} & {*happened}, "an increment that was refused has happened"
    for number, update in enumerate(updates, 1):
        assert update.old_id == (number - 1).to_bytes(20, "big")
        assert update.new_id == number.to_bytes(20, "big")
    found = snapshot.lookup_ref(COUNTER)
    assert (found.value if found else None) == (updates[-1].new_id if updates else None)
    indexes = [log.update_index for log in logs]
    assert len({*indexes}) == len(indexes)
