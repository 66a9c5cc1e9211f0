# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What a repository's configuration says about fetches.

The keys and their values are git's (``git help config``: ``uploadpack.*``, ``uploadpackfilter.*``,
``transfer.*``). As in git, a value that a key cannot have is an error, and nobody is served then.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace

from dulwich.config import Config

from ...config.types import is_true, unsigned
from ...config.values import get_boolean, items_of, read_value
from ..hidden_refs import HiddenRefs
from ..signs_of_life import keep_alive
from .filters import FilterPolicy

__all__ = ["UploadSettings"]


@dataclass(frozen=True)
class UploadSettings:
    """The settings for fetches.

    Attributes:
      hidden: refs that are not advertised
      allow_tip: whether clients may want the objects of hidden refs by id
      allow_reachable: whether clients may want, by id, all objects that refs reach
      allow_any: whether clients may want any object by id
      allow_filter: whether clients may make partial clones
      filters: the filters that partial clones may use
      keep_alive: seconds of silence after which a client that waits for a pack gets a sign of life;
        None for no signs
      only_visible: whether wants of protocol version 2, too, must be reachable from visible refs
      ref_in_want: whether clients may want refs by name
      sideband_all: whether clients may have all of an answer over the side band
      object_info: whether clients may ask for the sizes of objects
      bundles: lines that tell of bundles to begin a clone with; None if clients cannot ask
    """

    hidden: HiddenRefs
    allow_tip: bool
    allow_reachable: bool
    allow_any: bool
    allow_filter: bool
    filters: FilterPolicy
    ref_in_want: bool
    sideband_all: bool
    object_info: bool
    bundles: tuple[bytes, ...] | None
    keep_alive: int | None
    only_visible: bool = False

    def concealing(self, hidden: Container[bytes]) -> UploadSettings:
        """Give settings that disclose nothing of some refs to a client that knows object ids.

        A partial clone is refused, because it would ask for trees and blobs by id. Bundles may
        hold what is hidden.
        """
        return replace(
            self,
            hidden=self.hidden.beside(hidden),
            allow_tip=False,
            allow_reachable=False,
            allow_any=False,
            allow_filter=False,
            object_info=False,
            bundles=None,
            only_visible=True,
        )

    @classmethod
    def of(cls, config: Config) -> UploadSettings:
        """Read them from a configuration."""
        section = b"uploadpack"
        return cls(
            HiddenRefs.of(config, section),
            get_boolean(config, section, b"allowTipSHA1InWant", False),
            get_boolean(config, section, b"allowReachableSHA1InWant", False),
            get_boolean(config, section, b"allowAnySHA1InWant", False),
            get_boolean(config, section, b"allowFilter", False),
            _filter_policy(config),
            get_boolean(config, section, b"allowRefInWant", False),
            get_boolean(config, section, b"allowSidebandAll", False),
            get_boolean(config, b"transfer", b"advertiseObjectInfo", False),
            _bundles(config)
            if get_boolean(config, section, b"advertiseBundleURIs", False)
            else None,
            keep_alive(config, section),
        )


def _bundles(config: Config) -> tuple[bytes, ...]:
    """Read ``bundle.*`` as lines of the answer to ``bundle-uri``."""
    return tuple(
        b".".join((b"bundle", *([name] if name else []), key)) + b"=" + value
        for name, key, value in items_of(config, b"bundle")
        if value
    )


def _filter_policy(config: Config) -> FilterPolicy:
    """Read ``uploadpackfilter.allow``, ``uploadpackfilter.<filter>.allow`` and the like."""
    default = True
    allowed: dict[bytes, bool] = {}
    depth = None
    for name, key, value in items_of(config, b"uploadpackfilter"):
        section = (b"uploadpackfilter", name) if name else (b"uploadpackfilter",)
        if key == b"allow":
            allows = read_value(config, section, key, value, is_true)
            if name:
                allowed[name] = allows
            else:
                default = allows
        elif name == b"tree" and key == b"maxdepth":
            allowed[name] = True  # the key allows the filter, too
            depth = read_value(config, section, key, value, unsigned)
    return FilterPolicy(default, allowed, depth)
