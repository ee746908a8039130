"""A hold is kept by the database, whoever asks and by which way."""

import asyncio

import pytest

from lifecycle.hold import ClusterHeld, Hold, NotHeld
from lifecycle.model import Person
from storage.ids import IdTaken
from tests.fakes.values import ALICE, OPS, planned
from tests.storage.conftest import Store, a_stop

BOB = Person("T0TML", "U0BOB")


async def hold(store: Store, identity: str = "ho-000001", cluster: str = "prod") -> Hold:
    return await store.memory.holds.hold(identity, cluster, ALICE, OPS, "the auditors are here")


async def test_nothing_begins_on_a_cluster_that_is_held_until_somebody_lets_go(store: Store) -> None:
    made = await hold(store)
    with pytest.raises(ClusterHeld, match="the auditors are here") as refused:
        await store.operations.begin(*planned(a_stop()))
    assert refused.value.hold == made
    assert await store.operations.unfinished() == ()
    released = await store.memory.holds.release("prod", BOB)
    assert (released.released_by, released.released_at) == (BOB, store.clock.now())
    assert await store.memory.holds.get(made.id) == released
    await store.operations.begin(*planned(a_stop()))


async def test_what_runs_goes_on_under_a_hold(store: Store) -> None:
    taken = await store.taken(a_stop())
    await hold(store)
    assert await store.journal.current(taken) == taken


async def test_a_hold_on_one_cluster_holds_no_other(store: Store) -> None:
    await hold(store, cluster="staging")
    await store.operations.begin(*planned(a_stop()))


async def test_of_two_at_once_one_holds_it_and_the_other_is_told_who(store: Store, other: Store) -> None:
    both = await asyncio.gather(hold(store), hold(other, "ho-000002"), return_exceptions=True)
    (made,) = [one for one in both if isinstance(one, Hold)]
    (refused,) = [one for one in both if isinstance(one, ClusterHeld)]
    assert refused.hold == made
    assert await store.memory.holds.on_each(["prod", "staging"]) == {"prod": made}


async def test_what_is_not_held_cannot_be_let_go(store: Store) -> None:
    with pytest.raises(NotHeld):
        await store.memory.holds.release("prod", BOB)
    await hold(store)
    await store.memory.holds.release("prod", BOB)
    with pytest.raises(NotHeld):
        await store.memory.holds.release("prod", BOB)
    assert await store.memory.holds.on("prod") is None


async def test_an_id_that_is_in_use_is_said(store: Store) -> None:
    await hold(store)
    with pytest.raises(IdTaken):
        await hold(store, cluster="staging")


async def test_hold_and_release_are_in_the_audit_log_with_who_and_why(store: Store) -> None:
    await hold(store)
    await store.memory.holds.release("prod", BOB)
    entries = await store.audit.entries(kinds=["held", "released"], newest_first=False)
    assert [(one.kind, one.actor, one.cluster, one.data) for one in entries] == [
        ("held", ALICE, "prod", {"reason": "the auditors are here"}),
        ("released", BOB, "prod", {}),
    ]
