"""Snapshot sets: cold, hot, on the way of a stop and of a delete; cut off anywhere, refused anywhere."""

from dataclasses import replace
from itertools import product

import pytest

from lifecycle.decide import delete, phases_of, snapshot
from lifecycle.errors import ClusterError, Conflict, Forbidden, Invalid, Retryable, Unsafe
from lifecycle.model import Action, Component, Step, Verb
from lifecycle.observed import Inventory, Observed
from lifecycle.operation import Operation, State
from lifecycle.plan import plan
from lifecycle.snapshots import Ending, Temperature, choose, ending, name_of
from lifecycle.volumes import Snapshot, SnapshotClass
from lifecycle.workloads import Exit
from tests.fakes import values
from tests.fakes.world import Fault
from tests.lifecycle.returning import (
    FULL,
    NOSQL,
    NOSQL_CLAIM,
    PAIR,
    SQL,
    SQL_CLAIM,
    Cut,
    Scene,
    cut_anywhere,
    outcome_of,
)

COLD, HOT = Temperature.COLD, Temperature.HOT


def scene(*, running: bool = True) -> Scene:
    return Scene(running, cuts=True)


async def test_a_cold_set_is_cut_while_everything_is_down_and_the_cluster_is_up_before_it_is_ready() -> None:
    place = scene()
    ended = await place.run(await place.snapshot(COLD))
    assert ended.state is State.DONE
    assert place.world.pods_at_cut == {0}
    assert place.is_whole
    taken = place.journal.sets["op-cutset"]
    assert place.is_good(taken)
    assert (taken.ending, taken.temperature, taken.capture) == (Ending.CLEAN, COLD, "sha256-op-cutset")
    order = [step.action for step in place.journal.steps]
    assert order.index(Action.CUT) < order.index(Action.SCALE_UP) < order.index(Action.RETAIN)


async def test_a_hot_set_touches_no_pod() -> None:
    place = scene()
    ended = await place.run(await place.snapshot(HOT))
    assert ended.state is State.DONE
    assert {step.action for step in place.journal.steps} == {Action.CAPTURE, Action.CUT, Action.RETAIN}
    assert place.is_good(place.journal.sets["op-cutset"])
    assert place.journal.sets["op-cutset"].ending is Ending.RUNNING


@pytest.mark.parametrize("asked", [COLD, HOT])
async def test_a_set_of_a_cluster_that_is_down_is_cold_and_starts_nothing(asked: Temperature) -> None:
    place = scene(running=False)
    ended = await place.run(await place.snapshot(asked))
    assert ended.state is State.DONE
    assert outcome_of(ended).traffic is None
    assert not any(state.replicas for state in place.world.states.values())
    taken = place.journal.sets["op-cutset"]
    assert (taken.temperature, taken.ending) == (COLD, Ending.UNSEEN)
    assert place.is_good(taken)


async def test_a_stop_takes_a_set_while_everything_is_down_and_stays_down() -> None:
    place = scene()
    ended = await place.run(await place.stop())
    assert ended.state is State.DONE
    assert not any(state.pods for state in place.world.states.values())
    assert place.is_good(place.journal.sets["op-stop00"])


async def test_a_delete_takes_a_set_before_it_keeps_and_removes() -> None:
    place = scene()
    ended = await place.run(await place.delete())
    assert ended.state is State.DONE
    order = [step.action for step in place.journal.steps]
    assert order.index(Action.RETAIN) < order.index(Action.KEEP) < order.index(Action.REMOVE)
    assert place.is_good(place.journal.sets["op-delete"])
    assert place.is_empty
    assert place.bytes_are_there


@pytest.mark.parametrize("killed", [SQL.ref, NOSQL.ref], ids=str)
async def test_a_set_after_a_database_that_was_killed_is_not_clean(killed: object) -> None:
    place = scene()
    place.world.killed = {SQL.ref} if killed == SQL.ref else {NOSQL.ref}
    await place.run(await place.snapshot(COLD))
    assert place.journal.sets["op-cutset"].ending is Ending.KILLED


@pytest.mark.parametrize(
    ("exits", "unseen", "said"),
    [
        ([0, 0], [], Ending.CLEAN),
        ([0, 1], [], Ending.CLEAN),
        ([0], ["mysql-set-0-0/sql"], Ending.UNSEEN),
        ([], ["mysql-set-0-0/sql"], Ending.UNSEEN),
        ([137], ["mysql-set-0-0/sql"], Ending.KILLED),
        ([0, 137], [], Ending.KILLED),
    ],
)
def test_a_set_is_clean_only_if_every_end_was_seen_and_none_was_a_kill(
    exits: list[int], unseen: list[str], said: Ending
) -> None:
    assert ending([Exit("pod", f"uid-{at}", "sql", code) for at, code in enumerate(exits)], unseen) is said


SETS = ("cold", "hot", "stop", "delete")


async def begun(place: Scene, what: str) -> Operation:
    match what:
        case "cold" | "hot":
            return await place.snapshot(Temperature(what))
        case "stop":
            return await place.stop()
        case _:
            return await place.delete()


def test_a_claim_whose_volume_is_gone_or_anothers_is_in_no_set_and_makes_one_incomplete() -> None:
    claim = replace(values.CLAIMS[0], status="Lost")
    classes = values.SNAPSHOT_CLASSES
    for behind in (None, values.volume_of(claim, claim_uid="uid-theirs", driver=values.CSI, is_csi=True)):
        volumes = {claim.name: behind} if behind else {}
        members, (unsaved,) = choose((claim,), volumes, classes, ())
        assert (members, unsaved.is_wanted) == ((), True)
        assert unsaved.why == "its volume pvc-1 is gone, or another claim's"


@pytest.mark.parametrize("what", SETS)
@cut_anywhere
async def test_cut_off_anywhere_and_taken_up_it_ends_with_the_same_set(cut: Cut, what: str) -> None:
    for count in range(200):
        place = scene()
        cut(place, count)
        left = await place.cut_off(await begun(place, what))
        if left is None:
            assert count > 5
            return
        ended = left if left.state is State.DONE else await place.run(left)
        assert ended.state is State.DONE
        (taken,) = place.journal.sets.values()
        assert place.is_good(taken)
        assert len(place.world.snapshots) == len(FULL)
        assert place.bytes_are_there
        if what in ("cold", "hot"):
            assert place.is_whole
    pytest.fail("there is more to it than expected")


NEVER_SAVED = [
    pytest.param(Fault(Forbidden("no right to volumesnapshots")), id="refused"),
    pytest.param(Fault(Invalid("no such class")), id="invalid"),
    pytest.param(None, id="never cut"),
]


@pytest.mark.parametrize("fault", NEVER_SAVED)
@pytest.mark.parametrize("claim", FULL)
async def test_where_one_volume_cannot_be_cut_the_cluster_is_up_again_before_the_failure_is_told(
    claim: str, fault: Fault | None
) -> None:
    for what in ("cold", "delete"):
        place = scene()
        break_cut(place, claim, fault)
        ended = await place.run(await begun(place, what))
        assert ended.state is State.FAILED
        assert outcome_of(ended).back_up is True
        assert place.is_whole
        assert not place.journal.sets


def break_cut(place: Scene, claim: str, fault: Fault | None) -> None:
    if fault is None:
        place.world.never_cut = {claim}
    else:
        found = place.world.claims[claim]
        place.world.faults[Step(Action.CUT, found.ref, uid=found.uid).key] = fault


async def test_a_stop_whose_set_fails_stays_down_because_that_is_what_was_asked_for() -> None:
    place = scene()
    place.world.never_cut = {SQL_CLAIM.name}
    ended = await place.run(await place.stop())
    assert (ended.state, ended.phase) == (State.FAILED, "cut")
    assert not any(state.replicas for state in place.world.states.values())
    assert outcome_of(ended).missing == (f"volumesnapshot/{name_of('op-stop00', SQL_CLAIM.name)}",)


async def test_a_cold_set_that_is_never_ready_fails_with_the_cluster_long_up() -> None:
    place = scene()
    place.world.never_uploaded = {SQL_CLAIM.name}
    ended = await place.run(await place.snapshot(COLD))
    assert (ended.state, ended.phase) == (State.FAILED, "ready")
    assert place.is_whole
    assert not place.journal.sets
    assert outcome_of(ended).done == (f"volumesnapshot/{name_of('op-cutset', NOSQL_CLAIM.name)}",)


async def test_a_delete_whose_set_is_never_ready_removes_nothing_and_starts_again() -> None:
    place = scene()
    place.world.never_uploaded = {SQL_CLAIM.name}
    ended = await place.run(await place.delete())
    assert ended.state is State.FAILED
    assert place.is_whole


async def test_somebody_who_starts_a_workload_while_it_is_cut_spoils_a_cold_set_and_it_says_so() -> None:
    place = scene()
    place.world.never_cut = {SQL_CLAIM.name}

    def start_one(_observed: Observed) -> None:
        state = place.world.states[NOSQL.ref]
        if place.world.snapshots and not state.replicas:
            place.world.states[NOSQL.ref] = replace(state, replicas=1, generation=state.generation + 1)

    place.cluster.meanwhile = start_one
    ended = await place.run(await place.snapshot(COLD))
    assert ended.state is State.FAILED
    assert "statefulset/cass-set-0 was started meanwhile" in (outcome_of(ended).error or "")
    assert place.runs


@pytest.mark.parametrize("what", ["cold", "hot"])
async def test_a_snapshot_that_somebody_deletes_before_it_is_ready_fails_the_set(what: str) -> None:
    place = scene()
    place.world.never_uploaded = {SQL_CLAIM.name}

    def delete_it(_observed: Observed) -> None:
        if place.journal.rows["op-cutset"].phase == "ready":
            place.world.snapshots.pop(name_of("op-cutset", SQL_CLAIM.name), None)

    place.cluster.meanwhile = delete_it
    ended = await place.run(await begun(place, what))
    assert ended.state is State.FAILED
    assert "was deleted" in (outcome_of(ended).error or "")
    assert place.is_whole


async def test_a_name_that_somebody_else_took_is_never_taken_for_ours() -> None:
    place = scene()
    name = name_of("op-cutset", SQL_CLAIM.name)
    place.world.snapshots[name] = Snapshot(name, "uid-theirs", SQL_CLAIM.name, "", values.NOW, is_ready=True)
    ended = await place.run(await place.snapshot(COLD))
    assert ended.state is State.FAILED
    assert f"volumesnapshot/{name} was made by somebody else" in (outcome_of(ended).error or "")
    assert place.is_whole
    assert place.world.snapshots[name].uid == "uid-theirs"


@pytest.mark.parametrize("error", [Conflict("changed"), Retryable("away")], ids=["conflict", "retryable"])
@pytest.mark.parametrize("what", ["cold", "hot"])
async def test_every_single_step_refused_twice_changes_nothing_in_the_end(error: ClusterError, what: str) -> None:
    place = scene()
    whole = await place.run(await begun(place, what))
    assert whole.state is State.DONE
    for key in {step.key for step in place.journal.steps}:
        again = scene()
        again.world.faults[key] = Fault(error, times=2)
        assert (await again.run(await begun(again, what))).state is State.DONE
        assert again.is_good(again.journal.sets["op-cutset"])


# what can be cut, and why not

CLASSES = {
    "none": None,
    "no class": (),
    "others": (SnapshotClass("theirs", "other.example.com", "Delete", is_default=True),),
    "one": values.SNAPSHOT_CLASSES,
    "one of several is the default": (
        *values.SNAPSHOT_CLASSES,
        SnapshotClass("gold", values.CSI, "Retain", is_default=True),
    ),
    "several": (*values.SNAPSHOT_CLASSES, SnapshotClass("gold", values.CSI, "Retain")),
    "several defaults": (
        SnapshotClass("gold", values.CSI, "Retain", is_default=True),
        SnapshotClass("iron", values.CSI, "Delete", is_default=True),
    ),
}
FOUND = values.discovery(workloads=PAIR)
SAID = {
    "none": "this Kubernetes knows no snapshots",
    "no class": "there is no VolumeSnapshotClass for its driver csi.example.com",
    "others": "there is no VolumeSnapshotClass for its driver csi.example.com",
    "several": "csi.example.com has several VolumeSnapshotClasses (csi-snapshots, gold) and none is the default",
    "several defaults": "several VolumeSnapshotClasses of csi.example.com are the default one (gold, iron)",
}


def stored(classes: tuple[SnapshotClass, ...] | None) -> Inventory:
    return replace(values.csi_inventory(FOUND), snapshot_classes=classes)


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_is_the_default_one_of_the_driver_or_the_only_one_and_what_is_missing_is_said(name: str) -> None:
    if name in SAID:
        with pytest.raises(Unsafe) as refused:
            snapshot.goal(FOUND, stored(CLASSES[name]), COLD, ())
        assert SAID[name] in str(refused.value)
        assert all(claim in str(refused.value) for claim in FULL)
        return
    cutting = snapshot.goal(FOUND, stored(CLASSES[name]), COLD, ()).cutting
    assert cutting
    expected = "gold" if name == "one of several is the default" else "csi-snapshots"
    assert {member.snapshot_class for member in cutting.members} == {expected}


@pytest.mark.parametrize("driver", ["kubernetes.io/aws-ebs", "kubernetes.io/nfs", ""])
def test_storage_that_is_no_csi_driver_is_refused_for_a_set_and_left_out_of_a_deletes(driver: str) -> None:
    volumes = tuple(replace(one, driver=driver, is_csi=False) for one in stored(()).volumes[:1])
    mixed = replace(stored(CLASSES["one"]), volumes=(*volumes, *stored(()).volumes[1:]))
    with pytest.raises(Unsafe, match="is no CSI driver") as refused:
        snapshot.goal(FOUND, mixed, HOT, ())
    assert SQL_CLAIM.name not in str(refused.value)
    deleting = delete.goal(FOUND, mixed, keeps_services=False)
    deleting = snapshot.as_far_as_possible(deleting, FOUND, mixed, (), None)
    assert deleting.cutting
    assert [member.claim for member in deleting.cutting.members] == [SQL_CLAIM.name]
    assert [one.claim for one in deleting.cutting.unsaved] == [NOSQL_CLAIM.name]


def test_what_the_configuration_leaves_out_is_in_no_set_and_hinders_none() -> None:
    cutting = snapshot.goal(FOUND, stored(CLASSES["one"]), COLD, {Component.NOSQL}).cutting
    assert cutting
    assert [member.claim for member in cutting.members] == [SQL_CLAIM.name]
    assert [(one.claim, one.is_wanted) for one in cutting.unsaved] == [(NOSQL_CLAIM.name, False)]
    with pytest.raises(Unsafe, match="there is no volume to cut"):
        snapshot.goal(FOUND, stored(CLASSES["one"]), COLD, {Component.NOSQL, Component.SQL})


def test_a_claim_without_a_volume_hinders_no_set() -> None:
    members, unsaved = choose([replace(SQL_CLAIM, volume="", status="Pending")], {}, values.SNAPSHOT_CLASSES, ())
    assert not members
    assert [one.is_wanted for one in unsaved] == [False]


def test_the_plan_of_a_cold_set_is_its_phases_and_its_digest_knows_how_and_what_is_cut() -> None:
    inventory = stored(CLASSES["one"])
    cold = plan(snapshot.goal(FOUND, inventory, COLD, ()), FOUND)
    actions = [{step.action for step in wave} for wave in cold.waves]
    assert actions == [
        {Action.SCALE_TO_ZERO},
        {Action.FLUSH},
        {Action.SCALE_TO_ZERO},
        {Action.CAPTURE},
        {Action.CUT},
        *[{Action.SCALE_UP}] * 2,
        {Action.RETAIN},
    ]
    variants = [
        plan(snapshot.goal(FOUND, replace(inventory, snapshot_classes=CLASSES[classes]), temperature, excluded), FOUND)
        for classes, temperature, excluded in product(
            ("one", "one of several is the default"), (COLD, HOT), ((), (Component.NOSQL,))
        )
    ]
    assert len({one.digest for one in variants}) == len(variants)
    assert cold.digest in {one.digest for one in variants}
    assert cold.verb is Verb.SNAPSHOT


def test_the_time_to_be_ready_grows_with_the_largest_volume() -> None:
    made = snapshot.goal(FOUND, stored(CLASSES["one"]), COLD, ())
    ready = phases_of(made)[-1]
    assert ready.name == "ready"
    assert ready.limit(made).total_seconds() == 60 * (60 + 20)
