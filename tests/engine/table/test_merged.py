"""Several tables seen as one, compared with a plain dictionary that the tables update in turn."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from dulwich_reftable.engine.format.records import LogRecord, RefRecord, log_key
from dulwich_reftable.engine.table.merged import Merged, merge_chunks
from dulwich_reftable.engine.table.table import Table
from dulwich_reftable.engine.table.writer import WriteOptions

from ..tables import as_text, flat, log, log_text, oid, pairs, ref, sorted_logs, table_of

MANY_REFS = [ref(b"refs/many/%05d" % i, i % 50, 1) for i in range(400)]

short_names = st.sampled_from(
    [
        name + end
        for name in (b"HEAD", b"refs/heads/a", b"refs/heads/a/b", b"refs/tags/t")
        for end in (b"", b"-", b"0", b"/x", b"/x/y", b"1")
    ]
)
values = st.one_of(
    st.none(),
    st.integers(0, 5).map(oid),
    st.tuples(st.integers(0, 5).map(oid), st.integers(0, 5).map(oid)),
    short_names.map(lambda name: b"ref: " + name),
)


def as_record(name: bytes, index: int, value: object) -> RefRecord:
    """Make a record of what hypothesis draws as a ref's value."""
    if isinstance(value, tuple):
        return RefRecord(name, index, *value)
    if isinstance(value, bytes) and value.startswith(b"ref: "):
        return RefRecord(name, index, None, None, value[5:])
    return RefRecord(name, index, value)  # type: ignore[arg-type]


@dataclass
class Model:
    """Tables, and what they should tell together."""

    tables: list[Table] = field(default_factory=list)
    refs: dict[bytes, RefRecord] = field(default_factory=dict)
    logs: dict[bytes, LogRecord] = field(default_factory=dict)

    @property
    def merged(self) -> Merged:
        """The view to be tested, fresh."""
        return Merged(tuple(self.tables))

    @property
    def living(self) -> list[RefRecord]:
        """Refs that exist, in order."""
        return [self.refs[name] for name in sorted(self.refs) if not self.refs[name].is_deletion]

    @property
    def entries(self) -> list[LogRecord]:
        """Log records that are no tombstones, in order."""
        return [self.logs[key] for key in sorted(self.logs) if self.logs[key].update]

    def add(self, refs: list[RefRecord], logs: list[LogRecord]) -> None:
        """Put a table on top."""
        options = WriteOptions(block_size=512)
        self.tables.append(table_of(refs, logs, options, (1, len(self.tables) + 1)))
        self.refs.update((record.name, record) for record in refs)
        self.logs.update((log_key(record.name, record.update_index), record) for record in logs)


@st.composite
def models(draw: st.DrawFn) -> Model:
    """A few tables about few names; perhaps many other refs at the bottom or in between."""
    model = Model()
    for number in range(1, draw(st.integers(0, 5)) + 1):
        drawn = draw(st.dictionaries(short_names, values, max_size=8))
        refs = [as_record(name, number, value) for name, value in drawn.items()]
        if draw(st.integers(0, 3)) == 0:
            refs += MANY_REFS
        keys = draw(st.sets(st.tuples(short_names, st.integers(1, number)), max_size=8))
        logs = [log(name, at, draw(st.sampled_from([None, number]))) for name, at in keys]
        model.add(sorted(refs), sorted_logs(logs))
    return model


def test_the_model_itself() -> None:
    """The newest record of a name is what counts, and tombstones count for nothing."""
    model = Model()
    model.add([ref(b"a", 1, 1), ref(b"b", 2, 1)], [log(b"a", 1, 1)])
    model.add([ref(b"a", None, 2)], [log(b"a", 1)])
    assert model.living == [ref(b"b", 2, 1)]
    assert model.entries == []


class TestRefs:
    @given(models())
    def test_scan(self, model: Model) -> None:
        merged = model.merged
        as_texts = [(record.name, as_text(record)) for record in model.living]
        assert pairs(merged.ref_values()) == as_texts
        values_by_name, odd = merged.ref_dict(lambda names: False)
        assert values_by_name == dict(as_texts)
        assert merged.symrefs() == {
            record.name: b"ref: " + record.target
            for record in model.living
            if record.target is not None
        }
        assert odd == {
            record.name
            for record in model.living
            if record.target is not None or not record.name.startswith(b"refs/")
        }
        assert flat(merged.ref_records()) == [model.refs[name] for name in sorted(model.refs)]

    @given(models(), st.lists(short_names, min_size=2, max_size=4))
    def test_ranges(self, model: Model, borders: list[bytes]) -> None:
        merged = model.merged
        for start in (b"", *borders, b"refs/many/00200"):
            for stop in (None, *borders, b"refs/many/00201", start + b"\0"):
                inside = [
                    record
                    for record in model.living
                    if record.name >= start and (stop is None or record.name < stop)
                ]
                expected = [(record.name, as_text(record)) for record in inside]
                assert pairs(merged.ref_values(start, stop)) == expected
            seeker = merged.seeker()
            for near in (start, start + b"\0", b"refs", start):
                later = [model.refs[name] for name in sorted(model.refs) if name >= near]
                assert seeker.first_from(near) == (*later, None)[0]

    @given(models(), st.lists(short_names))
    def test_lookup(self, model: Model, names: list[bytes]) -> None:
        merged = model.merged
        known = {record.name: record for record in model.living}
        for name in [*names, *model.refs]:
            record = known.get(name)
            assert merged.lookup_ref(name) == record
            assert merged.ref_value(name) == (as_text(record) if record else None)

    @given(models(), st.sets(short_names))
    def test_many_at_once(self, model: Model, names: set[bytes]) -> None:
        """Whether they are looked up one by one or in blocks that were decoded."""
        known = {record.name: as_text(record) for record in model.living}
        for asked in (names, {*names, b"refs/many/00017", *known}, set(list(names)[:1])):
            expected = {name: known[name] for name in asked if name in known}
            assert model.merged.values_of(asked) == expected

    @given(models())
    def test_by_object(self, model: Model) -> None:
        merged = model.merged
        for number in (0, 1, 2, 5, 49):
            object_id = oid(number)
            assert merged.refs_with_object(object_id) == [
                record for record in model.living if object_id in (record.value, record.peeled)
            ]

    def test_a_scan_holds_one_block_of_each_table(self) -> None:
        """A merge that read tables whole would find the damage at their ends too early."""
        model = Model()
        model.add(MANY_REFS, [])
        model.add(MANY_REFS[::2], [])
        first_names, _ = next(model.merged.ref_values())
        assert len(first_names) < 60


class TestLogs:
    @given(models())
    def test_scan(self, model: Model) -> None:
        assert flat(model.merged.log_records()) == [model.logs[key] for key in sorted(model.logs)]

    @given(models())
    def test_of_one_ref(self, model: Model) -> None:
        for name in {record.name for record in model.logs.values()} | {b"HEAD", b"refs/nothing"}:
            newest_first = [record for record in model.entries if record.name == name]
            assert list(model.merged.logs_of(name)) == newest_first
            indexes = [record.update_index for record in newest_first]
            assert indexes == sorted(indexes, reverse=True)
            as_texts = [text for _, text in pairs(model.merged.log_entries(name)) if text]
            assert as_texts == [log_text(record) for record in newest_first]

    @given(models())
    def test_names(self, model: Model) -> None:
        assert list(model.merged.log_names()) == sorted({record.name for record in model.entries})


class TestEdges:
    def test_no_tables(self) -> None:
        merged = Merged(())
        assert merged.max_update_index == 0
        assert merged.ref_dict(lambda names: False) == ({}, set())
        assert list(merged.ref_values()) == list(merged.log_names()) == []
        assert merged.lookup_ref(b"HEAD") is None
        assert merged.refs_with_object(oid(1)) == []
        assert merged.seeker().first_from(b"a") is None
        assert merged.values_of([]) == merged.values_of([b"HEAD"]) == {}

    def test_newest_update_index(self) -> None:
        tables = [table_of(bounds=(1, 5)), table_of(bounds=(6, 6)), table_of(bounds=(7, 9))]
        assert Merged(tuple(tables)).max_update_index == 9

    def test_empty_tables_among_others(self) -> None:
        empty = table_of()
        full = table_of([ref(b"a", 1)], [log(b"a", 1, 1)])
        for tables in ((empty, full), (full, empty), (empty, full, empty)):
            merged = Merged(tables)
            assert merged.lookup_ref(b"a") == ref(b"a", 1)
            assert flat(merged.ref_values()) == [as_text(ref(b"a", 1))]
            assert list(merged.logs_of(b"a")) == [log(b"a", 1, 1)]

    def test_everything_deleted(self) -> None:
        merged = Merged(
            (table_of(MANY_REFS), table_of([r._replace(value=None) for r in MANY_REFS]))
        )
        assert list(merged.ref_values()) == []
        assert merged.ref_dict(lambda names: False) == ({}, set())
        assert merged.seeker().first_from(b"") == MANY_REFS[0]._replace(value=None)


class TestMergeChunks:
    @given(st.lists(st.lists(st.sets(st.integers(0, 40), min_size=1), max_size=4), max_size=5))
    def test_any_chunks(self, drawn: list[list[set[int]]]) -> None:
        """Each source is cut into chunks as drawn; of equal keys the later source's wins."""
        model: dict[bytes, str] = {}
        sources = []
        for number, sets in enumerate(drawn):
            keys = sorted({b"%02d" % i for part in sets for i in part})
            sizes = [len(part) for part in sets]
            source: list[tuple[list[bytes], list[str]]] = []
            while keys:
                size = sizes[len(source) % len(sizes)]
                source.append((keys[:size], [f"{key!r} of {number}" for key in keys[:size]]))
                model.update(zip(*source[-1], strict=True))
                keys = keys[size:]
            sources.append(iter(source))
        assert pairs(merge_chunks(sources)) == sorted(model.items())

    def test_a_stretch_of_one_source_passes_as_it_is(self) -> None:
        first = ([b"a", b"b"], [1, 2])
        second = ([b"c", b"d"], [3, 4])
        merged = list(merge_chunks([iter([first]), iter([second])]))
        assert merged == [first, second]
        assert merged[1][0] is second[0]
