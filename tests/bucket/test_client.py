"""Objects below a prefix, in memory and over HTTP."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from support.forking import exit_code_of, needs_fork

from bucket.answering import SECRET, Answer, AnsweringServer
from dulwich_reftable.bucket import (
    AccessError,
    Bucket,
    ConditionError,
    ConflictError,
    MissingBucketError,
    MissingObjectError,
    UnavailableError,
    Version,
    open_store,
)
from dulwich_reftable.engine.errors import StorageError

OK = Answer(200, headers={"ETag": '"e"', "Last-Modified": "Wed, 25 Nov 2026 21:10:33 GMT"})


# In memory


def test_what_is_put_is_read_below_the_prefix(bucket: Bucket) -> None:
    version = bucket.put("a/b", b"one")
    found = bucket.get("a/b")
    assert found == (b"one", version)
    assert isinstance(found.data, bytes)  # and not a class of obstore's
    deeper = bucket.within("a")
    assert deeper.get("b") == found
    assert deeper.location == f"{bucket.location}/a"
    assert bucket.head("a/b")[:3] == ("a/b", 3, version)
    assert bucket.requests == {"put": 1, "get": 3}


def test_an_unchanged_object_is_not_sent_again(bucket: Bucket) -> None:
    version = bucket.put("a", b"one")
    assert bucket.get("a", unless=version) is None
    bucket.put("a", b"two")
    changed = bucket.get("a", unless=version)
    assert changed is not None
    assert changed.data == b"two"


def test_conditional_writes(bucket: Bucket) -> None:
    first = bucket.create("a", b"one")
    with pytest.raises(ConditionError):
        bucket.create("a", b"two")
    second = bucket.replace("a", b"two", first)
    with pytest.raises(ConditionError):
        bucket.replace("a", b"three", first)
    with pytest.raises(ConditionError):
        bucket.replace("none", b"three", second)
    assert bucket.get("a") == (b"two", second)


def test_ranges_come_in_the_order_of_the_question(bucket: Bucket) -> None:
    bucket.put("a", bytes(range(200)))
    assert bucket.get_range("a", 3, 5) == b"\3\4"
    assert bucket.get_ranges("a", [(10, 12), (0, 1), (5, 5)]) == [b"\12\13", b"\0", b""]
    for beyond in [(199, 201), (200, 201), (500, 501)]:
        with pytest.raises(StorageError) as caught:
            bucket.get_range("a", *beyond)
        assert caught.value.errno == errno.EINVAL


def test_large_objects_are_read_and_written_in_parts(bucket: Bucket, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 9 + b"end"
    (tmp_path / "file").write_bytes(data)
    bucket.put_file("file", str(tmp_path / "file"))
    assert bucket.get_range("file", 0, len(data)) == data
    assert bucket.requests["get"] == 2
    (tmp_path / "small").write_bytes(b"small")
    bucket.put_file("small", str(tmp_path / "small"))
    assert bucket.get_range("small", 0, 5) == b"small"


def test_listing_and_deleting(bucket: Bucket) -> None:
    for key in ("a", "d/one", "d/two", "deep"):
        bucket.put(key, key.encode())
    found = {info.key: info for info in bucket.list()}
    assert {*found} == {"a", "d/one", "d/two", "deep"}
    assert found["d/one"].size == 5
    assert found["d/one"].modified > 1_000_000_000
    assert {info.key for info in bucket.list("d")} == {"d/one", "d/two"}
    bucket.delete(["a", "d/one", "not there"])
    bucket.delete([])
    assert {info.key for info in bucket.list()} == {"d/two", "deep"}


def test_a_missing_object(bucket: Bucket) -> None:
    for ask in (bucket.get, bucket.head):
        with pytest.raises(MissingObjectError) as caught:
            ask("none")
        assert caught.value.errno == errno.ENOENT
        assert caught.value.filename == f"{bucket.location}/none"
    with pytest.raises(MissingObjectError):
        bucket.get_range("none", 0, 1)


def test_a_name_that_no_object_can_have_is_told(bucket: Bucket) -> None:
    with pytest.raises(StorageError, match="malformed"):
        bucket.get("../x")


@needs_fork
def test_a_fork_is_noticed(bucket: Bucket) -> None:
    bucket.put("a", b"")

    def child() -> None:
        with pytest.raises(StorageError, match="after a fork"):
            bucket.get("a")

    assert exit_code_of(child) == 0


# What a server answers


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(404, "NoSuchKey"), MissingObjectError),
        (Answer(404, "NoSuchBucket"), MissingBucketError),
        (Answer(404, "ContainerNotFound"), MissingBucketError),
        (Answer(403, "AccessDenied"), AccessError),
        (Answer(403, "SignatureDoesNotMatch"), AccessError),
        (Answer(403, "InvalidAccessKeyId"), AccessError),
        (Answer(401, "Whatever"), AccessError),
        (Answer(400, "ExpiredToken"), AccessError),
        (Answer(429, "SlowDown"), UnavailableError),
        (Answer(500, "InternalError"), UnavailableError),
        (Answer(503, "SlowDown"), UnavailableError),
        (Answer(200, body=b"half", headers=OK.headers, cut=10), UnavailableError),
    ],
    ids=lambda value: f"{value.status}-{value.code}" if isinstance(value, Answer) else "",
)
def test_every_request_tells_the_kind_of_failure(
    server: AnsweringServer, s3: Callable[..., Bucket], answer: Answer, kind: type[StorageError]
) -> None:
    server.answers = [answer]
    bucket = s3()
    requests: list[Callable[[], object]] = [
        lambda: bucket.get("key"),
        lambda: bucket.get_ranges("key", [(0, 4)]),
        lambda: list(bucket.list("key")),
        lambda: bucket.head("key"),
    ]
    if not answer.cut:
        requests += [
            lambda: bucket.put("key", b"data"),
            lambda: bucket.create("key", b"data"),
        ]
    if not answer.cut and (answer.status != 404 or kind is MissingBucketError):
        requests.append(lambda: bucket.delete(["key", "other"]))
    for request in requests:
        with pytest.raises(StorageError) as caught:
            request()
        assert type(caught.value) is kind
        shown = "".join(traceback.format_exception(caught.value))
        assert SECRET not in shown
        assert SECRET not in repr(caught.value)
        assert caught.value.__context__ is None  # obstore's text has the address of the request
        assert "somewhere/a/b" in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(412, "PreconditionFailed"), ConditionError),
        (Answer(409, "ConditionalRequestConflict"), ConflictError),
        (Answer(409, "BlobAlreadyExists"), ConditionError),
        (Answer(503, "SlowDown"), UnavailableError),
        (Answer(200), UnavailableError),  # without an entity tag, after it was done
    ],
)
def test_a_conditional_write_is_sent_once(
    server: AnsweringServer, s3: Callable[..., Bucket], answer: Answer, kind: type[StorageError]
) -> None:
    server.answers = [answer]
    bucket = s3(deadline=30.0)
    with pytest.raises(kind):
        bucket.create("key", b"data")
    with pytest.raises(kind):
        bucket.replace("key", b"data", Version('"e"'))
    assert [seen[2].get("if-none-match") for seen in server.seen] == ["*", None]
    assert [seen[2].get("if-match") for seen in server.seen] == [None, '"e"']


def test_replacing_what_is_gone_is_lost(server: AnsweringServer, s3: Callable[..., Bucket]) -> None:
    server.answers = [Answer(404, "NoSuchKey")]
    with pytest.raises(ConditionError):
        s3().replace("key", b"data", Version('"e"'))
    server.answers = [Answer(404, "NoSuchBucket")]
    with pytest.raises(MissingBucketError):
        s3().replace("key", b"data", Version('"e"'))


def test_entity_tags_lose_their_quotes_where_the_store_needs_it(
    server: AnsweringServer, s3: Callable[..., Bucket]
) -> None:
    bucket = s3()
    server.answers = [OK]
    bucket.client.strips_quotes = True
    version = bucket.replace("key", b"data", Version('"e"'))
    assert bucket.get("key", unless=version) is None  # this server ignores the condition
    assert server.seen[0][2]["if-match"] == "e"
    assert server.seen[1][2]["if-none-match"] == "e"


def test_reads_and_plain_writes_are_repeated(
    server: AnsweringServer, s3: Callable[..., Bucket]
) -> None:
    bucket = s3(deadline=30.0)
    server.answers = [Answer(503), Answer(500), Answer(409), OK]
    assert bucket.put("key", b"data") == Version('"e"')
    server.answers = [
        Answer(429),
        Answer(200, body=b"ha", headers=OK.headers, cut=2),
        Answer(200, body=b"half", headers=OK.headers),
    ]
    assert bucket.get("key") == (b"half", Version('"e"'))
    assert bucket.requests == {"put": 4, "get": 3}


def test_a_server_that_is_not_there(server: AnsweringServer) -> None:
    options = {**server.options, "endpoint": "http://127.0.0.1:9"}
    bucket = open_store("s3://somewhere", deadline=0.0, **options)
    with pytest.raises(UnavailableError, match="cannot be reached") as caught:
        bucket.create("key", b"")
    assert not caught.value.was_sent
