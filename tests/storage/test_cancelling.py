"""A cancel that was acknowledged holds, whatever the executor does that has not heard of it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lifecycle.errors import Cancelled, NotCancellable
from lifecycle.model import Person, Place
from lifecycle.operation import Cancellation, Outcome, State
from lifecycle.plain import to_plain
from tests.storage.conftest import Store, a_stop
from tests.storage.test_journal import FAILURE, WAVE, told

BOB, HERE = Person("T0TML", "U0BOB"), Place("T0TML", "C0ELSEWHERE")


async def test_a_cancel_is_recorded_told_and_audited_with_who_and_why(store: Store) -> None:
    taken = await store.taken(a_stop())
    cancelled = await store.operations.cancel(taken.id, BOB, HERE, "wrong cluster")
    assert cancelled.cancellation == Cancellation(BOB, store.clock.now(), "wrong cluster")
    assert await store.operations.get(taken.id) == cancelled
    (entry,) = await store.audit.entries(kinds=["cancelled"])
    assert (entry.actor, entry.subject, entry.place) == (BOB, taken.id, taken.place)
    assert entry.data == {"phase": "down", "reason": "wrong cluster", "asked_in": to_plain(HERE)}
    assert (await told(store, taken))[-1] == "cancelled"


async def test_what_was_cancelled_is_not_cancelled_again_and_what_ended_not_at_all(store: Store) -> None:
    taken = await store.taken(a_stop())
    await store.operations.cancel(taken.id, BOB, HERE)
    with pytest.raises(NotCancellable, match="cancelled already"):
        await store.operations.cancel(taken.id, BOB, HERE)
    await store.journal.finished(taken, Outcome(State.FAILED))
    with pytest.raises(NotCancellable, match="has ended already"):
        await store.operations.cancel(taken.id, BOB, HERE)
    assert len(await store.audit.entries(kinds=["cancelled"])) == 1


async def test_an_executor_that_has_not_heard_of_it_records_no_step_and_moves_no_phase(store: Store) -> None:
    taken = await store.journal.entered(await store.taken(a_stop()), timedelta(minutes=5))
    await store.operations.cancel(taken.id, BOB, HERE)
    with pytest.raises(Cancelled):
        await store.journal.record(taken, WAVE)
    with pytest.raises(Cancelled):
        await store.journal.passed(taken, "capture")
    assert await store.operations.attempts(taken.id) == ()
    assert (await store.journal.current(taken)).phase == "down"


async def test_what_becomes_of_a_step_that_was_on_its_way_is_still_written_down(store: Store) -> None:
    taken = await store.taken(a_stop())
    await store.journal.record(taken, WAVE[:1])
    await store.operations.cancel(taken.id, BOB, HERE)
    await store.journal.arrived(taken, [str(WAVE[0].ref)])
    ended = await store.journal.finished(taken, Outcome(State.FAILED, error="its time was over"))
    assert ended.outcome == Outcome(State.FAILED, cancelled=True, error="its time was over")
    assert ended.cancellation is not None


async def test_what_reached_its_goal_all_the_same_is_done(store: Store) -> None:
    taken = await store.taken(a_stop())
    await store.operations.cancel(taken.id, BOB, HERE)
    assert (await store.journal.finished(taken, Outcome(State.DONE))).outcome == Outcome(State.DONE)


async def test_on_its_way_back_it_takes_steps_again(store: Store) -> None:
    taken = await store.taken(a_stop())
    await store.operations.cancel(taken.id, BOB, HERE)
    turned = await store.journal.turned_back(taken, replace(FAILURE, cancelled=True), "up-again")
    await store.journal.record(turned, WAVE[:1])
    assert len(await store.operations.attempts(taken.id)) == 1


async def test_a_next_process_finds_out_when_it_takes_it_up(store: Store, other: Store) -> None:
    taken = await store.taken(a_stop())
    await store.operations.cancel(taken.id, BOB, HERE)
    (unfinished,) = await other.operations.unfinished()
    assert (await other.journal.take(unfinished, "bot-2", unfinished.epoch + 1)).cancellation is not None
