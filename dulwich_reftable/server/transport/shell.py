# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Serving one request over SSH, as ``git-shell`` does: a forced command of ``authorized_keys``.

sshd authenticates the user and gives the client's command in ``SSH_ORIGINAL_COMMAND``. No shell
sees it: only ``git-upload-pack 'PATH'`` and ``git-receive-pack 'PATH'``, quoted as git does, are
understood.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import BinaryIO

from dulwich.errors import GitProtocolError, NotGitRepository

from ..admission import admit, apply_grant
from ..authorization import AccessRequest, Authorize
from ..connection import Connection
from ..errors import HANGUPS, RefusedError, describe, printable, trace
from ..folder import AnyFolder
from ..handlers import HANDLERS, Handlers, about_client, outcome_of
from .serving import log

__all__ = ["parse_command", "serve_command"]

_LONGEST_COMMAND = 8192
_COMMAND = re.compile(r"git[- ](upload-pack|receive-pack) (.*)", re.DOTALL)
_QUOTED = re.compile(r"'[^']*'(?:\\['!]'[^']*')*", re.DOTALL)
_ESCAPED = re.compile(r"'\\(['!])'")
_PLAIN = re.compile(r"[A-Za-z0-9_./~+@%=,:-]+")
_REFUSED = "fatal: unrecognized command '{}'"


def parse_command(command: str) -> tuple[str, str]:
    """Read the command of a client.

    Args:
      command: the service and one path, which is quoted as git quotes it, or needs no quotes
    Returns: the service with its dash, and the path
    Raises:
      RefusedError: if it is anything else
    """
    found = _COMMAND.fullmatch(command) if len(command) <= _LONGEST_COMMAND else None
    if found is not None:
        service, word = f"git-{found[1]}", found[2]
        if _QUOTED.fullmatch(word):
            path = _ESCAPED.sub(r"\1", word[1:-1])
        else:
            path = word if _PLAIN.fullmatch(word) else ""
        if path and not path.startswith("-") and "\0" not in path:
            return service, path
    raise RefusedError(_REFUSED.format(printable(command[:200])))


def serve_command(
    folder: AnyFolder,
    command: str,
    incoming: BinaryIO,
    outgoing: BinaryIO,
    complain: Callable[[str], object],
    *,
    user: str | None = None,
    environ: Mapping[str, str] = {},  # is not changed
    authorize: Authorize | None = None,
    read_only: bool = False,
    handlers: Handlers = HANDLERS,
) -> int:
    """Serve the request of a client.

    Args:
      folder: what to serve
      command: of the client
      incoming: what the client sends; ``read1`` gives what is there
      outgoing: what the client reads
      complain: takes a line for the user of the client
      user: who the client is; None if that is not known
      environ: ``SSH_CONNECTION`` tells the client's address, ``GIT_PROTOCOL`` the version that the
        client understands
      authorize: rules; None allows everything below the folder
      read_only: whether to refuse all pushes
      handlers: by the services' names
    Returns: an exit code: 0 if the request was served, else 128 as of git
    """
    address = environ.get("SSH_CONNECTION", "").partition(" ")[0] or None
    outcome, code = "hung up", 128
    try:
        service, path = parse_command(command)
        if read_only and service == "git-receive-pack":
            raise RefusedError("fatal: pushing is off here")
        who = AccessRequest(user, address, path, service)
        with folder.session() as session:
            try:
                _, grant = admit(session, authorize, who)
            except NotGitRepository as error:
                text = f"fatal: {path!a} does not appear to be a git repository"
                raise RefusedError(text) from error
            name = service.encode()
            proto = Connection(_reader(incoming, outgoing), outgoing.write, outgoing.flush)
            about = about_client(handlers[name], _client(user, address))
            serving = handlers[name](
                session, [path], proto, git_protocol=environ.get("GIT_PROTOCOL"), **about
            )
            apply_grant(serving, grant)
            try:
                serving.handle()
            finally:
                outgoing.flush()
            outcome, code = outcome_of(serving), 0
    except HANGUPS:
        pass
    except RefusedError as error:
        outcome = f"refused: {error}"
        complain(printable(str(error)))
    except GitProtocolError as error:
        outcome = f"refused: {error}"
    except Exception as error:
        log.debug("%s", trace(error))
        outcome = f"failed: {describe(error)}"
        complain("fatal: internal server error")
    log.info("%s %a %a %s", address or "-", user, command[:200], printable(outcome))
    return code


def _reader(incoming: BinaryIO, outgoing: BinaryIO) -> Callable[[int], bytes]:
    """Read what has arrived; send what is buffered before, as the client may wait for it."""

    def recv(size: int) -> bytes:
        outgoing.flush()
        data: bytes = incoming.read1(size)  # type: ignore[attr-defined]
        return data

    return recv


def _client(user: str | None, address: str | None) -> dict[str, str]:
    """Give the environment variables that tell hooks about the client."""
    client = {"REMOTE_USER": user, "REMOTE_ADDR": address}
    return {name: value for name, value in client.items() if value}
