# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What the workers of a server know of each other: numbers in memory that they share.

Each worker has a seat and writes only there; all of them read all seats. A worker that is killed
can therefore spoil no numbers but its own, and the supervisor clears its seat. Nobody waits for a
lock: so limits for all workers together may be passed by a client or two.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from itertools import accumulate

from ..buckets import Buckets, key_of, shared_numbers
from .requests import OUTCOMES, SERVICES, Request

__all__ = ["Board", "Seat", "lone_seat"]

_TAKEN, _BEAT, _CONNECTIONS, _TURNED_AWAY = range(4)
_COUNTS = 4
_SUMS = _COUNTS + len(SERVICES) * len(OUTCOMES)
_TIMES = _SUMS + 3 * len(SERVICES)
_BOUNDS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Seconds: the upper bounds of the histogram of requests; the last part has none."""
_PARTS = len(_BOUNDS) + 1
_FIELDS = _TIMES + _PARTS * len(SERVICES)
_BURST = 10.0
"""Seconds for which a new client may come faster than the rate."""


class Board:
    """The seats of all workers.

    Args:
      seats: their number
      places: the most connections of one of them
    """

    def __init__(self, seats: int, places: int = 256) -> None:
        self._numbers = shared_numbers(seats * _FIELDS)
        self._addresses = shared_numbers(seats * places)
        self._rates = Buckets()
        self._places = places
        # What the workers counted that have ended, and how many were replaced.
        self._past = shared_numbers(_FIELDS + 1)
        self.seats = [Seat(self, number) for number in range(seats)]

    def read(self, seat: int, field: int) -> int:
        """Read a number of a seat."""
        return self._numbers[seat * _FIELDS + field]

    def write(self, seat: int, field: int, value: int) -> None:
        """Set a number of a seat."""
        self._numbers[seat * _FIELDS + field] = value

    def enter(self, seat: int, key: int) -> int:
        """Note a connection in a seat.

        Args:
          seat: its number
          key: of the address
        Returns: the place, for :meth:`leave`
        """
        for place in range(seat * self._places, (seat + 1) * self._places):
            if not self._addresses[place]:
                self._addresses[place] = key
                return place
        return -1

    def leave(self, place: int) -> None:
        """Forget a connection."""
        if place >= 0:
            self._addresses[place] = 0

    def count(self, key: int) -> int:
        """Count the connections of an address."""
        return self._addresses.tolist().count(key)

    def is_too_fast(self, key: int, rate: float) -> bool:
        """Count a new connection, and tell whether its address makes too many.

        Args:
          key: of the address
          rate: connections a second
        """
        return not self._rates.take(key, rate, max(1.0, rate * _BURST))

    @property
    def restarts(self) -> int:
        """How many workers died and were replaced."""
        return self._past[_FIELDS]

    def count_restart(self) -> None:
        """Count a worker that died. Only the supervisor does this."""
        self._past[_FIELDS] += 1

    def total(self, field: int) -> int:
        """Sum a number over all workers, also those that have ended."""
        return self._past[field] + sum(self.read(seat.number, field) for seat in self.seats)

    def metrics(self) -> str:
        """Give all counts in the text form of Prometheus."""
        lines = ["# TYPE dulwich_reftable_requests_total counter"]
        for at, service in enumerate(SERVICES):
            for number, outcome in enumerate(OUTCOMES):
                labels = f'service="{service}",outcome="{outcome}"'
                value = self.total(_COUNTS + at * len(OUTCOMES) + number)
                lines.append(f"dulwich_reftable_requests_total{{{labels}}} {value}")
        for number, name in enumerate(("received_bytes_total", "sent_bytes_total"), 1):
            lines.append(f"# TYPE dulwich_reftable_{name} counter")
            for at, service in enumerate(SERVICES):
                value = self.total(_SUMS + 3 * at + number)
                lines.append(f'dulwich_reftable_{name}{{service="{service}"}} {value}')
        lines += self._histogram()
        for name, kind, value in (
            ("turned_away_total", "counter", self.total(_TURNED_AWAY)),
            ("connections", "gauge", sum(seat.connections for seat in self.seats)),
            ("workers", "gauge", sum(seat.is_accepting for seat in self.seats)),
            ("worker_restarts_total", "counter", self.restarts),
        ):
            lines += [f"# TYPE dulwich_reftable_{name} {kind}", f"dulwich_reftable_{name} {value}"]
        return "\n".join([*lines, ""])

    def _histogram(self) -> list[str]:
        """Give how long requests took."""
        name = "dulwich_reftable_request_seconds"
        lines = [f"# TYPE {name} histogram"]
        for at, service in enumerate(SERVICES):
            parts = [self.total(_TIMES + _PARTS * at + part) for part in range(_PARTS)]
            bounds = [*(f"{bound:g}" for bound in _BOUNDS), "+Inf"]
            for bound, value in zip(bounds, accumulate(parts), strict=True):
                lines.append(f'{name}_bucket{{service="{service}",le="{bound}"}} {value}')
            seconds = self.total(_SUMS + 3 * at) / 1e6
            lines.append(f'{name}_sum{{service="{service}"}} {seconds}')
            lines.append(f'{name}_count{{service="{service}"}} {sum(parts)}')
        return lines

    def forget(self, seat: int) -> None:
        """Clear a seat, and keep what its worker counted."""
        for field in range(_FIELDS):
            if field >= _TURNED_AWAY:
                self._past[field] += self.read(seat, field)
            self.write(seat, field, 0)
        for place in range(seat * self._places, (seat + 1) * self._places):
            self._addresses[place] = 0

    def take(self) -> Seat | None:
        """Take a free seat; gives None if there is none. Only the supervisor does this."""
        for seat in self.seats:
            if not seat.is_taken:
                self.write(seat.number, _TAKEN, 1)
                return seat
        return None

    def least_load(self, but: Seat) -> int:
        """Give the fewest connections that any accepting worker has.

        Args:
          but: the seat that does not count
        """
        loads = [seat.connections for seat in self.seats if seat is not but and seat.is_accepting]
        return min(loads, default=1 << 62)


class Seat:
    """The numbers of one worker.

    Args:
      board: all seats
      number: of this one
    """

    def __init__(self, board: Board, number: int) -> None:
        self._board = board
        self.number = number

    @property
    def is_taken(self) -> bool:
        """Whether there is a worker."""
        return bool(self._board.read(self.number, _TAKEN))

    @property
    def is_accepting(self) -> bool:
        """Whether the worker has looked for connections in the last seconds."""
        beat = self._board.read(self.number, _BEAT)
        return self.is_taken and bool(beat) and time.monotonic_ns() - beat < 3_000_000_000

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return self._board.read(self.number, _CONNECTIONS)

    @connections.setter
    def connections(self, value: int) -> None:
        self._board.write(self.number, _CONNECTIONS, value)

    @property
    def is_least_loaded(self) -> bool:
        """Whether no accepting worker has fewer connections."""
        return self.connections <= self._board.least_load(self)

    def beat(self) -> None:
        """Say that the worker looks for connections."""
        self._board.write(self.number, _BEAT, time.monotonic_ns())

    def stop(self) -> None:
        """Say that the worker accepts no more connections."""
        self._board.write(self.number, _BEAT, 0)

    def clear(self) -> None:
        """Free the seat and set its numbers to 0."""
        self._board.forget(self.number)

    def enter(self, address: str) -> int:
        """Note a connection; gives its place, for :meth:`leave`."""
        return self._board.enter(self.number, key_of(address))

    def leave(self, place: int) -> None:
        """Forget a connection."""
        self._board.leave(place)

    def count(self, address: str) -> int:
        """Count the connections of an address, to all workers."""
        return self._board.count(key_of(address))

    def is_too_fast(self, address: str, rate: float) -> bool:
        """Count a new connection, and tell whether its address makes more than a rate allows."""
        return self._board.is_too_fast(key_of(address), rate)

    def add(self, field: int, number: int = 1) -> None:
        """Add to a number; callers see to it that only one thread does so."""
        self._board.write(self.number, field, self._board.read(self.number, field) + number)

    def count_turned_away(self) -> None:
        """Count a client that was turned away."""
        self.add(_TURNED_AWAY)

    def count_request(self, request: Request) -> None:
        """Count a request that is over."""
        service = SERVICES.index(request.service_group)
        self.add(_COUNTS + service * len(OUTCOMES) + OUTCOMES.index(request.outcome))
        sums = _SUMS + 3 * service
        self.add(sums, int(request.seconds * 1e6))
        self.add(sums + 1, request.received)
        self.add(sums + 2, request.sent)
        self.add(_TIMES + _PARTS * service + bisect_left(_BOUNDS, request.seconds))


def lone_seat() -> Seat:
    """Give a seat for a server without other workers."""
    return Board(1).seats[0]
