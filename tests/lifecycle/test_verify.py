"""Restore tests: what they say of a set, and that nothing is left of them; cut off anywhere, refused anywhere."""

from dataclasses import replace
from itertools import product
from random import Random

import pytest

from lifecycle.decide import phases_of, snapshot, verify
from lifecycle.errors import ClusterError, Conflict, Forbidden, Invalid, Retryable, Unsafe
from lifecycle.model import Action, Component, Kind, Ref, Step, Verb
from lifecycle.observed import Observed
from lifecycle.operation import Goal, State
from lifecycle.plan import plan_of_return
from lifecycle.snapshots import Temperature
from lifecycle.topology import Topology
from lifecycle.verification import Result, default_check, doubt, scratch_name
from lifecycle.volumes import Claim, Volume
from lifecycle.workloads import Container, Pod
from tests.fakes import values
from tests.fakes.world import Fault, World
from tests.lifecycle.returning import (
    FULL,
    NOSQL_CLAIM,
    SQL_CLAIM,
    Cut,
    Scene,
    cut_anywhere,
    outcome_of,
)

NAMES = {claim: scratch_name("op-verify", claim) for claim in FULL}


class Bench(Scene):
    """A cluster with a set, and what everything but the test's own objects was before it."""

    before: tuple[object, ...] = ()

    async def cut(self) -> "Bench":
        ended = await self.run(await self.snapshot(Temperature.HOT))
        assert ended.state is State.DONE
        self.before = everything(self.world)
        return self

    def empty(self, claim: str) -> None:
        """The snapshot of the claim holds nothing."""
        found = next(one for one in self.world.snapshots.values() if one.claim == claim)
        self.world.cuts[found.handle] = ""

    @property
    def is_untouched(self) -> bool:
        return everything(self.world) == self.before

    @property
    def results(self) -> dict[str, Result]:
        return {one.claim: one.result for one in self.journal.verifications["op-verify"].verdicts}


async def bench() -> Bench:
    return await Bench(cuts=True).cut()


def everything(world: World) -> tuple[object, ...]:
    """Whatever a cluster consists of, epochs and marks included."""
    kinds = (world.states, world.claims, world.volumes, world.parts, world.captures, world.snapshots)
    return tuple(dict(kind) for kind in kinds)


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
async def test_a_good_set_passes_and_nothing_is_left_of_its_test_whatever_the_class_says(policy: str) -> None:
    place = await bench()
    place.world.scratch.policy = policy
    ended = await place.run(await place.verify())
    assert ended.state is State.DONE
    assert place.results == dict.fromkeys(FULL, Result.PASSED)
    assert place.journal.verifications["op-verify"].result is Result.PASSED
    assert place.world.scratch.is_empty
    assert place.is_untouched
    own = [step for step in place.journal.steps if step.action is Action.LET_GO]
    assert len(own) == (len(FULL) if policy == "Retain" else 0)


@pytest.mark.parametrize("claim", FULL)
async def test_a_member_that_holds_nothing_makes_the_set_bad_and_is_named(claim: str) -> None:
    place = await bench()
    place.empty(claim)
    ended = await place.run(await place.verify())
    assert (ended.state, ended.phase) == (State.FAILED, "clean")
    assert outcome_of(ended).error == f"not every check passed: {claim}: the check failed with exit code 1"
    assert outcome_of(ended).back_up is True
    assert place.results == {one: Result.FAILED if one == claim else Result.PASSED for one in FULL}
    assert place.journal.verifications["op-verify"].result is Result.FAILED
    assert place.world.scratch.is_empty
    assert place.is_untouched


@pytest.mark.parametrize("code", [126, 127, 128, 137, 139])
async def test_a_check_that_could_not_run_or_was_killed_is_held_against_nobodys_data(code: int) -> None:
    place = await bench()
    place.world.scratch.codes[SQL_CLAIM.name] = code
    ended = await place.run(await place.verify())
    assert ended.state is State.FAILED
    assert place.results == {NOSQL_CLAIM.name: Result.PASSED, SQL_CLAIM.name: Result.NOT_CHECKED}
    assert not place.journal.verifications["op-verify"].is_conclusive
    assert place.world.scratch.is_empty


async def test_a_pod_that_kubernetes_ended_says_nothing_of_the_data() -> None:
    place = await bench()
    place.world.scratch.reasons[SQL_CLAIM.name] = "DeadlineExceeded"
    ended = await place.run(await place.verify())
    assert "the pod was ended (DeadlineExceeded)" in (outcome_of(ended).error or "")
    assert place.results[SQL_CLAIM.name] is Result.NOT_CHECKED
    assert place.world.scratch.is_empty


async def test_a_pod_that_never_starts_fails_at_the_deadline_with_a_diagnosis_and_is_removed() -> None:
    place = await bench()
    place.world.scratch.never_run = {SQL_CLAIM.name}
    ended = await place.run(await place.verify())
    assert ended.state is State.FAILED
    outcome = outcome_of(ended)
    assert outcome.missing == (f"pod/{NAMES[SQL_CLAIM.name]}",)
    assert outcome.diagnosis
    assert outcome.diagnosis.findings[0].object == f"pod/{NAMES[SQL_CLAIM.name]}"
    verdict = place.journal.verifications["op-verify"].verdicts[1]
    assert (verdict.result, verdict.why) == (Result.NOT_CHECKED, "NotReady: the readiness probe fails")
    assert place.world.scratch.is_empty
    assert place.is_untouched


async def test_a_failing_check_is_judged_only_when_every_member_was_looked_at() -> None:
    place = await bench()
    for claim in FULL:
        place.empty(claim)
    await place.run(await place.verify())
    assert place.results == dict.fromkeys(FULL, Result.FAILED)


SCENES = ("good", "bad", "retained", "never starts")


async def set_up(what: str) -> Bench:
    place = await bench()
    if what == "bad":
        place.empty(SQL_CLAIM.name)
    if what == "retained":
        place.world.scratch.policy = "Retain"
    if what == "never starts":
        place.world.scratch.never_run = {NOSQL_CLAIM.name}
    return place


@pytest.mark.parametrize("what", SCENES)
@cut_anywhere
async def test_cut_off_anywhere_and_taken_up_it_says_the_same_and_leaves_nothing(cut: Cut, what: str) -> None:
    whole = await set_up(what)
    expected = await whole.run(await whole.verify())
    for count in range(200):
        place = await set_up(what)
        operation = await place.verify()
        cut(place, count)
        left = await place.cut_off(operation)
        if left is None:
            assert count > 5
            return
        ended = left if left.state is not State.RUNNING else await place.run(left)
        assert ended.state is expected.state
        assert place.results == whole.results
        assert place.world.scratch.is_empty
        assert place.is_untouched
    pytest.fail("there is more to it than expected")


@pytest.mark.parametrize("error", [Conflict("changed"), Retryable("away")], ids=["conflict", "retryable"])
@pytest.mark.parametrize("what", SCENES)
async def test_every_single_step_refused_twice_changes_nothing_in_the_end(error: ClusterError, what: str) -> None:
    whole = await set_up(what)
    expected = await whole.run(await whole.verify())
    for key in {step.key for step in whole.journal.steps if step.action.value not in ("capture", "cut", "retain")}:
        again = await set_up(what)
        operation = await again.verify()
        again.world.faults[key] = Fault(error, times=2)
        assert (await again.run(operation)).state is expected.state
        assert again.results == whole.results
        assert again.world.scratch.is_empty


@pytest.mark.parametrize("error", [Forbidden("no right"), Invalid("a quota")], ids=["forbidden", "invalid"])
async def test_every_single_step_refused_for_good_fails_it_and_all_that_may_go_goes(error: ClusterError) -> None:
    whole = await set_up("retained")
    await whole.run(await whole.verify())
    steps = {step for step in whole.journal.steps if step.action.value not in ("capture", "cut", "retain")}
    assert {step.action for step in steps} == {Action.CLONE, Action.CHECK, Action.LET_GO, Action.CLEAN}
    for step in steps:
        place = await set_up("retained")
        operation = await place.verify()
        place.world.faults[step.key] = Fault(error)
        ended = await place.run(operation)
        assert ended.state is State.FAILED
        assert str(error) in (outcome_of(ended).error or "")
        if step.action in (Action.CLONE, Action.CHECK):
            assert place.world.scratch.is_empty, step
            assert set(place.results.values()) <= {Result.PASSED, Result.NOT_CHECKED}
        else:
            assert not place.world.scratch.is_empty, step
        assert place.is_untouched


# every half-way state

CLAIMS = ("none", "pending", "bound", "retained", "terminating", "lost")
PODS = ("none", "Pending", "Running", "Succeeded", "Failed", "deleting")


def put(place: Bench, claim: str, claim_state: str, pod_state: str) -> None:
    """A scratch claim and pod of the member in these states."""
    name, world = NAMES[claim], place.world.scratch
    if claim_state != "none":
        world.claims[name] = Claim(name, f"uid-{name}", "Pending", created_at=values.NOW, made_by="op-verify")
    if claim_state in ("bound", "retained", "terminating"):
        world.policy = "Retain" if claim_state == "retained" else "Delete"
        world.bind(name)
    if claim_state in ("terminating", "lost"):
        status = Claim.TERMINATING if claim_state == "terminating" else "Lost"
        volume = "pvc-gone" if claim_state == "lost" else world.claims[name].volume
        world.claims[name] = replace(world.claims[name], status=status, volume=volume)
    if pod_state != "none":
        phase = "Running" if pod_state == "deleting" else pod_state
        code = {"Succeeded": 0, "Failed": 3}.get(pod_state)
        made = Pod(name, f"uid-pod-{name}", phase, deleting=pod_state == "deleting", made_by="op-verify")
        world.pods[name] = replace(made, containers=(Container("check", exit_code=code),))


HALF_WAY = list(product(CLAIMS, PODS))
PAIRS = [*zip(HALF_WAY, HALF_WAY, strict=True), *(tuple(Random(7).sample(HALF_WAY, 2)) for _ in range(20))]


@pytest.mark.parametrize("phase", ["clones", "check", "clean"])
async def test_from_every_half_way_state_it_ends_and_nothing_is_left(phase: str) -> None:
    chance = Random(phase)
    for first, second in [*PAIRS, *(tuple(chance.sample(HALF_WAY, 2)) for _ in range(60))]:
        place = await bench()
        operation = await place.verify()
        await place.cluster.picture(operation.goal)
        for claim, states in zip(FULL, (first, second), strict=True):
            put(place, claim, *states)
        place.journal.rows["op-verify"] = operation = replace(operation, phase=phase)
        ended = await place.run(operation)
        assert place.world.scratch.is_empty, (first, second, place.world.scratch)
        assert place.is_untouched
        assert ended.state is not State.RUNNING


def seen_steps(goal: Goal, observed: Observed) -> set[Step]:
    return {step for phase in phases_of(goal) for step in phase.decide(goal, observed)}


async def test_whatever_is_seen_no_step_is_ever_about_anything_but_its_own_clones_and_pods() -> None:
    place = await bench()
    goal, scratch = (await place.verify()).goal, place.world.scratch
    await place.cluster.picture(goal)
    for pair in product(HALF_WAY, HALF_WAY):
        for kind in (scratch.claims, scratch.volumes, scratch.pods):
            kind.clear()
        for claim, states in zip(FULL, pair, strict=True):
            put(place, claim, *states)
        for step in seen_steps(goal, place.world.picture(goal)):
            name = scratch.volumes[step.ref.name].claim if step.ref.kind is Kind.VOLUME else step.ref.name
            assert name in NAMES.values(), (pair, step)


# what is not its own


async def test_a_name_that_somebody_else_took_is_left_alone_and_the_rest_is_removed() -> None:
    for kind in (Kind.CLAIM, Kind.POD):
        place = await bench()
        operation = await place.verify()
        name, scratch = NAMES[SQL_CLAIM.name], place.world.scratch
        if kind is Kind.CLAIM:
            scratch.claims[name] = Claim(name, "uid-theirs", "Pending", created_at=values.NOW)
        else:
            scratch.pods[name] = Pod(name, "uid-theirs", "Running")
        ended = await place.run(operation)
        assert ended.state is State.FAILED
        assert f"{Ref(kind, name)} was made by somebody else" in (outcome_of(ended).error or "")
        assert [*scratch.claims, *scratch.pods] == [name]
        assert scratch.uid_of(Ref(kind, name)) == "uid-theirs"


async def test_a_volume_that_kubernetes_bound_in_place_of_a_clone_stays_and_so_does_the_claim() -> None:
    for policy in ("Delete", "Retain"):
        place = await bench()
        operation = await place.verify()
        name, scratch = NAMES[SQL_CLAIM.name], place.world.scratch

        def take_it(_observed: Observed, name: str = name, place: Bench = place, policy: str = policy) -> None:
            scratch = place.world.scratch
            if name in scratch.claims and "pv-theirs" not in scratch.volumes:
                claim = scratch.claims[name]
                found = Volume("pv-theirs", "uid-theirs", policy, claim=name, claim_uid=claim.uid)
                scratch.volumes["pv-theirs"] = replace(found, created_at=values.NOW.replace(year=2020))
                scratch.data["pv-theirs"] = f"bytes of {SQL_CLAIM.name}"
                scratch.claims[name] = replace(claim, status="Bound", volume="pv-theirs")

        place.cluster.meanwhile = take_it
        ended = await place.run(operation)
        assert ended.state is State.FAILED
        assert "was not made for it" in (outcome_of(ended).error or "")
        assert scratch.volumes["pv-theirs"].policy == policy
        assert list(scratch.claims) == [name]
        assert not scratch.pods
        assert outcome_of(ended).back_up is False


async def test_where_a_free_volume_would_be_bound_in_place_of_a_clone_it_is_refused() -> None:
    place = await bench()
    place.world.scratch.free["pv"] = Volume(
        "pv", "uid-pv", "Retain", "Available", capacity="50Gi", storage_class="sql-storage-class"
    )
    with pytest.raises(Unsafe, match="volume pv of the class sql-storage-class is free"):
        await place.verify()
    place.world.scratch.free["pv"] = replace(place.world.scratch.free["pv"], storage_class="another")
    assert (await place.run(await place.verify())).state is State.DONE


async def test_a_snapshot_that_is_gone_or_another_one_is_refused_and_fails_a_test_that_began() -> None:
    place = await bench()
    operation = await place.verify()
    name = next(one.name for one in place.world.snapshots.values() if one.claim == SQL_CLAIM.name)
    lost = place.world.snapshots.pop(name)
    ended = await place.run(operation)
    assert f"volumesnapshot/{name} was deleted" in (outcome_of(ended).error or "")
    assert place.world.scratch.is_empty
    with pytest.raises(Unsafe, match="is not there any more"):
        await place.verify("op-again0")
    place.world.snapshots[name] = replace(lost, uid="another")
    with pytest.raises(Unsafe, match="is not there any more"):
        await place.verify("op-again0")
    place.world.snapshots[name] = replace(lost, is_ready=False, error="the disk is on fire")
    with pytest.raises(Unsafe, match="is not ready to use: the disk is on fire"):
        await place.verify("op-again0")


async def test_without_an_image_that_is_known_it_is_refused() -> None:
    place = await bench()
    taken, by = place.journal.sets["op-cutset"], place.journal.rows["op-cutset"]
    with pytest.raises(Unsafe, match="nothing says with which image nosqlvol-cass-set-0-0 could be looked at"):
        verify.goal(taken, by, {}, {})


async def test_what_stays_terminating_fails_it_and_is_named_as_left_over() -> None:
    place = await bench()
    name = NAMES[SQL_CLAIM.name]
    place.world.scratch.held = {name}
    ended = await place.run(await place.verify())
    assert (ended.state, ended.phase) == (State.FAILED, "clean")
    assert set(outcome_of(ended).missing) == {f"pod/{name}", f"persistentvolumeclaim/{name}"}
    assert place.results == dict.fromkeys(FULL, Result.PASSED)
    assert {one.operation for one in await place.cluster.leftovers()} == {"op-verify"}


async def test_a_set_of_a_delete_can_be_tested_when_nothing_of_the_cluster_is_there() -> None:
    place = Bench(cuts=True)
    await place.run(await place.delete())
    place.before = everything(place.world)
    ended = await place.run(await place.verify(of="op-delete"))
    assert ended.state is State.DONE
    assert place.results == dict.fromkeys(FULL, Result.PASSED)
    assert place.is_untouched


async def test_the_plan_is_its_phases_and_its_digest_knows_set_and_commands() -> None:
    place = await bench()
    taken, by = place.journal.sets["op-cutset"], place.journal.rows["op-cutset"]
    likenesses = await place.cluster.likenesses(by, "")
    plans = [
        plan_of_return(goal, values.TARGET, await place.cluster.picture(goal))
        for goal in (
            verify.goal(taken, by, likenesses, commands) for commands in ({}, {Component.SQL: ("mysqlcheck",)})
        )
    ]
    actions = [[(step.action, step.ref.kind) for step in wave] for wave in plans[0].waves]
    assert actions == [
        [(Action.CLONE, Kind.CLAIM)] * 2,
        [(Action.CHECK, Kind.POD)] * 2,
        [(Action.CLEAN, Kind.POD)] * 2,
        [(Action.CLEAN, Kind.CLAIM)] * 2,
    ]
    assert len({one.digest for one in plans}) == len(plans)
    assert plans[0].goal.scope.workloads == ()


async def test_a_clone_is_as_large_as_its_snapshot_and_as_its_claim() -> None:
    place = await bench()
    taken, by = place.journal.sets["op-cutset"], place.journal.rows["op-cutset"]
    larger = replace(taken, members=tuple(replace(one, size=30 * 1024**3) for one in taken.members))
    likenesses = await place.cluster.likenesses(by, "")
    for found, expected in ((taken, (10, 20)), (larger, (30, 30))):
        made = verify.goal(found, by, likenesses, {}).verifying
        assert made
        assert tuple(one.size // 1024**3 for one in made.members) == expected
        assert [one.storage_class for one in made.members] == [NOSQL_CLAIM.storage_class, SQL_CLAIM.storage_class]
        assert [one.access_modes for one in made.members] == [NOSQL_CLAIM.access_modes, SQL_CLAIM.access_modes]


def test_no_default_check_starts_a_database() -> None:
    for component in Component:
        words = " ".join(default_check(component, "/data"))
        assert not {"mysqld", "cassandra", "nodetool"} & set(words.replace("/", " ").split())
    assert default_check(Component.LOG, "/a b")[2] == "ls -A '/a b' && ls -A '/a b' | grep -qvxF lost+found"


async def test_a_delete_says_of_the_newest_set_that_nobody_tested_it_or_what_came_of_it() -> None:
    place = await bench()
    taken = place.journal.sets["op-cutset"]
    assert "was ever taken" in (doubt("prod", None, None) or "")
    assert doubt("prod", taken, None) == (
        "the newest snapshot set op-cutset was never verified: /tml verify prod op-cutset tests it"
    )
    await place.run(await place.verify())
    passed = place.journal.verifications["op-verify"]
    assert doubt("prod", taken, passed) is None
    for result, said in ((Result.FAILED, "FAILED its verification"), (Result.NOT_CHECKED, "could not be verified")):
        verdicts = (replace(passed.verdicts[0], result=result), *passed.verdicts[1:])
        assert said in (doubt("prod", taken, replace(passed, verdicts=verdicts)) or "")


def test_a_set_is_not_taken_on_the_way_of_a_test() -> None:
    assert snapshot.CUT not in phases_of(Goal(Verb.VERIFY, Topology(()), {}))
