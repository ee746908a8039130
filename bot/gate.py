"""The one way from words to a running operation: rights, picture, plan, a second look in production, the record."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from bot.access import Access, Role
from bot.cancelling import Cancelling, Slots, is_opposite
from bot.commands import Change, Snapshot, Start
from bot.consent import Consent, Notifier
from bot.grammar import parse
from bot.holding import Holding
from bot.launcher import Launcher, under_free_id
from bot.outcome import Asked, Begun, CancelledNotBegun, Choice, Opposed, Request, Requested
from bot.sites import Site
from lifecycle.approval import NEEDS_APPROVAL
from lifecycle.errors import ClusterError, Refused
from lifecycle.hold import ClusterHeld
from lifecycle.model import Action, Person, Verb
from lifecycle.operation import Operation
from lifecycle.plan import Plan
from lifecycle.ports import Clock
from lifecycle.snapshots import Temperature
from storage.database import StorageError
from storage.memory import Memory
from storage.proposals import Proposal

CARD_LASTS = timedelta(minutes=10)
"""How long a card may be answered; the plan on it is compared again anyhow."""


class Gate:
    """Everything that changes a cluster passes here, whoever asks and however."""

    def __init__(
        self,
        sites: Mapping[str, Site],
        access: Access,
        memory: Memory,
        *,
        slots: Slots,
        launcher: Launcher,
        notices: Notifier,
        clock: Clock,
        new_id: Callable[[str], str],
    ) -> None:
        self._sites = sites
        self._access = access
        self._memory = memory
        self._clock = clock
        self._new_id = new_id
        self._slots = slots
        self._launcher = launcher
        self.holding = Holding(sites, access, memory.holds, new_id)
        self.cancelling = Cancelling(sites, access, memory.operations, slots)
        self.consent = Consent(
            sites=sites,
            access=access,
            approvals=memory.approvals,
            messages=memory.messages,
            launcher=launcher,
            notices=notices,
            clock=clock,
            new_id=new_id,
        )

    async def plan_of(self, change: Change) -> Plan:
        """What the command would do to the cluster as it is now, held or not; changes nothing."""
        return await self._launcher.plan_of(change)

    async def submit(self, request: Request, command: Change) -> Begun | Asked | Requested | Choice | Opposed:
        """Begin what was typed, or ask back. Raises Refused and what the cluster port raises; then nothing changed."""
        await self._access.require(request.person, self._sites[command.cluster].settings, Role.OPERATOR)
        await self._refuse_held(command.cluster)
        running = await self._memory.operations.running_on(command.cluster)
        if running and is_opposite(running, command):
            return Opposed(running, await self._propose_instead(request, command, running))
        return await self._submit(request, command)

    async def _submit(self, request: Request, command: Change) -> Begun | Asked | Requested | Choice:
        if isinstance(command, Snapshot) and command.temperature is None:
            hot = await self.plan_of(replace(command, temperature=Temperature.HOT))
            if hot.goal.cutting and hot.goal.cutting.temperature is Temperature.HOT:
                return await self._choice(request, command, hot)
            command = replace(command, temperature=Temperature.COLD)
        made = await self.plan_of(command)
        if made.verb in NEEDS_APPROVAL:
            return await self.consent.ask(request, command, made)
        if self._asks_back(command, made):
            return Asked(await self._propose(request, command, made), made)

        async def begin(operation: Operation) -> Operation:
            return await self._memory.operations.begin(operation, made)

        return await self._launcher.begin(request, command, made, begin)

    async def _refuse_held(self, cluster: str) -> None:
        if hold := await self._memory.holds.on(cluster):
            raise ClusterHeld(hold)

    def _asks_back(self, command: Change, made: Plan) -> bool:
        """Whether the one who typed has to look at the plan first."""
        is_production = self._sites[command.cluster].settings.is_production
        return bool(is_production or made.doubtful or made.goal.absent)

    async def instead(self, person: Person, identity: str) -> Begun | Asked | Requested | Choice:
        """Cancel what runs, see it end, and go on with what was asked for in its place."""
        proposals = self._memory.proposals
        proposal, command = await self._open(identity, person)
        await self._refuse_held(command.cluster)
        reason, overruled = f"to {proposal.verb.words} it instead", proposal.options["cancels"]
        await self._slots.overrule(overruled, person, proposal.place, reason)
        await proposals.void(identity, person)
        request = Request(person, proposal.place, proposal.options["text"])
        try:
            return await self._submit(request, command)
        except (Refused, ClusterError, StorageError) as trouble:
            raise CancelledNotBegun(overruled, request.text, trouble) from trouble

    async def _open(self, identity: str, person: Person) -> tuple[Proposal, Change]:
        """What waits for this person's answer, if the person may still ask for it."""
        proposal = await self._memory.proposals.open_to(identity, person)
        command = parse(proposal.options["text"], list(self._sites))
        assert isinstance(command, Change)
        await self._access.require(person, self._sites[command.cluster].settings, Role.OPERATOR)
        return proposal, command

    async def confirm(self, person: Person, identity: str) -> Begun | Asked | Requested:
        """The yes to a card. A cluster that changed meanwhile voids it: the person is asked again with the new plan,

        or somebody else is, where that takes a second person.
        """
        proposals = self._memory.proposals
        proposal, command = await self._open(identity, person)
        made = await self.plan_of(command)
        request = Request(person, proposal.place, proposal.options["text"])
        if made.digest != proposal.digest:
            await proposals.void(identity, person)
            if made.verb in NEEDS_APPROVAL:
                return await self.consent.ask(request, command, made)
            return Asked(await self._propose(request, command, made), made, changed=True)

        async def accept(operation: Operation) -> Operation:
            return await proposals.accept(identity, person, operation, made)

        return await self._launcher.begin(request, command, made, accept)

    async def dismiss(self, person: Person, identity: str) -> None:
        """The no to a card."""
        await self._memory.proposals.dismiss(identity, person)

    async def _choice(self, request: Request, command: Snapshot, hot: Plan) -> Choice:
        """Of a cluster that runs."""
        cold = await self.plan_of(replace(command, temperature=Temperature.COLD))
        asked = [await self._propose(_worded(request, command, made), command, made) for made in (hot, cold)]
        down, up = (_keys(cold, action) for action in (Action.SCALE_TO_ZERO, Action.SCALE_UP))
        took = [
            await self._memory.operations.usual_seconds(command.cluster, verb, keys)
            for verb, keys in ((Verb.STOP, down), (Verb.START, up))
        ]
        known = [seconds for seconds in took if seconds is not None]
        downtime = sum(known) if len(known) == len(took) else None
        return Choice(Asked(asked[0], hot), Asked(asked[1], cold), downtime)

    async def _propose(self, request: Request, command: Change, made: Plan) -> Proposal:
        return await self._offered(request, command, made.verb, made.digest, {})

    async def _propose_instead(self, request: Request, command: Change, running: Operation) -> Proposal:
        """There is no plan yet: what the cluster will be like is only known when what runs has ended."""
        verb = Verb.START if isinstance(command, Start) else Verb.STOP
        return await self._offered(request, command, verb, "", {"cancels": running.id})

    async def _offered(
        self, request: Request, command: Change, verb: Verb, digest: str, options: Mapping[str, str]
    ) -> Proposal:
        async def propose() -> Proposal:
            proposal = self._proposal(request, command, verb, digest, options)
            await self._memory.proposals.make(proposal)
            return proposal

        return await under_free_id(propose)

    def _proposal(
        self, request: Request, command: Change, verb: Verb, digest: str, options: Mapping[str, str]
    ) -> Proposal:
        now = self._clock.now()
        return Proposal(
            id=self._new_id("pr"),
            verb=verb,
            cluster=command.cluster,
            options={"text": request.text, **options},
            digest=digest,
            requester=request.person,
            place=request.place,
            reason=command.reason,
            made_at=now,
            expires_at=now + CARD_LASTS,
        )


def _worded(request: Request, command: Snapshot, made: Plan) -> Request:
    """What stands for the button: the words with which it could have been typed."""
    assert made.goal.cutting
    because = f" because {command.reason}" if command.reason else ""
    return replace(request, text=f"snapshot {command.cluster} {made.goal.cutting.temperature}{because}")


def _keys(made: Plan, action: Action) -> frozenset[str]:
    return frozenset(step.key for wave in made.waves for step in wave if step.action is action)
