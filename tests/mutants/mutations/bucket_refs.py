"""Faults in the refs of repositories in buckets."""

from __future__ import annotations

from ..mutation import Mutation

MUTATIONS = (
    Mutation(
        "bucket-failure-without-a-fence",
        "bucket/commit.py",
        "            if not tried.in_doubt:\n",
        "            if True:\n",
        "an update that was told to have failed is applied later",
        ("bucket/test_commit.py", "bucket/test_contention.py"),
    ),
    Mutation(
        "bucket-answer-is-trusted",
        "bucket/commit.py",
        "failure = error\n            except StorageError as error:\n",
        "return _Tried(None, error, False)\n            except StorageError as error:\n",
        "an update that was applied and then refused is told to have failed",
        ("bucket/test_commit.py", "bucket/test_contention.py"),
    ),
    Mutation(
        "bucket-table-from-before-a-sweep",
        "bucket/change.py",
        "            elif table.epoch != base.head.epoch:\n",
        "            elif False:\n",
        "the head lists a table that a sweep has removed",
        ("bucket/test_storage.py",),
    ),
    Mutation(
        "bucket-sweep-of-retired-tables",
        "bucket/storage.py",
        "        named = {*base.head.names, *(one.name for one in kept)}\n",
        "        named = {*base.head.names}\n",
        "readers of old heads lose their tables before the grace period ends",
        ("bucket/test_storage.py",),
    ),
    Mutation(
        "bucket-lost-head-forgotten",
        "bucket/current.py",
        "            self._take(error.found, begun)\n",
        "",
        "each lost update reads the head once more",
        ("bucket/test_storage.py",),
    ),
    Mutation(
        "bucket-winner-goes-on",
        "bucket/current.py",
        "        if begun - self._met_at > _CONTENDED and wins < _MANY_WINS:\n",
        "        if True:\n",
        "one process wins all the time, and others wait for seconds",
        ("bucket/test_storage.py",),
    ),
    Mutation(
        "group-of-half-the-threads",
        "engine/stack/commit_queue.py",
        "                for one in taken:\n                    one.news.set()\n",
        "                for one in taken[:2]:\n                    one.news.set()\n",
        "a thread waits for ever although its work is done",
        ("engine/stack/test_commit_queue.py", "refs/test_group.py"),
    ),
)
