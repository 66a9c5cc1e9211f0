"""What pure Python can do at best: loops that only touch the bytes.

They do what no reader can do without: find each record's length, make the objects that the answer
consists of, look at the list file. They check nothing, know one kind of record, and are handed
what a reader would have to find out first. A figure near one of these cannot be bettered much
without another language.
"""

from __future__ import annotations

import os
from binascii import b2a_hex
from bisect import bisect_right
from collections.abc import Iterator

from .bench import Bench
from .datasets import object_id, ref_names
from .measure import Reading, stopwatch

__all__ = ["lookup_floor", "scan_floor"]

_BLOCK = 4096
_RESTART_INTERVAL = 16


def scan_floor(bench: Bench) -> Iterator[Reading]:
    """Put all refs of the one table into a dictionary.

    Two bytes are read of each record (three where the name is long), a name is put together from
    two slices and an id is cut out of hex digits. Blocks with a record of another kind than most
    are not taken; the time is scaled up to the number of all refs.
    """
    (table,) = (bench.repositories.one / "reftable").glob("*.ref")
    data = table.read_bytes()
    blocks = [
        data[start : start + _BLOCK]
        for start in range(_BLOCK, len(data), _BLOCK)
        if data[start : start + 1] == b"r"
    ]
    blocks = [block for block in blocks if _is_plain(block)]
    ids = [slice(2 * i, 2 * i + 40) for i in range(_BLOCK + 1)]
    while True:
        with stopwatch() as watch:
            refs: dict[bytes, bytes] = {}
            for block in blocks:
                refs.update(_scan(block, ids))
        seconds = watch.seconds / len(refs) * bench.scale.refs
        yield Reading(seconds, watch.seconds)
        del refs


def _is_plain(block: bytes) -> bool:
    """Tell whether all records of a ref block are what :func:`_scan` takes them for."""
    pos, end = 4, _end(block)
    while pos < end:
        if block[pos] > 127:
            return False
        head = block[pos + 1]
        pos += 2
        if head > 127:
            head = (head - 127) << 7 | block[pos]
            pos += 1
        if head & 7 != 1:
            return False
        pos += (head >> 3) + 21
    return pos == end


def _end(block: bytes) -> int:
    length = int.from_bytes(block[1:4], "big")
    restarts = int.from_bytes(block[length - 2 : length], "big")
    return length - 2 - 3 * restarts


def _scan(block: bytes, ids: list[slice]) -> Iterator[tuple[bytes, bytes]]:
    names = []
    values = []
    digits = b2a_hex(block)
    pos, end = 4, _end(block)
    name = b""
    while pos < end:
        prefix = block[pos]
        head = block[pos + 1]
        pos += 2
        if head > 127:
            head = (head - 127) << 7 | block[pos]
            pos += 1
        value = pos + (head >> 3)
        name = name[:prefix] + block[pos:value]
        names.append(name)
        values.append(digits[ids[value + 1]])
        pos = value + 21
    return zip(names, values, strict=True)


def lookup_floor(bench: Bench) -> Iterator[Reading]:
    """Look refs up: a look at the list, two bisections, on average half a run of records.

    The keys at restarts and the runs of records behind them have been read before.
    """
    all_names = ref_names(bench.scale.refs)
    restarts = all_names[::_RESTART_INTERVAL]
    per_block = 9
    blocks = [restarts[i : i + per_block] for i in range(0, len(restarts), per_block)]
    block_keys = [block[0] for block in blocks]
    runs = [
        _encoded(all_names[i : i + _RESTART_INTERVAL])
        for i in range(0, len(all_names), _RESTART_INTERVAL)
    ]
    tables_list = os.fspath(bench.repositories.one / "reftable" / "tables.list")
    stat = os.stat
    while True:
        names = bench.sample(bench.scale.lookups)
        with stopwatch() as watch:
            for name in names:
                stat(tables_list)
                block = bisect_right(block_keys, name) - 1
                restart = bisect_right(blocks[block], name) - 1
                run = runs[block * per_block + restart]
                pos = 0
                while True:  # by the length of what is shared, most records need no look at the key
                    value = pos + 2 + (run[pos + 1] >> 3)
                    if run[pos + 2 : value] == name[run[pos] :]:
                        b2a_hex(run[value + 1 : value + 21])
                        break
                    pos = value + 21
        yield watch.each(len(names))


def _encoded(names: list[bytes]) -> bytes:
    """Encode names as plain records, the first one whole; any length takes one byte here."""
    out = []
    last = b""
    for name in names:
        differing = (i for i, (a, b) in enumerate(zip(last, name, strict=False)) if a != b)
        shared = next(differing, min(len(last), len(name)))
        suffix = name[shared:]
        head = bytes((shared, len(suffix) << 3 | 1))
        out.append(head + suffix + b"\0" + object_id(name))
        last = name
    return b"".join(out)
