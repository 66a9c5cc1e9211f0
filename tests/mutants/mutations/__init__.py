"""All mutations, by the part of the package that they are put into."""

from . import around, fetches, format, refs, search, server, stack, upkeep

MUTATIONS = (
    *format.MUTATIONS,
    *search.MUTATIONS,
    *stack.MUTATIONS,
    *refs.MUTATIONS,
    *upkeep.MUTATIONS,
    *server.MUTATIONS,
    *around.MUTATIONS,
    *fetches.MUTATIONS,
)
