# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Pin the refs of a repository: show a client those of this moment, however they move."""

from __future__ import annotations

from dulwich.refs import RefsContainer

from ..objects.reader import ObjectReader
from ..refs.container import ReftableRefsContainer
from .advertised_refs import AdvertisedRefs
from .copied_refs import CopiedRefs
from .hidden_refs import HiddenRefs
from .snapshot_refs import SnapshotRefs

__all__ = ["pin_refs"]


def pin_refs(refs: RefsContainer, objects: ObjectReader, hidden: HiddenRefs) -> AdvertisedRefs:
    """Take the refs of this moment.

    Args:
      refs: of a repository
      objects: those of the repository; a ref is not advertised if its object does not exist
      hidden: the refs that are not advertised
    """
    if isinstance(refs, ReftableRefsContainer):
        return SnapshotRefs(refs, objects, hidden)
    return CopiedRefs(refs, objects, hidden)
