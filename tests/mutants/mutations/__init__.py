"""All mutations, by the part of the package that they are put into."""

from . import (
    around,
    bucket_objects,
    bucket_refs,
    copying,
    fetches,
    format,
    operators,
    reflogs,
    refs,
    search,
    server,
    stack,
    upkeep,
)

MUTATIONS = (
    *format.MUTATIONS,
    *search.MUTATIONS,
    *stack.MUTATIONS,
    *refs.MUTATIONS,
    *reflogs.MUTATIONS,
    *upkeep.MUTATIONS,
    *server.MUTATIONS,
    *operators.MUTATIONS,
    *around.MUTATIONS,
    *fetches.MUTATIONS,
    *bucket_objects.MUTATIONS,
    *bucket_refs.MUTATIONS,
    *copying.MUTATIONS,
)
