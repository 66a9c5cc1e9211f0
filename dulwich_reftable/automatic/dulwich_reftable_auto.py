# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Makes dulwich handle reftable repositories in programs that know nothing of dulwich-reftable.

This module stands alone in a directory of site-packages. Python runs :func:`start` whenever it
starts, by the file ``dulwich_reftable_auto.pth``, or ``.start`` from Python 3.15 on. So it costs
little, and what is expensive comes late:

* ``start`` puts a finder before all others. The finder waits for the modules of dulwich.
* A module of dulwich that was imported gets stand-ins for the functions that are patched. A
  stand-in calls the original.
* The first use of a reftable repository imports dulwich-reftable and installs its patches. Nothing
  is installed while dulwich is being imported: other threads may be at it, too.

To learn the format of a repository, a stand-in looks at the configuration that dulwich's
constructor reads anyway. Without the package, which may have been uninstalled, dulwich works as
ever. The environment variable ``DULWICH_REFTABLE_AUTO=0`` switches this module off.

Nothing is imported here but what Python itself has imported already.
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

__all__ = ["TARGETS", "start"]

_OFF = "DULWICH_REFTABLE_AUTO"
_OPENING = "_dulwich_reftable_auto_is_opening"

_lock = _thread.RLock()
_is_waiting = True
"""Whether no reftable repository was used yet."""


def start() -> None:
    """Wait for dulwich, unless the environment says not to; a second call does nothing."""
    if os.environ.get(_OFF) == "0" or any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    if hasattr(os, "register_at_fork"):  # a child must not find the lock taken
        os.register_at_fork(
            before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
        )


def _warn(error: Exception) -> None:
    if sys.stderr is not None:
        message = f"{type(error).__name__}: {error}"
        print(f"dulwich-reftable is enabled here, but does not work: {message}", file=sys.stderr)


# Imports


class _Finder:
    """Finds the modules of dulwich by the finders after it, and wraps their loaders."""

    def __init__(self) -> None:
        # Others may have wrapped this object, and be in sys.meta_path in its place. So it knows
        # by what it is doing that it is asked by itself.
        self._searches: set[tuple[str, int]] = set()

    def find_spec(
        self, name: str, path: "Any" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if name not in TARGETS:
            return None
        search = (name, _thread.get_ident())
        if search in self._searches:
            return None
        self._searches.add(search)
        try:
            spec = _find_spec(name, path, target)
        finally:
            self._searches.discard(search)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


def _find_spec(name: str, path: "Any", target: "ModuleType | None") -> "ModuleSpec | None":
    for finder in tuple(sys.meta_path):
        find = getattr(finder, "find_spec", None)
        spec = None if find is None else find(name, path, target)
        if spec is not None:
            return spec  # type: ignore[no-any-return]
    return None


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
        the stand-in by its name; ``dulwich_reftable.patches.patch_set`` sets it
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
    of the package's patches starts over. It has done nothing yet but to find the directory.
    """

    def __init__(self: "Any", *args: "Any", **kwargs: "Any") -> None:
        with _lock:  # not while another thread is putting the patches in place
            is_stock = original.replacement is None and _is_waiting and not _is_ours(self)
        if is_stock:
            vars(self)[_OPENING] = True
            try:
                original.function(self, *args, **kwargs)
            except _ReftableFound:
                _install()
            except Exception:
                with _lock:
                    if original.replacement is None:
                        raise
            else:
                with _lock:
                    if original.replacement is None:
                        return
            finally:
                vars(self).pop(_OPENING, None)
            # It has reftables, or another thread has installed the patches meanwhile.
        original.current(self, *args, **kwargs)

    return __init__


def _is_ours(repo: "Any") -> bool:
    """Tell whether the package itself opens this repository."""
    return any(kind.__module__ == "dulwich_reftable.repo.repo" for kind in type(repo).__mro__)


def _configuring(original: _Original) -> "Any":
    """Stand in for ``Repo.get_config``, which the constructor calls."""

    def get_config(self: "Any") -> "Any":
        config = original.current(self)
        if _OPENING in vars(self) and _is_waiting and _may_be_reftable(config):
            raise _ReftableFound
        return config

    return get_config


def _may_be_reftable(config: "Any") -> bool:
    if "GIT_REFERENCE_BACKEND" in os.environ:
        return True
    for key, value in config.items((b"extensions",)):
        name = key.lower()
        if name == b"reftable" or (name == b"refstorage" and value != b"files"):
            return True
    return False


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
                import_module("dulwich_reftable.patches.installation").install_for_good()
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
    "dulwich.stash": {"Stash.__init__": _plain},
    "dulwich.worktree": {"add_worktree": _plain, "list_worktrees": _plain},
}
"""What the package patches, by modules, and how each is stood in for."""
