"""Delete and restore through the loop: cut off anywhere, refused anywhere, nothing is lost."""

from contextlib import suppress
from dataclasses import replace

import pytest

from lifecycle.by_hand import by_hand
from lifecycle.decide import delete, phases_of
from lifecycle.errors import AlreadyRunning, ClusterError, Conflict, Forbidden, Retryable, Unsafe
from lifecycle.model import Action, Ref, Step
from lifecycle.observed import Observed, Part
from lifecycle.operation import Operation, State
from lifecycle.volumes import Claim
from lifecycle.workloads import WorkloadState
from tests.fakes import values
from tests.lifecycle.returning import (
    FULL,
    NO,
    NOSQL,
    NOSQL_VOLUME,
    PAIR,
    SQL,
    SQL_CLAIM,
    SQL_VOLUME,
    Cut,
    Scene,
    after_commit,
    cut_anywhere,
    error_of,
    fails,
    outcome_of,
    taken_up_or_given_up,
)

SERVICE = values.PARTS[0]


async def test_a_delete_removes_everything_and_keeps_every_byte() -> None:
    scene = Scene()
    ended = await scene.run(await scene.delete())
    assert (ended.state, ended.failure) == (State.DONE, None)
    assert scene.is_empty
    assert scene.policies == {("Retain", "op-delete")}
    assert scene.bytes_are_there


async def test_a_restore_brings_back_the_same_bytes_and_policies_and_what_has_an_address_stayed() -> None:
    scene = Scene()
    deleted = await scene.run(await scene.delete(keeps_services=True))
    assert [part.uid for part in scene.world.parts.values()] == ["uid-s2"]
    ended = await scene.run(await scene.restore(deleted))
    assert ended.state is State.DONE
    assert scene.is_whole
    assert set(scene.world.parts) == {part.ref for part in values.PARTS}
    assert not {state.uid for state in scene.world.states.values()} & {one.uid for one in PAIR}


async def test_a_cluster_that_was_stopped_comes_back_stopped_with_the_counts_it_remembered() -> None:
    scene = Scene(running=False)
    ended = await scene.run(await scene.restore(await scene.run(await scene.delete())))
    assert ended.state is State.DONE
    assert outcome_of(ended).traffic is None
    assert [(state.replicas, state.remembered) for state in scene.world.states.values()] == [(0, 3), (0, 3)]
    assert scene.world.contents() == FULL
    assert scene.policies == {("Delete", "")}


async def test_it_can_be_deleted_and_brought_back_again_and_again() -> None:
    scene = Scene()
    for turn in range(3):
        deleted = await scene.run(await scene.delete(f"op-delet{turn}"))
        await scene.run(await scene.restore(deleted, f"op-retur{turn}"))
        assert scene.is_whole


@cut_anywhere
@taken_up_or_given_up
async def test_a_delete_cut_off_anywhere_ends_the_same_and_is_brought_back_whole(cut: Cut, goes_on: bool) -> None:
    for count in range(200):
        scene = Scene()
        cut(scene, count)
        left = await scene.cut_off(await scene.delete())
        if left is None:
            assert count > 12
            return
        ended = await scene.ended(left, goes_on=goes_on)
        assert scene.is_empty or not goes_on
        assert scene.bytes_are_there
        await scene.bring_back(ended)
        assert scene.runs
        assert scene.world.contents() == FULL
    pytest.fail("there is more to a delete than expected")


@cut_anywhere
@taken_up_or_given_up
@pytest.mark.parametrize("running", [True, False], ids=["ran", "stopped"])
async def test_a_restore_cut_off_anywhere_ends_the_same(cut: Cut, goes_on: bool, running: bool) -> None:
    for count in range(200):
        scene = Scene(running)
        deleted = await scene.run(await scene.delete())
        cut(scene, count)
        left = await scene.cut_off(await scene.restore(deleted))
        if left is None:
            assert count > 12
            return
        await scene.ended(left, goes_on=goes_on)
        if not goes_on:
            with suppress(AlreadyRunning):
                await scene.run(await scene.restore(deleted, "op-again0"))
        assert scene.world.contents() == FULL
        assert scene.policies == {("Delete", "")}
        assert scene.runs is running
        assert not [step for by, step in scene.cluster.writes if step.action is Action.REMOVE and by == left.id]
    pytest.fail("there is more to a restore than expected")


BEFORE_REMOVAL = [
    Step(Action.SCALE_TO_ZERO, NOSQL.ref),
    Step(Action.CAPTURE, delete.CAPTURE),
    Step(Action.KEEP, SQL_VOLUME.ref),
]


@pytest.mark.parametrize("error", NO, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("step", BEFORE_REMOVAL, ids=lambda step: step.action)
async def test_what_fails_before_the_first_removal_is_started_again_and_has_failed(
    step: Step, error: ClusterError
) -> None:
    scene = Scene()
    fails(scene, step, error)
    ended = await scene.run(await scene.delete())
    assert (ended.state, ended.phase) == (State.FAILED, "up-again")
    assert outcome_of(ended).back_up is True
    assert outcome_of(ended).by_hand == ()
    assert ended.failure is not None
    assert outcome_of(ended).missing == ended.failure.missing
    assert scene.runs
    assert scene.world.contents() == FULL
    assert not [step for _, step in scene.cluster.writes if step.action is Action.REMOVE]


@pytest.mark.parametrize("step", BEFORE_REMOVAL[1:], ids=lambda step: step.action)
async def test_a_cluster_that_was_stopped_is_not_started_when_its_delete_fails(step: Step) -> None:
    scene = Scene(running=False)
    fails(scene, step, Forbidden("may not"))
    ended = await scene.run(await scene.delete())
    assert "may not" in error_of(ended)
    assert outcome_of(ended).back_up is None
    assert not any(state.is_up for state in scene.world.states.values())


@pytest.mark.parametrize("fault", ["never ready", "refused"])
async def test_when_starting_again_fails_too_the_outcome_says_both_and_how_to_do_it_by_hand(fault: str) -> None:
    scene = Scene()
    fails(scene, BEFORE_REMOVAL[1], Forbidden("may not write it down"))
    if fault == "refused":
        fails(scene, Step(Action.SCALE_UP, SQL.ref), Forbidden("may not scale"))
    scene.world.never_ready = {NOSQL.ref} if fault == "never ready" else set()
    ended = await scene.run(await scene.delete())
    outcome = outcome_of(ended)
    assert outcome.back_up is False
    assert "may not write it down" in error_of(ended)
    assert outcome.by_hand == (f"kubectl scale {SQL.ref} --replicas=1",)
    assert ("may not scale" in error_of(ended)) is (fault == "refused")
    assert outcome.diagnosis is not None
    assert str(SQL.ref) in [finding.object for finding in outcome.diagnosis.findings]


async def test_cut_off_anywhere_while_it_fails_it_is_up_again_all_the_same() -> None:
    for count in range(200):
        scene = Scene()
        fails(scene, BEFORE_REMOVAL[2], Forbidden("may not"))
        after_commit(scene, count)
        left = await scene.cut_off(await scene.delete())
        if left is None:
            assert count > 20
            return
        ended = left if left.outcome else await scene.run(left)
        assert outcome_of(ended).back_up is True
        assert scene.runs
    pytest.fail("there is more to it than expected")


async def test_a_picture_that_may_not_be_read_while_a_delete_goes_down_starts_the_cluster_again() -> None:
    scene = Scene()
    scene.cluster.unreadable = {3: Forbidden("may not list pods")}
    ended = await scene.run(await scene.delete())
    assert "may not list pods" in error_of(ended)
    assert outcome_of(ended).back_up is True
    assert scene.runs


async def test_one_hiccup_late_in_a_delete_does_not_end_it_because_its_first_phase_is_long_over() -> None:
    scene = Scene()
    deleting = replace(await scene.delete(), limits={"down": 7})
    scene.journal.rows[deleting.id] = deleting
    scene.cluster.unreadable = {8: Retryable("away")}
    ended = await scene.run(deleting)
    assert not scene.cluster.unreadable
    assert (scene.clock.now() - values.NOW).total_seconds() > 7
    assert ended.state is State.DONE, outcome_of(ended).error


async def test_the_rest_of_a_cluster_starts_again_where_somebody_removed_a_workload() -> None:
    scene = Scene()
    deleting = await scene.delete()
    scene.cluster.deleted_at = {4: SQL.ref}
    ended = await scene.run(deleting)
    assert error_of(ended) == f"{SQL.ref} was deleted; not started again: {SQL.ref} was deleted"
    assert outcome_of(ended).back_up is False
    assert scene.world.states[NOSQL.ref].is_ready(NOSQL.ref.kind)


async def test_a_volume_that_never_becomes_retain_keeps_its_claim_and_its_workload() -> None:
    scene = Scene()
    scene.world.never_retained = {SQL_VOLUME.name}
    ended = await scene.run(await scene.delete())
    assert outcome_of(ended).missing == (str(SQL_VOLUME.ref),)
    assert outcome_of(ended).back_up is True
    assert scene.runs


async def test_a_capture_of_which_a_piece_never_appears_removes_nothing() -> None:
    scene = Scene()
    scene.world.torn = True
    ended = await scene.run(await scene.delete())
    assert outcome_of(ended).missing == (str(delete.CAPTURE),)
    assert outcome_of(ended).back_up is True


async def test_a_claim_that_stays_terminating_is_named_and_comes_back_when_it_is_gone() -> None:
    scene = Scene()
    scene.world.held = {SQL_CLAIM.name}
    ended = await scene.run(await scene.delete())
    assert (ended.state, outcome_of(ended).missing) == (State.FAILED, (str(SQL_CLAIM.ref),))
    assert outcome_of(ended).back_up is None
    scene.world.held = set()
    assert (await scene.run(await scene.restore(ended))).state is State.DONE
    assert scene.is_whole


REMOVALS = [Step(Action.REMOVE, one.ref) for one in (NOSQL, SERVICE, SQL_CLAIM)]
RETURNS = [
    Step(Action.MAKE, NOSQL.ref),
    Step(Action.MAKE, SERVICE.ref),
    Step(Action.REBIND, SQL_VOLUME.ref),
    Step(Action.MAKE, SQL_CLAIM.ref),
    Step(Action.SCALE_UP, SQL.ref),
    Step(Action.GIVE_BACK, SQL_VOLUME.ref),
]


@pytest.mark.parametrize("error", NO, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("step", REMOVALS, ids=lambda step: step.key)
async def test_a_removal_that_is_refused_fails_the_delete_and_a_restore_brings_all_back(
    step: Step, error: ClusterError
) -> None:
    scene = Scene()
    fails(scene, step, error)
    ended = await scene.run(await scene.delete())
    assert ended.state is State.FAILED
    assert str(step.ref) in outcome_of(ended).missing
    assert scene.bytes_are_there
    assert (await scene.run(await scene.restore(ended))).state is State.DONE
    assert scene.is_whole


@pytest.mark.parametrize("error", NO, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("step", RETURNS, ids=lambda step: step.key)
async def test_a_restore_that_is_refused_anywhere_goes_on_from_there_when_it_is_asked_again(
    step: Step, error: ClusterError
) -> None:
    scene = Scene()
    deleted = await scene.run(await scene.delete())
    fails(scene, step, error)
    assert (await scene.run(await scene.restore(deleted))).state is State.FAILED
    assert scene.bytes_are_there
    scene.world.faults.clear()
    assert (await scene.run(await scene.restore(deleted, "op-again0"))).state is State.DONE
    assert scene.is_whole


@pytest.mark.parametrize("error", [Retryable("throttled"), Conflict("changed")], ids=["throttled", "changed"])
async def test_every_single_step_refused_twice_changes_nothing_in_the_end(error: ClusterError) -> None:
    for step in (*BEFORE_REMOVAL, *REMOVALS, *RETURNS):
        scene = Scene()
        fails(scene, step, error, times=2)
        deleted = await scene.run(await scene.delete())
        assert deleted.state is State.DONE
        assert (await scene.run(await scene.restore(deleted))).state is State.DONE
        assert scene.is_whole


async def test_a_second_restore_is_refused_because_nothing_is_missing() -> None:
    scene = Scene()
    deleted = await scene.run(await scene.delete())
    await scene.run(await scene.restore(deleted))
    with pytest.raises(AlreadyRunning, match="nothing is missing"):
        await scene.restore(deleted, "op-again0")


async def refused(scene: Scene, deleted: Operation) -> str:
    with pytest.raises(Unsafe) as why:
        await scene.restore(deleted)
    return str(why.value)


def theirs(claim: Claim) -> Claim:
    return replace(claim, uid="uid-theirs", status="Pending", volume="", epoch=0)


async def test_a_restore_is_refused_where_somebody_made_a_claim_a_workload_or_a_part_since() -> None:
    scene = Scene()
    deleted = await scene.run(await scene.delete())
    scene.world.claims[SQL_CLAIM.name] = theirs(SQL_CLAIM)
    assert str(SQL_CLAIM.ref) in await refused(scene, deleted)
    scene.world.claims.clear()
    scene.world.parts[SERVICE.ref] = replace(SERVICE, uid="uid-theirs")
    assert str(SERVICE.ref) in await refused(scene, deleted)
    scene.world.parts.clear()
    scene.world.states[SQL.ref] = WorkloadState("uid-theirs")
    assert str(SQL.ref) in await refused(scene, deleted)


async def test_a_restore_is_refused_where_a_volume_is_gone_or_has_another_claim_which_it_names() -> None:
    scene = Scene()
    deleted = await scene.run(await scene.delete())
    before = dict(scene.world.volumes)
    scene.world.volumes[SQL_VOLUME.name] = replace(before[SQL_VOLUME.name], claim="theirs", claim_uid="uid-theirs")
    assert f"{SQL_VOLUME.name} belongs to claim theirs" in await refused(scene, deleted)
    del scene.world.volumes[SQL_VOLUME.name]
    assert f"{SQL_VOLUME.name} of claim {SQL_CLAIM.name} is gone" in await refused(scene, deleted)


@pytest.mark.parametrize("look", range(2, 9))
@pytest.mark.parametrize("made", ["claim", "workload", "part"])
async def test_what_somebody_makes_during_a_restore_stops_it_and_is_neither_overwritten_nor_removed(
    made: str, look: int
) -> None:
    scene = Scene()
    deleted = await scene.run(await scene.delete())
    back = await scene.restore(deleted)
    scene.cluster.looks = 0

    def meanwhile(_observed: Observed) -> None:
        if scene.cluster.looks != look:
            return
        match made:
            case "claim":
                scene.world.claims[SQL_CLAIM.name] = theirs(SQL_CLAIM)
            case "workload":
                scene.world.states[SQL.ref] = WorkloadState("uid-theirs", epoch=0)
            case _:
                scene.world.parts[SERVICE.ref] = Part(SERVICE.ref, "uid-theirs")

    scene.cluster.meanwhile = meanwhile
    ended = await scene.run(back)
    assert ended.state is State.FAILED
    assert not [step for by, step in scene.cluster.writes if by == back.id and step.uid == "uid-theirs"]
    assert not [step for by, step in scene.cluster.writes if by == back.id and step.action is Action.REMOVE]
    uids = {scene.world.uid_of(ref) for ref in (SQL_CLAIM.ref, SQL.ref, SERVICE.ref)}
    assert "uid-theirs" in uids
    assert scene.bytes_are_there


@pytest.mark.parametrize("look", range(2, 12))
@pytest.mark.parametrize("ref", [NOSQL.ref, SERVICE.ref, SQL_CLAIM.ref], ids=str)
async def test_what_somebody_removes_during_a_restore_is_made_again_or_stops_it_and_no_byte_is_lost(
    ref: Ref, look: int
) -> None:
    scene = Scene()
    deleted = await scene.run(await scene.delete())
    back = await scene.restore(deleted)
    scene.cluster.looks = 0

    def meanwhile(_observed: Observed) -> None:
        if scene.cluster.looks == look:
            scene.world.states.pop(ref, None)
            scene.world.parts.pop(ref, None)
            scene.world.claims.pop(ref.name, None)

    scene.cluster.meanwhile = meanwhile
    ended = await scene.run(back)
    assert scene.bytes_are_there
    assert ended.state is State.FAILED or scene.world.contents() == FULL


async def test_what_was_made_and_somebody_removed_is_made_again() -> None:
    scene = Scene()
    deleted = await scene.run(await scene.delete())
    back = await scene.restore(deleted)
    fails(scene, RETURNS[0], Conflict("changed"), times=3)
    removed: list[Part] = []

    def meanwhile(seen: Observed) -> None:
        if seen.part(SERVICE.ref) and not removed:
            removed.append(scene.world.parts.pop(SERVICE.ref))

    scene.cluster.meanwhile = meanwhile
    assert (await scene.run(back)).state is State.DONE
    assert removed
    assert SERVICE.ref in scene.world.parts


def test_what_is_left_by_hand_is_in_the_order_of_the_phases() -> None:
    scene = Scene()
    goal = delete.goal(scene.cluster.found, values.inventory(scene.cluster.found), keeps_services=False)
    goal = goal.marked("op-delete")
    (kept,) = [phase for phase in phases_of(goal) if phase.name == "keep"]
    assert by_hand(goal, scene.world.picture(goal), kept) == tuple(
        f'kubectl patch {volume.ref} --patch \'{{"spec":{{"persistentVolumeReclaimPolicy":"Retain"}}}}\''
        for volume in (NOSQL_VOLUME, SQL_VOLUME)
    )
