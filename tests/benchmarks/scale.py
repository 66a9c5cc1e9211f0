"""How much is measured: the sets of the real size, and smaller ones for a quick look."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["FULL", "QUICK", "Scale", "scaled"]


@dataclass(frozen=True)
class Scale:
    """The sizes of all data, and how often things are done in one repetition.

    Attributes:
      name: what the sizes are called
      refs: in the large repository, HEAD not counted
      log_refs: refs with a reflog
      log_entries: entries in all of these reflogs
      commits: objects that exist, for what is written to point at
      large_transaction: refs in the larger of the transactions
      lookups: in one repetition
      updates: of one ref each, in one repetition
      repeat: repetitions of each measurement
    """

    name: str
    refs: int
    log_refs: int
    log_entries: int
    commits: int
    large_transaction: int
    lookups: int
    updates: int
    repeat: int


FULL = Scale("full", 866_456, 43_061, 149_932, 20_000, 100_000, 20_000, 32, 5)
QUICK = Scale("quick", 15_000, 1_000, 3_500, 1_000, 5_000, 2_000, 16, 3)


def scaled(refs: int) -> Scale:
    """Scale the full sets to a number of refs."""

    def share(of: int, least: int) -> int:
        return max(of * refs // FULL.refs, least)

    return replace(
        FULL,
        name=f"{refs} refs",
        refs=refs,
        log_refs=share(FULL.log_refs, 10),
        log_entries=share(FULL.log_entries, 40),
        commits=share(FULL.commits, 50),
        large_transaction=share(FULL.large_transaction, 100),
        lookups=share(FULL.lookups, 100),
    )
