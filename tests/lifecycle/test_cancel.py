"""Cancel, anywhere: no new step, a true account, and from there on or back."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from lifecycle.decide import phases_of
from lifecycle.decide.cancel import reason_against, refuse
from lifecycle.errors import ClusterError, Forbidden, NotCancellable, Retryable
from lifecycle.model import BOT, Action, Component, Person
from lifecycle.observed import Observed
from lifecycle.operation import Cancellation, Goal, Operation, Outcome, State
from lifecycle.quiescing import HotCommands
from lifecycle.snapshots import Temperature
from tests.fakes import values
from tests.fakes.cluster import FakeCluster
from tests.lifecycle.returning import FULL, Cut, Scene, cut_anywhere, outcome_of

BOB = Person("T0TML", "U0BOB")
COMMANDS = HotCommands(Component.SQL, ("lock",), ("unlock",))
Begin = Callable[[Scene], Awaitable[Operation]]


async def stop(place: Scene) -> Operation:
    return await place.stop()


async def start(place: Scene) -> Operation:
    return await place.start()


async def cold(place: Scene) -> Operation:
    return await place.snapshot(Temperature.COLD)


async def hot(place: Scene) -> Operation:
    return await place.snapshot(Temperature.HOT)


async def held(place: Scene) -> Operation:
    return await place.snapshot(Temperature.HOT, commands=COMMANDS)


async def delete(place: Scene) -> Operation:
    return await place.delete()


async def restore(place: Scene) -> Operation:
    return await place.restore(await place.run(await place.delete()))


async def exchange(place: Scene) -> Operation:
    await place.run(await hot(place))
    return await place.exchange("op-cutset")


async def verify(place: Scene) -> Operation:
    await place.run(await hot(place))
    return await place.verify()


VERBS: dict[str, Begin] = {
    one.__name__: one for one in (stop, start, cold, hot, held, delete, restore, exchange, verify)
}


def scene(verb: str) -> Scene:
    return Scene(running=verb != "start", cuts=True)


async def cancelled_after(verb: str, cut: Cut, count: int) -> tuple[Scene, Operation | None, int]:
    """Where the process died, what was cancelled there, if that was possible; and how many steps were recorded."""
    place = scene(verb)
    operation = await VERBS[verb](place)
    cut(place, count)
    left = await place.cut_off(operation)
    if left is None:
        return place, None, -1
    if reason_against(left):
        return place, None, len(place.journal.steps)
    place.journal.cancel(left.id, BOB, "it was the wrong cluster")
    return place, place.journal.rows[left.id], len(place.journal.steps)


@pytest.mark.parametrize("verb", VERBS)
@cut_anywhere
async def test_wherever_it_is_cancelled_it_takes_no_new_step_and_from_there_it_goes_on_or_back(
    cut: Cut, verb: str
) -> None:
    tried = 0
    for count in range(200):
        place, cancelled, recorded = await cancelled_after(verb, cut, count)
        if recorded < 0:
            assert tried > 3
            return
        if cancelled is None:
            continue
        tried += 1
        ended = await place.run(cancelled)
        assert_accounted(place, ended, recorded)
        await assert_on_or_back(place, verb, ended)
    pytest.fail("there is more to it than expected")


def assert_accounted(place: Scene, ended: Operation, recorded: int) -> None:
    """Nothing but the way back was done, and every object is named."""
    later = place.journal.steps[recorded:]
    if ended.state is State.DONE:
        assert not later
        return
    outcome = outcome_of(ended)
    assert outcome.cancelled
    assert outcome.by_hand == ()
    phase = next((one for one in phases_of(ended.goal) if one.name == ended.phase), None)
    if ended.failure is None and phase:
        assert not later
        assert {*outcome.done, *outcome.missing} == {str(ref) for ref in phase.objects(ended.goal)}
    else:
        assert outcome.back_up is True
        assert {step.action for step in later} <= {Action.SCALE_UP, Action.CLEAN, Action.LET_GO, Action.RESUME}


async def assert_on_or_back(place: Scene, verb: str, ended: Operation) -> None:
    match verb:
        case "verify":
            assert place.world.scratch.leftovers == ()
            assert place.is_whole
        case "held":
            assert not place.cluster.pods.holds
            assert place.cluster.pods.ran[-1:] in ([], ["after"])
            assert place.is_whole
        case "cold" | "hot":
            if outcome_of(ended).back_up is not True and not place.runs:
                await goes_well(place, await place.start("op-start1"))
            assert place.is_whole
        case "stop" | "start":
            if not place.runs:
                await goes_well(place, await place.start("op-start1"))
            assert place.runs
            assert place.world.contents().items() >= FULL.items()
        case "delete":
            if ended.state is State.DONE or ended.phase in ("remove", "remove-claims"):
                await place.bring_back(ended)
            assert place.is_whole or (place.runs and place.world.contents() == FULL)
        case "restore":
            if ended.state is not State.DONE:
                await goes_well(place, await place.restore(place.journal.rows["op-delete"], "op-again0"))
            assert place.is_whole
        case _:
            if ended.state is not State.DONE and outcome_of(ended).back_up is not True:
                again = place.start("op-again0") if ended.phase == "up" else place.exchange("op-cutset", "op-again0")
                await goes_well(place, await again)
            assert place.runs
            assert place.world.contents() == FULL


async def goes_well(place: Scene, operation: Operation) -> None:
    assert (await place.run(operation)).state is State.DONE


async def held_and_cancelled(failing: set[str]) -> tuple[Scene, Operation]:
    """By a process that died with the pods held; ``failing`` are the commands that do not succeed from there on."""
    for count in range(100):
        place = scene("held")
        place.cluster.crash_after = count
        left = await place.cut_off(await held(place))
        if left and place.cluster.pods.holds:
            place.cluster.pods.failing = failing
            place.journal.cancel(left.id, BOB)
            return place, await place.run(place.journal.rows[left.id])
    pytest.fail("nothing was ever held")


async def test_what_is_cancelled_with_the_pods_held_runs_the_command_after_and_cuts_nothing_more() -> None:
    place, ended = await held_and_cancelled(set())
    assert (ended.state, outcome_of(ended).cancelled, outcome_of(ended).back_up) == (State.FAILED, True, True)
    assert place.cluster.pods.ran == ["before", "after"]
    assert place.journal.steps[-1].action is Action.RESUME
    assert place.journal.sets == {}


async def test_a_cancel_whose_command_after_does_not_succeed_tells_the_line_to_run_by_hand() -> None:
    _, ended = await held_and_cancelled({"after"})
    assert (outcome_of(ended).cancelled, outcome_of(ended).back_up) == (True, False)
    assert outcome_of(ended).by_hand == ("kubectl exec mysql-set-0-0 -c tml-sql -- unlock",)


async def test_a_step_that_was_decided_on_before_the_cancel_is_not_recorded_after_it() -> None:
    place = Scene(cuts=True)
    operation = await stop(place)

    def cancel_after_the_first_step(_observed: Observed) -> None:
        if place.journal.steps and place.journal.rows[operation.id].cancellation is None:
            place.journal.cancel(operation.id, BOB)

    place.cluster.meanwhile = cancel_after_the_first_step
    ended = await place.run(operation)
    assert (ended.state, outcome_of(ended).cancelled) == (State.FAILED, True)
    assert len(place.journal.steps) == 1
    assert outcome_of(ended).missing


async def test_what_has_reached_its_goal_is_done_though_it_was_cancelled() -> None:
    place = Scene(running=False)
    operation = await start(place)

    def cancel_when_all_is_up(_observed: Observed) -> None:
        if place.runs and place.journal.rows[operation.id].cancellation is None:
            place.journal.cancel(operation.id, BOB)

    place.cluster.meanwhile = cancel_when_all_is_up
    ended = await place.run(operation)
    assert ended.state is State.DONE
    assert not outcome_of(ended).cancelled


async def test_what_was_cancelled_before_the_claims_go_does_not_come_to_that_point() -> None:
    place = Scene(cuts=True)
    operation = await delete(place)

    def cancel_when_the_objects_are_gone(_observed: Observed) -> None:
        row = place.journal.rows[operation.id]
        if row.phase == "remove" and not place.world.states and row.cancellation is None:
            place.journal.cancel(operation.id, BOB)

    place.cluster.meanwhile = cancel_when_the_objects_are_gone
    ended = await place.run(operation)
    assert (ended.state, ended.phase, outcome_of(ended).cancelled) == (State.FAILED, "remove", True)
    assert place.world.contents() == FULL
    await place.bring_back(ended)
    assert place.is_whole


@dataclass
class Away(FakeCluster):
    """Says the same to every question, after ten seconds."""

    answer: ClusterError = field(default_factory=lambda: Retryable("connection refused"))

    async def highest_epoch(self, goal: Goal) -> int:
        self.clock.advance(10)
        raise self.answer


@pytest.mark.parametrize("answer", [Retryable("connection refused"), Forbidden("may not list pods")])
async def test_a_cluster_that_cannot_be_read_keeps_nobody_from_cancelling(answer: ClusterError) -> None:
    place = Scene(cuts=True)
    operation = await stop(place)
    place.journal.cancel(operation.id, BOB)
    place.cluster = Away(place.cluster.found, place.clock, world=place.world, answer=answer)
    ended = await place.run(place.journal.rows[operation.id])
    outcome = outcome_of(ended)
    assert (ended.state, outcome.cancelled, outcome.diagnosis) == (State.FAILED, True, None)
    assert str(answer) in (outcome.error or "")
    assert place.clock.monotonic() <= 30
    assert place.journal.steps == []


REFUSED = [
    ("delete", {"phase": "remove-claims"}, "taking the claims away"),
    ("exchange", {"phase": "remove-claims"}, "exchanging the claims"),
    ("exchange", {"phase": "clone"}, "exchanging the claims"),
    ("verify", {"phase": "clean"}, "through with its checks"),
    ("cold", {"phase": "up"}, "has cut everything"),
    ("stop", {"state": State.DONE}, "has ended already"),
    ("stop", {"cancellation": Cancellation(BOB, values.NOW)}, "cancelled already"),
    ("cold", {"failure": Outcome(State.FAILED)}, "is starting prod again"),
    ("verify", {"failure": Outcome(State.FAILED)}, "takes away what it made"),
    ("held", {"failure": Outcome(State.FAILED)}, "runs the command after its cut"),
]


@pytest.mark.parametrize(("verb", "how", "words"), REFUSED)
async def test_where_it_has_to_come_to_its_end_a_cancel_is_refused_with_the_reason(
    verb: str, how: dict[str, object], words: str
) -> None:
    operation = await VERBS[verb](scene(verb))
    with pytest.raises(NotCancellable, match=words):
        refuse(replace(operation, **how))  # type: ignore[arg-type]


@pytest.mark.parametrize("verb", VERBS)
async def test_before_its_first_step_everything_can_be_cancelled(verb: str) -> None:
    refuse(await VERBS[verb](scene(verb)))


async def test_only_a_restore_test_that_nobody_typed_gives_way() -> None:
    typed = await verify(Scene(cuts=True))
    assert not typed.gives_way
    assert replace(typed, requester=BOT).gives_way
    assert not replace(await hot(Scene(cuts=True)), requester=BOT).gives_way
