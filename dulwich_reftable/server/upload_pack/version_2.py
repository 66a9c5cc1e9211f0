# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Protocol version 2 of fetching, which dulwich's server does not have.

A connection is a sequence of independent requests. ``ls-refs`` lists the refs below the prefixes
that it names, and reads no other refs. ``fetch`` negotiates and sends a pack. As in git, a fetch
may want any object that exists: a ref can move between the two requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

from dulwich.errors import HangupException
from dulwich.protocol import (
    SIDE_BAND_CHANNEL_DATA,
    capability_agent,
    capability_object_format,
    pkt_line,
)
from dulwich.protocol import Protocol as Connection

from ...objects.reader import ObjectReader
from ..advertised_refs import AdvertisedRefs
from ..errors import RefusedError
from ..history import History
from ..pkt_lines import DELIMITER, FLUSH, Mark, read_packet
from ..ref_advertisement import list_refs
from .negotiation import MAX_LINES, Reach
from .packing import Fetch
from .settings import UploadSettings
from .small_commands import list_bundles, tell_sizes

__all__ = ["serve_v2"]

_MAX_PREFIXES = 65536
"""With this many prefixes or more, all refs are listed, as in git."""


class _Handler(Protocol):
    """The part of an ``UploadPackHandler`` that this module uses."""

    proto: Connection
    repo: Any
    advertise_refs: bool
    stateless_rpc: bool

    @property
    def settings(self) -> UploadSettings:
        """The settings of the repository."""

    @property
    def objects(self) -> ObjectReader:
        """Reads the repository's objects."""

    @property
    def advertised(self) -> AdvertisedRefs:
        """The refs that the client sees."""

    @property
    def session(self) -> list[bytes]:
        """The capability that tells clients an id of this session, if the repository wants it."""

    def hear(self, said: bytes) -> None:
        """Remember what the client says of itself."""

    def object_id(self, value: bytes) -> bytes:
        """Check an object id."""

    def read_argument(self, line: bytes, fetch: Fetch) -> bool:
        """Read an argument that all protocol versions have."""

    def check_wants(self, fetch: Fetch) -> None:
        """Check that visible refs reach all wanted objects."""

    def send(self, fetch: Fetch, *, quiet: bool) -> None:
        """Send the pack."""


def serve_v2(handler: _Handler) -> None:
    """Serve requests until the client sends no more.

    Args:
      handler: of the connection
    Raises:
      RefusedError: if a request is malformed or not allowed
    """
    proto = handler.proto
    if handler.advertise_refs or not handler.stateless_rpc:
        for line in (b"version 2", *_capabilities(handler)):
            proto.write(pkt_line(line + b"\n"))
        proto.write(FLUSH)
        if handler.advertise_refs:
            return
    while True:
        try:
            request = _read_command(handler)
        except HangupException:
            return
        if request is None:
            return
        command, has_arguments = request
        arguments = _arguments(handler) if has_arguments else iter(())
        if command == b"ls-refs":
            _ls_refs(handler, arguments)
        elif command == b"fetch":
            _fetch(handler, arguments)
        elif command == b"object-info":
            tell_sizes(proto, handler.objects, arguments, handler.object_id)
        else:
            list_bundles(proto, handler.settings.bundles or (), arguments)
        if handler.stateless_rpc:
            return


def _capabilities(handler: _Handler) -> list[bytes]:
    """List what clients may ask for, in git's order."""
    settings = handler.settings
    features = [b"shallow", b"wait-for-done"]
    features += [b"filter"] * settings.allow_filter
    features += [b"ref-in-want"] * settings.ref_in_want
    features += [b"sideband-all"] * settings.sideband_all
    return [
        capability_agent(),
        b"ls-refs=unborn",
        b"fetch=" + b" ".join(features),
        b"server-option",
        capability_object_format(handler.repo.object_format.name),
        *handler.session,
        *([b"object-info=size"] if settings.object_info else []),
        *([b"bundle-uri"] if settings.bundles is not None else []),
    ]


def _commands(settings: UploadSettings) -> set[bytes]:
    """Give the commands that the repository allows."""
    commands = {b"ls-refs", b"fetch"}
    if settings.object_info:
        commands.add(b"object-info")
    if settings.bundles is not None:
        commands.add(b"bundle-uri")
    return commands


def _read_command(handler: _Handler) -> tuple[bytes, bool] | None:
    """Read the head of a request.

    Returns: the command, and whether arguments follow; None if the client ends the connection
    """
    command = None
    has_begun = False
    while True:
        line = read_packet(handler.proto)
        if isinstance(line, Mark):
            break
        has_begun = True
        key, _, value = line.rstrip(b"\n").partition(b"=")
        if key == b"command":
            if command is not None or value not in _commands(handler.settings):
                raise RefusedError(f"invalid command {value[:40]!r}")
            command = value
        elif key == b"object-format":
            if value != handler.repo.object_format.name.encode():
                raise RefusedError(f"mismatched object format {value[:40]!r}")
        elif key not in (b"agent", b"server-option", b"session-id"):
            raise RefusedError(f"unknown capability {line[:40]!r}")
        else:
            handler.hear(line.rstrip(b"\n"))
    if command is None and has_begun:
        raise RefusedError("no command requested")
    return None if command is None else (command, line is Mark.DELIMITER)


def _arguments(handler: _Handler) -> Iterator[bytes]:
    """Read the arguments of a request."""
    for _ in range(MAX_LINES):
        line = read_packet(handler.proto)
        if line is Mark.FLUSH:
            return
        if isinstance(line, Mark):
            raise RefusedError("expected flush after arguments")
        yield line.rstrip(b"\n")
    raise RefusedError("too many arguments")


def _ls_refs(handler: _Handler, arguments: Iterator[bytes]) -> None:
    prefixes: list[bytes] = []
    flags: set[bytes] = set()
    for argument in arguments:
        key, _, value = argument.partition(b" ")
        if key == b"ref-prefix":
            if len(prefixes) < _MAX_PREFIXES:
                prefixes.append(value)
        elif argument in (b"peel", b"symrefs", b"unborn"):
            flags.add(argument)
        else:
            raise RefusedError(f"unexpected line {argument[:60]!r}")
    list_refs(
        handler.proto,
        handler.advertised,
        prefixes if len(prefixes) < _MAX_PREFIXES else (),
        peel=b"peel" in flags,
        symrefs=b"symrefs" in flags,
        unborn=b"unborn" in flags,
    )


def _fetch(handler: _Handler, arguments: Iterator[bytes]) -> None:
    repo: Any = handler.repo
    fetch, flags = _read_fetch(handler, arguments)
    proto = handler.proto
    tell = partial(_tell, proto, in_band=b"sideband-all" in flags)
    if not fetch.wants and b"wait-for-done" not in flags:
        return
    if b"have" in flags and b"done" not in flags:
        tell(b"acknowledgments\n")
        if not fetch.haves:
            tell(b"NAK\n")
        for oid in fetch.haves:
            tell(b"ACK %s\n" % oid)
        if b"wait-for-done" in flags or not _is_enough(fetch, handler.objects):
            proto.write(FLUSH)
            return
        tell(b"ready\n")
        proto.write(DELIMITER)
    shallow, unshallow = fetch.cut(repo, handler.objects, at_own=True)
    if fetch.is_cut or fetch.roots:
        tell(b"shallow-info\n")
        for oid in shallow:
            tell(b"shallow %s\n" % oid)
        for oid in unshallow:
            tell(b"unshallow %s\n" % oid)
        proto.write(DELIMITER)
    # In the order of the documents: git's server sends this first, and git's client fails.
    if fetch.want_refs:
        tell(b"wanted-refs\n")
        for name, oid in fetch.want_refs.items():
            tell(b"%s %s\n" % (oid, name))
        proto.write(DELIMITER)
    tell(b"packfile\n")
    handler.send(fetch, quiet=b"no-progress" in flags)
    proto.write(FLUSH)


def _tell(proto: Connection, line: bytes, *, in_band: bool) -> None:
    """Send a line, over the side band if the client has asked for ``sideband-all``."""
    if in_band:
        proto.write_sideband(SIDE_BAND_CHANNEL_DATA, line)
    else:
        proto.write_pkt_line(line)


def _is_enough(fetch: Fetch, objects: ObjectReader) -> bool:
    reach = Reach(History(objects, fetch.client_shallow), fetch.wants)
    for oid in fetch.haves:
        reach.add(oid)
    return reach.is_enough()


def _read_fetch(handler: _Handler, arguments: Iterator[bytes]) -> tuple[Fetch, set[bytes]]:
    """Read the arguments of ``fetch``.

    Returns: the request, and the arguments that are single words; ``have`` is one of them if the
      client has sent a have, even if we do not know the object
    """
    fetch = Fetch()
    flags: set[bytes] = set()
    objects = handler.objects
    for argument in arguments:
        key, _, value = argument.partition(b" ")
        if key == b"have":
            flags.add(b"have")
            fetch.add_have(handler.object_id(value), objects)
        elif key == b"want-ref" and handler.settings.ref_in_want:
            _want_ref(handler, value, fetch)
        elif argument == b"sideband-all" and handler.settings.sideband_all:
            flags.add(argument)
        elif argument == b"deepen-relative":
            fetch.is_relative = True
        elif argument in (
            b"thin-pack", b"ofs-delta", b"no-progress", b"include-tag", b"done", b"wait-for-done",
        ):  # fmt: skip
            flags.add(argument)
        elif not handler.read_argument(argument, fetch):
            raise RefusedError(f"unexpected line {argument[:60]!r}")
    absent = next((oid for oid in fetch.wants if not objects.exists(oid)), None)
    if handler.settings.only_visible:
        handler.check_wants(fetch)
    elif absent is not None:
        raise RefusedError(f"upload-pack: not our ref {absent.decode()}")
    fetch.include_tags = b"include-tag" in flags
    fetch.is_thin = b"thin-pack" in flags
    fetch.has_offsets = b"ofs-delta" in flags
    return fetch, flags


def _want_ref(handler: _Handler, name: bytes, fetch: Fetch) -> None:
    """Add what a ref points to now to the wants.

    Raises:
      RefusedError: if the client sees no such ref, or has named it before
    """
    if name in fetch.want_refs:
        raise RefusedError(f"duplicate want-ref {name[:80].decode('utf-8', 'backslashreplace')}")
    ref = handler.advertised.find(name)
    if ref is None:
        raise RefusedError(f"unknown ref {name[:80].decode('utf-8', 'backslashreplace')}")
    fetch.want_refs[name] = ref.oid
    fetch.wants[ref.oid] = None
