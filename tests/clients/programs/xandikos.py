"""Xandikos: a CalDAV server that keeps each calendar in a repository."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from pathlib import Path

from support.git import Git

from ..program import Program, ProgramError, job

__all__ = ["Xandikos"]

_EVENT = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//tests//clients//EN
BEGIN:VEVENT
UID:{uid}
DTSTAMP:20231114T221320Z
DTSTART:20231115T090000Z
SUMMARY:{summary}
END:VEVENT
END:VCALENDAR
"""
_PROPERTIES = """\
<propfind xmlns="DAV:" xmlns:C="http://calendarserver.org/ns/">
<prop><getetag/><C:getctag/><displayname/><resourcetype/></prop></propfind>
"""
_QUERY = """\
<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">
<D:prop><D:getetag/><C:calendar-data/></D:prop>
<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"/></C:comp-filter></C:filter>
</C:calendar-query>
"""


class Xandikos(Program):
    """A server with the calendar that it makes itself, and with one that git has made."""

    packages = ("xandikos",)
    url = ""

    def start(self) -> None:
        calendars = self.data / "user" / "calendars"
        old = Git.init(calendars / "old", bare=True, ref_format=self.side.ref_format)
        old.run("config", "xandikos.type", "calendar")
        where = ["--port={port}", "--listen-address=127.0.0.1", f"--directory={self.data}"]
        self.url = f"http://127.0.0.1:{self.serve('xandikos', 'serve', '--defaults', *where)}"

    @property
    def data(self) -> Path:
        """Where the collections are."""
        return self.root / "data"

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> list[object]:
        """Send a request; returns the status, what identifies the contents, and the contents."""
        request = urllib.request.Request(
            f"{self.url}/user/calendars/{path}", body.encode() or None, headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                content = answer.read().decode().replace(self.url, "URL")
                return [answer.status, answer.headers["ETag"], content]
        except urllib.error.HTTPError as error:
            error.close()
            raise ProgramError(f"{method} {path}: HTTP {error.code} {error.reason}") from error
        except OSError as error:
            raise ProgramError(f"{method} {path}: {error}") from error

    def put(self, path: str, summary: str, **headers: str) -> list[object]:
        """Store an event."""
        event = _EVENT.format(uid=Path(path).stem, summary=summary)
        return self.ask("PUT", path, event, **{"Content-Type": "text/calendar", **headers})

    def properties(self, path: str) -> list[object]:
        """List a collection: names and tags."""
        xml = {"Content-Type": "text/xml", "Depth": "1"}
        return self.ask("PROPFIND", path, _PROPERTIES, **xml)

    def contents(self, calendar: str) -> object:
        """What git sees: names of refs, the messages of the commits, and the last tree.

        Commits have the time of the day, and so no two runs have the same ids.
        """
        path = self.data / "user" / "calendars" / calendar
        refs = self.refs(path)
        git = Git(path)
        messages = git.run("log", "--format=%s").decode().splitlines()
        return sorted(refs), messages, git.run("ls-tree", "-r", "HEAD")

    @job("a calendar of its own: PROPFIND")
    def listing(self) -> object:
        return self.properties("calendar/"), self.contents("calendar")

    @job("PUT, an update, GET, DELETE")
    def events(self) -> object:
        first = self.put("calendar/one.ics", "first")
        tag = re.sub("^None$", "", str(first[1]))
        answers = [first, self.put("calendar/one.ics", "second", **{"If-Match": tag})]
        answers += [self.put("calendar/two.ics", "third"), self.ask("GET", "calendar/one.ics")]
        answers += [self.ask("DELETE", "calendar/two.ics"), self.properties("calendar/")]
        return answers, self.contents("calendar")

    @job("REPORT calendar-query")
    def query(self) -> object:
        xml = {"Content-Type": "text/xml", "Depth": "1"}
        return self.ask("REPORT", "calendar/", _QUERY, **xml)

    @job("a calendar that git has made: PUT, GET, DELETE")
    def old_calendar(self) -> object:
        answers = [self.put("old/one.ics", "first"), self.put("old/two.ics", "second")]
        answers += [self.ask("GET", "old/two.ics"), self.ask("DELETE", "old/one.ics")]
        return answers, self.properties("old/"), self.contents("old")
