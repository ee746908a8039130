"""What needs a second person: asked for, decided on, and begun with the last yes that is needed."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from bot.access import Access, Role
from bot.commands import Change
from bot.grammar import parse
from bot.launcher import Launcher, under_free_id
from bot.outcome import Approved, ApprovedNotBegun, Begun, Overtaken, Renewed, Request, Requested
from bot.settings import ClusterSettings
from bot.sites import Site
from lifecycle.approval import Approval, ApprovalState, check_place, is_same
from lifecycle.difference import difference
from lifecycle.errors import ClusterError, NotAllowed, NotUnderstood, Refused
from lifecycle.model import Person, Place
from lifecycle.operation import Operation
from lifecycle.plain import from_plain, to_plain
from lifecycle.plan import Plan
from lifecycle.ports import Clock
from storage.approvals import Approvals
from storage.database import StorageError
from storage.messages import Messages


class Notifier(Protocol):
    """Whoever tells approvers that they are asked."""

    def tell(self, approval: Approval, entries: Iterable[str]) -> None: ...


class Consent:
    """The approvals' way to an operation, from a click as from a typed line."""

    def __init__(
        self,
        *,
        sites: Mapping[str, Site],
        access: Access,
        approvals: Approvals,
        messages: Messages,
        launcher: Launcher,
        notices: Notifier,
        clock: Clock,
        new_id: Callable[[str], str],
    ) -> None:
        self._sites = sites
        self._access = access
        self._approvals = approvals
        self._messages = messages
        self._launcher = launcher
        self._notices = notices
        self._clock = clock
        self._new_id = new_id

    async def ask(self, request: Request, command: Change, made: Plan) -> Requested:
        """Somebody else has to say yes to this plan."""

        async def ask() -> Approval:
            return await self._approvals.ask(self._approval(request, command, made))

        asked = await under_free_id(ask)
        self._notices.tell(asked, asked.asked)
        return Requested(asked)

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
        made = await self._launcher.plan_of(command)
        request = Request(approval.requester, approval.place, approval.command)
        if made.verb is not approval.verb:
            raise Overtaken(await self._approvals.void(approval.id, f"it would {made.verb.words} now"), made.verb)
        if made.digest != approval.digest:
            return await self._renew(approval, request, command, made)

        async def execute(operation: Operation) -> Operation:
            return await self._approvals.execute(approval.id, operation, made, entitled=entitled)

        return await self._launcher.begin(request, command, made, execute)

    async def _renew(self, approval: Approval, request: Request, command: Change, made: Plan) -> Renewed:
        changes = difference(from_plain(Plan, approval.plan), made)
        why = f"the cluster changed: {'; '.join(changes)}"

        async def renew() -> Approval:
            return await self._approvals.renew(approval.id, why, self._approval(request, command, made))

        fresh = await under_free_id(renew)
        self._notices.tell(fresh, fresh.asked)
        return Renewed(approval, fresh, changes)

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
