"""Random histories of objects, and what any object store has to say of them."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable, Iterator
from typing import Any

from dulwich.object_store import BaseObjectStore, MemoryObjectStore
from dulwich.objects import Blob, Commit, ObjectID, ShaFile, Tag, Tree
from dulwich.pack import write_pack_data

WHO = b"A U Thor <author@example.com>"


class History:
    """A growing history: commits on commits, whose files change a little each time.

    Attributes:
      objects: all that were made, by their ids
      commits: oldest first
      tags: of commits and of tags
      steps: the objects that each commit brought
      aside: objects of commits that no later one builds on, by their ids
    """

    def __init__(self, seed: int, object_format: Any = None) -> None:
        self._random = random.Random(seed)
        self._format = object_format
        self.objects: dict[ObjectID, ShaFile] = {}
        self.commits: list[Commit] = []
        self.tags: list[Tag] = []
        self.steps: list[list[ShaFile]] = []
        self.aside: dict[ObjectID, ShaFile] = {}
        self._files: dict[bytes, bytes] = {}

    def id_of(self, obj: ShaFile) -> ObjectID:
        return ObjectID(obj.get_id(self._format))

    def _add(self, obj: ShaFile) -> ObjectID:
        oid = self.id_of(obj)
        if oid not in self.objects:
            self.objects[oid] = obj
            self.steps[-1].append(obj)
        return oid

    def commit(self) -> Commit:
        """Change a file or two, and commit that."""
        rnd = self._random
        self.steps.append([])
        for _ in range(rnd.randint(1, 2)):
            name = b"file%d" % rnd.randint(0, 5)
            lines = self._files.get(name, b"").splitlines() or [b"line"] * 40
            lines.insert(rnd.randint(0, len(lines)), b"%x" % rnd.getrandbits(200))
            self._files[name] = b"\n".join(lines)
        trees: dict[bytes, Tree] = {b"": Tree(), b"odd": Tree()}
        for number, (name, data) in enumerate(sorted(self._files.items())):
            oid = self._add(Blob.from_string(data))
            trees[b"odd" if number % 2 else b""].add(name, 0o100644, oid)
        if len(trees[b"odd"]):
            trees[b""].add(b"odd", 0o040000, self._add(trees[b"odd"]))
        made = Commit()
        made.tree = self._add(trees[b""])
        made.parents = [self.id_of(self.commits[-1])] if self.commits else []
        if len(self.commits) > 3 and rnd.random() < 0.2:
            made.parents = [*made.parents, self.id_of(rnd.choice(self.commits[:-1]))]
        made.author = made.committer = WHO
        made.author_time = made.commit_time = 1_700_000_000 + len(self.commits)
        made.author_timezone = made.commit_timezone = 0
        made.message = b"change %d" % len(self.commits)
        self._add(made)
        self.commits.append(made)
        if rnd.random() < 0.2:
            self._tag(made)
        return made

    def _tag(self, target: ShaFile) -> None:
        tag = Tag()
        tag.object = (type(target), self.id_of(target))
        tag.name = b"tag%d" % len(self.tags)
        tag.tagger = WHO
        tag.tag_time, tag.tag_timezone = 1_700_000_000, 0
        tag.message = b"tagged"
        self._add(tag)
        self.tags.append(tag)
        if self._random.random() < 0.3:
            self._tag(tag)

    def grow(self, commits: int) -> list[ShaFile]:
        """Commit several times; gives the new objects."""
        start = len(self.steps)
        for _ in range(commits):
            self.commit()
        return [obj for step in self.steps[start:] for obj in step]

    def grow_aside(self, commits: int) -> list[ShaFile]:
        """Commit as :meth:`grow`, and go back: later commits share nothing with these."""
        before = self.objects, self.commits, self.tags, self._files
        self.objects, self.commits = {**self.objects}, [*self.commits]
        self.tags, self._files = [*self.tags], {**self._files}
        new = self.grow(commits)
        self.objects, self.commits, self.tags, self._files = before
        self.aside.update((self.id_of(obj), obj) for obj in new)
        return new


def memory_store(objects: Iterable[ShaFile], object_format: Any = None) -> MemoryObjectStore:
    store = MemoryObjectStore(object_format=object_format)
    for obj in objects:
        store.add_object(obj)
    return store


def pairs(objects: Iterable[ShaFile]) -> list[tuple[ShaFile, None]]:
    return [(obj, None) for obj in objects]


def thin_pack(store: BaseObjectStore, have: list[ObjectID], want: list[ObjectID]) -> io.BytesIO:
    """Make the pack of a push, with deltas against what the receiver has."""
    from dulwich.object_store import MissingObjectFinder
    from dulwich.pack import deltify_pack_objects

    finder = MissingObjectFinder(store, have, want)
    others = [store[oid] for oid in finder.get_remote_has() if oid in store]
    bases = [obj for obj in others if obj.type_name == b"blob"]
    wanted = [store[oid] for oid, _ in finder]
    names = {obj.id for obj in wanted}
    stream: Iterator[Any] = deltify_pack_objects(iter([*bases, *wanted]), window_size=10)
    chosen = [entry for entry in stream if entry.sha().hex().encode() in names]
    file = io.BytesIO()
    write_pack_data(
        file.write, iter(chosen), num_records=len(chosen), object_format=store.object_format
    )
    file.seek(0)
    return file
