"""From URLs and stores to buckets."""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Any

import pytest
from obstore.store import LocalStore, MemoryStore

from bucket.answering import SECRET, AnsweringServer
from dulwich_reftable.bucket import is_bucket_url, open_store
from dulwich_reftable.engine.errors import ConfigurationError


def test_a_memory_store_is_shared_by_its_name() -> None:
    open_store("memory://shared/a").put("b/c", b"data")
    again = open_store("memory://shared", "/a/b/").get("c")
    assert again is not None
    assert again.data == b"data"
    assert list(open_store("memory://other").list()) == []


def test_a_store_of_the_caller() -> None:
    store = MemoryStore()
    open_store(store, "a").put("b", b"data")
    assert [info.key for info in open_store(store).list()] == ["a/b"]
    assert open_store(store, "a").client.kind == "memory"


def test_locations() -> None:
    options: dict[str, Any] = {"skip_signature": True, "region": "r"}
    bucket = open_store("s3://name//a/b/", **options)
    assert bucket.location == "s3://name/a/b"
    assert bucket.within("c").locate("d") == "s3://name/a/b/c/d"
    assert open_store("gs://name", "x", skip_signature=True).location == "gs://name/x"
    azure = open_store("az://container/x", account_name="a", skip_signature=True)
    assert (azure.location, azure.client.kind) == ("az://container/x", "az")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"s3://key:{SECRET}@bucket/prefix", "credentials"),
        (f"s3://bucket/prefix?secret_access_key={SECRET}", "credentials"),
        ("file:///tmp/x", "use a path"),
        ("s3:///prefix", "is no URL"),
        ("https://example.com/x", "is no URL"),
        ("/some/path", "is no URL"),
        (f"s3://key:{SECRET}@[bucket/prefix", "is no URL"),
    ],
)
def test_urls_that_are_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        open_store(url)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_options_that_are_refused(server: AnsweringServer) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"frobnicate": SECRET}, "no option frobnicate"),
        ({"virtual_hosted_style_request": SECRET}, "no such value"),
        ({"client_options": {"read_timeout": SECRET}}, "no such value"),
        ({"endpoint": "127.0.0.1:1"}, "has to begin with http"),
    ]
    for options, message in refused:
        with pytest.raises(ConfigurationError, match=message) as caught:
            open_store("s3://bucket", **{**server.options, **options})
        assert SECRET not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(ConfigurationError, match="takes no options"):
        open_store("memory://x", endpoint="http://127.0.0.1")
    with pytest.raises(ConfigurationError, match="has its own"):
        open_store(MemoryStore(), endpoint="http://127.0.0.1")


def test_a_directory_of_obstore_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="conditionally"):
        open_store(LocalStore())


def test_an_endpoint_of_the_environment(
    server: AnsweringServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = server.options
    monkeypatch.setenv("AWS_ENDPOINT_URL", options.pop("endpoint"))
    with pytest.raises(OSError, match="status 500"):
        open_store("s3://bucket", deadline=0.0, **options).get("x")


def test_what_is_a_url() -> None:
    assert all(map(is_bucket_url, ["s3://a", "gs://a/b", "az://a", "memory://a"]))
    assert not any(map(is_bucket_url, ["/s3://a", "s3:a", "https://a", "C:\\a", "git://a"]))


def test_the_extra_is_named_where_obstore_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(ConfigurationError, match=r"dulwich-reftable\[bucket\]"):
        open_store("memory://x")
    importlib.import_module("dulwich_reftable.bucket")
