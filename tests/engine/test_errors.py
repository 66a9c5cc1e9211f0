"""Messages and attributes of the exceptions, and what else they are."""

from __future__ import annotations

import errno

import pytest

from dulwich_reftable.engine import errors
from dulwich_reftable.engine.errors import (
    CorruptTableError,
    LockError,
    RecordError,
    RefConflictError,
    ReftableError,
    StorageError,
    TransactionError,
)


def test_one_family() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__]
    assert len(kinds) > 5
    assert all(issubclass(kind, ReftableError) for kind in kinds)


@pytest.mark.parametrize(
    ("kind", "also"),
    [
        (errors.ConfigurationError, ValueError),
        (RecordError, ValueError),
        (StorageError, OSError),
        (LockError, OSError),
        (RefConflictError, OSError),
    ],
)
def test_what_else_they_are(kind: type[Exception], also: type[Exception]) -> None:
    assert issubclass(kind, also)


def test_corrupt_table() -> None:
    error = CorruptTableError("reftable/x.ref", 4096, "block is cut short")
    assert str(error) == "reftable/x.ref: corrupt at offset 4096: block is cut short"
    assert (error.filename, error.offset, error.reason) == (
        "reftable/x.ref", 4096, "block is cut short",
    )  # fmt: skip
    assert str(CorruptTableError("x", 0, "bad")) == "x: corrupt at offset 0: bad"
    assert str(CorruptTableError("x", None, "bad")) == "x: corrupt: bad"


def test_storage() -> None:
    try:
        open("/nonexistent/file")  # noqa: SIM115
    except OSError as cause:
        error = StorageError.of(cause, "read", "/nonexistent/file")
    assert error.errno == errno.ENOENT
    assert error.filename == "/nonexistent/file"
    assert "cannot read: No such file or directory" in str(error)
    assert "cannot write: lost" in str(StorageError.of(OSError("lost"), "write", "x"))


def test_lock() -> None:
    error = LockError("a/tables.list.lock", 61.25, 0.1)
    assert "'a/tables.list.lock' exists, held for 61.2 s (waited 0.10 s)" in str(error)
    assert (error.lock_path, error.age, error.waited) == ("a/tables.list.lock", 61.25, 0.1)
    assert "held" not in str(LockError("a", None, 0.1))


@pytest.mark.parametrize(
    ("expected", "actual", "reason"),
    [
        (b"1" * 40, b"2" * 40, f"expected {'1' * 40}, found {'2' * 40}"),
        (None, b"ref: refs/heads/x", "expected no such ref, found ref: refs/heads/x"),
        (b"1" * 40, None, f"expected {'1' * 40}, found no such ref"),
    ],
)
def test_transaction(expected: bytes | None, actual: bytes | None, reason: str) -> None:
    error = TransactionError(b"refs/heads/a", expected, actual)
    assert str(error) == f"cannot update ref 'refs/heads/a': {reason}"
    assert (error.ref, error.expected, error.actual) == (b"refs/heads/a", expected, actual)


def test_transaction_with_a_reason_of_its_own() -> None:
    error = TransactionError(b"refs/heads/\xff", None, None, "it is twice in the transaction")
    assert str(error) == "cannot update ref 'refs/heads/\udcff': it is twice in the transaction"


def test_conflict() -> None:
    error = RefConflictError(b"refs/heads/a/b", b"refs/heads/a")
    assert str(error) == "cannot create ref 'refs/heads/a/b': 'refs/heads/a' is in the way"
    assert (error.ref, error.other) == (b"refs/heads/a/b", b"refs/heads/a")
