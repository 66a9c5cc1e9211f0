"""Talk to the server by hand, to say what no client would say."""

from __future__ import annotations

import hashlib
import socket
import struct
import urllib.request
from contextlib import suppress
from urllib.parse import urlsplit

ZERO = b"0" * 40
_PACK = b"PACK" + struct.pack(">II", 2, 0)
EMPTY_PACK = _PACK + hashlib.sha1(_PACK).digest()


def line(text: bytes) -> bytes:
    """Frame a line."""
    return b"%04x%s" % (len(text) + 4, text)


def connect(url: str) -> socket.socket:
    """Connect to the host of an address."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    return socket.create_connection((parts.hostname, parts.port or 0), timeout=30)


def ask(url: str, service: str, body: bytes, *, version: int = 0) -> bytes:
    """Send a request after the advertisement; return the whole answer."""
    if url.startswith("http"):
        headers = {
            "Content-Type": f"application/x-{service}-request",
            "Git-Protocol": f"version={version}",
        }
        request = urllib.request.Request(f"{url}/{service}", body, headers)
        with urllib.request.urlopen(request) as answer:
            return bytes(answer.read())
    with connect(url) as connection:
        path = urlsplit(url).path
        connection.sendall(line(f"{service} {path}\0host=x\0\0version={version}\0".encode()))
        with connection.makefile("rb") as stream:
            while (size := int(stream.read(4), 16)) > 0:
                stream.read(size - 4)
            connection.sendall(body)
            with suppress(OSError):  # the server may have closed the connection
                connection.shutdown(socket.SHUT_WR)
            return stream.read()


def ask_raw(url: str, service: str) -> bytes:
    """Ask for an advertisement over TCP; return all that the server says before it hangs up."""
    with connect(url) as connection:
        connection.sendall(line(f"{service} {urlsplit(url).path}\0host=x\0".encode()))
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as stream:
            return stream.read()


def push(url: str, *commands: bytes, pack: bytes = b"", capabilities: bytes = b"") -> bytes:
    """Push by hand; return the report of the server."""
    first, *rest = commands
    body = line(first + b"\0 report-status " + capabilities) + b"".join(map(line, rest))
    return ask(url, "git-receive-pack", body + b"0000" + pack)
