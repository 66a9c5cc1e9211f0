"""What an enabled environment costs programs that use no reftable repository.

    python -m tests.benchmarks.startup [--runs N]

Two virtual environments that differ in the hook only take turns, process by process: an empty
program, one that imports dulwich, and one that opens a files repository many times. Printed are
medians of processor time, and the differences; the load of the machine falls on both.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

from dulwich.repo import Repo

from dulwich_reftable import __version__
from dulwich_reftable.automatic.site_files import SiteFiles

ROOT = Path(__file__).parents[2]
OPENINGS = 300

IMPORT = "import time; before = time.process_time(); import dulwich.repo"
IMPORT += "; print(time.process_time() - before)"
OPEN = f"""
import gc, sys, time
from dulwich.repo import Repo
Repo(sys.argv[1]).close()
times = []
gc.disable()
for _ in range({OPENINGS}):
    before = time.perf_counter()
    repo = Repo(sys.argv[1])
    times.append(time.perf_counter() - before)
    repo.close()
print(sorted(times)[len(times) // 2])
"""


def make_environment(root: Path, *, is_enabled: bool) -> Path:
    """Make an environment that imports what this one does; return its Python."""
    venv.create(root, symlinks=os.name != "nt")
    python = root / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    program = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.check_output([python, "-c", program], text=True).strip())
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(ROOT)}
    site.joinpath("_paths.pth").write_text("".join(f"{path}\n" for path in paths))
    if is_enabled:
        SiteFiles(str(site), __version__).write()
    return python


def empty(python: Path) -> float:
    """Time a process that does nothing."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([python, "-c", "pass"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def printed_by(python: Path, program: str, *args: str) -> float:
    """Run a program that times something itself."""
    return float(subprocess.check_output([python, "-c", program, *args]))


def main() -> int:
    """Measure, and print a line each."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.startup")
    parser.add_argument("--runs", type=int, default=300, metavar="N", help="of the empty program")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        pythons = [
            make_environment(place / str(is_enabled), is_enabled=is_enabled)
            for is_enabled in (False, True)
        ]
        path = str(place / "repository")
        Repo.init(path, mkdir=True).close()
        works = (
            ("an empty program", runs, empty),
            ("import dulwich.repo", runs // 5, lambda python: printed_by(python, IMPORT)),
            ("open a files repository", runs // 5, lambda python: printed_by(python, OPEN, path)),
        )
        for title, repeat, work in works:
            times: list[list[float]] = [[], []]
            for number in range(repeat + 1):
                for at in (0, 1) if number % 2 else (1, 0):
                    seconds = work(pythons[at])
                    if number:  # the first compiles modules
                        times[at].append(seconds)
            without, hooked = map(statistics.median, times)
            print(
                f"{title}: {without * 1e3:.3f} ms without, {hooked * 1e3:.3f} ms with the hook: "
                f"{(hooked - without) * 1e3:+.3f} ms, {(hooked / without - 1) * 100:+.1f}%",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
