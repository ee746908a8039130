"""The decisions of a stop that removes and of the start after it, from every half-way state and in any order."""

from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.decide import phases_of, remove, returning
from lifecycle.errors import ClusterError
from lifecycle.model import Action, Component, Kind, Step
from lifecycle.observed import Observed
from lifecycle.operation import Goal
from lifecycle.phase import Phase
from lifecycle.volumes import Claim
from lifecycle.workloads import WorkloadState
from tests.fakes import values
from tests.fakes.world import Captured, World
from tests.lifecycle.removing import SHARED

MARK = "op-remove"
EPOCH = 3
WORKLOADS = tuple(values.workload(component) for component in (Component.NOSQL, Component.SQL, Component.TM))
FOUND = values.discovery(workloads=WORKLOADS)
PARTS = (*values.PARTS, SHARED)
GOAL = remove.goal(FOUND, PARTS, {}, keeps_services=False).marked(MARK)
REMOVAL = replace(values.operation(GOAL), id=MARK)
GOING = {one.uid for one in (*GOAL.topology, *GOAL.parts)}
ALLOWED = {
    "down": {Action.SCALE_TO_ZERO},
    "capture": {Action.CAPTURE},
    "remove": {Action.SCALE_TO_ZERO, Action.REMOVE},
    "claims": set[Action](),
    "make": {Action.MAKE, Action.OVERWRITE},
    "up": {Action.SCALE_UP},
}
"""By phase: what may be done, and never to a claim or a volume."""
WHOLE = {claim.name: f"bytes of {claim.name}" for claim in values.CLAIMS}


def whole() -> World:
    world = World.of(FOUND, values.inventory(FOUND))
    world.parts[SHARED.ref] = SHARED
    stamp(world)
    return world


def stamp(world: World) -> None:
    world.states = {ref: replace(state, epoch=EPOCH) for ref, state in world.states.items()}


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, int]:
    """With the phase it begins with."""
    world = whole()
    begins = draw(st.integers(0, len(phases_of(GOAL)) - 1))
    states = ["gone", "gone", "namesake"] if begins == 3 else ["down", "down", "ready", *values.STATES, "gone"]
    for one in WORKLOADS:
        how = draw(st.sampled_from(states))
        if how == "gone":
            del world.states[one.ref]
        else:
            world.states[one.ref] = values.STATES[how](one) if how in values.STATES else WorkloadState("uid-theirs")
    for part in PARTS:
        is_past = begins == 3 and part is not SHARED
        how = draw(st.sampled_from(["gone", "namesake"] if is_past else ["there", "there", "gone", "namesake"]))
        if how == "gone":
            del world.parts[part.ref]
        elif how == "namesake":
            world.parts[part.ref] = replace(part, uid="uid-theirs")
    for claim in values.CLAIMS:
        how = draw(st.sampled_from(["bound"] * 6 + ["gone", "terminating", "owned", "pending"]))
        put_claim(world, claim, how)
    if draw(st.sampled_from([True, True, False])):
        world.captures[MARK] = Captured(dict(world.states), dict(world.claims), dict(world.parts))
    stamp(world)
    return world, begins


def put_claim(world: World, claim: Claim, how: str) -> None:
    changes: dict[str, Claim] = {
        "terminating": replace(claim, status=Claim.TERMINATING),
        "owned": replace(claim, goes_with=tuple(one.uid for one in WORKLOADS)),
        "pending": replace(claim, status="Pending"),
    }
    if how == "gone":
        del world.claims[claim.name]
    else:
        world.claims[claim.name] = changes.get(how, claim)


def check(phase: Phase, goal: Goal, observed: Observed, step: Step) -> None:
    """What has to hold of each step in the very picture it is decided on."""
    assert step.action in ALLOWED[phase.name]
    assert step.ref.kind not in (Kind.CLAIM, Kind.VOLUME)
    if step.action is Action.REMOVE:
        assert observed.capture, "nothing is removed that is not written down"
        assert step.uid in GOING
        assert step.ref != SHARED.ref
        assert not [claim for claim in observed.claims if step.uid in claim.goes_with]
        assert step.ref not in goal.counts or not observed.state_of(step.ref).is_present
    if step.action is Action.SCALE_UP:
        made = (*goal.counts, *(part.ref for part in goal.parts))
        assert all(observed.state_of(ref).exists or observed.part(ref) for ref in made)


def go_through(phase: Phase, goal: Goal, world: World, chance: Random) -> str | None:
    """To the phase's end: None; to an obstacle, in words; or until nothing more comes of it: 'late'."""
    for _ in range(200):
        observed = world.picture(goal)
        if obstacle := phase.obstacle(goal, observed):
            return obstacle
        if phase.reached(goal, observed):
            return None
        steps = phase.decide(goal, observed)
        chance.shuffle(steps)
        for step in steps:
            check(phase, goal, observed, step)
            if chance.random() < 0.7:
                with suppress(ClusterError):  # the next picture tells
                    world.apply(step, goal, EPOCH)
            if chance.random() < 0.3:
                world.move(chance)
        stamp_made(world)
        world.move(chance)
    return "late"


def stamp_made(world: World) -> None:
    """What is made bears the epoch of who made it."""
    world.states = {ref: replace(one, epoch=one.epoch or EPOCH) for ref, one in world.states.items()}


def end_of(goal: Goal, world: World, begins: int, chance: Random) -> str | None:
    for phase in phases_of(goal)[begins:]:
        if why := go_through(phase, goal, world, chance):
            return f"{phase.name}: {why}"
    return None


@pytest.mark.timeout(120)
@settings(max_examples=300)
@given(worlds(), st.integers(0, 2**16))
def test_from_every_half_way_state_nothing_is_lost_and_it_ends_or_says_what_is_in_the_way(
    start: tuple[World, int], seed: int
) -> None:
    world, begins = start
    before = {name: claim.uid for name, claim in world.claims.items() if claim.status == "Bound"}
    why = end_of(GOAL, world, begins, Random(seed))
    assert why is None or not why.endswith("late") or "Pending" in {claim.status for claim in world.claims.values()}
    assert before.items() <= {name: claim.uid for name, claim in world.claims.items()}.items()
    if why is None:
        assert not GOING & {state.uid for state in world.states.values()}
        assert not GOING & {part.uid for part in world.parts.values()}
        assert world.contents() == WHOLE


@pytest.mark.timeout(120)
@settings(max_examples=300)
@given(st.data())
def test_a_start_from_every_half_removed_state_ends_running_on_the_claims_that_stayed(data: st.DataObject) -> None:
    chance = Random(data.draw(st.integers(0, 2**16)))
    world = whole()
    for phase in phases_of(GOAL)[:2]:
        assert go_through(phase, GOAL, world, Random(5)) is None
    removed = data.draw(st.sets(st.sampled_from(sorted({*world.states, *world.parts}))))
    theirs = data.draw(st.sets(st.sampled_from(sorted({*world.states, *world.parts}))))
    for ref in sorted(removed | theirs):
        was = world.states.pop(ref, None)
        part = world.parts.pop(ref, None)
        if ref in theirs and was:
            world.states[ref] = replace(was, uid="uid-theirs", made_by="", remembered=None)
        elif ref in theirs and part:
            world.parts[ref] = replace(part, uid="uid-theirs", made_by="")
    observed = world.picture(returning.draft(REMOVAL))
    goal = returning.goal(REMOVAL, observed, {}, {}).marked("op-return")
    assert set(returning.missing(REMOVAL, observed)) == removed - theirs
    assert end_of(goal, world, 0, chance) is None
    assert all(world.states[one.ref].is_ready(one.ref.kind) for one in WORKLOADS)
    assert set(world.parts) == {part.ref for part in PARTS}
    assert world.contents() == WHOLE
    assert {claim.uid for claim in world.claims.values()} == {claim.uid for claim in values.CLAIMS}
    for ref in theirs:
        assert world.uid_of(ref) == "uid-theirs", "what is there is never replaced"
