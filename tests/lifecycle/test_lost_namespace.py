"""A namespace that went and was made again: kept volumes and sets are bound anew, cut off anywhere nothing is lost."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from lifecycle.by_hand import by_hand
from lifecycle.decide import phases_of, purge
from lifecycle.decide.purge import Stock
from lifecycle.decide.sets import SetRecord
from lifecycle.errors import Unsafe
from lifecycle.model import Action, Kind, Ref
from lifecycle.observed import Observed
from lifecycle.operation import Operation, State
from lifecycle.plan import plan, plan_of_return
from lifecycle.retention import Policy, Quality, is_intact, stale
from lifecycle.snapshots import Grouping, Temperature, group_name, name_of
from lifecycle.volumes import Content, Snapshot, SnapshotClass
from tests.fakes import values
from tests.fakes.world import Captured
from tests.lifecycle.returning import (
    FULL,
    SQL_CLAIM,
    Cut,
    Scene,
    cut_anywhere,
    error_of,
    pair,
    taken_up_or_given_up,
)

SET = "op-cutset"
COPIES = ("tml-captures",)


@dataclass
class Home(Scene):
    """A cluster whose captures are copied elsewhere."""

    cuts: bool = True
    copies: tuple[str, ...] = COPIES

    async def with_set(self, identity: str = SET) -> "Home":
        assert (await self.run(await self.snapshot(Temperature.COLD, identity))).state is State.DONE
        return self

    def taken_by(self, identity: str = SET) -> Operation:
        return self.journal.rows[identity]

    async def from_set(self, identity: str = "op-return", of: str = SET) -> Operation:
        return await self.restore(self.taken_by(of), identity, of=of)

    def holds(self, identity: str) -> bool:
        """Whether the set is there as it is recorded, with what was on the volumes."""
        members = self.journal.sets[identity].members
        is_whole = is_intact(members, self.world.snapshots)
        return is_whole and {one.claim: self.world.cuts[one.handle] for one in members} == FULL

    def content_of(self, identity: str, claim: str = SQL_CLAIM.name) -> Content:
        """What the set's record names."""
        member = next(one for one in self.journal.sets[identity].members if one.claim == claim)
        return self.world.behind[member.content]

    @property
    def stock(self) -> Stock:
        sets = tuple(
            SetRecord(one.id, values.NOW.replace(hour=at), one.members, copies=self.copies, group=one.group)
            for at, one in enumerate(self.journal.sets.values())
        )
        return Stock(sets)

    async def purge(self, identity: str = "op-purge0") -> Operation:
        """Of every set but the newest whole one."""
        observed = await self.cluster.picture(purge.draft(self.stock))
        sets = stale(purge.held(self.stock, observed), Policy(keep_last=1), {}, values.NOW)
        return self.begin(purge.goal(self.stock, observed, (), sets), identity)


@cut_anywhere
@taken_up_or_given_up
async def test_kept_volumes_are_bound_again_in_the_new_namespace_cut_off_anywhere(cut: Cut, goes_on: bool) -> None:
    for count in range(200):
        home = Home(cuts=False)
        deleted = await home.run(await home.delete())
        home.world.lose_namespace()
        cut(home, count)
        left = await home.cut_off(await home.restore(deleted))
        if left is None:
            assert count > 10
            assert home.is_whole
            return
        await home.ended(left, goes_on=goes_on)
        if not goes_on and not home.is_whole:
            assert (await home.run(await home.restore(deleted, "op-again0"))).state is State.DONE
        assert home.is_whole
    pytest.fail("there is more to it than expected")


@cut_anywhere
@taken_up_or_given_up
async def test_a_set_is_bound_anew_cut_off_anywhere_and_is_whole_for_the_next_time(cut: Cut, goes_on: bool) -> None:
    """Given up half-way and asked for again, it takes up what the first one left, or makes its own."""
    for count in range(300):
        home = await Home().with_set()
        old = dict(home.world.behind)
        home.world.lose_namespace()
        cut(home, count)
        left = await home.cut_off(await home.from_set())
        if left is not None:
            ended = await home.ended(left, goes_on=goes_on)
            if not goes_on and ended.state is not State.DONE and not home.runs:
                assert (await home.run(await home.from_set("op-again0"))).state is State.DONE
        assert home.runs
        assert home.world.contents() == FULL
        assert home.holds(SET)
        assert {name: home.world.behind[name] for name in old} == old, "what was left behind is not touched"
        assert home.content_of(SET).name not in old
        assert {one.policy for one in home.world.behind.values()} == {"Retain"}
        if left is None:
            assert count > 15
            return
    pytest.fail("there is more to it than expected")


async def test_a_deleted_cluster_comes_back_from_its_set_and_what_is_in_none_on_its_kept_volume() -> None:
    home = Home()
    deleted = await home.run(await home.delete())
    home.world.lose_namespace()
    assert (await home.run(await home.restore(deleted, of="op-delete"))).state is State.DONE
    assert home.runs
    assert home.world.contents() == FULL
    assert home.bytes_are_there


@cut_anywhere
async def test_an_older_set_is_bound_anew_in_place_cut_off_anywhere(cut: Cut) -> None:
    for count in range(300):
        home = await Home().with_set()
        home.world.data = {volume: f"{text}, and more" for volume, text in home.world.data.items()}
        await home.with_set("op-newer0")
        home.world.lose_namespace()
        assert (await home.run(await home.from_set(of="op-newer0"))).state is State.DONE
        going = await home.exchange(SET)
        assert phases_of(going.goal)[0].name == "rebind"
        cut(home, count)
        left = await home.cut_off(going)
        if left is None:
            assert count > 20
            return
        assert (await home.ended(left, goes_on=True)).state is State.DONE
        assert home.runs
        assert home.world.contents() == FULL
        assert home.holds(SET)
    pytest.fail("there is more to it than expected")


async def lost_twice() -> Home:
    """Bound anew twice, so that two contents for each member were left behind; and a newer set since."""
    home = await Home().with_set()
    for identity in ("op-first0", "op-second"):
        home.world.lose_namespace()
        assert (await home.run(await home.from_set(identity))).state is State.DONE
    assert len(home.world.behind) == 3 * len(FULL)
    return await home.with_set("op-newer0")


@cut_anywhere
async def test_a_set_that_was_bound_anew_goes_with_its_bytes_and_all_that_was_left_behind_cut_off_anywhere(
    cut: Cut,
) -> None:
    for count in range(100):
        home = await lost_twice()
        handles = {one.handle for one in home.journal.sets[SET].members}
        begun = await home.purge()
        cut(home, count)
        left = await home.cut_off(begun)
        if left is not None:
            assert (await home.ended(left, goes_on=True)).state is State.DONE
        assert set(home.world.snapshots) == {name_of("op-newer0", claim) for claim in FULL}
        assert len(home.world.behind) == len(FULL)
        assert handles.isdisjoint(home.world.cuts)
        assert home.holds("op-newer0")
        assert set(home.world.captures) == {"op-newer0"}
        assert set(home.world.copies) == {(COPIES[0], "op-newer0")}
        if left is None:
            assert count > 5
            return
    pytest.fail("there is more to it than expected")


async def lost_group() -> Home:
    """Cut as a group and bound anew, member by member; and a newer group since."""
    home = Home()
    home.world.grouping = Grouping((SnapshotClass("csi-groups", values.CSI, "Delete"),))
    assert (await home.run(await home.snapshot(Temperature.HOT, SET))).state is State.DONE
    home.world.lose_namespace()
    assert (await home.run(await home.from_set())).state is State.DONE
    assert home.world.contents() == FULL
    assert (await home.run(await home.snapshot(Temperature.HOT, "op-newer0"))).state is State.DONE
    return home


async def test_a_group_is_bound_anew_member_by_member_and_counts_as_not_whole() -> None:
    home = await lost_group()
    assert home.holds(SET)
    assert all(one.made_by == SET for one in home.world.snapshots.values() if not one.group)
    observed = await home.cluster.picture(purge.draft(home.stock))
    found = {one.id: one.quality for one in purge.held(home.stock, observed)}
    assert found == {SET: Quality.BAD, "op-newer0": Quality.GOOD}


@cut_anywhere
async def test_a_group_that_was_bound_anew_goes_with_what_its_group_left_behind_cut_off_anywhere(cut: Cut) -> None:
    for count in range(100):
        home = await lost_group()
        handles = {one.handle for one in home.journal.sets[SET].members}
        begun = await home.purge()
        assert [phase.name for phase in phases_of(begun.goal)][:2] == ["strays", "release"]
        cut(home, count)
        left = await home.cut_off(begun)
        if left is not None:
            assert (await home.ended(left, goes_on=True)).state is State.DONE
        assert set(home.world.together.groups) == {group_name("op-newer0")}
        assert {one.snapshot for one in home.world.together.behind.values()} == {group_name("op-newer0")}
        assert set(home.world.snapshots) == {one.name for one in home.journal.sets["op-newer0"].members}
        assert len(home.world.behind) == len(FULL)
        assert handles.isdisjoint(home.world.cuts)
        if left is None:
            assert count > 5
            return
    pytest.fail("there is more to it than expected")


async def test_no_content_lets_its_bytes_go_before_the_others_of_the_same_bytes_were_seen_gone() -> None:
    home = await lost_twice()
    before = len(home.journal.steps)
    assert (await home.run(await home.purge())).state is State.DONE
    steps = [step for step in home.journal.steps[before:] if step.ref.kind is Kind.CONTENT]
    first = next(at for at, step in enumerate(steps) if step.action is Action.RELEASE)
    assert {step.action for step in steps[:first]} == {Action.REMOVE}
    assert len(steps[:first]) == 2 * len(FULL)


async def test_a_content_left_behind_that_would_take_the_bytes_along_is_no_stray_and_refuses_the_restore() -> None:
    home = await Home().with_set()
    home.world.lose_namespace()
    name = home.content_of(SET).name
    home.world.behind[name] = replace(home.world.behind[name], policy="Delete")
    with pytest.raises(Unsafe, match=f"{name} would take the data of {SQL_CLAIM.name} along"):
        await home.from_set()


async def test_a_content_left_behind_that_takes_its_bytes_along_is_never_removed_as_a_stray() -> None:
    home = await lost_twice()
    name = next(name for name, one in home.world.behind.items() if one.snapshot.startswith(f"tml-{SET}"))
    begun = await home.purge()
    phase = phases_of(begun.goal)[0]
    assert (phase.name, Ref(Kind.CONTENT, name) in phase.objects(begun.goal)) == ("strays", True)
    home.world.behind[name] = replace(home.world.behind[name], policy="Delete")
    seen = await home.cluster.picture(begun.goal)
    assert name not in {step.ref.name for step in phase.decide(begun.goal, seen)}
    await home.end_as_failed(begun)
    again = await home.purge("op-again0")
    assert Ref(Kind.CONTENT, name) not in phase.objects(again.goal)


@pytest.mark.parametrize("changed", [{"policy": "Delete"}, {"handle": "another"}, {"is_ready": False}, {"content": ""}])
async def test_a_snapshot_is_bound_anew_only_where_it_is_ready_on_the_recorded_data_and_these_outlive_it(
    changed: dict[str, Any],
) -> None:
    home = await Home().with_set()
    home.world.lose_namespace()
    going = await home.from_set()
    (phase, *_) = phases_of(going.goal)
    assert (await home.run(going)).state is State.DONE
    seen = await home.cluster.picture(going.goal)
    assert phase.reached(going.goal, seen)
    first, *others = seen.snapshots
    spoilt = replace(seen, snapshots=(replace(first, **changed), *others))
    assert phase.missing(going.goal, spoilt) == (first.ref,)


async def test_a_snapshot_of_the_name_that_somebody_else_made_refuses_it_and_one_that_appears_meanwhile_ends_it() -> (
    None
):
    home = await Home().with_set()
    home.world.lose_namespace()
    going = await home.from_set()
    name = name_of(SET, SQL_CLAIM.name)
    stranger = Snapshot(name, "uid-theirs", "", "somebody")

    def make_one(_observed: Observed) -> None:
        home.world.snapshots[name] = stranger

    home.cluster.meanwhile = make_one
    assert f"volumesnapshot/{name} was made by somebody else" in error_of(await home.run(going))
    assert home.is_empty, "nothing was made before all of the set was seen bound"
    with pytest.raises(Unsafe, match="is gone"):
        await home.from_set("op-again0")


async def test_bytes_that_are_gone_end_it_before_anything_of_the_cluster_is_made() -> None:
    home = await Home().with_set()
    home.world.lose_namespace()
    home.world.cuts.clear()
    ended = await home.run(await home.from_set())
    assert ended.state is State.FAILED
    assert (ended.phase, home.is_empty) == ("rebind", True)


async def test_without_a_copy_nothing_says_how_it_was() -> None:
    home = await Home(copies=()).with_set()
    home.world.lose_namespace()
    with pytest.raises(Unsafe, match="nothing says how the cluster was"):
        await home.from_set()


@pytest.mark.parametrize(
    ("keeps_home", "keeps_copy", "ends"), [(True, False, True), (False, True, True), (False, False, False)]
)
async def test_a_delete_goes_on_removing_as_long_as_one_of_the_two_is_whole(
    keeps_home: bool, keeps_copy: bool, ends: bool
) -> None:
    home = Home()

    def lose(_observed: Observed) -> None:
        if home.journal.rows["op-delete"].phase == "remove":
            for captures, stays in ((home.world.captures, keeps_home), (home.world.copies, keeps_copy)):
                if not stays:
                    captures.clear()  # type: ignore[attr-defined]

    going = await home.delete()
    home.cluster.meanwhile = lose
    ended = await home.run(going)
    assert (ended.state is State.DONE) is ends
    if not ends:
        assert "the capture is not there any more" in error_of(ended)


async def test_the_capture_phase_ends_only_when_the_copy_is_seen_too() -> None:
    home = Home()
    going = await home.delete()
    taken: list[str] = []

    def take_away(_observed: Observed) -> None:
        if home.world.copies and not taken:
            taken.extend(operation for _, operation in home.world.copies)
            home.world.copies.clear()

    home.cluster.meanwhile = take_away
    assert (await home.run(going)).state is State.DONE
    assert taken == ["op-delete"]
    assert home.world.copies, "written again"


async def test_a_capture_that_goes_at_home_while_the_copy_is_written_is_written_there_again() -> None:
    """What an executor left that died between the two."""
    home = Home()
    going = await home.delete()
    world = home.world
    world.captures["op-delete"] = Captured(dict(world.states), dict(world.claims), dict(world.parts))

    taken: list[str] = []

    def take_away(_observed: Observed) -> None:
        if home.world.copies and not taken:
            taken.extend(home.world.captures)
            home.world.captures.clear()

    home.cluster.meanwhile = take_away
    assert (await home.run(going)).state is State.DONE
    assert home.world.captures.keys() == set(taken) == {"op-delete"}
    assert [step.action for step in home.journal.steps].count(Action.CAPTURE) == 2


async def test_the_plan_says_what_is_bound_anew_and_its_digest_does_not_depend_on_who_restores() -> None:
    home = await Home().with_set()
    home.world.lose_namespace()
    first = await home.from_set()
    observed = await home.cluster.picture(first.goal)
    made = plan_of_return(first.goal.marked("not begun"), values.TARGET, observed)
    kinds = [{(step.action, step.ref.kind) for step in wave} for wave in made.waves[:2]]
    assert kinds == [{(Action.MAKE, Kind.CONTENT)}, {(Action.MAKE, Kind.SNAPSHOT)}]
    assert made.digest == plan_of_return(first.goal.marked("not begun"), values.TARGET, observed).digest


async def test_who_approves_a_plan_approves_where_it_writes_secrets_to() -> None:
    digests = set()
    for copies in ((), COPIES, ("elsewhere",)):
        goal = (await Home(copies=copies).delete()).goal
        digests.add(plan(goal.marked("not begun"), pair()).digest)
    assert len(digests) == 3


async def test_a_copy_is_removed_by_hand_where_it_is() -> None:
    home = await lost_twice()
    begun = await home.purge()
    phase = next(one for one in phases_of(begun.goal) if one.name == "discard")
    lines = by_hand(begun.goal, await home.cluster.picture(begun.goal), phase)
    copy = Ref(Kind.SECRET, f"tml-bot-copy-{COPIES[0]}-{SET}-0")
    assert f"kubectl delete {copy} --namespace {COPIES[0]}" in lines
    assert f"kubectl delete secret/tml-bot-capture-{SET}-0" not in lines, "it went with the namespace"
