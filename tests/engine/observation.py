"""Reading everything that a table tells, so that two readings can be compared.

An :class:`Observation` holds, for each way to read the table, the answer or the
``CorruptTableError`` that came instead. Any other exception is let through: it fails the test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dulwich_reftable.engine.errors import CorruptTableError
from dulwich_reftable.engine.format.records import RefRecord, log_key
from dulwich_reftable.engine.table.table import Table

from .tables import as_text, flat, pairs

NAME = "damaged.ref"
SEARCHES = 16  # so many a section answers before it flattens its index


@dataclass
class Known:
    """What a sound table holds, to ask the damaged one for."""

    names: Sequence[bytes]
    ids: Sequence[bytes]
    log_keys: Sequence[bytes]

    @classmethod
    def of(cls, data: bytes) -> Known:
        """Read a sound table."""
        table = Table(NAME, data)
        refs = flat(table.ref_records())
        ids = {value for record in refs for value in (record.value, record.peeled) if value}
        keys = [log_key(r.name, r.update_index) for r in flat(table.log_records())]
        return cls([record.name for record in refs], sorted(ids), keys)


@dataclass
class Observation:
    """All answers of one table."""

    answers: dict[tuple[object, ...], object] = field(default_factory=dict)
    errors: dict[tuple[object, ...], CorruptTableError] = field(default_factory=dict)

    def ask(self, key: tuple[object, ...], question: Callable[[], object]) -> None:
        """Note the answer to a question, or that the table is found corrupt."""
        try:
            self.answers[key] = question()
        except CorruptTableError as error:
            self.errors[key] = error

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Observation)
            and not self.errors
            and not other.errors
            and self.answers == other.answers
        )


def observe(data: bytes, known: Known) -> Observation:
    """Read everything from a table that may be damaged."""
    seen = Observation()
    seen.ask(("open",), lambda: Table(NAME, data).hash_size)
    if seen.errors:
        return seen

    def fresh() -> Table:
        return Table(NAME, data)

    seen.ask(("records",), lambda: flat(fresh().ref_records()))
    seen.ask(("values",), lambda: pairs(fresh().ref_values()))
    seen.ask(("logs",), lambda: flat(fresh().log_records()))
    cold = fresh()
    for i, name in enumerate(known.names):
        if i % 5 == 0:  # before it has been asked so often that it changes its ways
            cold = fresh()
        for asked in (name, name + b"!" if i % 2 else name[:-1]):
            seen.ask(("cold", asked), lambda asked=asked, table=cold: table.lookup_ref(asked))
        seen.ask(
            ("from", name),
            lambda name=name, table=cold: flat(table.ref_records(name, name + b"\0")),
        )
        seen.ask(
            ("values from", name),
            lambda name=name, table=cold: pairs(table.ref_values(name, name + b"\0")),
        )
    warm = fresh()
    for _ in range(SEARCHES):
        seen.ask(("warm", b"z"), lambda: warm.lookup_ref(b"z"))
    for i, name in enumerate(known.names):
        for asked in (name, name[:-1] if i % 2 else name + b"!"):
            seen.ask(("warm", asked), lambda asked=asked: warm.lookup_ref(asked))
    hot = fresh().refs
    if hot is not None:
        hot._searches = SEARCHES
        hot._reads.default_factory = lambda: 100  # so that each block gets its hash index
        for name in known.names:
            for asked in (name, name[:-1], name + b"!"):
                seen.ask(("hot", asked), lambda asked=asked: hot.lookup_ref(asked))
    table = fresh()
    for key in known.log_keys:
        seen.ask(("log", key), lambda key=key: flat(table.log_records(key, key + b"\0")))
    for name in {key[:-9] for key in known.log_keys}:
        seen.ask(("reflog", name), lambda name=name: pairs(table.log_entries(name)))
    for object_id in (*known.ids, bytes(len(known.ids[0]) if known.ids else 20)):
        seen.ask(("object", object_id), lambda o=object_id: table.refs_with_object(o))
    return seen


def lookups_that_disagree(seen: Observation) -> list[tuple[object, ...]]:
    """Lookups that answer, without an error, other than a complete scan of the same bytes.

    Where the scan itself fails there is nothing to compare with.
    """
    records = seen.answers.get(("records",))
    if not isinstance(records, list):
        return []
    by_name: dict[bytes, RefRecord] = {record.name: record for record in records}
    texts = {name: [(name, as_text(record))] for name, record in by_name.items()}
    wrong = [
        key
        for key, answer in seen.answers.items()
        if (key[0] in ("cold", "warm", "hot") and answer != by_name.get(key[1]))  # type: ignore[call-overload]
        or (key[0] == "from" and answer != [r for r in [by_name.get(key[1])] if r])  # type: ignore[call-overload]
        or (key[0] == "values from" and answer != texts.get(key[1], []))  # type: ignore[call-overload]
    ]
    if seen.answers.get(("values",)) != [(r.name, as_text(r)) for r in records]:
        wrong.append(("values",))
    return wrong
