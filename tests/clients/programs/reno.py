"""reno: release notes, collected from the history of a repository and its tags."""

from __future__ import annotations

from ..program import Program, job

__all__ = ["Reno"]


class Reno(Program):
    """Its command line."""

    packages = ("reno",)

    def reno(self, *args: str) -> str:
        """Run it in the repository; it does not change it."""
        return self.run("reno", "-q", *args, cwd=self.repository().path)

    @job("list")
    def list(self) -> object:
        return self.reno("list")

    @job("list of branches")
    def list_branches(self) -> object:
        return [self.reno("list", "--branch", name) for name in ("stable/1.0", "topic/deep/below")]

    @job("report")
    def report(self) -> object:
        return self.reno("report", ".", "--title", "Demo")

    @job("report of some versions of a branch")
    def report_versions(self) -> object:
        versions = ["--version", "1.0.0", "--version", "1.0.1"]
        return self.reno("report", "--branch", "stable/1.0", *versions)

    @job("report since a version")
    def report_since(self) -> object:
        return self.reno("report", "--earliest-version", "1.1.0")

    @job("lint")
    def lint(self) -> object:
        return self.reno("lint")

    @job("cache")
    def cache(self) -> object:
        # The dates are in the order of a set.
        return sorted(self.reno("cache", "--output", "-").splitlines())

    @job("semver-next")
    def semver_next(self) -> object:
        return self.reno("semver-next")
