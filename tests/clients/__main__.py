"""Run other people's programs on files and on reftables, and compare the answers.

Each program is installed by pip into an environment of its own, and this package, from this tree,
beside it. Then it does its main jobs four times: on a files repository, which gives the right
answers; on the same one while this package is enabled, which must change nothing; on a reftable
repository without this package, which shows what its users see today; and on that with it, where
the answers must be those of the files. The table has all of it; the exit status is 0 if all is as
it must be. A program that pip cannot get is left out, with the reason.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from support.git import GIT_MISSING, GitError

from .environment import Environment, NotAvailableError, build_wheel
from .program import SIDES, Program, ProgramError, Side
from .programs import PROGRAMS
from .report import Answer, Row, table
from .sample import Sample
from .suites import SUITES, prepare_suite, run_suite

QUICK = ("klaus", "reno")
"""The programs of ``--quick``: two that pip installs in seconds. They work on two sides only."""


class Runner:
    """Runs programs, with what they share.

    Args:
      root: directory for everything
      sides: where the programs do their jobs
      suites: whether their own tests are run, too
    Raises:
      NotAvailableError: if a wheel of this tree cannot be built
    """

    def __init__(self, root: Path, sides: Sequence[Side], *, suites: bool) -> None:
        self.root = root
        self.sides = sides
        self.suites = suites
        self.wheel = build_wheel(root / "wheel")
        self.sample = Sample(root / "sample")

    def run(self, kind: type[Program]) -> Iterator[Row]:
        """Do all jobs of a program on all sides.

        Raises:
          NotAvailableError: if pip cannot get the program
        """
        name = kind.name()
        environment = Environment(self.root / name / "environment", kind.packages)
        environment.add_ours(self.wheel)
        version = environment.versions[name.lower().replace("_", "-")]
        about = f"{name} {version}", environment.versions["dulwich"]
        beside = {SIDES[0]: Answer(), SIDES[-1]: Answer(error=environment.refusal)}
        yield Row(*about, "pip install", beside)
        answers = {
            side: list(_answers(self._place(kind, environment, side))) for side in self.sides
        }
        for number, job in enumerate(kind.jobs()):
            yield Row(*about, job.title, {side: answers[side][number] for side in self.sides})
        if self.suites and name in SUITES:
            source = prepare_suite(name, environment, self.root / name)
            tallies = {}
            for side in (SIDES[0], SIDES[-1]):
                place = self._place(kind, environment, side)
                tallies[side] = _answer(partial(run_suite, SUITES[name], place, source))
            yield Row(*about, "its own tests", tallies)

    def _place(self, kind: type[Program], environment: Environment, side: Side) -> Program:
        """Put a program on a side, in a directory of its own. All have paths of the same length."""
        room = Path(tempfile.mkdtemp(prefix="side-", dir=environment.directory.parent))
        return kind(environment, side, room, self.sample)


def _answers(program: Program) -> Iterator[Answer]:
    """Do all jobs on one side."""
    try:
        started = _answer(program.start)
        for job in program.jobs():
            yield started if started.error else _answer(partial(job.method, program))
    finally:
        program.close()


def _answer(work: Callable[[], object]) -> Answer:
    try:
        return Answer(work())
    except (ProgramError, GitError) as error:
        return Answer(error=str(error) or repr(error))


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line says."""
    known = {kind.name(): kind for kind in PROGRAMS}
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"of {', '.join(known)}")
    parser.add_argument("--quick", action="store_true", help=f"run {' and '.join(QUICK)} only")
    parser.add_argument(
        "--suites", action="store_true", help="run their own tests, too: it takes long"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep everything in DIR")
    args = parser.parse_args(argv)
    names = args.programs or (QUICK if args.quick else list(known))
    if unknown := set(names) - set(known):
        parser.error(f"unknown programs: {', '.join(sorted(unknown))}")
    if GIT_MISSING:
        print(f"skipped: {GIT_MISSING}")
        return 0
    with tempfile.TemporaryDirectory(prefix="clients-") as temporary:
        root = (args.keep or Path(temporary)).resolve()
        root.mkdir(parents=True, exist_ok=True)
        sides = (SIDES[0], SIDES[-1]) if args.quick else SIDES
        try:
            runner = Runner(root, sides, suites=args.suites)
        except NotAvailableError as error:
            print(f"skipped: {error}")
            return 0
        return _run(runner, [known[name] for name in names])


def _run(runner: Runner, kinds: Sequence[type[Program]]) -> int:
    rows: list[Row] = []
    left_out: list[str] = []
    for kind in kinds:
        print(f"{kind.name()} ...", file=sys.stderr, flush=True)
        try:
            rows.extend(runner.run(kind))
        except NotAvailableError as error:
            left_out.append(f"skipped: {kind.name()}: {error}")
    wrong = [row for row in rows if not row.is_well]
    print(table(rows), *left_out, sep="\n")
    for row in wrong:
        print(*row.details(), sep="\n")
    print(f"{len(rows)} jobs, {len(wrong)} of them not as on files")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
