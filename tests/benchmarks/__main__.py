"""The command ``python -m tests.benchmarks``, to be run in the root of the project.

The first run makes the repositories that are measured, and keeps them in a cache.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from . import cases_other, cases_read, cases_write, servers
from .bench import MEMORY, Bench
from .measure import measure
from .peers import find_git
from .report import row, table, write_json
from .scale import FULL, QUICK, scaled

__all__ = ["main"]

_CASES = [*cases_read.CASES, *cases_write.CASES, *cases_other.CASES]


def _default_directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dulwich-reftable-benchmarks"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small sets, about a minute")
    size.add_argument("--refs", type=int, metavar="N", help="sets with this many refs")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="only these cases, or those that begin so"
    )
    parser.add_argument("--list", action="store_true", help="give the names of all cases")
    parser.add_argument("--repeat", type=int, metavar="N", help="repetitions of each measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file")
    parser.add_argument(
        "--dir", type=Path, default=_default_directory(), help="for the cache, and to write in"
    )
    parser.add_argument(
        "--bucket",
        action="store_true",
        help="measure refs in an object store instead; --only takes writers, memory and reads",
    )
    parser.add_argument("--server", action="store_true", help="measure servers instead")
    parser.add_argument(
        "--repository", type=Path, metavar="PATH", help="with --server: what to serve"
    )
    parser.add_argument("--no-git", action="store_true", help="do without git")
    return parser.parse_args()


def _shut_out_settings() -> None:
    """Let no setting of the user's reach git or dulwich."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        del os.environ[name]
    os.environ.update(
        GIT_CONFIG_NOSYSTEM="1",
        GIT_CONFIG_GLOBAL=os.devnull,
        GIT_COMMITTER_NAME="B Enchmark",
        GIT_COMMITTER_EMAIL="bench@example.com",
        LC_ALL="C",
    )


def main() -> int:
    """Measure and tell; returns how many contenders failed."""
    arguments = _arguments()
    if arguments.server:
        _shut_out_settings()
        return servers.compare(
            arguments.dir.absolute(),
            arguments.repository,
            arguments.repeat or 3,
            arguments.only or [],
        )
    scale = QUICK if arguments.quick else scaled(arguments.refs) if arguments.refs else FULL
    if arguments.bucket:
        from . import bucket  # needs obstore

        _shut_out_settings()
        bucket.run(scale.refs, arguments.only or [])
        return 0
    cases = [
        case
        for case in _CASES
        if not arguments.only or any(case.name.startswith(name) for name in arguments.only)
    ]
    if arguments.list or not cases:
        print("\n".join(case.name for case in _CASES))
        return 0 if arguments.list else 2
    _shut_out_settings()
    if arguments.repeat:
        scale = replace(scale, repeat=arguments.repeat)
    start = time.monotonic()
    results = []
    with Bench(arguments.dir.absolute(), scale, None if arguments.no_git else find_git()) as bench:
        for case in cases:
            if case.name.endswith(MEMORY) and MEMORY not in bench.places:
                continue
            results.append(measure(case, bench, scale.repeat))
            line = f"[{time.monotonic() - start:4.0f} s] {row(results[-1], bench)}"
            print(line, file=sys.stderr, flush=True)
        print(table(results, bench))
        if arguments.json:
            write_json(arguments.json, results, bench)
    return sum(len(result.failures) for result in results)


if __name__ == "__main__":
    sys.exit(main())
