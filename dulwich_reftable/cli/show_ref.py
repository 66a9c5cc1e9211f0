# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``dulwich-reftable show-ref``: list refs and the objects that they point to, as git does."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from dulwich.objects import ObjectID
from dulwich.refs import HEADREF, Ref, SymrefLoop

from ..engine.errors import ReftableError
from ..naming.symrefs import is_symref
from ..objects.reader import ObjectReader
from ..refs.container import ReftableRefsContainer
from ..repo.tags import tag_chain
from .repository import AnyRepo, add_directory, object_id, opened, write
from .stores import store_options

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "The exit code is 1 if there is no such ref."
    add_directory(parser)
    parser.add_argument(
        "--points-at",
        metavar="OBJECT",
        help="show only refs to this object or to tags of it; symrefs are left out, because obj "
        "blocks do not hold them",
    )
    parser.add_argument("--head", action="store_true", help="also show HEAD")
    parser.add_argument(
        "-d",
        "--dereference",
        action="store_true",
        help="also show the objects that tags finally point to",
    )
    parser.add_argument(
        "prefix",
        nargs="?",
        default="",
        metavar="PREFIX",
        help="of full ref names, such as refs/tags/",
    )


def run(parsed: argparse.Namespace) -> int:
    code = 1
    prefix = os.fsencode(parsed.prefix)
    with opened(directory=parsed.directory, options=store_options(parsed)) as (repo, refs):
        if parsed.points_at is None:
            pairs = _all(refs, prefix)
        else:
            pairs = _pointing_at(repo, refs, os.fsencode(parsed.points_at), prefix)
        for name, value in pairs:
            if name == HEADREF and not (parsed.head or prefix):
                continue
            code = 0
            write(value + b" " + name + b"\n")
            if parsed.dereference:
                peeled = repo.get_peeled(name)
                if peeled != value:
                    write(peeled + b" " + name + b"^{}\n")
    return code


def _all(refs: ReftableRefsContainer, prefix: bytes) -> Iterator[tuple[Ref, bytes]]:
    for name, value in refs.iter_refs(prefix):
        if not is_symref(value):
            yield name, value
            continue
        try:
            found: ObjectID | None = refs.follow(name)[1]
        except SymrefLoop:
            continue
        if found is not None:
            yield name, found


def _pointing_at(
    repo: AnyRepo, refs: ReftableRefsContainer, wanted: bytes, prefix: bytes
) -> Iterator[tuple[Ref, bytes]]:
    oid = object_id(repo, wanted)
    if oid is None:
        raise ReftableError(f"'{os.fsdecode(wanted)}' is not an object")
    found = set(refs.refs_for_object(oid))
    tagged = _tag_chain(repo, oid)
    # If the object is a tag, tags of it peel to the same object. The obj blocks hold the peeled
    # values, but no tags in between.
    for name in refs.refs_for_object(tagged[-1]) if tagged else ():
        value = refs.read_ref(name)
        if value is not None and oid in _tag_chain(repo, value):
            found.add(name)
    for name in sorted(found):
        value = refs.read_ref(name) if name.startswith(prefix) else None
        if value is not None:
            yield name, value


def _tag_chain(repo: AnyRepo, oid: bytes) -> list[bytes]:
    try:
        with ObjectReader(repo.object_store) as objects:
            return tag_chain(objects, oid)
    except KeyError:
        return []
