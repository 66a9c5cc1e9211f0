"""scmrepo: DVC's library for git, and of its three backends the one that is dulwich."""

from __future__ import annotations

from support.git import Git

from ..program import Program, job

__all__ = ["Scmrepo"]

_OPEN = """
import sys
from scmrepo.git import Git
scm = Git(sys.argv[1], backends=["dulwich"])
"""
_READ = f"""{_OPEN}
print(sorted(scm.iter_refs("refs/heads/")), sorted(scm.iter_refs("refs/tags")))
print(sorted(scm.iter_refs()), scm.get_ref("HEAD", follow=False), scm.get_ref("HEAD"))
tag = scm.get_tag("2.0.0")
print(tag.name, tag.hexsha, tag.target, scm.get_tag("1.1.0"), scm.get_tag("none"))
"""
_REFS = f"""{_OPEN}
from scmrepo.exceptions import SCMError
one, other = scm.get_ref("refs/tags/1.1.0"), scm.get_ref("refs/heads/main")
scm.set_ref("refs/exps/1", one, message="begun")
scm.set_ref("refs/exps/1", other, old_ref=one)
scm.set_ref("refs/exps/head", "refs/exps/1", symbolic=True)
print(scm.get_ref("refs/exps/head"), scm.get_ref("refs/exps/head", follow=False))
for old in (one, other):
    try:
        scm.remove_ref("refs/exps/1", old_ref=old)
    except SCMError as error:
        print(error)
scm.remove_ref("refs/exps/head")
print(sorted(scm.iter_refs("refs/exps")), scm.get_ref("refs/tags/1.0.0"), scm.describe([other]))
"""
_COMMIT = f"""{_OPEN}
scm.branch("topic/new")
scm.tag("3.0.0", annotated=True, message="the third release")
with open(f"{{sys.argv[1]}}/README.md", "w") as file:
    file.write("changed\\n")
scm.add("README.md")
print(scm.is_dirty(), scm.status())
scm.commit("a commit")
print(scm.is_dirty(), scm.status())
"""
_SEND = f"""{_OPEN}
url = sys.argv[2]
print(scm.push_refspecs(url, ["refs/heads/main:refs/exps/main", "refs/tags/1.0.0:refs/tags/sent"]))
print(sorted(scm.iter_remote_refs(url, "refs/exps/")))
print(scm.fetch_refspecs(url, ["refs/exps/main:refs/exps/got", "refs/tags/sent:refs/tags/back"]))
"""
_CLONE = """
import sys
from scmrepo.git.backend.dulwich import DulwichBackend
DulwichBackend.clone(*sys.argv[1:])
"""


class Scmrepo(Program):
    """Its dulwich backend. DVC asks libgit2 as well, which reads no reftables."""

    packages = ("scmrepo",)

    @job("branches, tags, refs")
    def read(self) -> object:
        return self.python(_READ, self.repository().path)

    @job("refs written, compared, removed")
    def write(self) -> object:
        git = self.repository("written")
        return self.python(_REFS, git.path), self.refs(git.path)

    @job("branch, tag, commit")
    def commit(self) -> object:
        git = self.repository("changed")
        said = self.python(_COMMIT, git.path)
        return said, sorted(self.refs(git.path)), git.run("log", "--format=%T %s")

    @job("push and fetch")
    def send(self) -> object:
        git, remote = self.repository("sender"), self.repository("receiver")
        said = self.python(_SEND, git.path, remote.path.as_uri())
        return said, self.refs(git.path), self.refs(remote.path)

    @job("clone")
    def clone(self) -> object:
        target = self.root / "clone"
        self.python(_CLONE, self.repository().path, target)
        return self.refs(target), Git(target).run("status", "--porcelain", "--branch")
