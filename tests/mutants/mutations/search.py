"""Faults in finding: sections, their indexes, the search in warm tables, and the merged view."""

from __future__ import annotations

from ..mutation import Mutation

MUTATIONS = (
    Mutation(
        "last-key-of-a-block",
        "engine/table/section.py",
        "            i = bisect_left(keys, key)\n"
        "            return positions[i] if i < len(positions) else None\n",
        "            i = bisect_right(keys, key)\n"
        "            return positions[i] if i < len(positions) else None\n",
        "the last ref of each block is not found",
        ("engine/table/test_section.py", "engine/table/test_table.py"),
    ),
    Mutation(
        "gap-trusted",
        "engine/table/ref_section.py",
        "        self._check_gap(name, block)\n        found = block.seek_ref(name)\n",
        "        found = block.seek_ref(name)\n",
        "with a damaged index, a ref that is there is not found, and nobody is told",
        ("engine/test_corruption.py",),
    ),
    Mutation(
        "end-trusted",
        "engine/table/ref_section.py",
        "            self._check_end(name)\n            return None\n        if self._flat",
        "            return None\n        if self._flat",
        "with a damaged index, the last refs are not found, and nobody is told",
        ("engine/test_corruption.py",),
    ),
    Mutation(
        "batch-takes-a-name-too-many",
        "engine/table/ref_section.py",
        "upto = bisect_left(keys, bounds[i + 1], at)",
        "upto = bisect_right(keys, bounds[i + 1], at)",
        "of many refs that are asked for together, the first of a block is not found",
        ("engine/table/test_section.py", "engine/table/test_table.py"),
    ),
    Mutation(
        "index-disagrees-in-a-batch",
        "engine/table/ref_section.py",
        "if decoded and block and self.index_position and decoded[0][-1] < group[-1]:",
        "if decoded and block and self.index_position and not decoded[0]:",
        "with a damaged index, of many refs asked for together some are not found",
        ("engine/table/test_section.py",),
    ),
    Mutation(
        "below-ignores-the-next-block",
        "engine/table/ref_section.py",
        "found = following.seek_ref(start) if following is not None else None",
        "found = None",
        "a ref is made beside another below it: q and q/deep",
        ("engine/table/test_table.py",),
    ),
    Mutation(
        "seek-stays-in-its-gap",
        "engine/table/merged.py",
        " or (gap[1] is not None and start > gap[1].name)",
        "",
        "of several refs that are made together, one is made beside another below it",
        ("engine/table/test_merged.py", "naming/test_conflicts.py"),
    ),
    Mutation(
        "scan-goes-one-too-far",
        "engine/table/table.py",
        "        if stop is not None and last >= stop:\n            high =",
        "        if stop is not None and last > stop:\n            high =",
        "a list below a prefix shows the first ref behind it",
        ("engine/table/test_table.py",),
    ),
    Mutation(
        "suffix-is-not-compared",
        "engine/format/hash_index.py",
        "        if record[at:value_at] != name[prefix:]:\n",
        "        if len(record[at:value_at]) != len(name[prefix:]):\n",
        "for a ref that is not there, another's value is given",
        ("engine/format/test_hash_index.py",),
    ),
    Mutation(
        "parents-are-not-compared",
        "engine/format/hash_index.py",
        "            if parent[at : at + prefix - shared] != name[shared:prefix]:\n",
        "            if not parent:\n",
        "for a ref that is not there, another's value is given",
        ("engine/format/test_hash_index.py",),
    ),
    Mutation(
        "tombstone-hides-nothing",
        "engine/table/merged.py",
        "            if record is not None:\n"
        "                return None if record.is_deletion else record\n",
        "            if record is not None and not record.is_deletion:\n"
        "                return record\n",
        "deleted refs are there again",
        ("engine/table/test_merged.py",),
    ),
    Mutation(
        "object-found-by-old-values",
        "engine/table/merged.py",
        "if all(other.lookup_ref(record.name) is None for other in newer):",
        "if record.name not in found:",
        "an object is said to have refs that have moved on",
        ("engine/table/test_merged.py",),
    ),
    Mutation(
        "oldest-record-wins",
        "engine/table/merged.py",
        "            for keys, items in cuts:\n                overlay.update(",
        "            for keys, items in reversed(cuts):\n                overlay.update(",
        "lists show old values",
        ("engine/table/test_merged.py",),
    ),
    Mutation(
        "oldest-of-many-wins",
        "engine/table/merged.py",
        "                wanted = [name for name in wanted if name not in told]\n",
        "",
        "many refs that are asked for together have old values",
        ("engine/table/test_merged.py",),
    ),
    Mutation(
        "deleted-reflogs-are-listed",
        "engine/table/merged.py",
        "                if record.update is not None and record.name != last:\n",
        "                if record.name != last:\n",
        "reflogs of deleted refs are listed",
        ("engine/table/test_merged.py",),
    ),
)
