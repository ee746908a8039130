"""What a restore in place took out of use goes for good; the cluster runs on with what it has now."""

from dataclasses import replace

import pytest

from lifecycle.decide import in_place, purge
from lifecycle.errors import NothingToPurge
from lifecycle.model import Kind
from lifecycle.operation import State
from lifecycle.retention import Verdict
from lifecycle.snapshots import name_of
from tests.lifecycle.returning import FULL, SQL_CLAIM, Cut, cut_anywhere
from tests.lifecycle.test_purge import ALL, House

PLACES = ("op-place0",)
SINCE = {name: f"{text}, and more" for name, text in FULL.items()}


def is_only_on_what_it_has(house: House) -> bool:
    """Running at the set, and no volume is there that none of its claims has."""
    bound = {claim.volume for claim in house.world.claims.values()}
    return house.runs and house.world.contents() == FULL and house.world.volumes.keys() == bound


async def test_the_old_volumes_go_with_their_bytes_and_the_cluster_runs_on_with_a_way_back() -> None:
    house = await House().exchanged()
    assert set(SINCE.values()) < set(house.world.data.values())
    assert (await house.run(await house.purge())).state is State.DONE
    assert is_only_on_what_it_has(house)
    assert set(house.world.data.values()) == set(FULL.values())
    back = await house.run(await house.exchange("op-place0", "op-place1"))
    assert back.state is State.DONE
    assert house.world.contents() == SINCE, "the set for safety needs none of them"


@cut_anywhere
async def test_cut_off_anywhere_and_taken_up_it_ends_the_same(cut: Cut) -> None:
    for count in range(100):
        house = await House().exchanged()
        begun = await house.purge(policy=ALL)
        cut(house, count)
        left = await house.cut_off(begun)
        if left is None:
            assert count > 5
            return
        ended = left if left.state is State.DONE else await house.run(left)
        assert ended.state is State.DONE
        assert is_only_on_what_it_has(house)
        assert set(house.world.captures) == set(PLACES)
        assert {one.made_by for one in house.world.snapshots.values()} == set(PLACES)
    pytest.fail("there is more to it than expected")


@cut_anywhere
async def test_of_one_given_up_anywhere_and_gone_on_with_each_old_volume_goes_with_one_of_the_two(cut: Cut) -> None:
    """With whichever set it to Retain last, and never before that one's time."""
    for count in range(300):
        house = await House().exchanged()
        cut(house, count)
        left = await house.cut_off(await house.exchange("op-middle", "op-place1"))
        if left is None:
            assert count > 15
            return
        given_up = await house.end_as_failed(left)
        for _ in range(3):
            house.world.move()
        if not house.runs and not in_place.is_half_done(house.journal.rows["op-place1"]):
            assert (await house.run(await house.start())).state is State.DONE
        assert (await house.run(await house.exchange("op-middle", "op-place2"))).state is State.DONE
        begun = given_up.phase in in_place.EXCHANGING
        house.kept_by = (*PLACES, *(["op-place1"] if begun else []), "op-place2")
        for by in house.kept_by:
            others = {one.name for one in house.world.volumes.values() if one.kept_by not in ("", by)}
            goal = await house.goal([by])
            assert (await house.run(house.begin(goal, f"op-purge-{by}"))).state is State.DONE
            assert others <= house.world.volumes.keys()
        assert is_only_on_what_it_has(house)
    pytest.fail("there is more to it than expected")


async def test_without_a_whole_newest_set_that_has_all_of_them_they_stay() -> None:
    house = await House().exchanged()
    name = name_of("op-place0", SQL_CLAIM.name)
    whole = house.world.snapshots[name]
    house.world.snapshots[name] = replace(whole, is_ready=False)
    with pytest.raises(NothingToPurge, match="newest snapshot set op-place0 is not whole any more"):
        await house.goal()
    house.world.snapshots[name] = whole
    house.journal.sets.pop("op-place0")
    assert (await house.goal()).volumes, "an older set that has all of them is enough"
    house.journal.sets.clear()
    with pytest.raises(NothingToPurge, match="no snapshot set, so the kept volumes are the only copy"):
        await house.goal()


async def test_where_nothing_could_be_cut_it_was_approved_so_and_the_capture_goes_with_them() -> None:
    house = await House().exchanged()
    row = house.journal.rows["op-place0"]
    assert row.goal.cutting
    bare = replace(row.goal, cutting=replace(row.goal.cutting, members=()))
    house.journal.rows["op-place0"] = replace(row, goal=bare)
    house.journal.sets.clear()
    goal = await house.goal()
    assert len(goal.volumes) == len(FULL)
    assert [part.ref.kind for part in goal.parts] == [Kind.SECRET]


async def test_what_the_restore_itself_needs_that_has_not_come_to_its_end_stays() -> None:
    house = await House().exchanged()
    observed = await house.cluster.picture(purge.draft(house.stock))
    with pytest.raises(NothingToPurge, match="op-place0 kept: a restore that needs it has not come to its end"):
        purge.goal(replace(house.stock, restoring=frozenset(PLACES)), observed, PLACES, Verdict())


@pytest.mark.parametrize("behind", ["", "its own"])
async def test_a_claim_that_may_get_bound_to_an_old_volume_keeps_it(behind: str) -> None:
    """As the claims of a stopped cluster are, whose volumes are made when their pods come."""
    house = await House().exchanged()
    old = next(one for one in (await house.goal()).volumes if one.claim == SQL_CLAIM.name)
    claim = replace(house.world.claims[SQL_CLAIM.name], status="Pending", volume=old.name if behind else "")
    house.world.claims[SQL_CLAIM.name] = claim
    with pytest.raises(NothingToPurge, match=f"a claim {SQL_CLAIM.name} is there again"):
        await house.goal()


async def test_what_a_later_operation_found_bound_and_kept_is_nothing_of_the_earlier_ones() -> None:
    house = await House().exchanged()
    (by,) = house.stock.kept_by
    seen = await house.cluster.picture(purge.draft(house.stock))
    assert not purge.is_gone(by, house.stock, seen)
    others = tuple(replace(one, kept_by="op-place1") for one in seen.volumes)
    assert purge.is_gone(by, house.stock, replace(seen, volumes=others))
