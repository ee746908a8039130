"""The one way from words to a running operation: rights, picture, plan, a second look in production, the record."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from bot.access import Access, Role
from bot.grammar import Change, Snapshot, parse
from bot.planning import Planner
from bot.settings import ClusterSettings
from bot.sites import Site
from lifecycle.approval import NEEDS_APPROVAL, Approval, ApprovalState, check_place, is_same
from lifecycle.decide import BACK, phases_of, start
from lifecycle.difference import difference
from lifecycle.errors import (
    ClusterError,
    NotAllowed,
    NotUnderstood,
    Refused,
)
from lifecycle.model import Action, Person, Place, Verb
from lifecycle.operation import Operation
from lifecycle.plain import from_plain, to_plain
from lifecycle.plan import Plan
from lifecycle.ports import Clock
from lifecycle.snapshots import Temperature
from storage.approvals import Approvals
from storage.database import StorageError
from storage.messages import Messages
from storage.operations import IdTaken, Operations
from storage.proposals import Proposal, Proposals

CARD_LASTS = timedelta(minutes=10)
"""How long a card may be answered; the plan on it is compared again anyhow."""


@dataclass(frozen=True)
class Request:
    """What somebody typed, and where."""

    person: Person
    place: Place
    text: str


@dataclass(frozen=True)
class Begun:
    """The operation is recorded and runs."""

    operation: Operation


@dataclass(frozen=True)
class Asked:
    """Nothing happened yet: a card with this plan waits for the person's yes."""

    proposal: Proposal
    plan: Plan
    changed: bool = False
    """The cluster is no longer as it was when the person was asked first."""


@dataclass(frozen=True)
class Requested:
    """Nothing happened yet: somebody else has to say yes."""

    approval: Approval


@dataclass(frozen=True)
class Approved:
    """A yes is recorded; more are needed."""

    approval: Approval


@dataclass(frozen=True)
class Renewed:
    """The cluster changed since it was asked for: what was said counts no more, and it was asked for anew."""

    before: Approval
    fresh: Approval
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """Nothing happened yet: a set can be taken hot or cold, and each has a card's yes of its own.

    ``downtime`` is how many seconds traffic is down for a cold one, from earlier runs.
    """

    hot: Asked
    cold: Asked
    downtime: int | None


Outcome = Begun | Asked | Requested | Approved | Renewed | Choice


class ApprovedNotBegun(Refused):
    """The last yes is recorded, and something keeps it from beginning."""

    code = "approved-not-begun"
    aftermath = "The yes counts. Nothing was changed in the cluster."

    def __init__(self, approval: Approval, trouble: Exception) -> None:
        why = str(trouble).rstrip(".")
        why = f"its cluster could not be read: {why}" if isinstance(trouble, ClusterError) else why
        super().__init__(
            f"{approval.id} is approved, but could not begin: {why}. "
            "*Run it* on its card tries again, until the approval expires."
        )


class Overtaken(Refused):
    """The cluster changed so that what was asked for is another verb now."""

    code = "approval-overtaken"

    def __init__(self, approval: Approval, verb: Verb) -> None:
        super().__init__(
            f"{approval.id} was to {approval.verb.words} {approval.cluster}; as the cluster is now, the same words "
            f"would {verb.words} it. It is void. `/tml {approval.command}` shows the plan as of now."
        )


class Starter(Protocol):
    """Whoever runs what was begun."""

    def begin(self, operation: Operation) -> None: ...


class Notifier(Protocol):
    """Whoever tells approvers that they are asked."""

    def tell(self, approval: Approval, entries: Iterable[str]) -> None: ...


class Gate:
    """Everything that changes a cluster passes here, whoever asks and however."""

    def __init__(
        self,
        *,
        sites: Mapping[str, Site],
        access: Access,
        operations: Operations,
        messages: Messages,
        proposals: Proposals,
        approvals: Approvals,
        planner: Planner,
        notices: Notifier,
        starter: Starter,
        clock: Clock,
        new_id: Callable[[str], str],
    ) -> None:
        self._sites = sites
        self._access = access
        self._operations = operations
        self._messages = messages
        self._proposals = proposals
        self._approvals = approvals
        self._planner = planner
        self._notices = notices
        self._starter = starter
        self._clock = clock
        self._new_id = new_id

    async def submit(self, request: Request, command: Change) -> Begun | Asked | Requested | Choice:
        """Begin what was typed, or ask back. Raises Refused and what the cluster port raises; then nothing changed."""
        site = self._sites[command.cluster]
        await self._access.require(request.person, site.settings, Role.OPERATOR)
        if isinstance(command, Snapshot) and command.temperature is None:
            hot = await self._planner.plan_of(replace(command, temperature=Temperature.HOT))
            if hot.goal.cutting and hot.goal.cutting.temperature is Temperature.HOT:
                return await self._choice(request, command, hot)
            command = replace(command, temperature=Temperature.COLD)
        made = await self._planner.plan_of(command)
        if made.verb in NEEDS_APPROVAL:
            return Requested(await self._request(request, command, made))
        if site.settings.is_production or made.doubtful or made.goal.absent:
            return Asked(await self._propose(request, command, made), made)

        async def begin(operation: Operation) -> Operation:
            return await self._operations.begin(operation, made)

        return await self._begin(request, command, made, begin)

    async def _choice(self, request: Request, command: Snapshot, hot: Plan) -> Choice:
        """Of a cluster that runs."""
        cold = await self._planner.plan_of(replace(command, temperature=Temperature.COLD))
        asked = [await self._propose(_worded(request, command, made), command, made) for made in (hot, cold)]
        down, up = (_keys(cold, action) for action in (Action.SCALE_TO_ZERO, Action.SCALE_UP))
        took = [
            await self._operations.usual_seconds(command.cluster, verb, keys)
            for verb, keys in ((Verb.STOP, down), (Verb.START, up))
        ]
        known = [seconds for seconds in took if seconds is not None]
        downtime = sum(known) if len(known) == len(took) else None
        return Choice(Asked(asked[0], hot), Asked(asked[1], cold), downtime)

    async def confirm(self, person: Person, identity: str) -> Begun | Asked | Requested:
        """The yes to a card. A cluster that changed meanwhile voids it: the person is asked again with the new plan,

        or somebody else is, where that takes a second person.
        """
        proposal = await self._proposals.open_to(identity, person)
        command = parse(proposal.options["text"], list(self._sites))
        assert isinstance(command, Change)
        await self._access.require(person, self._sites[command.cluster].settings, Role.OPERATOR)
        made = await self._planner.plan_of(command)
        request = Request(person, proposal.place, proposal.options["text"])
        if made.digest != proposal.digest:
            await self._proposals.void(identity, person)
            if made.verb in NEEDS_APPROVAL:
                return Requested(await self._request(request, command, made))
            return Asked(await self._propose(request, command, made), made, changed=True)

        async def accept(operation: Operation) -> Operation:
            return await self._proposals.accept(identity, person, operation, made)

        return await self._begin(request, command, made, accept)

    async def dismiss(self, person: Person, identity: str) -> None:
        """The no to a card."""
        await self._proposals.dismiss(identity, person)

    async def look_at(self, person: Person, identity: str, pressed: Place) -> Approval:
        """The approval, for one who may decide on it and presses its card; what the modal shows."""
        approval = await self._approvals.get(identity)
        await self._check_card(approval, pressed)
        await self._require_approver(person, approval)
        return await self._approvals.open_to(identity, person, eligible=True)

    async def approve(self, person: Person, identity: str, typed: str, reason: str = "") -> Approved | Begun | Renewed:
        """A yes, with the cluster's name as it was typed; the last one that is needed lets it begin.

        Raises ApprovedNotBegun where a busy cluster, or a Kubernetes that does not answer, keeps it from beginning:
        it stays approved, and `run` tries again.
        """
        await self._require_approver(person, await self._approvals.get(identity))
        approval = await self._approvals.approve(identity, person, typed, eligible=True, reason=reason)
        if approval.state is not ApprovalState.APPROVED:
            return Approved(approval)
        try:
            return await self._execute(approval)
        except Overtaken:
            raise
        except (Refused, ClusterError, StorageError) as trouble:
            raise ApprovedNotBegun(approval, trouble) from trouble

    async def deny(self, person: Person, identity: str, reason: str = "", pressed: Place | None = None) -> Approval:
        """One no ends it."""
        approval = await self._approvals.get(identity)
        if pressed:
            await self._check_card(approval, pressed)
        await self._require_approver(person, approval)
        return await self._approvals.deny(identity, person, eligible=True, reason=reason)

    async def withdraw(self, person: Person, identity: str, pressed: Place | None = None) -> Approval:
        """The requester takes it back."""
        await self._access.admit(person)
        if pressed:
            await self._check_card(await self._approvals.get(identity), pressed)
        return await self._approvals.withdraw(identity, person)

    async def run(self, person: Person, identity: str, pressed: Place) -> Begun | Renewed:
        """Begin what was approved and could not begin at once; by any operator of the cluster."""
        approval = await self._approvals.get(identity)
        await self._check_card(approval, pressed)
        await self._access.require(person, self._settings_of(approval), Role.OPERATOR)
        return await self._execute(approval)

    async def _require_approver(self, person: Person, approval: Approval) -> None:
        """That the requester is none is the approval's own rule, with a text of its own."""
        if not is_same(person, approval.requester):
            await self._access.require_approver(person, self._settings_of(approval), approval.verb)

    async def _require_requester(self, approval: Approval, settings: ClusterSettings) -> None:
        """Whoever asked has to be an operator to the end; said to somebody else, so it names who is meant."""
        try:
            await self._access.require(approval.requester, settings, Role.OPERATOR)
        except NotAllowed as refusal:
            who = f"{approval.requester.user}, who asked for it, would have to be let in to begin it"
            raise type(refusal)(f"{who}. {refusal}") from refusal

    async def _check_card(self, approval: Approval, pressed: Place) -> None:
        card = await self._messages.live(approval.id)
        check_place(approval, pressed, card.ts if card else None)

    def _settings_of(self, approval: Approval) -> ClusterSettings:
        site = self._sites.get(approval.cluster)
        if site is None:
            raise NotUnderstood(f"{approval.cluster} is not in this bot's configuration any more.")
        return site.settings

    async def _execute(self, approval: Approval) -> Begun | Renewed:
        """Look once more, at everything, and begin; a cluster that changed voids what was said."""
        settings = self._settings_of(approval)
        await self._require_requester(approval, settings)
        entitled = await self._access.still_approvers(approval.approvers, settings, approval.verb)
        command = parse(approval.command, list(self._sites))
        assert isinstance(command, Change)
        made = await self._planner.plan_of(command)
        request = Request(approval.requester, approval.place, approval.command)
        if made.verb is not approval.verb:
            raise Overtaken(await self._approvals.void(approval.id, f"it would {made.verb.words} now"), made.verb)
        if made.digest != approval.digest:
            return await self._renew(approval, request, command, made)

        async def execute(operation: Operation) -> Operation:
            return await self._approvals.execute(approval.id, operation, made, entitled=entitled)

        return await self._begin(request, command, made, execute)

    async def _renew(self, approval: Approval, request: Request, command: Change, made: Plan) -> Renewed:
        changes = difference(from_plain(Plan, approval.plan), made)
        why = f"the cluster changed: {'; '.join(changes)}"
        while True:
            with suppress(IdTaken):
                fresh = await self._approvals.renew(approval.id, why, self._approval(request, command, made))
                self._notices.tell(fresh, fresh.asked)
                return Renewed(approval, fresh, changes)

    async def _request(self, request: Request, command: Change, made: Plan) -> Approval:
        while True:
            with suppress(IdTaken):
                asked = await self._approvals.ask(self._approval(request, command, made))
                self._notices.tell(asked, asked.asked)
                return asked

    def _approval(self, request: Request, command: Change, made: Plan) -> Approval:
        site = self._sites[command.cluster]
        return Approval(
            id=self._new_id("ap"),
            verb=made.verb,
            cluster=command.cluster,
            target=site.cluster.target,
            requester=request.person,
            place=Place(request.place.team, site.settings.channel),
            reason=command.reason,
            command=request.text,
            digest=made.digest,
            plan=to_plain(made),
            terms=site.settings.approval[made.verb],
            made_at=self._clock.now(),
        )

    async def _propose(self, request: Request, command: Change, made: Plan) -> Proposal:
        while True:
            proposal = self._proposal(request, command, made)
            with suppress(IdTaken):
                await self._proposals.make(proposal)
                return proposal

    def _proposal(self, request: Request, command: Change, made: Plan) -> Proposal:
        now = self._clock.now()
        return Proposal(
            id=self._new_id("pr"),
            verb=made.verb,
            cluster=command.cluster,
            options={"text": request.text},
            digest=made.digest,
            requester=request.person,
            place=request.place,
            reason=command.reason,
            made_at=now,
            expires_at=now + CARD_LASTS,
        )

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
            expected=await self._operations.usual_seconds(command.cluster, made.verb, made.step_keys),
            limits=limits,
        )

    async def _begin(
        self, request: Request, command: Change, made: Plan, record: Callable[[Operation], Awaitable[Operation]]
    ) -> Begun:
        """Record it under an id that is free, then let it run."""
        while True:
            try:
                operation = await record(await self._operation(request, command, made))
            except IdTaken:
                continue
            self._starter.begin(operation)
            return Begun(operation)


def _worded(request: Request, command: Snapshot, made: Plan) -> Request:
    """What stands for the button: the words with which it could have been typed."""
    assert made.goal.cutting
    because = f" because {command.reason}" if command.reason else ""
    return replace(request, text=f"snapshot {command.cluster} {made.goal.cutting.temperature}{because}")


def _keys(made: Plan, action: Action) -> frozenset[str]:
    return frozenset(step.key for wave in made.waves for step in wave if step.action is action)
