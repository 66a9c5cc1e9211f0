"""Variables of a configuration file are changed, and every other byte stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.git import Git, requires_git

from dulwich_reftable.engine.errors import ConfigurationError
from dulwich_reftable.migration.config_text import set_variable, unset_variable

TEXTS = {
    "nothing": b"",
    "plain": b"[core]\n\tbare = false\n\tx = 0\n[b]\n\tc = d\n",
    "no newline": b"[core]\n\tx = 0",
    "comments": b"# first\n; second\n[core] # third\n\t# fourth\n\tx = 0 ; fifth\n# last\n",
    "one line": b"[core] x = 0\n[b]\n\tc\n",
    "twice": b"[core]\n\ty = 1\n[b]\n\tc = d\n[core]\n\tx = 0\n",
    "case": b"[CORE]\n\tX = 0\n",
    "subsections": b'[core "x"]\n\tx = 7\n[core]\n\tx = 0\n[core "a\\"] b"]\n\tx = 8\n',
    "values": b'[core]\n\ta = "x = 0 # no\\" ; "\n\tb = one \\\n\tx = two\n\tx = 0\n',
    "continued comment": b"[core]\n\ta = b # comment \\\n\tx = 0\n",
    "alone": b"[a]\n\tb = c\n[core]\n\tx = 0\n[d]\n\te = f\n",
    "commented": b"[core]\n\t# why\n\tx = 0\n",
    "mark": b"\xef\xbb\xbf[core]\n\tx = 0\n",
    "carriage returns": b"[core]\r\n\tx = 0\r\n\ty = 1\r\n",
    "no value": b"[core]\n\tx\n\ty\n",
    "odd blanks": b"  [core]\n  x=0\n\n\n\ty   =   1\n",
}


def in_git(tmp_path: Path, text: bytes, *args: str) -> bytes:
    """What git makes of it."""
    path = tmp_path / "config"
    path.write_bytes(text)
    Git(tmp_path).run("config", "--file", str(path), *args)
    return path.read_bytes()


def values(tmp_path: Path, text: bytes) -> list[bytes]:
    """All variables that git reads."""
    path = tmp_path / "config"
    path.write_bytes(text)
    return Git(tmp_path).run("config", "--file", str(path), "--list", "--null").split(b"\0")


SAME_BYTES = TEXTS.keys() - {"carriage returns", "mark", "odd blanks", "one line"}
"""Of the others, git leaves other blanks and empty lines."""


@requires_git
@pytest.mark.parametrize("name", TEXTS)
def test_set(name: str, tmp_path: Path) -> None:
    text = TEXTS[name]
    for key in ("x", "fresh"):
        ours = set_variable(text, b"core", key.encode(), b"1")
        theirs = in_git(tmp_path, text, f"core.{key}", "1")
        assert values(tmp_path, ours) == values(tmp_path, theirs)
        if name in SAME_BYTES:
            assert ours == theirs


@requires_git
@pytest.mark.parametrize("name", sorted(TEXTS.keys() - {"nothing"}))
def test_unset(name: str, tmp_path: Path) -> None:
    text = TEXTS[name]
    ours = unset_variable(text, b"core", b"x")
    theirs = in_git(tmp_path, text, "--unset-all", "core.x")
    assert values(tmp_path, ours) == values(tmp_path, theirs)
    if name in SAME_BYTES:
        assert ours == theirs


def test_unset_what_is_not_there() -> None:
    for text in TEXTS.values():
        assert unset_variable(text, b"core", b"z") == text


@pytest.mark.parametrize(
    "text", [b"[core\n", b"[core]\n\t= 1\n", b'[core]\n\tx = "1\n', b"[core]\n\tx y\n", b"]\n"]
)
def test_no_configuration(text: bytes) -> None:
    with pytest.raises(ConfigurationError, match="makes no sense"):
        set_variable(text, b"core", b"x", b"1")
