"""Rules from a TOML file."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from dulwich_reftable.server import AccessRequest, Decision, RefUpdate
from dulwich_reftable.server.rules import Rules, RulesFile

TEXT = """
[groups]
core = ["alice", "bob"]

[[rules]]
repositories = ["public/**"]
users = ["@all"]
allow = ["read"]
hide = ["refs/internal", "refs/heads/wip"]

[[rules]]
repositories = ["public/*.git", "team/?pp"]
users = ["@core", "carol"]
allow = ["read", "write", "create"]
refs = ["refs/heads/*", "refs/tags/v**"]
hide = ["refs/internal"]

[[rules]]
repositories = ["**"]
users = ["@users"]
allow = ["read"]
hide = ["refs/internal"]

[[rules]]
repositories = ["private"]
users = ["alice"]
allow = ["read", "force", "delete"]
"""


def ask(
    rules: Rules | RulesFile, user: str | None, name: str, action: str = "read", ref: str = ""
) -> Decision:
    service = "git-upload-pack" if action == "read" else "git-receive-pack"
    update = RefUpdate(ref.encode(), b"", b"", action) if ref else None
    return rules(AccessRequest(user, None, name, service, name, update))


def letter(decision: Decision) -> str:
    return "+" if decision.allows else "?" if decision.challenges else "-"


@pytest.mark.parametrize(
    ("user", "name", "action", "ref", "expected"),
    [
        (None, "public/a.git", "read", "", "+"),
        (None, "public/a/b", "read", "", "+"),
        (None, "public", "read", "", "?"),
        (None, "private", "read", "", "?"),
        (None, "public/a", "push", "", "?"),
        ("mallory", "public/a", "push", "", "-"),
        ("mallory", "anything/at/all", "read", "", "+"),
        ("@all", "public/a", "push", "", "-"),
        ("@core", "public/a", "push", "", "-"),
        ("carol", "public/a", "push", "", "+"),
        ("carol", "public/a/b", "push", "", "-"),
        ("bob", "team/app", "push", "", "+"),
        ("bob", "team/app.git", "update", "refs/heads/x", "+"),
        ("bob", "team/app.git", "create", "refs/heads/x/y", "-"),
        ("bob", "team/app.git", "create", "refs/tags/v1/x", "+"),
        ("bob", "team/app.git", "create", "refs/tags/w", "-"),
        ("bob", "team/app.git", "force", "refs/heads/x", "-"),
        ("bob", "team/app\n", "push", "", "-"),
        ("bob", "team/xapp", "push", "", "-"),
        ("alice", "private", "delete", "refs/any/thing", "+"),
        ("alice", "private", "update", "refs/heads/x", "-"),
        ("Alice", "private", "delete", "refs/any/thing", "-"),
    ],
)
def test_decisions(user: str | None, name: str, action: str, ref: str, expected: str) -> None:
    assert letter(ask(Rules.parse(TEXT), user, name, action, ref)) == expected


def test_a_rule_without_reading_shows_nothing() -> None:
    """Not even that the repository exists."""
    text = "[[rules]]\nrepositories = ['**']\nusers = ['@users']\nallow = ['write']\n"
    for action in ("read", "push"):
        assert letter(ask(Rules.parse(text), "alice", "private", action)) == "-"


def test_a_ref_is_hidden_if_no_rule_shows_it() -> None:
    rules = Rules.parse(TEXT)
    anonymous = ask(rules, None, "public/a").hidden
    assert b"refs/internal/x" in anonymous
    assert b"refs/heads/wip" in anonymous
    assert b"refs/heads/main" not in anonymous
    carol = ask(rules, "carol", "public/a").hidden
    assert b"refs/internal" in carol
    assert b"refs/heads/wip" not in carol
    assert ask(rules, "alice", "private").hidden == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules = 1", "expected [[rules]]"),
        ("[rule]", "unknown key 'rule'"),
        ("[[rules]]\nusers=[]", "rule 1: 'repositories' is missing"),
        ("[[rules]]\nrepositories='**'\nusers=[]\nallow=[]", "expected a list of strings"),
        ("[[rules]]\nrepositories=['**']\nusers=['@x']\nallow=[]", "there is no group '@x'"),
        ("[[rules]]\nrepositories=[]\nusers=['']\nallow=[]", "'' is no name"),
        ("[[rules]]\nrepositories=[]\nusers=[]\nallow=['all']", "unknown ['all']"),
        ("[[rules]]\nrepositories=[]\nusers=[]\nallow=[]\nref=[]", "unknown key 'ref'"),
        ("[groups]\nall=['x']", "'all' is built in"),
        ("[groups]\nx=['@users']", "'@users' is no name"),
        ("rules = [", "end of document"),
    ],
)
def test_mistakes_are_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Rules.parse(text)


def test_rules_grant_nothing_by_themselves() -> None:
    for text in ("", "[[rules]]\nrepositories=[]\nusers=['@all']\nallow=['read']\n"):
        assert letter(ask(Rules.parse(text), "alice", "x")) == "-"


def test_the_file_is_followed_and_a_broken_one_denies_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rules"

    def write(text: str) -> None:
        (tmp_path / "new").write_text(text)
        os.replace(tmp_path / "new", path)

    with pytest.raises(FileNotFoundError):
        RulesFile(path)
    write("rules = [")
    with pytest.raises(ValueError, match="rules"):
        RulesFile(path)
    write(TEXT)
    rules = RulesFile(path)
    assert letter(ask(rules, None, "public/a")) == "+"
    write(TEXT.replace("public", "other"))
    assert letter(ask(rules, None, "public/a")) == "?"
    write(TEXT + "\nunknown")
    for _ in range(3):
        assert letter(ask(rules, None, "other/a")) == "-"
    assert sum("everything is denied" in line for line in caplog.messages) == 1
    path.unlink()
    assert letter(ask(rules, "alice", "private")) == "-"
    write(TEXT)
    assert letter(ask(rules, "alice", "private")) == "+"
