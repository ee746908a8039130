"""Cancel, from what is typed and pressed: by whom, of what, and what is done in its place."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot import cancelling
from lifecycle.decide import start
from lifecycle.model import BOT, Verb
from lifecycle.operation import Operation, Outcome, State
from lifecycle.topology import Topology
from lifecycle.verification import Verifying
from tests.bot.office import PATIENCE, Office, an_office
from tests.e2e.town import words_of
from tests.fakes import values
from tests.storage.conftest import a_start, a_stop


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with an_office(tmp_path) as made:
        yield made


async def running(office: Office, operation: Operation, cluster: str = "staging") -> Operation:
    target = office.doors[cluster].target
    return await office.store.taken(replace(operation, cluster=cluster, target=target))


def is_down(office: Office) -> None:
    world = office.doors["staging"].world
    world.states = {ref: values.down(world.workloads[ref]) for ref in world.states}


def ends_at_once(office: Office) -> None:
    async def end(operation: Operation) -> None:
        current = await office.store.operations.get(operation.id)
        assert current
        if current.state is State.RUNNING:
            await office.store.journal.finished(current, Outcome(State.FAILED, cancelled=True))

    office.starter.ends = end


@pytest.mark.parametrize(
    "words", ["cancel op-000001 because it is the wrong one", "cancel staging it is the wrong one"]
)
async def test_an_operator_cancels_by_id_or_by_cluster(office: Office, words: str) -> None:
    operation = await running(office, a_stop())
    answer = words_of(await office.types("carol", words))
    assert "Cancelled op-000001: no new step is taken" in answer
    cancelled = await office.store.operations.get(operation.id)
    assert cancelled
    assert cancelled.cancellation
    assert cancelled.cancellation.person.user == "U0CAROL"
    assert cancelled.cancellation.reason.endswith("is the wrong one")
    assert office.starter.interrupted == ["op-000001"]


REFUSED = [
    ("dave", "cancel op-000001", "This is for operators of staging"),
    ("dave", "cancel staging", "This is for operators of staging"),
    ("alice", "cancel op-zzzzzz", "There is no operation op-zzzzzz here"),
    ("alice", "cancel prod", "Nothing is running on prod"),
    ("alice", "cancel", "Cancel what?"),
    ("alice", "cancel nowhere", "There is no cluster 'nowhere'"),
    ("alice", "cancel stagin", "Did you mean: /tml cancel staging"),
    ("alice", "cancle staging", "Did you mean: /tml cancel staging"),
]


@pytest.mark.parametrize(("person", "words", "why"), REFUSED)
async def test_who_may_not_or_names_nothing_that_runs_is_refused_with_the_reason(
    office: Office, person: str, words: str, why: str
) -> None:
    operation = await running(office, a_stop())
    assert why in words_of(await office.types(person, words))
    assert len(await office.refusals()) == 1
    assert office.starter.interrupted == []
    assert (await office.store.operations.get(operation.id)) == operation


async def test_what_has_to_come_to_its_end_is_not_cancelled_and_the_answer_says_why(office: Office) -> None:
    await running(office, replace(a_stop(), failure=Outcome(State.FAILED)))
    operation = (await office.store.operations.unfinished())[0]
    await office.store.journal.turned_back(operation, Outcome(State.FAILED), "up-again")
    assert "let it come to its end" in words_of(await office.types("alice", "cancel staging"))


async def test_who_wants_to_start_what_is_being_stopped_may_have_it_cancelled_for_that(office: Office) -> None:
    ends_at_once(office)
    is_down(office)
    operation = await running(office, a_stop())
    answer = await office.types("carol", "start staging because of customers")
    assert f"staging is busy: {operation.id} is stopping it" in words_of(answer)
    assert office.starter.begun == []
    done = await office.presses("carol", "instead", answer)
    (begun,) = office.starter.begun
    assert (begun.verb, begun.reason) == (Verb.START, "of customers")
    assert begun.id in words_of(done)
    cancelled = await office.store.operations.get(operation.id)
    assert cancelled
    assert cancelled.cancellation
    assert cancelled.cancellation.reason == "to start it instead"


async def test_and_in_production_the_plan_is_shown_before_the_other_thing_begins(office: Office) -> None:
    ends_at_once(office)
    await running(office, a_start(), "prod")
    answer = await office.types("alice", "stop prod")
    card = await office.presses("alice", "instead", answer)
    assert "Stop prod?" in words_of(card)
    assert office.starter.begun == []
    await office.presses("alice", "confirm", card)
    assert [one.verb for one in office.starter.begun] == [Verb.STOP]


async def test_the_no_to_that_leaves_what_runs_alone(office: Office) -> None:
    operation = await running(office, a_stop())
    answer = await office.types("carol", "start staging")
    await office.presses("carol", "dismiss", answer)
    assert (await office.store.operations.get(operation.id)) == operation
    assert office.starter.interrupted == []


async def test_only_who_asked_for_it_may_press_it(office: Office) -> None:
    operation = await running(office, a_stop())
    answer = await office.types("alice", "start staging")
    reply = await office.slack.person("carol").sends(office.forged(answer, "carol", "instead"))
    (refused,) = await reply.answers(1, timeout=PATIENCE)
    assert "asked for by somebody else" in words_of(refused)
    assert (await office.store.operations.get(operation.id)) == operation


async def test_what_takes_too_long_to_end_keeps_the_answer_open(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancelling, "ENDS_WITHIN", 0.05)
    is_down(office)
    operation = await running(office, a_stop())
    answer = await office.types("carol", "start staging")
    said = words_of(await office.presses("carol", "instead", answer))
    assert "op-000001 is being brought to its end" in said
    assert office.starter.begun == []
    await office.store.journal.finished(operation, Outcome(State.FAILED))
    await office.presses("carol", "instead", answer)
    assert len(office.starter.begun) == 1


async def test_under_a_hold_it_is_not_even_cancelled(office: Office) -> None:
    operation = await running(office, a_stop())
    answer = await office.types("carol", "start staging")
    await office.types("alice", "hold staging the auditors are here")
    assert "staging is held" in words_of(await office.presses("carol", "instead", answer))
    assert await office.store.operations.get(operation.id) == operation
    assert office.starter.interrupted == []


async def test_what_is_cancelled_and_could_not_be_followed_is_said_so(office: Office) -> None:
    ends_at_once(office)
    operation = await running(office, a_stop())
    answer = await office.types("carol", "start staging")
    said = words_of(await office.presses("carol", "instead", answer))
    assert f"{operation.id} is cancelled, but `/tml start staging` could not begin: staging is already running" in said
    assert "Nothing else was changed" in said


async def test_a_hold_or_a_second_press_ends_no_restore_test(office: Office) -> None:
    ends_at_once(office)
    await running(office, a_test(typed=False), "prod")
    card = await office.types("alice", "stop prod")
    await office.types("alice", "hold prod the auditors are here")
    assert "prod is held" in words_of(await office.presses("alice", "confirm", card))
    assert office.starter.interrupted == []


async def test_a_restore_test_that_cleans_up_is_waited_for(office: Office) -> None:
    test = await running(office, replace(a_test(typed=False), phase="clean"))
    answering = asyncio.create_task(office.types("carol", "stop staging"))
    await asyncio.sleep(0.1)
    await office.store.journal.finished(test, Outcome(State.DONE))
    await answering
    assert [one.verb for one in office.starter.begun] == [Verb.STOP]


async def test_whoever_may_not_see_a_cluster_learns_nothing_of_what_runs_there(office: Office) -> None:
    await running(office, a_stop(), "secret")
    assert "There is no operation op-000001 here" in words_of(await office.types("dave", "cancel op-000001"))
    assert "This is for operators of prod" in words_of(await office.types("dave", "cancel prod"))


@pytest.mark.parametrize("words", ["stop staging", "restart staging", "cancel staging"])
async def test_the_same_way_or_another_is_busy_as_ever(office: Office, words: str) -> None:
    await running(office, a_stop())
    answer = await office.types("carol", words)
    assert "instead" not in str(answer.blocks)
    assert office.starter.begun == []


def a_test(*, typed: bool) -> Operation:
    """A restore test, by somebody or because its time has come."""
    goal = replace(
        start.goal(values.discovery({one.component: values.down(one) for one in values.discovery().workloads}), {}, {}),
        verb=Verb.VERIFY,
        topology=Topology(()),
        counts={},
        verifying=Verifying("op-cutset", ()),
    )
    operation = values.operation(goal, "op-verify")
    return operation if typed else replace(operation, requester=BOT)


async def test_a_restore_test_that_nobody_typed_gives_way_to_a_person(office: Office) -> None:
    ends_at_once(office)
    await running(office, a_test(typed=False))
    answer = words_of(await office.types("carol", "stop staging"))
    (begun,) = office.starter.begun
    assert begun.id in answer
    test = await office.store.operations.get("op-verify")
    assert test
    assert test.cancellation
    assert (test.cancellation.person.user, test.cancellation.reason) == ("U0CAROL", "gives way to a stop")


async def test_a_plan_or_a_card_interrupts_no_restore_test(office: Office) -> None:
    await running(office, a_test(typed=False), "prod")
    assert "tm 1 → 0" in words_of(await office.types("alice", "plan stop prod"))
    card = await office.types("alice", "stop prod")
    assert office.starter.interrupted == []
    ends_at_once(office)
    await office.presses("alice", "confirm", card)
    assert [one.verb for one in office.starter.begun] == [Verb.STOP]


async def test_a_restore_test_that_somebody_typed_gives_way_to_nobody(office: Office) -> None:
    await running(office, a_test(typed=True))
    assert "staging is busy: op-verify is still running" in words_of(await office.types("carol", "stop staging"))
    assert office.starter.interrupted == []


async def test_a_test_that_cleans_up_for_long_is_told_and_nothing_begins(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancelling, "ENDS_WITHIN", 0.05)
    await running(office, a_test(typed=False))
    assert "takes away what it made" in words_of(await office.types("carol", "stop staging"))
    assert office.starter.begun == []
