"""All mutations, by the part of the package that they are put into."""

from . import format, refs, search, stack, upkeep

MUTATIONS = (
    *format.MUTATIONS,
    *search.MUTATIONS,
    *stack.MUTATIONS,
    *refs.MUTATIONS,
    *upkeep.MUTATIONS,
)
