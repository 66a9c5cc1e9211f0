"""What operations cost in requests: the table in CONTRIBUTING.md, counted."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from dulwich import porcelain
from dulwich.repo import Repo

from bucket.test_repo import add_commit
from bucket.test_server import serving
from dulwich_reftable.bucket import Bucket, BucketRepo, open_store
from dulwich_reftable.bucket.gc import collect_garbage
from dulwich_reftable.server import HTTPGitServer

CONTRIBUTING = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
MAIN = b"refs/heads/main"
_numbers = itertools.count()


class Costs:
    """Requests by operation, and by their kinds."""

    def __init__(self) -> None:
        self.rows: dict[str, Counter[str]] = {}

    @contextmanager
    def of(self, what: str, bucket: Bucket) -> Iterator[None]:
        before = bucket.requests.copy()
        yield
        self.rows[what] = Counter(bucket.requests) - before


def refs_and_objects(costs: Costs) -> None:
    place = f"memory://costs-{next(_numbers)}/x"
    with BucketRepo.init(place, default_branch=b"main") as repo:
        old = add_commit(repo)
        with repo.refs.transaction() as transaction:
            transaction.create(MAIN, old)
            for number in range(5000):
                transaction.create(b"refs/tags/%d" % number, old)
    store = open_store(place)
    with costs.of("open a repository", store):
        repo = BucketRepo(store)
    with repo:
        with costs.of("first lookup of a ref", store):
            assert repo.refs[MAIN] == old
        with costs.of("another lookup", store):
            assert repo.refs[MAIN] == old
        with costs.of("list 5,000 refs", store):
            assert len(repo.refs.as_dict()) == 5002
        repo.refs[b"refs/heads/first"] = old  # the first write of a process probes the store
        with costs.of("update a ref", store):
            repo.refs[b"refs/heads/next"] = old
        with costs.of("transaction of 100 refs", store), repo.refs.transaction() as transaction:
            for number in range(100):
                transaction.create(b"refs/heads/n%d" % number, old)
        with costs.of("add a commit of three objects", store):
            add_commit(repo, b"new", (old,))
        with costs.of("compact all tables", store):
            repo.refs.compact()
        for number in range(3):
            repo.refs[b"refs/heads/p%d" % number] = add_commit(repo, b"%d" % number, (old,))
        with costs.of("gc of five packs", store):
            collect_garbage(repo.object_store, repo.refs, grace=0.0, full=True)


def served(costs: Costs, folder: Path) -> None:
    place = f"memory://costs-{next(_numbers)}/forge"
    stores = [open_store(place) for _ in range(2)]
    with serving(stores[0], HTTPGitServer) as one, serving(stores[1], HTTPGitServer) as other:
        url, fresh = (server.url.rstrip("/") + "/x.git" for server in (one, other))
        with Repo.init(folder / "work", mkdir=True, default_branch=b"main") as work:
            for number in range(4):
                (folder / "work" / "file").write_text(str(number) * 50)
                porcelain.add(work, [folder / "work" / "file"])
                porcelain.commit(work, message=b"%d" % number, author=b"A <a@example.com>")
                with costs.of("push of a commit", stores[0]):
                    porcelain.push(work, url, MAIN, BytesIO(), BytesIO())
            with costs.of("first clone from a server, of four packs", stores[1]):
                porcelain.clone(fresh, folder / "copy", errstream=BytesIO()).close()
            with costs.of("clone again", stores[1]):
                porcelain.clone(fresh, folder / "more", errstream=BytesIO()).close()
            with costs.of("ls-remote", stores[1]):
                porcelain.ls_remote(fresh)


def test_no_operation_costs_more_than_the_table_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for age in ("_MAX_AGE", "_FILE_MAX_AGE"):  # a slow machine would see requests more
        monkeypatch.setattr(f"dulwich_reftable.server.bucket_folder.{age}", 60.0)
    costs = Costs()
    refs_and_objects(costs)
    served(costs, tmp_path)
    count = r"\d+ (?:get|list|put|delete)"
    rows = re.findall(rf"^\| ([\w ,-]+) \| ({count}(?:, {count})*) \|$", CONTRIBUTING, re.M)
    told = {
        what: Counter({kind: int(count) for count, kind in re.findall(r"(\d+) ([a-z]+)", text)})
        for what, text in rows
    }
    assert told.keys() == costs.rows.keys()
    for what, counted in costs.rows.items():
        assert counted <= told[what], what
        assert told[what].total() - counted.total() <= 2, what
