"""Restores from a snapshot set: after a delete, and in place; cut off anywhere, nothing is lost."""

from dataclasses import replace

import pytest

from lifecycle.decide import in_place
from lifecycle.errors import Retryable, Unsafe
from lifecycle.model import Action, Step
from lifecycle.observed import Observed
from lifecycle.operation import State
from lifecycle.snapshots import Temperature, name_of
from lifecycle.volumes import Volume
from tests.fakes import values
from tests.fakes.world import Fault
from tests.lifecycle.returning import (
    FULL,
    NOSQL_CLAIM,
    SQL,
    SQL_CLAIM,
    Cut,
    Scene,
    cut_anywhere,
    outcome_of,
    taken_up_or_given_up,
)

SET = "op-cutset"
SINCE = {name: f"{text}, and more" for name, text in FULL.items()}


async def with_set(*, written_since: bool = True, running: bool = True) -> Scene:
    """A set was taken, and then the cluster wrote on."""
    place = Scene(running, cuts=True)
    assert (await place.run(await place.snapshot(Temperature.COLD))).state is State.DONE
    if written_since:
        place.world.data = {volume: f"{text}, and more" for volume, text in place.world.data.items()}
    return place


def old_bytes(place: Scene) -> set[str]:
    """What is on volumes that no claim has any more and that stay."""
    return {
        place.world.data[volume.name]
        for volume in place.world.volumes.values()
        if volume.policy == Volume.RETAIN and volume.kept_by
    }


async def test_a_deleted_cluster_comes_back_at_the_set_and_its_kept_volumes_stay_kept() -> None:
    place = await with_set()
    deleted = await place.run(await place.delete())
    ended = await place.run(await place.restore(deleted, of=SET))
    assert ended.state is State.DONE
    assert place.runs
    assert place.world.contents() == FULL
    assert old_bytes(place) == set(SINCE.values())


async def test_a_cluster_whose_kept_volumes_are_gone_comes_back_from_the_set() -> None:
    place = await with_set()
    deleted = await place.run(await place.delete())
    place.world.volumes.clear()
    with pytest.raises(Unsafe, match="is gone"):
        await place.restore(deleted)
    assert (await place.run(await place.restore(deleted, of=SET))).state is State.DONE
    assert place.world.contents() == FULL


async def test_a_cluster_that_somebody_erased_comes_back_from_the_set_alone() -> None:
    """The vendor's script: no record of this bot, no kept volume, no object but the capture's Secrets."""
    place = await with_set(written_since=False)
    world = place.world
    for gone in (world.states, world.claims, world.parts, world.volumes):
        gone.clear()  # type: ignore[attr-defined]
    taken = place.journal.rows[SET]
    ended = await place.run(await place.restore(taken, of=SET))
    assert ended.state is State.DONE
    assert place.runs
    assert world.contents() == FULL
    assert set(world.parts) == {part.ref for part in values.PARTS}


async def test_in_place_the_cluster_goes_back_to_the_set_and_what_was_there_is_kept_and_cut_before() -> None:
    place = await with_set()
    ended = await place.run(await place.exchange(SET))
    assert ended.state is State.DONE
    assert place.runs
    assert place.world.contents() == FULL
    assert old_bytes(place) == set(SINCE.values())
    safety = place.journal.sets["op-place0"]
    assert {place.world.cuts[one.handle] for one in safety.members} == set(SINCE.values())
    order = [step.action for step in place.journal.steps if step.ref.kind == "PersistentVolumeClaim"]
    first_removal = order.index(Action.REMOVE)
    assert order.index(Action.CUT) < first_removal < order.index(Action.MAKE)


async def test_twice_in_place_from_one_set_ends_at_the_set_again() -> None:
    place = await with_set()
    await place.run(await place.exchange(SET))
    place.world.data = {volume: f"{text}, once more" for volume, text in place.world.data.items()}
    ended = await place.run(await place.exchange(SET, "op-place1"))
    assert ended.state is State.DONE
    assert place.world.contents() == FULL
    assert place.runs


async def test_the_way_back_of_a_restore_in_place_is_the_set_that_it_took() -> None:
    place = await with_set()
    await place.run(await place.exchange(SET))
    ended = await place.run(await place.exchange("op-place0", "op-place1"))
    assert ended.state is State.DONE
    assert place.world.contents() == SINCE


async def test_a_stopped_cluster_goes_back_in_place_and_stays_stopped() -> None:
    place = await with_set(running=False)
    ended = await place.run(await place.exchange(SET))
    assert ended.state is State.DONE
    assert not any(state.replicas for state in place.world.states.values())
    assert {claim.made_by for claim in place.world.claims.values()} == {"op-place0"}


@cut_anywhere
@taken_up_or_given_up
async def test_in_place_cut_off_anywhere_it_ends_at_the_set_and_loses_nothing(cut: Cut, goes_on: bool) -> None:
    for count in range(300):
        place = await with_set()
        cut(place, count)
        left = await place.cut_off(await place.exchange(SET))
        if left is None:
            assert count > 15
            return
        ended = await place.ended(left, goes_on=goes_on)
        if not goes_on:
            for _ in range(3):
                place.world.move()  # a claim that is Terminating goes by itself, and until then a restore is refused
            if not place.runs and not in_place.is_half_done(place.journal.rows["op-place0"]):
                assert (await place.run(await place.start())).state is State.DONE
            ended = await place.run(await place.exchange(SET, "op-place1"))
        assert ended.state is State.DONE
        assert place.runs
        assert place.world.contents() == FULL
        assert set(SINCE.values()) <= set(place.world.data.values()), "what was written since is kept"
    pytest.fail("there is more to it than expected")


@cut_anywhere
async def test_after_a_delete_cut_off_anywhere_it_ends_at_the_set(cut: Cut) -> None:
    for count in range(300):
        place = await with_set()
        deleted = await place.run(await place.delete())
        cut(place, count)
        left = await place.cut_off(await place.restore(deleted, of=SET))
        if left is None:
            assert count > 10
            return
        ended = left if left.state is State.DONE else await place.run(left)
        assert ended.state is State.DONE
        assert place.world.contents() == FULL
        assert old_bytes(place) == set(SINCE.values())
    pytest.fail("there is more to it than expected")


async def test_a_set_with_a_failed_member_lets_no_claim_go() -> None:
    place = await with_set()
    going = await place.exchange(SET)
    name = name_of(SET, SQL_CLAIM.name)
    place.world.snapshots[name] = replace(place.world.snapshots[name], handle="another")
    ended = await place.run(going)
    assert ended.state is State.FAILED
    assert "stands for other data now" in (outcome_of(ended).error or "")
    assert outcome_of(ended).back_up is True
    assert place.runs
    assert place.world.contents() == SINCE


@pytest.mark.parametrize("when", ["keep", "remove-claims"])
async def test_a_snapshot_that_goes_while_the_cluster_is_down_lets_no_claim_go(when: str) -> None:
    place = await with_set()
    going = await place.exchange(SET)

    def lose(_observed: Observed) -> None:
        if place.journal.rows["op-place0"].phase == when and len(place.world.claims) == len(FULL):
            place.world.snapshots.pop(name_of(SET, SQL_CLAIM.name), None)

    place.cluster.meanwhile = lose
    ended = await place.run(going)
    if ended.state is State.DONE:
        assert when == "remove-claims", "it had gone on before anybody could see it"
        return
    assert "is gone" in (outcome_of(ended).error or "")
    assert set(SINCE.values()) <= set(place.world.data.values())


async def test_an_empty_claim_of_the_same_name_that_appears_meanwhile_stops_it_and_is_not_taken_for_ours() -> None:
    place = await with_set()
    going = await place.exchange(SET)

    def make_one(_observed: Observed) -> None:
        if place.journal.rows["op-place0"].phase == "clone" and NOSQL_CLAIM.name not in place.world.claims:
            place.world.claims[NOSQL_CLAIM.name] = replace(NOSQL_CLAIM, uid="uid-theirs", status="Pending", volume="")

    place.cluster.meanwhile = make_one
    place.world.faults[Step(Action.MAKE, NOSQL_CLAIM.ref).key] = Fault(Retryable("away"), times=1)
    ended = await place.run(going)
    assert ended.state is State.FAILED
    assert "made by somebody else meanwhile" in (outcome_of(ended).error or "")
    assert "nosqlvol-cass-set-0-0" in (outcome_of(ended).error or "")
    assert not any(state.replicas for state in place.world.states.values()), "nothing starts on it"


async def test_a_set_of_another_layout_is_refused_before_anything_changes() -> None:
    place = await with_set()
    taken = place.journal.sets[SET]
    stray = replace(taken.members[0], claim="sqlvol-mysql-set-0-7", name=name_of(SET, "sqlvol-mysql-set-0-7"))
    by = place.journal.rows[SET]
    goal = replace(by.goal, claims=(*by.goal.claims, replace(SQL_CLAIM, name=stray.claim)))
    place.journal.rows[SET] = replace(by, goal=goal)
    place.journal.sets[SET] = replace(taken, members=(*taken.members, stray))
    place.world.workloads[SQL.ref] = replace(SQL, claims=())
    with pytest.raises(Unsafe, match="of another layout"):
        await place.exchange(SET)


async def test_a_half_deleted_cluster_is_restored_as_it_was_before_a_set_is() -> None:
    place = await with_set()
    place.world.held = {SQL_CLAIM.name}
    deleted = await place.run(await place.delete())
    assert deleted.state is State.FAILED
    with pytest.raises(Unsafe, match="restore the cluster as it was first"):
        await place.restore(deleted, of=SET)
