# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The beginning of a request: what ``git-upload-pack`` and ``git-receive-pack`` share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any
from uuid import uuid4

from dulwich.config import Config
from dulwich.errors import GitProtocolError
from dulwich.protocol import Protocol
from dulwich.server import Backend, PackHandler

from ..config.values import get_boolean
from ..objects.reader import ObjectReader
from .advertised_refs import AdvertisedRefs
from .authorization import Grant
from .errors import RefusedError
from .ref_advertisement import advertise

__all__ = ["Service"]

_MOST_HEARD = 16
_LONGEST_HEARD = 200


class Service(PackHandler):
    """A request to a service: a mixin for dulwich's handler of that service.

    Args:
      backend: opens the repository
      args: the path of the repository, then further words of the client, such as ``b"version=2"``
      proto: the connection
      stateless_rpc: whether the request comes over HTTP
      advertise_refs: whether the request over HTTP is for the ref advertisement
      git_protocol: protocol versions that the client understands, as ``"version=2"``

    Attributes:
      service: its name, for messages
      version: the protocol version that the client asks for: 0, 1 or 2
      grant: what the client may do; None if there are no rules
      heard: what the client says of itself, and its server options, in its order, for the log
      commands: of a push, for the log
    """

    service = ""
    grant: Grant | None = None
    commands: Sequence[Any] = ()
    repo: Any

    def __init__(
        self,
        backend: Backend,
        args: Sequence[str],
        proto: Protocol,
        stateless_rpc: bool = False,
        advertise_refs: bool = False,
        *,
        git_protocol: str | None = None,
    ) -> None:
        # The next class is a handler of dulwich for one service, which takes these arguments.
        super().__init__(backend, args, proto, stateless_rpc, advertise_refs)  # type: ignore[call-arg, arg-type]
        self.heard: dict[bytes, None] = {}
        self.version = _protocol_version(args[1:], git_protocol)

    @cached_property
    def config(self) -> Config:
        """The repository's configuration, read once for the request."""
        config: Config = self.repo.get_config_stack()
        return config

    @cached_property
    def objects(self) -> ObjectReader:
        """Reads the repository's objects, until the request is over."""
        return ObjectReader(self.repo.object_store)

    def close_objects(self) -> None:
        """Close the reader, if there is one; the next use opens a new one."""
        reader = self.__dict__.pop("objects", None)
        if reader is not None:
            reader.close()

    def handle(self) -> None:
        """Serve the request, and close what it has opened."""
        try:
            self.serve()
        finally:
            self.close_objects()

    def serve(self) -> None:
        """Serve the request."""
        raise NotImplementedError

    def set_client_capabilities(self, caps: Iterable[bytes]) -> None:
        """Remember the capabilities of the client.

        Args:
          caps: as the client sent them
        Raises:
          RefusedError: if the server did not offer one, or a required one is missing
        """
        caps = list(caps)
        for cap in caps:
            self.hear(cap)
        # Some clients send a session id although we do not offer that.
        caps = [cap for cap in caps if not cap.startswith(b"session-id=")]
        try:
            super().set_client_capabilities(caps)
        except GitProtocolError as error:
            raise RefusedError(f"{self.service}: {error}") from error

    @cached_property
    def session(self) -> list[bytes]:
        """The capability that tells clients an id of this session, if the repository wants it."""
        if not get_boolean(self.config, b"transfer", b"advertiseSID", False):
            return []
        return [b"session-id=" + uuid4().hex.encode()]

    def hear(self, said: bytes) -> None:
        """Remember for the log who the client says it is, and what it says for the server."""
        is_known = said.startswith((b"agent=", b"session-id=", b"server-option="))
        if is_known and len(self.heard) < _MOST_HEARD:
            self.heard.setdefault(said[:_LONGEST_HEARD])

    def greet(
        self, advertised: AdvertisedRefs, capabilities: Iterable[bytes], *, peel: bool
    ) -> None:
        """Write the ref advertisement of protocol versions 0 and 1.

        Args:
          advertised: the refs
          capabilities: those that the server offers
          peel: whether to write peeled tags, too
        """
        if self.version == 1:
            self.proto.write_pkt_line(b"version 1\n")
        advertise(
            self.proto,
            advertised,
            capabilities,
            peel=peel,
            hex_size=self.repo.object_format.hex_length,
            shallow=sorted(self.repo.get_shallow()),
        )


def _protocol_version(args: Iterable[str | bytes], git_protocol: str | None) -> int:
    """Find the protocol version that a client asks for.

    Args:
      args: words of the client besides the path
      git_protocol: value of the header ``Git-Protocol``
    Returns: 0, 1 or 2
    """
    said = [arg.decode("latin-1") if isinstance(arg, bytes) else arg for arg in args]
    said += (git_protocol or "").split(":")
    known = {"version=1": 1, "version=2": 2}
    return max((known.get(word, 0) for word in said), default=0)
