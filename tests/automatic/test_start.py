"""The hook, in each way in which a Python starts and a module is imported.

dulwich and the package are fakes here, to keep the processes short.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import zipfile
from pathlib import Path

import pytest

from dulwich_reftable.automatic import site_files
from dulwich_reftable.automatic.site_files import SiteFiles

from .conftest import FAKES, Environment

BOTH = """
from dulwich.repo import Repo
for root in ("files", "reftable", "reftable"):
    repo = Repo(root)
    print(root, repo.kind)
"""
NONE = ["files stock", "reftable stock", "reftable stock"]
ALL = ["files stock", "installing", "reftable ours", "reftable ours"]


@pytest.mark.parametrize("flags", [["-I", "-W", "error"], ["-E", "-OO"]], ids=" ".join)
def test_flags(enabled: Environment, flags: list[str]) -> None:
    assert enabled.print_of(*flags, "-c", BOTH) == ALL


def test_without_site(enabled: Environment, fakes: Path) -> None:
    assert enabled.print_of("-S", "-c", BOTH, PYTHONPATH=str(fakes)) == NONE


def test_switched_off(enabled: Environment) -> None:
    assert enabled.print_of("-c", BOTH, DULWICH_REFTABLE_AUTO="0") == NONE
    assert enabled.print_of("-c", BOTH, DULWICH_REFTABLE_AUTO="1") == ALL


def test_an_empty_python_loads_nothing_else(
    enabled: Environment, tmp_path: Path, fakes: Path
) -> None:
    program = "import sys; print(*sys.modules, sep='\\n')"
    loaded = {*enabled.print_of("-c", program)}
    more = loaded - {*Environment(tmp_path / "other", fakes).print_of("-c", program)}
    assert more == {"dulwich_reftable_auto"}


@pytest.mark.skipif(sys.version_info < (3, 15), reason="Python reads .start files from 3.15 on")
def test_the_file_for_newer_pythons(
    tmp_path: Path, fakes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They do not run the imports of ``.pth`` files."""
    monkeypatch.setattr(site_files, "_UNUSED", "dulwich_reftable_auto.pth")
    environment = Environment(tmp_path / "environment", fakes)
    place = SiteFiles(str(environment.site), "1.2")
    place.write()
    assert "dulwich_reftable_auto.pth" not in place.versions()
    assert environment.print_of("-c", BOTH) == ALL


def test_after_it_was_disabled(enabled: Environment) -> None:
    """A program that has started before goes on without it."""
    gone = "import sys; sys.modules['dulwich_reftable_stand_ins'] = None"
    assert enabled.print_of("-c", gone + BOTH) == NONE


@pytest.mark.parametrize("leftovers", [False, True])
def test_after_the_package_was_uninstalled(
    enabled: Environment, tmp_path: Path, leftovers: bool
) -> None:
    """pip leaves a directory in which there are files that it does not know."""
    if leftovers:
        (tmp_path / "dulwich_reftable" / "patches").mkdir(parents=True)
    gone = f"""
import sys
from importlib.machinery import PathFinder
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "dulwich_reftable":
            spec = PathFinder.find_spec(name, [{str(tmp_path)!r}])
            if spec is None:
                raise ModuleNotFoundError(name, name=name)
            return spec
sys.meta_path.insert(0, Finder())
"""
    assert enabled.print_of("-c", gone + BOTH) == NONE


def test_one_warning_if_the_package_fails(enabled: Environment) -> None:
    fails = "import sys; sys.modules['dulwich_reftable.patching.installation'] = None"
    done = enabled.run("-c", fails + BOTH)
    assert (done.returncode, done.stdout.splitlines()) == (0, NONE)
    assert done.stderr.count("\n") == 1
    assert "dulwich-reftable is enabled here, but does not work: ModuleNotFoundError" in done.stderr
    done = enabled.run("-c", f"import sys; sys.stderr = None\n{fails}{BOTH}")
    assert (done.returncode, done.stdout.splitlines()) == (0, NONE)


def test_modules_keep_their_loaders(enabled: Environment) -> None:
    program = """
import importlib, inspect, dulwich.repo as module
spec = module.__spec__
print(type(module.__loader__).__name__, spec.loader is module.__loader__)
print(*["class Config" in inspect.getsource(of) for of in (module, module.Config)])
print(importlib.reload(module) is module, module.Repo("reftable").kind)
"""
    assert enabled.print_of("-c", program) == [
        "SourceFileLoader True",
        "True True",
        "installing",
        "True ours",
    ]


def test_from_a_zip_file(enabled: Environment, tmp_path: Path) -> None:
    """The loader of a zip file serves all of its modules."""
    path = tmp_path / "app.pyz"
    program = f"""{BOTH}
import dulwich.errors, dulwich.repo
print(dulwich.errors.__loader__ is dulwich.repo.__loader__)
print(type(dulwich.repo.__loader__).__name__)
"""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**FAKES, "__main__.py": program}.items():
            if not name.startswith("dulwich_reftable"):
                archive.writestr(name, text)
    assert enabled.print_of(path) == [*ALL, "True", "zipimporter"]


def test_subclasses(enabled: Environment) -> None:
    """The constructor of dulwich starts over, that of the subclass does not."""
    program = """
from dulwich.repo import Repo
class Mine(Repo):
    runs = 0
    def __init__(self, root):
        self.runs += 1
        super().__init__(root)
    def get_config(self):
        return super().get_config()
repo = Mine("reftable")
print(repo.kind, repo.runs, repo.tries, sorted(vars(repo)))
repo.get_config()
"""
    assert enabled.print_of("-c", program) == [
        "installing",
        "ours 1 2 ['kind', 'root', 'runs', 'tries']",
    ]


def test_another_thread_installs_while_one_opens(enabled: Environment) -> None:
    """It has replaced the function that looks at the configuration, too."""
    program = """
from dulwich.repo import Repo
class Mine(Repo):
    def get_config(self):
        from dulwich_reftable.patching.installation import install_for_good
        if not self.tries > 1:
            install_for_good()
print(Mine("reftable").kind)
"""
    assert enabled.print_of("-c", program) == ["installing", "ours"]


def test_another_thread_has_imported_half_of_the_package(enabled: Environment) -> None:
    half = "import sys, types; sys.modules['dulwich_reftable.repo.repo'] = types.ModuleType('half')"
    assert enabled.print_of("-c", f"{half}\n{BOTH}") == ALL


def test_errors_pass(enabled: Environment) -> None:
    program = """
from dulwich.repo import Repo
repo = Repo.__new__(Repo)
try:
    repo.__init__("nowhere")
except KeyError as error:
    print(error, sorted(vars(repo)))
"""
    assert enabled.print_of("-c", program) == ["'nowhere' ['root', 'tries']"]


LAZY = """
import importlib.util, sys, threading  # which lazy imports need themselves
class Loader(importlib.util.LazyLoader):
    pass
class Finder:  # as Mercurial wraps all finders: hgdemandimport/demandimportpy3.py
    def __init__(self, finder):
        self._finder = finder
    def __getattr__(self, name):
        return getattr(self._finder, name)
    def find_spec(self, name, path=None, target=None):
        spec = self._finder.find_spec(name, path, target)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = Loader(spec.loader)
        return spec
sys.meta_path[:] = [Finder(finder) for finder in sys.meta_path]
import dulwich.repo
"""


def test_beside_lazy_imports(enabled: Environment) -> None:
    assert enabled.print_of("-c", LAZY + BOTH) == ALL


def test_a_wrapped_finder_is_asked_by_many_threads(enabled: Environment) -> None:
    program = """
import threading, sys
import dulwich_reftable_stand_ins as stand_ins
finder = sys.meta_path[0]
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "dulwich.repo":
            gate.wait(30)
        return None
class Wrapped:
    find_spec = staticmethod(finder.find_spec)
gate = threading.Barrier(8)
import dulwich
sys.meta_path[:1] = [Wrapped(), Slow()]
found = []
def find():
    found.append(finder.find_spec("dulwich.repo", dulwich.__path__))
threads = [threading.Thread(target=find) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(*{type(spec.loader).__name__ for spec in found}, len(found), len(stand_ins._searches))
"""
    assert enabled.print_of("-c", program) == ["_Loader 8 0"]


def test_child_processes(enabled: Environment, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        """
import multiprocessing
def work(root):
    from dulwich.repo import Repo
    return Repo(root).kind
if __name__ == "__main__":
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(method, pool.map(work, ["files", "reftable"]), flush=True)
"""
    )
    lines = [line for line in enabled.print_of(program) if line != "installing"]
    methods = multiprocessing.get_all_start_methods()
    assert lines == [f"{method} ['stock', 'ours']" for method in methods]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_does_not_inherit_a_taken_lock(enabled: Environment) -> None:
    """A thread that is installing holds it; a fork waits for that."""
    program = """
import os, signal, sys, threading
from dulwich.repo import Repo
hook = sys.modules["dulwich_reftable_stand_ins"]
taken, done = threading.Event(), threading.Event()
def hold():
    with hook._lock:
        taken.set()
        done.wait(0.1)
threading.Thread(target=hold).start()
taken.wait(30)
pid = os.fork()
if pid == 0:
    signal.alarm(10)
    Repo("reftable")  # needs it
    os._exit(0)
print(os.waitpid(pid, 0)[1])
"""
    assert enabled.print_of("-W", "ignore", "-c", program)[-1] == "0"


def test_a_second_start_does_nothing(enabled: Environment) -> None:
    program = """
import sys, dulwich_reftable_auto as hook
before = [*sys.meta_path]
hook.start()
print(before == sys.meta_path, before[0].__module__)
"""
    assert enabled.print_of("-c", program) == ["True dulwich_reftable_auto"]
