"""A hot set that is cut as one volume group: whole or not at all, restored like any other, and removed whole."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from lifecycle.decide import phases_of, purge, reclaim, snapshot
from lifecycle.decide.purge import Stock
from lifecycle.decide.sets import SetRecord
from lifecycle.errors import ClusterError, Conflict, Forbidden, Invalid, Retryable
from lifecycle.model import Action, Component, Kind
from lifecycle.observed import Observed
from lifecycle.operation import Goal, Operation, State
from lifecycle.plan import plan
from lifecycle.quiescing import HotCommands
from lifecycle.retention import Policy, Quality, stale
from lifecycle.snapshots import Cutting, Grouping, SnapshotSet, Temperature, group_name
from lifecycle.volumes import GroupSnapshot, SnapshotClass, Volume
from tests.fakes import values
from tests.fakes.world import NO_GROUPS, Fault
from tests.lifecycle.returning import FULL, PAIR, SQL_CLAIM, Cut, Scene, cut_anywhere, error_of, outcome_of

CLASS = SnapshotClass("csi-groups", values.CSI, "Delete")
TOGETHER = Grouping((CLASS,))
COMMANDS = HotCommands(Component.SQL, ("lock",), ("unlock",))
SET = "op-cutset"
FOUND = values.discovery(workloads=PAIR)


def scene() -> Scene:
    place = Scene(cuts=True)
    place.world.grouping = TOGETHER
    return place


async def hot(place: Scene, identity: str = SET, commands: HotCommands | None = None) -> Operation:
    return await place.snapshot(Temperature.HOT, identity, commands)


def is_whole_group(place: Scene, taken: SnapshotSet) -> bool:
    """Its members are there with the bytes of each volume, and all of it outlives the namespace."""
    world = place.world
    there = [world.snapshots[one.name] for one in taken.members]
    group = taken.group and world.together.groups.get(taken.group.name)
    kept = {one.policy for one in (*world.together.behind.values(), *(world.behind[one.content] for one in there))}
    is_saved = all(one.is_saved for one in there) and bool(group and group.is_saved) and kept == {Volume.RETAIN}
    return is_saved and {one.claim: world.cuts[one.handle] for one in there} == FULL


async def test_a_set_of_one_driver_is_cut_as_one_group_and_recorded_as_it_was_seen() -> None:
    place = scene()
    ended = await place.run(await hot(place))
    assert ended.state is State.DONE
    taken = place.journal.sets[SET]
    assert taken.group
    assert taken.group.name == group_name(SET)
    assert {one.group for one in taken.members} == {group_name(SET)}
    assert not any(one.name.startswith("tml-") for one in taken.members), "nobody chose their names"
    assert is_whole_group(place, taken)
    order = [(step.action, step.ref.kind) for step in place.journal.steps]
    assert order.index((Action.LABEL, Kind.CLAIM)) < order.index((Action.CUT, Kind.GROUP))
    assert (Action.CUT, Kind.CLAIM) not in order
    assert place.is_whole


@pytest.mark.parametrize("commands", [None, COMMANDS], ids=["plain", "with commands"])
@cut_anywhere
async def test_cut_off_anywhere_and_taken_up_it_ends_with_the_same_group(
    cut: Cut, commands: HotCommands | None
) -> None:
    for count in range(200):
        place = scene()
        cut(place, count)
        left = await place.cut_off(await hot(place, commands=commands))
        if left is None:
            assert count > 8
            return
        ended = left if left.state is State.DONE else await place.run(left)
        assert ended.state is State.DONE
        assert len(place.world.together.groups) == 1
        assert is_whole_group(place, place.journal.sets[SET])
        assert place.cluster.pods.ran[-1:] == (["after"] if commands else [])
    pytest.fail("there is more to it than expected")


async def test_claims_are_in_the_group_before_anything_is_held_still() -> None:
    place = scene()
    ended = await place.run(await hot(place, commands=COMMANDS))
    assert ended.state is State.DONE
    found = place.journal.sets[SET].quiescence
    assert found
    assert found.is_quiesced
    actions = [step.action for step in place.journal.steps]
    assert max(at for at, one in enumerate(actions) if one is Action.LABEL) < actions.index(Action.QUIESCE)


@pytest.mark.parametrize("error", [Conflict("changed"), Retryable("away")], ids=["conflict", "retryable"])
async def test_every_single_step_refused_twice_changes_nothing_in_the_end(error: ClusterError) -> None:
    place = scene()
    assert (await place.run(await hot(place))).state is State.DONE
    keys = {step.key for step in place.journal.steps}
    assert len(keys) == 1 + 2 + 1 + 3
    for key in keys:
        again = scene()
        again.world.faults[key] = Fault(error, times=2)
        assert (await again.run(await hot(again))).state is State.DONE
        assert is_whole_group(again, again.journal.sets[SET])


async def test_one_volume_that_cannot_be_cut_fails_the_whole_set() -> None:
    place = scene()
    place.world.never_cut = {SQL_CLAIM.name}
    ended = await place.run(await hot(place))
    assert (ended.state, ended.phase) == (State.FAILED, "cut")
    assert outcome_of(ended).missing == (f"volumegroupsnapshot/{group_name(SET)}",)
    assert not place.journal.sets


async def test_a_member_that_is_never_ready_is_no_set_though_all_the_rest_is() -> None:
    place = scene()
    place.world.never_uploaded = {SQL_CLAIM.name}

    def only_the_group(_observed: Observed) -> None:
        for name, one in place.world.together.groups.items():
            if one.cut_at:
                place.world.together.groups[name] = replace(one, is_ready=True)

    place.cluster.meanwhile = only_the_group
    ended = await place.run(await hot(place))
    assert (ended.state, ended.phase) == (State.FAILED, "ready")
    assert not place.journal.sets


Disturbing = Callable[[Scene], None]


def label_another(place: Scene) -> None:
    """A third claim bears the label."""
    claims = place.world.claims
    if claims[SQL_CLAIM.name].grouped_by:
        mine = replace(claims[SQL_CLAIM.name], name="sqlvol-mysql-set-0-7", uid="uid-7")
        claims["sqlvol-mysql-set-0-7"] = mine


def take_the_name(place: Scene) -> None:
    name = group_name(SET)
    place.world.together.groups[name] = GroupSnapshot(name, "uid-theirs", "", "op-theirs")


def delete_the_group(place: Scene) -> None:
    if place.journal.rows[SET].phase == "ready":
        place.world.together.groups.clear()


def exchange_the_group(place: Scene) -> None:
    if place.journal.rows[SET].phase == "ready":
        take_the_name(place)


def delete_a_member(place: Scene) -> None:
    if place.journal.rows[SET].phase == "ready":
        for name in [name for name, one in place.world.snapshots.items() if one.claim == SQL_CLAIM.name]:
            del place.world.snapshots[name]


DISTURBED: list[tuple[Disturbing, str]] = [
    (label_another, "has sqlvol-mysql-set-0-7, too, which is not of this set"),
    (take_the_name, "was made by somebody else"),
    (delete_the_group, f"volumegroupsnapshot/{group_name(SET)} was deleted"),
    (exchange_the_group, "was made by somebody else"),
    (delete_a_member, f"the group's snapshot of {SQL_CLAIM.name} was deleted"),
]


@pytest.mark.parametrize(("disturb", "said"), DISTURBED, ids=[one.__name__ for one, _ in DISTURBED])
async def test_a_group_that_is_another_than_was_meant_is_no_set(disturb: Disturbing, said: str) -> None:
    place = scene()
    place.world.never_uploaded = set(FULL)
    place.cluster.meanwhile = lambda _observed: disturb(place)
    ended = await place.run(await hot(place))
    assert said in error_of(ended)
    assert not place.journal.sets


@pytest.mark.parametrize("error", [Forbidden("no right"), Invalid("no such class")], ids=["forbidden", "invalid"])
async def test_a_group_that_kubernetes_refuses_fails_the_set_and_touches_nothing(error: ClusterError) -> None:
    place = scene()
    place.world.faults[f"cut volumegroupsnapshot/{group_name(SET)}"] = Fault(error)
    ended = await place.run(await hot(place))
    assert str(error) in error_of(ended)
    assert place.is_whole


async def test_a_later_set_finds_the_claims_by_a_label_of_its_own() -> None:
    place = scene()
    await place.run(await hot(place))
    await place.run(await hot(place, "op-second"))
    assert {claim.grouped_by for claim in place.world.claims.values()} == {"op-second"}
    first, second = place.journal.sets[SET], place.journal.sets["op-second"]
    assert {one.name for one in first.members}.isdisjoint({one.name for one in second.members})
    assert all(place.world.snapshots[one.name].is_saved for one in (*first.members, *second.members))


async def test_a_cluster_is_restored_and_tested_from_the_members_as_from_any_snapshots() -> None:
    place = scene()
    await place.run(await hot(place))
    assert (await place.run(await place.verify())).state is State.DONE
    place.world.data = {volume: f"{text}, and more" for volume, text in place.world.data.items()}
    assert (await place.run(await place.exchange(SET))).state is State.DONE
    assert place.world.contents() == FULL


# which sets are cut as groups

MIXED = values.csi_inventory(FOUND)


def cutting_of(grouping: Grouping, temperature: Temperature = Temperature.HOT, drivers: str = "one") -> Cutting:
    volumes = MIXED.volumes
    classes = MIXED.snapshot_classes
    if drivers == "two":
        volumes = (replace(volumes[0], driver="other.example.com"), *volumes[1:])
        classes = (*(classes or ()), SnapshotClass("others", "other.example.com", "Delete"))
    excluded = {Component.NOSQL} if drivers == "one volume" else set()
    inventory = replace(MIXED, volumes=volumes, snapshot_classes=classes)
    made = snapshot.held_still(snapshot.goal(FOUND, inventory, temperature, excluded), grouping, None)
    assert made.cutting
    return made.cutting


APART = [
    (NO_GROUPS, "one", "this Kubernetes knows no volume groups"),
    (TOGETHER, "two", f"its volumes are of several drivers ({values.CSI}, other.example.com)"),
    (TOGETHER, "one volume", "there is one volume only"),
    (Grouping(), "one", f"there is no VolumeGroupSnapshotClass for its driver {values.CSI}: make one"),
    (Grouping((replace(CLASS, driver="other.example.com"),)), "one", "there is no VolumeGroupSnapshotClass"),
    (Grouping((CLASS, replace(CLASS, name="gold"))), "one", "(csi-groups, gold) and none is the default"),
    (
        Grouping((replace(CLASS, is_default=True), replace(CLASS, name="gold", is_default=True))),
        "one",
        "are the default one (csi-groups, gold): leave one",
    ),
]


@pytest.mark.parametrize(("grouping", "drivers", "said"), APART, ids=range(len(APART)))
def test_what_cannot_be_cut_together_is_cut_one_by_one_and_the_plan_says_why(
    grouping: Grouping, drivers: str, said: str
) -> None:
    cutting = cutting_of(grouping, drivers=drivers)
    assert cutting.group_class == ""
    assert said in cutting.apart
    assert {one.snapshot_class for one in cutting.members} <= {"csi-snapshots", "others"}


def test_the_class_is_the_default_one_of_the_driver_or_its_only_one_as_for_single_snapshots() -> None:
    others = replace(CLASS, name="gold", policy="Retain", is_default=True)
    for grouping, name in ((TOGETHER, "csi-groups"), (Grouping((CLASS, others)), "gold")):
        cutting = cutting_of(grouping)
        assert (cutting.group_class, cutting.apart) == (name, "")
        assert {one.snapshot_class for one in cutting.members} == {name}


def test_a_cold_set_is_cut_one_by_one_wherever_it_is_taken() -> None:
    cutting = cutting_of(TOGETHER, Temperature.COLD)
    assert (cutting.group_class, cutting.apart) == ("", "")


def test_a_plan_of_a_group_labels_then_cuts_it_and_depends_on_its_class() -> None:
    made = [
        plan(replace(goal_of(), cutting=cutting_of(grouping)), FOUND)
        for grouping in (TOGETHER, Grouping((replace(CLASS, name="gold"),)), NO_GROUPS)
    ]
    assert [{step.action for step in wave} for wave in made[0].waves] == [
        {Action.CAPTURE},
        {Action.LABEL},
        {Action.CUT},
        {Action.RETAIN},
    ]
    assert len({one.digest for one in made}) == 3


def goal_of() -> Goal:
    return snapshot.goal(FOUND, MIXED, Temperature.HOT, ())


def test_only_claims_that_are_put_into_a_group_bear_the_executors_stamp() -> None:
    assert goal_of().stamped_claims == frozenset()
    together = replace(goal_of(), cutting=cutting_of(TOGETHER))
    assert together.stamped_claims == {claim.ref for claim in values.CLAIMS}
    assert [phase.name for phase in phases_of(together)] == ["capture", "cut", "ready"]


# how they go


@dataclass
class House(Scene):
    """Two or three sets, cut as groups."""

    cuts: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.world.grouping = TOGETHER

    async def filled(self, *identities: str) -> "House":
        for identity in identities:
            assert (await self.run(await hot(self, identity))).state is State.DONE
        return self

    @property
    def stock(self) -> Stock:
        good = (
            SetRecord(one.id, values.NOW.replace(hour=at + 1), one.members, group=one.group)
            for at, one in enumerate(self.journal.sets.values())
        )
        failed = (
            SetRecord(
                one.id,
                values.NOW.replace(hour=0),
                tuple(values.snapshot_of("", claim, one.id) for claim in FULL),
                failed=True,
                group=GroupSnapshot(group_name(one.id), "", "", one.id),
            )
            for one in self.journal.rows.values()
            if one.state is State.FAILED
        )
        return Stock((*failed, *good))

    async def purge(self) -> Operation:
        observed = await self.cluster.picture(purge.draft(self.stock))
        verdict = stale(purge.held(self.stock, observed), Policy(keep_last=1), {}, values.NOW)
        return self.begin(purge.goal(self.stock, observed, [], verdict), "op-purge0")

    async def qualities(self) -> dict[str, Quality]:
        observed = await self.cluster.picture(purge.draft(self.stock))
        return {one.id: one.quality for one in purge.held(self.stock, observed)}

    def assert_only(self, identity: str) -> None:
        """Nothing is left but this set, whole."""
        taken = self.journal.sets[identity]
        world = self.world
        assert set(world.together.groups) == {group_name(identity)}
        assert len(world.together.behind) == 1
        assert set(world.snapshots) == {one.name for one in taken.members}
        assert len(world.behind) == len(world.cuts) == len(FULL)
        assert is_whole_group(self, taken)


async def test_an_old_group_goes_with_its_members_their_contents_and_bytes_and_the_newest_stays() -> None:
    house = await House().filled("op-old", "op-new")
    before = len(house.journal.steps)
    ended = await house.run(await house.purge())
    assert ended.state is State.DONE
    house.assert_only("op-new")
    steps = house.journal.steps[before:]
    assert {step.ref.kind for step in steps if step.action is Action.RELEASE} == {Kind.CONTENT, Kind.GROUP_CONTENT}
    removed = {step.ref.kind for step in steps if step.action is Action.REMOVE}
    assert removed == {Kind.GROUP, Kind.SECRET}, "the rest goes with the group"


@cut_anywhere
async def test_a_purge_of_a_group_cut_off_anywhere_and_taken_up_ends_the_same(cut: Cut) -> None:
    for count in range(100):
        house = await House().filled("op-old", "op-new")
        begun = await house.purge()
        cut(house, count)
        left = await house.cut_off(begun)
        if left is None:
            assert count > 2
            return
        ended = left if left.state is State.DONE else await house.run(left)
        assert ended.state is State.DONE
        house.assert_only("op-new")
    pytest.fail("there is more to it than expected")


async def test_what_a_failed_group_left_goes_by_the_group_though_nobody_knew_its_members() -> None:
    house = House()
    house.world.never_uploaded = {SQL_CLAIM.name}
    assert (await house.run(await hot(house, "op-bad"))).state is State.FAILED
    house.world.never_uploaded = set()
    await house.filled("op-new")
    ended = await house.run(await house.purge())
    assert ended.state is State.DONE
    house.assert_only("op-new")


async def test_a_group_that_somebody_removed_leaves_contents_that_a_purge_takes_away() -> None:
    house = await House().filled("op-old", "op-new")
    world, old = house.world, house.journal.sets["op-old"]
    del world.together.groups[group_name("op-old")]
    for one in old.members:
        del world.snapshots[one.name]
    assert (await house.qualities()) == {"op-old": Quality.BAD, "op-new": Quality.GOOD}
    ended = await house.run(await house.purge())
    assert ended.state is State.DONE
    house.assert_only("op-new")


async def test_members_that_their_group_left_behind_go_one_by_one() -> None:
    house = await House().filled("op-old", "op-new")
    del house.world.together.groups[group_name("op-old")]
    ended = await house.run(await house.purge())
    assert ended.state is State.DONE
    house.assert_only("op-new")


async def test_a_group_waits_for_a_member_whose_content_somebody_keeps_again() -> None:
    house = await House().filled("op-old", "op-new")
    goal = (await house.purge()).goal
    world = house.world
    world.behind = {name: replace(one, policy="Delete") for name, one in world.behind.items()}
    together = world.together
    together.behind = {name: replace(one, policy="Delete") for name, one in together.behind.items()}
    assert {step.action for step in reclaim.forget_steps(goal, house.world.picture(goal))} == {Action.REMOVE}
    kept = house.world.snapshots[house.journal.sets["op-old"].members[0].name].content
    house.world.behind[kept] = replace(house.world.behind[kept], policy=Volume.RETAIN)
    (step,) = reclaim.forget_steps(goal, house.world.picture(goal))
    assert (step.action, step.ref.name) == (Action.RELEASE, kept)


@pytest.mark.parametrize("loss", ["group", "policy", "member"])
async def test_a_group_set_is_good_only_while_the_group_and_every_member_is_there_and_kept(loss: str) -> None:
    house = await House().filled(SET)
    world, name = house.world, group_name(SET)
    assert (await house.qualities()) == {SET: Quality.GOOD}
    match loss:
        case "group":
            del world.together.groups[name]
        case "policy":
            world.together.groups[name] = replace(world.together.groups[name], policy="Delete")
        case _:
            del world.snapshots[house.journal.sets[SET].members[0].name]
    assert (await house.qualities()) == {SET: Quality.BAD}


async def test_where_the_newest_group_breaks_in_the_middle_nothing_more_goes() -> None:
    house = await House().filled("op-old", "op-new")
    begun = await house.purge()

    def break_it(_observed: Observed) -> None:
        house.world.together.groups.pop(group_name("op-new"), None)

    house.cluster.meanwhile = break_it
    ended = await house.run(begun)
    assert "newest snapshot set is not whole any more" in error_of(ended)
    assert group_name("op-old") in house.world.together.groups


async def test_a_set_of_which_nothing_may_be_seen_is_not_good_and_is_not_looked_for() -> None:
    house = await House().filled("op-old", "op-new")
    hidden = tuple(replace(one, unseen="no right") for one in house.stock.sets)
    draft = purge.draft(replace(house.stock, sets=hidden))
    assert draft.purging
    assert draft.purging.doomed == ()
    held = purge.held(replace(house.stock, sets=hidden), await house.cluster.picture(draft))
    assert {one.quality for one in held} == {Quality.BAD}
