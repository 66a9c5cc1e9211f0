"""Random clones and fetches for a while: do they leave behind what git's server leaves behind?

Run it from the project's directory::

    python -m tests.soak.fetches --seconds 60

Each scenario of :mod:`tests.server.fetching` follows from a number, which is printed with every
difference. The exit status is 0 if there is none.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count, product
from pathlib import Path

from server.fetching import run_scenario
from server.serving import KINDS, running


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (60)")
    parser.add_argument("--seed", type=int, default=0, help="where to begin (0)")
    parser.add_argument("--rounds", type=int, default=2, help="clones in a scenario (2)")
    options = parser.parse_args(arguments)
    ways = list(product(KINDS, ("reftable", "files")))
    until = time.monotonic() + options.seconds
    differences = done = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "root").mkdir()
        servers = {kind: stack.enter_context(running(folder / "root", kind)) for kind in KINDS}
        for seed in count(options.seed):
            if time.monotonic() > until:
                break
            kind, ref_format = ways[seed % len(ways)]
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                found = run_scenario(
                    seed,
                    Path(scratch),
                    folder / "root",
                    servers[kind].url.__add__,
                    ref_format=ref_format,
                    rounds=options.rounds,
                )
            shutil.rmtree(folder / "root" / f"o{seed}.git")
            done += 1
            differences += len(found)
            for text in found:
                print(f"{kind}, {ref_format}: {text}")
    print(f"scenarios: {done}, differences: {differences}")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
