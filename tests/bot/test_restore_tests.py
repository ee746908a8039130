"""When a restore test begins that nobody types."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.restore_tests import is_due
from lifecycle.model import Verb
from lifecycle.operation import Operation, Outcome, State
from tests.fakes import values
from tests.storage.conftest import a_stop

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BEGUN = replace(a_stop(), verb=Verb.VERIFY, begun_at=values.NOW)
PASSED = replace(BEGUN, state=State.DONE, ended_at=values.NOW + HOUR, outcome=Outcome(State.DONE))
FAILED = replace(PASSED, state=State.FAILED, outcome=Outcome(State.FAILED))
GAVE_WAY = replace(FAILED, outcome=Outcome(State.FAILED, cancelled=True))

TABLE = [
    (None, timedelta(0), True),
    (PASSED, 7 * DAY - HOUR, False),
    (PASSED, 7 * DAY, True),
    (FAILED, 7 * DAY - HOUR, False),
    (FAILED, 7 * DAY, True),
    (GAVE_WAY, HOUR, False),
    (GAVE_WAY, 2 * HOUR, True),
]


@pytest.mark.parametrize(("last", "since", "due"), TABLE)
def test_it_is_due_when_the_last_one_is_long_ago_or_gave_way_an_hour_ago(
    last: Operation | None, since: timedelta, due: bool
) -> None:
    assert is_due(last, 7 * DAY, values.NOW + since) is due


def test_one_that_gave_way_waits_no_longer_than_the_time_between_two() -> None:
    assert is_due(GAVE_WAY, timedelta(minutes=10), values.NOW + HOUR + timedelta(minutes=10))
