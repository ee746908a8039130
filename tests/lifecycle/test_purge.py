"""Purge: what was kept goes for good, from every half-way state, and nothing that anybody could need goes with it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.decide import phases_of, purge
from lifecycle.decide.purge import Stock
from lifecycle.decide.sets import SetRecord
from lifecycle.errors import ClusterError, Conflict, NothingToPurge, Retryable
from lifecycle.model import Action, Kind, Step
from lifecycle.observed import Observed
from lifecycle.operation import Goal, Operation, State
from lifecycle.plan import plan_of_return
from lifecycle.retention import Policy, Verdict, stale
from lifecycle.snapshots import Temperature, name_of
from lifecycle.volumes import Claim
from tests.fakes import values
from tests.fakes.world import Fault, World
from tests.lifecycle.returning import (
    FULL,
    NOSQL_CLAIM,
    SQL_CLAIM,
    SQL_VOLUME,
    Cut,
    Scene,
    cut_anywhere,
    error_of,
)

DELETES = ("op-delete",)


@dataclass
class House(Scene):
    """A cluster that was deleted with a set, or restored in place, and had other sets before."""

    cuts: bool = True
    pinned: frozenset[str] = frozenset()
    kept_by: tuple[str, ...] = DELETES

    async def deleted(self, *, older: bool = False) -> "House":
        if older:
            await self.run(await self.snapshot(Temperature.HOT, "op-oldest"))
            await self.run(await self.snapshot(Temperature.HOT, "op-middle"))
        await self.run(await self.delete())
        return self

    async def exchanged(self) -> "House":
        """Back to its newest set in place, after it had written on."""
        self.kept_by = ("op-place0",)
        await self.run(await self.snapshot(Temperature.HOT, "op-oldest"))
        await self.run(await self.snapshot(Temperature.COLD, "op-middle"))
        self.world.data = {volume: f"{text}, and more" for volume, text in self.world.data.items()}
        assert (await self.run(await self.exchange("op-middle"))).state is State.DONE
        return self

    @property
    def stock(self) -> Stock:
        """As the records have it."""
        sets = tuple(
            SetRecord(
                one.id,
                values.NOW.replace(hour=at),
                one.members,
                pinned=one.id in self.pinned,
                kubernetes=self.journal.rows[one.id].goal.kubernetes,
            )
            for at, one in enumerate(self.journal.sets.values())
        )
        kept_by = [one for one in self.journal.rows.values() if one.id in self.kept_by]
        needed = {"op-delete": "the deleted cluster's way back"}
        return Stock(sets, tuple(kept_by), needed, kubernetes=self.cluster.kubernetes)

    async def goal(self, kept_by: Sequence[str] | None = None, policy: Policy | None = None) -> Goal:
        observed = await self.cluster.picture(purge.draft(self.stock))
        found = purge.held(self.stock, observed)
        needed = purge.needed(self.stock, observed)
        sets = stale(found, policy, needed, values.NOW) if policy else Verdict()
        return purge.goal(self.stock, observed, self.kept_by if kept_by is None else kept_by, sets)

    async def purge(self, kept_by: Sequence[str] | None = None, policy: Policy | None = None) -> Operation:
        return self.begin(await self.goal(kept_by, policy), "op-purge0")

    @property
    def set_of_the_delete_is_whole(self) -> bool:
        return self.is_good(self.journal.sets["op-delete"])


ALL = Policy(keep_last=1)


async def test_kept_volumes_go_with_their_bytes_and_the_set_and_its_capture_stay() -> None:
    house = await House().deleted()
    ended = await house.run(await house.purge())
    assert ended.state is State.DONE
    assert not house.world.volumes
    assert not house.world.data
    assert house.set_of_the_delete_is_whole
    assert set(house.world.captures) == {"op-delete"}, "with it the set can be restored"
    assert ended.goal.purging
    assert ended.goal.purging.deletes == DELETES
    assert {step.action for step in house.journal.steps if step.ref.kind is Kind.VOLUME} >= {Action.GIVE_UP}


async def test_with_the_last_way_back_the_capture_goes() -> None:
    house = await House(cuts=False).deleted()
    assert set(house.world.captures) == {"op-delete"}
    before = len(house.journal.steps)
    ended = await house.run(await house.purge())
    assert ended.state is State.DONE
    assert (house.world.captures, house.world.volumes) == ({}, {})
    order = [(step.action, step.ref.kind) for step in house.journal.steps][before:]
    assert order.index((Action.GIVE_UP, Kind.VOLUME)) < order.index((Action.REMOVE, Kind.SECRET))


async def test_old_sets_go_with_content_bytes_and_capture_and_the_newest_one_stays() -> None:
    house = await House().deleted(older=True)
    ended = await house.run(await house.purge((), ALL))
    assert ended.state is State.DONE
    assert set(house.world.snapshots) == {name_of("op-delete", claim) for claim in FULL}
    assert set(house.world.captures) == {"op-delete"}
    assert len(house.world.behind) == len(house.world.cuts) == len(FULL)
    assert house.set_of_the_delete_is_whole
    assert house.bytes_are_there, "the kept volumes are none of it"
    assert house.policies == {("Retain", "op-delete")}


async def test_a_volume_that_was_retain_before_is_left_with_its_policy_and_without_a_mark() -> None:
    house = House()
    name = SQL_VOLUME.name
    house.world.volumes[name] = replace(house.world.volumes[name], policy="Retain")
    await house.deleted()
    ended = await house.run(await house.purge())
    assert ended.state is State.DONE
    (left,) = house.world.volumes.values()
    assert (left.name, left.policy, left.kept_by) == (name, "Retain", "")
    assert house.world.data == {name: FULL[SQL_CLAIM.name]}


@cut_anywhere
@pytest.mark.parametrize("cuts", [True, False], ids=["sets", "no sets"])
async def test_cut_off_anywhere_and_taken_up_it_ends_the_same(cut: Cut, cuts: bool) -> None:
    for count in range(100):
        house = await House(cuts=cuts).deleted(older=cuts)
        begun = await house.purge(policy=ALL)
        cut(house, count)
        left = await house.cut_off(begun)
        if left is None:
            assert count > 2
            return
        ended = left if left.state is State.DONE else await house.run(left)
        assert ended.state is State.DONE
        assert (house.world.volumes, house.world.data) == ({}, {})
        assert set(house.world.captures) == ({"op-delete"} if cuts else set())
        assert set(house.world.behind) == {one.content for one in house.world.snapshots.values()}
        if cuts:
            assert house.set_of_the_delete_is_whole
            assert len(house.world.snapshots) == len(FULL)
    pytest.fail("there is more to it than expected")


@pytest.mark.parametrize("error", [Conflict("changed"), Retryable("away")], ids=["conflict", "retryable"])
async def test_every_single_step_refused_twice_changes_nothing_in_the_end(error: ClusterError) -> None:
    whole = await House().deleted(older=True)
    before = len(whole.journal.steps)
    assert (await whole.run(await whole.purge(policy=ALL))).state is State.DONE
    for key in {step.key for step in whole.journal.steps[before:]}:
        again = await House().deleted(older=True)
        begun = await again.purge(policy=ALL)
        again.world.faults[key] = Fault(error, times=2)
        assert (await again.run(begun)).state is State.DONE
        assert not again.world.volumes


# what is withheld


async def test_without_a_whole_newest_set_the_kept_volumes_stay_unless_the_delete_had_none() -> None:
    house = await House().deleted()
    name = name_of("op-delete", SQL_CLAIM.name)
    house.world.snapshots[name] = replace(house.world.snapshots[name], is_ready=False)
    with pytest.raises(NothingToPurge, match="newest snapshot set op-delete is not whole any more"):
        await house.goal()
    house.journal.sets.clear()
    with pytest.raises(NothingToPurge, match="no snapshot set, so the kept volumes are the only copy"):
        await house.goal()
    bare = await House(cuts=False).deleted()
    assert len((await bare.goal()).volumes) == len(FULL)


async def test_a_set_that_breaks_while_the_purge_runs_ends_it() -> None:
    house = await House().deleted()
    begun = await house.purge()
    name = name_of("op-delete", SQL_CLAIM.name)
    del house.world.snapshots[name]
    ended = await house.run(begun)
    assert ended.state is State.FAILED
    assert "newest snapshot set is not whole any more" in ((ended.outcome and ended.outcome.error) or "")
    assert house.bytes_are_there


async def test_a_claim_of_the_name_makes_it_void_before_and_while_it_runs() -> None:
    house = await House().deleted()
    begun = await house.purge()
    house.world.claims[SQL_CLAIM.name] = replace(SQL_CLAIM, uid="uid-new", status="Pending", volume="")
    with pytest.raises(NothingToPurge, match=f"a claim {SQL_CLAIM.name} is there again"):
        await house.goal()
    ended = await house.run(begun)
    assert ended.state is State.FAILED
    assert f"a claim {SQL_CLAIM.name} is there again" in ((ended.outcome and ended.outcome.error) or "")
    assert house.bytes_are_there


async def test_after_a_restore_nothing_of_it_can_go_and_one_that_was_planned_before_touches_nothing() -> None:
    house = await House().deleted()
    planned = await house.goal()
    deleted = house.journal.rows["op-delete"]
    assert (await house.run(await house.restore(deleted))).state is State.DONE
    assert not (await house.goal()).volumes
    ended = await house.run(house.begin(planned, "op-purge0"))
    assert ended.state is State.FAILED
    assert house.is_whole


async def test_a_claim_that_names_another_volume_hinders_nothing() -> None:
    """As after a restore from a set, or a new installation."""
    house = await House().deleted()
    world = house.world
    world.claims[SQL_CLAIM.name] = replace(SQL_CLAIM, uid="uid-new", status="Bound", volume="pvc-new")
    assert (await house.run(await house.purge())).state is State.DONE
    assert SQL_VOLUME.name not in world.volumes
    assert SQL_CLAIM.name in world.claims


@pytest.mark.parametrize(
    "changes",
    [
        {"kept_by": "op-other0"},
        {"claim_uid": "uid-other"},
        {"claim": "other"},
        {"phase": "Available"},
        {"uid": "other"},
    ],
    ids=str,
)
async def test_a_volume_that_is_not_as_the_delete_left_it_is_never_given_up(changes: dict[str, Any]) -> None:
    house = await House().deleted()
    planned = await house.goal()
    house.world.volumes[SQL_VOLUME.name] = replace(house.world.volumes[SQL_VOLUME.name], **changes)
    ended = await house.run(house.begin(planned, "op-purge0"))
    there = house.world.volumes[SQL_VOLUME.name]
    assert (there.policy, there.kept_by) == ("Retain", changes.get("kept_by", "op-delete"))
    assert house.world.data[SQL_VOLUME.name] == FULL[SQL_CLAIM.name]
    assert ended.state is (State.DONE if "uid" in changes else State.FAILED)
    if "uid" not in changes:
        assert house.bytes_are_there


async def test_a_pinned_set_and_the_way_back_stay_however_old() -> None:
    house = await House(pinned=frozenset({"op-middle"})).deleted(older=True)
    made = await house.goal((), ALL)
    assert made.purging
    assert made.purging.sets == ("op-oldest",)
    assert made.purging.stays == {"set op-middle": "pinned", "set op-delete": "the deleted cluster's way back"}


async def test_a_snapshot_that_somebody_put_in_the_place_of_ours_is_not_touched() -> None:
    house = await House().deleted(older=True)
    planned = await house.goal((), ALL)
    name = name_of("op-oldest", SQL_CLAIM.name)
    theirs = replace(house.world.snapshots[name], uid="uid-theirs", made_by="")
    house.world.snapshots[name] = theirs
    ended = await house.run(house.begin(planned, "op-purge0"))
    assert house.world.snapshots[name] == theirs
    assert ended.state is State.FAILED, "its content is of a snapshot that is not there, and stays until somebody looks"
    again = await house.goal((), ALL)
    assert again.purging
    assert name not in {one.snapshot for one in again.purging.doomed}


async def test_what_somebody_removed_half_goes_wholly() -> None:
    """A content whose snapshot is gone, and was to be kept, goes by itself."""
    house = await House().deleted(older=True)
    name = name_of("op-oldest", SQL_CLAIM.name)
    gone = house.world.snapshots.pop(name)
    assert gone.content in house.world.behind
    ended = await house.run(await house.purge((), ALL))
    assert ended.state is State.DONE
    assert gone.content not in house.world.behind
    assert gone.handle not in house.world.cuts


async def test_what_the_storage_does_not_let_go_is_said_to_be_there_still() -> None:
    house = await House().deleted()
    house.world.never_reclaimed = {SQL_VOLUME.name}
    ended = await house.run(await house.purge())
    assert (ended.state, ended.phase) == (State.FAILED, "give-up")
    assert ended.outcome
    assert ended.outcome.missing == (f"persistentvolume/{SQL_VOLUME.name}",)


async def test_a_set_that_failed_its_restore_test_takes_no_ones_place_and_guards_nothing() -> None:
    house = await House().deleted(older=True)
    observed = await house.cluster.picture(purge.draft(house.stock))
    newest = house.stock.sets[-1]
    failed = replace(house.stock, sets=(*house.stock.sets[:-1], replace(newest, is_bad=True)))
    assert stale(purge.held(failed, observed), ALL, {}, values.NOW).goes == ("op-oldest",), (
        "and op-middle is the newest"
    )
    with pytest.raises(NothingToPurge, match="has failed its restore test, so the kept volumes stay"):
        purge.goal(failed, observed, DELETES, Verdict())


async def test_a_newest_set_without_what_the_delete_saved_guards_nothing() -> None:
    house = await House().deleted()
    observed = await house.cluster.picture(purge.draft(house.stock))
    (only,) = house.stock.sets
    part = tuple(one for one in only.members if one.claim != SQL_CLAIM.name)
    with pytest.raises(NothingToPurge, match=f"is without {SQL_CLAIM.name}"):
        purge.goal(replace(house.stock, sets=(replace(only, members=part),)), observed, DELETES, Verdict())


async def test_what_a_restore_needs_that_has_not_come_to_its_end_stays() -> None:
    house = await House().deleted()
    observed = await house.cluster.picture(purge.draft(house.stock))
    with pytest.raises(NothingToPurge, match="has not come to its end"):
        purge.goal(replace(house.stock, restoring=frozenset(DELETES)), observed, DELETES, Verdict())


async def test_a_newest_set_that_breaks_while_old_ones_go_ends_that_before_their_bytes_are_let_go() -> None:
    house = await House().deleted(older=True)
    operation = await house.purge((), ALL)
    bytes_there = dict(house.world.cuts)
    name = name_of("op-delete", SQL_CLAIM.name)
    house.world.snapshots[name] = replace(house.world.snapshots[name], is_ready=False)
    ended = await house.run(operation)
    assert ended.state is State.FAILED
    assert ended.outcome
    assert "is not whole any more, so nothing more is purged" in (ended.outcome.error or "")
    assert house.world.cuts == bytes_there


async def test_that_nothing_is_left_is_seen_and_not_concluded() -> None:
    house = await House().deleted()
    (delete,) = house.stock.kept_by
    seen = await house.cluster.picture(purge.draft(house.stock))
    assert not purge.is_gone(delete, house.stock, seen)
    strange = tuple(replace(one, kept_by="") for one in seen.volumes)
    assert not purge.is_gone(delete, house.stock, replace(seen, volumes=strange)), (
        "somebody removed the mark, and it is there"
    )
    assert purge.is_gone(
        delete, house.stock, replace(seen, volumes=tuple(replace(one, phase="Bound") for one in seen.volumes))
    )
    assert purge.is_gone(delete, house.stock, replace(seen, volumes=()))


# from every half-way state


@settings(max_examples=150)
@given(st.booleans(), st.integers(0, 2**32), st.data())
async def test_from_every_half_way_state_no_step_leaves_the_goal_or_touches_what_is_used(
    is_exchanged: bool, seed: int, data: st.DataObject
) -> None:
    """Whatever somebody did meanwhile, and in whichever order the controllers moved."""
    house = await (House().exchanged() if is_exchanged else House().deleted(older=True))
    goal = (await house.goal(policy=ALL)).marked("op-purge0")
    world, chance = house.world, Random(seed)
    for name in data.draw(st.sets(st.sampled_from(sorted(world.volumes)))):
        changes = data.draw(
            st.sampled_from([{"kept_by": ""}, {"kept_by": "op-x"}, {"phase": "Bound"}, {"claim_uid": ""}, {"uid": "x"}])
        )
        world.volumes[name] = replace(world.volumes[name], **changes)
    for claim in data.draw(st.sets(st.sampled_from(sorted(FULL)))):
        behind = data.draw(st.sampled_from(["", "pvc-new", *sorted(world.volumes)]))
        world.claims[claim] = Claim(claim, f"new-{claim}", data.draw(st.sampled_from(["Pending", "Bound"])), behind)
    for name in data.draw(st.sets(st.sampled_from(sorted(world.snapshots)))):
        changed = data.draw(st.sampled_from([None, {"uid": "x"}, {"made_by": ""}, {"deleting": True}]))
        one = world.snapshots.pop(name)
        if changed is not None:
            world.snapshots[name] = replace(one, **changed)
    for name in data.draw(st.sets(st.sampled_from(sorted(world.behind)))):
        policy = data.draw(st.sampled_from(["Delete", "Retain"]))
        world.behind[name] = replace(world.behind[name], policy=policy)
    for _ in range(6):
        seen = world.picture(goal)
        for phase in phases_of(goal):
            if phase.obstacle(goal, seen):
                continue
            for step in phase.decide(goal, seen):
                assert_allowed(goal, seen, step, *house.kept_by)
                if chance.random() < 0.5 and world.uid_of(step.ref) == step.uid:
                    world.apply(step, goal, 1)
        world.move(chance)


def assert_allowed(goal: Goal, seen: Observed, step: Step, by: str) -> None:
    assert goal.purging
    if step.ref.kind is Kind.VOLUME:
        frozen = next(one for one in goal.volumes if one.ref == step.ref)
        there = seen.volume(step.ref.name)
        assert there
        assert step.action is Action.GIVE_UP
        assert (there.uid, there.kept_by, there.phase) == (frozen.uid, by, "Released")
        assert (there.claim, there.claim_uid) == (frozen.claim, frozen.claim_uid)
        assert step.ref.name not in {claim.volume for claim in seen.claims}
        namesake = seen.claim(frozen.claim)
        assert namesake is None or namesake.volume not in ("", step.ref.name)
    elif step.ref.kind is Kind.SECRET:
        assert step.uid in {part.uid for part in goal.parts}
        assert by not in step.ref.name
    else:
        one = next(one for one in goal.purging.doomed if step.ref in one.refs)
        assert one.set in ("op-oldest", "op-middle")
        assert step.uid == (one.snapshot_uid if step.ref.kind is Kind.SNAPSHOT else one.content_uid)
        content = seen.content(one.content)
        if step.action is Action.REMOVE:
            assert content is None or content.uid != one.content_uid or content.policy == "Delete"


async def test_the_plan_is_its_phases_and_its_digest_knows_every_object() -> None:
    house = await House().deleted(older=True)
    observed = await house.cluster.picture(purge.draft(house.stock))
    made = plan_of_return(await house.goal(policy=ALL), values.TARGET, observed)
    actions = [{(step.action, step.ref.kind) for step in wave} for wave in made.waves]
    assert actions == [
        {(Action.RELEASE, Kind.CONTENT)},
        {(Action.REMOVE, Kind.SNAPSHOT)},
        {(Action.GIVE_UP, Kind.VOLUME)},
        {(Action.REMOVE, Kind.SECRET)},
    ]
    fewer = plan_of_return(await house.goal(policy=Policy(keep_last=2)), values.TARGET, observed)
    assert made.digest != fewer.digest
    other = replace(made.goal.volumes[0], uid="another")
    assert made.digest != plan_of_return(replace(made.goal, volumes=(other,)), values.TARGET, observed).digest
    assert NOSQL_CLAIM.name in {one.claim for one in made.goal.volumes}


# in which Kubernetes cluster it is


KEPT_IN = [
    pytest.param("uid-of-kube-system", "uid-of-kube-system", True, None, id="the same"),
    pytest.param("uid-of-kube-system", "uid-of-kube-system", False, None, id="the same, and gone"),
    pytest.param("uid-of-kube-system", "another", False, "in another Kubernetes cluster", id="another"),
    pytest.param("uid-of-kube-system", "another", True, "in another Kubernetes cluster", id="another, with its uids"),
    pytest.param("uid-of-kube-system", "", False, "in another Kubernetes cluster", id="may not be read"),
    pytest.param("", "another", False, "nobody knows in which Kubernetes cluster", id="never written down"),
    pytest.param("", "another", True, None, id="never written down, and its uids are here"),
]


@pytest.mark.parametrize(("kept_in", "here", "is_there", "why"), KEPT_IN)
async def test_of_what_is_kept_elsewhere_nothing_is_concluded_and_nothing_goes(
    kept_in: str, here: str, is_there: bool, why: str | None
) -> None:
    house = await House().deleted(older=True)
    stock = house.stock
    observed = await house.cluster.picture(purge.draft(stock))
    (by,) = stock.kept_by
    by = replace(by, goal=replace(by.goal, kubernetes=kept_in))
    sets = tuple(replace(one, kubernetes=kept_in) for one in stock.sets)
    stock = replace(stock, sets=sets, kept_by=(by,), kubernetes=here)
    seen = observed if is_there else replace(observed, volumes=(), snapshots=(), contents=())
    assert purge.is_gone(by, stock, seen) is (why is None and not is_there)
    needed = purge.needed(stock, seen)
    assert all(why in needed[one.id] for one in sets) if why else needed == stock.needed
    verdict = stale(purge.held(stock, observed), ALL, needed, values.NOW)
    assert verdict.goes == (() if why else ("op-oldest", "op-middle"))
    if why:
        with pytest.raises(NothingToPurge, match=why):
            purge.goal(stock, seen, DELETES, verdict)
    elif is_there:
        assert purge.goal(stock, seen, DELETES, verdict).kubernetes == here


async def test_what_a_failed_set_left_is_known_by_its_mark_alone() -> None:
    house = await House().deleted()
    stock = house.stock
    (only,) = stock.sets
    left = tuple(replace(one, uid="") for one in only.members)
    stock = replace(stock, sets=(replace(only, members=left, failed=True, kubernetes=""),), needed={})
    seen = await house.cluster.picture(purge.draft(stock))
    assert purge.needed(stock, seen) == {}
    others = tuple(replace(one, made_by="op-other0") for one in seen.snapshots)
    assert "nobody knows" in purge.needed(stock, replace(seen, snapshots=others))["op-delete"]


async def test_a_purge_that_is_taken_up_in_another_kubernetes_cluster_ends_and_has_purged_nothing() -> None:
    """There it would see at once that all of it is gone."""
    house = await House().deleted(older=True)
    begun = await house.purge(policy=ALL)
    house.cluster.crash_after = 1
    left = await house.cut_off(begun)
    assert left
    here, house.cluster.world = house.world, World({}, {})
    house.cluster.kubernetes = "another"
    ended = await house.run(left)
    assert ended.state is State.FAILED
    assert "is another Kubernetes cluster than the one in which this began" in error_of(ended)
    house.cluster.world, house.cluster.kubernetes = here, "uid-of-kube-system"
    assert (await house.run(house.begin(await house.goal(policy=ALL), "op-purge1"))).state is State.DONE
    assert not house.world.volumes
