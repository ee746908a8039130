"""nosql is flushed before it goes down for a cold set: when, when not, and what is said of it."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from lifecycle.by_hand import by_hand
from lifecycle.decide import remove, restart, snapshot, stop
from lifecycle.errors import Conflict, Retryable
from lifecycle.model import Action, Component, Ref
from lifecycle.observed import Discovery, Inventory, Observed
from lifecycle.operation import Goal, Operation, State
from lifecycle.plain import from_plain, to_plain
from lifecycle.plan import Plan, plan
from lifecycle.snapshots import FLUSHING, MAY_NOT_EXECUTE, Ending, Flush, SnapshotSet, Temperature
from lifecycle.volumes import Claim
from lifecycle.workloads import WorkloadState
from tests.fakes import values
from tests.fakes.world import Fault
from tests.lifecycle.returning import NOSQL, PAIR, SQL, Cut, Scene, cut_anywhere

COLD, HOT = Temperature.COLD, Temperature.HOT
FLUSHED = (Flush(NOSQL.ref),)
WHY = "cass-set-0-0: not at its end after 60 s"


def scene(of: Discovery | None = None, *, running: bool = True, may_execute: bool = True) -> Scene:
    place = Scene(running, cuts=True, of=of)
    place.world.may_execute = may_execute
    return place


def zones(count: int) -> Discovery:
    """The reference cluster with nosql in so many zones."""
    others = tuple(values.workload(one) for one in Component if one is not Component.NOSQL)
    nosql = tuple(values.workload(Component.NOSQL, zone) for zone in range(count))
    made = (
        Claim(f"nosqlvol-{one.ref.name}-0", f"uid-n{one.zone}", "Bound", f"pvc-n{one.zone}", "10Gi") for one in nosql
    )
    found = values.discovery(workloads=(*nosql, *others))
    return replace(found, observed=replace(found.observed, claims=(*made, values.CLAIMS[1])))


def done_to(place: Scene, ref: Ref) -> list[Action]:
    return [step.action for step in place.journal.steps if step.ref == ref]


WAYS = ("snapshot", "stop", "delete", "exchange")
"""That take a running cluster down and cut a set."""


async def begun(place: Scene, way: str) -> Operation:
    match way:
        case "snapshot":
            return await place.snapshot(COLD, "op-way000")
        case "stop":
            return await place.stop("op-way000")
        case "delete":
            return await place.delete("op-way000")
        case _:
            assert (await place.run(await place.snapshot(HOT, "op-before"))).state is State.DONE
            return await place.exchange("op-before", "op-way000")


def told(place: Scene) -> SnapshotSet:
    return place.journal.sets["op-way000"]


@pytest.mark.parametrize("way", WAYS)
async def test_whatever_takes_nosql_down_for_a_cold_set_flushes_it_first_and_the_set_says_so(way: str) -> None:
    place = scene()
    assert (await place.run(await begun(place, way))).state is State.DONE
    assert done_to(place, NOSQL.ref)[:2] == [Action.FLUSH, Action.SCALE_TO_ZERO]
    assert Action.FLUSH not in done_to(place, SQL.ref)
    assert place.world.flushes == [(NOSQL.ref, frozenset())], "once, and alone"
    assert told(place).flushes == FLUSHED


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_in_every_zone_it_is_flushed_when_all_that_needs_it_is_gone(count: int) -> None:
    found = zones(count)
    place = scene(found)
    assert (await place.run(await place.snapshot(COLD, "op-way000"))).state is State.DONE
    zone = [Ref(NOSQL.ref.kind, f"cass-set-{number}") for number in range(count)]
    expected = [(zone[number], frozenset(zone[:number])) for number in reversed(range(count))]
    assert place.world.flushes == expected, "the other zones' first, the seed's last, and each beside those it needs"
    assert told(place).flushes == tuple(Flush(ref) for ref in zone)


async def test_where_exec_is_not_allowed_the_set_says_so_and_nothing_else_is_different() -> None:
    with_it, without = scene(), scene(may_execute=False)
    for place in (with_it, without):
        assert (await place.run(await place.snapshot(COLD, "op-way000"))).state is State.DONE
        assert place.is_whole
    assert without.world.flushes == []
    assert told(without).flushes == (Flush(NOSQL.ref, MAY_NOT_EXECUTE),)
    assert replace(told(without), flushes=FLUSHED) == told(with_it)
    others = [step for step in with_it.journal.steps if step.action is not Action.FLUSH]
    assert without.journal.steps == others


@pytest.mark.parametrize("way", WAYS)
async def test_a_flush_that_fails_or_hangs_is_told_and_holds_nothing_up(way: str) -> None:
    place = scene()
    place.world.unflushed = {NOSQL.ref: WHY}
    assert (await place.run(await begun(place, way))).state is State.DONE
    assert len(place.world.flushes) == 1
    assert told(place).flushes == (Flush(NOSQL.ref, WHY),)
    assert told(place).ending is Ending.CLEAN, "whether it was flushed is another question"


async def test_a_flushed_database_that_is_killed_is_no_clean_one() -> None:
    place = scene()
    place.world.killed = {NOSQL.ref}
    await place.run(await place.snapshot(COLD, "op-way000"))
    assert told(place).ending is Ending.KILLED
    assert told(place).flushes == FLUSHED


async def test_flushes_that_hang_in_every_zone_are_within_the_time_for_going_down() -> None:
    found = zones(3)
    hanging, quick = (scene(found, may_execute=may) for may in (True, False))
    hanging.world.unflushed = {one.ref: WHY for one in found.workloads if one.component is Component.NOSQL}
    longer, usual = [await place.snapshot(COLD, "op-way000") for place in (hanging, quick)]
    assert stop.limit(longer.goal) - stop.limit(usual.goal) == 3 * FLUSHING
    assert stop.limit(usual.goal) == stop.limit(stop.goal(found))
    assert (await hanging.run(longer)).state is State.DONE
    assert [one.trouble for one in told(hanging).flushes] == [WHY] * 3


@pytest.mark.parametrize("way", WAYS[:3])
@cut_anywhere
async def test_cut_off_anywhere_nosql_is_flushed_before_it_goes_and_the_end_is_the_same(cut: Cut, way: str) -> None:
    for count in range(200):
        place = scene()
        cut(place, count)
        left = await place.cut_off(await begun(place, way))
        if left is None:
            assert count > 5
            return
        assert (await place.ended(left, goes_on=True)).state is State.DONE
        assert 1 <= len(place.world.flushes) <= 2, "again only where nobody saw that it was"
        assert done_to(place, NOSQL.ref).index(Action.SCALE_TO_ZERO) >= 1
        assert told(place).flushes == FLUSHED
    pytest.fail("there is more to it than expected")


@pytest.mark.parametrize("error", [Conflict("changed"), Retryable("away")], ids=["conflict", "retryable"])
async def test_what_came_of_it_is_written_down_before_nosql_goes_however_often_that_is_refused(
    error: Conflict | Retryable,
) -> None:
    place = scene()
    place.world.faults[f"flush {NOSQL.ref}"] = Fault(error, times=3)
    assert (await place.run(await place.snapshot(COLD, "op-way000"))).state is State.DONE
    assert done_to(place, NOSQL.ref)[:5] == [*[Action.FLUSH] * 4, Action.SCALE_TO_ZERO]
    assert told(place).flushes == FLUSHED


async def test_what_another_operation_flushed_counts_for_nothing() -> None:
    place = scene()
    state = place.world.states[NOSQL.ref]
    place.world.states[NOSQL.ref] = replace(state, flushed_by="op-before", flush_trouble="theirs")
    assert (await place.run(await place.snapshot(COLD, "op-way000"))).state is State.DONE
    assert len(place.world.flushes) == 1
    assert told(place).flushes == FLUSHED


@pytest.mark.parametrize("after", [0, 1], ids=["before it is seen", "after it was seen"])
async def test_annotations_that_somebody_wipes_hold_nothing_up(after: int) -> None:
    place = scene()
    looks = 0

    def wipe(_observed: Observed) -> None:
        nonlocal looks
        state = place.world.states[NOSQL.ref]
        if state.flushed_by:
            looks += 1
        if looks == after + 1 and state.flushed_by:
            place.world.states[NOSQL.ref] = replace(state, flushed_by="", epoch=0)

    place.cluster.meanwhile = wipe
    assert (await place.run(await place.stop("op-way000"))).state is State.DONE
    assert place.world.states[NOSQL.ref].remembered == 1


async def test_nosql_that_somebody_else_took_down_was_not_seen_to_be_flushed() -> None:
    place = scene()
    place.world.states[NOSQL.ref] = replace(place.world.states[NOSQL.ref], flushed_by="op-before")

    def take_down(_observed: Observed) -> None:
        state = place.world.states[NOSQL.ref]
        if state.replicas and not place.world.states[SQL.ref].replicas and not place.world.snapshots:
            place.world.states[NOSQL.ref] = replace(state, replicas=0, generation=state.generation + 1)

    place.cluster.meanwhile = take_down
    await place.run(await place.stop("op-way000"))
    assert place.world.flushes == []
    assert told(place).flushes == (Flush(NOSQL.ref, "nobody saw whether it was"),)


async def test_a_pod_that_restarts_after_the_flush_is_not_flushed_again() -> None:
    place = scene()

    def restart(_observed: Observed) -> None:
        if place.world.flushes:
            state = place.world.states[NOSQL.ref]
            restarted = tuple(replace(pod, uid=f"{pod.uid}-again") for pod in state.pods)
            place.world.states[NOSQL.ref] = replace(state, pods=restarted)

    place.cluster.meanwhile = restart
    await place.run(await place.snapshot(COLD, "op-way000"))
    assert len(place.world.flushes) == 1


FOUND = values.discovery(workloads=PAIR)
STORED = values.csi_inventory(FOUND)


def actions_of(made: Plan) -> list[Action]:
    return [step.action for wave in made.waves for step in wave]


def without_a_set() -> dict[str, Goal]:
    down = values.discovery({one.component: values.down(one) for one in PAIR}, workloads=PAIR)
    return {
        "hot": snapshot.goal(FOUND, STORED, HOT, ()),
        "down already": snapshot.goal(down, STORED, COLD, ()),
        "a stop without a set": stop.goal(FOUND),
        "a stop that removes": remove.goal(FOUND, STORED.parts, {}, keeps_services=True),
        "a restart": restart.goal(FOUND, Component.NOSQL, downtime=True),
        "nosql left out": snapshot.goal(FOUND, STORED, COLD, {Component.NOSQL}),
    }


@pytest.mark.parametrize("what", without_a_set())
def test_where_no_set_of_nosql_is_cut_cold_after_it_ran_there_is_no_such_step(what: str) -> None:
    goal = without_a_set()[what]
    assert Action.FLUSH not in actions_of(plan(goal, FOUND))
    assert goal.cutting is None or not goal.cutting.memories


def test_what_does_not_run_of_nosql_is_not_flushed() -> None:
    found = values.discovery({Component.NOSQL: values.down(NOSQL)}, workloads=PAIR)
    goal = snapshot.goal(found, STORED, COLD, ())
    assert Action.FLUSH not in actions_of(plan(goal, found))
    assert goal.cutting
    assert goal.cutting.memories == ()


def planned(stored: Inventory) -> Plan:
    return plan(snapshot.goal(FOUND, stored, COLD, ()), FOUND)


def test_the_plan_shows_the_step_only_where_it_is_allowed_and_the_digest_knows() -> None:
    allowed, forbidden = planned(STORED), planned(replace(STORED, may_execute=False))
    assert actions_of(allowed).count(Action.FLUSH) == 1
    assert Action.FLUSH not in actions_of(forbidden)
    assert allowed.digest != forbidden.digest


STATES: dict[str, tuple[WorkloadState, list[Action]]] = {
    "ready": (values.ready(NOSQL), [Action.FLUSH]),
    "not ready": (values.unready(NOSQL), [Action.FLUSH]),
    "flushed": (replace(values.ready(NOSQL), flushed_by="op-1"), [Action.SCALE_TO_ZERO]),
    "in vain": (replace(values.ready(NOSQL), flushed_by="op-1", flush_trouble=WHY), [Action.SCALE_TO_ZERO]),
    "by another one": (replace(values.ready(NOSQL), flushed_by="op-0"), [Action.FLUSH]),
    "leaving": (values.leaving(NOSQL), []),
    "down": (values.down(NOSQL), []),
}


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("sql", ["ready", "leaving", "down"])
def test_from_every_state_it_is_flushed_once_and_never_under_what_needs_it(name: str, sql: str) -> None:
    goal = snapshot.goal(FOUND, STORED, COLD, ()).marked("op-1")
    state, wanted = STATES[name]
    observed = replace(FOUND.observed, workloads={NOSQL.ref: state, SQL.ref: values.STATES[sql](SQL)})
    steps = [step for step in stop.steps(goal, observed) if step.ref == NOSQL.ref]
    assert [step.action for step in steps] == (wanted if sql == "down" else [])


def test_by_hand_it_is_a_line_for_each_pod() -> None:
    nosql = replace(NOSQL, replicas=2)
    found = values.discovery(workloads=(nosql,))
    lines = by_hand(snapshot.goal(found, STORED, COLD, ()), found.observed, stop.DOWN)
    assert lines == (
        "kubectl exec cass-set-0-0 -- nodetool flush",
        "kubectl exec cass-set-0-1 -- nodetool flush",
        "kubectl annotate statefulset/cass-set-0 tml-bot/replicas=2 --overwrite",
        "kubectl scale statefulset/cass-set-0 --replicas=0",
    )


async def test_what_was_recorded_before_there_were_flushes_is_read_and_says_nothing_of_them() -> None:
    place = scene()
    await place.run(await place.snapshot(COLD, "op-way000"))
    recorded = to_plain(told(place))
    del recorded["flushes"]
    assert from_plain(SnapshotSet, json.loads(json.dumps(recorded))).flushes == ()
    goal = to_plain(place.journal.rows["op-way000"].goal)
    assert from_plain(Goal, goal).cutting == place.journal.rows["op-way000"].goal.cutting
    del goal["cutting"]["memories"], goal["cutting"]["may_flush"]
    before = from_plain(Goal, goal).cutting
    assert before
    assert not before.flushes(NOSQL.ref)
    assert stop.limit(from_plain(Goal, goal)) > timedelta()
