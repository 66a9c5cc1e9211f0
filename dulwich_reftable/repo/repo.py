# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``Repo``: dulwich's repository, with refs in the format that its configuration selects.

dulwich's constructor makes the refs container, and refuses extensions that it does not know. So
:meth:`Repo.get_config` hides those extensions while the constructor runs. It also puts our
container in place when it is first called. That is before conditional includes read the branch, and
before dulwich creates files in a repository that is only read.

Methods here answer where dulwich asks the repository object. Where dulwich reads files instead, its
functions are patched while such a repository is open (:mod:`dulwich_reftable.patching.table`).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cached_property
from io import BytesIO
from typing import Any, BinaryIO, cast

from dulwich.config import ConfigFile, StackedConfig
from dulwich.object_store import PackBasedObjectStore
from dulwich.reflog import Entry
from dulwich.refs import DiskRefsContainer, Ref
from dulwich.repo import CONTROLDIR, get_user_identity
from dulwich.repo import Repo as DulwichRepo

from ..compat import (
    REPO,
    UnsupportedDulwichError,
    check_all,
    condition_matchers,
    init_arguments,
    reflog_of_files,
    set_filesystem_hidden,
    set_setting,
    values_of,
)
from ..config.files import config_in_force, includes_files, naming_file, own_config
from ..config.object_settings import apply_object_settings
from ..config.ref_format import check_environment, hash_size_of, ref_format_of, shown_extensions
from ..config.settings import Settings, shared_mode
from ..config.values import GitConfigFile
from ..engine.table.writer import WriteOptions
from ..naming.names import is_legal
from ..patching.table import AROUND_REPO
from ..refs.container import ReftableRefsContainer
from .files_refs import WatchedFilesRefs
from .first_config import check_choice, write_first_config
from .present_refs import find_missing_objects
from .stubs import write_stubs
from .tags import RepoPeeler

__all__ = ["Repo", "opening"]

check_all(REPO)


@contextmanager
def opening(repo: DulwichRepo) -> Iterator[None]:
    """Give the context to run dulwich's constructor in.

    Args:
      repo: the object to construct; its class may become ours meanwhile
    """
    vars(repo)["_is_opening"] = True
    try:
        yield
    finally:
        del vars(repo)["_is_opening"]
    if isinstance(repo, Repo):
        repo._finish_opening()


class Repo(DulwichRepo):
    """A repository on disk, whichever format its refs are in.

    Args and errors are those of ``dulwich.repo.Repo``. ``refs`` is a
    :class:`~dulwich_reftable.ReftableRefsContainer` where the configuration has
    ``extensions.refStorage = reftable`` or ``extensions.reftable = true``, else dulwich's own.

    While a reftable repository is open, those functions of dulwich that would read its refs as
    files are patched; :meth:`close` ends that.
    """

    _is_opening = False
    _read_config: GitConfigFile | None = None

    def __init__(
        self,
        root: str | bytes | os.PathLike[str] | None = None,
        object_store: PackBasedObjectStore | None = None,
        bare: bool | None = None,
        **kwargs: Any,
    ) -> None:
        with opening(self):
            super().__init__(root, object_store, bare, **kwargs)
        if isinstance(self.refs, ReftableRefsContainer):
            self._hold_patches()

    def _hold_patches(self, stacklevel: int = 3) -> None:
        """Patch the functions of dulwich that bypass a repository object; warn if that fails."""
        try:
            AROUND_REPO.hold(self)
        except UnsupportedDulwichError as error:
            warnings.warn(str(error), RuntimeWarning, stacklevel=stacklevel)

    def _rely_on_install(self) -> None:
        """Release our own hold on the patches; those that ``install()`` holds stay."""
        AROUND_REPO.release(self)

    @property
    def _relies_on_install(self) -> bool:
        return not AROUND_REPO.is_held_by(self)

    def _finish_opening(self) -> None:
        own = self._own_config()
        apply_object_settings(self.object_store, own)
        if isinstance(self.refs, ReftableRefsContainer):
            # dulwich needs refs before the whole configuration can be read.
            settings = self._settings()
            if settings != self.refs.store.settings:
                self.refs.close()
                self.refs = self._reftable_refs(settings)
        elif ref_format_of(own) == "reftable":  # before 0.23.1, dulwich makes its container last
            self.refs = self._reftable_refs(self._settings())
        elif type(self.refs) is DiskRefsContainer:
            self.refs = self._files_refs()
        self._read_config = None

    def reopen_refs(self) -> None:
        """Open the refs anew, if they were migrated to the other format.

        This object can go on after a :class:`~dulwich_reftable.RefsMovedError`, with new ``refs``.
        """
        ref_format = ref_format_of(own_config(self.commondir()))
        if ref_format == self.ref_format:
            return
        if isinstance(self.refs, ReftableRefsContainer):
            self.refs.close()
        if ref_format == "reftable":
            self.refs = self._reftable_refs(self._settings())
            self._hold_patches(stacklevel=4)  # the caller of a migration
        else:
            self.refs = self._files_refs()
            self._rely_on_install()

    def close(self) -> None:
        """Close all files that the repository has open."""
        super().close()
        if "_peel" in vars(self):
            self._peel.close()
        if isinstance(self.refs, ReftableRefsContainer):
            self.refs.close()
            self._rely_on_install()

    @property
    def ref_format(self) -> str:
        """The format of the refs: ``"reftable"`` or ``"files"``."""
        return "reftable" if isinstance(self.refs, ReftableRefsContainer) else "files"

    def get_config(self) -> ConfigFile:
        """Retrieve the config object.

        Returns: ``ConfigFile`` object for the ``.git/config`` file; it reads values as git does
        """
        common_dir = self.commondir()
        own = own_config(common_dir) if self._is_opening else None
        if own is not None:
            self._read_config = own
            ref_format = ref_format_of(own)
            check_environment(ref_format, common_dir)
            refs = vars(self).get("refs")  # before 0.23.1, dulwich sets them later
            is_other = refs is not None and not isinstance(refs, ReftableRefsContainer)
            if ref_format == "reftable" and is_other:
                write = WriteOptions(hash_size=hash_size_of(own))
                self.refs = self._reftable_refs(Settings(write))
        with naming_file(os.path.join(common_dir, "config")):
            config = GitConfigFile.of(super().get_config())
        if own is not None:
            section = (b"extensions",)
            values_of(config).pop(section, None)
            for key, value in shown_extensions(own):
                config.set(section, key, value)
        return config

    def get_config_stack(self) -> StackedConfig:
        """Retrieve the configuration that is in force for this repository.

        Returns: ``StackedConfig`` object for the environment, the worktree's file, the
          repository's, the user's and the system's; new values go to the repository's
        """
        return config_in_force(self.get_config(), self.controldir(), condition_matchers(self))

    def _own_config(self) -> GitConfigFile:
        """Read the repository's own file; while it is being opened, only once."""
        return self._read_config or own_config(self.commondir())

    def _settings(self) -> Settings:
        """Read the settings of the refs."""
        own = self._own_config()
        if includes_files(own):
            config = self.get_config_stack()
        else:  # this saves reading the file once more
            config = config_in_force(own, self.controldir(), condition_matchers(self))
        return Settings.of(config, hash_size_of(own))

    def _reftable_refs(self, settings: Settings) -> ReftableRefsContainer:
        return ReftableRefsContainer(
            self.commondir(),
            worktree_path=self.controldir(),
            settings=settings,
            peel=self._peel,
            identity=lambda: get_user_identity(self.get_config_stack(), "COMMITTER"),
        )

    def _files_refs(self) -> WatchedFilesRefs:
        return WatchedFilesRefs(self.commondir(), self.controldir(), logger=self._write_reflog)

    def _require_format(self) -> None:
        """Check that the refs are still in the format that they were opened in."""
        if isinstance(self.refs, WatchedFilesRefs):
            self.refs.check_format()

    @cached_property
    def _peel(self) -> RepoPeeler:
        return RepoPeeler(self)

    # Reflogs

    def find_missing_objects(self, determine_wants: Any, *args: Any, **kwargs: Any) -> Any:
        """Find the objects that a fetch has to send; see dulwich's."""
        if not isinstance(self.refs, ReftableRefsContainer):
            return super().find_missing_objects(determine_wants, *args, **kwargs)
        return find_missing_objects(self, determine_wants, *args, **kwargs)

    def read_reflog(self, ref: bytes) -> Generator[Entry, None, None]:
        """Read reflog entries for a reference.

        Args:
          ref: name of the ref
        Yields: entries, oldest first
        """
        if isinstance(self.refs, ReftableRefsContainer):
            yield from self.refs.read_reflog(ref)
        else:
            self._require_format()
            yield from reflog_of_files(self, ref)

    def _write_reflog(
        self,
        ref: bytes,
        old_sha: bytes,
        new_sha: bytes,
        committer: bytes | None,
        timestamp: int | None,
        timezone: int | None,
        message: bytes,
    ) -> None:
        if isinstance(self.refs, ReftableRefsContainer):
            self.refs.append_reflog(
                Ref(ref), old_sha, new_sha, message, committer, timestamp, timezone
            )
        else:
            self._require_format()
            super()._write_reflog(ref, old_sha, new_sha, committer, timestamp, timezone, message)

    # Refs by the names that their files would have: dulwich reads HEAD and CHERRY_PICK_HEAD so

    def get_named_file(self, path: str | bytes, basedir: str | None = None) -> BinaryIO | None:
        """Get a file from the control directory, or a ref by the name that its file would have.

        Args:
          path: of the file, relative to the control directory
          basedir: another directory to look in
        Returns: the open file, None if there is none
        """
        ref = self._ref_of_file(path) if basedir is None else None
        if ref is None:
            return super().get_named_file(path, basedir)
        value = self.refs.read_ref(ref)
        return None if value is None else BytesIO(value + b"\n")

    def _put_named_file(self, path: str, contents: bytes) -> None:
        ref = self._ref_of_file(path)
        if ref is None:
            super()._put_named_file(path, contents)
            return
        assert isinstance(self.refs, ReftableRefsContainer)
        with self.refs.transaction() as transaction:
            transaction.add_update(ref, contents.strip(), follow=False)

    def _del_named_file(self, path: str) -> None:
        ref = self._ref_of_file(path)
        if ref is None:
            super()._del_named_file(path)
        elif self.refs.read_ref(ref) is not None:
            self.refs.remove_if_equals(ref, None)

    def _ref_of_file(self, path: str | bytes) -> Ref | None:
        """Give the ref that would be this file in a files repository; None if it is no ref."""
        name = os.fsencode(path).lstrip(os.fsencode(os.path.sep))
        # dulwich's constructor looks for files before there are refs.
        refs = vars(self).get("refs")
        if refs is None or not is_legal(name):
            return None
        self._require_format()
        return Ref(name) if isinstance(refs, ReftableRefsContainer) else None

    # Creation

    def _change_object_format(self, object_format_name: str) -> None:
        """Change the hash of a repository without objects; cloning does so."""
        super()._change_object_format(object_format_name)
        if not isinstance(self.refs, ReftableRefsContainer):
            return
        # Without objects all refs are symrefs, and there are no reflogs. The tables have the size
        # of object ids in their headers, so they are written anew.
        targets = self.refs.get_symrefs()
        self.refs.close()
        directory = os.path.join(self.commondir(), "reftable")
        for name in os.listdir(directory) if os.path.isdir(directory) else []:
            os.remove(os.path.join(directory, name))
        self.refs = self._reftable_refs(self._settings())
        with self.refs.transaction() as transaction:
            for ref, target in targets.items():
                transaction.set_symbolic_ref(ref, target)

    @classmethod
    def init(
        cls,
        path: str | bytes | os.PathLike[str],
        *,
        mkdir: bool = False,
        ref_format: str = "reftable",
        extension: str = "refStorage",
        **kwargs: Any,
    ) -> Repo:
        """Create a repository.

        Args:
          path: its directory
          mkdir: whether to create that directory
          ref_format: ``"reftable"`` or ``"files"``
          extension: the configuration key that selects the format: ``"refStorage"``, which git
            reads, or ``"reftable"``, the key of the original design, which git does not read
          **kwargs: as for ``dulwich.repo.Repo.init``
        Returns: the repository
        Raises:
          ValueError: if the format, the extension or the hash is unknown; nothing was made
        """
        path = os.fsdecode(path)
        controldir = os.path.join(path, CONTROLDIR)
        check_choice(controldir, ref_format, extension, kwargs)
        if mkdir:
            os.mkdir(path)
        os.mkdir(controldir)
        set_filesystem_hidden(controldir)
        return cls._init_maybe_bare(
            path, controldir, False, ref_format=ref_format, extension=extension, **kwargs
        )

    @classmethod
    def init_bare(
        cls,
        path: str | bytes | os.PathLike[str],
        *,
        mkdir: bool = False,
        ref_format: str = "reftable",
        extension: str = "refStorage",
        **kwargs: Any,
    ) -> Repo:
        """Create a bare repository in an empty directory; args are those of :meth:`init`."""
        path = os.fsdecode(path)
        check_choice(path, ref_format, extension, kwargs)
        if mkdir:
            os.mkdir(path)
        return cls._init_maybe_bare(
            path, path, True, ref_format=ref_format, extension=extension, **kwargs
        )

    create = init_bare

    @classmethod
    def _init_maybe_bare(  # type: ignore[override]
        cls,
        path: str | bytes | os.PathLike[str],
        controldir: str | bytes | os.PathLike[str],
        bare: bool,
        *,
        ref_format: str = "files",
        extension: str = "refStorage",
        **kwargs: Any,
    ) -> Repo:
        check_choice(os.fsdecode(controldir), ref_format, extension, kwargs)
        kwargs = init_arguments(**kwargs)
        if ref_format == "files":
            return cast(Repo, super()._init_maybe_bare(path, controldir, bare, **kwargs))
        # dulwich opens the repository before it writes the configuration, and sets HEAD in
        # between; so the configuration has to select the format before that.
        config_path = write_first_config(
            os.fsdecode(controldir),
            extension,
            kwargs.get("object_format"),
            kwargs.get("shared_repository"),
        )
        repo = cast(Repo, super()._init_maybe_bare(path, controldir, bare, **kwargs))
        shared = shared_mode(repo.get_config())
        if shared is not None:
            shared.adjust(config_path)
        write_stubs(repo.controldir(), shared)
        return repo

    def _init_files(  # type: ignore[override]  # an older dulwich has fewer of the parameters
        self, bare: bool, symlinks: bool | None = None, **kwargs: Any
    ) -> None:
        if not isinstance(self.refs, ReftableRefsContainer):
            super()._init_files(bare, symlinks, **kwargs)
            return
        selected = list(own_config(self.commondir()).items((b"extensions",)))
        super()._init_files(bare, symlinks, **kwargs)
        config = self.get_config()
        set_setting(config, b"core", b"repositoryformatversion", b"1")
        for key, value in selected:
            config.set(b"extensions", key, value)
        config.write_to_path()
