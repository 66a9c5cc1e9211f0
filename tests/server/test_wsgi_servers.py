"""The WSGI application behind real web servers, where they are installed."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.git import Git, requires_git
from support.versions import needs_server

from .pushing import push, refs_of

pytestmark = [requires_git, needs_server]

PROJECT = Path(__file__).resolve().parents[2]

MODULE = """
import socket
import sys

from dulwich_reftable.server import Access, Application, Folder

application = Application(Folder({root!r}), access=Access(enable=["receive-pack"]))
if __name__ == "__main__":
    name, descriptor = sys.argv[1:]
    if name == "waitress":
        import waitress
        waitress.serve(application, sockets=[socket.socket(fileno=int(descriptor))])
    else:
        import a2wsgi, uvicorn
        uvicorn.run(a2wsgi.WSGIMiddleware(application), fd=int(descriptor))
"""


@pytest.mark.parametrize("served", ["http-reftable"], indirect=True)
@pytest.mark.parametrize(
    "names",
    [
        pytest.param(
            ("gunicorn",),
            marks=pytest.mark.skipif(
                sys.implementation.name == "pypy",
                reason="on PyPy, gunicorn takes any socket that it inherits for a Unix one",
            ),
        ),
        ("waitress",),
        ("uvicorn", "a2wsgi"),
    ],
)
def test_push_and_clone(root: Path, origin: Git, work: Git, names: tuple[str, ...]) -> None:
    """Bodies of more than a megabyte, with a length and in chunks, as git sends them."""
    for name in names:
        pytest.importorskip(name, reason=f"{name} is not installed")
    module = root.parent / "served.py"
    module.write_text(MODULE.format(root=str(root)))
    (work.path / "large").write_bytes(random.Random(3).randbytes(1_300_000))
    work.run("add", ".")
    work.run("commit", "-q", "-m", "large")
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/origin.git"
        descriptor = str(listener.fileno())
        options = ["--bind", f"fd://{descriptor}", "--threads", "2", "--pythonpath"]
        command = {
            "gunicorn": ["-m", "gunicorn", *options, f"{root.parent},{PROJECT}", "served"],
        }.get(names[0], [str(module), names[0], descriptor])
        with (root.parent / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                pass_fds=[listener.fileno()],
                stdout=log,
                stderr=log,
                cwd=root.parent,
            )
        try:
            for size in ("1000", "3000000"):
                name = f"main:refs/heads/b{size}"
                assert push(work, "-c", f"http.postBuffer={size}", url, name)[0] == 0
            work.run("fetch", "-q", url, "+refs/heads/*:refs/fetched/*")
            assert push(work, url, "main~1:refs/heads/b1000")[0] == 1
        finally:
            process.terminate()
            process.wait(timeout=60)
    fetched = {name for name in refs_of(work) if name.startswith(b"refs/fetched/")}
    assert fetched == {b"refs/fetched/main", b"refs/fetched/b1000", b"refs/fetched/b3000000"}
