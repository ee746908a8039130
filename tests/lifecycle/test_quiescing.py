"""Commands around a hot cut: the one after is run whatever happens, and a set is quiesced only if it was seen so."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lifecycle.decide import phases_of, quiescing, snapshot
from lifecycle.errors import Forbidden, Unsafe
from lifecycle.execution import seen
from lifecycle.model import Action, Component, Step
from lifecycle.observed import Observed
from lifecycle.operation import Goal, Operation, State
from lifecycle.plan import plan
from lifecycle.quiescing import HotCommands, Quiescing, Stage, parsed
from lifecycle.snapshots import Grouping, Temperature, name_of
from tests.fakes import values
from tests.lifecycle.returning import PAIR, SQL, SQL_CLAIM, Cut, Scene, cut_anywhere, outcome_of

COMMANDS = HotCommands(Component.SQL, ("lock", "all tables"), ("unlock", "all tables"))
BY_HAND = "kubectl exec mysql-set-0-0 -c tml-sql -- unlock 'all tables'"


def scene() -> Scene:
    return Scene(cuts=True)


async def hot(place: Scene) -> Operation:
    return await place.snapshot(Temperature.HOT, commands=COMMANDS)


async def held(never_cut: str = "") -> tuple[Scene, Operation]:
    """Left by a process that died between the commands; ``never_cut`` is a claim that the driver refuses."""
    for count in range(100):
        place = scene()
        place.world.never_cut = {never_cut}
        place.cluster.crash_after = count
        left = await place.cut_off(await hot(place))
        if left and place.cluster.pods.holds:
            return place, left
    raise AssertionError("nothing was held")


async def test_a_set_is_quiesced_where_all_was_cut_between_the_two_commands() -> None:
    place = scene()
    ended = await place.run(await hot(place))
    assert ended.state is State.DONE
    taken = place.journal.sets["op-cutset"]
    assert place.is_good(taken)
    assert taken.quiescence
    assert taken.quiescence.is_quiesced
    assert place.cluster.pods.ran == ["before", "after"]
    assert set(place.cluster.pods.held_cuts.values()) == {True}
    assert {step.action for step in place.journal.steps} == {Action.CAPTURE, Action.QUIESCE, Action.RETAIN}
    assert outcome_of(ended).by_hand == ()


async def test_without_configured_commands_none_is_run_and_the_set_says_nothing_of_them() -> None:
    place = scene()
    await place.run(await place.snapshot(Temperature.HOT))
    assert place.cluster.pods.ran == []
    assert place.journal.sets["op-cutset"].quiescence is None


@pytest.mark.parametrize("running", [True, False])
async def test_nothing_is_run_around_a_cold_cut(running: bool) -> None:
    place = Scene(running, cuts=True)
    await place.run(await place.snapshot(Temperature.COLD, commands=COMMANDS))
    assert place.cluster.pods.ran == []
    assert place.journal.sets["op-cutset"].quiescence is None


@cut_anywhere
async def test_cut_off_anywhere_the_next_process_runs_the_command_after_and_claims_no_more_than_was_seen(
    cut: Cut,
) -> None:
    for count in range(200):
        place = scene()
        cut(place, count)
        left = await place.cut_off(await hot(place))
        if left is None:
            assert count > 8
            return
        ended = left if left.state is State.DONE else await place.run(left)
        assert ended.state is State.DONE
        pods, taken = place.cluster.pods, place.journal.sets["op-cutset"]
        assert pods.ran[-1] == "after"
        assert not pods.holds
        assert place.is_good(taken)
        assert taken.quiescence
        if taken.quiescence.is_quiesced:
            assert set(pods.held_cuts.values()) == {True}
        else:
            assert taken.quiescence.why == "interrupted"
        assert pods.ran.count("before") <= 1
    pytest.fail("there is more to it than expected")


async def test_a_process_that_comes_when_the_time_is_over_runs_the_command_after_first_and_then_tells() -> None:
    place, left = await held(never_cut=SQL_CLAIM.name)
    place.clock.advance(timedelta(hours=3).total_seconds())
    ended = await place.run(left)
    assert ended.state is State.FAILED
    assert outcome_of(ended).back_up is True
    assert outcome_of(ended).by_hand == ()
    assert place.cluster.pods.ran == ["before", "after"]
    assert not place.cluster.pods.holds


async def test_where_the_command_before_fails_the_one_after_runs_and_the_set_is_cut_and_says_so() -> None:
    place = scene()
    place.cluster.pods.failing = {"before"}
    ended = await place.run(await hot(place))
    assert ended.state is State.DONE
    taken = place.journal.sets["op-cutset"]
    assert place.is_good(taken)
    assert taken.quiescence
    assert (taken.quiescence.is_quiesced, taken.quiescence.by_hand) == (False, "")
    assert taken.quiescence.why == "the command before ended with exit code 1"
    assert place.cluster.pods.ran == ["before", "after"]
    assert set(place.cluster.pods.held_cuts.values()) == {False}


async def test_what_is_not_cut_in_time_is_waited_for_with_nothing_held() -> None:
    place = scene()
    place.world.never_cut = {SQL_CLAIM.name}

    def let_it_cut(_observed: Observed) -> None:
        if "after" in place.cluster.pods.ran:
            place.world.never_cut = set()

    place.cluster.meanwhile = let_it_cut
    ended = await place.run(await hot(place))
    assert ended.state is State.DONE
    found = place.journal.sets["op-cutset"].quiescence
    assert found
    assert (found.is_quiesced, found.why) == (False, "not all was cut within 60 s")


async def test_where_the_command_after_does_not_succeed_the_set_counts_and_the_line_to_run_by_hand_is_told() -> None:
    place = scene()
    place.cluster.pods.failing = {"after"}
    ended = await place.run(await hot(place))
    assert ended.state is State.DONE
    found = place.journal.sets["op-cutset"].quiescence
    assert found
    assert not found.is_quiesced
    assert found.by_hand == BY_HAND
    assert outcome_of(ended).by_hand == (BY_HAND,)


async def test_a_cut_that_fails_with_the_command_after_stuck_ends_with_its_line_too() -> None:
    place = scene()
    place.world.never_cut = {SQL_CLAIM.name}
    place.cluster.pods.failing = {"after"}
    ended = await place.run(await hot(place))
    assert ended.state is State.FAILED
    assert outcome_of(ended).back_up is False
    assert outcome_of(ended).by_hand == (BY_HAND,)
    assert "the command after ended with exit code 1" in (outcome_of(ended).error or "")


async def test_whatever_disturbs_the_cut_the_command_after_comes_first() -> None:
    """A claim is exchanged while an earlier process held the pods."""
    place, left = await held()
    place.world.claims[SQL_CLAIM.name] = replace(SQL_CLAIM, uid="uid-another")
    ended = await place.run(left)
    assert ended.state is State.FAILED
    assert "was replaced by another one" in (outcome_of(ended).error or "")
    assert place.cluster.pods.ran == ["before", "after"]


async def test_where_nothing_can_be_seen_any_more_the_line_to_run_by_hand_is_told_for_the_workload() -> None:
    place, left = await held()
    place.cluster.unreadable = {look: Forbidden("no right to list pods") for look in range(1, 4000)}
    ended = await place.run(left)
    assert ended.state is State.FAILED
    assert outcome_of(ended).back_up is False
    assert outcome_of(ended).by_hand == ("kubectl exec statefulset/mysql-set-0 -- unlock 'all tables'",)


def test_the_step_counts_as_shown_only_where_the_commands_are_over() -> None:
    """What was written before the cut may be all that a picture shows right after it."""
    step = Step(Action.QUIESCE, SQL.ref, uid=SQL.uid)

    def shown(stage: Stage) -> object:
        state = replace(FOUND.observed[SQL], quiescing=Quiescing("op-1", stage))
        return seen(FOUND.observed.with_state(SQL.ref, state), step)

    assert shown(Stage.BEGUN) == seen(FOUND.observed, step)
    assert shown(Stage.QUIESCED) != seen(FOUND.observed, step)


async def test_a_step_that_kubernetes_forbids_leaves_nothing_held() -> None:
    place = scene()
    operation = await hot(place)
    ran = place.cluster.pods.do

    def forbidden(step, goal, epoch):  # type: ignore[no-untyped-def]
        for at, effect in enumerate(ran(step, goal, epoch)):
            yield effect
            if at == 1 and step.action is Action.QUIESCE:
                raise Forbidden("no right to patch statefulsets")

    place.cluster.pods.do = forbidden  # type: ignore[method-assign]
    ended = await place.run(operation)
    assert ended.state is State.FAILED
    assert outcome_of(ended).back_up is True
    assert not place.cluster.pods.holds


async def test_snapshots_without_a_word_of_how_far_the_commands_were_are_not_claimed_to_be_quiesced() -> None:
    """Somebody took the annotation away."""
    place = scene()
    operation = await hot(place)
    name = name_of("op-cutset", SQL_CLAIM.name)

    def forget(_observed: Observed) -> None:
        if place.world.snapshots.get(name):
            state = place.world.states[SQL.ref]
            place.world.states[SQL.ref] = replace(state, quiescing=None)

    place.cluster.meanwhile = forget
    ended = await place.run(operation)
    assert ended.state is State.FAILED
    assert place.cluster.pods.ran.count("before") == 1
    assert place.cluster.pods.ran[-1] == "after"


async def test_the_time_for_the_cut_has_room_for_the_commands() -> None:
    made = made_with(COMMANDS)
    cut = next(phase for phase in phases_of(made) if phase.name == "cut")
    assert cut.limit(made) > snapshot.CUTTING + COMMANDS.timeout * 2 + COMMANDS.hold


FOUND = values.discovery(workloads=PAIR)


def made_with(commands: HotCommands | None, temperature: Temperature = Temperature.HOT) -> Goal:
    made = snapshot.goal(FOUND, values.csi_inventory(FOUND), temperature, ())
    return snapshot.held_still(made, Grouping(why_not="not here"), commands)


def test_a_cluster_without_the_component_takes_no_hot_set_with_commands_for_it() -> None:
    strange = replace(COMMANDS, component=Component.REPORTING)
    with pytest.raises(Unsafe, match="`hot_commands` are to be run in reporting, and this cluster has none"):
        made_with(strange)
    assert made_with(strange, Temperature.COLD).cutting


def test_a_plan_has_one_step_for_the_commands_and_the_cut_and_depends_on_the_commands() -> None:
    plans = [plan(made_with(commands), FOUND) for commands in (None, COMMANDS, replace(COMMANDS, before=("flush",)))]
    assert [step.action for wave in plans[1].waves for step in wave] == [
        Action.CAPTURE,
        Action.QUIESCE,
        Action.RETAIN,
        Action.RETAIN,
    ]
    assert len({one.digest for one in plans}) == 3


@pytest.mark.parametrize(
    "written",
    [
        Quiescing("op-1", Stage.BEGUN, "mysql-set-0-0", "tml-sql"),
        Quiescing("op-1", Stage.STUCK, "mysql-set-0-0", "tml-sql", "it ended with exit code 1, and so on"),
        Quiescing("op-1", Stage.NOT_QUIESCED, why="no pod of sql is ready"),
    ],
)
def test_what_is_written_on_the_workload_is_read_as_it_was_meant(written: Quiescing) -> None:
    assert parsed(written.text) == written


@pytest.mark.parametrize("text", ["", "op-1", "op-1 thinking - -", "op-1 begun"])
def test_anything_else_that_is_written_there_says_nothing(text: str) -> None:
    assert parsed(text) is None


def test_what_an_earlier_operation_left_there_is_not_taken_for_ours() -> None:
    made = made_with(COMMANDS).marked("op-2")
    theirs = replace(FOUND.observed[SQL], quiescing=Quiescing("op-1", Stage.QUIESCED))
    observed = FOUND.observed.with_state(SQL.ref, theirs)
    assert not quiescing.is_over(made, observed)
    assert [step.action for step in phases_of(made)[1].decide(made, observed)] == [Action.QUIESCE]
