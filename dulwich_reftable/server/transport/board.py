# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What the workers of a server know of each other: numbers in memory that they share.

Each worker has a seat and writes only there; all of them read all seats. A worker that is killed
can therefore spoil no numbers but its own, and the supervisor clears its seat. Nobody waits for a
lock.
"""

from __future__ import annotations

import mmap
import time

__all__ = ["Board", "Seat", "lone_seat"]

_TAKEN, _BEAT, _CONNECTIONS = range(3)
_FIELDS = 8
_WIDTH = 8


class Board:
    """The seats of all workers.

    Args:
      seats: their number
    """

    def __init__(self, seats: int) -> None:
        self._numbers = memoryview(mmap.mmap(-1, seats * _FIELDS * _WIDTH)).cast("Q")
        self.seats = [Seat(self, number) for number in range(seats)]

    def read(self, seat: int, field: int) -> int:
        """Read a number of a seat."""
        return self._numbers[seat * _FIELDS + field]

    def write(self, seat: int, field: int, value: int) -> None:
        """Set a number of a seat."""
        self._numbers[seat * _FIELDS + field] = value

    def take(self) -> Seat | None:
        """Take a free seat; gives None if there is none. Only the supervisor does this."""
        for seat in self.seats:
            if not seat.is_taken:
                seat.clear()
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
        for field in range(_FIELDS):
            self._board.write(self.number, field, 0)


def lone_seat() -> Seat:
    """Give a seat for a server without other workers."""
    return Board(1).seats[0]
