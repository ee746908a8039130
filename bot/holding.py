"""Who may hold a cluster, and let go of it."""

from collections.abc import Callable, Mapping

from bot import commands
from bot.access import Access, Role
from bot.launcher import under_free_id
from bot.outcome import Request
from bot.sites import Site
from lifecycle.hold import Hold
from lifecycle.model import Place
from storage.holds import Holds


class Holding:
    """Any operator of the cluster may do either: who went home holds nobody up."""

    def __init__(self, sites: Mapping[str, Site], access: Access, holds: Holds, new_id: Callable[[str], str]) -> None:
        self._sites = sites
        self._access = access
        self._holds = holds
        self._new_id = new_id

    async def hold(self, request: Request, command: commands.Hold) -> Hold:
        """From here on nothing begins on the cluster. Raises Refused; then nothing changed."""
        settings = self._sites[command.cluster].settings
        await self._access.require(request.person, settings, Role.OPERATOR)
        place = Place(request.place.team, settings.channel)

        async def hold() -> Hold:
            return await self._holds.hold(self._new_id("ho"), command.cluster, request.person, place, command.reason)

        return await under_free_id(hold)

    async def release(self, request: Request, command: commands.Release) -> Hold:
        """Let go of it, whoever holds it. Raises Refused; then nothing changed."""
        await self._access.require(request.person, self._sites[command.cluster].settings, Role.OPERATOR)
        return await self._holds.release(command.cluster, request.person)
