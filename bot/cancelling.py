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
        super().__init__(f"{ending.id} is cancelled, and {what}. Ask again when its thread says that it has ended.")


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
        if operation.cancellation is None:
            operation = await self._operations.cancel(identity, person, place, reason)
        await asyncio.wait({self._interrupter.interrupt(operation)}, timeout=ENDS_WITHIN)
        if (ended := await self._operations.get(identity)) and ended.state is State.RUNNING:
            raise StillEnding(ended)

    async def make_way(self, request: Request, cluster: str, verb: Verb) -> None:
        """End a restore test that nobody typed, for what somebody did; but not for another test."""
        running = await self._operations.running_on(cluster)
        if running is None or not running.gives_way or verb is Verb.VERIFY:
            return
        await self.overrule(running.id, request.person, request.place, f"gives way to a {verb.words}")


class Cancelling:
    """Who may cancel what."""

    def __init__(self, sites: Mapping[str, Site], access: Access, operations: Operations, slots: Slots) -> None:
        self._sites = sites
        self._access = access
        self._operations = operations
        self._slots = slots

    async def cancel(self, request: Request, command: Cancel) -> Operation:
        """As it is recorded. Raises Refused; then nothing changed."""
        operation = await self._meant(command)
        await self._access.require(request.person, self._sites[operation.cluster].settings, Role.OPERATOR)
        return await self._slots.cancel(operation.id, request.person, request.place, command.reason)

    async def _meant(self, command: Cancel) -> Operation:
        if command.cluster is not None:
            return await self._running_on(command.cluster)
        found = await self._operations.get(command.operation or "")
        if found is None or found.cluster not in self._sites:
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
