"""The one way from words to a running operation: rights, picture, plan, a second look in production, the record."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from bot.access import Access, Role
from bot.grammar import PlanOf, Restart, Start, Stop, parse
from bot.settings import ClusterSettings
from lifecycle.decide import PHASES, restart, start, stop
from lifecycle.decide.preflight import absent
from lifecycle.errors import AlreadyRunning, AlreadyStopped, ClusterBusy, MissingRights, Retryable
from lifecycle.model import Discovery, Person, Place, Verb
from lifecycle.operation import Goal, Operation, State
from lifecycle.plan import Plan, plan
from lifecycle.ports import Clock, Cluster
from storage.operations import IdTaken, Operations
from storage.proposals import Proposal, Proposals

CARD_LASTS = timedelta(minutes=10)
"""How long a card may be answered; the plan on it is compared again anyhow."""

LOOKED_WITHIN = 15.0
"""Seconds after which a person is told that Kubernetes does not answer."""

Change = Stop | Start | Restart


@dataclass(frozen=True)
class Site:
    """A configured cluster and the door to it."""

    settings: ClusterSettings
    cluster: Cluster

    @property
    def probe_url(self) -> str | None:
        return self.settings.probe_url


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


class Starter(Protocol):
    """Whoever runs what was begun."""

    def begin(self, operation: Operation) -> None: ...


class Gate:
    """Everything that changes a cluster passes here, whoever asks and however."""

    def __init__(
        self,
        *,
        sites: Mapping[str, Site],
        access: Access,
        operations: Operations,
        proposals: Proposals,
        starter: Starter,
        clock: Clock,
        new_id: Callable[[str], str],
    ) -> None:
        self._sites = sites
        self._access = access
        self._operations = operations
        self._proposals = proposals
        self._starter = starter
        self._clock = clock
        self._new_id = new_id

    async def submit(self, request: Request, command: Change) -> Begun | Asked:
        """Begin what was typed, or ask back. Raises Refused and what the cluster port raises; then nothing changed."""
        site = self._sites[command.cluster]
        await self._access.require(request.person, site.settings, Role.OPERATOR)
        made = await self.plan_of(command)
        if site.settings.is_production or made.doubtful or made.goal.absent:
            return Asked(await self._propose(request, command, made), made)

        async def begin(operation: Operation) -> Operation:
            return await self._operations.begin(operation, made)

        return await self._begin(request, command, made, begin)

    async def confirm(self, person: Person, identity: str) -> Begun | Asked:
        """The yes to a card. A cluster that changed meanwhile voids it: the person is asked again with the new plan."""
        proposal = await self._proposals.open_to(identity, person)
        command = parse(proposal.options["text"], list(self._sites))
        assert isinstance(command, Stop | Start | Restart)
        await self._access.require(person, self._sites[command.cluster].settings, Role.OPERATOR)
        made = await self.plan_of(command)
        request = Request(person, proposal.place, proposal.options["text"])
        if made.digest != proposal.digest:
            await self._proposals.void(identity, person)
            return Asked(await self._propose(request, command, made), made, changed=True)

        async def accept(operation: Operation) -> Operation:
            return await self._proposals.accept(identity, person, operation, made)

        return await self._begin(request, command, made, accept)

    async def dismiss(self, person: Person, identity: str) -> None:
        """The no to a card."""
        await self._proposals.dismiss(identity, person)

    async def plan_of(self, command: Change | PlanOf) -> Plan:
        """What the command would do to the cluster as it is now; changes nothing."""
        change = as_change(command)
        if running := await self._operations.running_on(change.cluster):
            raise ClusterBusy(change.cluster, running.id)
        cluster = self._sites[change.cluster].cluster
        try:
            async with asyncio.timeout(LOOKED_WITHIN):
                discovery = await cluster.discover()
                missing = await cluster.missing_rights()
        except TimeoutError:
            raise Retryable(f"no answer within {LOOKED_WITHIN:.0f} s") from None
        last = await self._operations.latest(change.cluster)
        found = replace(discovery, absent=absent(discovery, last.goal.topology if last else ()))
        goal = await self._goal(change, found, last)
        if missing:
            raise MissingRights(
                f"Kubernetes does not let the bot do this in {cluster.target.namespace}. Missing: "
                f"{', '.join(str(right) for right in missing)}. Grant it (see deploy/rbac), then try again."
            )
        return plan(goal, found)

    async def _goal(self, change: Change, discovery: Discovery, last: Operation | None) -> Goal:
        """``last`` is the cluster's newest operation: it has the credit only if it ended where the cluster is."""
        try:
            match change:
                case Stop():
                    return stop.goal(discovery)
                case Start():
                    remembered = await self._operations.remembered_counts(change.cluster)
                    return start.goal(discovery, remembered, change.counts)
                case Restart():
                    return restart.goal(discovery, change.component, downtime=change.downtime)
        except AlreadyStopped as refusal:
            raise AlreadyStopped(f"{change.cluster} is {refusal}", ended_so(last, Verb.STOP)) from None
        except AlreadyRunning as refusal:
            raise AlreadyRunning(f"{change.cluster} is {refusal}", ended_so(last, Verb.START)) from None

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
        phase = PHASES[made.verb][0].name
        limit = site.settings.deadlines.get(phase)
        return Operation(
            id=identity,
            verb=made.verb,
            cluster=command.cluster,
            target=site.cluster.target,
            requester=request.person,
            place=Place(request.place.team, site.settings.channel),
            goal=made.goal.marked(identity),
            phase=phase,
            begun_at=self._clock.now(),
            reason=command.reason,
            command=request.text,
            expected=await self._operations.usual_seconds(command.cluster, made.verb, made.step_keys),
            limit=int(limit.total_seconds()) if limit else None,
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


def ended_so(last: Operation | None, verb: Verb) -> Operation | None:
    """The operation if it is why the cluster is there; None when somebody did it without the bot."""
    return last if last and last.verb is verb and last.state is State.DONE else None


def as_change(command: Change | PlanOf) -> Change:
    """The change that a `plan` is about."""
    if not isinstance(command, PlanOf):
        return command
    match command.verb:
        case Verb.STOP:
            return Stop(command.cluster)
        case Verb.START:
            return Start(command.cluster, counts=command.options.counts)
        case Verb.RESTART:
            return Restart(command.cluster, command.component, command.options.downtime)
