# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``git-upload-pack``: the service for clones and fetches.

The class speaks protocol version 0 and hands version 2 to :mod:`.version_2`. All answers of one
connection come from one :class:`~..advertised_refs.AdvertisedRefs`. The handler looks up wants one
by one in the object index; it does not collect a set of all tips. Over HTTP the refs may have moved
since they were advertised. There a client may want whatever the refs reach, as in git.
"""

from __future__ import annotations

from functools import cached_property, partial

from dulwich.errors import ObjectFormatException
from dulwich.objects import Commit, valid_hexsha
from dulwich.protocol import (
    CAPABILITY_ALLOW_REACHABLE_SHA1_IN_WANT,
    CAPABILITY_ALLOW_TIP_SHA1_IN_WANT,
    CAPABILITY_DEEPEN_RELATIVE,
    CAPABILITY_FILTER,
    CAPABILITY_INCLUDE_TAG,
    CAPABILITY_NO_DONE,
    CAPABILITY_NO_PROGRESS,
    CAPABILITY_OFS_DELTA,
    CAPABILITY_SIDE_BAND_64K,
    CAPABILITY_THIN_PACK,
    SIDE_BAND_CHANNEL_DATA,
    SIDE_BAND_CHANNEL_FATAL,
    SIDE_BAND_CHANNEL_PROGRESS,
    ack_type,
    capability_agent,
    extract_want_line_capabilities,
    format_shallow_line,
    format_unshallow_line,
)
from dulwich.server import UploadPackHandler as DulwichUploadPackHandler

from ..advertised_refs import AdvertisedRefs
from ..connection import Connection
from ..errors import RefusedError, telling
from ..history import is_reachable
from ..pinned_refs import pin_refs
from ..pkt_lines import FLUSH, SIGN_OF_LIFE, read_line
from ..service import Service
from ..signs_of_life import SignsOfLife
from .filters import parse_filter
from .negotiation import MAX_LINES, Acks, negotiate
from .packing import Fetch, send_pack
from .settings import UploadSettings
from .version_2 import serve_v2

__all__ = ["UploadPackHandler"]

_DEEPEN_SINCE = b"deepen-since"
_DEEPEN_NOT = b"deepen-not"
_LATEST = (1 << 63) - 1
"""The latest time at which history can be cut, in seconds since the epoch."""

_RULES = (
    b"%s",
    b"refs/%s",
    b"refs/tags/%s",
    b"refs/heads/%s",
    b"refs/remotes/%s",
    b"refs/remotes/%s/HEAD",
)
"""How git completes the short name of a ref."""


class UploadPackHandler(Service, DulwichUploadPackHandler):
    """Serves a clone or fetch; args are those of :class:`~..service.Service`."""

    service = "upload-pack"

    @cached_property
    def settings(self) -> UploadSettings:
        """What the repository's configuration says."""
        settings = UploadSettings.of(self.config)
        if self.grant is not None and self.grant.hides:
            return settings.concealing(self.grant.hidden)
        return settings

    @cached_property
    def advertised(self) -> AdvertisedRefs:
        """The refs that the client sees, for the whole connection."""
        return pin_refs(self.repo.refs, self.objects, self.settings.hidden)

    @cached_property
    def _revisions(self) -> dict[bytes, bytes]:
        """The refs that ``deepen-not`` has named so far, with their object ids."""
        return {}

    def capabilities(self) -> list[bytes]:
        """Return the list of capabilities that are advertised."""
        settings = self.settings
        offered = [
            capability
            for capability in super().capabilities()
            if capability != CAPABILITY_FILTER or settings.allow_filter
        ]
        offered += [CAPABILITY_DEEPEN_RELATIVE, _DEEPEN_SINCE, _DEEPEN_NOT]
        if settings.allow_tip or settings.allow_any:
            offered.append(CAPABILITY_ALLOW_TIP_SHA1_IN_WANT)
        if settings.allow_reachable or settings.allow_any:
            offered.append(CAPABILITY_ALLOW_REACHABLE_SHA1_IN_WANT)
        return [*offered, *self.session]

    @classmethod
    def required_capabilities(cls) -> tuple[bytes, ...]:
        """Return the capabilities that a client must have: our packs have offset deltas."""
        return (CAPABILITY_OFS_DELTA,)

    def serve(self) -> None:
        """Serve the request."""
        with telling(self.proto):
            if self.version == 2:
                serve_v2(self)
            else:
                self._serve_v0()

    # Protocol version 0

    def _serve_v0(self) -> None:
        if self.advertise_refs or not self.stateless_rpc:
            self.greet(self.advertised, [*self.capabilities(), capability_agent()], peel=True)
            if self.advertise_refs:
                return
        fetch = self._read_wants()
        if not fetch.wants:
            return
        fetch.is_relative = self.has_capability(CAPABILITY_DEEPEN_RELATIVE)
        shallow, unshallow = fetch.cut(self.repo, self.objects)
        if fetch.is_cut:
            for oid in shallow:
                self.proto.write_pkt_line(format_shallow_line(oid))
            for oid in unshallow:
                self.proto.write_pkt_line(format_unshallow_line(oid))
            self.proto.write(FLUSH)
        if not negotiate(
            self.proto,
            self.objects,
            fetch,
            self._acks,
            self.object_id,
            is_stateless=self.stateless_rpc,
            without_done=self.has_capability(CAPABILITY_NO_DONE),
        ):
            return
        fetch.include_tags = self.has_capability(CAPABILITY_INCLUDE_TAG)
        fetch.is_thin = self.has_capability(CAPABILITY_THIN_PACK)
        if self.has_capability(CAPABILITY_SIDE_BAND_64K):
            self.send(fetch, quiet=self.has_capability(CAPABILITY_NO_PROGRESS))
            self.proto.write(FLUSH)
        else:
            send_pack(self.repo, self.objects, self.advertised, fetch, self.proto.write, _nowhere)

    def send(self, fetch: Fetch, *, quiet: bool) -> None:
        """Send a pack over a side band.

        Args:
          fetch: the request
          quiet: whether to send no progress
        """
        band = self.proto.write_sideband
        try:
            with SignsOfLife(self._give_sign, self.settings.keep_alive) as signs:
                signs.begin()
                write = signs.between(partial(band, SIDE_BAND_CHANNEL_DATA))
                tell = signs.between(partial(band, SIDE_BAND_CHANNEL_PROGRESS))
                progress = _nowhere if quiet else tell
                send_pack(self.repo, self.objects, self.advertised, fetch, write, progress)
        except (KeyError, ObjectFormatException):
            fatal = b"upload-pack: an object is missing or broken in the repository"
            self.proto.write_sideband(SIDE_BAND_CHANNEL_FATAL, fatal)
            raise

    def _give_sign(self) -> None:
        self.proto.write(SIGN_OF_LIFE)
        if isinstance(self.proto, Connection):
            self.proto.flush()

    def _read_wants(self) -> Fetch:
        """Read the wants and the lines beside them, up to the first flush."""
        fetch = Fetch()
        line = read_line(self.proto)
        if line is None:
            return fetch
        line, capabilities = extract_want_line_capabilities(line)
        self.set_client_capabilities(capabilities)
        self._acks = Acks(ack_type(capabilities))
        for _ in range(MAX_LINES):
            if line is None:
                break
            if not self.read_argument(line, fetch):
                raise RefusedError(f"upload-pack: unexpected line {line[:60]!r}")
            line = read_line(self.proto)
        else:
            raise RefusedError("upload-pack: too many lines")
        self.check_wants(fetch)
        return fetch

    def read_argument(self, line: bytes, fetch: Fetch) -> bool:
        """Read a line that all protocol versions have.

        Args:
          line: without newline
          fetch: the line is added to it
        Returns: whether it is such a line
        Raises:
          RefusedError: if the line is malformed
        """
        key, _, value = line.partition(b" ")
        if key == b"want":
            fetch.wants[self.object_id(value)] = None
        elif key == b"shallow":
            self._read_shallow(self.object_id(value), fetch)
        elif key == b"deepen":
            fetch.depth = _number(key, value, 1)
        elif key == _DEEPEN_SINCE:
            fetch.since = _number(key, value, 0)
        elif key == _DEEPEN_NOT:
            if value not in self._revisions:  # a client can only add names of refs
                self._revisions[value] = self._revision(value)
            fetch.without.add(self._revisions[value])
        elif key == b"filter" and self.settings.allow_filter:
            if fetch.filter is not None:
                raise RefusedError("upload-pack: multiple filters cannot be combined")
            fetch.filter = parse_filter(value, self.settings.filters)
        else:
            return False
        return True

    def object_id(self, value: bytes) -> bytes:
        """Check an object id and put it in lower case.

        Raises:
          RefusedError: if it is not an object id
        """
        if len(value) != self.repo.object_format.hex_length or not valid_hexsha(value):
            raise RefusedError(f"upload-pack: invalid object id {value[:80]!r}")
        return value.lower()

    def _read_shallow(self, oid: bytes, fetch: Fetch) -> None:
        """Remember a shallow commit of the client; one that we do not have is ignored."""
        if oid in fetch.client_shallow:
            return
        kind = self.objects.type_of(oid)
        if kind is None:
            return
        if kind != Commit.type_num:
            raise RefusedError(f"upload-pack: invalid shallow object {oid.decode()}")
        fetch.client_shallow.add(oid)

    def _revision(self, name: bytes) -> bytes:
        """Find the ref that ``deepen-not`` names, in full or in a short form.

        Raises:
          RefusedError: if there is no such ref, or there are several
        """
        found = [ref for rule in _RULES if (ref := self.advertised.find(rule % name)) is not None]
        if len(found) > 1:
            raise RefusedError(f"upload-pack: ambiguous deepen-not: {name[:80]!r}")
        if not found:
            raise RefusedError(f"upload-pack: deepen-not is not a ref: {name[:80]!r}")
        return found[0].oid

    def check_wants(self, fetch: Fetch) -> None:
        """Check that the client may have all wanted objects.

        Raises:
          RefusedError: if it may not
        """
        settings = self.settings
        hidden_too = settings.allow_tip or settings.allow_reachable
        others = {
            oid for oid in fetch.wants if not self.advertised.is_tip(oid, hidden_too=hidden_too)
        }
        if not others:
            return
        absent = next((oid for oid in others if not self.objects.exists(oid)), None)
        if absent is None:
            if settings.allow_any:
                return
            may_be_reachable = self.stateless_rpc or settings.allow_reachable
            if may_be_reachable and is_reachable(self.objects, others, self.advertised.tips()):
                return
        refused = absent or min(others)
        raise RefusedError(f"upload-pack: not our ref {refused.decode()}")


def _number(key: bytes, text: bytes, least: int) -> int:
    number = int(text) if text.isdigit() and len(text) < 20 else -1
    if not least <= number <= _LATEST:
        raise RefusedError(f"upload-pack: invalid {key.decode()}: {text[:20]!r}")
    return number


def _nowhere(_: bytes) -> None:
    """Ignore progress."""
