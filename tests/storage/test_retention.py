"""What is remembered of what is kept: notices that are told once, pins, and what makes a purge void."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from lifecycle.decide import delete, purge, restore
from lifecycle.decide.purge import Stock
from lifecycle.errors import ClusterBusy, PurgeVoid
from lifecycle.model import BOT, Person, Place, Verb
from lifecycle.operation import Goal, Operation, Outcome, State
from lifecycle.retention import Purging
from lifecycle.snapshots import Ending, SnapshotSet, Temperature
from lifecycle.volumes import Snapshot
from storage.retention import KeptVolumes, NoSuchSet, NothingToExtend, Notice, NoticeState
from tests.fakes import values
from tests.fakes.values import planned
from tests.storage.conftest import Store, a_stop

BOB = Person("T0TML", "U0BOB")
OPS = Place("T0TML", "C0OPS")
DAY = 24 * 3600.0
WEEK = timedelta(days=7)


def a_delete(identity: str = "op-delete") -> Operation:
    found = values.discovery()
    goal = replace(delete.goal(found, values.inventory(found), keeps_services=False), keeps=WEEK)
    return values.operation(goal.marked(identity), identity, phase="remove-claims")


def a_purge(
    identity: str = "op-purge0", deletes: tuple[str, ...] = ("op-delete",), **sets: tuple[str, ...]
) -> Operation:
    goal: Goal = replace(purge.draft(Stock()), purging=Purging(deletes, **sets))
    return replace(values.operation(goal.marked(identity), identity), requester=BOT)


def a_set(identity: str, **changes: object) -> SnapshotSet:
    member = Snapshot(f"tml-{identity}-c", "uid", "c", identity)
    made = SnapshotSet(identity, Temperature.HOT, Ending.RUNNING, values.NOW, (member,), (), "sha")
    return replace(made, **changes)  # type: ignore[arg-type]


async def deleted(store: Store) -> Operation:
    return await store.run(a_delete(), State.DONE, 1)


async def kept(store: Store) -> KeptVolumes:
    (one,) = (await store.retention.of("prod")).volumes
    return one


async def announced(store: Store, identity: str = "no-000001") -> Notice:
    notice = await store.retention.announce((await kept(store)).by, OPS, lambda _: identity)
    assert notice
    return notice


async def kinds(store: Store) -> list[str]:
    return [one.kind for one in await store.audit.entries(newest_first=False, limit=1000)]


async def with_set(store: Store, identity: str) -> None:
    taken = await store.taken(a_stop(identity))
    await store.journal.saved(taken, a_set(identity))
    await store.journal.finished(taken, Outcome(State.DONE))


async def test_a_notice_is_given_a_day_before_and_once_by_all_processes(store: Store, other: Store) -> None:
    await deleted(store)
    assert await store.retention.announce((await kept(store)).by, OPS, lambda _: "no-000001") is None
    store.clock.advance(6 * DAY)
    one = await kept(store)
    given = await asyncio.gather(
        *(each.retention.announce(one.by, OPS, lambda _, n=n: f"no-00000{n}") for n, each in enumerate((store, other)))  # type: ignore[misc]
    )
    (notice,) = (one for one in given if one)
    assert notice.due_at - (await store.retention.moment()) <= timedelta(days=1)
    assert (await kinds(store)).count("notice") == 1
    due = await store.messages.due()
    assert notice.id in {one.subject for one in due}


async def test_keep_longer_counts_once_however_often_it_is_pressed_and_is_announced_again(
    store: Store, other: Store
) -> None:
    await deleted(store)
    store.clock.advance(6 * DAY)
    notice = await announced(store)

    async def press(each: Store) -> Notice | NothingToExtend:
        try:
            return await each.retention.extend(notice.id, BOB, WEEK)
        except NothingToExtend as refusal:
            return refusal

    came = await asyncio.gather(*(press(each) for each in (store, other) * 10))
    (extended,) = (one for one in came if isinstance(one, Notice))
    assert extended.kept_until == notice.due_at + WEEK
    assert (await kinds(store)).count("notice-extended") == 1
    store.clock.advance(3 * DAY)
    assert await store.retention.announce((await kept(store)).by, OPS, lambda _: "no-000002") is None
    store.clock.advance(4 * DAY)
    again = await announced(store, "no-000002")
    assert again.due_at >= notice.due_at + WEEK


async def test_a_purge_begins_only_when_it_is_time_and_nobody_kept_it_longer(store: Store) -> None:
    await deleted(store)
    store.clock.advance(6 * DAY)
    notice = await announced(store)
    with pytest.raises(PurgeVoid):
        await store.retention.begin(notice, *planned(a_purge()))
    await store.retention.extend(notice.id, BOB, WEEK)
    store.clock.advance(30 * DAY)
    with pytest.raises(PurgeVoid):
        await store.retention.begin(notice, *planned(a_purge()))
    assert await store.operations.running_on("prod") is None


async def test_who_has_the_slot_goes_first_and_the_notice_stays_open(store: Store) -> None:
    await deleted(store)
    store.clock.advance(6 * DAY)
    notice = await announced(store)
    store.clock.advance(2 * DAY)
    await store.taken(a_stop())
    with pytest.raises(ClusterBusy):
        await store.retention.begin(notice, *planned(a_purge()))
    there = await store.retention.notice(notice.id)
    assert there
    assert there.state is NoticeState.OPEN


async def test_a_restore_that_came_first_makes_it_void_in_the_transaction_that_would_begin_it(store: Store) -> None:
    removal = await deleted(store)
    store.clock.advance(6 * DAY)
    notice = await announced(store)
    store.clock.advance(2 * DAY)
    await store.run(values.operation(restore.draft(removal).marked("op-return"), "op-return"), State.DONE, 1)
    with pytest.raises(PurgeVoid, match="was restored meanwhile"):
        await store.retention.begin(notice, *planned(a_purge()))
    with pytest.raises(PurgeVoid, match="was restored meanwhile"):
        await store.operations.begin(*planned(a_purge()))
    await store.retention.void_overtaken("prod")
    there = await store.retention.notice(notice.id)
    assert there
    assert there.state is NoticeState.VOID
    assert not (await store.retention.of("prod")).volumes


async def test_what_was_purged_is_kept_no_more_and_is_not_announced_again(store: Store) -> None:
    await deleted(store)
    store.clock.advance(6 * DAY)
    notice = await announced(store)
    delete = (await kept(store)).by
    store.clock.advance(2 * DAY)
    begun = await store.retention.begin(notice, *planned(a_purge()))
    assert await store.retention.announce(delete, OPS, lambda _: "no-000009") is None
    taken = await store.journal.take(begun, "bot-1", begun.epoch + 1)
    await store.journal.finished(taken, Outcome(State.DONE))
    records = await store.retention.of("prod")
    assert (records.volumes, records.last_way_back) == ((), "op-delete")
    announcing = store.retention.announce(delete, OPS, lambda _: "no-000010")
    assert await announcing is None, "not even by who looked while it was still there"
    assert await store.retention.purge_of("op-delete") == "op-purge0"
    with pytest.raises(PurgeVoid, match="purged already"):
        await store.operations.begin(*planned(a_purge("op-purge1")))


async def test_a_purge_that_failed_is_announced_anew(store: Store) -> None:
    await deleted(store)
    store.clock.advance(6 * DAY)
    notice = await announced(store)
    store.clock.advance(2 * DAY)
    begun = await store.retention.begin(notice, *planned(a_purge()))
    taken = await store.journal.take(begun, "bot-1", begun.epoch + 1)
    await store.journal.finished(taken, Outcome(State.FAILED, error="the disk is on fire"))
    again = await announced(store, "no-000002")
    assert again.due_at == await store.retention.moment() + timedelta(days=1)


async def test_why_it_is_held_is_told_once_for_each_reason(store: Store) -> None:
    await deleted(store)
    store.clock.advance(6 * DAY)
    notice = await announced(store)
    for why in ("a", "a", "b", "b", "a"):
        await store.retention.hold(notice, why)
    assert (await kinds(store)).count("notice-held") == 3


async def test_a_pinned_set_is_in_no_purge_and_pinning_twice_is_recorded_once(store: Store) -> None:
    await with_set(store, "op-set001")
    for _ in range(2):
        await store.retention.pin("op-set001", BOB, OPS)
    with pytest.raises(PurgeVoid, match="was pinned meanwhile"):
        await store.operations.begin(*planned(a_purge(deletes=(), sets=("op-set001",))))
    assert (await store.retention.of("prod")).pins["op-set001"].person == BOB
    await store.retention.unpin("op-set001", BOB, OPS)
    await store.run(a_purge(deletes=(), sets=("op-set001",)), State.DONE, 1)
    assert (await store.retention.of("prod")).sets == ()
    assert (await kinds(store)).count("pinned") == 1
    for change in (store.retention.pin, store.retention.unpin):
        with pytest.raises(NoSuchSet):
            await change("op-set001", BOB, OPS)


async def test_what_somebody_removed_by_hand_is_settled_once(store: Store) -> None:
    await deleted(store)
    store.clock.advance(6 * DAY)
    await announced(store)
    one = await kept(store)
    for _ in range(2):
        await store.retention.settle(one)
    assert (await kinds(store)).count("purge-settled") == 1
    assert not (await store.retention.of("prod")).volumes
    assert await store.retention.purge_of("op-delete") is None
    assert await store.audit.verify() is None


async def test_a_set_that_goes_right_now_cannot_be_pinned_any_more(store: Store) -> None:
    await with_set(store, "op-set001")
    await store.operations.begin(*planned(a_purge(deletes=(), sets=("op-set001",))))
    with pytest.raises(NoSuchSet, match="goes right now"):
        await store.retention.pin("op-set001", BOB, OPS)
    assert "pinned" not in await kinds(store)


async def test_what_a_restore_needs_that_failed_stays_until_one_has_come_to_its_end(store: Store) -> None:
    await deleted(store)
    goal = replace(restore.draft(a_delete()), source="op-delete").marked("op-back01")
    failed = await store.run(values.operation(goal, "op-back01", phase="make"), State.FAILED, 2)
    assert (await store.retention.of("prod")).restoring == {"op-delete", failed.id}
    with pytest.raises(PurgeVoid, match="op-delete has not come to its end"):
        await store.operations.begin(*planned(a_purge()))
    await store.run(values.operation(goal.marked("op-back02"), "op-back02", phase="make"), State.DONE, 3)
    assert not (await store.retention.of("prod")).restoring


def an_exchange(identity: str = "op-place0", phase: str = "up", *, volumes: bool = True) -> Operation:
    """A restore in place to the set op-set001."""
    goal = replace(a_delete().goal, verb=Verb.RESTORE_IN_PLACE, chosen="op-set001")
    goal = goal if volumes else replace(goal, volumes=())
    return values.operation(goal.marked(identity), identity, phase=phase)


@pytest.mark.parametrize(
    ("verb", "phase", "state", "keeps"),
    [
        (Verb.DELETE, "remove", State.FAILED, True),
        (Verb.DELETE, "remove-claims", State.DONE, True),
        (Verb.DELETE, "up-again", State.FAILED, False),
        (Verb.RESTORE_IN_PLACE, "keep", State.FAILED, False),
        (Verb.RESTORE_IN_PLACE, "up-again", State.FAILED, False),
        (Verb.RESTORE_IN_PLACE, "remove-claims", State.FAILED, True),
        (Verb.RESTORE_IN_PLACE, "clone", State.FAILED, True),
        (Verb.RESTORE_IN_PLACE, "up", State.FAILED, True),
        (Verb.RESTORE_IN_PLACE, "up", State.DONE, True),
        (Verb.RESTORE, "up", State.DONE, False),
        (Verb.START, "up", State.DONE, False),
    ],
    ids=str,
)
async def test_volumes_are_kept_by_what_may_have_taken_their_claims_away(
    verb: Verb, phase: str, state: State, keeps: bool, store: Store
) -> None:
    goal = replace(a_delete().goal, verb=verb)
    await store.run(values.operation(goal.marked("op-any000"), "op-any000", phase=phase), state, 1)
    kept_by = [one.by.id for one in (await store.retention.of("prod")).volumes]
    assert kept_by == (["op-any000"] if keeps else [])


async def test_what_a_restore_in_place_kept_is_announced_and_purged_like_what_a_delete_kept(store: Store) -> None:
    await store.run(an_exchange(), State.DONE, 1)
    assert (await store.retention.of("prod")).last_way_back is None
    store.clock.advance(6 * DAY)
    notice = await announced(store)
    assert notice.by == "op-place0"
    store.clock.advance(2 * DAY)
    begun = await store.retention.begin(notice, *planned(a_purge(deletes=("op-place0",))))
    taken = await store.journal.take(begun, "bot-1", begun.epoch + 1)
    await store.journal.finished(taken, Outcome(State.DONE))
    assert not (await store.retention.of("prod")).volumes
    assert await store.retention.purge_of("op-place0") == "op-purge0"


async def test_one_that_found_no_volume_to_keep_is_not_listed(store: Store) -> None:
    await store.run(an_exchange(volumes=False), State.DONE, 1)
    assert not (await store.retention.of("prod")).volumes


async def test_what_a_restore_in_place_kept_that_failed_stays_until_one_has_come_to_its_end(store: Store) -> None:
    await store.run(an_exchange(phase="clone"), State.FAILED, 1)
    assert "op-place0" in (await store.retention.of("prod")).restoring
    with pytest.raises(PurgeVoid, match="op-place0 has not come to its end"):
        await store.operations.begin(*planned(a_purge(deletes=("op-place0",))))
    await store.run(an_exchange("op-place1"), State.DONE, 2)
    await store.operations.begin(*planned(a_purge(deletes=("op-place0", "op-place1"))))


async def test_while_the_set_of_before_is_restored_its_operation_lets_nothing_go(store: Store) -> None:
    await store.run(an_exchange(), State.DONE, 1)
    back = an_exchange("op-place1", phase="clone")
    back = replace(back, goal=replace(back.goal, chosen="op-place0"))
    await store.run(back, State.FAILED, 2)
    with pytest.raises(PurgeVoid, match="op-place0 has not come to its end"):
        await store.operations.begin(*planned(a_purge(deletes=("op-place0",))))


async def test_a_restore_in_place_approved_without_a_word_of_a_purge_is_never_announced(store: Store) -> None:
    silent = an_exchange()
    await store.run(replace(silent, goal=replace(silent.goal, keeps=None)), State.DONE, 1)
    store.clock.advance(900 * DAY)
    one = await kept(store)
    assert await store.retention.announce(one.by, OPS, lambda _: "no-000001") is None
    assert one.keeping.until is None
