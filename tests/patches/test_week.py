"""A user's week through porcelain, on a reftable repository and on a files one.

After every step porcelain must have said the same on both sides, and git must see the same.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from dulwich import porcelain
from support.git import requires_git
from support.versions import needs_dulwich

import dulwich_reftable as dr

from .sides import START, WHO, Clock, Side, Views, assert_no_strays, fix_identity, make_side, tell

pytestmark = requires_git

needs_rev_parse = needs_dulwich("1.1", "there was no porcelain.rev_parse")

Step = Callable[[Side], Any]


def monday(week: Week) -> None:
    """First commits, branches, tags."""
    week.do(lambda s: s.commit("a", "one"))
    week.do(lambda s: s.commit("a", "two"))
    week.do(lambda s: porcelain.branch_create(s.repo, "topic"))
    week.do(lambda s: porcelain.branch_create(s.repo, "old", "HEAD~1"))
    week.do(lambda s: porcelain.tag_create(s.repo, "light"))
    week.do(lambda s: porcelain.describe(s.repo))  # with two tags here, dulwich takes any
    week.do(
        lambda s: porcelain.tag_create(
            s.repo, "v1", WHO, b"one", annotated=True, tag_time=START, tag_timezone=0
        )
    )
    week.do(lambda s: porcelain.tag_list(s.repo))
    week.do(lambda s: porcelain.branch_list(s.repo))
    week.do(lambda s: porcelain.checkout(s.repo, "topic"))
    week.do(lambda s: s.commit("b", "topic one"))
    week.do(lambda s: porcelain.switch(s.repo, "main"))
    week.do(lambda s: porcelain.active_branch(s.repo))
    week.do(lambda s: porcelain.status(s.repo))


def tuesday(week: Week) -> None:
    """Merge, rebase, cherry-pick, conflicts, reset, revert, amend."""
    week.do(lambda s: s.commit("c", "main three"))
    week.do(lambda s: porcelain.merge(s.repo, "topic", author=WHO, committer=WHO))
    week.do(lambda s: porcelain.checkout(s.repo, "main", new_branch="side"))
    week.do(lambda s: s.commit("d", "side one"))
    week.do(lambda s: porcelain.checkout(s.repo, "main"))
    week.do(lambda s: s.commit("e", "main four"))
    picked = week.do(lambda s: porcelain.cherry_pick(s.repo, "refs/heads/side"))
    week.do(lambda s: porcelain.revert(s.repo, "HEAD", author=WHO, committer=WHO))
    week.do(lambda s: porcelain.reset(s.repo, "hard", picked))
    week.do(lambda s: porcelain.rev_parse(s.repo, "refs/heads/main@{2}"))
    week.do(lambda s: porcelain.rev_parse(s.repo, f"refs/heads/main@{{{START + 130}}}"))
    week.do(
        lambda s: porcelain.commit(
            s.repo, message=b"amended", author=WHO, committer=WHO, amend=True
        )
    )
    week.do(lambda s: porcelain.checkout(s.repo, "old"))
    week.do(lambda s: s.commit("f", "old one"))
    week.do(lambda s: porcelain.rebase(s.repo, "main"))
    # dulwich's rebase leaves changes in the work tree.
    week.do(lambda s: porcelain.checkout(s.repo, "main", force=True))
    week.do(lambda s: porcelain.merge(s.repo, "old", no_ff=True, author=WHO, committer=WHO))


def wednesday(week: Week) -> None:
    """Stash and bisection."""
    for text in ("five", "six", "seven"):
        week.do(lambda s, text=text: s.commit("a", text))
        week.do(lambda s, text=text: s.write("a", f"{text} and more") and None)
        week.do(lambda s: porcelain.stash_push(s.repo))
    week.do(lambda s: list(porcelain.stash_list(s.repo)))
    week.do(lambda s: porcelain.stash_drop(s.repo, 1))
    week.do(lambda s: list(porcelain.stash_list(s.repo)))
    week.do(lambda s: porcelain.stash_pop(s.repo))
    week.do(lambda s: (s.path / "a").read_text())
    week.do(lambda s: porcelain.reset(s.repo, "hard"))
    week.do(lambda s: porcelain.stash_drop(s.repo, 0))
    week.do(lambda s: list(porcelain.stash_list(s.repo)))
    week.do(lambda s: porcelain.bisect_start(s.repo, "HEAD", "light"))
    week.do(lambda s: porcelain.bisect_good(s.repo))
    week.do(lambda s: porcelain.bisect_skip(s.repo))
    week.do(lambda s: porcelain.bisect_bad(s.repo))
    week.do(lambda s: porcelain.bisect_log(s.repo))
    week.do(lambda s: porcelain.bisect_reset(s.repo))
    week.do(lambda s: porcelain.status(s.repo))


def thursday(week: Week) -> None:
    """Notes, worktrees, reflogs."""
    head = week.do(lambda s: porcelain.rev_parse(s.repo, "HEAD"))
    week.do(lambda s: porcelain.notes_add(s.repo, head, b"a note", author=WHO, committer=WHO))
    week.do(lambda s: porcelain.notes_show(s.repo, head))
    week.do(lambda s: porcelain.notes_list(s.repo))
    week.do(lambda s: porcelain.notes_remove(s.repo, head, author=WHO, committer=WHO))
    week.do(lambda s: porcelain.worktree_add(s.repo, str(s.root / "tree"), branch="tree"))
    topic = week.do(lambda s: porcelain.rev_parse(s.repo, "topic"))
    week.do(lambda s: porcelain.worktree_add(s.repo, str(s.root / "away"), commit=topic))
    week.do(lambda s: _sorted_worktrees(s))
    week.do(lambda s: porcelain.worktree_lock(s.repo, str(s.root / "away"), reason="later"))
    week.do(lambda s: porcelain.worktree_move(s.repo, s.root / "tree", s.root / "moved"))
    week.do(lambda s: _sorted_worktrees(s))
    week.do(lambda s: porcelain.worktree_remove(s.repo, str(s.root / "moved")))
    week.do(lambda s: porcelain.worktree_prune(s.repo))
    week.do(lambda s: _sorted_worktrees(s))
    # The logs of HEAD differ; what we say of them is compared with git elsewhere.
    week.do(lambda s: list(porcelain.reflog(s.repo, "refs/heads/side")))
    week.do(lambda s: {name for name, _ in porcelain.reflog(s.repo, all=True)})
    week.do(lambda s: porcelain.reflog_delete(s.repo, "refs/heads/main", 1, rewrite=True))
    week.do(lambda s: porcelain.reflog_delete(s.repo, "refs/heads/side"))
    hour = START + 3600
    week.do(lambda s: _expire(s, expire_time=0, expire_unreachable_time=hour, dry_run=True))
    # In files dulwich has a rule of its own, which is git's where only one limit counts.
    week.do(lambda s: s.git.run("config", "gc.reflogExpireUnreachable", "never"))
    week.do(lambda s: _expire(s, expire_time=START + 600))


def _expire(side: Side, **kwargs: Any) -> None:
    """Expire all; how many entries go depends on how many there were."""
    porcelain.reflog_expire(side.repo, all=True, **kwargs)


def friday(week: Week) -> None:
    """Branches come and go; gc, pack-refs, fsck."""
    week.do(_rename_and_delete)
    week.do(lambda s: porcelain.branch_create(s.repo, "deep/er", "topic"))
    week.do(lambda s: porcelain.tag_delete(s.repo, b"light"))
    week.do(lambda s: porcelain.update_ref(s.repo, "refs/heads/made", "HEAD", message="made"))
    week.do(lambda s: porcelain.symbolic_ref(s.repo, "topic"))
    week.do(lambda s: porcelain.symbolic_ref(s.repo, "main"))
    week.do(lambda s: porcelain.for_each_ref(s.repo, b"refs/*"))
    week.do(lambda s: porcelain.show_ref(s.repo, head=True, dereference=True))
    week.do(lambda s: porcelain.pack_refs(s.repo, all=True))
    week.do(lambda s: porcelain.gc(s.repo, prune=False) and None)
    week.do(lambda s: porcelain.maintenance_run(s.repo, tasks=["pack-refs", "loose-objects"]))
    week.do(lambda s: list(porcelain.fsck(s.repo)))
    week.do(lambda s: porcelain.update_server_info(s.repo))
    week.do(lambda s: (s.path / ".git/info/refs").read_bytes())
    week.do(lambda s: porcelain.filter_branch(s.repo, "made", filter_message=bytes.upper))
    week.do(lambda s: _log(s))


def _rename_and_delete(side: Side) -> list[bytes]:
    """In one step: of a rename, git itself logs one entry in files and two in reftables."""
    side.git.run("branch", "-m", "side", "renamed")
    names = list(porcelain.branch_list(side.repo))
    porcelain.branch_delete(side.repo, "renamed")
    return names


def _log(side: Side) -> str:
    out = io.StringIO()
    porcelain.log(side.repo, outstream=out)
    return out.getvalue()


def _sorted_worktrees(side: Side) -> list[Any]:
    return sorted(porcelain.worktree_list(side.repo), key=lambda info: info.path)


class Week:
    """The story so far."""

    def __init__(self, sides: list[Side], clock: Clock) -> None:
        self.sides = sides
        self.views = Views(sides)
        self.clock = clock
        self.steps = 0

    def do(self, step: Step) -> Any:
        """Take a step on both sides and compare."""
        self.steps += 1
        self.clock.set(self.steps)
        answer = tell(self.sides, step)
        # The same steps are taken with repository objects: then, the end of a day is enough.
        if isinstance(self.sides[1].repo, str):
            self.views.assert_same()
        assert_no_strays(self.sides[1].path / ".git")
        return answer


@needs_rev_parse
def test_week(sides: list[Side], monkeypatch: pytest.MonkeyPatch) -> None:
    week = Week(sides, Clock(monkeypatch))
    for day in (monday, tuesday, wednesday, thursday, friday):
        day(week)
        week.views.assert_same()
        for side in sides:
            assert side.git.complaints() == b""


@needs_rev_parse
def test_a_week_on_files_with_and_without_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With us installed, dulwich leaves the same files, byte for byte."""
    fix_identity(monkeypatch)
    clock = Clock(monkeypatch)
    told = []
    for name, held in (("without", nullcontext()), ("with", dr.installed())):
        side = make_side(tmp_path / name, "files", explicit=False)
        with held:
            story = OneSided(side, clock)
            for day in (monday, tuesday, wednesday, thursday, friday):
                day(story)
        told.append((story.answers, control_files(side)))
    assert told[0] == told[1]


class OneSided(Week):
    """The story on one side, with nothing compared until its end."""

    def __init__(self, side: Side, clock: Clock) -> None:
        super().__init__([side], clock)
        self.answers: list[Any] = []

    def do(self, step: Step) -> Any:
        self.steps += 1
        self.clock.set(self.steps)
        self.answers.append(tell(self.sides, step))
        return self.answers[-1]


def control_files(side: Side) -> dict[str, bytes]:
    """What is in the control directory, but for objects, and times and places in indexes."""
    control = side.path / ".git"
    return {
        str(path.relative_to(control)): path.read_bytes().replace(bytes(side.root), b"ROOT")
        for path in control.rglob("*")
        if path.is_file() and path.name != "index" and "objects" not in path.parts
    }
