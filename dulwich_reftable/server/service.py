# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What ``git-upload-pack`` and ``git-receive-pack`` have in common: how a request begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from dulwich.config import Config
from dulwich.errors import GitProtocolError
from dulwich.protocol import Protocol
from dulwich.server import Backend, PackHandler

from .advertised_refs import AdvertisedRefs
from .errors import RefusedError
from .ref_advertisement import advertise

__all__ = ["Service"]


class Service(PackHandler):
    """A request; it stands before the handler of dulwich's that knows the service.

    Args:
      backend: opens the repository
      args: its path, and what else the client said, such as ``b"version=2"``
      proto: the connection
      stateless_rpc: whether it is one request of HTTP
      advertise_refs: whether it is the one for the refs
      git_protocol: protocol versions that the client understands, as ``"version=2"``

    Attributes:
      service: its name, for messages
      version: the protocol version that the client asks for: 0, 1 or 2
    """

    service = ""
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
        # What comes next are the handlers that know a service, whose arguments are these.
        super().__init__(backend, args, proto, stateless_rpc, advertise_refs)  # type: ignore[call-arg, arg-type]
        self.version = _protocol_version(args[1:], git_protocol)

    @cached_property
    def config(self) -> Config:
        """The repository's configuration, as it is now; it takes time to read."""
        config: Config = self.repo.get_config_stack()
        return config

    def set_client_capabilities(self, caps: Iterable[bytes]) -> None:
        """Take note of the client's capabilities.

        Args:
          caps: as it sent them
        Raises:
          RefusedError: if one was not offered, or one is missing
        """
        # The session's name is of no use to us, and some clients send it unasked.
        caps = [cap for cap in caps if not cap.startswith(b"session-id=")]
        try:
            super().set_client_capabilities(caps)
        except GitProtocolError as error:
            raise RefusedError(f"{self.service}: {error}") from error

    def greet(
        self, advertised: AdvertisedRefs, capabilities: Iterable[bytes], *, peel: bool
    ) -> None:
        """Begin to speak, as in protocol versions 0 and 1: tell the refs and what is offered.

        Args:
          advertised: the refs
          capabilities: what is offered
          peel: whether to tell what annotated tags point to, too
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
      args: what it said beside the path
      git_protocol: as of the header ``Git-Protocol``
    Returns: 0, 1 or 2
    """
    said = [arg.decode("latin-1") if isinstance(arg, bytes) else arg for arg in args]
    said += (git_protocol or "").split(":")
    known = {"version=1": 1, "version=2": 2}
    return max((known.get(word, 0) for word in said), default=0)
