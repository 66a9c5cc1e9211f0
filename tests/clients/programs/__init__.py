"""The programs, a module each."""

from ..program import Program
from .breezy import Breezy
from .comet_ml import CometML
from .errbot import Errbot
from .hg_git import HgGit
from .klaus import Klaus
from .nanobot_ai import NanobotAI
from .poetry import Poetry
from .reno import Reno
from .scmrepo import Scmrepo
from .southwark import Southwark
from .xandikos import Xandikos

__all__ = ["PROGRAMS"]

PROGRAMS: tuple[type[Program], ...] = (
    Klaus,
    Reno,
    Xandikos,
    Poetry,
    HgGit,
    CometML,
    Southwark,
    NanobotAI,
    Scmrepo,
    Errbot,
    Breezy,
)
"""All of them."""
