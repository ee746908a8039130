"""A wall clock that jumps ends nothing early, and keeps nothing waiting."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from lifecycle.errors import Retryable
from lifecycle.execution import Deadlines
from lifecycle.observed import Observed
from lifecycle.operation import State
from tests.fakes import values
from tests.fakes.cluster import FakeClock
from tests.lifecycle.returning import SQL_CLAIM, Scene, outcome_of
from tests.storage.conftest import a_stop

HOUR = timedelta(hours=1)
JUMPS = [pytest.param(HOUR, id="forward"), pytest.param(-HOUR, id="back")]


@dataclass
class JumpingClock(FakeClock):
    """Both clocks run; somebody sets the one on the wall."""

    off: timedelta = timedelta(0)

    def now(self) -> datetime:
        return self.at + self.off


@pytest.mark.parametrize("jump", JUMPS)
async def test_a_jump_in_the_middle_of_a_phase_ends_no_operation_that_has_trouble(jump: timedelta) -> None:
    clock = JumpingClock()
    place = Scene(cuts=True, clock=clock)

    def jump_with_trouble(_observed: Observed) -> None:
        if place.journal.steps and not clock.off:
            clock.off = jump
            place.cluster.unreadable[place.cluster.looks + 1] = Retryable("connection refused")

    place.cluster.meanwhile = jump_with_trouble
    ended = await place.run(await place.stop())
    assert clock.off == jump
    assert ended.state is State.DONE


@pytest.mark.parametrize("jump", JUMPS)
async def test_a_phase_has_the_time_it_has_whatever_the_clock_on_the_wall_says(jump: timedelta) -> None:
    clock = JumpingClock()
    place = Scene(cuts=True, clock=clock)
    place.world.never_cut = {SQL_CLAIM.name}

    def jump_while_it_cuts(_observed: Observed) -> None:
        if place.world.snapshots:
            clock.off = jump

    place.cluster.meanwhile = jump_while_it_cuts
    ended = await place.run(await place.stop())
    assert (ended.state, ended.phase) == (State.FAILED, "cut")
    assert timedelta(minutes=2) <= timedelta(seconds=clock.monotonic()) < timedelta(minutes=5)
    assert outcome_of(ended).missing


def test_what_nobody_worked_on_has_used_its_time_up_and_no_clock_gives_it_more_than_the_whole() -> None:
    clock = JumpingClock(values.NOW)
    operation = a_stop()
    whole = Deadlines(clock).of(operation) - clock.monotonic()
    assert whole > 0

    def left_after(since: timedelta) -> float:
        entered = replace(operation, phase_begun_at=clock.now() - since)
        return Deadlines(clock).of(entered) - clock.monotonic()

    assert left_after(timedelta(seconds=10)) == whole - 10
    assert left_after(HOUR) < 0
    assert left_after(-HOUR) == whole
