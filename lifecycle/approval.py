"""Approval: somebody else has to say yes, in time, to exactly this plan. Functions from values to values."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from lifecycle.errors import Refused
from lifecycle.model import Person, Place, Target, Verb
from lifecycle.operation import Operation

GROUP = "@"
"""How a written approver begins that is a user group."""

REMIND_BEFORE = timedelta(minutes=10)
"""How long before an approval expires its approvers are reminded; half of its time where that is shorter."""


class ApprovalState(StrEnum):
    """PENDING and APPROVED can be left; of every other one nothing comes any more."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    VOID = "void"
    EXECUTED = "executed"


OPEN = frozenset({ApprovalState.PENDING, ApprovalState.APPROVED})

NEEDS_APPROVAL = frozenset({Verb.DELETE, Verb.RESTORE_IN_PLACE, Verb.PURGE})
"""Whatever the configuration says: what takes data out of use, or destroys them, needs a second person."""


@dataclass(frozen=True)
class Terms:
    """What a cluster asks for before a verb: ``needed`` distinct people, none of them the requester.

    ``tiers`` are the approvers as written (user ids and `@S…` groups). All of them may decide from the beginning; the
    first tier is asked at once, each following one when another ``escalate_after`` went by without a decision.
    """

    needed: int
    tiers: tuple[tuple[str, ...], ...] = ()
    expires_after: timedelta = timedelta(minutes=30)
    execute_within: timedelta = timedelta(minutes=10)
    """Counted from the last yes that was needed."""
    escalate_after: timedelta = timedelta(minutes=5)
    reason_required: bool = False
    """Of the requester; an approver may always leave it out."""

    @property
    def listed(self) -> tuple[str, ...]:
        """Everybody who may decide, as written, once each."""
        return tuple(dict.fromkeys(entry for tier in self.tiers for entry in tier))

    def can_be_met_without(self, requester: Person) -> bool:
        """False only when it is certain: nobody knows here how many people a group has."""
        people = set(self.listed) - {requester.user}
        return len(people) >= self.needed or any(entry.startswith(GROUP) for entry in people)


@dataclass(frozen=True)
class Decision:
    """One person's yes or no."""

    approver: Person
    yes: bool
    at: datetime
    reason: str = ""


@dataclass(frozen=True)
class Approval:
    """What was asked for, by whom, under which terms, and what was said to it.

    ``plan`` is plain JSON data, the same that ``digest`` stands for; ``terms`` stay as they were when it was asked for.
    """

    id: str
    verb: Verb
    cluster: str
    target: Target
    requester: Person
    place: Place
    reason: str
    command: str
    """The words that were typed after the slash command."""
    digest: str
    plan: Mapping[str, Any]
    terms: Terms
    made_at: datetime
    state: ApprovalState = ApprovalState.PENDING
    decisions: tuple[Decision, ...] = ()
    escalated: int = 0
    """How many tiers after the first were asked."""
    reminded_at: datetime | None = None
    approved_at: datetime | None = None
    ended_at: datetime | None = None
    """When it came to a state that is never left."""
    void_reason: str = ""
    replaces: str | None = None
    """The approval that became void because the cluster changed, and in whose place this one was asked for."""
    operation: str | None = None
    version: int = 0
    """Rises with every change that is stored."""

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def approvers(self) -> tuple[Person, ...]:
        """Who said yes, in that order."""
        return tuple(decision.approver for decision in self.decisions if decision.yes)

    @property
    def missing(self) -> int:
        """How many more have to say yes."""
        return max(0, self.terms.needed - len(self.approvers))

    @property
    def expires_at(self) -> datetime:
        """When a decision comes too late."""
        return self.made_at + self.terms.expires_after

    @property
    def execute_by(self) -> datetime | None:
        """When the approval is worth nothing any more; None while it is not given."""
        return None if self.approved_at is None else self.approved_at + self.terms.execute_within

    @property
    def remind_at(self) -> datetime:
        return self.expires_at - min(REMIND_BEFORE, self.terms.expires_after / 2)

    @property
    def asked(self) -> tuple[str, ...]:
        """Who has been asked so far, as written."""
        return tuple(dict.fromkeys(entry for tier in self.terms.tiers[: self.escalated + 1] for entry in tier))

    @property
    def next_moment(self) -> datetime | None:
        """When it is due next: to expire, to be reminded of, to ask the next tier. None: never."""
        if self.state is ApprovalState.APPROVED:
            return self.execute_by
        if self.state is not ApprovalState.PENDING:
            return None
        moments = [self.expires_at]
        if self.reminded_at is None:
            moments.append(self.remind_at)
        if self.escalated + 1 < len(self.terms.tiers):
            moments.append(self.made_at + (self.escalated + 1) * self.terms.escalate_after)
        return min(moments)

    def is_overdue(self, now: datetime) -> bool:
        """Its clock has run out, whether or not somebody has written that down."""
        limit = self.execute_by if self.state is ApprovalState.APPROVED else self.expires_at
        return self.is_open and limit is not None and now >= limit


class NoSuchApproval(Refused):
    """The id is not known."""

    code = "no-such-approval"

    def __init__(self, approval_id: str) -> None:
        super().__init__(f"There is no approval {approval_id}. See the open ones with `/tml approvals`.")


class Elsewhere(Refused):
    """The press names an approval whose card is another message."""

    code = "approval-elsewhere"

    def __init__(self) -> None:
        super().__init__("This is not that approval's card, so nothing was done. See `/tml approvals`.")


class ReasonMissing(Refused):
    """The terms ask for a reason."""

    code = "reason-missing"

    def __init__(self, approval: Approval) -> None:
        typed = approval.command.partition(" because")[0] or f"{approval.verb} {approval.cluster}"
        line = f"/tml {typed} because …"
        super().__init__(f"Say why, so that an approver can judge it: `{line}`.")


class NobodyToAsk(Refused):
    """Fewer people may approve than are needed."""

    code = "nobody-to-ask"

    def __init__(self, approval: Approval) -> None:
        needed, listed = approval.terms.needed, _listed(approval.terms) or "nobody"
        people = "1 person" if needed == 1 else f"{needed} people"
        key = f"clusters.{approval.cluster}.approval.{approval.verb}.approvers"
        super().__init__(
            f"A {approval.verb} of {approval.cluster} needs the yes of {people} besides you; listed: {listed}. "
            f"Name approvers under `{key}` in the configuration and start the bot again."
        )


class AskedAlready(Refused):
    """One approval at a time is open for a cluster and verb."""

    code = "asked-already"

    def __init__(self, approval: Approval) -> None:
        if approval.state is ApprovalState.APPROVED:
            waiting = f"{approval.id} is approved and not yet carried out."
        else:
            waiting = (
                f"{approval.id} waits for a decision; its requester may take it back: `/tml withdraw {approval.id}`."
            )
        super().__init__(f"A {approval.verb} of {approval.cluster} was asked for already: {waiting}")
        self.approval = approval


class OwnRequest(Refused):
    """The requester is not an approver."""

    code = "own-request"

    def __init__(self, approval: Approval) -> None:
        super().__init__(
            f"You asked for {approval.id} yourself, so somebody else has to decide. "
            f"To take it back, type `/tml withdraw {approval.id}`."
        )


class NotAnApprover(Refused):
    """Neither listed nor in a listed group at this moment."""

    code = "not-an-approver"

    def __init__(self, approval: Approval) -> None:
        super().__init__(f"You may not decide on {approval.id}. Ask one of {_listed(approval.terms)}.")


class NotTheRequester(Refused):
    """Only who asked can take it back."""

    code = "not-the-requester"

    def __init__(self, approval: Approval) -> None:
        super().__init__(
            f"Only {approval.requester.user} can withdraw {approval.id}. "
            f"An approver can end it: `/tml deny {approval.id}`."
        )


class SaidAlready(Refused):
    """A person's yes counts once."""

    code = "said-already"

    def __init__(self, approval: Approval) -> None:
        super().__init__(
            f"You said yes to {approval.id} already; {approval.missing} more from other people needed. "
            f"If you think better of it, type `/tml deny {approval.id}`."
        )


class WrongName(Refused):
    """What was typed is not the cluster's name."""

    code = "wrong-name"

    def __init__(self, approval: Approval) -> None:
        super().__init__(
            f"That is not the name of {approval.id}'s cluster, so nothing was decided. Look at the card again, "
            f"then type the name exactly as it stands there: `/tml approve {approval.id} NAME`."
        )


class ApprovalExpired(Refused):
    """One of the two clocks ran out."""

    code = "approval-expired"

    def __init__(self, approval: Approval) -> None:
        late = "was approved but not carried out in time" if approval.approved_at else "was not decided in time"
        super().__init__(f"{approval.id} {late} and has expired: nothing was done. {_again(approval)}")


class ApprovalDecided(Refused):
    """It is not open to this any more; ``approval`` says what became of it."""

    code = "approval-decided"

    def __init__(self, approval: Approval) -> None:
        super().__init__(_became(approval))
        self.approval = approval


class NotApproved(Refused):
    """It may not be carried out yet."""

    code = "not-approved"

    def __init__(self, approval: Approval) -> None:
        super().__init__(f"{approval.id} is not approved: {approval.missing} more have to say yes.")


class PlanChanged(Refused):
    """The cluster is not as it was when people said yes; a new approval has to be asked for."""

    code = "plan-changed"

    def __init__(self, approval: Approval) -> None:
        super().__init__(
            f"{approval.cluster} has changed since {approval.id} was asked for, so its yes counts no more "
            f"and nothing was done. {_again(approval)}"
        )


class NotEntitled(Refused):
    """Too many of those who said yes may not do so any more."""

    code = "not-entitled"

    def __init__(self, approval: Approval, lost: Collection[Person]) -> None:
        names = ", ".join(sorted(person.user for person in lost))
        super().__init__(
            f"{approval.id} was not carried out: {names} said yes and may not approve any more. {_again(approval)}"
        )


class DecidedMeanwhile(Refused):
    """Somebody else's decision was stored first."""

    code = "decided-meanwhile"

    def __init__(self, approval: Approval) -> None:
        super().__init__(
            f"Somebody else decided on {approval.id} at the same moment. Look at the card, then try again."
        )


def _listed(terms: Terms) -> str:
    return ", ".join(
        f"group {entry.removeprefix(GROUP)}" if entry.startswith(GROUP) else entry for entry in terms.listed
    )


def _again(approval: Approval) -> str:
    return f"To ask anew, type `/tml {approval.verb} {approval.cluster} because …`."


def _became(approval: Approval) -> str:
    yes = ", ".join(person.user for person in approval.approvers)
    no = ", ".join(decision.approver.user for decision in approval.decisions if not decision.yes)
    match approval.state:
        case ApprovalState.DENIED:
            return f"{approval.id} was denied by {no}: nothing was done. {_again(approval)}"
        case ApprovalState.WITHDRAWN:
            return f"{approval.id} was withdrawn by {approval.requester.user}: nothing was done. {_again(approval)}"
        case ApprovalState.VOID:
            return f"{approval.id} is void, nothing was done: {approval.void_reason}. See `/tml approvals`."
        case ApprovalState.EXECUTED:
            return f"{approval.id} was approved already by {yes}: it became {approval.operation}."
        case _:
            return f"{approval.id} was approved already by {yes}. See `/tml status {approval.cluster}`."


def check(approval: Approval) -> None:
    """Whether it can be asked for at all. Raises ReasonMissing and NobodyToAsk."""
    if approval.terms.needed < 1:
        raise ValueError(f"{approval.id}: nobody has to approve this")
    if approval.terms.reason_required and not approval.reason.strip():
        raise ReasonMissing(approval)
    if not approval.terms.can_be_met_without(approval.requester):
        raise NobodyToAsk(approval)


def check_place(approval: Approval, pressed: Place, card: str | None) -> None:
    """A press has to come from the approval's own card, whose ts is ``card`` where it is known. Raises Elsewhere."""
    at_home = (pressed.team, pressed.channel) == (approval.place.team, approval.place.channel)
    if not at_home or (card is not None and pressed.ts != card):
        raise Elsewhere


def check_decider(approval: Approval, person: Person, now: datetime, *, eligible: bool) -> None:
    """Whether this person may say no, and be shown what a yes asks for.

    ``eligible`` is whether the person is in the list or in a listed group at this moment. Raises ApprovalDecided,
    ApprovalExpired, OwnRequest and NotAnApprover.
    """
    _require(approval, {ApprovalState.PENDING}, now)
    if is_same(person, approval.requester):
        raise OwnRequest(approval)
    if not eligible:
        raise NotAnApprover(approval)


def approve(
    approval: Approval, approver: Person, typed: str, now: datetime, *, eligible: bool, reason: str = ""
) -> Approval:
    """One yes; the last one that is needed makes it APPROVED. ``typed`` is what was typed as the cluster's name.

    Raises what check_decider raises, SaidAlready and WrongName.
    """
    check_decider(approval, approver, now, eligible=eligible)
    if any(is_same(approver, said) for said in approval.approvers):
        raise SaidAlready(approval)
    if typed.strip() != approval.cluster:
        raise WrongName(approval)
    said = replace(approval, decisions=(*approval.decisions, Decision(approver, True, now, reason)))
    return said if said.missing else replace(said, state=ApprovalState.APPROVED, approved_at=now)


def deny(approval: Approval, approver: Person, now: datetime, *, eligible: bool, reason: str = "") -> Approval:
    """One no ends it, also that of a person who said yes before. Raises what check_decider raises."""
    check_decider(approval, approver, now, eligible=eligible)
    others = tuple(decision for decision in approval.decisions if not is_same(decision.approver, approver))
    decisions = (*others, Decision(approver, False, now, reason))
    return replace(approval, decisions=decisions, state=ApprovalState.DENIED, ended_at=now)


def withdraw(approval: Approval, person: Person, now: datetime) -> Approval:
    """The requester thinks better of it. Raises ApprovalDecided, ApprovalExpired and NotTheRequester."""
    _require(approval, {ApprovalState.PENDING}, now)
    if not is_same(person, approval.requester):
        raise NotTheRequester(approval)
    return replace(approval, state=ApprovalState.WITHDRAWN, ended_at=now)


def void(approval: Approval, why: str, now: datetime) -> Approval:
    """What it was asked for is not what would happen any more. Raises ApprovalDecided and ApprovalExpired."""
    _require(approval, OPEN, now)
    return replace(approval, state=ApprovalState.VOID, ended_at=now, void_reason=why)


def execute(
    approval: Approval, operation: Operation, digest: str, now: datetime, *, entitled: Collection[Person]
) -> Approval:
    """It is carried out by this operation, whose plan has this digest; ``entitled`` are those who may approve now.

    Raises NotApproved, ApprovalDecided, ApprovalExpired, PlanChanged and NotEntitled.
    """
    if (operation.verb, operation.cluster, operation.target) != (approval.verb, approval.cluster, approval.target):
        raise ValueError(f"{operation.id} is not what {approval.id} was asked for")
    if approval.state is ApprovalState.PENDING and not approval.is_overdue(now):
        raise NotApproved(approval)
    _require(approval, {ApprovalState.APPROVED}, now)
    if digest != approval.digest:
        raise PlanChanged(approval)
    lost = [person for person in approval.approvers if person not in entitled]
    if len(approval.approvers) - len(lost) < approval.terms.needed:
        raise NotEntitled(approval, lost)
    return replace(approval, state=ApprovalState.EXECUTED, ended_at=now, operation=operation.id)


def expire(approval: Approval, now: datetime) -> Approval:
    """Closed when its clock has run out, unchanged otherwise."""
    return replace(approval, state=ApprovalState.EXPIRED, ended_at=now) if approval.is_overdue(now) else approval


def remind(approval: Approval, now: datetime) -> Approval:
    """Marked as reminded of, once; unchanged when there is nothing to remind of."""
    due = _is_waiting(approval, now) and approval.reminded_at is None and now >= approval.remind_at
    return replace(approval, reminded_at=now) if due else approval


def escalate(approval: Approval, now: datetime) -> Approval:
    """With every tier asked whose turn has come; unchanged when there is none."""
    turns = (now - approval.made_at) // approval.terms.escalate_after
    asked = min(turns, len(approval.terms.tiers) - 1)
    return replace(approval, escalated=asked) if _is_waiting(approval, now) and asked > approval.escalated else approval


def is_same(one: Person, other: Person) -> bool:
    """Whether they may be the same human being.

    By the user id alone: Slack has one for a whole organisation, so the same person can come as of the team or as of
    the enterprise. Whoever is of neither is not let in, see bot.access.
    """
    return one.user == other.user


def _is_waiting(approval: Approval, now: datetime) -> bool:
    return approval.state is ApprovalState.PENDING and not approval.is_overdue(now)


def _require(approval: Approval, states: Collection[ApprovalState], now: datetime) -> None:
    if approval.state is ApprovalState.EXPIRED or approval.is_overdue(now):
        raise ApprovalExpired(approval)
    if approval.state not in states:
        raise ApprovalDecided(approval)
