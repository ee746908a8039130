"""What each button does, for whoever pressed it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from bot.access import Access, Role
from bot.commands import Cancel, Change
from bot.gate import Gate
from bot.grammar import parse
from bot.outcome import Interrupted, Request
from bot.overview import Overview
from bot.sites import Site
from bot.views import answers
from bot.views import approval as approval_views
from bot.views import kept as kept_views
from bot.views.blocks import Message
from bot.views.outcome import told
from lifecycle.errors import NotUnderstood
from lifecycle.model import Person, Place
from lifecycle.operation import Operation
from lifecycle.ports import Clock
from storage.memory import Memory
from storage.retention import NothingToExtend

Press = Callable[[Person, Place, str], Awaitable[Message]]
"""By whom, where, and the button's value: the id of what it is about."""


@dataclass(frozen=True)
class Button:
    """``words`` stand for it in the audit log; ``settles``: the answer takes the place of the message with it."""

    press: Press
    words: str
    settles: bool = False


class Buttons:
    """Every button that opens no modal."""

    def __init__(
        self,
        sites: Mapping[str, Site],
        gate: Gate,
        access: Access,
        memory: Memory,
        overview: Overview,
        clock: Clock,
    ) -> None:
        self._sites = sites
        self._gate = gate
        self._access = access
        self._memory = memory
        self._overview = overview
        self._clock = clock

    @property
    def by_action(self) -> Mapping[str, Button]:
        """By the name that Slack sends along."""
        return {
            "confirm": Button(self._confirm, "confirm", settles=True),
            "instead": Button(self._instead, "instead", settles=True),
            "cancel": Button(self._cancel, "cancel"),
            "dismiss": Button(self._dismiss, "dismiss", settles=True),
            "again": Button(self._again, "again"),
            "status": Button(self._status, "status of"),
            "deny": Button(self._deny, "deny"),
            "withdraw": Button(self._withdraw, "withdraw"),
            "run": Button(self._run, "run"),
            "undo": Button(self._undo, "undo"),
            "verify": Button(self._verify, "verify"),
            "keep-longer": Button(self._keep_longer, "keep longer"),
            "pin": Button(self._pin, "pin", settles=True),
            "unpin": Button(self._unpin, "unpin", settles=True),
        }

    async def _confirm(self, person: Person, _place: Place, proposal: str) -> Message:
        return told(await self._gate.confirm(person, proposal))

    async def _instead(self, person: Person, _place: Place, proposal: str) -> Message:
        return told(await self._gate.instead(person, proposal))

    async def _cancel(self, person: Person, place: Place, identity: str) -> Message:
        """On the live message of what runs."""
        operation = await self._operation(identity)
        request = Request(person, place, f"cancel {operation.id}")
        return told(Interrupted(await self._gate.cancelling.cancel(request, Cancel(operation=operation.id))))

    async def _dismiss(self, person: Person, _place: Place, proposal: str) -> Message:
        await self._gate.dismiss(person, proposal)
        return answers.dismissed()

    async def _again(self, person: Person, place: Place, identity: str) -> Message:
        """In the thread of a failed operation: the same words."""
        return await self._submit(person, place, (await self._operation(identity)).command)

    async def _status(self, person: Person, _place: Place, identity: str) -> Message:
        """Of the operation's cluster."""
        return await self._overview.status(person, (await self._operation(identity)).cluster)

    async def _deny(self, person: Person, place: Place, approval: str) -> Message:
        return approval_views.ended(await self._gate.consent.deny(person, approval, pressed=place))

    async def _withdraw(self, person: Person, place: Place, approval: str) -> Message:
        return approval_views.ended(await self._gate.consent.withdraw(person, approval, place))

    async def _run(self, person: Person, place: Place, approval: str) -> Message:
        return told(await self._gate.consent.run(person, approval, place))

    async def _undo(self, person: Person, place: Place, identity: str) -> Message:
        """In the thread of a delete."""
        return await self._submit(person, place, f"restore {(await self._operation(identity)).cluster}")

    async def _verify(self, person: Person, place: Place, identity: str) -> Message:
        """Beside a set."""
        return await self._submit(person, place, f"verify {(await self._operation(identity)).cluster} {identity}")

    async def _keep_longer(self, person: Person, _place: Place, identity: str) -> Message:
        """On the notice of a purge."""
        notice = await self._memory.retention.notice(identity)
        if notice is None or notice.cluster not in self._sites:
            raise NothingToExtend(None)
        settings = self._sites[notice.cluster].settings
        await self._access.require(person, settings, Role.OPERATOR)
        return kept_views.kept_longer(await self._memory.retention.extend(identity, person, settings.keep_volumes))

    async def _pin(self, person: Person, place: Place, identity: str) -> Message:
        """Beside a set in the list, which is the answer."""
        cluster = await self._cluster_of_set(person, identity)
        await self._memory.retention.pin(identity, person, place)
        return await self._kept(cluster)

    async def _unpin(self, person: Person, place: Place, identity: str) -> Message:
        cluster = await self._cluster_of_set(person, identity)
        await self._memory.retention.unpin(identity, person, place)
        return await self._kept(cluster)

    async def _kept(self, cluster: str) -> Message:
        return kept_views.kept(cluster, await self._memory.retention.of(cluster), self._clock.now())

    async def _cluster_of_set(self, person: Person, identity: str) -> str:
        """Of a set that this person may pin."""
        cluster = (await self._memory.retention.set_of(identity)).operation.cluster
        self._require_configured(cluster)
        await self._access.require(person, self._sites[cluster].settings, Role.OPERATOR)
        return cluster

    async def _operation(self, identity: str) -> Operation:
        operation = await self._memory.operations.get(identity)
        if operation is None:
            raise NotUnderstood("That button belongs to no operation this bot knows.")
        self._require_configured(operation.cluster)
        return operation

    def _require_configured(self, cluster: str) -> None:
        if cluster not in self._sites:
            raise NotUnderstood(f"{cluster} is not in this bot's configuration any more.")

    async def _submit(self, person: Person, place: Place, words: str) -> Message:
        """As if they had been typed."""
        command = parse(words, list(self._sites))
        assert isinstance(command, Change)
        return told(await self._gate.submit(Request(person, place, words), command))
