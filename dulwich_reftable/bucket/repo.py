# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``BucketRepo``: a bare repository whose refs, objects and configuration are in an object store.

The refs are one stack of reftables (:mod:`.storage`), the objects are packs (:mod:`.object_store`),
and all other files are objects below ``files`` (:mod:`.named_files`). The object ``config`` makes a
repository of a place. :meth:`BucketRepo.init` creates it last, on the condition that there is none:
of several that make the same repository one succeeds, and one that dies leaves nothing that anybody
takes for a repository, or that is in the way of the next one.

There are no directories, so there are no hook scripts, working trees, indexes or linked worktrees.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterable
from io import BytesIO
from types import TracebackType
from typing import Any, BinaryIO, NoReturn

from dulwich.config import Config
from dulwich.errors import NoIndexPresent, NotGitRepository
from dulwich.object_format import get_object_format
from dulwich.reflog import Entry
from dulwich.refs import Ref
from dulwich.repo import BaseRepo, get_user_identity

from ..config.files import config_in_force
from ..config.ref_format import OBJECT_FORMATS, hash_size_of, ref_format_of
from ..config.settings import Settings
from ..config.values import GitStackedConfig
from ..engine.errors import ConfigurationError, ReftableError, StaleListError
from ..naming.names import is_legal
from ..refs.container import ReftableRefsContainer
from ..refs.store import RefStore
from ..refs.worktrees import SingleStorage
from ..repo.tags import RepoPeeler
from .auto_gc import AutoGC
from .cache import Cache
from .client import Bucket, Fetched
from .configuration import BucketConfig
from .creation import draft, taken
from .head import GRACE
from .named_files import CONFIG, NamedFiles
from .object_store import BucketObjectStore
from .opening import open_store
from .shallow import update_shallow
from .storage import BucketStorage

__all__ = ["BucketRepo"]

_LOCK_TIMEOUT = 10.0
"""Seconds for which an update is tried anew while others are faster, unless the configuration has
``reftable.lockTimeout``: git's default is made for local disks."""


class BucketRepo(BaseRepo):
    """A repository in an object store. It is bare, and threads may share it.

    Args:
      place: URL of the repository, such as ``s3://bucket/path``; a store of obstore; or a
        :class:`~.client.Bucket`
      cache: keeps copies of packs on the local disk; None for a temporary one of its own
      max_age: for how many seconds readers take refs for current without a request. By default
        each operation asks once
      file_max_age: the same for the configuration and other files; None for ``max_age``
      **options: as for :func:`~.opening.open_store`

    Attributes:
      bucket: the place
      refs: a :class:`~dulwich_reftable.ReftableRefsContainer`
      object_store: a :class:`~.object_store.BucketObjectStore`

    Raises:
      NotGitRepository: if there is no repository; a missing bucket, wrong credentials or a store
        that does not answer are a ``StorageError`` instead
      ConfigurationError: if the URL, an option or the repository's configuration is wrong
      StorageError: one of :mod:`.errors`
    """

    bare = True
    ref_format = "reftable"
    refs: ReftableRefsContainer
    object_store: BucketObjectStore

    def __init__(
        self,
        place: Any,
        *,
        cache: Cache | None = None,
        max_age: float = 0.0,
        file_max_age: float | None = None,
        **options: Any,
    ) -> None:
        bucket = _bucket_of(place, options)
        age = max_age if file_max_age is None else file_max_age
        self._open(bucket, NamedFiles(bucket, age), cache, max_age)

    def _open(
        self, bucket: Bucket, files: NamedFiles, cache: Cache | None, max_age: float = 0.0
    ) -> None:
        self.bucket = bucket
        self._files = files
        self._opened_with = self._find_config()
        own = BucketConfig.read(self._files, self._opened_with, bucket.locate(CONFIG))
        if ref_format_of(own) != "reftable":
            raise ConfigurationError(f"{bucket.locate(CONFIG)}: the refs are not in reftables")
        settings = Settings.of(config_in_force(own), hash_size_of(own))
        objects = BucketObjectStore(
            bucket, cache=cache, object_format=_format_of(settings.write.hash_size)
        )
        storage = BucketStorage(bucket)
        storage.current.on_news = objects.expect_news
        self._peel = RepoPeeler(self)
        store = RefStore(SingleStorage(storage), settings, self._peel, self._identity)
        store.set_default_lock_timeout(_LOCK_TIMEOUT)
        store.shared.max_age = max_age
        refs = ReftableRefsContainer.over(store)
        super().__init__(objects, refs, objects.object_format)
        self._auto_gc = AutoGC(objects, refs, self.get_shallow)

    @classmethod
    def init(cls, place: Any, *, description: bytes | None = None, **options: Any) -> BucketRepo:
        """Create a repository.

        Args:
          place: as for the class
          description: of the repository
          **options: as for :meth:`draft`
        Returns: the repository
        Raises:
          StorageError: as for :meth:`draft`
          UnfitStoreError: if the store ignores conditions
          OutcomeUnknownError: if nobody knows whether the repository is, or will be, there
          ValueError: as for :meth:`draft`
        """
        repo = cls.draft(place, **options)
        repo.publish()
        if description is not None:
            repo.set_description(description)
        return repo

    @classmethod
    def draft(
        cls,
        place: Any,
        *,
        object_format: str | None = None,
        default_branch: bytes | None = None,
        grace: float = GRACE,
        cache: Cache | None = None,
        max_age: float = 0.0,
        file_max_age: float | None = None,
        **options: Any,
    ) -> BucketRepo:
        """Create a repository that nobody finds until it is published.

        Args:
          place: as for the class
          object_format: ``"sha1"`` or ``"sha256"``; None for SHA-1
          default_branch: short name of the branch that HEAD leads to; None for
            ``init.defaultBranch``
          grace: seconds for which replaced tables are kept for those who read them
          cache: as for the class
          max_age: as for the class
          file_max_age: as for the class
          **options: as for the class
        Returns: the repository
        Raises:
          StorageError: one of :mod:`.errors`; ``EEXIST`` if there is a repository
          UnfitStoreError: if the store ignores conditions
          OutcomeUnknownError: if nobody knows whether the repository is, or will be, there
          ValueError: if the hash or the branch is impossible; nothing was made
        """
        bucket = _bucket_of(place, options)
        files = NamedFiles(bucket, max_age if file_max_age is None else file_max_age)
        draft(bucket, files, object_format, default_branch, grace)
        repo = cls.__new__(cls)
        repo._open(bucket, files, cache, max_age)
        return repo

    def publish(self) -> None:
        """Let others find a repository that :meth:`draft` has made.

        Raises:
          StorageError: one of :mod:`.errors`; ``EEXIST`` if somebody else has made it meanwhile:
            its refs are the same
          OutcomeUnknownError: if nobody knows whether it is, or will be, there
        """
        try:
            self._files.publish(CONFIG)
        except StaleListError:
            raise taken(self.bucket) from None
        self._opened_with = self._find_config()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.bucket.location}>"

    def __enter__(self) -> BucketRepo:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of open tables and packs, and remove temporary files."""
        self._peel.close()
        self.refs.close()
        self.object_store.close()

    # Configuration

    def _find_config(self) -> Fetched:
        found = self._files.read(CONFIG)
        if found is None:
            raise NotGitRepository(f"no repository at {self.bucket.location}")
        return found

    def is_current(self) -> bool:
        """Tell whether the configuration is still the one that the repository was opened with.

        The settings of refs are read when a repository is opened, as on disk.

        Raises:
          NotGitRepository: if the repository is gone
          StorageError: one of :mod:`.errors`
        """
        return self._find_config() is self._opened_with

    def get_config(self) -> BucketConfig:
        """Read the repository's configuration.

        Returns: the configuration; it reads values as git does, and its ``write_to_path`` fails if
          somebody else has changed it
        """
        return BucketConfig.read(self._files, self._find_config(), self.bucket.locate(CONFIG))

    def get_config_stack(self) -> GitStackedConfig:
        """Read the configuration that is in force: the environment, the repository's, the user's
        and the system's; files that the repository's asks to include are not read.
        """  # noqa: D205
        return config_in_force(self.get_config())

    def _identity(self) -> bytes:
        found = self._files.latest(CONFIG) or self._opened_with
        config = BucketConfig.read(self._files, found, self.bucket.locate(CONFIG))
        return get_user_identity(config_in_force(config), "COMMITTER")

    # Files

    def get_named_file(self, path: str | bytes, basedir: str | None = None) -> BinaryIO | None:
        """Get a file of the control directory, or a ref by the name that its file would have.

        Args:
          path: of the file, relative to the control directory
          basedir: of no use here
        Returns: the open file, None if there is none
        """
        name = _relative(path)
        if is_legal(os.fsencode(name)):
            value = self.refs.read_ref(Ref(os.fsencode(name)))
            return None if value is None else BytesIO(value + b"\n")
        found = self._files.read(name)
        return None if found is None else BytesIO(found.data)

    def _put_named_file(self, path: str, contents: bytes) -> None:
        name = _relative(path)
        if not is_legal(os.fsencode(name)):
            self._files.put(name, contents)
            return
        with self.refs.transaction() as transaction:
            transaction.add_update(Ref(os.fsencode(name)), contents.strip(), follow=False)

    def _del_named_file(self, path: str) -> None:
        name = _relative(path)
        if not is_legal(os.fsencode(name)):
            self._files.delete(name)
        elif self.refs.read_ref(Ref(os.fsencode(name))) is not None:
            self.refs.remove_if_equals(Ref(os.fsencode(name)), None)

    def get_description(self) -> bytes | None:
        """Read the description; None if there is none."""
        found = self._files.read("description")
        return None if found is None else found.data

    def set_description(self, description: bytes) -> None:
        """Write the description."""
        self._files.put("description", description)

    def update_shallow(
        self, new_shallow: Iterable[bytes] | None, new_unshallow: Iterable[bytes] | None
    ) -> None:
        """Change the list of shallow commits; others may change it at the same time.

        Args:
          new_shallow: hex ids of commits that become shallow
          new_unshallow: hex ids of commits that are shallow no longer
        """
        length = self.object_format.hex_length
        update_shallow(self._files, new_shallow or (), new_unshallow or (), length)

    def auto_gc(self, config: Config | None = None) -> threading.Thread | None:
        """Merge packs in the background if there are too many; the server calls it after a push.

        Args:
          config: in force; read anew by default
        Returns: the thread that is at it; None if there is nothing to do
        """
        return self._auto_gc.start(self.get_config_stack() if config is None else config)

    # Reflogs

    def read_reflog(self, ref: bytes) -> Generator[Entry, None, None]:
        """Read reflog entries for a reference.

        Args:
          ref: name of the ref
        Yields: entries, oldest first
        """
        yield from self.refs.read_reflog(Ref(ref))

    # What a bucket does not have

    def _refuse(self, what: str) -> NoReturn:
        raise ReftableError(f"{self.bucket.location} is in an object store: there is no {what}")

    @property
    def path(self) -> str:
        """The location, for messages: there is no directory."""
        return self.bucket.location

    def controldir(self) -> str:
        """Refuse: there is no control directory."""
        self._refuse("control directory")

    def commondir(self) -> str:
        """Refuse: there is no control directory."""
        self._refuse("control directory")

    def get_worktree(self) -> Any:
        """Refuse: there is no working tree."""
        self._refuse("working tree")

    def open_index(self, config: Any = None) -> NoReturn:
        """Refuse: there is no index, as in all bare repositories."""
        raise NoIndexPresent

    def _change_object_format(self, object_format_name: str) -> None:
        self._refuse(f"change to {object_format_name} once it is made")


def _bucket_of(place: Any, options: dict[str, Any]) -> Bucket:
    if isinstance(place, Bucket):
        if options:
            raise ConfigurationError("options are for URLs")
        return place
    return open_store(place, **options)


def _format_of(hash_size: int) -> Any:
    names = [name for name in OBJECT_FORMATS if get_object_format(name).oid_length == hash_size]
    return get_object_format(names[0])


def _relative(path: str | bytes) -> str:
    return os.fsdecode(path).replace(os.path.sep, "/").lstrip("/")
