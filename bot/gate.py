"""The one way from words to a running operation: rights, picture, plan, a second look in production, the record."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from bot.access import Access, Role
from bot.grammar import Change, Delete, PlanOf, Purge, Restart, Restore, Snapshot, Start, Stop, Verify, parse
from bot.keeping import Keeper
from bot.removals import Left, left_of, lost, missing_in_words, plan_of_start
from bot.settings import ClusterSettings, StopMode
from lifecycle import configuration
from lifecycle.approval import Approval, ApprovalState, check_place, is_same
from lifecycle.decide import BACK, delete, in_place, phases_of, remove, restart, restore, snapshot, start, stop, verify
from lifecycle.decide.preflight import absent
from lifecycle.difference import difference
from lifecycle.errors import (
    AlreadyRunning,
    AlreadyStopped,
    ClusterBusy,
    ClusterError,
    Deleted,
    HalfDeleted,
    HalfRemoved,
    HalfRestored,
    MissingRights,
    NotAllowed,
    NothingFound,
    NothingToRestore,
    NothingToVerify,
    NotUnderstood,
    Refused,
    Removed,
    Retryable,
    Unsafe,
)
from lifecycle.model import Action, Component, Discovery, Person, Place, Verb
from lifecycle.operation import Goal, Operation, State
from lifecycle.plain import from_plain, to_plain
from lifecycle.plan import Plan, plan, plan_of_return
from lifecycle.ports import Clock, Cluster
from lifecycle.snapshots import Ending, Temperature, ending
from lifecycle.verification import doubt
from storage.approvals import Approvals
from storage.database import StorageError
from storage.messages import Messages
from storage.operations import IdTaken, Operations
from storage.proposals import Proposal, Proposals
from storage.retention import Retention
from storage.snapshots import Kept, SnapshotSets

CARD_LASTS = timedelta(minutes=10)
"""How long a card may be answered; the plan on it is compared again anyhow."""

LOOKED_WITHIN = 15.0
"""Seconds after which a person is told that Kubernetes does not answer."""


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
NEEDS_APPROVAL = frozenset({Verb.DELETE, Verb.RESTORE_IN_PLACE, Verb.PURGE})
"""Whatever the configuration says: what takes data out of use, or destroys them, needs a second person."""


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
        sets: SnapshotSets,
        retention: Retention,
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
        self._sets = sets
        self._retention = retention
        self._notices = notices
        self._starter = starter
        self._clock = clock
        self._new_id = new_id

    async def submit(self, request: Request, command: Change) -> Begun | Asked | Requested | Choice:
        """Begin what was typed, or ask back. Raises Refused and what the cluster port raises; then nothing changed."""
        site = self._sites[command.cluster]
        await self._access.require(request.person, site.settings, Role.OPERATOR)
        if isinstance(command, Snapshot) and command.temperature is None:
            hot = await self.plan_of(replace(command, temperature=Temperature.HOT))
            if hot.goal.cutting and hot.goal.cutting.temperature is Temperature.HOT:
                return await self._choice(request, command, hot)
            command = replace(command, temperature=Temperature.COLD)
        made = await self.plan_of(command)
        if made.verb in NEEDS_APPROVAL:
            return Requested(await self._request(request, command, made))
        if site.settings.is_production or made.doubtful or made.goal.absent:
            return Asked(await self._propose(request, command, made), made)

        async def begin(operation: Operation) -> Operation:
            return await self._operations.begin(operation, made)

        return await self._begin(request, command, made, begin)

    async def _choice(self, request: Request, command: Snapshot, hot: Plan) -> Choice:
        """Of a cluster that runs."""
        cold = await self.plan_of(replace(command, temperature=Temperature.COLD))
        asked = [await self._propose(_worded(request, command, made), command, made) for made in (hot, cold)]
        down, up = (_keys(cold, action) for action in (Action.SCALE_TO_ZERO, Action.SCALE_UP))
        took = [
            await self._operations.usual_seconds(command.cluster, verb, keys)
            for verb, keys in ((Verb.STOP, down), (Verb.START, up))
        ]
        known = [seconds for seconds in took if seconds is not None]
        downtime = sum(known) if len(known) == len(took) else None
        return Choice(Asked(asked[0], hot), Asked(asked[1], cold), downtime)

    async def confirm(self, person: Person, identity: str) -> Begun | Asked:
        """The yes to a card. A cluster that changed meanwhile voids it: the person is asked again with the new plan."""
        proposal = await self._proposals.open_to(identity, person)
        command = parse(proposal.options["text"], list(self._sites))
        assert isinstance(command, Change)
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
        made = await self.plan_of(command)
        request = Request(approval.requester, approval.place, approval.command)
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

    async def plan_of(self, command: Change | PlanOf) -> Plan:
        """What the command would do to the cluster as it is now; changes nothing."""
        change = command.change if isinstance(command, PlanOf) else command
        if running := await self._operations.running_on(change.cluster):
            raise ClusterBusy(change.cluster, running.id)
        try:
            async with asyncio.timeout(LOOKED_WITHIN):
                match change:
                    case Restore():
                        return await self._plan_of_return(change)
                    case Verify():
                        return await self._plan_of_verification(change)
                    case Purge():
                        return await self._plan_of_purge(change)
                    case _:
                        return await self._plan(change)
        except TimeoutError:
            raise Retryable(f"no answer within {LOOKED_WITHIN:.0f} s") from None

    async def _plan(self, change: Stop | Start | Restart | Delete | Snapshot) -> Plan:
        """Of a cluster that can be discovered."""
        cluster = self._sites[change.cluster].cluster
        left = None
        if isinstance(change, Start):
            left = await self._left_for(change)
            if left and left.is_written_down:
                return await self._plan_of_start(change, left)
        discovery = await self._discovered(change.cluster, left)
        last = await self._operations.latest_change(change.cluster)
        gone = (*absent(discovery, last.goal.topology if last else ()), *(missing_in_words(left) if left else ()))
        found = replace(discovery, absent=gone)
        removes = isinstance(change, Stop) and self._removes(change)
        if removes or isinstance(change, Start | Delete | Snapshot):
            await self._refuse_half_restored(change, discovery)
        if isinstance(change, Delete) or (isinstance(change, Stop) and removes):
            made = self._planned(await self._goal_of_removal(change, found, last), found, last)
            return replace(made, warnings=(*made.warnings, *await self._doubts(change)))
        if isinstance(change, Start):
            await self._refuse_half_deleted(change, discovery)
        if isinstance(change, Restart):
            with suppress(ClusterError):  # what cannot be looked at keeps no restart away
                await self._refuse_half_removed(change.cluster)
        if isinstance(change, Snapshot):
            goal = await self._set_goal(change, found, last)
            return self._planned(goal, found, last)
        goal = await self._goal(change, found, last)
        await self._require_rights(cluster, goal.verb)
        if isinstance(change, Stop) and self._takes_set(change):
            await self._require_rights(cluster, Verb.SNAPSHOT)
            goal = snapshot.on_the_way(goal, found, await cluster.inventory(found), self._unsaved(change))
        return self._planned(goal, found, last)

    def _planned(self, goal: Goal, found: Discovery, last: Operation | None) -> Plan:
        """With what has to be known at the end to say whether the API configuration is there."""
        doubted = configuration.doubted(last, found.observed.claims)
        return plan(replace(goal, mode=found.mode, doubted=doubted), found)

    async def _goal_of_removal(self, change: Stop | Delete, found: Discovery, last: Operation | None) -> Goal:
        """Of a delete, or a stop that removes: what it concerns cannot be read without the rights to it."""
        cluster = self._sites[change.cluster].cluster
        await self._require_rights(cluster, Verb.DELETE if isinstance(change, Delete) else Verb.REMOVE)
        await self._refuse_half_deleted(change, found)
        await self._refuse_half_removed(change.cluster)
        keeps = self._keeps_services(change)
        if isinstance(change, Delete):
            inventory = replace(await cluster.inventory(found), streams=await cluster.log_streams(found))
            goal = delete.goal(found, inventory, keeps_services=keeps)
            goal = snapshot.as_far_as_possible(goal, found, inventory, self._unsaved(change), ended_how(last))
            return replace(goal, keeps=self._sites[change.cluster].settings.keep_volumes)
        self._refuse_set(change, found)
        remembered = await self._operations.remembered_counts(change.cluster)
        return remove.goal(found, await cluster.parts(found), remembered, keeps_services=keeps)

    async def _doubts(self, change: Change) -> tuple[str, ...]:
        """What a delete counts on and nobody has tested."""
        if not isinstance(change, Delete):
            return ()
        newest = next(iter(await self._sets.of(change.cluster)), None)
        told = doubt(change.cluster, newest.content if newest else None, newest.verification if newest else None)
        return (told,) if told else ()

    async def _set_goal(self, change: Snapshot, found: Discovery, last: Operation | None) -> Goal:
        cluster = self._sites[change.cluster].cluster
        await self._require_rights(cluster, Verb.SNAPSHOT)
        inventory = await cluster.inventory(found)
        wanted = change.temperature or Temperature.HOT
        goal = snapshot.goal(found, inventory, wanted, self._unsaved(change), ended_how(last))
        if change.temperature is None and goal.cutting and goal.cutting.temperature is Temperature.HOT:
            raise NotUnderstood(
                f"{change.cluster} runs, so it makes a difference: say `snapshot {change.cluster} hot` or "
                f"`snapshot {change.cluster} cold`."
            )
        return goal

    def _unsaved(self, change: Change) -> frozenset[Component]:
        return self._sites[change.cluster].settings.unsaved

    def _takes_set(self, change: Stop) -> bool:
        configured = self._sites[change.cluster].settings.snapshot_on_stop
        return configured if change.snapshot is None else change.snapshot

    def _refuse_set(self, change: Stop, found: Discovery) -> None:
        """One operation does not both take a set and remove, and none may be left out silently."""
        runs = any(found.observed[workload].is_present for workload in found.workloads)
        if change.snapshot or (runs and self._takes_set(change)):
            raise NotUnderstood(
                f"One stop takes a snapshot set or removes, not both. First `/tml stop {change.cluster} --snapshot`, "
                f"then `/tml stop {change.cluster} --remove`; or add `--no-snapshot`."
            )

    def _removes(self, change: Stop) -> bool:
        return change.removes or self._sites[change.cluster].settings.stop_mode is StopMode.REMOVE

    async def _left_for(self, change: Start) -> Left | None:
        """What is left of a cluster that an earlier stop removed; None where none did, or it was brought back."""
        removal = await self._operations.removed(change.cluster)
        if removal is None and change.overwrites:
            raise NotUnderstood(
                f"`--overwrite` is for a start after `stop --remove`, and nothing of {change.cluster} is removed. "
                f"Did you mean: /tml start {change.cluster}"
            )
        if removal is None:
            return None
        cluster = self._sites[change.cluster].cluster
        await self._require_rights(cluster, Verb.RETURN)
        left = await left_of(removal, cluster)
        if change.overwrites and not left.is_written_down:
            raise Unsafe(f"the capture of {removal.id} is not there, or not whole: there is nothing to overwrite with")
        return left

    async def _plan_of_start(self, change: Start, left: Left) -> Plan:
        """Of a cluster that the bot's own record knows, with what is there compared to it."""
        last = await self._operations.latest(change.cluster)
        try:
            return await plan_of_start(left, self._sites[change.cluster].cluster, change, last)
        except AlreadyRunning as refusal:
            raise AlreadyRunning(f"{change.cluster} is {refusal}", ended_so(last, Verb.START, Verb.RETURN)) from None

    async def _discovered(self, name: str, left: Left | None = None) -> Discovery:
        """Raises Deleted or Removed where there is nothing because the bot took it away.

        ``left`` is what is left for a start that has no capture to bring it back from.
        """
        try:
            return await self._sites[name].cluster.discover()
        except NothingFound as nothing:
            if left:
                raise Unsafe(lost(left)) from None
            if removal := await self._operations.removed(name):
                raise Removed(removal) from None
            if removal := await self._operations.last_removal(name):
                raise Deleted(removal) from None
            raise await self._taken_by_hand(name, nothing) from None

    async def _taken_by_hand(self, name: str, nothing: NothingFound) -> NothingFound:
        """Where the claims are still there somebody ran the vendor's stop script, or did the same."""
        if not nothing.claims:
            return nothing
        last = await self._operations.latest(name)
        missing = ", ".join(str(workload.ref) for workload in last.goal.topology) if last else "every workload"
        return NothingFound(
            f"{name} was removed, and not by this bot: {len(nothing.claims)} claims are there ("
            f"{', '.join(claim.name for claim in nothing.claims)}), and no capture says how the rest was. "
            f"Missing: {missing}. Make it again with what made it (the vendor's start script): it finds its claims "
            "by their names.",
            nothing.claims,
        )

    async def _refuse_removed(self, change: Restore) -> None:
        """A restore would make what was there before; only where nothing says how it was last is a set better."""
        removal = await self._operations.removed(change.cluster)
        if removal is None:
            return
        if not change.of or (await left_of(removal, self._sites[change.cluster].cluster)).is_written_down:
            raise Removed(removal)

    async def _refuse_half_removed(self, name: str) -> None:
        """A start brings back the newest removal only, so another one must not come between."""
        removal = await self._operations.removed(name)
        if removal is None:
            return
        left = await left_of(removal, self._sites[name].cluster)
        if left.missing and left.is_written_down:
            raise HalfRemoved(removal)

    async def _refuse_half_deleted(self, change: Stop | Start | Delete, discovery: Discovery) -> None:
        """A restore brings back the last removal only, so another one must not come between.

        And a start would run what is left without what it mounts. What cannot be looked at keeps no start away.
        """
        removal = await self._operations.unreturned_removal(change.cluster)
        if removal is None or not restore.is_left_of(removal, discovery):
            return
        try:
            observed = await self._sites[change.cluster].cluster.picture(restore.draft(removal))
        except ClusterError:
            if not isinstance(change, Start):
                raise
            return
        if restore.is_missing(removal, observed):
            raise HalfDeleted(removal)

    async def _refuse_half_restored(self, change: Change, discovery: Discovery) -> None:
        """What starts without its claim makes an empty one, and a set or a delete would have a part only."""
        left = await self._operations.half_restored(change.cluster)
        if left and in_place.is_missing(left, discovery.observed):
            raise HalfRestored(left)

    async def _plan_of_return(self, change: Restore) -> Plan:
        """Of a cluster that the bot's own record knows: in Kubernetes nothing of it may be left."""
        await self._refuse_removed(change)
        if change.of:
            return await self._plan_of_set(change)
        removal = await self._operations.last_removal(change.cluster)
        if removal is None:
            never = f"This bot never deleted anything of {change.cluster}: there is nothing to restore."
            raise NothingToRestore(f"{never} {await self._hint_at_sets(change.cluster)}".strip())
        try:
            return await self._plan_of_making(change, restore.draft(removal))
        except Unsafe as refusal:
            raise Unsafe(f"{refusal}. {await self._hint_at_sets(change.cluster)}".strip()) from None

    async def _plan_of_making(self, change: Restore, wanted: Goal) -> Plan:
        """Make what is missing of the draft."""
        cluster = self._sites[change.cluster].cluster
        await self._require_rights(cluster, Verb.RESTORE)
        observed = await cluster.picture(wanted)
        try:
            return plan_of_return(restore.goal(wanted, observed), cluster.target, observed)
        except AlreadyRunning as refusal:
            last = await self._operations.latest_change(change.cluster)
            raise AlreadyRunning(f"{change.cluster} is {refusal}", ended_so(last, Verb.RESTORE)) from None

    async def _plan_of_set(self, change: Restore) -> Plan:
        """In place where every workload of the set's time is there; else what is missing is made as well."""
        chosen = await self._sets.get(change.cluster, change.of)
        if chosen is None:
            listing = f"`/tml snapshots {change.cluster}` lists them."
            raise NotUnderstood(f"There is no set {change.of} of {change.cluster}. {listing}")
        with suppress(NothingFound):
            discovery = await self._sites[change.cluster].cluster.discover()
            if not absent(discovery, chosen.operation.goal.topology):
                return await self._plan_in_place(change, chosen, discovery)
        removal = await self._operations.unreturned_removal(change.cluster)
        is_kept = removal is not None and not await self._retention.is_purged(removal.id)
        draft = restore.draft(removal or chosen.operation, chosen.content, chosen.operation, is_kept=is_kept)
        return await self._plan_of_making(change, draft)

    async def _plan_in_place(self, change: Restore, chosen: Kept, discovery: Discovery) -> Plan:
        cluster = self._sites[change.cluster].cluster
        await self._require_rights(cluster, Verb.RESTORE_IN_PLACE)
        inventory = await cluster.inventory(discovery)
        last = await self._operations.latest_change(change.cluster)
        unsaved, how = self._unsaved(change), ended_how(last)
        left = await self._operations.half_restored(change.cluster)
        goal = in_place.goal(discovery, inventory, chosen.content, chosen.operation, unsaved, left, how)
        in_place.refuse_lost(goal, await cluster.picture(goal))
        doubted = configuration.doubted(last, discovery.observed.claims)
        clones = configuration.doubted_clones(goal.clones, chosen.operation)
        return plan(replace(goal, mode=discovery.mode, doubted=(*doubted, *clones)), discovery)

    async def _hint_at_sets(self, cluster: str) -> str:
        """What else there is to restore from."""
        kept = await self._sets.of(cluster)
        return f"There is a snapshot set: `/tml restore {cluster} {kept[0].content.id}`." if kept else ""

    async def _plan_of_verification(self, change: Verify) -> Plan:
        """Of a set that the bot's own record knows; of the cluster itself nothing may be left."""
        site = self._sites[change.cluster]
        kept = await self._set_of(change)
        await self._require_rights(site.cluster, Verb.VERIFY)
        likenesses = await site.cluster.likenesses(kept.operation, kept.content.capture)
        goal = verify.goal(kept.content, kept.operation, likenesses, site.settings.checks)
        observed = await site.cluster.picture(goal)
        verify.refuse_lost(goal, observed)
        return plan_of_return(goal, site.cluster.target, observed)

    async def _set_of(self, change: Verify) -> Kept:
        known = await self._sets.of(change.cluster)
        found = next((one for one in known if change.set in (None, one.content.id)), None)
        if found is not None:
            return found
        if change.set:
            raise NothingToVerify(
                f"{change.cluster} has no snapshot set {change.set}. `/tml snapshots {change.cluster}` lists them."
            )
        raise NothingToVerify(f"{change.cluster} has no snapshot set yet. `/tml snapshot {change.cluster}` takes one.")

    async def _plan_of_purge(self, change: Purge) -> Plan:
        """Of what is kept: whether anything of the cluster itself is there does not matter."""
        site = self._sites[change.cluster]
        await self._require_rights(site.cluster, Verb.PURGE)
        return await Keeper(change.cluster, site.settings, site.cluster, self._retention).plan_by_hand()

    async def _require_rights(self, cluster: Cluster, verb: Verb) -> None:
        if missing := await cluster.missing_rights(verb):
            raise MissingRights(
                f"Kubernetes does not let the bot {verb.words} in {cluster.target.namespace}. Missing: "
                f"{', '.join(str(right) for right in missing)}. Grant it (see deploy/rbac), then try again."
            )

    def _keeps_services(self, change: Stop | Delete) -> bool:
        configured = self._sites[change.cluster].settings.keep_services
        return configured if change.keeps_services is None else change.keeps_services

    async def _goal(self, change: Stop | Start | Restart, discovery: Discovery, last: Operation | None) -> Goal:
        """``last`` is the cluster's newest operation: it has the credit only if it ended where the cluster is."""
        try:
            match change:
                case Stop():
                    _refuse_options(change)
                    return stop.goal(discovery)
                case Start():
                    remembered = await self._operations.remembered_counts(change.cluster)
                    return start.goal(discovery, remembered, change.counts)
                case Restart():
                    return restart.goal(discovery, change.component, downtime=change.downtime)
        except AlreadyStopped as refusal:
            raise AlreadyStopped(f"{change.cluster} is {refusal}", ended_so(last, Verb.STOP)) from None
        except AlreadyRunning as refusal:
            raise AlreadyRunning(f"{change.cluster} is {refusal}", ended_so(last, Verb.START, Verb.RETURN)) from None

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


def ended_how(last: Operation | None) -> Ending | None:
    """How the databases of a cluster that is down had ended, where its last operation saw it; None where not."""
    if last is None or last.outcome is None or last.state is not State.DONE:
        return None
    if last.verb is Verb.SNAPSHOT and last.goal.cutting:
        return last.goal.cutting.before
    return ending(last.outcome.exits, last.outcome.unseen) if last.verb is Verb.STOP else None


def _worded(request: Request, command: Snapshot, made: Plan) -> Request:
    """What stands for the button: the words with which it could have been typed."""
    assert made.goal.cutting
    because = f" because {command.reason}" if command.reason else ""
    return replace(request, text=f"snapshot {command.cluster} {made.goal.cutting.temperature}{because}")


def _keys(made: Plan, action: Action) -> frozenset[str]:
    return frozenset(step.key for wave in made.waves for step in wave if step.action is action)


def _refuse_options(change: Stop) -> None:
    """A stop that only scales gives no address up, and must not pass for one that does."""
    if change.keeps_services is not None:
        option = "--keep-services" if change.keeps_services else "--release-services"
        raise NotUnderstood(
            f"`{option}` goes with `--remove`: a stop without it leaves every Service where it is. "
            f"Did you mean: /tml stop {change.cluster} --remove {option}"
        )


def ended_so(last: Operation | None, *verbs: Verb) -> Operation | None:
    """The operation if it is why the cluster is there; None when somebody did it without the bot."""
    return last if last and last.verb in verbs and last.state is State.DONE else None
