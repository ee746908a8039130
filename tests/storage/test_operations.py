"""One operation at a time, and what earlier ones tell."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, timedelta
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.checks import Checked
from lifecycle.decide import stop
from lifecycle.diagnosis import Diagnosis, Finding, Traffic
from lifecycle.errors import ClusterBusy, Fenced
from lifecycle.model import Action, Component, Kind, Ref, Step, Target, Verb
from lifecycle.observed import Address, Forwarding, Part, Stream
from lifecycle.operation import Goal, Operation, Outcome, Source, State
from lifecycle.plain import MAX_SAFE_INTEGER, canonical, from_plain, to_plain
from lifecycle.plan import Plan, plan
from lifecycle.topology import Topology
from lifecycle.volumes import Claim, Volume
from lifecycle.workloads import Container, Exit, Owner, OwnerKind, Pod, Probe, Workload
from storage.ids import IdTaken
from tests.fakes import values
from tests.fakes.values import planned
from tests.storage.conftest import Store, a_start, a_stop

T = TypeVar("T")


async def test_of_two_begins_at_the_same_moment_in_two_processes_one_wins(store: Store, other: Store) -> None:
    outcomes = await asyncio.gather(
        store.operations.begin(*planned(a_stop("op-000001"))),
        other.operations.begin(*planned(a_stop("op-000002"))),
        return_exceptions=True,
    )
    (won,) = [outcome for outcome in outcomes if isinstance(outcome, Operation)]
    (lost,) = [outcome for outcome in outcomes if isinstance(outcome, ClusterBusy)]
    assert lost.operation == won.id
    assert await store.operations.unfinished() == (won,)
    assert len(await store.audit.entries(kinds=["begun"])) == 1
    assert len(await store.messages.due()) == 1


async def test_fifty_people_who_type_stop_begin_one_operation(store: Store) -> None:
    begins = (store.operations.begin(*planned(a_stop(f"op-{number:06}"))) for number in range(50))
    outcomes = await asyncio.gather(*begins, return_exceptions=True)
    assert sum(isinstance(outcome, Operation) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, ClusterBusy) for outcome in outcomes) == 49


async def test_two_names_for_one_namespace_share_the_slot(store: Store) -> None:
    incluster = Target(None, "ml550")
    await store.operations.begin(*planned(replace(a_stop(), target=incluster)))
    with pytest.raises(ClusterBusy) as refused:
        await store.operations.begin(*planned(replace(a_stop("op-000002"), cluster="live", target=incluster)))
    assert refused.value.operation == "op-000001"
    await store.operations.begin(*planned(replace(a_stop("op-000002"), cluster="live", target=Target("eks", "ml550"))))


async def test_an_id_that_is_taken_can_be_tried_again_with_another(store: Store) -> None:
    await store.run(a_stop(), State.DONE, 60)
    with pytest.raises(IdTaken):
        await store.operations.begin(*planned(a_stop()))
    await store.operations.begin(*planned(a_stop("op-000002")))


async def test_an_operation_comes_back_as_it_was_given(store: Store) -> None:
    operation = replace(
        a_stop(), expected=94, limits={"down": 600, "up": 900}, reason="patching ☕", command="stop prod", epoch=3
    )
    assert await store.operations.begin(*planned(operation)) == operation
    assert await store.operations.get(operation.id) == operation
    assert await store.operations.get("op-zzzzzz") is None


async def test_the_beginning_is_audited_with_the_plan_and_told(store: Store) -> None:
    found = values.discovery()
    made = plan(stop.goal(found), found)
    operation = await store.operations.begin(a_stop(), made)
    (entry,) = await store.audit.entries(kinds=["begun"])
    assert (entry.actor, entry.cluster, entry.subject, entry.place) == (values.ALICE, "prod", "op-000001", values.OPS)
    assert (entry.data["reason"], entry.data["digest"]) == ("patching", made.digest)
    assert entry.data["counts"]["statefulset/cass-set-0"] == 1
    assert entry.data["claims"] == to_plain(values.CLAIMS)
    assert from_plain(Plan, entry.data["plan"]) == made
    (due,) = await store.messages.due()
    assert [message.entry for message in due.messages] == ["live", str(entry.seq)]
    assert due.subject == operation.id


async def test_it_begins_at_the_databases_time_whatever_the_clock_of_who_asked_said(store: Store) -> None:
    first = await store.operations.begin(*planned(replace(a_stop(), begun_at=values.NOW + timedelta(hours=1))))
    assert first.begun_at == values.NOW
    await store.journal.finished(await store.journal.take(first, "bot-1", 1), Outcome(State.DONE))
    store.clock.advance(-3600)
    second = await store.operations.begin(*planned(a_stop("op-000002")))
    assert second.begun_at >= first.begun_at, "nor does it go back"


async def test_the_first_epoch_is_the_highest_of_earlier_operations(store: Store) -> None:
    first = await store.operations.begin(*planned(a_stop()))
    first = await store.journal.take(first, "bot-1", 7)
    await store.journal.finished(first, Outcome(State.DONE))
    assert (await store.operations.begin(*planned(a_stop("op-000002")))).epoch == 7
    elsewhere = replace(a_stop("op-000003"), cluster="staging", target=Target("eks-prod", "ml-staging"))
    assert (await store.operations.begin(*planned(elsewhere))).epoch == 0


async def test_operations_are_found_newest_first(store: Store) -> None:
    for number in range(4):
        operation = a_stop if number % 2 else a_start
        await store.run(operation(f"op-{number:06}"), State.FAILED if number == 3 else State.DONE, 60)
    running = await store.operations.begin(*planned(a_start("op-000004")))
    operations = store.operations
    assert [one.id for one in await operations.history(["prod"], limit=2)] == ["op-000004", "op-000003"]
    assert len(await operations.history(["staging", "prod"])) == len(await operations.history()) == 5
    assert await operations.history(["staging"]) == await operations.history([]) == ()
    assert await operations.running_on("prod") == running
    assert await operations.running_on("staging") is None
    latest = await operations.latest("prod", Verb.STOP, State.DONE)
    assert latest is not None
    assert latest.id == "op-000001"
    assert await operations.latest("staging") is None


async def test_counts_are_remembered_only_of_what_a_stop_really_took_down(store: Store) -> None:
    nosql, cache = values.workload(Component.NOSQL, replicas=3), values.workload(Component.CACHE, replicas=2)
    found = values.discovery(
        {Component.NOSQL: values.ready(nosql, 3), Component.CACHE: values.ready(cache, 2)}, workloads=(nosql, cache)
    )
    goal = stop.goal(found)
    taken = await store.taken(values.operation(goal, "op-000001"))
    await store.journal.record(taken, stop.steps(goal, found.observed))
    await store.journal.finished(taken, Outcome(State.FAILED))
    assert await store.operations.remembered_counts("prod") == {cache.ref: 2}, "nosql waited, and was never stepped on"

    again = await store.taken(values.operation(replace(goal, counts={nosql.ref: 5, cache.ref: 0}), "op-000002"))
    steps = stop.steps(again.goal, found.observed.with_state(cache.ref, values.down(cache)))
    await store.journal.record(again, steps)
    assert await store.operations.remembered_counts("prod") == {cache.ref: 2, nosql.ref: 5}
    assert await store.operations.remembered_counts("staging") == {}


WHOLE = tuple(Step(Action.SCALE_TO_ZERO, values.workload(component).ref, 1) for component in Component)


def keys(steps: Sequence[Step]) -> frozenset[str]:
    return frozenset(step.key for step in steps)


async def stopped(store: Store, number: int, steps: Sequence[Step], seconds: float, state: State = State.DONE) -> None:
    """A stop that took these steps, the first of them twice, in so many seconds."""
    taken = await store.taken(replace(a_stop(f"op-{number:06}"), begun_at=store.clock.now()))
    for sent in (steps, steps[:1]):
        await store.journal.record(taken, sent)
    store.clock.advance(seconds)
    await store.journal.finished(taken, Outcome(state))


async def test_the_usual_time_is_the_median_of_the_last_five_that_went_well(store: Store) -> None:
    usual = store.operations.usual_seconds
    assert await usual("prod", Verb.STOP, keys(WHOLE)) is None
    for number, seconds in enumerate((9000, 100, 130, 90, 110, 120)):
        await stopped(store, number, WHOLE, seconds)
    await stopped(store, 9, WHOLE, 5, State.FAILED)
    assert await usual("prod", Verb.STOP, keys(WHOLE)) == 110
    assert await usual("prod", Verb.START, keys(WHOLE)) is None
    assert await usual("staging", Verb.STOP, keys(WHOLE)) is None


async def test_the_usual_time_of_a_part_says_nothing_of_the_whole_nor_of_another_part(store: Store) -> None:
    usual = store.operations.usual_seconds
    for number, (steps, seconds) in enumerate([(WHOLE, 300), (WHOLE[:2], 20), (WHOLE[1:3], 40), ((), 3)]):
        await stopped(store, number, steps, seconds)
    assert await usual("prod", Verb.STOP, keys(WHOLE)) == 300
    assert await usual("prod", Verb.STOP, keys(WHOLE[:2])) == 20
    assert await usual("prod", Verb.STOP, keys(WHOLE[1:3])) == 40
    assert await usual("prod", Verb.STOP, keys(WHOLE[:3])) is None
    assert await usual("prod", Verb.STOP, frozenset()) == 3, "what had only to be seen ready"


async def test_a_failed_start_is_followed_until_it_is_old_late_or_not_the_newest(store: Store) -> None:
    async def followed() -> list[str]:
        found = await store.operations.followed(store.clock.now(), timedelta(minutes=30))
        return [operation.id for operation in found]

    failed = await store.run(a_start(), State.FAILED, 60)
    assert await followed() == [failed.id]
    store.clock.advance(1799)
    assert await followed() == [failed.id]
    store.clock.advance(1)
    assert await followed() == []
    store.clock.advance(-60)
    await store.journal.late(failed)
    assert await followed() == []
    second = await store.run(a_start("op-000002"), State.FAILED, 60)
    assert await followed() == [second.id]
    await store.operations.begin(*planned(a_stop("op-000003")))
    assert await followed() == []


async def test_a_failed_stop_is_not_followed(store: Store) -> None:
    await store.run(a_stop(), State.FAILED, 60)
    assert await store.operations.followed(store.clock.now(), timedelta(minutes=30)) == ()


MISSED = Checked(Checked.NO_CHECK)


async def test_a_configuration_that_was_not_seen_is_sought_until_it_is_seen_old_or_not_the_newest(store: Store) -> None:
    async def sought() -> list[str]:
        found = await store.operations.sought(store.clock.now(), timedelta(hours=2))
        return [operation.id for operation in found]

    plain = await store.run(a_start(), State.DONE, 60)
    assert await sought() == [], "nothing was in question"
    await store.journal.found(plain, MISSED)
    missed = await store.operations.get(plain.id)
    assert missed is not None
    assert missed.outcome is not None
    assert missed.outcome.checked == MISSED
    assert await sought() == [plain.id]
    store.clock.advance(7200)
    assert await sought() == []
    store.clock.advance(-60)
    with pytest.raises(Fenced):
        await store.journal.found(plain, Checked(Checked.SEEN))
    await store.journal.found(missed, Checked(Checked.SEEN))
    assert await sought() == []
    with pytest.raises(Fenced):
        await store.journal.found(missed, Checked(Checked.SEEN))
    (first, second) = [one for one in await store.audit.entries(newest_first=False) if one.kind == "seen"]
    assert (first.data["checked"]["verdict"], second.data["checked"]["verdict"]) == (MISSED.verdict, Checked.SEEN)


words = st.text(st.characters(codec="utf-8"), max_size=8)
numbers = st.integers(0, MAX_SAFE_INTEGER)
moments = st.datetimes(timezones=st.just(UTC))
flags = st.booleans()


def several(one: st.SearchStrategy[T]) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(one, max_size=2).map(tuple)


refs = st.builds(Ref, st.sampled_from(Kind), words)
claims = st.builds(Claim, words, words, words, words, words, several(words), words, st.none() | moments, words)
containers = st.builds(Container, words, flags, numbers, st.none() | words, st.none() | numbers)
pods = st.builds(Pod, words, words, words, flags, flags, several(containers))
workloads = st.builds(
    Workload,
    ref=refs,
    component=st.sampled_from(Component),
    zone=numbers,
    uid=words,
    selector=st.dictionaries(words, words, max_size=2),
    replicas=numbers,
    probe=st.none() | st.builds(Probe, numbers, numbers, numbers),
    ordered=flags,
    claims=several(words),
    owners=several(st.builds(Owner, st.sampled_from(OwnerKind), words)),
)
parts = st.builds(Part, refs, words, words, several(words))
volumes = st.builds(Volume, words, words, words, words, words, words, words, words, words, words, words, words)
goals = st.builds(
    Goal,
    verb=st.sampled_from(Verb),
    topology=several(workloads).map(Topology),
    counts=st.dictionaries(refs, numbers, max_size=3),
    sources=st.dictionaries(refs, st.sampled_from(Source), max_size=3),
    databases=several(pods),
    claims=several(claims),
    left=several(refs),
    unverified=flags,
    mark=words,
    parts=several(parts),
    volumes=several(volumes),
    staying=several(parts),
    source=words,
    captured=words,
    mode=words,
    streams=several(st.builds(Stream, words, st.sampled_from(Forwarding))),
    doubted=several(words),
    ran=flags,
)
findings = st.builds(Finding, words, words, words, several(words))
outcomes = st.builds(
    Outcome,
    state=st.sampled_from([State.DONE, State.FAILED]),
    done=several(words),
    missing=several(words),
    claims=several(claims),
    exits=several(st.builds(Exit, words, words, words, numbers)),
    unseen=several(words),
    traffic=st.none() | st.builds(Traffic, words, words, words),
    diagnosis=st.none() | st.builds(Diagnosis, several(findings)),
    checked=st.none() | st.builds(Checked, words, words),
    addresses=several(st.builds(Address, words, several(words), several(words))),
    by_hand=several(words),
    error=st.none() | words,
    back_up=st.none() | flags,
)


@given(outcomes)
def test_an_outcome_survives_its_json(outcome: Outcome) -> None:
    assert from_plain(Outcome, json.loads(canonical(to_plain(outcome)))) == outcome


@given(goals)
def test_a_goal_survives_its_json(goal: Goal) -> None:
    assert from_plain(Goal, json.loads(canonical(to_plain(goal)))) == goal
