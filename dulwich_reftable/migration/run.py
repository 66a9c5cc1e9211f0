# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Migrates a repository from one ref format to the other, as ``git refs migrate`` does.

Unlike git's, this migration includes linked worktrees. The new format is prepared in a directory
beside the old one, under the locks that keep others from writing. Then the old format is checked
for changes, the formats are swapped (:mod:`.swap`), and the old one is checked once more.
``config.lock`` is held all the time: it keeps two migrations apart, and becomes the new
configuration.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import ExitStack
from io import BytesIO

from dulwich.config import ConfigFile
from dulwich.repo import Repo as DulwichRepo

from ..compat import read_config
from ..compat.errors import as_dulwich
from ..config.files import own_config
from ..config.ref_format import EXTENSIONS_OF_VERSION_0, hash_size_of, ref_format_of
from ..config.settings import Settings
from ..engine.errors import ConfigurationError, ReftableError, StorageError
from ..engine.stack.files import open_directory, sync, write_all
from ..engine.stack.locks import LockFile
from ..refs.container import ReftableRefsContainer
from ..repo.repo import Repo
from ..repo.tags import RepoPeeler
from .config_text import set_variable, unset_variable
from .layout import git_dirs, refuse_special_files
from .migrator import Migrator
from .report import Migration, MigrationError, Progress, Tally
from .swap import StagingDirectory, settle
from .to_files import ToFiles
from .to_reftable import ToReftable

__all__ = ["migrate"]

_MIGRATORS: dict[str, type[Migrator]] = {"reftable": ToReftable, "files": ToFiles}


def migrate(
    path_or_repo: str | bytes | os.PathLike[str] | DulwichRepo,
    to: str,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Migration:
    """Move the refs and reflogs of a repository and its linked worktrees to the other format.

    The migration does everything or nothing. It raises, and the old format stays, if git considers
    a ref broken, if the new format cannot hold a name, or if others write to the repository during
    the migration. A migration that is killed leaves a complete repository, in the old format or in
    the new one. It may leave lock files, which have to be removed by hand. The next migration, to
    either format, removes all other remains.

    Other objects that have the repository open do not follow the migration. Those of this package
    raise :class:`~dulwich_reftable.RefsMovedError` when they are used: a
    :class:`~dulwich_reftable.Repo` and its ``refs``, in this process and in others. Git processes
    and stock dulwich do not notice: if they opened the repository before the migration, and write
    after it, they fail, or write where nobody reads any more. An update of a file during the swap
    is noticed: the migration raises, and keeps the file.

    Args:
      path_or_repo: the repository. If it is a :class:`~dulwich_reftable.Repo`, that object goes on
        working, with new ``refs``. All others have to be opened again.
      to: the new format, ``"reftable"`` or ``"files"``
      dry_run: whether to leave the repository as it is, and the result in a directory, which the
        caller has to remove
      progress: called with ``"refs"`` or ``"reflogs"``, the number of refs or entries that are
        done, and their total number, or None if that is unknown
    Returns: the numbers of refs and reflogs, and notes
    Raises:
      ValueError: if the format is unknown
      MigrationError: if the repository already has the format, or cannot be migrated
      LockError: if somebody else holds a lock, or was killed while holding it
      StorageError: if reading or writing failed
    """
    if to not in _MIGRATORS:
        raise ValueError(f"unknown ref format {to!r}")
    tally = Tally(progress)
    if isinstance(path_or_repo, Repo):
        try:
            return _migrate(path_or_repo, to, dry_run, tally)
        finally:
            path_or_repo.reopen_refs()
    path = path_or_repo.path if isinstance(path_or_repo, DulwichRepo) else path_or_repo
    with Repo(path) as repo:
        return _migrate(repo, to, dry_run, tally)


def _migrate(repo: Repo, to: str, dry_run: bool, tally: Tally) -> Migration:
    common_dir = os.path.realpath(repo.commondir())
    try:
        with as_dulwich():
            refuse_special_files(common_dir)
            run = _dry_run if dry_run else _run
            path = run(repo, common_dir, to, tally)
    except ReftableError:
        raise
    except OSError as error:
        path = error.filename if isinstance(error.filename, str) else common_dir
        raise StorageError.of(error, "migrate", path) from error
    return Migration(
        to,
        path,
        tally.refs,
        tally.reflogs,
        tally.entries,
        len(git_dirs(common_dir)) - 1,
        tuple(tally.notes),
    )


def _migrator(repo: Repo, common_dir: str, to: str, tally: Tally) -> Migrator:
    if ref_format_of(own_config(repo.commondir())) == to:
        raise MigrationError(f"'{common_dir}' is in the {to} format already")
    settings = _settings_of(repo)
    return _MIGRATORS[to](common_dir, settings, RepoPeeler(repo), tally)


def _settings_of(repo: Repo) -> Settings:
    return Settings.of(repo.get_config_stack(), hash_size_of(own_config(repo.commondir())))


def _dry_run(repo: Repo, common_dir: str, to: str, tally: Tally) -> str:
    migrator = _migrator(repo, common_dir, to, tally)
    tree = tempfile.mkdtemp(prefix="ref_migration.", dir=common_dir)
    try:
        migrator.prepare(tree)
        migrator.check()
    except BaseException:
        shutil.rmtree(tree)
        raise
    return tree


def _run(repo: Repo, common_dir: str, to: str, tally: Tally) -> str:
    settings = _settings_of(repo)
    with ExitStack() as held:
        config = LockFile(os.path.join(common_dir, "config"), settings.lock_timeout)
        held.callback(config.release)
        before = ref_format_of(own_config(repo.commondir()))
        staging = StagingDirectory(common_dir, settings.shared)
        if staging.exists():
            staging.create()
            settle(before, git_dirs(common_dir), staging)
            _remove(staging, tally)
            if before == to:
                tally.notes.append("a migration that had been interrupted was finished")
                return common_dir
        migrator = _migrator(repo, common_dir, to, tally)
        locks = held.enter_context(ExitStack())
        migrator.lock(locks)

        def close() -> None:
            """Close all files of ours: Windows moves none that is open."""
            migrator.close()
            if isinstance(repo.refs, ReftableRefsContainer):
                repo.refs.close()

        def clear() -> None:
            """Remove what is prepared or retired."""
            locks.close()
            close()
            _remove(staging, tally)

        staging.create()
        try:
            migrator.prepare(staging.tree)
            _write_config(config, common_dir, to, durable=settings.fsync_refs)
        except BaseException:
            clear()
            raise
        try:
            migrator.put(staging)
            if settings.fsync_refs and hasattr(os, "sync"):
                os.sync()  # all at once costs less than file by file
            migrator.check()
            config.commit()
            if settings.fsync_refs:
                sync(open_directory(common_dir))
        except BaseException:
            in_force = to if config.is_committed else before
            close()
            settle(in_force, git_dirs(common_dir), staging)
            clear()
            raise
        close()
        left = settle(to, git_dirs(common_dir), staging)
        tally.notes += [
            f"'{path}' is of no use any more, but somebody has it open" for path in left
        ]
        if migrator.is_late(staging):
            settle(to, git_dirs(common_dir), staging)
            kept = staging.keep()
            raise MigrationError(
                f"the repository is now in the {to} format, but somebody wrote to it in the "
                f"{before} format during the swap; these files are kept in '{kept}'"
            )
        clear()
    return common_dir


def _remove(staging: StagingDirectory, tally: Tally) -> None:
    left = staging.remove()
    if left is not None:
        tally.notes.append(f"'{left}' holds removed files that somebody has open")


def _write_config(config: LockFile, common_dir: str, to: str, *, durable: bool) -> None:
    """Write the new configuration to the lock file."""
    path = os.path.join(common_dir, "config")
    with open(path, "rb") as file:
        text = file.read()
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    text = _new_config(text, to)
    try:
        os.chmod(config.path, mode)
        write_all(config.fd, text)
        if durable:
            os.fsync(config.fd)
    except OSError as error:
        raise StorageError.of(error, "write", config.path) from error
    config.close()


def _new_config(text: bytes, to: str) -> bytes:
    """Set the ref format in the text of a configuration, as git does.

    Raises:
      ConfigurationError: if the text is not a configuration
    """
    text = unset_variable(text, b"extensions", b"reftable")
    if to == "reftable":
        text = set_variable(text, b"core", b"repositoryformatversion", b"1")
        text = set_variable(text, b"extensions", b"refstorage", b"reftable")
    else:
        text = unset_variable(text, b"extensions", b"refstorage")
        left = {key.lower() for key, _ in _parsed(text).items((b"extensions",))}
        version = b"0" if left <= EXTENSIONS_OF_VERSION_0 else b"1"
        text = set_variable(text, b"core", b"repositoryformatversion", version)
    if ref_format_of(_parsed(text)) != to:
        raise ConfigurationError("the configuration cannot be changed")
    return text


def _parsed(text: bytes) -> ConfigFile:
    return read_config(BytesIO(text))
