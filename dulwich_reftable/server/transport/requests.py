# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What is known of a request when it is over: a line for the log, and fields for programs."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from ..errors import HANGUPS, describe, printable

__all__ = ["OUTCOMES", "SERVICES", "JSONFormatter", "Request"]

SERVICES = ("upload-pack", "receive-pack", "other")
OUTCOMES = ("done", "refused", "failed", "hung-up")


@dataclass
class Request:
    """A request.

    Attributes:
      client: its address
      user: name of the authenticated user; None if there is none
      service: such as ``"git-upload-pack"``; empty if the request does not say
      repository: its path, as the client sent it
      protocol: version of the protocol; None if it was not settled
      agent: what the client calls itself; None if it did not
      session: its session id; None if it sent none
      refs: the updates that a push asked for: names, old and new ids
      received: bytes
      sent: bytes
      outcome: one of :data:`OUTCOMES`
      detail: what happened, in words
      error: an error that was not expected
      seconds: that it took, when it is over
    """

    client: str = "-"
    user: str | None = None
    service: str = ""
    repository: str = ""
    protocol: int | None = None
    agent: str | None = None
    session: str | None = None
    refs: list[tuple[str, str, str]] = field(default_factory=list)
    received: int = 0
    sent: int = 0
    outcome: str = "done"
    detail: str = "done"
    error: Exception | None = None
    seconds: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    def learn(self, handler: Any) -> None:
        """Take what a handler knows.

        Args:
          handler: of the service
        """
        self.protocol = getattr(handler, "version", None)
        for said in getattr(handler, "heard", ()):
            key, _, value = said.partition(b"=")
            if key == b"agent":
                self.agent = _text(value)
            elif key == b"session-id":
                self.session = _text(value)
        self.refs = [
            (_text(command.name), _text(command.old), _text(command.new))
            for command in getattr(handler, "commands", ())
        ]

    def fail(self, error: Exception) -> None:
        """Note the error that ended the request."""
        if isinstance(error, HANGUPS):
            self.outcome = "hung-up"
            slow = isinstance(error, TimeoutError)
            self.detail = f"hung up: {error}" if slow else "hung up"
        else:
            self.outcome, self.error = "failed", error
            self.detail = f"failed: {describe(error)}"

    def refuse(self, reason: str) -> None:
        """Note that the request was refused."""
        self.outcome, self.detail = "refused", reason

    def end(self) -> None:
        """Stop the clock."""
        self.seconds = time.monotonic() - self._began

    @property
    def who(self) -> str:
        """The client and its user, for a line of the log."""
        return self.client if self.user is None else f"{self.client} {self.user!a}"

    @property
    def service_group(self) -> str:
        """One of :data:`SERVICES`."""
        name = self.service.removeprefix("git-")
        return name if name in SERVICES else "other"

    def fields(self) -> dict[str, Any]:
        """Give what programs read, for JSON."""
        return {
            "client": self.client,
            "user": self.user,
            "service": self.service or None,
            "repository": printable(self.repository) or None,
            "refs": [dict(zip(("ref", "old", "new"), ref, strict=True)) for ref in self.refs],
            "received": self.received,
            "sent": self.sent,
            "seconds": round(self.seconds, 6),
            "outcome": self.outcome,
            "detail": printable(self.detail),
            "protocol": self.protocol,
            "agent": self.agent,
            "session": self.session,
        }


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


class JSONFormatter(logging.Formatter):
    """Formats a log record as a line of JSON; the record of a request has its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {"time": f"{stamp}.{int(record.msecs):03d}Z"}
        request = getattr(record, "request", None)
        if isinstance(request, Request):
            line |= request.fields()
        else:
            line |= {"level": record.levelname.lower(), "message": record.getMessage()}
        return json.dumps(line)
