"""Running the command."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from support.git import EMAIL, NAME, TIMESTAMP, Git

from dulwich_reftable import cli


class Done(NamedTuple):
    """What a command came to."""

    code: int
    out: bytes
    err: bytes

    @property
    def lines(self) -> list[str]:
        """What it printed."""
        return self.out.decode().splitlines()


Run = Callable[..., Done]


@pytest.fixture
def run(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command as git's tests run git: with a fixed name, at a fixed time."""
    for key, value in {**Git.identity(NAME, EMAIL), **Git.date(TIMESTAMP, 0)}.items():
        monkeypatch.setenv(key, value)

    def run_one(*args: str | bytes | Path, stdin: bytes = b"") -> Done:
        capsysbinary.readouterr()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            code = cli.main([os.fsdecode(arg) for arg in args])
        except SystemExit as error:  # argparse's way
            code = int(error.code or 0)
        done = capsysbinary.readouterr()
        assert b"Traceback" not in done.err
        return Done(code, done.out, done.err)

    return run_one
