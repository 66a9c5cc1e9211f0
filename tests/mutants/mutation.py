"""What a mutation is, and whether it still fits the code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PACKAGE = "dulwich_reftable"


@dataclass(frozen=True)
class Mutation:
    """One fault.

    Attributes:
      name: what it is called on the command line
      file: where it is put, relative to the package
      old: text that stands there once
      new: what stands there instead
      why: what a user would see
      tests: files below ``tests`` (or tests in them) one of which fails
    """

    name: str
    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...]

    def path(self, root: Path) -> Path:
        """Where the file is in a tree."""
        return root / PACKAGE / self.file

    def misfit(self, root: Path) -> str | None:
        """Tell why the mutation cannot be put into a tree; None if it can."""
        path = self.path(root)
        if not path.is_file():
            return f"there is no file {self.file}"
        found = path.read_text().count(self.old)
        if found != 1:
            return f"its text occurs {found} times in {self.file}"
        if self.old == self.new:
            return "it changes nothing"
        for test in self.tests:
            if not (root / "tests" / test.partition("::")[0]).is_file():
                return f"there is no test file {test}"
        return None if self.tests else "no test is named"

    def apply(self, root: Path) -> None:
        """Put it into a tree."""
        path = self.path(root)
        path.write_text(path.read_text().replace(self.old, self.new))
