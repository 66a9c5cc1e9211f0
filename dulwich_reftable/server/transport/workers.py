# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Worker processes: a supervisor forks them, and starts new ones when they die.

The supervisor listens and never serves; it has one thread, so that children begin with a clean
state. Each worker builds its own server on the shared socket, with fresh settings. A reload starts
new workers and lets the old ones finish: a worker is told to retire only when the one that replaces
it is ready, and a reload whose workers fail leaves the old ones in place. Workers notice the end of
the supervisor, whatever ends it, by a pipe that only the supervisor could write to.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import describe
from .board import Board, Seat
from .memory import limit_memory
from .metrics import Metrics
from .serving import Server, log, run

__all__ = ["Make", "Supervisor", "can_fork", "cores", "listen", "seats_for"]

Make = Callable[[socket.socket], Server]
"""Makes the server of a worker; takes the listening socket."""

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD")
_EARLY = 5.0
"""A worker that dies within so many seconds is replaced after a delay."""
_DELAYS = (0.1, 30.0)
_RETIREMENT = 3600.0
"""Seconds that a worker has for its running requests after a reload."""
_SPARE_SEATS = 4


def can_fork() -> bool:
    """Tell whether this system can share a socket among forked processes."""
    return hasattr(os, "fork") and hasattr(signal, "pthread_sigmask")


def cores() -> int:
    """Give the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def seats_for(workers: int) -> int:
    """Give the number of seats for workers, and for those that retire."""
    return workers * (1 + _SPARE_SEATS)


def listen(host: str, port: int) -> socket.socket:
    """Listen at an address.

    Args:
      host: address
      port: 0 for any
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=Server.request_queue_size)


@dataclass
class _Worker:
    """A worker process.

    Attributes:
      pid: of the process
      seat: its numbers
      began: when it started
      ready: end of a pipe that is readable when the worker has begun or ended
      is_ready: whether it has begun to serve
      replaces: the worker that retires when this one is ready
    """

    pid: int
    seat: Seat
    began: float
    ready: int
    is_ready: bool = False
    replaces: _Worker | None = None
    retires: bool = False


class Supervisor:
    """Keeps workers running.

    Args:
      listener: listens already
      make: makes the server of a worker, in the worker
      count: number of workers
      board: with seats as :func:`seats_for` says
      memory: the most bytes that a worker may allocate; None for no limit
      metrics: served by a process of its own
    """

    def __init__(
        self,
        listener: socket.socket,
        make: Make,
        count: int,
        board: Board,
        *,
        memory: int | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._memory = memory
        self._metrics = metrics
        self._metrics_pid = 0
        self._listener = listener
        self._make = make
        self._count = count
        self._grace = Server.grace
        self.board = board
        self._workers: dict[int, _Worker] = {}
        self._delay = 0.0
        self._next_start = 0.0
        self._has_been_ready = False
        self._to_replace: list[_Worker] = []
        self._got: set[int] = set()

    def run(self) -> int:
        """Serve until SIGINT or SIGTERM; SIGHUP reloads.

        Returns: exit status of the process: 1 if no worker ever began to serve
        """
        # A worker that finds no connection any more goes back to wait for the next one.
        self._listener.setblocking(False)
        self._alive, self._alive_end = os.pipe()
        numbers = [getattr(signal, name) for name in _SIGNALS]
        waking, waker = os.pipe()
        os.set_blocking(waker, False)
        os.set_blocking(waking, False)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        previous = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        try:
            self._tell_metrics()
            return self._supervise(waking)
        finally:
            if self._metrics_pid:
                os.kill(self._metrics_pid, signal.SIGKILL)
                os.waitpid(self._metrics_pid, 0)
            signal.set_wakeup_fd(previous)
            for number, handler in before.items():
                signal.signal(number, handler)
            for fd in (waking, waker, self._alive, self._alive_end):
                os.close(fd)

    def _on_signal(self, number: int, frame: object) -> None:
        self._got.add(number)

    def _supervise(self, waking: int) -> int:
        ends_at: float | None = None
        while ends_at is None or self._workers:
            self._bury()
            got, self._got = self._got, set()
            if signal.SIGHUP in got and ends_at is None:
                self._reload()
            if got & {signal.SIGINT, signal.SIGTERM}:
                if ends_at is None:
                    self._listener.close()
                    self._tell_all(signal.SIGTERM)
                    ends_at = time.monotonic() + self._grace + 3
                else:
                    ends_at = 0.0  # told twice
            if ends_at is None:
                if not self._start_missing():
                    self._tell_all(signal.SIGKILL)
                    log.error("no worker begins to serve")
                    ends_at = 0.0
            elif time.monotonic() > ends_at:
                self._tell_all(signal.SIGKILL)
            watched = [waking, *(w.ready for w in self._workers.values() if not w.is_ready)]
            for fd in select.select(watched, [], [], 0.5)[0]:
                if fd == waking:
                    os.read(waking, 1 << 12)
                else:
                    self._has_news(fd)
        log.info("ended")
        return 0 if self._has_been_ready else 1

    def _tell_metrics(self) -> None:
        """Start the process that serves the counts; it ends with this one."""
        metrics = self._metrics
        if metrics is None:
            return
        self._metrics_pid = os.fork()
        if self._metrics_pid:
            metrics.server_close()
            return
        try:
            os.close(self._alive_end)
            self._listener.close()
            signal.set_wakeup_fd(-1)
            for name in _SIGNALS:
                signal.signal(getattr(signal, name), lambda number, frame: None)
            metrics.begin(self.board)
            os.read(self._alive, 1)
        finally:
            os._exit(0)

    def _has_news(self, fd: int) -> None:
        """Note that a worker serves; one that closed the pipe has died and is buried later."""
        for worker in self._workers.values():
            if worker.ready == fd:
                worker.is_ready = bool(os.read(fd, 1))
                if not worker.is_ready:
                    time.sleep(0.01)
                    return
                self._has_been_ready = True
                old, worker.replaces = worker.replaces, None
                if old is not None and old.pid in self._workers:
                    old.retires = True
                    os.kill(old.pid, signal.SIGUSR1)

    def _tell_all(self, number: int) -> None:
        for pid in self._workers:
            os.kill(pid, number)  # ours until it is waited for

    def _reload(self) -> None:
        log.info("reloading")
        self._delay = 0.0
        self._to_replace = [w for w in self._workers.values() if not w.retires]

    def _bury(self) -> None:
        """Wait for the workers that have died."""
        for worker in list(self._workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if not pid:
                continue
            del self._workers[pid]
            os.close(worker.ready)
            worker.seat.clear()
            if not worker.retires and status != 0:
                code = os.waitstatus_to_exitcode(status)
                how = f"by signal {-code}" if code < 0 else f"with status {code}"
                log.warning("worker %d ended %s", pid, how)
            if worker.replaces is not None:
                log.error("the reload failed; the old workers go on")
                self._to_replace = []
                continue
            if not worker.retires:
                self._put_off(worker)

    def _put_off(self, dead: _Worker) -> None:
        """Delay the next start, for longer each time that a worker dies early."""
        self.board.count_restart()
        shortest, longest = _DELAYS
        if time.monotonic() - dead.began > _EARLY:
            self._delay = 0.0
            return
        self._delay = min(longest, max(shortest, self._delay * 2))
        self._next_start = time.monotonic() + self._delay

    def _start_missing(self) -> bool:
        """Start the workers that are missing.

        Returns: whether there is hope: False if a worker died and none has ever been ready
        """
        if self.board.restarts and not self._has_been_ready:
            return False
        if time.monotonic() < self._next_start:
            return True
        staying = [w for w in self._workers.values() if not w.retires and w.replaces is None]
        for _ in range(self._count - len(staying)):
            self._start(None)
        while self._to_replace:
            old = self._to_replace.pop()
            if old.pid in self._workers and not self._start(old):
                log.error("the workers of earlier reloads are still at work; reload later")
                self._to_replace = []
        return True

    def _start(self, replaces: _Worker | None) -> bool:
        """Start a worker; tells whether there was a seat for it."""
        seat = self.board.take()
        if seat is None:
            return False
        ready, ready_end = os.pipe()
        blocked = {getattr(signal, name) for name in _SIGNALS}
        sys.stdout.flush()
        sys.stderr.flush()
        # Until a worker has its own handlers, signals wait.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        try:
            pid = os.fork()
            if not pid:
                self._be_worker(seat, ready_end, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(ready_end)
        self._workers[pid] = _Worker(pid, seat, time.monotonic(), ready, replaces=replaces)
        return True

    def _be_worker(self, seat: Seat, ready: int, mask: set[int | signal.Signals]) -> None:
        """Serve, and end the process."""
        status = 1
        try:
            if hasattr(gc, "freeze"):  # PyPy moves objects anyway
                # A collection writes to each object that it looks at, and so copies the page, which
                # is shared with the supervisor. None of the objects that are here goes any more.
                gc.freeze()
            os.close(self._alive_end)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # Unlike a signal that is ignored, one with a handler is as usual in hooks.
            signal.signal(signal.SIGHUP, lambda number, frame: None)
            server = self._make(self._listener)
            server.seat = seat
            server.grace = self._grace
            server.out_of_memory = lambda: os.kill(os.getpid(), signal.SIGTERM)
            if self._memory is not None:
                limit_memory(self._memory)

            def retire(number: int, frame: object) -> None:
                server.grace = _RETIREMENT
                os.kill(os.getpid(), signal.SIGTERM)

            def watch() -> None:
                os.read(self._alive, 1)  # nobody writes: this is the end of the supervisor
                server.shutdown()

            def begin() -> None:
                signal.signal(signal.SIGUSR1, retire)
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                threading.Thread(target=watch, name="watch", daemon=True).start()
                seat.beat()
                os.write(ready, b"1")

            run(server, begin)
            status = 0
        except BaseException as error:  # nothing may return to the code of the supervisor
            log.error("worker %d: %s", os.getpid(), describe(error))
        finally:
            logging.shutdown()
            os._exit(status)
