"""The programs, a module each."""

from ..program import Program
from .klaus import Klaus
from .reno import Reno

__all__ = ["PROGRAMS"]

PROGRAMS: tuple[type[Program], ...] = (Klaus, Reno)
"""All of them."""
