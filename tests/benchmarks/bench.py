"""What all cases of one run share: sizes, repositories, places, what is costly to open twice."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from itertools import count
from pathlib import Path
from random import Random
from types import TracebackType

from dulwich.refs import DiskRefsContainer

from .datasets import fresh_name, ref_names
from .peers import Writer, open_files, writer
from .repositories import REFTABLE_OR_FILES, Repositories
from .scale import Scale

__all__ = ["DISK", "MEMORY", "Bench"]

DISK = "disk"
MEMORY = "memory"

_MEMORY_FILE_SYSTEM = Path("/dev/shm")
_SPACE_NEEDED = 2 << 30


class Bench:
    """One run; a context manager that removes what was written.

    Args:
      directory: where the cache of repositories is, and where is written to "on disk"
      scale: the sizes
      git: its version; None to do without it

    Attributes:
      scale, git: as given
      repositories: what is measured
      places: where can be written to: ``DISK`` and, where there is such a thing, ``MEMORY``
    """

    def __init__(self, directory: Path, scale: Scale, git: tuple[int, ...] | None) -> None:
        self.scale = scale
        self.git = git
        self.repositories = Repositories(directory / "cache", scale)
        directory.mkdir(parents=True, exist_ok=True)
        self.places = {DISK: Path(tempfile.mkdtemp(prefix="work-", dir=directory))}
        if sys.platform == "linux" and _has_space(_MEMORY_FILE_SYSTEM):
            memory = tempfile.mkdtemp(prefix="benchmarks-", dir=_MEMORY_FILE_SYSTEM)
            self.places[MEMORY] = Path(memory)
        self._files: DiskRefsContainer | None = None
        self._writers: dict[tuple[str, str, str], Writer] = {}
        self._random = Random(self.scale.refs)
        self._fresh = count()

    def __enter__(self) -> Bench:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close_writers()
        for place in self.places.values():
            shutil.rmtree(place, ignore_errors=True)

    def sample(self, number: int) -> list[bytes]:
        """Draw names of refs from the large set, other ones each time."""
        return self.drawn(ref_names(self.scale.refs), number)

    def drawn(self, names: list[bytes], number: int) -> list[bytes]:
        """Draw some of given names, other ones each time."""
        return self._random.choices(names, k=number)

    def fresh_names(self, number: int) -> list[bytes]:
        """Give names that no ref ever had."""
        return [fresh_name(next(self._fresh)) for _ in range(number)]

    @property
    def commits(self) -> list[bytes]:
        """Hex ids of commits to point new refs at."""
        return self.repositories.commits

    def files(self) -> DiskRefsContainer:
        """Give dulwich's container of the large set, opened once; it has read ``packed-refs``."""
        if self._files is None:
            self._files = open_files(self.repositories.files)
            self._files.get_packed_refs()
        return self._files

    def writer(self, kind: str, size: str, place: str) -> Writer:
        """Give a contender's writer of a repository, ``"small"`` or ``"large"``, of its own."""
        key = (kind, size, place)
        if key not in self._writers:
            ref_format = REFTABLE_OR_FILES[kind]
            repositories = self.repositories
            if size == "small":
                path = repositories.small(ref_format, self.places[place])
            else:
                original = repositories.files if ref_format == "files" else repositories.one
                path = repositories.copy(original, self.places[place])
            self._writers[key] = writer(kind, path)
        return self._writers[key]

    def close_writers(self) -> None:
        """Close them all, and forget what was opened."""
        for each in self._writers.values():
            each.close()
        self._writers.clear()
        self._files = None


def _has_space(path: Path) -> bool:
    if not (path.is_dir() and os.access(path, os.W_OK)):
        return False
    return shutil.disk_usage(path).free >= _SPACE_NEEDED
