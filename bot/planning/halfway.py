"""What keeps an operation away from a cluster that an earlier one left halfway."""

from bot.planning.known import Known
from bot.planning.returning import left_of
from lifecycle.decide import in_place, restore
from lifecycle.errors import HalfDeleted, HalfRemoved, HalfRestored
from lifecycle.observed import Discovery


async def refuse_half_removed(known: Known) -> None:
    """A start brings back the newest removal only, so another one must not come between."""
    removal = await known.memory.operations.removed(known.name)
    if removal is None:
        return
    left = await left_of(removal, known.cluster)
    if left.missing and left.is_written_down:
        raise HalfRemoved(removal)


async def refuse_half_deleted(known: Known, discovery: Discovery) -> None:
    """A restore brings back the last removal only, so another one must not come between.

    And a start would run what is left without what it mounts.
    """
    removal = await known.memory.operations.unreturned_removal(known.name)
    if removal is None or not restore.is_left_of(removal, discovery):
        return
    if restore.is_missing(removal, await known.cluster.picture(restore.draft(removal))):
        raise HalfDeleted(removal)


async def refuse_half_restored(known: Known, discovery: Discovery) -> None:
    """What starts without its claim makes an empty one, and a set or a delete would have a part only."""
    left = await known.memory.operations.half_restored(known.name)
    if left and in_place.is_missing(left, discovery.observed):
        raise HalfRestored(left)
