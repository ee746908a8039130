"""Each change together with its entry, each by the executor that has the operation."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from lifecycle.decide import stop
from lifecycle.diagnosis import Diagnosis, Finding
from lifecycle.errors import Conflict, Fenced, Retryable
from lifecycle.model import Component, Step
from lifecycle.operation import Attempt, Operation, Outcome, State
from lifecycle.plain import to_plain
from lifecycle.ports import Journal, Result
from lifecycle.workloads import Exit
from storage.journal import DatabaseJournal
from tests.fakes import values
from tests.storage.conftest import Store, a_start, a_stop

WAVE = stop.steps(a_stop().goal, values.discovery().observed)
EXIT = Exit("mysql-set-0-0", "uid-1", "mysql", 137)
SLOW = Diagnosis((Finding("pod/mysql-set-0-0", "Unready", "not ready for 90 s"),))
FAILURE = Outcome(State.FAILED, missing=("persistentvolume/pvc-1",), claims=values.CLAIMS, diagnosis=SLOW, error="no")

METHODS: dict[str, Callable[[Journal, Operation], Awaitable[object]]] = {
    "entered": lambda journal, operation: journal.entered(operation, timedelta(minutes=5)),
    "record": lambda journal, operation: journal.record(operation, WAVE),
    "did": lambda journal, operation: journal.did(operation, [Result(WAVE[0], "uid")]),
    "arrived": lambda journal, operation: journal.arrived(operation, ["deployment/tm-deploy-0"]),
    "witnessed": lambda journal, operation: journal.witnessed(operation, [EXIT]),
    "exits": lambda journal, operation: journal.exits(operation),
    "slow": lambda journal, operation: journal.slow(operation, SLOW),
    "passed": lambda journal, operation: journal.passed(operation, "capture"),
    "turned_back": lambda journal, operation: journal.turned_back(operation, FAILURE, "up-again"),
    "finished": lambda journal, operation: journal.finished(operation, Outcome(State.DONE)),
    "late": lambda journal, operation: journal.late(operation),
    "take": lambda journal, operation: journal.take(operation, "bot-9", 99),
}


async def kinds(store: Store) -> list[str]:
    return [entry.kind for entry in await store.audit.entries(newest_first=False)]


async def told(store: Store, operation: Operation) -> list[str]:
    """The kinds of the entries that have a line in the thread, in order."""
    (due,) = [due for due in await store.messages.due() if due.subject == operation.id]
    entries = {str(entry.seq): entry.kind for entry in await store.messages.entries_of(operation.id)}
    return [entries[message.entry] for message in due.messages if message.entry != "live"]


async def version(store: Store, operation: Operation) -> int:
    live = await store.messages.live(operation.id)
    assert live is not None
    return live.wanted


@pytest.mark.parametrize("method", METHODS)
async def test_who_lost_the_operation_writes_nothing_any_more(store: Store, other: Store, method: str) -> None:
    mine = await store.taken(a_stop())
    await other.journal.take(mine, "bot-2", 2)
    before = await kinds(store)
    with pytest.raises(Fenced):
        await METHODS[method](store.journal, mine)
    assert await kinds(store) == before
    assert await store.operations.attempts(mine.id) == ()


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"exits", "late"}))
async def test_what_has_ended_is_not_written_to_any_more(store: Store, method: str) -> None:
    mine = await store.taken(a_stop())
    ended = await store.journal.finished(mine, Outcome(State.FAILED))
    with pytest.raises(Fenced):
        await METHODS[method](store.journal, ended)
    assert await store.operations.get(mine.id) == ended


async def test_the_journal_is_the_one_the_loop_asks_for(store: Store) -> None:
    journal: Journal = store.journal
    assert isinstance(journal, DatabaseJournal)


async def test_a_take_over_is_told_and_the_first_take_is_not(store: Store) -> None:
    first = await store.taken(a_stop())
    assert (first.executor, first.epoch) == ("bot-1", 1)
    assert await told(store, first) == ["begun"]
    again = await store.journal.take(first, "bot-1", 2)
    assert await told(store, first) == ["begun"], "the same executor took its own operation up again"
    over = await store.journal.take(again, "bot-2", 5)
    assert (over.executor, over.epoch) == ("bot-2", 5)
    assert await told(store, first) == ["begun", "taken"]
    entries = await store.audit.entries(kinds=["taken"], newest_first=False)
    assert [(entry.data["before"], entry.data["first"]) for entry in entries] == [
        (None, True),
        ("bot-1", False),
        ("bot-1", False),
    ]


async def test_an_epoch_only_rises(store: Store) -> None:
    taken = await store.taken(a_stop())
    with pytest.raises(ValueError, match="does not follow"):
        await store.journal.take(taken, "bot-2", 1)


async def test_a_phase_that_was_entered_before_keeps_its_time(store: Store) -> None:
    taken = await store.taken(a_stop())
    entered = await store.journal.entered(taken, timedelta(minutes=5))
    assert entered.phase_begun_at == values.NOW
    store.clock.advance(60)
    over = await store.journal.take(entered, "bot-2", 2)
    assert (await store.journal.entered(over, timedelta(minutes=5))).phase_begun_at == values.NOW
    assert (await kinds(store)).count("entered") == 1
    passed = await store.journal.passed(over, "capture")
    assert (passed.phase, passed.phase_begun_at) == ("capture", None)
    with pytest.raises(Fenced):
        await store.journal.passed(over, "capture")
    assert (await store.journal.entered(passed, timedelta(minutes=5))).phase_begun_at == store.clock.now()


async def test_what_turns_back_keeps_its_failure_is_told_and_does_so_once(store: Store) -> None:
    entered = await store.journal.entered(await store.taken(a_stop()), timedelta(minutes=5))
    turned = await store.journal.turned_back(entered, FAILURE, "up-again")
    assert (turned.phase, turned.phase_begun_at, turned.failure) == ("up-again", None, FAILURE)
    assert (turned.state, turned.outcome) == (State.RUNNING, None), "it has its slot until the cluster is up again"
    assert await store.operations.get(turned.id) == turned
    assert await told(store, turned) == ["begun", "turned-back"]
    with pytest.raises(Fenced):
        await store.journal.turned_back(entered, FAILURE, "up-again")
    with pytest.raises(Fenced):
        await store.journal.passed(entered, "capture")
    (entry,) = await store.audit.entries(kinds=["turned-back"])
    assert entry.data == {"phase": "down", "failure": to_plain(FAILURE)}
    ended = await store.journal.finished(turned, replace(FAILURE, back_up=True))
    assert (ended.failure, ended.outcome) == (FAILURE, replace(FAILURE, back_up=True))


async def test_each_step_is_written_before_it_is_done_with_its_object_and_its_attempts(store: Store) -> None:
    taken = await store.taken(a_stop())
    assert len(WAVE) > 1
    await store.journal.record(taken, WAVE)
    assert await store.operations.attempts(taken.id) == tuple(Attempt(step, 1) for step in WAVE)
    before = await version(store, taken)
    await store.journal.record(taken, WAVE[:1])
    assert (await store.operations.attempts(taken.id))[0] == Attempt(WAVE[0], 2)
    assert await version(store, taken) == before + 1
    entries = await store.audit.entries(kinds=["step"], newest_first=False)
    assert [(entry.data["wave"], entry.data["attempts"]) for entry in entries] == [(1, 1)] * len(WAVE) + [(2, 2)]
    assert entries[0].data["uid"] == f"uid-{WAVE[0].ref.name}"
    assert entries[0].data["action"] == "scale-to-zero"
    assert await told(store, taken) == ["begun"] + ["step"] * len(WAVE), "a repeated step has no line of its own"


async def test_what_became_of_a_step_is_written_and_the_same_failure_told_once(store: Store) -> None:
    taken = await store.taken(a_stop())
    step: Step = WAVE[0]

    async def fails(error: Conflict | Retryable) -> None:
        await store.journal.record(taken, [step])
        await store.journal.did(taken, [Result(step, error=error)])

    await fails(Retryable("throttled"))
    await fails(Retryable("throttled"))
    await fails(Conflict("changed"))
    assert await told(store, taken) == ["begun", "step", "step-failed", "step-failed"]
    assert (await kinds(store)).count("step-failed") == 3
    assert await store.operations.attempts(taken.id) == (Attempt(step, 3, "Conflict: changed"),)
    await store.journal.record(taken, [step])
    assert await store.operations.attempts(taken.id) == (Attempt(step, 4),), "tried, and not heard of"
    await store.journal.did(taken, [Result(step, "uid-9")])
    assert await store.operations.attempts(taken.id) == (Attempt(replace(step, uid="uid-9"), 4, "done"),)
    (done,) = await store.audit.entries(kinds=["step-done"])
    assert done.data["uid"] == "uid-9"


async def test_a_step_that_was_done_and_that_somebody_undid_is_told_again(store: Store) -> None:
    taken = await store.taken(a_stop())
    await store.journal.record(taken, WAVE[:1])
    await store.journal.did(taken, [Result(WAVE[0], "uid-9")])
    await store.journal.record(taken, WAVE[:1])
    assert await told(store, taken) == ["begun", "step", "step"]
    entries = await store.audit.entries(kinds=["step"], newest_first=False)
    assert [entry.data["undone"] for entry in entries] == [False, True]


async def test_the_result_of_a_step_that_was_never_written_down_is_an_error(store: Store) -> None:
    taken = await store.taken(a_stop())
    with pytest.raises(ValueError, match="has no step"):
        await store.journal.did(taken, [Result(WAVE[0], "uid")])
    assert "step-done" not in await kinds(store)


async def test_each_arrival_exit_and_slowness_is_told_once_by_whichever_executor(store: Store) -> None:
    taken = await store.taken(a_stop())
    for executor in (2, 3):
        await store.journal.arrived(taken, ["a", "b"])
        await store.journal.arrived(taken, ["b", "c"])
        await store.journal.witnessed(taken, [EXIT])
        await store.journal.slow(taken, SLOW)
        taken = await store.journal.take(taken, f"bot-{executor}", executor)
    assert [entry.data["objects"] for entry in await store.audit.entries(kinds=["arrived"])] == [["c"], ["a", "b"]]
    assert await store.journal.exits(taken) == (EXIT,)
    found = await kinds(store)
    assert (found.count("exit"), found.count("slow")) == (1, 1)
    assert (await told(store, taken)).count("arrived") == 2
    taken = await store.journal.passed(taken, "up")
    await store.journal.arrived(taken, ["a"])
    assert (await kinds(store)).count("arrived") == 3, "again in another phase"


async def test_the_outcome_is_stored_and_its_entry_has_the_claims_before_and_after(store: Store) -> None:
    taken = await store.taken(a_stop())
    store.clock.advance(94)
    outcome = Outcome(State.FAILED, missing=("a",), claims=values.CLAIMS[:1], exits=(EXIT,), diagnosis=SLOW)
    ended = await store.journal.finished(taken, outcome)
    assert (ended.state, ended.outcome, ended.ended_at) == (State.FAILED, outcome, store.clock.now())
    assert await store.operations.get(taken.id) == ended
    assert await store.operations.running_on("prod") is None
    (entry,) = await store.audit.entries(kinds=["finished"])
    assert entry.data["claims_before"] == to_plain(values.CLAIMS)
    assert entry.data["claims_after"] == to_plain(values.CLAIMS[:1])
    assert entry.data["diagnosis"]["findings"][0]["reason"] == "Unready"


async def test_an_operation_cannot_end_running(store: Store) -> None:
    with pytest.raises(ValueError, match="done or failed"):
        await store.journal.finished(await store.taken(a_stop()), Outcome(State.RUNNING))


async def test_a_goal_seen_late_is_written_once_and_only_on_what_failed(store: Store) -> None:
    failed = await store.run(a_start(), State.FAILED, 60)
    store.clock.advance(60)
    await store.journal.late(failed)
    late = await store.operations.get(failed.id)
    assert late is not None
    assert late.late_at == store.clock.now()
    with pytest.raises(Fenced):
        await store.journal.late(failed)
    done = await store.run(a_start("op-000002"), State.DONE, 60)
    with pytest.raises(Fenced):
        await store.journal.late(done)
    assert (await kinds(store)).count("late") == 1


async def test_a_change_whose_entry_cannot_be_written_is_no_change(store: Store) -> None:
    taken = await store.taken(a_stop())
    async with store.database.transaction() as connection:
        await connection.execute(
            text("CREATE TRIGGER no BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no entry'); END")
        )
    for method in sorted(set(METHODS) - {"exits", "late", "did"}):
        with pytest.raises(Exception, match="no entry"):
            await METHODS[method](store.journal, taken)
    assert await store.operations.get(taken.id) == taken
    assert await store.operations.attempts(taken.id) == ()
    async with store.database.reading() as connection:
        for table in ("steps", "arrivals", "exits"):
            assert await connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0


async def test_a_stored_goal_is_canonical_json(store: Store) -> None:
    operation = await store.taken(a_stop())
    async with store.database.reading() as connection:
        goal = await connection.scalar(text("SELECT goal FROM operations"))
    assert json.loads(goal) == to_plain(operation.goal)
    assert ": " not in goal
    assert operation.goal.counts[values.workload(Component.NOSQL).ref] == 1
