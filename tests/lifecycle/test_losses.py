"""What is on each volume and what is lost with it, by mode, forwarding and way back."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.decide import delete
from lifecycle.losses import (
    GENERAL,
    NOT_READ,
    Content,
    Fate,
    Holding,
    Loss,
    Mode,
    Way,
    holdings,
    losses,
    mode_of,
    ways_back,
)
from lifecycle.model import Component
from lifecycle.observed import Forwarding, Inventory, Stream
from lifecycle.operation import Goal
from lifecycle.volumes import Claim
from tests.fakes import values

TEMPLATES = {
    Component.NOSQL: "nosqlvol",
    Component.SQL: "sqlvol",
    Component.LOG: "logvol",
    Component.CACHE: "cachevol",
    Component.REPORTING: "reportingvol",
}
STREAMS = (
    Stream(GENERAL, Forwarding.NOT_FORWARDED),
    Stream("access", Forwarding.FORWARDED),
    Stream("verbose", Forwarding.UNKNOWN),
)


def goal(mode: str = "tethered", streams: tuple[Stream, ...] = STREAMS, replicas: int = 1) -> Goal:
    """Of a delete of a cluster with a volume for each component that has one."""
    workloads = tuple(values.workload(one, claims=(TEMPLATES[one],) if one in TEMPLATES else ()) for one in Component)
    claims = tuple(
        Claim(
            f"{TEMPLATES[one.component]}-{one.ref.name}-{n}",
            f"uid-{one.component}-{n}",
            "Bound",
            f"pv-{one.component}-{n}",
        )
        for one in workloads
        if one.component in TEMPLATES
        for n in range(replicas)
    )
    found = values.discovery(workloads=workloads, mode=mode)
    found = replace(found, observed=replace(found.observed, claims=claims))
    volumes = tuple(values.volume_of(claim) for claim in claims)
    made = delete.goal(found, Inventory(volumes, streams=streams), keeps_services=False)
    return replace(made, mode=mode)


def of(component: Component, found: tuple[Loss, ...]) -> Loss:
    return next(loss for loss in found if loss.component is component)


@pytest.mark.parametrize(
    ("component", "mode", "held"),
    [
        (Component.SQL, Mode.TETHERED, {Content.CONFIGURATION: Fate.SYNCHRONISES}),
        (Component.SQL, Mode.UNTETHERED, {Content.CONFIGURATION: Fate.LOST}),
        (Component.SQL, Mode.UNKNOWN, {Content.CONFIGURATION: Fate.NOT_KNOWN}),
        *(
            (
                Component.NOSQL,
                mode,
                {Content.OAUTH: Fate.LOST, Content.PORTAL: Fate.LOST, Content.REGISTRY: Fate.FORMS_AGAIN},
            )
            for mode in Mode
        ),
        *((Component.CACHE, mode, {Content.CACHE: Fate.FORMS_AGAIN}) for mode in Mode),
        *((Component.REPORTING, mode, {Content.REPORTS: Fate.LOST}) for mode in Mode),
        *((None, mode, {Content.UNKNOWN: Fate.NOT_KNOWN}) for mode in Mode),
    ],
)
def test_what_a_volume_holds_depends_on_component_and_mode(
    component: Component | None, mode: Mode, held: dict[Content, Fate]
) -> None:
    assert {one.content: one.fate for one in holdings(component, mode, ())} == held


@pytest.mark.parametrize(
    ("forwarding", "fate", "is_loss"),
    [
        (Forwarding.FORWARDED, Fate.IS_ELSEWHERE, False),
        (Forwarding.NOT_FORWARDED, Fate.LOST, True),
        (Forwarding.UNKNOWN, Fate.NOT_KNOWN, True),
    ],
)
def test_a_log_stream_is_lost_unless_it_is_known_to_be_elsewhere(
    forwarding: Forwarding, fate: Fate, is_loss: bool
) -> None:
    stream = Stream("access", forwarding)
    assert holdings(Component.LOG, Mode.TETHERED, (stream,)) == (Holding(Content.LOGS, fate, (stream,)),)
    assert fate.is_loss is is_loss


def test_logs_of_which_nothing_was_read_count_as_lost() -> None:
    (held,) = holdings(Component.LOG, Mode.TETHERED, ())
    assert (held.fate, held.streams) == (Fate.NOT_KNOWN, NOT_READ)


@pytest.mark.parametrize(
    ("written", "mode"),
    [("tethered", Mode.TETHERED), ("untethered", Mode.UNTETHERED), ("", Mode.UNKNOWN), ("Tethered?", Mode.UNKNOWN)],
)
def test_a_mode_that_is_not_known_word_for_word_is_unknown(written: str, mode: Mode) -> None:
    assert mode_of(goal(written)) is mode


def test_a_delete_that_keeps_every_volume_loses_nothing_for_good() -> None:
    made = goal()
    found = losses(made, ways_back(made))
    assert [loss.component for loss in found] == [one for one in Component if one in TEMPLATES]
    assert all(loss.way is Way.KEPT and not loss.is_for_good for loss in found)


def test_without_any_way_back_everything_that_matters_is_lost_for_good() -> None:
    found = losses(goal("untethered"), {})
    assert {loss.component for loss in found if loss.is_for_good} == {*TEMPLATES} - {Component.CACHE}
    tethered = losses(goal("tethered"), {})
    assert not of(Component.SQL, tethered).is_for_good, "it may be synchronised, and nobody says that it is"


def test_volumes_of_a_component_are_one_loss_unless_they_come_back_otherwise() -> None:
    made = goal(replicas=3)
    ways = ways_back(made) | {"sqlvol-mysql-set-0-1": Way.SNAPSHOT}
    found = [loss for loss in losses(made, ways) if loss.component is Component.SQL]
    assert {loss.way: loss.claims for loss in found} == {
        Way.KEPT: ("sqlvol-mysql-set-0-0", "sqlvol-mysql-set-0-2"),
        Way.SNAPSHOT: ("sqlvol-mysql-set-0-1",),
    }


def test_a_claim_without_a_volume_has_nothing_to_lose_and_one_of_nobody_counts_as_lost() -> None:
    made = goal()
    spare = replace(made, claims=(Claim("spare", "uid-1", "Pending"), Claim("sqlvol-else", "uid-2", "Bound", "pv-9")))
    (loss,) = losses(spare, {})
    assert (loss.component, loss.claims, loss.is_for_good) == (None, ("sqlvol-else",), True)


@given(
    mode=st.sampled_from(["tethered", "untethered", "", "else"]),
    streams=st.lists(st.builds(Stream, st.text(max_size=5), st.sampled_from(Forwarding)), max_size=4).map(tuple),
    ways=st.lists(st.sampled_from([*Way, None]), min_size=10, max_size=10),
)
def test_every_volume_is_named_once_with_the_way_it_has_and_no_stream_is_left_out(
    mode: str, streams: tuple[Stream, ...], ways: list[Way | None]
) -> None:
    made = goal(mode, streams, replicas=2)
    given_ways = {claim.name: way for claim, way in zip(made.claims, ways, strict=True) if way}
    found = losses(made, given_ways)
    assert sorted(name for loss in found for name in loss.claims) == sorted(claim.name for claim in made.claims)
    assert all(given_ways.get(name, Way.NONE) is loss.way for loss in found for name in loss.claims)
    for loss in found:
        assert loss.holdings
        if loss.component is Component.LOG:
            assert sorted(s.name for one in loss.holdings for s in one.streams) == sorted(
                stream.name for stream in streams or NOT_READ
            )
        if loss.component is Component.SQL and mode != "tethered":
            assert all(one.fate.is_loss for one in loss.holdings), "only a tethered cluster has another source"
