"""The decisions of a delete and a restore, from every half-way state and in every order of arrival."""

from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.decide import delete, phases_of, restore
from lifecycle.errors import AlreadyRunning, ClusterError, Conflict, Forbidden, Unsafe
from lifecycle.model import Action, Component, Kind, Step
from lifecycle.observed import Observed, Part
from lifecycle.operation import Goal
from lifecycle.phase import Phase
from lifecycle.simulation import all_waves
from lifecycle.volumes import Claim, Volume
from lifecycle.workloads import Workload, WorkloadState
from tests.fakes import values
from tests.fakes.world import Captured, Fault, World

MARK = "op-delete"
EPOCH = 3
WORKLOADS = tuple(values.workload(component) for component in (Component.NOSQL, Component.SQL, Component.TM))
NEW = Claim("logvol-log-set-0-0", "uid-c3", "Pending")
"""It never had a volume."""
LOST = Claim("reportingvol-reporting-set-0-0", "uid-c4", Claim.LOST, "pvc-4")
"""Its volume is gone, and the plan that was approved says so."""
FOUND = values.discovery(workloads=WORKLOADS)
FOUND = replace(FOUND, observed=replace(FOUND.observed, claims=(*values.CLAIMS, NEW)))
INVENTORY = values.inventory(FOUND)
FOUND = replace(FOUND, observed=replace(FOUND.observed, claims=(*FOUND.observed.claims, LOST)))
GOAL = delete.goal(FOUND, INVENTORY, keeps_services=False, may_lose=True).marked(MARK)
APPROVED_LOSSES = {(LOST.name, LOST.uid)}
UIDS = {one.uid for one in (*GOAL.topology, *GOAL.claims, *GOAL.volumes, *GOAL.parts)}
ALLOWED = {
    "down": {(Action.SCALE_TO_ZERO, False)},
    "capture": {(Action.CAPTURE, False)},
    "keep": {(Action.KEEP, False)},
    "remove": {(Action.SCALE_TO_ZERO, False), (Action.REMOVE, False)},
    "remove-claims": {(Action.KEEP, False), (Action.REMOVE, True)},
}
"""By phase: what may be done, and whether to a claim."""


def whole() -> World:
    world = World.of(FOUND, INVENTORY)
    stamp(world)
    return world


def stamp(world: World) -> None:
    world.states = {ref: replace(state, epoch=EPOCH) for ref, state in world.states.items()}
    world.claims = {name: replace(claim, epoch=EPOCH) for name, claim in world.claims.items()}


def put_workload(world: World, one: Workload, how: str) -> None:
    if how == "gone":
        del world.states[one.ref]
    elif how == "namesake":
        world.states[one.ref] = WorkloadState("uid-theirs")
    else:
        world.states[one.ref] = values.STATES[how](one)


def put_part(world: World, part: Part, how: str) -> None:
    if how == "gone":
        del world.parts[part.ref]
    elif how == "namesake":
        world.parts[part.ref] = replace(part, uid="uid-theirs")


def put_claim(world: World, claim: Claim, how: str) -> None:
    match how:
        case "gone":
            del world.claims[claim.name]
        case "terminating":
            world.claims[claim.name] = replace(claim, status=Claim.TERMINATING)
        case "namesake":
            world.claims[claim.name] = replace(claim, uid="uid-theirs", status="Pending", volume="")
        case "mounted":
            world.guests[claim.name] = "somebodys-pod"
        case "lost":
            world.claims[claim.name] = replace(claim, status=Claim.LOST)


def put_lost_claim(world: World, how: str) -> None:
    """What becomes of the volume that was gone when the plan was approved; of the claim what may become of any."""
    holders = {"there again": LOST.uid, "to be bound again": "", "another's": "uid-theirs"}
    if how not in holders:
        put_claim(world, LOST, how)
        return
    world.volumes[LOST.volume] = replace(values.volume_of(LOST), claim_uid=holders[how])
    world.data[LOST.volume] = WRITTEN if how != "another's" else "theirs"


def put_volume(world: World, volume: Volume, how: str) -> None:
    changes: dict[str, dict[str, str]] = {
        "retain": {"policy": "Retain"},
        "kept": {"policy": "Retain", "kept_by": MARK, "policy_before": "Delete"},
        "kept by another": {"policy": "Retain", "kept_by": "op-before", "policy_before": "Delete"},
        "set back": {"policy": "Delete", "kept_by": MARK, "policy_before": "Delete"},
        "other uid": {"uid": "uid-theirs", "policy": "Retain", "kept_by": MARK},
        "other claim": {"claim": "theirs", "claim_uid": "uid-theirs", "policy": "Retain", "kept_by": MARK},
    }
    if how == "gone":
        del world.volumes[volume.name], world.data[volume.name]
    else:
        world.volumes[volume.name] = replace(volume, **changes.get(how, {}))


WORKLOAD_STATES = [*values.STATES, "gone", "namesake"]
CLAIM_STATES = ["bound", "gone", "terminating", "namesake", "mounted", "lost"]
LOST_STATES = [
    "as it was",
    "gone",
    "terminating",
    "namesake",
    "mounted",
    "there again",
    "to be bound again",
    "another's",
]
WRITTEN = "bytes that somebody found again"
VOLUME_STATES = ["delete", "retain", "kept", "kept by another", "set back", "other uid", "other claim", "gone"]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, int]:
    """With the phase it begins with; mostly as it should be, so that the way to the end is often open."""
    world = whole()
    begins = draw(st.integers(0, len(phases_of(GOAL)) - 1))
    states = ["gone", "gone", "namesake"] if begins == 4 else ["down", "down", "ready", *WORKLOAD_STATES]
    for one in WORKLOADS:
        put_workload(world, one, draw(st.sampled_from(states)))
    for part in GOAL.parts:
        put_part(world, part, draw(st.sampled_from(["there", "gone", "namesake"])))
    for claim in values.CLAIMS:
        put_claim(world, claim, draw(st.sampled_from(["bound", "bound", *CLAIM_STATES])))
    put_lost_claim(world, draw(st.sampled_from(["as it was", "as it was", *LOST_STATES])))
    for volume in GOAL.volumes:
        put_volume(world, volume, draw(st.sampled_from(["kept", "kept", "delete", *VOLUME_STATES])))
    if draw(st.booleans()):
        world.captures[MARK] = Captured(dict(world.states), dict(world.claims))
    stamp(world)
    return world, begins


def check(phase: Phase, goal: Goal, observed: Observed, step: Step) -> None:
    """What has to hold of each step in the very picture it is decided on."""
    assert (step.action, step.ref.kind is Kind.CLAIM) in ALLOWED[phase.name]
    if step.action is Action.CAPTURE:
        return
    assert step.uid in UIDS
    if step.ref in goal.counts:
        assert observed.state_of(step.ref).uid == step.uid
        assert step.action is not Action.REMOVE or not observed.state_of(step.ref).pods
    elif step.ref.kind is Kind.CLAIM:
        check_claim(goal, observed, step)
    elif step.ref.kind is Kind.VOLUME:
        volume = observed.volume(step.ref.name)
        assert volume is not None
        assert volume.uid == step.uid
    else:
        part = observed.part(step.ref)
        assert part is not None
        assert part.uid == step.uid


def check_claim(goal: Goal, observed: Observed, step: Step) -> None:
    """It goes only while its own volume is SEEN Retain, unless the approved plan says that nothing of it is left."""
    claim = observed.claim(step.ref.name)
    assert claim is not None
    assert claim.uid == step.uid
    assert not claim.mounted_by
    if claim.name == NEW.name:
        assert not claim.volume
        return
    if (claim.name, claim.uid) in APPROVED_LOSSES:
        behind = observed.volume(LOST.volume)
        assert behind is None or behind.claim_uid == "uid-theirs"
        return
    (frozen,) = [volume for volume in goal.volumes if volume.claim == claim.name]
    seen = observed.volume(frozen.name)
    assert seen is not None
    assert (seen.uid, seen.policy, seen.kept_by, seen.claim_uid) == (frozen.uid, "Retain", MARK, claim.uid)


def go_through(phase: Phase, world: World, chance: Random) -> str | None:
    """To the phase's end: None; to an obstacle, in words; or until nothing more comes of it: 'late'."""
    for _ in range(150):
        observed = world.picture(GOAL)
        if obstacle := phase.obstacle(GOAL, observed):
            return obstacle
        if phase.reached(GOAL, observed):
            return None
        steps = phase.decide(GOAL, observed)
        chance.shuffle(steps)
        for step in steps:
            check(phase, GOAL, observed, step)
            if chance.random() < 0.7:
                attempt(world, step)
            if chance.random() < 0.3:
                world.move(chance)
        world.move(chance)
        if chance.random() < 0.1:
            world.guests.clear()
    return "late"


def attempt(world: World, step: Step) -> None:
    with suppress(ClusterError):  # the next picture tells
        world.apply(step, GOAL, EPOCH)


def end_of_a_delete(world: World, begins: int, chance: Random) -> str | None:
    for phase in phases_of(GOAL)[begins:]:
        if why := go_through(phase, world, chance):
            return f"{phase.name}: {why}"
    return None


def bytes_of(world: World) -> dict[str, str]:
    """By the uid of the volumes that the goal is about."""
    uids = {volume.uid for volume in GOAL.volumes}
    return {volume.uid: world.data[volume.name] for volume in world.volumes.values() if volume.uid in uids}


WHOLE = bytes_of(whole())


@pytest.mark.timeout(120)
@settings(max_examples=300)
@given(worlds(), st.integers(0, 2**16))
def test_from_every_half_way_state_no_step_loses_a_byte_and_it_ends_or_says_what_is_in_the_way(
    start: tuple[World, int], seed: int
) -> None:
    world, begins = start
    found_again = {name for name, word in world.data.items() if word == WRITTEN}
    why = end_of_a_delete(world, begins, Random(seed))
    assert why is None or not why.endswith("late"), why
    assert found_again == {name for name, word in world.data.items() if word == WRITTEN}
    if why is None:
        assert bytes_of(world) == WHOLE
        assert not {claim.uid for claim in world.claims.values()} & {claim.uid for claim in GOAL.claims}


@pytest.mark.parametrize("seed", range(20))
def test_from_the_beginning_it_ends_with_everything_removed_but_the_bytes(seed: int) -> None:
    world = whole()
    assert end_of_a_delete(world, 0, Random(seed)) is None
    assert [*world.states, *world.claims, *world.parts] == []
    assert bytes_of(world) == WHOLE


EVERY_STEP = sorted({step for wave in all_waves(GOAL, whole().picture(GOAL)) for step in wave})


@pytest.mark.parametrize("error", [Conflict("changed"), Forbidden("may not")], ids=["changed", "forbidden"])
@pytest.mark.parametrize("step", EVERY_STEP, ids=lambda step: step.key)
def test_with_any_single_step_refused_for_ever_nothing_after_it_is_done(step: Step, error: ClusterError) -> None:
    world = whole()
    world.faults[step.key] = Fault(error)
    why = end_of_a_delete(world, 0, Random(step.key))
    assert why is not None
    assert why.endswith("late")
    assert bytes_of(world) == WHOLE
    failed = [phase.name for phase in phases_of(GOAL)].index(why.partition(":")[0])
    if failed < 3:
        assert len(world.states) == len(WORKLOADS)
        assert len(world.parts) == len(GOAL.parts)
    if failed < 4:
        assert len(world.claims) == len(GOAL.claims)


def test_the_property_fails_for_a_claim_that_is_lost_and_not_on_the_approved_list() -> None:
    """Which is what a decision would do that took any lost claim for an approved one."""
    world = whole()
    world.states.clear()
    put_claim(world, values.CLAIMS[0], "lost")
    put_volume(world, GOAL.volumes[0], "gone")
    widened = replace(GOAL, unrecoverable=tuple(claim.uid for claim in GOAL.claims), volumes=GOAL.volumes[1:])
    observed = world.picture(GOAL)
    (step,) = [one for one in delete.claim_steps(widened, observed) if one.ref == values.CLAIMS[0].ref]
    with pytest.raises(AssertionError):
        check(delete.CLAIMS_REMOVED, GOAL, observed, step)
    assert step not in delete.claim_steps(GOAL, observed)


@pytest.mark.parametrize("how", ["there again", "to be bound again"])
@pytest.mark.parametrize("name", ["keep", "remove", "remove-claims"])
def test_a_volume_that_was_given_up_and_is_there_again_is_named_and_its_claim_stays(name: str, how: str) -> None:
    world = whole()
    put_lost_claim(world, how)
    (phase,) = [phase for phase in phases_of(GOAL) if phase.name == name]
    observed = world.picture(GOAL)
    assert f"{LOST.ref} has its pvc-4 again" in (phase.obstacle(GOAL, observed) or "")
    assert LOST.ref not in {step.ref for step in delete.claim_steps(GOAL, observed)}


@pytest.mark.parametrize("state", ["gone", "other uid", "other claim"])
@pytest.mark.parametrize("name", ["keep", "remove", "remove-claims"])
def test_a_volume_that_is_not_the_one_of_the_beginning_is_named(name: str, state: str) -> None:
    world = whole()
    put_volume(world, GOAL.volumes[0], state)
    (phase,) = [phase for phase in phases_of(GOAL) if phase.name == name]
    assert str(GOAL.volumes[0].ref) in (phase.obstacle(GOAL, world.picture(GOAL)) or "")


def test_a_claim_that_got_its_volume_after_the_plan_is_never_removed() -> None:
    world = whole()
    world.claims[NEW.name] = replace(NEW, status="Bound", volume="pvc-new", epoch=EPOCH)
    observed = world.picture(GOAL)
    assert NEW.ref not in {step.ref for step in delete.claim_steps(GOAL, observed)}
    assert NEW.name in (delete.unkeepable(GOAL, observed) or "")


def test_a_second_delete_remembers_the_policy_from_before_the_first() -> None:
    world = whole()
    put_volume(world, GOAL.volumes[0], "kept by another")
    assert end_of_a_delete(world, 0, Random(1)) is None
    kept = world.volumes[GOAL.volumes[0].name]
    assert (kept.kept_by, kept.policy_before) == (MARK, "Delete")


DELETED = replace(values.operation(GOAL), id=MARK)


def deleted_world() -> World:
    world = whole()
    assert end_of_a_delete(world, 0, Random(7)) is None
    return world


RESTORING = restore.goal(restore.draft(DELETED), deleted_world().picture(restore.draft(DELETED))).marked("op-return")


def check_return(phase: Phase, world: World, observed: Observed, step: Step) -> None:
    """Nothing is removed, overwritten or started without its volume, and no volume in use is freed or destroyed."""
    assert step.action is not Action.REMOVE
    uids = {claim.uid for claim in world.claims.values()}
    match step.action:
        case Action.REBIND:
            assert world.volumes[step.ref.name].claim_uid not in uids
        case Action.GIVE_BACK:
            volume = observed.volume(step.ref.name)
            assert volume is not None
            assert volume.claim_uid in {claim.uid for claim in observed.claims if claim.status == "Bound"}
        case Action.SCALE_UP:
            bound = {claim.name: claim.volume for claim in observed.claims if claim.status == "Bound"}
            assert all(bound.get(volume.claim) == volume.name for volume in RESTORING.volumes)


def stale(newest: Observed, before: Observed, chance: Random) -> Observed:
    """Kinds are read one after another: some are as they were a move ago."""
    kinds = [name for name in ("workloads", "claims", "volumes", "parts") if chance.random() < 0.3]
    return replace(newest, **{name: getattr(before, name) for name in kinds})


@settings(max_examples=200)
@given(st.data())
def test_a_restore_from_every_half_way_state_ends_on_the_same_bytes_even_if_pictures_are_stale(
    data: st.DataObject,
) -> None:
    chance = Random(data.draw(st.integers(0, 2**16)))
    world = half_deleted(data)
    before = world.picture(RESTORING)
    for phase in phases_of(RESTORING):
        for _ in range(300):
            stamp(world)
            newest = world.picture(RESTORING)
            observed = stale(newest, before, chance)
            before = newest
            if phase.obstacle(RESTORING, newest):
                pytest.fail(f"{phase.name}: {phase.obstacle(RESTORING, newest)}")
            if phase.reached(RESTORING, newest):
                break
            for step in phase.decide(RESTORING, observed) if not phase.obstacle(RESTORING, observed) else []:
                check_return(phase, world, observed, step)
                try:
                    world.apply(step, RESTORING, EPOCH)
                except ClusterError:
                    continue
            world.move(chance)
        else:
            pytest.fail(f"{phase.name}: {phase.missing(RESTORING, newest)}")
    assert world.contents() == {claim.name: f"bytes of {claim.name}" for claim in values.CLAIMS}
    assert {(volume.policy, volume.kept_by) for volume in world.volumes.values()} == {("Delete", "")}


@pytest.mark.parametrize("how", ["gone", "terminating", "namesake"])
def test_without_its_claim_nothing_is_started_and_no_policy_given_back(how: str) -> None:
    world = whole()
    for volume in GOAL.volumes:
        put_volume(world, volume, "kept")
    put_claim(world, values.CLAIMS[0], how)
    observed = world.picture(RESTORING)
    assert [step.ref.name for step in restore.giving_back_steps(RESTORING, observed)] == [values.CLAIMS[1].volume]
    for phase in phases_of(RESTORING)[2:]:
        assert values.CLAIMS[0].name in (phase.obstacle(RESTORING, observed) or "")


def half_deleted(data: st.DataObject) -> World:
    """Down, written down and kept; of the rest any part removed already."""
    world = whole()
    for phase in phases_of(GOAL)[:3]:
        assert go_through(phase, world, Random(5)) is None
    removed = data.draw(st.sets(st.sampled_from(sorted({*world.states, *world.parts}))))
    world.states = {ref: state for ref, state in world.states.items() if ref not in removed}
    world.parts = {ref: part for ref, part in world.parts.items() if ref not in removed}
    del world.claims[NEW.name], world.claims[LOST.name]
    for claim in data.draw(st.sets(st.sampled_from(values.CLAIMS)).map(sorted_claims)):
        put_claim(world, claim, data.draw(st.sampled_from(["gone", "terminating"])))
    return world


def sorted_claims(claims: set[Claim]) -> list[Claim]:
    return sorted(claims, key=lambda claim: claim.name)


REFUSALS = [
    (replace(WORKLOADS[0], deletes_claims_when_deleted=True), None, None, "whenDeleted"),
    (replace(WORKLOADS[0], deletes_claims_when_scaled=True), None, None, "whenScaled"),
    (None, {"status": "Lost"}, None, "is Lost"),
    (None, {"status": Claim.TERMINATING}, None, "is Terminating"),
    (None, {"mounted_by": ("backup",)}, None, "mounted by pod/backup"),
    (None, None, {"claim_uid": ""}, "not bound to it"),
    (None, None, {"claim": "theirs"}, "not bound to it"),
]
"""What somebody can mend first: no configuration lets it pass."""


@pytest.mark.parametrize("may_lose", [False, True])
@pytest.mark.parametrize(("workload", "claim", "volume", "says"), REFUSALS)
def test_a_delete_that_could_lose_data_is_refused(
    workload: Workload | None, claim: dict[str, Any] | None, volume: dict[str, str] | None, says: str, may_lose: bool
) -> None:
    found, inventory = FOUND, INVENTORY
    if workload:
        found = replace(found, workloads=(workload, *WORKLOADS[1:]))
    if claim:
        changed = replace(values.CLAIMS[0], **claim)
        found = replace(found, observed=replace(found.observed, claims=(changed, *values.CLAIMS[1:])))
    else:
        found = replace(found, observed=replace(found.observed, claims=values.CLAIMS))
    if volume:
        first = replace(INVENTORY.volumes[0], **volume)
        inventory = replace(inventory, volumes=(first, *INVENTORY.volumes[1:]))
    with pytest.raises(Unsafe, match=says):
        delete.goal(found, inventory, keeps_services=False, may_lose=may_lose)


ANOTHERS = {"claim": "theirs", "claim_uid": "uid-theirs"}


@pytest.mark.parametrize(
    "volume", [None, ANOTHERS, {"claim_uid": "uid-theirs"}], ids=["gone", "another's", "of a namesake"]
)
@pytest.mark.parametrize("status", ["Bound", "Lost"])
def test_a_claim_without_its_volume_is_refused_unless_that_is_allowed_and_is_listed_then(
    status: str, volume: dict[str, str] | None
) -> None:
    first = replace(values.CLAIMS[0], status=status)
    found = replace(FOUND, observed=replace(FOUND.observed, claims=(first, values.CLAIMS[1], NEW)))
    left = (replace(INVENTORY.volumes[0], **volume),) if volume else ()
    inventory = replace(INVENTORY, volumes=(*left, INVENTORY.volumes[1]))
    with pytest.raises(Unsafe, match=r"pvc-1 of claim nosqlvol-cass-set-0-0 is gone.*`allow_unrecoverable: true`"):
        delete.goal(found, inventory, keeps_services=False)
    made = delete.goal(found, inventory, keeps_services=False, may_lose=True)
    assert (made.unrecoverable, made.volumes) == ((first.uid,), (INVENTORY.volumes[1],))
    assert made.watched_volumes == {"pvc-1", "pvc-2"}
    assert made.may_lose(first.name, first.uid)
    assert not made.may_lose(first.name, "uid-theirs")
    assert not made.may_lose(values.CLAIMS[1].name, first.uid)


def test_where_nothing_is_lost_the_permission_changes_nothing() -> None:
    found = replace(FOUND, observed=replace(FOUND.observed, claims=(*values.CLAIMS, NEW)))
    made = [delete.goal(found, INVENTORY, keeps_services=False, may_lose=may_lose) for may_lose in (False, True)]
    assert made[0] == made[1]
    assert made[0].unrecoverable == (), "a claim that never had a volume loses nothing"


def test_a_restore_of_what_is_whole_is_refused() -> None:
    world = whole()
    world.captures[MARK] = Captured({}, {})
    with pytest.raises(AlreadyRunning, match="nothing is missing"):
        restore.goal(restore.draft(DELETED), world.picture(restore.draft(DELETED)))


@pytest.mark.parametrize("phase", [delete.REMOVED, delete.CLAIMS_REMOVED], ids=lambda phase: phase.name)
def test_without_its_capture_nothing_is_removed(phase: Phase) -> None:
    observed = replace(FOUND.observed, volumes=GOAL.volumes, parts=GOAL.parts)
    assert "the capture is not there any more" in (phase.obstacle(GOAL, observed) or "")
    assert phase.obstacle(GOAL, replace(observed, capture="sha")) is None
