"""From words to a plan, and from a plan that somebody said yes to to an operation that runs."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol, TypeVar

from bot.cancelling import Interrupter, Slots
from bot.commands import Change, Verify
from bot.outcome import Begun, Request
from bot.planning import plan_of
from bot.planning.known import Known
from bot.sites import Site
from lifecycle.decide import BACK, phases_of, start
from lifecycle.errors import ClusterBusy, Retryable
from lifecycle.model import Place
from lifecycle.operation import Operation
from lifecycle.plan import Plan
from lifecycle.ports import Clock
from storage.ids import IdTaken
from storage.memory import Memory

LOOKED_WITHIN = 15.0
"""Seconds after which a person is told that Kubernetes does not answer."""

T = TypeVar("T")


class Starter(Interrupter, Protocol):
    """Whoever runs what was begun."""

    def begin(self, operation: Operation) -> None: ...


class Launcher:
    """Plans, and begins what was planned; that it may begin is for its callers to know."""

    def __init__(
        self,
        sites: Mapping[str, Site],
        memory: Memory,
        starter: Starter,
        slots: Slots,
        clock: Clock,
        new_id: Callable[[str], str],
    ) -> None:
        self._sites = sites
        self._memory = memory
        self._starter = starter
        self._slots = slots
        self._clock = clock
        self._new_id = new_id

    async def plan_of(self, change: Change) -> Plan:
        """What gives way is in nobody's way: it touches nothing of the cluster. Raises Refused and ClusterError."""
        running = await self._memory.operations.running_on(change.cluster)
        if running and (not running.gives_way or isinstance(change, Verify)):
            raise ClusterBusy(change.cluster, running.id)
        site = self._sites[change.cluster]
        try:
            async with asyncio.timeout(LOOKED_WITHIN):
                return await plan_of(change, Known(change.cluster, site.settings, site.cluster, self._memory))
        except TimeoutError:
            raise Retryable(f"no answer within {LOOKED_WITHIN:.0f} s") from None

    async def begin(
        self, request: Request, command: Change, made: Plan, record: Callable[[Operation], Awaitable[Operation]]
    ) -> Begun:
        """Record it under an id that is free, then let it run. Raises Refused.

        What gives way is ended only where nothing but that was in the way.
        """
        try:
            return await self._begin(request, command, made, record)
        except ClusterBusy:
            if not await self._slots.make_way(request, command.cluster, made.verb):
                raise
        return await self._begin(request, command, made, record)

    async def _begin(
        self, request: Request, command: Change, made: Plan, record: Callable[[Operation], Awaitable[Operation]]
    ) -> Begun:
        async def recorded() -> Operation:
            return await record(await self._operation(request, command, made))

        operation = await under_free_id(recorded)
        self._starter.begin(operation)
        return Begun(operation)

    async def _operation(self, request: Request, command: Change, made: Plan) -> Operation:
        site = self._sites[command.cluster]
        identity = self._new_id("op")
        limits = {name: int(limit.total_seconds()) for name, limit in site.settings.deadlines.items()}
        if start.UP.name in limits:
            limits[BACK.name] = limits[start.UP.name]
        return Operation(
            id=identity,
            verb=made.verb,
            cluster=command.cluster,
            target=site.cluster.target,
            requester=request.person,
            place=Place(request.place.team, site.settings.channel),
            goal=made.goal.marked(identity),
            phase=phases_of(made.goal)[0].name,
            begun_at=self._clock.now(),
            reason=command.reason,
            command=request.text,
            expected=await self._memory.operations.usual_seconds(command.cluster, made.verb, made.step_keys),
            limits=limits,
        )


async def under_free_id(make: Callable[[], Awaitable[T]]) -> T:
    """``make`` takes a new id at each call."""
    while True:
        with suppress(IdTaken):
            return await make()
