"""What came of the jobs, and the table of it."""

from __future__ import annotations

import difflib
import pprint
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .program import SIDES, Side
from .suites import Tally

__all__ = ["Answer", "Row", "table"]

_WIDTH = 70
_LINES = 24  # of what is wrong with one answer
_HEADINGS = ("program", "dulwich", "job", *(side.name for side in SIDES))


@dataclass(frozen=True)
class Answer:
    """What one side answered.

    Attributes:
      value: what the job returned
      error: why it did not, or nothing
    """

    value: object = None
    error: str = ""

    def brief(self, right: Answer) -> str:
        """Say it in the width of a column, beside the right answer."""
        if self.error:
            text = self.error.strip().splitlines()[-1].strip()
            return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."
        if isinstance(self.value, Tally):
            return f"{self.value}{'' if self.value == right.value else ': DIFFERS'}"
        if self is right:
            return "works"
        return "same" if self.value == right.value else "DIFFERS"


@dataclass(frozen=True)
class Row:
    """A job and the answers of all sides; a side that was left out has none."""

    program: str
    dulwich: str
    job: str
    answers: dict[Side, Answer]

    @property
    def right(self) -> Answer:
        """The answer on files, without us."""
        return self.answers[SIDES[0]]

    def is_right(self, side: Side) -> bool:
        """Tell whether a side answers as it should."""
        answer = self.answers[side]
        return not (answer.error or self.right.error) and answer.value == self.right.value

    @property
    def is_well(self) -> bool:
        """Whether the program does its job on files, and with us answers the same everywhere."""
        return all(self.is_right(side) for side in self.answers if side.ours or side is SIDES[0])

    def cells(self) -> list[str]:
        """Return the cells of the table's line."""
        answers = (self.answers.get(side) for side in SIDES)
        briefs = ["" if answer is None else answer.brief(self.right) for answer in answers]
        return [self.program, self.dulwich, self.job, *(one.replace("|", "/") for one in briefs)]

    def details(self) -> Iterable[str]:
        """Yield all that is known of what is wrong."""
        for side, answer in self.answers.items():
            if self.is_right(side) or not (side.ours or side is SIDES[0]):
                continue
            yield f"-- {self.program}, {self.job}: {side.name}"
            if answer.error:
                yield from answer.error.splitlines()[-_LINES:]
            else:
                both = (pprint.pformat(one.value, width=200) for one in (self.right, answer))
                before, after = (text.replace("\\n", "\n").splitlines() for text in both)
                found = difflib.unified_diff(before, after, "files", side.name, n=1, lineterm="")
                yield from list(found)[:_LINES]


def table(rows: Sequence[Row]) -> str:
    """Give the table, in Markdown."""
    cells = [_HEADINGS, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lined = [cells[0], ["-" * width for width in widths], *cells[1:]]
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lined
    )
