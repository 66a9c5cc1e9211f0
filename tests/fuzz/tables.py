"""Damage the tables in ``tests/vectors``, and small ones of our own, at random and read them.

    python -m tests.fuzz.tables --seconds 60 --seed 1

It checks what ``tests/engine/test_corruption.py`` checks, with more damage at a time than a test
can try exhaustively: bytes set, cut out, doubled, exchanged or copied from another table; footers
pointing elsewhere; mostly sealed again with a checksum that fits, so that the damage is met behind
the front door. Whatever the bytes are,

* reading raises ``CorruptTableError`` and nothing else,
* no reading takes longer than a few seconds,
* a lookup that answers does not disagree with a scan that answers.

The last cannot be promised for damage that was sealed: a length that swallows the next record
whole is noticed by a search alone. So disagreements are counted and shown, but only the first
two make the exit status 1. ``--save`` names a directory for the tables that are shown, ``--file``
reads such a table again.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from pathlib import Path

from engine.observation import Known, lookups_that_disagree, observe
from engine.tables import FOOTER, HEADER, footer_positions, log, numbered, reseal, write

from dulwich_reftable.engine.table.writer import WriteOptions

VECTORS = Path(__file__).parent.parent / "vectors"
TOO_LONG = 5.0
DISAGREES = "a lookup disagrees with the scan"
LARGEST = 8_000  # larger vectors take too long to read in all ways
ASKED = 12  # names and ids that are looked up


def corpus() -> list[bytes]:
    """The tables to damage."""
    vectors = [path.read_bytes() for path in sorted(VECTORS.glob("*.ref"))]
    options = [
        WriteOptions(128, 3, aligned=False),
        WriteOptions(256, 4),
        WriteOptions(200, 1, index_objects=False),
    ]
    ours = [write(numbered(30), [log(b"a", 1, 1)], each, (1, 4)) for each in options]
    logs = [log(b"refs/heads/%02d" % i, 1, i, b"message\n") for i in range(20)]
    ours.append(write([], logs, WriteOptions(256), (1, 4)))
    return [data for data in (*vectors, *ours) if len(data) < LARGEST]


def sample(rng: random.Random, data: bytes) -> Known:
    """A few of the things that a sound table holds."""
    known = Known.of(data)
    return Known(*(sorted(rng.sample(all_, min(len(all_), ASKED))) for all_ in (
        list(known.names), list(known.ids), list(known.log_keys)
    )))  # fmt: skip


def damage(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Do a table some harm."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(out))
        some = rng.randrange(1, rng.choice((2, 4, 40)) + 1)
        what = rng.randrange(8)
        if what < 3:
            out[at] = rng.randrange(256)
        elif what == 3:
            out[at] ^= 1 << rng.randrange(8)
        elif what == 4:
            del out[at : at + some]
        elif what == 5:
            out[at:at] = out[at : at + some]
        elif what == 6:
            there = rng.randrange(len(out))
            out[at : at + some] = out[there : there + some]
        else:
            there = rng.randrange(len(other))
            out[at : at + some] = other[there : there + some]
        if len(out) < 120:
            break
    return seal(rng, bytes(out))


def seal(rng: random.Random, data: bytes) -> bytes:
    """Mostly give a table a footer that fits its header; sometimes let it point elsewhere."""
    if len(data) < HEADER[2] + FOOTER[2] or data[4] not in HEADER or rng.random() < 0.1:
        return data
    positions = list(footer_positions(data))
    if rng.random() < 0.2:
        positions[rng.randrange(5)] = rng.randrange(len(data) * 2)
    return reseal(data, positions=tuple(positions))


def complaint(data: bytes, known: Known) -> str | None:
    """Read a table in all ways; tell what went wrong."""
    started = time.monotonic()
    try:
        seen = observe(data, known)
    except Exception:
        return traceback.format_exc()
    took = time.monotonic() - started
    if took > TOO_LONG:
        return f"took {took:.1f} s"
    wrong = lookups_that_disagree(seen)
    return f"{DISAGREES}: {wrong[:3]}" if wrong else None


def main() -> int:
    """Run for the time that the command line gives."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--save", type=Path, help="directory for tables that broke something")
    parser.add_argument("--file", type=Path, help="read this table only")
    arguments = parser.parse_args()
    tables = corpus()
    if arguments.file:
        data = arguments.file.read_bytes()
        for table in tables:
            print(complaint(data, Known.of(table)))
        return 0
    print(f"seed {arguments.seed}")
    rng = random.Random(arguments.seed)
    until = time.monotonic() + arguments.seconds
    tried = failed = disagreed = 0
    while time.monotonic() < until:
        table = rng.choice(tables)
        known = sample(rng, table)
        for _ in range(20):
            data = damage(rng, table, rng.choice(tables))
            said = complaint(data, known)
            tried += 1
            if said:
                disagreed += said.startswith(DISAGREES)
                failed += not said.startswith(DISAGREES)
                print(f"-- {len(data)} bytes, number {tried}\n{said}")
                if arguments.save:
                    arguments.save.mkdir(parents=True, exist_ok=True)
                    (arguments.save / f"{arguments.seed}-{tried}.ref").write_bytes(data)
    print(f"{tried} damaged tables, {failed} failures, {disagreed} disagreements")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
