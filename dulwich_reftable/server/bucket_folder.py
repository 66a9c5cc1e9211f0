# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A prefix of an object store as a folder of repositories to serve.

Opening a repository in a bucket costs requests, and its open tables, packs and waiting transactions
are worth sharing. So the repositories that were asked for last stay open, for all requests. Each
request asks once for the refs, and what it reads within a second is from then. It also asks whether
the configuration is still the one that the repository was opened with; within a second, it believes
so. Updates always check the refs that are in place.

Nobody owns a repository in a bucket but who has its credentials, so ``safe.directory`` does not
count, and there are no hook scripts.
"""

from __future__ import annotations

import errno
import threading
from collections import OrderedDict
from contextlib import suppress
from typing import Any

from dulwich.errors import NotGitRepository
from dulwich.refs import Ref

from ..bucket.cache import Cache
from ..bucket.client import Bucket
from ..bucket.opening import open_store
from ..bucket.repo import BucketRepo
from ..engine.errors import StorageError
from ..engine.stack.lock_queue import Waiter
from .creation import UnbornRepo, default_branch, parts_of
from .errors import RefusedError
from .folder import Session

__all__ = ["BucketFolder"]

_MAX_OPEN = 256
"""How many repositories stay open."""
_MAX_AGE = 1.0
"""For how many seconds after a request began its refs are taken for current."""
_FILE_MAX_AGE = 1.0
"""For how many seconds a configuration is taken for current without a request."""


class BucketFolder:
    """A folder of repositories in an object store. Threads share it; close it after use.

    Args:
      place: URL of the folder, such as ``s3://bucket/prefix``; a store of obstore; or a
        :class:`~dulwich_reftable.bucket.Bucket`
      create: whether a push to a repository that does not exist creates it;
        :func:`.creation.parts_of` says which names are allowed
      cache: keeps copies of packs on the local disk; None for a temporary one
      **options: as for :func:`~dulwich_reftable.bucket.open_store`

    Attributes:
      root: the location, for messages
    """

    def __init__(
        self, place: Any, *, create: bool = False, cache: Cache | None = None, **options: Any
    ) -> None:
        self._bucket = place if isinstance(place, Bucket) else open_store(place, **options)
        self.root = self._bucket.location
        self._own_cache = Cache() if cache is None else None
        self._cache = cache or self._own_cache
        self._creates = create
        self._lock = threading.Lock()
        self._open: OrderedDict[str, BucketRepo] = OrderedDict()

    def close(self) -> None:
        """Let go of all repositories, and remove temporary files."""
        with self._lock:
            repos = [*self._open.values()]
            self._open.clear()
        for repo in repos:
            repo.close()
        if self._own_cache is not None:
            self._own_cache.close()

    def find(self, path: str | bytes) -> BucketRepo:
        """Give a repository, which stays open.

        Args:
          path: as the client sent it; ``.git`` at its end may be missing
        Raises:
          NotGitRepository: if there is none
          StorageError: if the store does not say whether there is one
        """
        place = _place(path)
        # One that is open comes first: to ask for the other one would be a request each time.
        for candidate in sorted((place, place + ".git"), key=lambda one: one not in self._open):
            with suppress(NotGitRepository):
                repo = self._get(candidate)
                repo.refs.store.shared.snapshot(max_age=0)
                return repo
        raise NotGitRepository(f"no repository at {_text(path)!a}")

    def find_for_push(self, path: str | bytes) -> BucketRepo | UnbornRepo:
        """Give a repository, or a stand-in for one that the push may create.

        Args:
          path: as the client sent it
        Raises:
          NotGitRepository: if there is none, and none can be created
          StorageError: if the store does not say whether there is one
        """
        try:
            return self.find(path)
        except NotGitRepository:
            if not self._creates:
                raise
        place = "/".join(parts_of(_text(path)))
        return UnbornRepo(place, lambda timeout: _Creation(self, place, timeout))

    def release(self, repo: BucketRepo | UnbornRepo) -> None:
        """Close what a request has opened: others may use the same repository."""
        if isinstance(repo, UnbornRepo):
            repo.close()

    def name_of(self, repo: BucketRepo | UnbornRepo) -> str:
        """Give the path of a repository below the folder."""
        if isinstance(repo, UnbornRepo):
            return repo.place
        return repo.bucket.location.removeprefix(f"{self.root}/")

    def session(self) -> Session:
        """Begin a request."""
        return Session(self)

    def _get(self, place: str) -> BucketRepo:
        """Give a repository that is open, or open it.

        Raises:
          NotGitRepository: if there is none
        """
        with self._lock:
            repo = self._open.get(place)
            if repo is not None:
                self._open.move_to_end(place)
        if repo is not None:
            try:
                if repo.is_current():
                    return repo
            except NotGitRepository:
                self._forget(place, repo)
                raise
            self._forget(place, repo)
        made = BucketRepo(
            self._bucket.within(place),
            cache=self._cache,
            max_age=_MAX_AGE,
            file_max_age=_FILE_MAX_AGE,
        )
        with self._lock:
            # One object for all threads: their transactions wait for each other in it.
            repo = self._open.setdefault(place, made)
            while len(self._open) > _MAX_OPEN:
                self._open.popitem(last=False)
        return repo

    def _forget(self, place: str, repo: BucketRepo) -> None:
        with self._lock:
            if self._open.get(place) is repo:
                del self._open[place]

    def draft(self, place: str) -> BucketRepo:
        """Make a repository that nobody finds until it is published."""
        bucket = self._bucket.within(place)
        return BucketRepo.draft(bucket, cache=self._cache, default_branch=default_branch())


class _Creation:
    """Creates one repository; a context manager, as :class:`.creation.Creation`.

    The push goes to a draft, whose configuration is not written yet. Servers that create the same
    repository at the same time share its refs: a push finds those of the other, as if the
    repository had been there. So it does not matter which one publishes it.

    Attributes:
      repo: the repository to push to
    """

    repo: BucketRepo

    def __init__(self, folder: BucketFolder, place: str, timeout: float) -> None:
        self._folder = folder
        self._place = place
        self._timeout = timeout
        self._turn = Waiter(f"{folder.root}/{place}")
        self._draft: BucketRepo | None = None

    def __enter__(self) -> _Creation:
        if not self._turn.wait(self._timeout):
            raise RefusedError("another push is making this repository; try again later")
        try:
            try:
                self.repo = self._folder.find(self._place)
            except NotGitRepository:
                self._draft = self.repo = self._folder.draft(self._place)
                if self.repo.refs.subkeys(Ref(b"refs")):
                    # Its server has died, or is about to publish it: the client has to see them.
                    self.publish()
        except BaseException:
            self._turn.leave(had_lock=True)
            raise
        return self

    def publish(self) -> None:
        """Let others find the repository.

        Raises:
          StorageError: if that fails
        """
        draft, self._draft = self._draft, None
        if draft is not None:
            try:
                draft.publish()
            except StorageError as error:
                if error.errno != errno.EEXIST:
                    raise
            self.repo = self._folder.find(self._place)

    def __exit__(self, *error: object) -> None:
        self._turn.leave(had_lock=True)


def _text(path: str | bytes) -> str:
    return path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path


def _place(path: str | bytes) -> str:
    """Turn a path of a client into a prefix of keys.

    Raises:
      NotGitRepository: if nothing can be there
    """
    text = _text(path)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if parts and parts[-1] == ".git":
        parts.pop()
    if not parts or ".." in parts or not text.isascii() or not text.isprintable():
        raise NotGitRepository(f"no repository at {text!a}")
    return "/".join(parts)
