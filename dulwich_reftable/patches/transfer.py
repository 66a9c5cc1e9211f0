# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Pushes to a local repository, and bundles: both take a peeled value for the value of the ref.

With files, dulwich knows only the peeled values of packed refs, so the fault seldom shows. With
reftables it knows all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from dulwich.objects import ZERO_SHA, ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from ..engine.errors import TransactionError
from ..refs.container import ReftableRefsContainer
from ..refs.transaction import is_zero

if TYPE_CHECKING:
    from dulwich.client import SendPackResult

__all__ = ["create_bundle", "send_pack"]


def send_pack(original: Callable[..., SendPackResult]) -> Callable[..., SendPackResult]:
    """Patch ``LocalGitClient.send_pack``, whose atomic pushes compare peeled with stored ids.

    The replacement makes an atomic push one transaction.
    """

    @wraps(original)
    def push(
        self: Any,
        path: str | bytes,
        update_refs: Callable[[dict[Ref, ObjectID]], dict[Ref, ObjectID]],
        generate_pack_data: Callable[..., Any],
        progress: Callable[[bytes], None] | None = None,
        push_options: Any = None,
        atomic: bool = False,
    ) -> SendPackResult:
        if atomic:
            with Repo(os.fsdecode(path)) as target:
                if isinstance(target.refs, ReftableRefsContainer):
                    return _push_atomically(target, update_refs, generate_pack_data, progress)
        return original(self, path, update_refs, generate_pack_data, progress, push_options, atomic)

    return push


def _push_atomically(
    target: Any,
    update_refs: Callable[[dict[Ref, ObjectID]], dict[Ref, ObjectID]],
    generate_pack_data: Callable[..., Any],
    progress: Callable[[bytes], None] | None,
) -> SendPackResult:
    from dulwich.client import SendPackResult

    old = target.get_refs()
    new = update_refs(dict(old))
    changed = {name: value for name, value in new.items() if old.get(name) != value}
    have = set(old.values())
    want = {value for value in changed.values() if not is_zero(value)} - have
    if want:
        pack = generate_pack_data(have, want, ofs_delta=True, progress=progress)
        target.object_store.add_pack_data(*pack)
    status: dict[bytes, str | None] = {}
    try:
        with target.refs.transaction() as transaction:
            for name, value in changed.items():
                expected = old.get(name, ZERO_SHA)
                if is_zero(value):
                    transaction.delete(name, expected)
                else:
                    transaction.update(name, value, expected)
    except TransactionError as error:
        status = dict.fromkeys(new, "atomic push failed")
        status[error.ref] = str(error)
        if progress is not None:
            progress(str(error).encode())
    return SendPackResult(dict(new), ref_status=status)


def create_bundle(original: Callable[..., Any]) -> Callable[..., Any]:
    """Patch ``create_bundle_from_repo``, which replaces annotated tags by the tagged commits."""

    @wraps(original)
    def create_bundle_from_repo(repo: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(repo.refs, ReftableRefsContainer):
            repo = _Unpeeled(repo)
        return original(repo, *args, **kwargs)

    return create_bundle_from_repo


class _Unpeeled:
    """A proxy for a repository or its refs container that hides peeled values."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._wrapped, name)
        return _Unpeeled(value) if name == "refs" else value

    def __contains__(self, name: bytes) -> bool:
        return name in self._wrapped

    def __getitem__(self, name: bytes) -> Any:
        return self._wrapped[name]

    def get_peeled(self, name: bytes) -> None:
        return None
