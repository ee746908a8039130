"""What people decide is decided once, in time, and stays decided."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from lifecycle import approval as rules
from lifecycle.approval import (
    Approval,
    ApprovalDecided,
    ApprovalExpired,
    ApprovalState,
    AskedAlready,
    DecidedMeanwhile,
    NobodyToAsk,
    NoSuchApproval,
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
from lifecycle.errors import ClusterBusy, Refused
from lifecycle.model import Person, Target, Verb
from lifecycle.operation import Operation
from lifecycle.plain import to_plain
from lifecycle.plan import Plan
from storage.approvals import swap
from storage.audit import Recorded
from storage.database import StorageError, open_database
from storage.ids import IdTaken
from storage.messages import LIVE
from tests.fakes.values import ALICE, NOW, OPS, TARGET, planned
from tests.storage.conftest import StandingClock, Store, a_start, a_stop

BOB, CAROL, DAVE = (Person("T0TML", user) for user in ("U0BOB", "U0CAROL", "U0DAVE"))
OPERATION, PLAN = planned(a_stop())
ASKED = Approval(
    id="ap-000001",
    verb=Verb.STOP,
    cluster="prod",
    target=TARGET,
    requester=ALICE,
    place=OPS,
    reason="moved away",
    command="stop prod because moved away",
    digest=PLAN.digest,
    plan=to_plain(PLAN),
    terms=Terms(1, (("@S0LEADS", "U0BOB"), ("@S0CHIEFS",)), reason_required=True),
    made_at=NOW,
)
TWO = replace(ASKED, terms=replace(ASKED.terms, needed=2))


@pytest.fixture
async def asked(store: Store) -> Store:
    await store.approvals.ask(ASKED)
    return store


def yes(store: Store, person: Person = BOB, approval: Approval = ASKED) -> Awaitable[Approval]:
    return store.approvals.approve(approval.id, person, "prod", eligible=True)


def no(store: Store, person: Person = BOB) -> Awaitable[Approval]:
    return store.approvals.deny(ASKED.id, person, eligible=True, reason="too early")


def execute(store: Store, operation: Operation = OPERATION, plan: Plan = PLAN) -> Awaitable[Operation]:
    return store.approvals.execute(ASKED.id, operation, plan, entitled={BOB})


async def kinds(store: Store, subject: str = ASKED.id) -> list[str]:
    return [entry.kind for entry in await store.messages.entries_of(subject)]


async def newest(store: Store) -> Recorded:
    return (await store.audit.entries(limit=1))[0]


async def test_an_approval_comes_back_as_it_was_asked_for(asked: Store) -> None:
    assert await asked.approvals.get(ASKED.id) == ASKED
    assert await asked.approvals.open_on() == (ASKED,)
    assert await asked.approvals.open_on(["prod"]) == (ASKED,)
    assert await asked.approvals.open_on(["staging"]) == ()
    entry = await newest(asked)
    assert (entry.kind, entry.actor, entry.subject) == ("approval-asked", ALICE, ASKED.id)
    assert (entry.data["digest"], entry.data["reason"]) == (PLAN.digest, "moved away")
    with pytest.raises(NoSuchApproval, match="no approval ap-zzzzzz"):
        await asked.approvals.get("ap-zzzzzz")


async def test_its_card_and_what_happens_to_it_are_to_be_shown(asked: Store) -> None:
    (due,) = await asked.messages.due()
    assert (due.subject, due.messages[0].entry) == (ASKED.id, LIVE)
    await yes(asked)
    (due,) = await asked.messages.due()
    live, *lines = due.messages
    assert live.wanted == 2
    told = {message.entry for message in lines}
    assert [one.kind for one in await asked.messages.entries_of(ASKED.id) if str(one.seq) in told] == [
        "approval-asked",
        "approval-yes",
    ]


async def test_its_clock_starts_when_it_is_stored_by_the_databases_time(store: Store) -> None:
    store.clock.advance(3600)
    await store.operations.begin(*planned(a_start("op-000009")))
    store.clock.advance(-3600)
    elsewhere = replace(ASKED, cluster="staging")
    assert (await store.approvals.ask(elsewhere)).made_at == NOW + timedelta(hours=1)


async def test_the_yes_approves_and_the_operation_begins_with_it(asked: Store) -> None:
    approved = await yes(asked)
    assert (approved.state, approved.approvers, approved.approved_at) == (ApprovalState.APPROVED, (BOB,), NOW)
    operation = await execute(asked)
    assert await asked.operations.running_on("prod") == operation
    executed = await asked.approvals.get(ASKED.id)
    assert (executed.state, executed.operation, executed.ended_at) == (ApprovalState.EXECUTED, operation.id, NOW)
    assert await kinds(asked) == ["approval-asked", "approval-yes", "approval-approved", "approval-executed"]
    assert await asked.approvals.open_on() == ()


async def test_n_people_have_to_say_yes_and_one_no_ends_it(store: Store) -> None:
    await store.approvals.ask(TWO)
    assert (await yes(store)).missing == 1
    with pytest.raises(SaidAlready):
        await yes(store)
    with pytest.raises(NotApproved):
        await execute(store)
    assert (await no(store, CAROL)).state is ApprovalState.DENIED
    assert await kinds(store) == ["approval-asked", "approval-yes", "approval-no", "approval-denied"]
    assert (await newest(store)).actor is None
    (said,) = await store.audit.entries(kinds=["approval-no"])
    assert (said.actor, said.data) == (CAROL, {"reason": "too early"})


async def test_whoever_said_yes_may_think_better_of_it(store: Store) -> None:
    await store.approvals.ask(TWO)
    await yes(store)
    denied = await no(store)
    assert [(one.approver, one.yes) for one in denied.decisions] == [(BOB, False)]
    assert await store.approvals.get(ASKED.id) == denied


async def test_the_requester_takes_it_back(asked: Store) -> None:
    with pytest.raises(NotTheRequester):
        await asked.approvals.withdraw(ASKED.id, BOB)
    assert (await asked.approvals.withdraw(ASKED.id, ALICE)).state is ApprovalState.WITHDRAWN
    assert (await newest(asked)).kind == "approval-withdrawn"


REFUSED: list[tuple[type[Refused], Callable[[Store], Awaitable[object]]]] = [
    (NoSuchApproval, lambda store: store.approvals.approve("ap-zzzzzz", BOB, "prod", eligible=True)),
    (NoSuchApproval, lambda store: store.approvals.deny("ap-zzzzzz", BOB, eligible=True)),
    (NoSuchApproval, lambda store: store.approvals.withdraw("ap-zzzzzz", ALICE)),
    (NoSuchApproval, lambda store: store.approvals.void("ap-zzzzzz", "changed")),
    (NoSuchApproval, lambda store: store.approvals.open_to("ap-zzzzzz", BOB, eligible=True)),
    (NoSuchApproval, lambda store: store.approvals.execute("ap-zzzzzz", OPERATION, PLAN, entitled=())),
    (OwnRequest, lambda store: yes(store, ALICE)),
    (OwnRequest, lambda store: no(store, ALICE)),
    (OwnRequest, lambda store: store.approvals.open_to(ASKED.id, ALICE, eligible=True)),
    (NotAnApprover, lambda store: store.approvals.approve(ASKED.id, DAVE, "prod", eligible=False)),
    (NotAnApprover, lambda store: store.approvals.deny(ASKED.id, DAVE, eligible=False)),
    (NotAnApprover, lambda store: store.approvals.open_to(ASKED.id, DAVE, eligible=False)),
    (WrongName, lambda store: store.approvals.approve(ASKED.id, BOB, "staging", eligible=True)),
    (NotTheRequester, lambda store: store.approvals.withdraw(ASKED.id, BOB)),
    (NotApproved, execute),
    (AskedAlready, lambda store: store.approvals.ask(replace(ASKED, id="ap-000002"))),
    (ReasonMissing, lambda store: store.approvals.ask(replace(ASKED, id="ap-000002", reason=""))),
    (NobodyToAsk, lambda store: store.approvals.ask(replace(ASKED, id="ap-000002", terms=Terms(1)))),
]


@pytest.mark.parametrize(("kind", "attempt"), REFUSED)
async def test_what_is_refused_changes_nothing(
    asked: Store, kind: type[Refused], attempt: Callable[[Store], Awaitable[object]]
) -> None:
    with pytest.raises(kind) as refused:
        await attempt(asked)
    assert type(refused.value) is kind
    assert await asked.approvals.open_on() == (ASKED,)
    assert await kinds(asked) == ["approval-asked"]
    assert await asked.operations.history() == ()


LATE: list[Callable[[Store], Awaitable[object]]] = [
    yes,
    no,
    lambda store: yes(store, CAROL),
    lambda store: store.approvals.withdraw(ASKED.id, ALICE),
    lambda store: store.approvals.void(ASKED.id, "changed"),
    lambda store: store.approvals.renew(ASKED.id, "changed", replace(ASKED, id="ap-000002")),
    lambda store: store.approvals.open_to(ASKED.id, BOB, eligible=True),
    execute,
]
ENDINGS: dict[ApprovalState, Callable[[Store], Awaitable[object]]] = {
    ApprovalState.DENIED: no,
    ApprovalState.WITHDRAWN: lambda store: store.approvals.withdraw(ASKED.id, ALICE),
    ApprovalState.VOID: lambda store: store.approvals.void(ASKED.id, "changed", BOB),
    ApprovalState.EXECUTED: execute,
    ApprovalState.EXPIRED: lambda store: store.approvals.expire_due(),
}


@pytest.mark.parametrize("attempt", LATE)
@pytest.mark.parametrize("state", ENDINGS)
async def test_an_ended_approval_stays_as_it_is_also_after_a_restart(
    asked: Store, url: str, state: ApprovalState, attempt: Callable[[Store], Awaitable[object]]
) -> None:
    if state is ApprovalState.EXECUTED:
        await yes(asked)
    asked.clock.advance(1800 if state is ApprovalState.EXPIRED else 1)
    await ENDINGS[state](asked)
    ended = await asked.approvals.get(ASKED.id)
    assert ended.state is state
    async with open_database(url) as database:
        restarted = Store(database, asked.clock)
        with pytest.raises(ApprovalExpired if state is ApprovalState.EXPIRED else ApprovalDecided):
            await attempt(restarted)
        assert await restarted.approvals.get(ASKED.id) == ended
        assert await restarted.approvals.open_on() == ()


async def test_a_pending_approval_waits_through_a_restart(asked: Store, url: str) -> None:
    async with open_database(url) as database:
        restarted = Store(database, asked.clock)
        assert (await restarted.approvals.open_to(ASKED.id, BOB, eligible=True)) == ASKED
        assert (await yes(restarted)).state is ApprovalState.APPROVED


async def test_of_two_hundred_people_who_press_at_once_one_decides(asked: Store, other: Store) -> None:
    crowd = [Person("T0TML", f"U{number:04}") for number in range(200)]
    presses = [yes((asked, other)[number % 2], person) for number, person in enumerate(crowd)]
    outcomes = await asyncio.gather(*presses, return_exceptions=True)
    (won,) = [outcome for outcome in outcomes if isinstance(outcome, Approval)]
    assert won.state is ApprovalState.APPROVED
    lost = [outcome for outcome in outcomes if isinstance(outcome, ApprovalDecided)]
    assert len(lost) == 199
    assert {str(one) for one in lost} == {
        f"ap-000001 was approved already by {won.approvers[0].user}. See `/tml status prod`."
    }
    assert (await asked.approvals.get(ASKED.id)).decisions == won.decisions
    assert await kinds(asked) == ["approval-asked", "approval-yes", "approval-approved"]


async def test_two_hundred_presses_of_one_person_are_one_yes(store: Store, other: Store) -> None:
    await store.approvals.ask(TWO)
    presses = [yes((store, other)[number % 2]) for number in range(200)]
    outcomes = await asyncio.gather(*presses, return_exceptions=True)
    assert [type(one) for one in outcomes if not isinstance(one, SaidAlready)] == [Approval]
    assert (await store.approvals.get(ASKED.id)).approvers == (BOB,)


async def test_of_a_yes_and_a_no_in_two_processes_one_stands(asked: Store, other: Store) -> None:
    outcomes = await asyncio.gather(yes(asked), no(other, CAROL), return_exceptions=True)
    (stands,) = [outcome for outcome in outcomes if isinstance(outcome, Approval)]
    (lost,) = [outcome for outcome in outcomes if isinstance(outcome, ApprovalDecided)]
    assert lost.approval == stands == await other.approvals.get(ASKED.id)


async def test_two_processes_that_execute_begin_one_operation(asked: Store, other: Store) -> None:
    await yes(asked)
    outcomes = await asyncio.gather(
        execute(asked, replace(OPERATION, id="op-000001")),
        execute(other, replace(OPERATION, id="op-000002")),
        return_exceptions=True,
    )
    (won,) = [outcome for outcome in outcomes if isinstance(outcome, Operation)]
    (lost,) = [outcome for outcome in outcomes if isinstance(outcome, ApprovalDecided)]
    assert won.id in str(lost)
    assert await asked.operations.history() == (won,)


async def test_what_was_decided_on_an_older_reading_is_not_stored(asked: Store) -> None:
    stale = await asked.approvals.get(ASKED.id)
    asked.clock.advance(300)
    await asked.approvals.escalate_due()
    approved = rules.approve(stale, BOB, "prod", NOW, eligible=True)
    with pytest.raises(DecidedMeanwhile, match="Look at the card, then try again"):
        await swapped(asked, stale, approved)
    assert (await asked.approvals.get(ASKED.id)).decisions == ()


async def swapped(store: Store, before: Approval, after: Approval) -> None:
    async with store.database.transaction() as connection:
        await swap(connection, before, after)


async def test_a_busy_cluster_leaves_it_approved_until_its_second_clock_runs_out(asked: Store) -> None:
    running = await asked.taken(a_stop("op-000009"))
    await yes(asked)
    with pytest.raises(ClusterBusy) as refused:
        await execute(asked)
    assert refused.value.operation == running.id
    assert (await asked.approvals.get(ASKED.id)).state is ApprovalState.APPROVED
    asked.clock.advance(600)
    with pytest.raises(ApprovalExpired, match="approved but not carried out in time"):
        await execute(asked)
    (expired,) = await asked.approvals.expire_due()
    assert (expired.id, expired.state) == (ASKED.id, ApprovalState.EXPIRED)
    assert (await newest(asked)).data["approved"] is True


async def test_an_operations_id_that_is_taken_can_be_tried_again(asked: Store) -> None:
    await yes(asked)
    elsewhere = replace(a_stop(), cluster="staging", target=Target(None, "other"))
    await asked.operations.begin(*planned(elsewhere))
    with pytest.raises(IdTaken):
        await execute(asked)
    assert (await execute(asked, replace(OPERATION, id="op-000002"))).id == "op-000002"


async def test_another_plan_and_a_yes_that_counts_no_more_begin_nothing(asked: Store) -> None:
    approved = await yes(asked)
    with pytest.raises(PlanChanged):
        await execute(asked, plan=replace(PLAN, uids=("another",)))
    with pytest.raises(NotEntitled):
        await asked.approvals.execute(ASKED.id, OPERATION, PLAN, entitled=())
    assert await asked.approvals.get(ASKED.id) == approved
    assert await asked.operations.history() == ()


@pytest.mark.parametrize("decided", [False, True])
async def test_a_cluster_that_changed_is_asked_about_anew_in_one_go(asked: Store, decided: bool) -> None:
    if decided:
        await yes(asked)
    anew = await asked.approvals.renew(ASKED.id, "a claim is new", replace(ASKED, id="ap-000002", digest="e" * 64), BOB)
    assert (anew.replaces, anew.state, anew.decisions) == (ASKED.id, ApprovalState.PENDING, ())
    assert await asked.approvals.open_on() == (anew,)
    (entry,) = await asked.audit.entries(kinds=["approval-void"])
    assert (entry.actor, entry.data) == (BOB, {"why": "a claim is new"})
    with pytest.raises(ApprovalDecided, match="is void, nothing was done: a claim is new"):
        await yes(asked)


async def test_when_it_cannot_be_asked_anew_it_is_not_void_either(asked: Store) -> None:
    with pytest.raises(IdTaken):
        await asked.approvals.renew(ASKED.id, "a claim is new", ASKED)
    assert await asked.approvals.open_on() == (ASKED,)


async def test_one_is_open_for_a_cluster_and_verb(asked: Store) -> None:
    second = replace(ASKED, id="ap-000002", requester=CAROL)
    with pytest.raises(AskedAlready, match="ap-000001 waits for a decision") as refused:
        await asked.approvals.ask(second)
    assert refused.value.approval == ASKED
    await asked.approvals.ask(replace(second, id="ap-000003", verb=Verb.START))
    await asked.approvals.ask(replace(second, id="ap-000004", cluster="staging"))
    await yes(asked)
    with pytest.raises(AskedAlready, match="ap-000001 is approved and not yet carried out"):
        await asked.approvals.ask(second)
    await execute(asked)
    await asked.approvals.ask(second)


async def test_of_two_people_who_ask_at_once_one_does(store: Store, other: Store) -> None:
    outcomes = await asyncio.gather(
        store.approvals.ask(ASKED), other.approvals.ask(replace(ASKED, id="ap-000002")), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Approval", "AskedAlready"]


async def test_an_id_that_is_taken_is_told(asked: Store) -> None:
    with pytest.raises(IdTaken):
        await asked.approvals.ask(replace(ASKED, cluster="staging"))


async def test_what_is_overdue_is_in_nobodys_way(asked: Store) -> None:
    asked.clock.advance(1800)
    await asked.approvals.ask(replace(ASKED, id="ap-000002"))
    assert (await asked.approvals.get(ASKED.id)).state is ApprovalState.EXPIRED
    assert (await kinds(asked))[-1] == "approval-expired"


async def test_a_yes_after_its_time_changes_nothing_and_is_swept_once(asked: Store, other: Store) -> None:
    asked.clock.advance(1799)
    assert await asked.approvals.expire_due() == ()
    asked.clock.advance(1)
    with pytest.raises(ApprovalExpired):
        await yes(asked)
    swept = await asyncio.gather(asked.approvals.expire_due(), other.approvals.expire_due())
    assert [one.state for one in sum(swept, ())] == [ApprovalState.EXPIRED]


@pytest.mark.parametrize("decided", [False, True])
async def test_a_clock_that_jumps_back_revives_nothing_that_was_recorded_as_expired(
    asked: Store, decided: bool
) -> None:
    if decided:
        await yes(asked)
    asked.clock.advance(1800)
    await asked.approvals.expire_due()
    asked.clock.advance(-1800)
    for attempt in (yes, execute):
        with pytest.raises(ApprovalExpired):
            await attempt(asked)


async def test_a_clock_that_jumps_back_does_not_give_more_time_either(asked: Store) -> None:
    asked.clock.advance(1800)
    await asked.operations.begin(*planned(replace(a_stop(), cluster="staging", target=Target(None, "other"))))
    asked.clock.advance(-1800)
    with pytest.raises(ApprovalExpired):
        await yes(asked)


@pytest.mark.parametrize(
    ("seconds", "kind", "sweep", "whom"),
    [
        (300, "approval-escalated", "escalate_due", ["@S0LEADS", "U0BOB", "@S0CHIEFS"]),
        (1200, "approval-reminded", "remind_due", ["@S0LEADS", "U0BOB"]),
    ],
)
async def test_people_are_told_once_whatever_the_number_of_processes(
    asked: Store, other: Store, seconds: int, kind: str, sweep: str, whom: list[str]
) -> None:
    asked.clock.advance(seconds - 1)
    assert await getattr(asked.approvals, sweep)() == ()
    asked.clock.advance(1)
    told = await asyncio.gather(*(getattr(one.approvals, sweep)() for one in (asked, other)))
    assert [len(one) for one in sorted(told)] == [0, 1]
    entry = await newest(asked)
    assert (entry.kind, entry.subject, entry.data["approvers"]) == (kind, ASKED.id, whom)
    assert await getattr(asked.approvals, sweep)() == ()


YES = "INSERT INTO decisions VALUES ('ap-000001', 'U0BOB', 'T0TML', 1, 1, '')"
VETO = YES.replace("1, 1", "0, 1")
OWN = YES.replace("U0BOB", "U0ALICE")
APPROVE = "UPDATE approvals SET state = 'approved', approved_at = 1"
EXECUTE = "UPDATE approvals SET state = 'executed', approved_at = 1, ended_at = 1"
COPY = (
    "INSERT INTO approvals SELECT 9, 'ap-000009', verb, {cluster}, context, namespace, requester_team, requester_user, "
    "place_team, place_channel, place_ts, reason, command, digest, plan, terms, needed, made_at, {state}, "
    "0, NULL, NULL, NULL, '', NULL, NULL, 0 FROM approvals"
)


@pytest.mark.parametrize(
    ("said", "statements"),
    [
        ("needs the yes of others", [APPROVE]),
        ("needs the yes of others", [OWN, APPROVE]),
        ("no veto", [VETO, APPROVE]),
        ("only what is approved", [YES, EXECUTE]),
        ("begins pending", [COPY.format(cluster="'staging'", state="'approved'")]),
        ("UNIQUE", [COPY.format(cluster="cluster", state="state")]),
        ("UNIQUE", [YES, YES]),
        ("CHECK", ["UPDATE approvals SET state = 'denied'"]),
        ("never changed", ["UPDATE approvals SET state = 'denied', ended_at = 1", "UPDATE approvals SET reason = 'x'"]),
    ],
)
async def test_the_database_itself_keeps_to_it(asked: Store, said: str, statements: list[str]) -> None:
    with pytest.raises(StorageError, match=said):
        await changed_by_hand(asked, *statements)


async def changed_by_hand(store: Store, *statements: str) -> None:
    async with store.database.transaction() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def test_the_audit_log_of_it_all_verifies(asked: Store, clock: StandingClock) -> None:
    clock.advance(300)
    await asked.approvals.escalate_due()
    await yes(asked)
    await execute(asked)
    assert await asked.audit.verify() is None
