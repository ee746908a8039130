"""What people may see: clusters, operations, snapshot sets and approvals."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from bot import status
from bot.access import Access, Role
from bot.captures import picture_with_capture
from bot.planning.past import hint_at_sets
from bot.planning.returning import left_of
from bot.sites import Site
from bot.views import answers
from bot.views import approval as approval_views
from bot.views import hold as hold_views
from bot.views import kept as kept_views
from bot.views import removals as removal_views
from bot.views.blocks import Message
from lifecycle.approval import Approval, NoSuchApproval, is_same
from lifecycle.decide import restore
from lifecycle.errors import ClusterError, NothingFound, OtherKubernetes, Refused
from lifecycle.hold import Hold
from lifecycle.model import Person, Place
from lifecycle.operation import Operation, State
from lifecycle.ports import Clock
from storage.database import StorageError
from storage.memory import Memory

log = structlog.get_logger(__name__)

GLANCE = 2.5
"""Seconds that `list` waits for each cluster's picture."""
REMEMBERED = 30
"""Operations in which `status` looks for the last one of each workload."""
SHOWN = 10
"""Operations that `history` shows."""

Permalink = Callable[[Place], Awaitable[str | None]]
"""The address of a message that people can open; None when Slack does not say."""


class Hidden(NoSuchApproval):
    """Whoever may not see the cluster is told no more of it than of an id that does not exist."""

    code = "approval-hidden"


class Overview:
    """Reads, and changes nothing."""

    def __init__(
        self, sites: Mapping[str, Site], access: Access, memory: Memory, permalink: Permalink, clock: Clock
    ) -> None:
        self._sites = sites
        self._access = access
        self._memory = memory
        self._permalink = permalink
        self._clock = clock

    async def require_viewer(self, person: Person, cluster: str) -> None:
        await self._access.require(person, self._sites[cluster].settings, Role.VIEWER)

    async def held(self, made: Hold) -> Message:
        """The answer to who holds it."""
        return hold_views.held(made, await self._memory.operations.running_on(made.cluster))

    async def with_hold(self, cluster: str, shown: Message) -> Message:
        """What is shown of a cluster, and that it is held."""
        return hold_views.above(await self._memory.holds.on(cluster), shown)

    async def status(self, person: Person, cluster: str) -> Message:
        await self.require_viewer(person, cluster)
        return await self.with_hold(cluster, await self._status(cluster))

    async def _status(self, cluster: str) -> Message:
        running = await self._memory.operations.running_on(cluster)
        last_ones = await self._memory.operations.history([cluster], REMEMBERED)
        earlier = [one for one in last_ones if one.state is not State.RUNNING]
        try:
            seen = await status.look(self._sites[cluster].cluster, running, earlier)
        except NothingFound as nothing:
            if running:
                return removal_views.under_way(running)
            return await self._status_of_nothing(cluster, nothing)
        return answers.status(cluster, seen, await self._link(running.id if running else None))

    async def _status_of_nothing(self, cluster: str, nothing: NothingFound) -> Message:
        """What is left of it, as it is seen now. Raises NothingFound where nothing is."""
        if stopped := await self._memory.operations.removed(cluster):
            taken = await left_of(stopped, self._sites[cluster].cluster)
            return removal_views.removed(stopped, taken.observed, taken.missing)
        removal = await self._memory.operations.last_removal(cluster)
        if removal is None and nothing.claims:
            last = await self._memory.operations.latest(cluster)
            return removal_views.taken_by_hand(cluster, nothing.claims, last)
        if removal is None:
            nothing_there = f"there is no TML workload in {self._sites[cluster].cluster.target}"
            raise NothingFound(f"{nothing_there}. {await hint_at_sets(cluster, self._memory)}".removesuffix(". "))
        site = self._sites[cluster].cluster
        here = await site.identity()
        if here and removal.goal.kubernetes not in ("", here):
            raise OtherKubernetes(removal)
        draft, left = await picture_with_capture(site, restore.draft(removal), removal.goal.copies)
        return answers.deleted(cluster, removal, left, draft.copies)

    async def history(self, person: Person, cluster: str | None) -> Message:
        seen = [cluster] if cluster else await self._visible(person)
        for name in seen:
            await self.require_viewer(person, name)
        if not seen:
            return answers.clusters([])
        shown = await self._memory.operations.history(seen, SHOWN)
        links = await asyncio.gather(*(self._link(row.id) for row in shown))
        return answers.history(cluster, list(zip(shown, links, strict=True)))

    async def clusters(self, person: Person) -> Message:
        names = await self._visible(person)
        holds = await self._memory.holds.on_each(names)
        return answers.clusters(await asyncio.gather(*(self._glance(name, holds.get(name)) for name in names)))

    async def _glance(self, name: str, hold: Hold | None) -> answers.Glance:
        site = self._sites[name]
        running = await self._memory.operations.running_on(name)
        last = await self._memory.operations.latest(name)
        try:
            async with asyncio.timeout(GLANCE):
                word = await status.glance(site.cluster, last)
        except NothingFound as nothing:
            word = "nothing of it is there now" if running else await self._word_for_nothing(name, nothing)
        except (ClusterError, Refused, TimeoutError) as trouble:
            word = f"cannot be read: {str(trouble) or 'no answer'}"
        return answers.Glance(name, site.settings.environment, word, running, last, hold)

    async def _word_for_nothing(self, name: str, nothing: NothingFound) -> str:
        if stopped := await self._memory.operations.removed(name):
            return f"stopped and removed by {stopped.id}, `/tml start {name}` brings it back"
        if removal := await self._memory.operations.last_removal(name):
            return f"deleted by {removal.id}, {await self._left_of(removal)}"
        return "removed, and not by this bot; its claims are there" if nothing.claims else "nothing of it is there"

    async def _left_of(self, removal: Operation) -> str:
        """Whether what a delete removed can come back, and until when."""
        if purge := await self._memory.retention.purge_of(removal.id):
            return f"its volumes purged by {purge}"
        kept = (await self._memory.retention.of(removal.cluster)).volumes
        until = next((one.keeping.announced_for or one.keeping.until for one in kept if one.by.id == removal.id), None)
        return f"restorable until {until:%Y-%m-%d %H:%M} UTC" if until else "restorable"

    async def _visible(self, person: Person) -> list[str]:
        return [name for name, role in (await self._roles(person)).items() if role is not None]

    async def whoami(self, person: Person) -> Message:
        return answers.whoami(person, await self._roles(person))

    async def _roles(self, person: Person) -> dict[str, Role | None]:
        roles = await asyncio.gather(*(self._access.role_of(person, site.settings) for site in self._sites.values()))
        return dict(zip(self._sites, roles, strict=True))

    async def sets(self, person: Person, name: str) -> Message:
        """With what restore tests left; a cluster that does not say keeps no set from being shown."""
        await self.require_viewer(person, name)
        site, records = self._sites[name], await self._memory.retention.of(name)
        running = await self._memory.operations.running_on(name)
        try:
            async with asyncio.timeout(GLANCE):
                found = await site.cluster.leftovers()
        except (ClusterError, TimeoutError) as trouble:
            log.warning("leftovers could not be looked for", cluster=name, reason=str(trouble) or "no answer")
            found = ()
        left = [one for one in found if running is None or one.operation != running.id]
        shown = kept_views.kept(name, records, self._clock.now(), site.cluster.target.namespace, left)
        return await self.with_hold(name, shown)

    async def open_approvals(self, person: Person) -> Message:
        waiting = await self._memory.approvals.open_on(list(self._sites))
        return approval_views.open_ones([one for one in waiting if await self._may_see(person, one)])

    async def require_sight(self, person: Person, identity: str) -> None:
        """Raises Hidden: an id that is typed may be a guess; a card that is pressed was seen."""
        if not await self._may_see(person, await self._memory.approvals.get(identity)):
            raise Hidden(identity)

    async def _may_see(self, person: Person, approval: Approval) -> bool:
        if is_same(person, approval.requester):
            return True
        site = self._sites.get(approval.cluster)
        return site is not None and await self._access.may_see_approvals(person, site.settings, approval.verb)

    async def way_to(self, operation: str | None) -> str | None:
        """The link in a refusal, which is given without it rather than not at all."""
        try:
            return await self._link(operation)
        except StorageError:
            return None

    async def _link(self, operation: str | None) -> str | None:
        """Where the operation is told, if it is told already."""
        live = await self._memory.messages.live(operation) if operation else None
        return await self._permalink(Place(live.team, live.channel, live.ts)) if live else None
