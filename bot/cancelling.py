"""Who may cancel what, and what gives way to whoever wants the cluster's slot."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from bot.access import Access, Role
from bot.commands import Cancel, Change, Start, Stop
from bot.outcome import Request
from bot.sites import Site
from lifecycle.errors import NotCancellable, NotUnderstood, Refused
from lifecycle.model import Person, Place, Verb
from lifecycle.operation import Operation, State
from storage.operations import Operations

LOOK = 0.25
"""Seconds between two looks whether it has ended."""

ENDS_WITHIN = 60.0
"""Seconds to wait for the end of what was cancelled, before the person is asked to come back."""

OPPOSITE: Mapping[Verb, type[Change]] = {
    Verb.STOP: Start,
    Verb.REMOVE: Start,
    Verb.START: Stop,
    Verb.RETURN: Stop,
}
"""What takes back what runs."""


class Interrupter(Protocol):
    """Whoever runs operations."""

    def interrupt(self, operation: Operation) -> asyncio.Task[None]: ...


class StillEnding(Refused):
    """What was cancelled keeps the cluster's slot a while longer."""

    code = "still-ending"

    def __init__(self, ending: Operation) -> None:
        what = "takes away what it made" if ending.verb is Verb.VERIFY else "is being brought to its end"
        super().__init__(f"{ending.id} {what}. Ask again when its thread says that it has ended.")


class Slots:
    """Ends what has a cluster's slot: recorded first, then whoever runs it is made to look at that at once."""

    def __init__(self, operations: Operations, interrupter: Interrupter) -> None:
        self._operations = operations
        self._interrupter = interrupter

    async def cancel(self, identity: str, person: Person, place: Place, reason: str) -> Operation:
        """From here on it takes no new step. Raises NotCancellable; then nothing changed."""
        cancelled = await self._operations.cancel(identity, person, place, reason)
        self._interrupter.interrupt(cancelled)
        return cancelled

    async def overrule(self, identity: str, person: Person, place: Place, reason: str) -> None:
        """Cancel it and see it end; one that has ended by itself is out of the way, too.

        Raises NotCancellable, and StillEnding where it takes longer.
        """
        operation = await self._operations.get(identity)
        if operation is None or operation.state is not State.RUNNING:
            return
        try:
            await self.cancel(identity, person, place, reason)
        except NotCancellable:
            if not _comes_to_its_end(await self._operations.get(identity)):
                raise
        await self._until_ended(identity)

    async def _until_ended(self, identity: str) -> None:
        """Whichever process ends it. Raises StillEnding."""
        loop = asyncio.get_running_loop()
        until = loop.time() + ENDS_WITHIN
        while True:
            found = await self._operations.get(identity)
            if found is None or found.state is not State.RUNNING:
                return
            if loop.time() >= until:
                raise StillEnding(found)
            await asyncio.sleep(LOOK)

    async def make_way(self, request: Request, cluster: str, verb: Verb) -> bool:
        """End a restore test that nobody typed, for what somebody did; but not for another test.

        False where there is nothing that gives way. Raises StillEnding.
        """
        running = await self._operations.running_on(cluster)
        if running is None or not running.gives_way or verb is Verb.VERIFY:
            return False
        await self.overrule(running.id, request.person, request.place, f"gives way to a {verb.words}")
        return True


def _comes_to_its_end(found: Operation | None) -> bool:
    """Of what cannot be cancelled: it has ended, was cancelled by somebody else, or is nearly through."""
    if found is None or found.state is not State.RUNNING:
        return True
    return found.cancellation is not None or found.failure is not None or found.gives_way


class Cancelling:
    """Who may cancel what."""

    def __init__(self, sites: Mapping[str, Site], access: Access, operations: Operations, slots: Slots) -> None:
        self._sites = sites
        self._access = access
        self._operations = operations
        self._slots = slots

    async def cancel(self, request: Request, command: Cancel) -> Operation:
        """As it is recorded. Raises Refused; then nothing changed."""
        operation = await self._meant(request.person, command)
        await self._access.require(request.person, self._sites[operation.cluster].settings, Role.OPERATOR)
        return await self._slots.cancel(operation.id, request.person, request.place, command.reason)

    async def _meant(self, person: Person, command: Cancel) -> Operation:
        """Whoever may not see the cluster is told no more of it than of an id that does not exist."""
        if command.cluster is not None:
            await self._access.require(person, self._sites[command.cluster].settings, Role.OPERATOR)
            return await self._running_on(command.cluster)
        found = await self._operations.get(command.operation or "")
        site = self._sites.get(found.cluster) if found else None
        if found is None or site is None or await self._access.role_of(person, site.settings) is None:
            raise NotUnderstood(f"There is no operation {command.operation} here. `/tml list` names what runs.")
        return found

    async def _running_on(self, cluster: str) -> Operation:
        running = await self._operations.running_on(cluster)
        if running is None:
            raise NotCancellable(f"Nothing is running on {cluster}: there is nothing to cancel.")
        return running


def is_opposite(running: Operation, command: Change) -> bool:
    """Whether whoever typed the command may want what runs cancelled for it."""
    wanted = OPPOSITE.get(running.verb)
    return wanted is not None and isinstance(command, wanted) and running.cancellation is None
