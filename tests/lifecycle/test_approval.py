"""Who may say yes, to what, until when: every rule of an approval, and any order of events."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle import approval as rules
from lifecycle.approval import (
    Approval,
    ApprovalDecided,
    ApprovalExpired,
    ApprovalState,
    Decision,
    Elsewhere,
    NobodyToAsk,
    NotAnApprover,
    NotApproved,
    NotEntitled,
    NotTheRequester,
    OwnRequest,
    PlanChanged,
    ReasonMissing,
    SaidAlready,
    Terms,
    WrongName,
)
from lifecycle.decide import stop
from lifecycle.errors import Refused
from lifecycle.model import Person, Place, Verb
from lifecycle.plain import from_plain, to_plain
from tests.fakes import values
from tests.fakes.values import ALICE, NOW, OPS, TARGET

BOB, CAROL, DAVE = (Person("T0TML", user) for user in ("U0BOB", "U0CAROL", "U0DAVE"))
TERMS = Terms(1, (("@S0LEADS", "U0BOB"), ("@S0CHIEFS",)), reason_required=True)
DIGEST = "d" * 64
ASKED = Approval(
    id="ap-000001",
    verb=Verb.STOP,
    cluster="prod",
    target=TARGET,
    requester=ALICE,
    place=OPS,
    reason="moved away",
    command="stop prod because moved away",
    digest=DIGEST,
    plan={"waves": []},
    terms=TERMS,
    made_at=NOW,
)
TWO = replace(ASKED, terms=replace(TERMS, needed=2))
OPERATION = values.operation(stop.goal(values.discovery()))


def after(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def yes(approval: Approval, person: Person = BOB, minutes: float = 1) -> Approval:
    return rules.approve(approval, person, approval.cluster, after(minutes), eligible=True)


def no(approval: Approval, person: Person = BOB, minutes: float = 1) -> Approval:
    return rules.deny(approval, person, after(minutes), eligible=True, reason="too early")


def executed(approval: Approval, minutes: float = 2) -> Approval:
    return rules.execute(approval, OPERATION, DIGEST, after(minutes), entitled=approval.approvers)


APPROVED = yes(ASKED)
ENDED = {
    ApprovalState.DENIED: no(ASKED),
    ApprovalState.WITHDRAWN: rules.withdraw(ASKED, ALICE, after(1)),
    ApprovalState.VOID: rules.void(ASKED, "a claim is new", after(1)),
    ApprovalState.EXPIRED: rules.expire(ASKED, after(30)),
    ApprovalState.EXECUTED: executed(APPROVED),
}


def test_the_yes_that_is_needed_last_approves() -> None:
    assert (APPROVED.state, APPROVED.approved_at, APPROVED.missing) == (ApprovalState.APPROVED, after(1), 0)
    once = yes(TWO)
    assert (once.state, once.missing, once.approved_at) == (ApprovalState.PENDING, 1, None)
    twice = yes(once, CAROL, 2)
    assert (twice.state, twice.approvers, twice.execute_by) == (ApprovalState.APPROVED, (BOB, CAROL), after(12))


def test_one_no_ends_it_whoever_said_yes_before() -> None:
    vetoed = no(yes(TWO), CAROL)
    assert (vetoed.state, vetoed.ended_at, vetoed.approvers) == (ApprovalState.DENIED, after(1), (BOB,))
    thought_better = no(yes(TWO), BOB, 2)
    assert thought_better.decisions == (Decision(BOB, False, after(2), "too early"),)


@pytest.mark.parametrize("decide", [yes, no])
@pytest.mark.parametrize("person", [ALICE, Person("E0ORG", ALICE.user)])
def test_the_requester_decides_nothing_not_even_as_a_person_of_the_enterprise(
    decide: Callable[[Approval, Person], Approval], person: Person
) -> None:
    with pytest.raises(OwnRequest, match="`/tml withdraw ap-000001`"):
        decide(ASKED, person)


@pytest.mark.parametrize("person", [BOB, Person("E0ORG", BOB.user)])
def test_a_persons_second_yes_counts_for_nothing(person: Person) -> None:
    with pytest.raises(SaidAlready, match="1 more from other people"):
        yes(yes(TWO), person)


def test_who_is_no_approver_decides_nothing() -> None:
    with pytest.raises(NotAnApprover, match="Ask one of group S0LEADS, U0BOB, group S0CHIEFS"):
        rules.approve(ASKED, DAVE, "prod", after(1), eligible=False)
    with pytest.raises(NotAnApprover):
        rules.deny(ASKED, DAVE, after(1), eligible=False)


@pytest.mark.parametrize("typed", ["", "Prod", "prod-2", "staging", "pro d", "prod."])
def test_a_yes_without_the_clusters_exact_name_is_none(typed: str) -> None:
    with pytest.raises(WrongName) as refused:
        rules.approve(ASKED, BOB, typed, after(1), eligible=True)
    assert "prod" not in str(refused.value), "it would be copied without a look at the card"


def test_blanks_around_the_name_do_not_count() -> None:
    assert rules.approve(ASKED, BOB, " prod\n", after(1), eligible=True).state is ApprovalState.APPROVED


def test_only_the_requester_takes_it_back() -> None:
    with pytest.raises(NotTheRequester, match="Only U0ALICE"):
        rules.withdraw(ASKED, BOB, after(1))


@pytest.mark.parametrize("change", [yes, no, lambda one: rules.withdraw(one, ALICE, after(1)), executed])
@pytest.mark.parametrize("state", ENDED)
def test_an_ended_approval_is_never_changed(state: ApprovalState, change: Callable[[Approval], Approval]) -> None:
    ended = ENDED[state]
    kind = ApprovalExpired if state is ApprovalState.EXPIRED else ApprovalDecided
    with pytest.raises(kind, match="ap-000001"):
        change(ended)
    with pytest.raises(kind):
        rules.void(ended, "anew", after(3))
    for sweep in (rules.expire, rules.remind, rules.escalate):
        assert sweep(ended, after(100)) == ended
    assert (ended.next_moment, ended.is_open) == (None, False)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (ApprovalState.DENIED, "was denied by U0BOB: nothing was done. To ask anew, type `/tml stop prod because …`."),
        (ApprovalState.WITHDRAWN, "was withdrawn by U0ALICE"),
        (ApprovalState.VOID, "is void, nothing was done: a claim is new. See `/tml approvals`."),
        (ApprovalState.EXPIRED, "was not decided in time and has expired: nothing was done. To ask anew"),
        (ApprovalState.EXECUTED, "was approved already by U0BOB: it became op-000001."),
    ],
)
def test_a_late_answer_is_told_what_became_of_it(state: ApprovalState, text: str) -> None:
    with pytest.raises(Refused) as refused:
        yes(ENDED[state], CAROL, 2)
    assert text in str(refused.value)


def test_a_press_a_moment_after_the_last_yes_is_told_who_was_faster() -> None:
    for late in (yes, no):
        with pytest.raises(ApprovalDecided, match="approved already by U0BOB"):
            late(APPROVED, CAROL)


@pytest.mark.parametrize("answer", [yes, no, lambda one, _, minutes: rules.withdraw(one, ALICE, after(minutes))])
def test_the_first_clock_is_enforced_whether_or_not_it_was_written_down(answer: Callable[..., Approval]) -> None:
    assert not answer(ASKED, BOB, 29.99).is_overdue(after(29.99))
    with pytest.raises(ApprovalExpired, match="not decided in time"):
        answer(ASKED, BOB, 30)
    assert rules.expire(ASKED, after(29.99)) == ASKED
    assert rules.expire(ASKED, after(30)).state is ApprovalState.EXPIRED


def test_the_second_clock_counts_from_the_last_yes() -> None:
    late = yes(ASKED, minutes=29)
    assert executed(late, 38.99).state is ApprovalState.EXECUTED
    with pytest.raises(ApprovalExpired, match="approved but not carried out in time"):
        executed(late, 39)
    assert rules.expire(late, after(38.99)) == late
    assert rules.expire(late, after(39)).state is ApprovalState.EXPIRED


def test_only_what_is_approved_is_carried_out() -> None:
    with pytest.raises(NotApproved, match="1 more have to say yes"):
        executed(yes(TWO))
    with pytest.raises(ApprovalExpired):
        executed(ASKED, 30)


def test_a_yes_holds_for_the_plan_that_was_shown_and_for_no_other() -> None:
    with pytest.raises(PlanChanged, match="prod has changed"):
        rules.execute(APPROVED, OPERATION, "e" * 64, after(2), entitled={BOB})
    for other in (
        replace(OPERATION, cluster="staging"),
        replace(OPERATION, verb=Verb.START),
        replace(OPERATION, target=replace(TARGET, namespace="other")),
    ):
        with pytest.raises(ValueError, match="not what ap-000001 was asked for"):
            rules.execute(APPROVED, other, DIGEST, after(2), entitled={BOB})


def test_a_yes_of_who_may_not_approve_any_more_counts_for_nothing() -> None:
    both = yes(yes(TWO), CAROL)
    with pytest.raises(NotEntitled, match="U0BOB said yes and may not approve any more"):
        rules.execute(both, OPERATION, DIGEST, after(2), entitled={CAROL, DAVE})


def test_a_cluster_that_changed_makes_it_void_before_and_after_the_yes() -> None:
    for one in (ASKED, APPROVED):
        assert rules.void(one, "a claim is new", after(2)).state is ApprovalState.VOID
    with pytest.raises(ApprovalExpired):
        rules.void(ASKED, "a claim is new", after(30))


def test_it_is_reminded_of_once_and_only_while_it_waits() -> None:
    assert rules.remind(ASKED, after(19.99)) == ASKED
    reminded = rules.remind(ASKED, after(20))
    assert reminded.reminded_at == after(20)
    assert rules.remind(reminded, after(21)) == reminded
    assert rules.remind(ASKED, after(30)) == ASKED
    assert rules.remind(APPROVED, after(20)) == APPROVED
    short = replace(ASKED, terms=replace(TERMS, expires_after=timedelta(minutes=4)))
    assert short.remind_at == after(2)


def test_without_a_decision_the_next_tier_is_asked_once() -> None:
    assert ASKED.asked == ("@S0LEADS", "U0BOB")
    assert rules.escalate(ASKED, after(4.99)) == ASKED
    asked = rules.escalate(ASKED, after(5))
    assert asked.asked == ("@S0LEADS", "U0BOB", "@S0CHIEFS")
    assert rules.escalate(asked, after(29)) == asked
    assert rules.escalate(APPROVED, after(5)) == APPROVED
    assert rules.escalate(ASKED, after(30)) == ASKED
    alone = replace(ASKED, terms=replace(TERMS, tiers=TERMS.tiers[:1]))
    assert rules.escalate(alone, after(29)) == alone


def test_the_next_moment_is_when_something_is_due() -> None:
    assert ASKED.next_moment == after(5)
    escalated = rules.escalate(ASKED, after(5))
    assert escalated.next_moment == after(20)
    assert rules.remind(escalated, after(20)).next_moment == after(30)
    assert APPROVED.next_moment == after(11)


@pytest.mark.parametrize(
    ("needed", "tiers", "possible"),
    [
        (1, (), False),
        (1, ((ALICE.user,),), False),
        (1, ((ALICE.user, BOB.user),), True),
        (2, ((ALICE.user, BOB.user),), False),
        (2, ((ALICE.user, BOB.user), (CAROL.user,)), True),
        (2, ((BOB.user, BOB.user),), False),
        (3, (("@S0LEADS",),), True),
    ],
)
def test_what_too_few_others_may_approve_is_not_asked_for(
    needed: int, tiers: tuple[tuple[str, ...], ...], possible: bool
) -> None:
    one = replace(ASKED, terms=Terms(needed, tiers))
    if possible:
        rules.check(one)
    else:
        with pytest.raises(NobodyToAsk, match=r"`clusters\.prod\.approval\.stop\.approvers`"):
            rules.check(one)


def test_a_reason_is_asked_for_where_the_terms_say_so() -> None:
    with pytest.raises(ReasonMissing, match="`/tml stop prod because …`"):
        rules.check(replace(ASKED, reason=" "))
    rules.check(replace(ASKED, reason="", terms=replace(TERMS, reason_required=False)))
    with pytest.raises(ValueError, match="nobody has to approve"):
        rules.check(replace(ASKED, terms=Terms(0)))


def test_a_press_counts_on_the_approvals_own_card_only() -> None:
    rules.check_place(ASKED, Place("T0TML", "C0OPS", "1.1"), "1.1")
    rules.check_place(ASKED, Place("T0TML", "C0OPS", "1.1"), None)
    for pressed in (Place("T0ELSE", "C0OPS", "1.1"), Place("T0TML", "C0DEV", "1.1"), Place("T0TML", "C0OPS", "1.2")):
        with pytest.raises(Elsewhere):
            rules.check_place(ASKED, pressed, "1.1")


def test_terms_are_the_same_after_they_were_written_down() -> None:
    assert from_plain(Terms, to_plain(TERMS)) == TERMS
    with pytest.raises(ValueError, match="whole number of seconds"):
        to_plain(replace(TERMS, expires_after=timedelta(milliseconds=1)))


PEOPLE = st.sampled_from([ALICE, BOB, CAROL, DAVE])
MOSTLY = st.sampled_from([True, True, True, False])
YES = st.tuples(st.just("yes"), PEOPLE, MOSTLY, st.sampled_from(["prod", "prod", "prod", "staging"]))
EXECUTE = st.tuples(
    st.just("execute"),
    st.sampled_from([DIGEST, DIGEST, DIGEST, "e" * 64]),
    st.one_of(st.just(frozenset({BOB, CAROL, DAVE})), st.frozensets(PEOPLE)),
)
SWEEPS = st.tuples(st.sampled_from(["expire", "remind", "escalate"]))
ENDS = st.one_of(
    st.tuples(st.just("no"), PEOPLE, st.booleans()), st.tuples(st.just("withdraw"), PEOPLE), st.just(("void",))
)
EVENTS = st.sampled_from([YES, YES, YES, EXECUTE, EXECUTE, SWEEPS, ENDS]).flatmap(lambda kind: kind)
MINUTES = st.sampled_from([0, 0, 1, 2, 12])


def happened(approval: Approval, event: tuple[object, ...], now: datetime) -> Approval:
    """What became of the approval; the same one when it was refused."""
    try:
        match event:
            case "yes", Person() as person, bool() as eligible, str() as typed:
                return rules.approve(approval, person, typed, now, eligible=eligible)
            case "no", Person() as person, bool() as eligible:
                return rules.deny(approval, person, now, eligible=eligible)
            case "withdraw", Person() as person:
                return rules.withdraw(approval, person, now)
            case "execute", str() as digest, frozenset() as entitled:
                return rules.execute(approval, OPERATION, digest, now, entitled=entitled)
            case ("void",):
                return rules.void(approval, "changed", now)
            case (str() as sweep,):
                return {"expire": rules.expire, "remind": rules.remind, "escalate": rules.escalate}[sweep](
                    approval, now
                )
    except Refused:
        pass
    return approval


@given(
    needed=st.integers(1, 3),
    story=st.lists(st.tuples(EVENTS, MINUTES), min_size=5, max_size=30),
)
def test_whatever_happens_in_whatever_order_nothing_is_carried_out_without_the_yes_it_needs(
    needed: int, story: list[tuple[tuple[object, ...], int]]
) -> None:
    approval, now = replace(ASKED, terms=replace(TERMS, needed=needed)), NOW
    for event, minutes in story:
        now += timedelta(minutes=minutes)
        before, approval = approval, happened(approval, event, now)
        if not before.is_open:
            assert approval == before
        if approval.state is not before.state:
            holds(before, approval, event, now)


def holds(before: Approval, approval: Approval, event: tuple[object, ...], now: datetime) -> None:
    """What has to be so whenever a state was left."""
    if approval.state in (ApprovalState.APPROVED, ApprovalState.EXECUTED):
        assert len({person.user for person in approval.approvers}) >= approval.terms.needed
        assert ALICE not in approval.approvers
        assert all(decision.yes and decision.at < approval.expires_at for decision in approval.decisions)
    if approval.state is ApprovalState.APPROVED:
        assert event[2:] == (True, "prod")
        assert now < before.expires_at
    if approval.state is ApprovalState.EXECUTED:
        _, digest, entitled = event
        assert isinstance(entitled, frozenset)
        assert digest == approval.digest
        assert len(entitled & set(approval.approvers)) >= approval.terms.needed
        assert before.execute_by is not None
        assert now < before.execute_by
    assert (approval.ended_at is None) == approval.is_open
