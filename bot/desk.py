"""Answers what people type and press. Every answer is private; what happens is told in the cluster's channel."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from bot.access import Access
from bot.buttons import Button, Buttons
from bot.commands import (
    Approvals,
    Approve,
    Cancel,
    Change,
    Command,
    Deny,
    Help,
    History,
    Hold,
    List,
    PlanOf,
    Release,
    Snapshots,
    Status,
    Whoami,
    Withdraw,
)
from bot.forms import Dialog, Form, Forms
from bot.gate import Gate
from bot.grammar import parse
from bot.outcome import Interrupted, Request
from bot.overview import Overview, Permalink
from bot.reception import Reception, TooMany
from bot.sites import Site
from bot.views import answers
from bot.views import approval as approval_views
from bot.views import hold as hold_views
from bot.views.blocks import Message
from bot.views.outcome import told
from lifecycle.errors import ClusterBusy, ClusterError, Refused
from lifecycle.model import Person, Place
from lifecycle.ports import Clock
from storage.audit import Entry
from storage.database import StorageError
from storage.memory import Memory
from storage.proposals import AlreadyDecided, NoSuchProposal, ProposalExpired

log = structlog.get_logger(__name__)

ANSWERED = (AlreadyDecided, NoSuchProposal, ProposalExpired)
"""Refusals after which a card's buttons can do nothing any more."""


@dataclass(frozen=True)
class Answer:
    """The answer to a press; ``settles``: it takes the place of the message with the button."""

    message: Message
    settles: bool = False


class Desk:
    """Decodes, asks the gate or the records, and answers."""

    def __init__(
        self,
        sites: Mapping[str, Site],
        gate: Gate,
        access: Access,
        memory: Memory,
        permalink: Permalink,
        clock: Clock,
    ) -> None:
        self._sites = sites
        self._gate = gate
        self._access = access
        self._audit = memory.audit
        self.reception = Reception()
        self._overview = Overview(sites, access, memory, permalink, clock)
        self.buttons: Mapping[str, Button] = Buttons(sites, gate, access, memory, self._overview, clock).by_action
        self.forms: Mapping[str, Form] = Forms(sites, gate, access, memory, clock).by_name
        """Both by the name that Slack sends along."""

    async def answer(self, request: Request) -> Message:
        """The private answer to a slash command."""
        return (await self._answered(request, partial(self._obey, request))).message

    async def press(self, button: Button, person: Person, place: Place, value: str) -> Answer:
        """The private answer to a click; ``value`` is the id of what the button is about."""
        request = Request(person, place, f"{button.words} {value}")
        answer = await self._answered(request, partial(button.press, person, place, value))
        return Answer(answer.message, settles=answer.settles and button.settles)

    async def open(self, form: Form, person: Person, place: Place, value: str) -> Dialog:
        """The modal for a click; ``value`` is the id of what it is about. Raises Refused; the refusal is recorded."""
        async with self._refusals_recorded(Request(person, place, f"{form.words} {value}")):
            return await form.opens(person, place, value)

    async def submit(self, form: Form, person: Person, place: Place, value: str, typed: Mapping[str, str]) -> Message:
        """The modal's submission. Raises Refused; the refusal is recorded."""
        words = " ".join([form.words, value, *filter(None, typed.values())])
        async with self._refusals_recorded(Request(person, place, words)):
            return await form.submits(person, place, value, typed)

    @asynccontextmanager
    async def _refusals_recorded(self, request: Request) -> AsyncIterator[None]:
        try:
            with self.reception.let_in():
                yield
        except Refused as refusal:
            await self.record_refusal(request, refusal)
            raise

    async def _answered(self, request: Request, work: Callable[[], Awaitable[Message]]) -> Answer:
        """Refusals and known troubles as answers, which leave a card that is still good; the rest goes on as it is."""
        try:
            with self.reception.let_in():
                return Answer(await work(), settles=True)
        except Refused as refusal:
            await self.record_refusal(request, refusal)
            link = await self._overview.way_to(refusal.operation) if isinstance(refusal, ClusterBusy) else None
            return Answer(answers.refused(refusal, link), settles=isinstance(refusal, ANSWERED))
        except ClusterError as error:
            log.warning("cluster could not be read", text=request.text, reason=str(error))
            return Answer(answers.unreachable(error))
        except StorageError:
            log.exception("a command could not be recorded", person=str(request.person))
            return Answer(answers.unrecorded())

    async def record_refusal(self, request: Request, refusal: Refused) -> None:
        """Whoever catches a refusal has it recorded; not what was turned away to have less to do."""
        if isinstance(refusal, TooMany):
            return
        data = {"text": request.text[:1000], "code": refusal.code, "why": str(refusal)}
        try:
            await self._audit.record(Entry("refused", request.person, None, None, request.place, data))
        except StorageError:
            log.exception("a refusal could not be recorded", person=str(request.person))

    async def _obey(self, request: Request) -> Message:
        command = parse(request.text, list(self._sites))
        if not isinstance(command, Help):
            await self._access.admit(request.person)
        match command:
            case Approve() | Deny() | Withdraw():
                await self._overview.require_sight(request.person, command.approval)
                return await self._decided(request.person, command)
            case Cancel():
                return told(Interrupted(await self._gate.cancelling.cancel(request, command)))
            case Hold():
                return await self._overview.held(await self._gate.holding.hold(request, command))
            case Release():
                return hold_views.released(await self._gate.holding.release(request, command))
            case PlanOf(change):
                await self._overview.require_viewer(request.person, command.cluster)
                shown = answers.plan(command.cluster, await self._gate.plan_of(change))
                return await self._overview.with_hold(command.cluster, shown)
        if isinstance(command, Change):
            return told(await self._gate.submit(request, command))
        return await self._shown(request.person, command)

    async def _decided(self, person: Person, command: Approve | Deny | Withdraw) -> Message:
        match command:
            case Approve(approval, name):
                return told(await self._gate.consent.approve(person, approval, name))
            case Deny(approval, reason):
                return approval_views.ended(await self._gate.consent.deny(person, approval, reason))
            case Withdraw(approval):
                return approval_views.ended(await self._gate.consent.withdraw(person, approval))

    async def _shown(self, person: Person, command: Command) -> Message:
        match command:
            case List():
                return await self._overview.clusters(person)
            case Status(cluster):
                return await self._overview.status(person, cluster)
            case History(cluster):
                return await self._overview.history(person, cluster)
            case Approvals():
                return await self._overview.open_approvals(person)
            case Snapshots(cluster):
                return await self._overview.sets(person, cluster)
            case Whoami():
                return await self._overview.whoami(person)
            case _:
                assert isinstance(command, Help)
                return answers.usages()
