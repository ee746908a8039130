"""What an operation left half done, or took away, and what therefore must not come next."""

from collections.abc import Mapping

from bot.grammar import Change, Delete, Restore, Start, Stop
from bot.removals import left_of
from bot.sites import Site
from lifecycle.decide import in_place, restore
from lifecycle.errors import ClusterError, HalfDeleted, HalfRemoved, HalfRestored, Removed
from lifecycle.model import Discovery
from storage.operations import Operations


class HalfStates:
    """Each refusal names the operation, and what leads out of it."""

    def __init__(self, sites: Mapping[str, Site], operations: Operations) -> None:
        self._sites = sites
        self._operations = operations

    async def refuse_removed(self, change: Restore) -> None:
        """A restore would make what was there before; only where nothing says how it was last is a set better."""
        removal = await self._operations.removed(change.cluster)
        if removal is None:
            return
        if not change.of or (await left_of(removal, self._sites[change.cluster].cluster)).is_written_down:
            raise Removed(removal)

    async def refuse_half_removed(self, name: str) -> None:
        """A start brings back the newest removal only, so another one must not come between."""
        removal = await self._operations.removed(name)
        if removal is None:
            return
        left = await left_of(removal, self._sites[name].cluster)
        if left.missing and left.is_written_down:
            raise HalfRemoved(removal)

    async def refuse_half_deleted(self, change: Stop | Start | Delete, discovery: Discovery) -> None:
        """A restore brings back the last removal only, so another one must not come between.

        And a start would run what is left without what it mounts. What cannot be looked at keeps no start away.
        """
        removal = await self._operations.unreturned_removal(change.cluster)
        if removal is None or not restore.is_left_of(removal, discovery):
            return
        try:
            observed = await self._sites[change.cluster].cluster.picture(restore.draft(removal))
        except ClusterError:
            if not isinstance(change, Start):
                raise
            return
        if restore.is_missing(removal, observed):
            raise HalfDeleted(removal)

    async def refuse_half_restored(self, change: Change, discovery: Discovery) -> None:
        """What starts without its claim makes an empty one, and a set or a delete would have a part only."""
        left = await self._operations.half_restored(change.cluster)
        if left and in_place.is_missing(left, discovery.observed):
            raise HalfRestored(left)
