"""Answers what people type and press. Every answer is private; what happens is told in the cluster's channel."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from bot import status
from bot.access import Access, Role
from bot.gate import Approved, Asked, Begun, Choice, Gate, Outcome, Renewed, Request, Requested
from bot.grammar import (
    Approvals,
    Approve,
    Change,
    Command,
    Deny,
    Help,
    History,
    List,
    PlanOf,
    Restore,
    Snapshots,
    Status,
    Verify,
    Whoami,
    Withdraw,
    normalised,
    parse,
)
from bot.planning import Planner
from bot.removals import left_of
from bot.sites import Site
from bot.views import answers
from bot.views import approval as approval_views
from bot.views import kept as kept_views
from bot.views import removals as removal_views
from bot.views import snapshots as snapshot_views
from bot.views.blocks import Message
from lifecycle.approval import Approval, NoSuchApproval, is_same
from lifecycle.decide import restore
from lifecycle.errors import ClusterBusy, ClusterError, NothingFound, NotUnderstood, Refused
from lifecycle.model import Person, Place
from lifecycle.operation import Operation, State
from lifecycle.ports import Clock
from storage.approvals import Approvals as ApprovalRecords
from storage.audit import AuditLog, Entry
from storage.database import StorageError
from storage.messages import Messages
from storage.operations import Operations
from storage.proposals import AlreadyDecided, NoSuchProposal, ProposalExpired
from storage.retention import NothingToExtend, Retention

log = structlog.get_logger(__name__)

GLANCE = 2.5
"""Seconds that `list` waits for each cluster's picture."""
REMEMBERED = 30
"""Operations in which `status` looks for the last one of each workload."""
SHOWN = 10
"""Operations that `history` shows."""


class Hidden(NoSuchApproval):
    """Whoever may not see the cluster is told no more of it than of an id that does not exist."""

    code = "approval-hidden"


Permalink = Callable[[Place], Awaitable[str | None]]
"""The address of a message that people can open; None when Slack does not say."""


ANSWERED = (AlreadyDecided, NoSuchProposal, ProposalExpired)
"""Refusals after which a card's buttons can do nothing any more."""


@dataclass(frozen=True)
class Answer:
    """The answer to a press; ``settles``: it takes the place of the message with the button."""

    message: Message
    settles: bool = False


@dataclass
class Desk:
    """Decodes, asks the gate or the records, and answers."""

    sites: Mapping[str, Site]
    gate: Gate
    planner: Planner
    access: Access
    operations: Operations
    approvals: ApprovalRecords
    messages: Messages
    retention: Retention
    audit: AuditLog
    permalink: Permalink
    clock: Clock

    async def answer(self, request: Request) -> Message:
        """The private answer to a slash command."""
        return (await self._answered(request, self._obey(request))).message

    async def confirm(self, person: Person, place: Place, proposal: str) -> Answer:
        """A card's yes."""
        return await self._answered(Request(person, place, f"confirm {proposal}"), self._confirm(person, proposal))

    async def dismiss(self, person: Person, place: Place, proposal: str) -> Answer:
        """A card's no."""
        return await self._answered(Request(person, place, f"dismiss {proposal}"), self._dismiss(person, proposal))

    async def again(self, person: Person, place: Place, operation: str) -> Answer:
        """The button in the thread of a failed operation: the same words, by whoever pressed."""
        request = Request(person, place, f"again {operation}")
        return replace(await self._answered(request, self._again(person, place, operation)), settles=False)

    async def status_of(self, person: Person, place: Place, operation: str) -> Answer:
        """The button in a thread: the status of the operation's cluster."""
        request = Request(person, place, f"status of {operation}")
        return replace(await self._answered(request, self._status_of(person, operation)), settles=False)

    async def decide(self, person: Person, place: Place, approval: str) -> Approval:
        """A card's Approve: what the modal is made of. Raises Refused; the refusal is recorded."""
        try:
            return await self.gate.look_at(person, approval, place)
        except Refused as refusal:
            await self._record_refusal(Request(person, place, f"approve {approval}"), refusal)
            raise

    async def approve(self, person: Person, place: Place, approval: str, typed: str, reason: str) -> Message:
        """The modal's submission. Raises Refused; the refusal is recorded."""
        try:
            return await self._told(await self.gate.approve(person, approval, normalised(typed), reason))
        except Refused as refusal:
            await self._record_refusal(Request(person, place, f"approve {approval} {typed}"), refusal)
            raise

    async def deny(self, person: Person, place: Place, approval: str) -> Answer:
        """A card's Deny."""
        request = Request(person, place, f"deny {approval}")
        return replace(await self._answered(request, self._deny(person, approval, place)), settles=False)

    async def withdraw(self, person: Person, place: Place, approval: str) -> Answer:
        """A card's Withdraw."""
        request = Request(person, place, f"withdraw {approval}")
        return replace(await self._answered(request, self._withdraw(person, approval, place)), settles=False)

    async def run(self, person: Person, place: Place, approval: str) -> Answer:
        """A card's Run it."""
        request = Request(person, place, f"run {approval}")
        return replace(await self._answered(request, self._run(person, approval, place)), settles=False)

    async def undo(self, person: Person, place: Place, operation: str) -> Answer:
        """The button in the thread of a delete: a restore, by whoever pressed."""
        request = Request(person, place, f"undo {operation}")
        return replace(await self._answered(request, self._undo(person, place, operation)), settles=False)

    async def restore_set(self, person: Person, place: Place, identity: str) -> Answer:
        """The button of a snapshot set in the list: a restore from it, by whoever pressed."""
        request = Request(person, place, f"restore set {identity}")
        return replace(await self._answered(request, self._restore_set(person, place, identity)), settles=False)

    async def verify(self, person: Person, place: Place, snapshot_set: str) -> Answer:
        """The button of a set: a test of its restore, by whoever pressed."""
        request = Request(person, place, f"verify {snapshot_set}")
        return replace(await self._answered(request, self._verify(person, place, snapshot_set)), settles=False)

    async def keep_longer(self, person: Person, place: Place, notice: str) -> Answer:
        """The button on the notice of a purge."""
        request = Request(person, place, f"keep longer {notice}")
        return replace(await self._answered(request, self._keep_longer(person, notice)), settles=False)

    async def pin(self, person: Person, place: Place, identity: str) -> Answer:
        """The button beside a set: the list, with the set pinned."""
        return await self._answered(Request(person, place, f"pin {identity}"), self._pin(person, place, identity))

    async def unpin(self, person: Person, place: Place, identity: str) -> Answer:
        """The button beside a pinned set."""
        return await self._answered(Request(person, place, f"unpin {identity}"), self._unpin(person, place, identity))

    async def _answered(self, request: Request, work: Awaitable[Message]) -> Answer:
        """Refusals and known troubles as answers, which leave a card that is still good; the rest goes on as it is."""
        try:
            return Answer(await work, settles=True)
        except Refused as refusal:
            await self._record_refusal(request, refusal)
            link = await self._way_to(refusal.operation) if isinstance(refusal, ClusterBusy) else None
            return Answer(answers.refused(refusal, link), settles=isinstance(refusal, ANSWERED))
        except ClusterError as error:
            log.warning("cluster could not be read", text=request.text, reason=str(error))
            return Answer(answers.unreachable(error))
        except StorageError:
            log.exception("a command could not be recorded", person=str(request.person))
            return Answer(answers.unrecorded())

    async def _record_refusal(self, request: Request, refusal: Refused) -> None:
        data = {"text": request.text[:1000], "code": refusal.code, "why": str(refusal)}
        try:
            await self.audit.record(Entry("refused", request.person, None, None, request.place, data))
        except StorageError:
            log.exception("a refusal could not be recorded", person=str(request.person))

    async def _obey(self, request: Request) -> Message:
        command = parse(request.text, list(self.sites))
        if not isinstance(command, Help):
            await self.access.admit(request.person)
        if isinstance(command, Change):
            return await self._told(await self.gate.submit(request, command))
        return await self._show(request, command)

    async def _show(self, request: Request, command: Command) -> Message:
        match command:
            case List():
                return answers.clusters(await self._glances(request.person))
            case Status(cluster):
                return await self._status(request.person, cluster)
            case PlanOf():
                await self._require_viewer(request.person, command.cluster)
                return answers.plan(command.cluster, await self.planner.plan_of(command))
            case History(cluster):
                return await self._history(request.person, cluster)
            case Approve(approval, name):
                await self._require_sight(request.person, approval)
                return await self._told(await self.gate.approve(request.person, approval, name))
            case Deny(approval, reason):
                await self._require_sight(request.person, approval)
                return await self._deny(request.person, approval, reason=reason)
            case Withdraw(approval):
                await self._require_sight(request.person, approval)
                return await self._withdraw(request.person, approval)
            case Approvals():
                return await self._open_approvals(request.person)
            case Snapshots(cluster):
                await self._require_viewer(request.person, cluster)
                return await self._sets(cluster)
            case Whoami():
                return answers.whoami(request.person, await self._roles(request.person))
            case _:
                assert isinstance(command, Help)
                return answers.usages()

    async def _deny(self, person: Person, approval: str, place: Place | None = None, reason: str = "") -> Message:
        return approval_views.ended(await self.gate.deny(person, approval, reason, place))

    async def _withdraw(self, person: Person, approval: str, place: Place | None = None) -> Message:
        return approval_views.ended(await self.gate.withdraw(person, approval, place))

    async def _run(self, person: Person, approval: str, place: Place) -> Message:
        return await self._told(await self.gate.run(person, approval, place))

    async def _undo(self, person: Person, place: Place, identity: str) -> Message:
        operation = await self._operation(identity)
        command = Restore(operation.cluster)
        text = f"restore {operation.cluster}"
        return await self._told(await self.gate.submit(Request(person, place, text), command))

    async def _restore_set(self, person: Person, place: Place, identity: str) -> Message:
        operation = await self._operation(identity)
        text = f"restore {operation.cluster} {identity}"
        command = Restore(operation.cluster, identity)
        return await self._told(await self.gate.submit(Request(person, place, text), command))

    async def _verify(self, person: Person, place: Place, identity: str) -> Message:
        cluster = (await self._operation(identity)).cluster
        request = Request(person, place, f"verify {cluster} {identity}")
        return await self._told(await self.gate.submit(request, Verify(cluster, identity)))

    async def _sets(self, name: str) -> Message:
        """With what restore tests left; a cluster that does not say keeps no set from being shown."""
        site, records = self.sites[name], await self.retention.of(name)
        running = await self.operations.running_on(name)
        try:
            async with asyncio.timeout(GLANCE):
                found = await site.cluster.leftovers()
        except (ClusterError, TimeoutError) as trouble:
            log.warning("leftovers could not be looked for", cluster=name, reason=str(trouble) or "no answer")
            found = ()
        left = [one for one in found if running is None or one.operation != running.id]
        return kept_views.kept(name, records, self.clock.now(), site.cluster.target.namespace, left)

    async def _open_approvals(self, person: Person) -> Message:
        waiting = await self.approvals.open_on(list(self.sites))
        return approval_views.open_ones([one for one in waiting if await self._may_see(person, one)])

    async def _require_sight(self, person: Person, identity: str) -> None:
        """Raises Hidden: an id that is typed may be a guess; a card that is pressed was seen."""
        if not await self._may_see(person, await self.approvals.get(identity)):
            raise Hidden(identity)

    async def _may_see(self, person: Person, approval: Approval) -> bool:
        if is_same(person, approval.requester):
            return True
        site = self.sites.get(approval.cluster)
        return site is not None and await self.access.may_see_approvals(person, site.settings, approval.verb)

    async def _told(self, outcome: Outcome) -> Message:
        match outcome:
            case Requested(approval):
                return approval_views.requested(approval)
            case Approved(approval):
                return approval_views.approved(approval)
            case Renewed(before, fresh, changes):
                return approval_views.renewed(before, fresh, changes)
            case Begun(operation):
                return answers.begun(operation)
            case Asked(proposal, plan, changed):
                return answers.card(proposal, plan, changed=changed)
            case Choice(hot, cold, downtime):
                return snapshot_views.choice((hot.proposal, hot.plan), (cold.proposal, cold.plan), downtime)

    async def _confirm(self, person: Person, proposal: str) -> Message:
        return await self._told(await self.gate.confirm(person, proposal))

    async def _dismiss(self, person: Person, proposal: str) -> Message:
        await self.gate.dismiss(person, proposal)
        return answers.dismissed()

    async def _keep_longer(self, person: Person, identity: str) -> Message:
        notice = await self.retention.notice(identity)
        if notice is None or notice.cluster not in self.sites:
            raise NothingToExtend(None)
        settings = self.sites[notice.cluster].settings
        await self.access.require(person, settings, Role.OPERATOR)
        return kept_views.kept_longer(await self.retention.extend(identity, person, settings.keep_volumes))

    async def _pin(self, person: Person, place: Place, identity: str) -> Message:
        cluster = await self._cluster_of_set(person, identity)
        await self.retention.pin(identity, person, place)
        return kept_views.kept(cluster, await self.retention.of(cluster), self.clock.now())

    async def _unpin(self, person: Person, place: Place, identity: str) -> Message:
        cluster = await self._cluster_of_set(person, identity)
        await self.retention.unpin(identity, person, place)
        return kept_views.kept(cluster, await self.retention.of(cluster), self.clock.now())

    async def _cluster_of_set(self, person: Person, identity: str) -> str:
        """Of a set that this person may pin."""
        cluster = (await self.retention.set_of(identity)).operation.cluster
        if cluster not in self.sites:
            raise NotUnderstood(f"{cluster} is not in this bot's configuration any more.")
        await self.access.require(person, self.sites[cluster].settings, Role.OPERATOR)
        return cluster

    async def _again(self, person: Person, place: Place, identity: str) -> Message:
        operation = await self._operation(identity)
        command = parse(operation.command, list(self.sites))
        assert isinstance(command, Change)
        return await self._told(await self.gate.submit(Request(person, place, operation.command), command))

    async def _status_of(self, person: Person, identity: str) -> Message:
        return await self._status(person, (await self._operation(identity)).cluster)

    async def _operation(self, identity: str) -> Operation:
        operation = await self.operations.get(identity)
        if operation is None:
            raise NotUnderstood("That button belongs to no operation this bot knows.")
        if operation.cluster not in self.sites:
            raise NotUnderstood(f"{operation.cluster} is not in this bot's configuration any more.")
        return operation

    async def _require_viewer(self, person: Person, cluster: str) -> None:
        await self.access.require(person, self.sites[cluster].settings, Role.VIEWER)

    async def _status(self, person: Person, cluster: str) -> Message:
        await self._require_viewer(person, cluster)
        running = await self.operations.running_on(cluster)
        earlier = [
            one for one in await self.operations.history([cluster], REMEMBERED) if one.state is not State.RUNNING
        ]
        try:
            seen = await status.look(self.sites[cluster].cluster, running, earlier)
        except NothingFound as nothing:
            if running:
                return removal_views.under_way(running)
            return await self._status_of_nothing(cluster, nothing)
        return answers.status(cluster, seen, await self._link(running.id if running else None))

    async def _status_of_nothing(self, cluster: str, nothing: NothingFound) -> Message:
        """What is left of it, as it is seen now. Raises NothingFound where nothing is."""
        if stopped := await self.operations.removed(cluster):
            taken = await left_of(stopped, self.sites[cluster].cluster)
            return removal_views.removed(stopped, taken.observed, taken.missing)
        removal = await self.operations.last_removal(cluster)
        if removal is None and nothing.claims:
            last = await self.operations.latest(cluster)
            return removal_views.taken_by_hand(cluster, nothing.claims, last)
        if removal is None:
            raise NothingFound(f"there is no TML workload in {self.sites[cluster].cluster.target}")
        left = await self.sites[cluster].cluster.picture(restore.draft(removal))
        return answers.deleted(cluster, removal, left)

    async def _history(self, person: Person, cluster: str | None) -> Message:
        seen = [cluster] if cluster else await self._visible(person)
        for name in seen:
            await self._require_viewer(person, name)
        if not seen:
            return answers.clusters([])
        shown = await self.operations.history(seen, SHOWN)
        links = await asyncio.gather(*(self._link(row.id) for row in shown))
        return answers.history(cluster, list(zip(shown, links, strict=True)))

    async def _visible(self, person: Person) -> list[str]:
        return [name for name, role in (await self._roles(person)).items() if role is not None]

    async def _roles(self, person: Person) -> dict[str, Role | None]:
        roles = await asyncio.gather(*(self.access.role_of(person, site.settings) for site in self.sites.values()))
        return dict(zip(self.sites, roles, strict=True))

    async def _glances(self, person: Person) -> Sequence[answers.Glance]:
        names = await self._visible(person)
        return await asyncio.gather(*(self._glance(name) for name in names))

    async def _glance(self, name: str) -> answers.Glance:
        site = self.sites[name]
        running = await self.operations.running_on(name)
        last = await self.operations.latest(name)
        try:
            async with asyncio.timeout(GLANCE):
                word = await status.glance(site.cluster, last)
        except NothingFound as nothing:
            word = "nothing of it is there now" if running else await self._word_for_nothing(name, nothing)
        except (ClusterError, Refused, TimeoutError) as trouble:
            word = f"cannot be read: {str(trouble) or 'no answer'}"
        return answers.Glance(name, site.settings.environment, word, running, last)

    async def _word_for_nothing(self, name: str, nothing: NothingFound) -> str:
        if stopped := await self.operations.removed(name):
            return f"stopped and removed by {stopped.id}, `/tml start {name}` brings it back"
        if removal := await self.operations.last_removal(name):
            return f"deleted by {removal.id}, {await self._left_of(removal)}"
        return "removed, and not by this bot; its claims are there" if nothing.claims else "nothing of it is there"

    async def _way_to(self, operation: str | None) -> str | None:
        """The link in a refusal, which is given without it rather than not at all."""
        try:
            return await self._link(operation)
        except StorageError:
            return None

    async def _left_of(self, removal: Operation) -> str:
        """Whether what a delete removed can come back, and until when."""
        if purge := await self.retention.purge_of(removal.id):
            return f"its volumes purged by {purge}"
        kept = (await self.retention.of(removal.cluster)).volumes
        until = next(
            (one.keeping.announced_for or one.keeping.until for one in kept if one.delete.id == removal.id), None
        )
        return f"restorable until {until:%Y-%m-%d %H:%M} UTC" if until else "restorable"

    async def _link(self, operation: str | None) -> str | None:
        """Where the operation is told, if it is told already."""
        live = await self.messages.live(operation) if operation else None
        return await self.permalink(Place(live.team, live.channel, live.ts)) if live else None
