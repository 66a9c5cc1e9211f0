# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``Repo``: dulwich's, with the refs where the repository's configuration says they are.

dulwich decides on the refs in the middle of its constructor, by configuration keys of which it
knows one. Here the constructor is shown a configuration without those keys, and the container is
put in place at the first look at it: before conditional includes ask for the branch, and before
anything is created for a repository that is only read.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any, cast

from dulwich.config import Config, ConfigFile, StackedConfig
from dulwich.file import GitFile, SharedPerm, adjust_shared_perm
from dulwich.object_store import PackBasedObjectStore
from dulwich.objects import Tag
from dulwich.reflog import Entry
from dulwich.repo import CONTROLDIR, UnsupportedExtension, _set_filesystem_hidden, get_user_identity
from dulwich.repo import Repo as DulwichRepo

from .refs import ReftableRefsContainer
from .settings import Settings

__all__ = ["Repo", "ref_format_of", "write_stubs"]

_STUBS = {
    "HEAD": b"ref: refs/heads/.invalid\n",
    os.path.join("refs", "heads"): b"this repository uses the reftable format\n",
}
"""What tells old tools that this is a repository, and keeps them from writing refs to it."""

_EXTENSIONS = {"refStorage": b"reftable", "reftable": b"true"}
"""The configuration keys that select the format, and their values."""


def ref_format_of(config: Config) -> str:
    """Tell the format of a repository's refs by its configuration.

    Returns: ``"reftable"`` or ``"files"``
    Raises:
      UnsupportedExtension: if it names a format that is not known, two formats, or an extension in
        a repository whose ``core.repositoryformatversion`` does not allow for it
    """
    formats = set()
    for key, value in config.items((b"extensions",)):
        if key.lower() == b"refstorage":
            if value not in (b"reftable", b"files"):
                raise UnsupportedExtension(f"refStorage = {value.decode('utf-8', 'replace')}")
            formats.add(value.decode())
        elif key.lower() == b"reftable":
            enabled = config.get_boolean((b"extensions",), b"reftable", False)
            formats.add("reftable" if enabled else "files")
    if len(formats) > 1:
        raise UnsupportedExtension("refStorage and reftable contradict each other")
    if formats == {"reftable"}:
        try:
            version = config.get((b"core",), b"repositoryformatversion")
        except KeyError:
            version = b"0"
        if version != b"1":
            raise UnsupportedExtension("refStorage needs core.repositoryformatversion = 1")
        return "reftable"
    return "files"


class Repo(DulwichRepo):
    """A repository on disk, whichever format its refs are in.

    Args and errors are those of ``dulwich.repo.Repo``. ``refs`` is a
    :class:`~dulwich_reftable.refs.ReftableRefsContainer` where the configuration has
    ``extensions.refStorage = reftable`` or ``extensions.reftable = true``, else dulwich's own.
    """

    _is_opening = False

    def __init__(
        self,
        root: str | bytes | os.PathLike[str] | None = None,
        object_store: PackBasedObjectStore | None = None,
        bare: bool | None = None,
        **kwargs: Any,
    ) -> None:
        self._is_opening = True
        try:
            super().__init__(root, object_store, bare, **kwargs)
        finally:
            self._is_opening = False
        if isinstance(self.refs, ReftableRefsContainer):
            # Now that included files can be told: they may have settings, too.
            self.refs = self._reftable_refs(self.get_config_stack())

    @property
    def ref_format(self) -> str:
        """The format of the refs: ``"reftable"`` or ``"files"``."""
        return "reftable" if isinstance(self.refs, ReftableRefsContainer) else "files"

    def get_config(self) -> ConfigFile:
        """Retrieve the config object.

        Returns: ``ConfigFile`` object for the ``.git/config`` file
        """
        if not self._is_opening:
            return super().get_config()
        own = self._own_config()
        if ref_format_of(own) == "reftable" and not isinstance(self.refs, ReftableRefsContainer):
            config = StackedConfig([own, *StackedConfig.default_backends()])
            self.refs = self._reftable_refs(config)
        shown = super().get_config()
        for key, _ in list(shown.items((b"extensions",))):
            if key.lower() in (b"refstorage", b"reftable"):
                shown.remove((b"extensions",), key)
        return shown

    def _own_config(self) -> ConfigFile:
        """Read the configuration without what it includes: that cannot tell the format."""
        try:
            with open(os.path.join(self.commondir(), "config"), "rb") as file:
                return ConfigFile.from_file(file, expand_includes=False)
        except FileNotFoundError:
            return ConfigFile()

    def _reftable_refs(self, config: Config) -> ReftableRefsContainer:
        return ReftableRefsContainer(
            self.commondir(),
            worktree_path=self.controldir(),
            settings=Settings.of(config),
            peel=self._peel,
            identity=lambda: get_user_identity(self.get_config_stack(), "COMMITTER"),
        )

    def _peel(self, oid: bytes) -> bytes | None:
        """Tell what an annotated tag finally points to; None for all other objects."""
        try:
            type_num, _ = self.object_store.get_raw(oid)  # type: ignore[arg-type]
            if type_num != Tag.type_num:
                return None
            return self.object_store.peel(oid)[1].id  # type: ignore[arg-type]
        except KeyError:
            return None

    def read_reflog(self, ref: bytes) -> Generator[Entry, None, None]:
        """Read reflog entries for a reference.

        Args:
          ref: name of the ref
        Yields: entries, oldest first
        """
        if isinstance(self.refs, ReftableRefsContainer):
            yield from self.refs.read_reflog(ref)
        else:
            yield from super().read_reflog(ref)

    def close(self) -> None:
        """Close all files that the repository has open."""
        super().close()
        if isinstance(self.refs, ReftableRefsContainer):
            self.refs.close()

    # Making one

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
          path: where
          mkdir: whether to create that directory
          ref_format: ``"reftable"`` or ``"files"``
          extension: the configuration key that says so: ``"refStorage"``, which git reads, or
            ``"reftable"``, that of the format's original design, which it does not
          **kwargs: as of ``dulwich.repo.Repo.init``
        Returns: the repository
        Raises:
          ValueError: if format or extension are not known
        """
        path = os.fsdecode(path)
        if mkdir:
            os.mkdir(path)
        controldir = os.path.join(path, CONTROLDIR)
        os.mkdir(controldir)
        _set_filesystem_hidden(controldir)
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
        if ref_format == "files":
            return cast(Repo, super()._init_maybe_bare(path, controldir, bare, **kwargs))
        if ref_format != "reftable" or extension not in _EXTENSIONS:
            raise ValueError(f"unknown ref format {ref_format!r} or extension {extension!r}")
        # dulwich opens the repository before it writes the configuration, and sets HEAD in
        # between; so this much of the configuration has to be there first.
        config = ConfigFile()
        config.set(b"core", b"repositoryformatversion", b"1")
        config.set(b"extensions", extension.encode(), _EXTENSIONS[extension])
        if kwargs.get("object_format") is not None:
            config.set(b"extensions", b"objectFormat", kwargs["object_format"].encode())
        if kwargs.get("shared_repository") is not None:
            config.set(b"core", b"sharedRepository", kwargs["shared_repository"])
        config.write_to_path(os.path.join(os.fsdecode(controldir), "config"))
        repo = cast(Repo, super()._init_maybe_bare(path, controldir, bare, **kwargs))
        write_stubs(repo.controldir(), repo._get_shared_repository_permissions())
        return repo

    def _init_files(
        self,
        bare: bool,
        symlinks: bool | None = None,
        format: int | None = None,
        shared_repository: str | bool | None = None,
        object_format: str | None = None,
    ) -> None:
        if not isinstance(self.refs, ReftableRefsContainer):
            super()._init_files(bare, symlinks, format, shared_repository, object_format)
            return
        if format not in (None, 1):
            raise ValueError("reftable requires repository format version 1")
        selected = list(self._own_config().items((b"extensions",)))
        super()._init_files(bare, symlinks, 1, shared_repository, object_format)
        config = self.get_config()
        for key, value in selected:
            config.set(b"extensions", key, value)
        config.write_to_path()


def write_stubs(controldir: str, shared: SharedPerm | None) -> None:
    """Put the files in place that old tools look for, instead of directories of refs.

    Args:
      controldir: the control directory
      shared: mode that files are given; None leaves it to the umask
    """
    for name in ("heads", "tags"):
        directory = os.path.join(controldir, "refs", name)
        if os.path.isdir(directory):
            os.rmdir(directory)
    for name, contents in _STUBS.items():
        path = os.path.join(controldir, name)
        with GitFile(path, "wb") as file:
            file.write(contents)
        adjust_shared_perm(path, shared)
