"""Stop --remove and the start after it through the loop: cut off anywhere, refused anywhere, no claim is touched."""

from dataclasses import replace

import pytest

from lifecycle import configuration
from lifecycle.decide import delete, remove, returning
from lifecycle.errors import (
    AlreadyRunning,
    ClusterError,
    CountsUnknown,
    Forbidden,
    Unsafe,
)
from lifecycle.model import Action, Component, Kind, Ref, Step
from lifecycle.observed import Difference, Observed, Part
from lifecycle.operation import State
from lifecycle.volumes import Claim
from lifecycle.workloads import Owner, OwnerKind, WorkloadState
from tests.fakes import values
from tests.lifecycle.removing import SHARED, Scene
from tests.lifecycle.returning import (
    FULL,
    NO,
    NOSQL,
    PAIR,
    SQL,
    SQL_CLAIM,
    Cut,
    cut_anywhere,
    error_of,
    fails,
    outcome_of,
    taken_up_or_given_up,
)

SERVICE = values.PARTS[0]


def never_touches_storage(scene: Scene) -> bool:
    return not [step for _, step in scene.cluster.writes if step.ref.kind in (Kind.CLAIM, Kind.VOLUME)]


async def test_it_takes_everything_away_but_the_claims_and_what_all_components_share() -> None:
    scene = Scene()
    ended = await scene.run(await scene.remove())
    assert (ended.state, ended.failure) == (State.DONE, None)
    assert scene.is_removed
    assert scene.world.contents() == FULL
    assert scene.policies == {("Delete", "")}
    assert never_touches_storage(scene)
    assert {claim.status for claim in outcome_of(ended).claims} == {"Bound"}


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_start_makes_all_of_it_again_and_runs_it_on_the_same_claims(keeps: bool) -> None:
    scene = Scene()
    removal = await scene.run(await scene.remove(keeps_services=keeps))
    kept = {SHARED.ref, Ref(Kind.SERVICE, "tm-svc")} if keeps else {SHARED.ref}
    assert set(scene.world.parts) == kept
    ended = await scene.run(await scene.come_back(removal))
    assert ended.state is State.DONE
    assert scene.is_whole
    assert scene.claims_stay
    assert set(scene.world.parts) == {SHARED.ref, *(part.ref for part in values.PARTS)}
    assert {scene.world.uid_of(ref) for ref in kept} <= {SHARED.uid, "uid-s2"}, "what stayed is not made anew"


async def test_a_cluster_that_was_stopped_comes_back_running_with_the_counts_it_remembered() -> None:
    scene = Scene(running=False)
    removal = await scene.run(await scene.remove())
    assert removal.state is State.DONE
    assert scene.is_removed
    assert (await scene.run(await scene.come_back(removal))).state is State.DONE
    assert [state.replicas for state in scene.world.states.values()] == [3, 3]


async def test_what_was_at_zero_beside_others_stays_so_until_somebody_types_a_count() -> None:
    for typed, count in (({}, 0), ({Component.SQL: 2}, 2)):
        scene = Scene()
        scene.world.states[SQL.ref] = values.down(SQL, 1)
        removal = await scene.run(await scene.remove())
        back = await scene.come_back(removal, typed=typed)
        assert back.goal.left == (() if count else (SQL.ref,))
        assert (await scene.run(back)).state is State.DONE
        assert scene.world.states[SQL.ref].replicas == count


async def test_a_count_that_nobody_remembers_has_to_be_typed() -> None:
    scene = Scene(running=False)
    scene.world.states[SQL.ref] = values.down(SQL, None)
    removal = await scene.run(await scene.remove())
    with pytest.raises(CountsUnknown, match="sql=N"):
        await scene.come_back(removal)
    await scene.run(await scene.come_back(removal, typed={Component.SQL: 1}))
    assert scene.world.states[SQL.ref].replicas == 1


async def test_after_two_removals_a_start_brings_back_the_newest_and_no_capture_is_lost() -> None:
    scene = Scene()
    first = await scene.run(await scene.remove("op-first0"))
    await scene.run(await scene.come_back(first, "op-back00"))
    scene.world.states[SQL.ref] = values.ready(replace(SQL, uid=scene.world.states[SQL.ref].uid or ""), 2)
    second = await scene.run(await scene.remove("op-second"))
    assert (await scene.run(await scene.come_back(second, "op-back01"))).state is State.DONE
    assert scene.world.states[SQL.ref].replicas == 2
    assert scene.world.states[SQL.ref].made_by == "op-second"
    assert set(scene.world.captures) == {"op-first0", "op-second"}


@cut_anywhere
@taken_up_or_given_up
@pytest.mark.parametrize("running", [True, False], ids=["ran", "stopped"])
async def test_cut_off_anywhere_it_ends_the_same_and_comes_back_whole(cut: Cut, goes_on: bool, running: bool) -> None:
    for count in range(200):
        scene = Scene(running)
        cut(scene, count)
        left = await scene.cut_off(await scene.remove())
        if left is None:
            assert count > 8
            return
        ended = await scene.ended(left, goes_on=goes_on)
        assert scene.is_removed or not goes_on
        assert scene.claims_stay
        assert never_touches_storage(scene)
        if not scene.world.captures:
            assert len(scene.world.states) == len(PAIR), "nothing is removed that is not written down"
            continue
        try:
            assert (await scene.run(await scene.come_back(ended))).state is State.DONE
        except AlreadyRunning:
            assert len(scene.world.states) == len(PAIR)
        assert scene.runs
        assert FULL.items() <= scene.world.contents().items()
        assert set(scene.world.parts) == {SHARED.ref, *(part.ref for part in values.PARTS)}
    pytest.fail("there is more to it than expected")


@cut_anywhere
@taken_up_or_given_up
@pytest.mark.parametrize("overwrites", [True, False], ids=["overwrites", "compares"])
async def test_a_start_cut_off_anywhere_ends_the_same(cut: Cut, goes_on: bool, overwrites: bool) -> None:
    for count in range(200):
        scene = Scene()
        removal = await scene.run(await scene.remove())
        somebody_makes(scene, SERVICE)
        cut(scene, count)
        left = await scene.cut_off(await scene.come_back(removal, overwrites=overwrites))
        if left is None:
            assert count > 8
            return
        await scene.ended(left, goes_on=goes_on)
        if not goes_on:
            try:
                again = await scene.come_back(removal, "op-again0", overwrites=overwrites)
                assert (await scene.run(again)).state is State.DONE
            except AlreadyRunning:
                pass
        assert scene.runs
        assert scene.claims_stay
        assert scene.world.contents() == FULL
        assert scene.world.parts[SERVICE.ref].uid == "uid-theirs"
        assert bool(scene.world.differences) is not overwrites
        assert not [step for by, step in scene.cluster.writes if step.action is Action.REMOVE and by == left.id]
    pytest.fail("there is more to a start than expected")


def somebody_makes(scene: Scene, part: Part) -> None:
    """Under a name of the cluster's, and not as it was."""
    scene.world.parts[part.ref] = replace(part, uid="uid-theirs")
    scene.world.differences[part.ref] = Difference(part.ref, ("spec.selector.app",))


BEFORE_REMOVAL = [Step(Action.SCALE_TO_ZERO, NOSQL.ref), Step(Action.CAPTURE, delete.CAPTURE)]
AFTER_IT = [Step(Action.REMOVE, ref) for ref in (NOSQL.ref, SERVICE.ref)]


@pytest.mark.parametrize("error", NO, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("step", BEFORE_REMOVAL, ids=lambda step: step.action)
async def test_what_fails_before_the_first_removal_is_started_again_and_has_failed(
    step: Step, error: ClusterError
) -> None:
    scene = Scene()
    fails(scene, step, error)
    ended = await scene.run(await scene.remove())
    assert (ended.state, ended.phase) == (State.FAILED, "up-again")
    assert outcome_of(ended).back_up is True
    assert scene.runs
    assert not [step for _, step in scene.cluster.writes if step.action is Action.REMOVE]


async def test_a_cluster_that_was_stopped_is_not_started_when_it_fails() -> None:
    scene = Scene(running=False)
    fails(scene, BEFORE_REMOVAL[1], Forbidden("may not"))
    ended = await scene.run(await scene.remove())
    assert outcome_of(ended).back_up is None
    assert not any(state.is_up for state in scene.world.states.values())


@pytest.mark.parametrize("error", NO, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("step", AFTER_IT, ids=lambda step: step.key)
async def test_what_fails_half_removed_is_brought_back_whole_by_a_start(step: Step, error: ClusterError) -> None:
    scene = Scene()
    fails(scene, step, error)
    ended = await scene.run(await scene.remove())
    assert (ended.state, ended.phase) == (State.FAILED, "remove")
    assert str(step.ref) in outcome_of(ended).missing
    assert (await scene.run(await scene.come_back(ended))).state is State.DONE
    assert scene.is_whole


@pytest.mark.parametrize("error", NO, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("ref", [NOSQL.ref, SERVICE.ref], ids=str)
async def test_a_start_that_is_refused_anywhere_goes_on_from_there_when_it_is_asked_again(
    ref: Ref, error: ClusterError
) -> None:
    scene = Scene()
    removal = await scene.run(await scene.remove())
    fails(scene, Step(Action.MAKE, ref), error)
    assert (await scene.run(await scene.come_back(removal))).state is State.FAILED
    assert not any(state.is_up for state in scene.world.states.values()), "nothing runs without what it mounts"
    scene.world.faults.clear()
    assert (await scene.run(await scene.come_back(removal, "op-again0"))).state is State.DONE
    assert scene.is_whole


async def test_without_its_capture_nothing_is_removed() -> None:
    scene = Scene()
    scene.world.torn = True
    ended = await scene.run(await scene.remove())
    assert outcome_of(ended).missing == (str(delete.CAPTURE),)
    assert outcome_of(ended).back_up is True
    goal = replace(ended.goal, mark="op-other")
    assert "capture is not there" in (remove.REMOVED.obstacle(goal, scene.world.picture(goal)) or "")


@pytest.mark.parametrize("look", range(2, 8))
@pytest.mark.parametrize("how", ["gone", "owned", "terminating"])
async def test_a_claim_that_is_removed_or_would_be_during_it_stops_it(look: int, how: str) -> None:
    scene = Scene()
    removing = await scene.remove()
    scene.cluster.looks = 0

    def meanwhile(_observed: Observed) -> None:
        if scene.cluster.looks == look and SQL_CLAIM.name in scene.world.claims:
            put(scene, how)

    scene.cluster.meanwhile = meanwhile
    ended = await scene.run(removing)
    if how == "owned":
        assert scene.claims_stay, "no StatefulSet is removed that would take a claim along"
    if ended.state is State.DONE:
        assert how == "owned", "it came too late to matter"
    else:
        assert SQL_CLAIM.name in error_of(ended)


def put(scene: Scene, how: str) -> None:
    claim = scene.world.claims[SQL_CLAIM.name]
    if how == "gone":
        del scene.world.claims[claim.name]
    elif how == "owned" and SQL.ref in scene.world.states:
        scene.world.claims[claim.name] = replace(claim, goes_with=(SQL.uid,))
    elif how == "terminating":
        scene.world.claims[claim.name] = replace(claim, status=Claim.TERMINATING)


REFUSED = [
    ({"deletes_claims_when_deleted": True}, {}, "whenDeleted"),
    ({"deletes_claims_when_scaled": True}, {}, "whenScaled"),
    ({"owners": (Owner(OwnerKind.KEDA, "tm"),)}, {}, "Pause it first"),
    ({}, {"status": "Lost"}, "is Lost"),
    ({}, {"status": Claim.TERMINATING}, "is Terminating"),
    ({}, {"goes_with": ("uid-set",)}, "has ownerReferences"),
]


@pytest.mark.parametrize(("workload", "claim", "says"), REFUSED)
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_it_is_refused_where_a_claim_could_go_or_somebody_else_scales(
    workload: dict[str, object], claim: dict[str, object], says: str, running: bool
) -> None:
    found = values.discovery({} if running else {one.component: values.down(one) for one in PAIR}, workloads=PAIR)
    changed = replace(NOSQL, **workload)  # type: ignore[arg-type]
    first = replace(values.CLAIMS[0], **claim)  # type: ignore[arg-type]
    seen = replace(found.observed, claims=(first, *values.CLAIMS[1:]))
    found = replace(found, workloads=(changed, SQL), observed=seen)
    with pytest.raises(Unsafe, match=says):
        remove.goal(found, values.PARTS, {}, keeps_services=False)


async def test_an_object_that_exists_already_is_no_error_and_is_left_alone() -> None:
    scene = Scene()
    removal = await scene.run(await scene.remove())
    somebody_makes(scene, SERVICE)
    scene.world.states[SQL.ref] = replace(values.down(SQL, None), uid="uid-theirs")
    ended = await scene.run(await scene.come_back(removal))
    assert ended.state is State.DONE
    assert scene.runs
    assert scene.world.uid_of(SQL.ref) == scene.world.uid_of(SERVICE.ref) == "uid-theirs"
    assert SERVICE.ref in scene.world.differences


async def test_overwrite_makes_it_as_captured_in_place() -> None:
    scene = Scene()
    removal = await scene.run(await scene.remove())
    somebody_makes(scene, SERVICE)
    scene.world.states[SQL.ref] = replace(values.down(SQL, None), uid="uid-theirs")
    scene.world.differences[SQL.ref] = Difference(SQL.ref, ("spec.template.spec.containers[tml-sql].image",))
    assert (await scene.run(await scene.come_back(removal, overwrites=True))).state is State.DONE
    assert scene.world.differences == {}
    assert scene.world.uid_of(SQL.ref) == scene.world.uid_of(SERVICE.ref) == "uid-theirs"
    assert scene.runs


async def test_overwrite_is_refused_for_what_runs_and_for_fields_that_nobody_can_change() -> None:
    scene = Scene()
    removal = await scene.run(await scene.remove())
    scene.world.states[SQL.ref] = replace(values.ready(SQL), uid="uid-theirs")
    scene.world.differences[SQL.ref] = Difference(SQL.ref, ("spec.template",))
    with pytest.raises(Unsafe, match="runs, and is not overwritten"):
        await scene.come_back(removal, overwrites=True)
    scene.world.differences[SQL.ref] = Difference(SQL.ref, ("spec.serviceName",), ("spec.serviceName",))
    with pytest.raises(Unsafe, match=r"spec\.serviceName, which Kubernetes lets nobody change"):
        await scene.come_back(removal, overwrites=True)
    assert (await scene.run(await scene.come_back(removal))).state is State.DONE


@pytest.mark.parametrize("look", range(2, 8))
@pytest.mark.parametrize("made", ["workload", "part"])
async def test_what_somebody_makes_during_a_start_is_neither_overwritten_nor_removed(made: str, look: int) -> None:
    scene = Scene()
    removal = await scene.run(await scene.remove())
    back = await scene.come_back(removal)
    scene.cluster.looks = 0

    def meanwhile(_observed: Observed) -> None:
        if scene.cluster.looks == look and made == "workload":
            scene.world.states[SQL.ref] = WorkloadState("uid-theirs")
        elif scene.cluster.looks == look:
            scene.world.parts[SERVICE.ref] = replace(SERVICE, uid="uid-theirs")

    scene.cluster.meanwhile = meanwhile
    ended = await scene.run(back)
    assert not [step for by, step in scene.cluster.writes if by == back.id and step.uid == "uid-theirs"]
    assert not [step for by, step in scene.cluster.writes if by == back.id and step.action is Action.REMOVE]
    assert ended.state is State.FAILED or made == "part"
    assert scene.claims_stay


async def test_a_claim_that_is_gone_since_has_to_be_wanted_and_one_that_goes_is_waited_for() -> None:
    scene = Scene()
    removal = await scene.run(await scene.remove())
    there = scene.world.claims.pop(SQL_CLAIM.name)
    back = returning.goal(removal, scene.world.picture(returning.draft(removal)), {}, {})
    assert back.absent == (f"claim {SQL_CLAIM.name} is gone since: its StatefulSet makes an EMPTY one",)
    scene.world.claims[SQL_CLAIM.name] = replace(there, volume="pvc-other")
    back = returning.goal(removal, scene.world.picture(returning.draft(removal)), {}, {})
    assert back.absent == (f"claim {SQL_CLAIM.name} has another volume than before: pvc-other",)
    scene.world.claims[SQL_CLAIM.name] = replace(there, status=Claim.TERMINATING)
    with pytest.raises(Unsafe, match="is Terminating"):
        await scene.come_back(removal)


async def test_a_start_on_an_empty_volume_of_sql_has_to_show_its_configuration_and_one_on_the_same_has_not() -> None:
    scene = Scene()
    removal = await scene.run(await scene.remove())
    kept = await scene.come_back(removal)
    assert not configuration.is_due(kept.goal, scene.world.claims.values())
    await scene.end_as_failed(kept)
    del scene.world.claims[SQL_CLAIM.name]
    emptied = await scene.run(await scene.come_back(removal, "op-again0"))
    assert configuration.is_due(emptied.goal, outcome_of(emptied).claims)
    assert configuration.is_missed(emptied)


async def test_a_start_is_refused_where_keda_would_scale_what_is_made() -> None:
    scene = Scene()
    removal = await scene.run(await scene.remove())
    scene.cluster.scaled_by = {SQL.ref: (Owner(OwnerKind.KEDA, "sql"),)}
    with pytest.raises(Unsafe, match="KEDA's ScaledObject sql"):
        await scene.come_back(removal)


async def test_a_start_of_what_is_whole_and_runs_is_refused() -> None:
    scene = Scene()
    removal = await scene.run(await scene.remove())
    await scene.run(await scene.come_back(removal))
    with pytest.raises(AlreadyRunning):
        await scene.come_back(removal, "op-again0")
    with pytest.raises(Unsafe, match="cannot be kept"):
        await scene.come_back(removal, "op-again0", typed={Component.SQL: 4})


async def test_an_untethered_cluster_with_several_sql_pods_comes_back_with_a_warning() -> None:
    scene = Scene(running=False)
    scene.cluster.found = replace(scene.cluster.found, mode="untethered")
    removal = await scene.run(await scene.remove())
    assert (await scene.come_back(removal)).goal.unverified
