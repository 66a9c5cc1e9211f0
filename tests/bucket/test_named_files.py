"""What is told of a write of a small file, whatever the store answers."""

from __future__ import annotations

import pytest
from obstore.store import MemoryStore

from bucket.faults import LateWrites, ScriptedStore
from dulwich_reftable.bucket import Bucket, UnavailableError, open_store
from dulwich_reftable.bucket.named_files import NamedFiles, key_of
from dulwich_reftable.engine.errors import (
    ConfigurationError,
    OutcomeUnknownError,
    StaleListError,
)


class World:
    """One store, a client that meets faults in its puts, and one that does not."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.late = LateWrites()
        self.other = NamedFiles(open_store(self.store))

    def files(self, *faults: str) -> NamedFiles:
        self.bucket = open_store(self.store, deadline=0.05)
        self.bucket.client.keeps_conditions = True
        self.script = ScriptedStore(faults, self.late)
        self.script.into(self.bucket)
        return NamedFiles(self.bucket)


@pytest.fixture
def world() -> World:
    return World()


def content(files: NamedFiles) -> bytes | None:
    found = files.read("config")
    return None if found is None else found.data


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize(
    "fault", ["", "unsent", "before", "after", "late", "409", "412", "412 after", "wrong etag"]
)
def test_a_write_happens_once_whatever_the_first_answer(
    world: World, fault: str, is_new: bool
) -> None:
    if not is_new:
        world.other.write("config", b"first", None)
    files = world.files(fault, "")
    files.write("config", b"second", files.read("config"))
    assert content(world.other) == b"second"
    files.write("config", b"third", files.read("config"))  # what it has written is the base now
    world.late.apply()
    assert content(world.other) == b"third"


@pytest.mark.parametrize("fault", ["", "before", "412"])
def test_what_somebody_else_wrote_stays(world: World, fault: str) -> None:
    files = world.files(fault, "")
    base = files.read("config")
    world.other.write("config", b"theirs", None)
    with pytest.raises(StaleListError, match="somebody else"):
        files.write("config", b"mine", base)
    assert content(world.other) == b"theirs"
    assert content(files) == b"theirs"


def test_a_write_that_never_was_sent_is_known_not_to_have_happened(world: World) -> None:
    with pytest.raises(UnavailableError):
        world.files("unsent").write("config", b"mine", None)
    assert content(world.other) is None


def test_a_write_that_may_come_late_is_unknown(world: World) -> None:
    with pytest.raises(OutcomeUnknownError):
        world.files("late").write("config", b"mine", None)
    world.late.apply()
    assert content(world.other) == b"mine"


def test_a_write_that_cannot_be_read_back_is_unknown(world: World) -> None:
    files = world.files("after")
    world.script.reads_fail = True
    with pytest.raises(OutcomeUnknownError):
        files.write("config", b"mine", None)


def test_a_staged_file_is_seen_here_only_until_it_is_published(bucket: Bucket) -> None:
    mine, other = NamedFiles(bucket), NamedFiles(bucket)
    mine.stage("config", b"mine")
    assert (content(mine), content(other)) == (b"mine", None)
    other.write("config", b"theirs", None)
    with pytest.raises(StaleListError):
        mine.publish("config")
    bucket.delete(["config"])
    mine.publish("config")
    assert (content(mine), content(other)) == (b"mine", b"mine")


def test_files_within_an_age_are_not_asked_for(bucket: Bucket) -> None:
    files = NamedFiles(bucket, max_age=60)
    for path in ("config", "shallow"):
        files.put(path, b"text")
        before = bucket.requests.total()
        assert files.read(path) is files.latest(path)
        files.delete(path)
        assert files.read(path) is None
        assert bucket.requests.total() == before + 1  # to remove it


@pytest.mark.parametrize("path", ["", "/", "a//b", "../a", "a/.", "a\n", "\xe4"])
def test_names_that_no_file_can_have(path: str) -> None:
    with pytest.raises(ConfigurationError):
        key_of(path)
