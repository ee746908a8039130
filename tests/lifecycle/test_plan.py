"""What a plan says of itself: its steps, and what they mean for the API traffic."""

import pytest

from bot.views.plan import TRAFFIC, effect
from lifecycle.decide import restart, start, stop
from lifecycle.model import Component, Discovery, Verb
from lifecycle.plan import OnTraffic, Plan, plan
from tests.fakes import values

ALL = frozenset(Component)


def seen(down: frozenset[Component]) -> Discovery:
    return values.discovery({component: values.down(values.workload(component)) for component in down})


def planned(verb: Verb, down: frozenset[Component], only: Component | None = None) -> Plan:
    """The plan for the reference cluster with these components at zero."""
    found = seen(down)
    match verb:
        case Verb.STOP:
            return plan(stop.goal(found), found)
        case Verb.START:
            return plan(start.goal(found, {}, {}), found)
        case Verb.RESTART:
            return plan(restart.goal(found, only, downtime=True), found)


@pytest.mark.parametrize(
    ("verb", "down", "only", "expected"),
    [
        (Verb.STOP, frozenset(), None, OnTraffic.STOPS),
        (Verb.STOP, ALL - {Component.TM}, None, OnTraffic.STOPS),
        (Verb.STOP, frozenset({Component.TM}), None, OnTraffic.UNTOUCHED),
        (Verb.START, ALL, None, OnTraffic.COMES_BACK),
        (Verb.START, frozenset({Component.TM}), None, OnTraffic.COMES_BACK),
        (Verb.START, frozenset({Component.SQL}), None, OnTraffic.COMES_BACK),
        (Verb.START, frozenset({Component.REPORTING}), None, OnTraffic.UNTOUCHED),
        (Verb.START, frozenset({Component.CM, Component.REPORTING}), None, OnTraffic.UNTOUCHED),
        (Verb.RESTART, frozenset(), None, OnTraffic.INTERRUPTED),
        (Verb.RESTART, frozenset(), Component.CACHE, OnTraffic.INTERRUPTED),
        (Verb.RESTART, frozenset(), Component.CM, OnTraffic.UNTOUCHED),
        (Verb.RESTART, frozenset(), Component.REPORTING, OnTraffic.UNTOUCHED),
    ],
)
def test_what_a_plan_means_for_the_traffic_follows_from_its_waves(
    verb: Verb, down: frozenset[Component], only: Component | None, expected: OnTraffic
) -> None:
    made = planned(verb, down, only)
    assert made.on_traffic is expected
    assert effect(made) == TRAFFIC[expected]


def test_a_plan_has_the_key_of_each_step_that_is_left_and_of_no_other() -> None:
    assert planned(Verb.START, frozenset({Component.TM, Component.CM})).step_keys == {
        "scale-up deployment/tm-deploy-0",
        "scale-up deployment/cm-deploy-0",
    }
    assert len(planned(Verb.STOP, frozenset()).step_keys) == len(ALL)
