# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Stand-ins for what dulwich-reftable patches, until the first use of a reftable repository.

``dulwich_reftable_auto`` asks this module for the modules of dulwich. One that was imported gets
stand-ins for the functions that the package patches; they call the originals. The first use of a
reftable repository imports the package and installs its patches. Nothing is installed while dulwich
is being imported: other threads may have imported half of it.

To learn the format of a repository, a stand-in looks at the configuration that dulwich's
constructor reads anyway. Without the package, which may have been uninstalled, dulwich works as
ever.

This module stands alone in a directory of site-packages.
"""

import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

__all__ = ["TARGETS", "find_spec"]

_lock = _thread.RLock()
_is_waiting = True
"""Whether no reftable repository was used yet."""

_searches: "set[tuple[str, int]]" = set()
"""The modules that are being looked for, and the threads that look for them."""

_opening: "set[int]" = set()
"""Ids of repositories whose constructors are running, and have not read the configuration yet."""

_has_backend = "GIT_REFERENCE_BACKEND" in os.environ
"""Whether refs may be elsewhere than the configuration says; looked up once, to save time."""

if hasattr(os, "register_at_fork"):  # a child must not find the lock taken
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


def _warn(error: Exception) -> None:
    if sys.stderr is not None:
        message = f"{type(error).__name__}: {error}"
        print(f"dulwich-reftable is enabled here, but does not work: {message}", file=sys.stderr)


# Imports


def find_spec(
    name: str, path: "Any" = None, target: "ModuleType | None" = None
) -> "ModuleSpec | None":
    """Find a module of dulwich by the other finders, and wrap its loader.

    Others may have wrapped our finder, and be in ``sys.meta_path`` in its place. So it is known by
    the search, and not by its identity, when we come to ask ourselves.
    """
    search = (name, _thread.get_ident())
    if name not in TARGETS or search in _searches:
        return None
    _searches.add(search)
    try:
        for finder in tuple(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find is None else find(name, path, target)
            if spec is not None:
                break
        else:
            return None
    finally:
        _searches.discard(search)
    if hasattr(spec.loader, "exec_module"):
        spec.loader = _Loader(_eager(spec.loader))  # type: ignore[assignment]
    return spec


def _eager(loader: "Any") -> "Any":
    """Unwrap a lazy loader: who wraps all finders wraps ours, too, and twice is too much."""
    lazy = getattr(sys.modules.get("importlib.util"), "LazyLoader", None)
    return loader.loader if lazy is not None and isinstance(loader, lazy) else loader


class _Loader:
    """Loads a module by another loader, then puts the stand-ins in place.

    The other loader is not changed: that of a zip file serves many modules.
    """

    def __init__(self, loader: "Any") -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> "Any":
        return getattr(self._loader, name)

    def exec_module(self, module: "ModuleType") -> None:
        # Those who ask the module for its loader get the real one.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        try:
            _put_stand_ins(module)
        except Exception as error:
            _warn(error)


# Stand-ins


class _Original:
    """What a stand-in stands for.

    Attributes:
      function: of dulwich
      replacement: what is called in its place while it is patched, also by those who have imported
        the stand-in by its name; ``dulwich_reftable.patching.patch_set`` sets it
    """

    def __init__(self, function: "Any") -> None:
        self.function = function
        self.replacement: Any = None

    @property
    def current(self) -> "Any":
        return self.replacement or self.function


def _put_stand_ins(module: "ModuleType") -> None:
    for path, make in TARGETS[module.__name__].items():
        owner: Any = module
        *owners, name = path.split(".")
        for part in owners:
            owner = getattr(owner, part, None)
        value = getattr(owner, "__dict__", {}).get(name)
        if value is None:
            continue  # this dulwich does not have it
        if isinstance(value, (classmethod, staticmethod)):
            setattr(owner, name, type(value)(_dressed(make, value.__func__)))
        else:
            setattr(owner, name, _dressed(make, value))


def _dressed(make: "Callable[[_Original], Any]", function: "Any") -> "Any":
    """Make a stand-in that looks like the original, and that the patches know."""
    from functools import wraps

    original = _Original(function)
    stand_in: Any = wraps(function)(make(original))
    stand_in.stands_in_for = original
    return stand_in


def _plain(original: _Original) -> "Any":
    """Stand in for a function that gets an open repository, which was looked at when opened."""

    def stand_in(*args: "Any", **kwargs: "Any") -> "Any":
        return original.current(*args, **kwargs)

    return stand_in


def _looking(look: "Callable[[dict[str, Any]], None]") -> "Callable[[_Original], Any]":
    """Stand in for a function that opens or makes a repository itself: look at that first."""

    def make(original: _Original) -> "Any":
        def stand_in(*args: "Any", **kwargs: "Any") -> "Any":
            if _is_waiting and original.replacement is None:
                from contextlib import suppress
                from inspect import signature

                with suppress(Exception):  # the original will report it
                    bound = signature(original.function).bind(*args, **kwargs)
                    bound.apply_defaults()
                    look(bound.arguments)
            return original.current(*args, **kwargs)

        return stand_in

    return make


def _open_repo(arguments: "dict[str, Any]") -> None:
    """Open the repository that is given by itself or by its path, or that of this directory."""
    from dulwich.porcelain import open_repo_closing

    with open_repo_closing(arguments.get("repo")):
        pass


def _open_path(arguments: "dict[str, Any]") -> None:
    from dulwich.repo import Repo

    Repo(os.fsdecode(arguments["path"])).close()


def _look_beside_logs(arguments: "dict[str, Any]") -> None:
    controldir = os.path.dirname(os.path.abspath(arguments["logs_dir"]))
    if os.path.isdir(os.path.join(controldir, "reftable")):
        _install()


def _look_for_default(arguments: "dict[str, Any]") -> None:
    """Install if the format of a new repository may be another one than files."""
    from dulwich.config import StackedConfig

    named = {os.environ.get(name) for name in ("GIT_REFERENCE_BACKEND", "GIT_DEFAULT_REF_FORMAT")}
    # dulwich does not read the variables that hold a configuration; the package does.
    is_open = "GIT_CONFIG_COUNT" in os.environ or "GIT_CONFIG_PARAMETERS" in os.environ
    if is_open or named - {None, "files"}:
        _install()
        return
    config = arguments.get("config") or StackedConfig.default()
    for section, name in ((b"init", b"defaultRefFormat"), (b"feature", b"experimental")):
        try:
            value = config.get((section,), name)
        except KeyError:
            continue
        if value not in (b"files", b"false"):
            _install()


# Opening a repository


class _ReftableFound(BaseException):
    """The repository that is being opened may have reftables."""


def _constructing(original: _Original) -> "Any":
    """Stand in for ``Repo.__init__``.

    Once it is known that the repository has reftables, dulwich's constructor is given up, and that
    of the package's patches starts over. It has done nothing yet but to find the directory. For
    files, this is fast: the lock is taken only if nobody has looked at the configuration.
    """

    def __init__(self: "Any", *args: "Any", **kwargs: "Any") -> None:
        if original.replacement is None and _is_waiting and not _is_ours(self):
            number = id(self)
            _opening.add(number)
            try:
                original.function(self, *args, **kwargs)
            except _ReftableFound:
                _install()
            except Exception:
                with _lock:  # not while another thread is putting the patches in place
                    if original.replacement is None:
                        raise
            else:
                if number not in _opening:
                    return  # get_config has seen that it is on files
                with _lock:
                    if original.replacement is None:
                        return
            finally:
                _opening.discard(number)
            # It has reftables, or another thread has installed the patches meanwhile.
        original.current(self, *args, **kwargs)

    return __init__


def _is_ours(repo: "Any") -> bool:
    """Tell whether the package itself opens this repository."""
    ours = sys.modules.get("dulwich_reftable.repo.repo")
    # Another thread may have imported half of it.
    return ours is not None and isinstance(repo, getattr(ours, "Repo", ()))


def _configuring(original: _Original) -> "Any":
    """Stand in for ``Repo.get_config``, which the constructor calls."""

    def get_config(self: "Any") -> "Any":
        config = original.current(self)
        if _opening and id(self) in _opening:
            if _may_be_reftable(config):
                raise _ReftableFound
            _opening.discard(id(self))
        return config

    return get_config


def _may_be_reftable(config: "Any") -> bool:
    if _has_backend:
        return True
    try:
        extensions = config[(b"extensions",)]  # twice as fast as to look at all sections
    except KeyError:
        return False
    return any(
        name.lower() == b"reftable" or (name.lower() == b"refstorage" and value != b"files")
        for name, value in extensions.items()
    )


def _install() -> None:
    """Import the package and let it install its patches: once, in one thread."""
    global _is_waiting
    from importlib import import_module

    with _lock:
        if not _is_waiting:
            return
        try:
            package = import_module("dulwich_reftable")
            if package.__file__ is not None:  # else its directory has outlived it
                import_module("dulwich_reftable.patching.installation").install_for_good()
        except ModuleNotFoundError as error:
            if error.name != "dulwich_reftable":  # else it was uninstalled
                _warn(error)
        except Exception as error:
            _warn(error)
        _is_waiting = False


TARGETS: "dict[str, dict[str, Callable[[_Original], Any]]]" = {
    "dulwich.bisect": {"BisectState.__init__": _plain},
    "dulwich.bundle": {"create_bundle_from_repo": _plain},
    "dulwich.cli": {
        "cmd_bisect.run": _looking(_open_repo),
        "cmd_reflog._run_expire": _looking(_open_repo),
        "create_bundle_from_repo": _plain,
    },
    "dulwich.client": {"LocalGitClient.send_pack": _looking(_open_path)},
    "dulwich.gc": {"find_reachable_objects": _plain},
    "dulwich.porcelain": {
        "cherry_pick": _looking(_open_repo),
        "reflog": _looking(_open_repo),
        "reflog_delete": _looking(_open_repo),
        "reflog_expire": _looking(_open_repo),
    },
    "dulwich.reflog": {"iter_reflogs": _looking(_look_beside_logs)},
    "dulwich.repo": {
        "Repo.__init__": _constructing,
        "Repo._init_maybe_bare": _looking(_look_for_default),
        "Repo._init_new_working_directory": _plain,
        "Repo.get_config": _configuring,
    },
    "dulwich.server": {"_ProtocolGraphWalker.determine_wants": _plain},
    "dulwich.stash": {"Stash.__init__": _plain},
    "dulwich.worktree": {"add_worktree": _plain, "list_worktrees": _plain},
}
"""What the package patches, by modules, and how each is stood in for."""
