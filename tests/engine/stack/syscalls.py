"""Standing between the engine and the operating system: counting its calls, failing one of them.

Only calls that concern files below a given directory are seen. ``fsync`` is recorded and not done:
what it means is tested with a model (`test_power_cut`), and a disk would only make tests slow.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import dulwich_reftable.objects.reader  # noqa: F401 (before mmap, which it names, is replaced)

BY_PATH = ("open", "stat", "lstat", "mkdir", "listdir", "chmod", "unlink", "rename", "replace")
BY_DESCRIPTOR = ("read", "write", "fsync", "fstat", "close")


class Call(NamedTuple):
    """One call: its name, the file's name (a renamed file's old one), and its arguments."""

    kind: str
    file: str
    args: tuple[Any, ...]
    in_finalizer: bool

    def __str__(self) -> str:
        return f"{self.kind} {self.file}"


def _in_finalizer() -> bool:
    """Tell whether an object's end makes the call: errors there go nowhere."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


Hook = Callable[[Call, Callable[[], Any]], Any]
"""Takes a call and a function that does it; gives its result."""


@contextmanager
def intercepted(below: Path, hook: Hook) -> Iterator[None]:
    """Let every call that concerns a file below a directory go through `hook`."""
    real = {kind: getattr(os, kind) for kind in (*BY_PATH, *BY_DESCRIPTOR)}
    real_mmap = mmap.mmap
    names: dict[int, str] = {}

    def by_path(kind: str) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **kwargs: Any) -> Any:
            done = lambda: real[kind](path, *args, **kwargs)  # noqa: E731
            if not isinstance(path, str) or not path.startswith(str(below)):
                return done()
            name = path[len(str(below)) + 1 :]
            result = hook(Call(kind, name, (path, *args), _in_finalizer()), done)
            if kind == "open":
                names[result] = name
            return result

        return call

    def by_descriptor(kind: str) -> Callable[..., Any]:
        def call(fd: int, *args: Any) -> Any:
            if fd not in names:
                return real[kind](fd, *args)
            done = (lambda: None) if kind == "fsync" else (lambda: real[kind](fd, *args))
            name = names[fd]
            if kind == "close":
                del names[fd]
            return hook(Call(kind, name, (fd, *args), _in_finalizer()), done)

        return call

    def mapped(fd: int, *args: Any, **kwargs: Any) -> Any:
        done = lambda: real_mmap(fd, *args, **kwargs)  # noqa: E731
        if fd not in names:
            return done()
        return hook(Call("mmap", names[fd], (fd, *args), False), done)

    try:
        for kind in BY_PATH:
            setattr(os, kind, by_path(kind))
        for kind in BY_DESCRIPTOR:
            setattr(os, kind, by_descriptor(kind))
        mmap.mmap = mapped  # type: ignore[assignment]
        yield
    finally:
        for kind, function in real.items():
            setattr(os, kind, function)
        mmap.mmap = real_mmap


@contextmanager
def recorded(below: Path) -> Iterator[list[Call]]:
    """Give the calls that are made."""
    calls: list[Call] = []

    def hook(call: Call, done: Callable[[], Any]) -> Any:
        calls.append(call)
        return done()

    with intercepted(below, hook):
        yield calls


class Fault:
    """What shall happen at one call instead of, or after, what it is for."""

    name = ""

    def strikes(self, call: Call) -> bool:
        """Tell whether it can happen at this call."""
        return True

    def strike(self, call: Call, done: Callable[[], Any]) -> Any:
        """Let it happen."""
        raise NotImplementedError


def write_half(call: Call, done: Callable[[], Any]) -> None:
    """Do the first half of a write."""
    if call.kind == "write":
        fd, data = call.args
        os.pwrite(fd, bytes(data)[: len(data) // 2], os.fstat(fd).st_size)


class Failure(Fault):
    """The call fails; a write has written half of its bytes by then, a close has closed."""

    KINDS: ClassVar = {
        errno.EIO: (*BY_PATH, *BY_DESCRIPTOR, "mmap"),
        errno.ENOSPC: ("open", "mkdir", "write", "fsync", "rename", "replace", "close"),
        errno.EACCES: BY_PATH,
    }

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = errno.errorcode[number]

    def strikes(self, call: Call) -> bool:
        return call.kind in self.KINDS[self.number]

    def strike(self, call: Call, done: Callable[[], Any]) -> Any:
        write_half(call, done)
        if call.kind == "close":
            done()
        raise OSError(self.number, os.strerror(self.number), call.args[0])


class Kill(Fault):
    """The process dies before the call, or in the middle of a write."""

    name = "kill"
    CODE = 9

    def strike(self, call: Call, done: Callable[[], Any]) -> Any:
        write_half(call, done)
        os._exit(self.CODE)


class Interrupt(Fault):
    """The user interrupts before the call, which is after the one before it."""

    name = "interrupt"

    def strikes(self, call: Call) -> bool:
        return not call.in_finalizer  # from there, no exception gets out

    def strike(self, call: Call, done: Callable[[], Any]) -> Any:
        raise KeyboardInterrupt


@contextmanager
def struck(below: Path, fault: Fault, at: int) -> Iterator[None]:
    """Let the call with this number, counted from 0, be struck."""
    count = -1

    def hook(call: Call, done: Callable[[], Any]) -> Any:
        nonlocal count
        count += 1
        return fault.strike(call, done) if count == at else done()

    with intercepted(below, hook):
        yield
