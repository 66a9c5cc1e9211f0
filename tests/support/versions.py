"""Tests that an old dulwich cannot pass, through no fault of ours."""

from __future__ import annotations

import pytest

__all__ = ["SHA256", "keeps_heads", "needs_dulwich", "needs_server", "writes_sha256"]


def _installed() -> tuple[int, ...]:
    try:
        import dulwich  # here, since the engine's tests need no dulwich
    except ImportError:
        return ()
    return tuple(dulwich.__version__)


_VERSION = _installed()


def needs_dulwich(version: str, reason: str) -> pytest.MarkDecorator:
    """Skip a test where dulwich is older than a version.

    Args:
      version: the first with which the test passes, such as ``"1.2.18"``
      reason: what an older dulwich lacks, or does wrong itself
    """
    least = tuple(int(part) for part in version.split("."))
    is_older = bool(_VERSION) and least > _VERSION
    return pytest.mark.skipif(is_older, reason=f"needs dulwich {version}: {reason}")


SHA256 = pytest.param("sha256", marks=needs_dulwich("0.25", "it knew no hash but SHA-1"))
"""The hash, for tests that let dulwich open a repository of it."""

needs_server = needs_dulwich("1.2.13", "so does what is tested")
"""Skip a test of the server, or of repositories in an object store."""

keeps_heads = needs_dulwich("1.2.18", "MERGE_HEAD was not written, CHERRY_PICK_HEAD not removed")
"""Skip a test of a merge or a cherry-pick that stops."""

writes_sha256 = needs_dulwich("1.2.18", "commits and indexes had SHA-1 ids in all repositories")
"""Skip a test that has dulwich commit, or check out, in a SHA-256 repository."""
