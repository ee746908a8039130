"""The sets, and what restore tests said of them: with its audit entry in one transaction, once."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lifecycle.decide import restore, snapshot, verify
from lifecycle.errors import Fenced
from lifecycle.model import Verb
from lifecycle.operation import Operation, Outcome, State
from lifecycle.snapshots import Ending, SnapshotSet, Temperature
from lifecycle.verification import Likeness, Result, Verdict, Verification
from lifecycle.volumes import Snapshot
from tests.fakes import values
from tests.fakes.values import planned
from tests.storage.conftest import Store

FOUND = values.discovery()
TAKEN = SnapshotSet(
    "op-000001",
    Temperature.HOT,
    Ending.RUNNING,
    values.NOW,
    tuple(Snapshot(f"tml-op-000001-{one.name}", "uid", one.name, "op-000001", size=1) for one in values.CLAIMS),
    (),
    "sha256",
)
LIKE = Likeness("registry/sql:1", "/data")


async def with_set(store: Store) -> Operation:
    """It was taken; the operation that did."""
    goal = snapshot.goal(FOUND, values.csi_inventory(FOUND), Temperature.HOT, ()).marked("op-000001")
    operation = await store.taken(values.operation(goal))
    await store.journal.saved(operation, TAKEN)
    return await store.journal.finished(operation, Outcome(State.DONE))


async def begun_test(store: Store, by: Operation, identity: str) -> Operation:
    goal = verify.goal(TAKEN, by, {one.name: LIKE for one in values.CLAIMS}, {}).marked(identity)
    return await store.taken(values.operation(goal, identity))


def verification(by: Operation, *results: Result) -> Verification:
    verdicts = tuple(Verdict(claim.name, one, 1) for claim, one in zip(values.CLAIMS, results, strict=True))
    return Verification(TAKEN.id, by.id, values.NOW + timedelta(hours=1), verdicts)


PASSED = (Result.PASSED, Result.PASSED)
BAD = (Result.PASSED, Result.FAILED)
OPEN = (Result.PASSED, Result.NOT_CHECKED)


async def known(store: Store) -> Verification | None:
    (kept,) = await store.sets.of("prod")
    return kept.verification


async def test_a_set_was_never_verified_until_it_was_and_both_are_written_at_once(store: Store) -> None:
    by = await with_set(store)
    assert await known(store) is None
    test = await begun_test(store, by, "op-000002")
    found = verification(test, *BAD)
    await store.journal.verified(test, found)
    assert await known(store) == found
    (entry,) = await store.audit.entries(kinds=["verified"])
    assert (entry.subject, entry.data["set"], entry.data["result"]) == ("op-000002", "op-000001", "failed")
    assert [one["result"] for one in entry.data["verdicts"]] == ["passed", "failed"]


async def test_it_is_told_once_even_if_the_process_died_before_it_went_on(store: Store) -> None:
    test = await begun_test(store, await with_set(store), "op-000002")
    await store.journal.verified(test, verification(test, *BAD))
    over = await store.journal.take(test, "bot-2", test.epoch + 1)
    later = replace(verification(test, *BAD), at=values.NOW + timedelta(hours=2))
    await store.journal.verified(over, later)
    assert len(await store.audit.entries(kinds=["verified"])) == 1
    assert await known(store) == verification(test, *BAD)
    with pytest.raises(Fenced):
        await store.journal.verified(test, later)


@pytest.mark.parametrize("first", [PASSED, BAD, OPEN])
@pytest.mark.parametrize("second", [PASSED, BAD, OPEN])
async def test_the_newest_that_said_something_counts(
    store: Store, first: tuple[Result, ...], second: tuple[Result, ...]
) -> None:
    by = await with_set(store)
    found = []
    for identity, results in (("op-000002", first), ("op-000003", second)):
        test = await begun_test(store, by, identity)
        found.append(verification(test, *results))
        await store.journal.verified(test, found[-1])
        await store.journal.finished(test, Outcome(State.DONE))
    hides_nothing = first != OPEN and second == OPEN
    assert await known(store) == found[0 if hides_nothing else 1]


async def test_a_set_that_is_bound_anew_is_recorded_so_once_and_stays_what_it_was_otherwise(store: Store) -> None:
    by = await with_set(store)
    goal = restore.draft(by, TAKEN, by).marked("op-000002")
    going = await store.taken(values.operation(goal, "op-000002"))
    first = TAKEN.members[0]
    now = (replace(first, uid="uid-new", content="content-new", size=0, cut_at=values.NOW + timedelta(days=1)),)
    for _ in range(2):
        await store.journal.rebound(going, now)
    (kept,) = await store.sets.of("prod")
    assert kept.content == replace(
        TAKEN, members=(replace(first, uid="uid-new", content="content-new"), *TAKEN.members[1:])
    )
    (entry,) = await store.audit.entries(kinds=["set-rebound"])
    assert (entry.subject, entry.data["set"]) == ("op-000002", TAKEN.id)
    assert [one["uid"] for one in (*entry.data["before"], *entry.data["now"])] == ["uid", "uid-new"]
    over = await store.journal.take(going, "bot-2", going.epoch + 1)
    with pytest.raises(Fenced):
        await store.journal.rebound(going, now)
    await store.journal.rebound(over, now)
    assert await store.operations.get(over.id) == over, "it survives the way through the database"


async def test_a_test_is_no_change_of_the_cluster(store: Store) -> None:
    by = await with_set(store)
    test = await begun_test(store, by, "op-000002")
    assert (await store.operations.latest("prod")) == test
    assert (await store.operations.latest_change("prod")) == by
    assert test.verb is Verb.VERIFY


async def test_a_test_survives_the_way_through_the_database(store: Store) -> None:
    begun = await begun_test(store, await with_set(store), "op-000002")
    assert await store.operations.get("op-000002") == begun
    assert planned(begun)[1].goal.verifying == begun.goal.verifying
