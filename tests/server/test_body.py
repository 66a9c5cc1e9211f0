"""The body of an HTTP request: chunks, lengths and gzip, read piece by piece."""

from __future__ import annotations

import gzip
import io
import random
import zlib
from typing import Any

import pytest
from dulwich.errors import HangupException
from support.memory import measured

from dulwich_reftable.server.errors import RefusedError
from dulwich_reftable.server.transport.body import (
    Chunked,
    Limited,
    Read,
    bounded,
    decoded,
    plain_reader,
)


def chunked(data: bytes, draw: random.Random) -> bytes:
    """Frame data in chunks of random sizes."""
    out = b""
    while data:
        size = draw.choice((1, 2, 15, 16, 17, 4096, 100_000))
        chunk, data = data[:size], data[size:]
        extension = draw.choice((b"", b";a=b", b" "))
        digits = draw.choice((b"%x", b"%X", b"%04x")) % len(chunk)
        out += digits + extension + b"\r\n" + chunk + b"\r\n"
    return out + b"0\r\n" + draw.choice((b"", b"Trailer: x\r\n")) + b"\r\n"


def read_all(stream: io.RawIOBase, draw: random.Random) -> bytes:
    out = b""
    while data := stream.read(draw.choice((1, 7, 4096, 1 << 20))):
        out += data
    return out


def test_chunks_come_out_as_they_went_in() -> None:
    draw = random.Random(1)
    for _ in range(100):
        data = draw.randbytes(draw.choice((0, 1, 5000, 300_000)))
        sent = io.BytesIO(chunked(data, draw) + b"the next request")
        stream: Any = io.BufferedReader(sent)
        assert read_all(Chunked(stream), draw) == data
        assert stream.read() == b"the next request"


@pytest.mark.parametrize(
    "framed",
    [
        b"",
        b"5",
        b"5\r\nabc",
        b"5\r\nabcde",
        b"5\r\nabcde\r\n",
        b"0\r\n",
        b"-1\r\n\r\n",
        b"+1\r\na\r\n0\r\n\r\n",
        b"0x1\r\na\r\n0\r\n\r\n",
        b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n",
        b"\r\n0\r\n\r\n",
        b"1\r\nab\r\n0\r\n\r\n",
        b"f" * 16 + b"\r\n",
        b"0" * 10_000,
        b"1;" + b"x" * 10_000 + b"\r\na\r\n0\r\n\r\n",
        b"0\r\n" + b"T: x\r\n" * 1000 + b"\r\n",
    ],
)
def test_chunks_that_are_malformed_or_end_early(framed: bytes) -> None:
    stream = Chunked(io.BufferedReader(io.BytesIO(framed)))
    with pytest.raises((RefusedError, HangupException)):
        stream.read()


def test_a_length_that_is_not_reached_is_no_end() -> None:
    assert Limited(io.BytesIO(b"abcdef"), 4).read() == b"abcd"
    with pytest.raises(HangupException):
        Limited(io.BytesIO(b"abc"), 4).read()


DATA = random.Random(2).randbytes(200_000)
TERMINATED = {"wsgi.input_terminated": True}
CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked"}


@pytest.mark.parametrize(
    ("said", "more"),
    [
        # gunicorn, waitress: the stream ends and they say so, whatever the head says.
        ({**TERMINATED, **CHUNKED}, b""),
        ({**TERMINATED, "CONTENT_LENGTH": str(len(DATA))}, b""),
        (TERMINATED, b""),
        # a2wsgi: the stream ends, but nobody says so.
        (CHUNKED, b""),
        # wsgiref and the like: the stream is the socket.
        ({"CONTENT_LENGTH": str(len(DATA))}, b"the next request"),
    ],
)
@pytest.mark.parametrize("encoding", ["", "gzip", "x-gzip"])
def test_each_wsgi_server(said: dict[str, object], more: bytes, encoding: str) -> None:
    sent = gzip.compress(DATA) if encoding else DATA
    if "CONTENT_LENGTH" in said:
        said = {**said, "CONTENT_LENGTH": str(len(sent))}
    read = decoded(plain_reader({**said, "wsgi.input": io.BytesIO(sent + more)}), encoding)
    out = b""
    while data := read(10_000):
        assert len(data) <= 10_000
        out += data
    assert out == DATA


def test_without_a_length_there_is_no_body() -> None:
    for said in ({}, {"CONTENT_LENGTH": ""}, {"CONTENT_LENGTH": "-1"}, {"CONTENT_LENGTH": "x"}):
        assert plain_reader({**said, "wsgi.input": io.BytesIO(b"x")})(10) == b""


def exhaust(read: Read) -> None:
    """Read to the end."""
    while read(1 << 16):
        pass


def test_gzip_that_is_damaged_or_ends_early() -> None:
    packed = gzip.compress(DATA)
    changed = packed[:50_000] + b"x" * 9 + packed[50_009:]
    for broken in (b"", b"x", packed[:1000], packed[:-9], changed):
        with pytest.raises(RefusedError):
            exhaust(decoded(io.BytesIO(broken).read, "gzip"))
    for unknown in ("br", "deflate", "gzip, gzip"):
        with pytest.raises(ValueError, match="content encoding"):
            decoded(io.BytesIO().read, unknown)


def test_a_bomb_is_read_in_pieces() -> None:
    """32 MB in 32 KB of gzip: a reader gets what it asks for; no more is kept."""
    deflater = zlib.compressobj(9, wbits=31)
    megabyte = bytes(1 << 20)
    packed = b"".join(deflater.compress(megabyte) for _ in range(32)) + deflater.flush()
    read = bounded(decoded(io.BytesIO(packed).read, "gzip"), 10 << 20)
    with measured() as memory, pytest.raises(RefusedError, match=r"http\.maxRequestBuffer"):
        exhaust(read)
    assert memory.peak < 2 << 20
