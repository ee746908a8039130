"""Restore tests that nobody types: of each cluster's newest set, every so often, while nothing else runs there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from bot.commands import Verify
from bot.launcher import Launcher
from bot.outcome import Request
from bot.sites import Site
from bot.views.words import duration
from lifecycle.errors import ClusterBusy, ClusterError, Refused
from lifecycle.model import BOT, Place, Verb
from lifecycle.operation import Operation
from storage.database import StorageError
from storage.memory import Memory

log = structlog.get_logger(__name__)

AFTER_GIVING_WAY = timedelta(hours=1)
"""How long a test that gave way is not begun again: whoever it was may have more to do."""


def is_due(last: Operation | None, every: timedelta, now: datetime) -> bool:
    """Whether it is time for one; ``last`` is the test of the cluster that began last, whoever asked for it."""
    if last is None:
        return True
    if last.outcome and last.outcome.cancelled and last.ended_at:
        return now - last.ended_at >= min(AFTER_GIVING_WAY, every)
    return now - last.begun_at >= every


@dataclass(frozen=True)
class RestoreTests:
    """Begins what is due; what cannot be tested is logged once for each reason, and tried again."""

    sites: Mapping[str, Site]
    memory: Memory
    launcher: Launcher
    logged: dict[str, str] = field(default_factory=dict)
    """By cluster: why its test could not begin."""

    async def look(self) -> None:
        """A cluster that is away keeps no other waiting for longer than one look at it takes."""
        for name, site in self.sites.items():
            try:
                await self._look(name, site)
            except ClusterBusy:
                pass
            except (ClusterError, Refused) as reason:
                self._log(name, str(reason))
            except StorageError:
                log.exception("a restore test could not be recorded; the next look tries again", cluster=name)
            else:
                self.logged.pop(name, None)

    async def _look(self, name: str, site: Site) -> None:
        every = site.settings.verify_every
        if every is None or await self.memory.operations.running_on(name):
            return
        last = await self.memory.operations.latest(name, Verb.VERIFY)
        newest = next(iter(await self.memory.sets.of(name)), None)
        if newest is None or not is_due(last, every, await self.memory.retention.moment()):
            return
        command = Verify(name, newest.content.id, f"it is due every {duration(every)}")
        made = await self.launcher.plan_of(command)

        async def begin(operation: Operation) -> Operation:
            return await self.memory.operations.begin(operation, made)

        place = Place(newest.operation.place.team, site.settings.channel)
        request = Request(BOT, place, f"verify {name} {newest.content.id}")
        await self.launcher.begin(request, command, made, begin)

    def _log(self, name: str, reason: str) -> None:
        if self.logged.get(name) != reason:
            log.warning("a restore test that is due cannot begin", cluster=name, reason=reason)
            self.logged[name] = reason
