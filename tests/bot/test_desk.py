"""What people type and press, in the wrong moment, by the wrong person, or with the world broken around it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot import listeners
from bot.gate import CARD_LASTS
from lifecycle.errors import ClusterError, Forbidden, Retryable
from lifecycle.operation import Outcome, State
from storage import database
from storage.database import Database
from tests.bot.office import AT_ONCE, PATIENCE, Office, an_office
from tests.e2e.town import words_of


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with an_office(tmp_path) as made:
        yield made


VALUES = ["", "pr-000000", "op-000000", "x" * 2000, "<!channel>", "\ud800", "' OR 1=1 --", None]


@pytest.mark.parametrize("action", ["confirm", "dismiss", "again", "status"])
async def test_a_button_with_a_value_the_bot_never_gave_is_answered_once_and_recorded(
    office: Office, action: str
) -> None:
    card = await office.types("alice", "stop prod")
    end = await office.thread_of(await office.failed())
    on = card if action in ("confirm", "dismiss") else end
    payloads = [office.forged(on, "alice", action, value=value) for value in VALUES]
    for number, payload in enumerate(payloads):
        answer = await office.sends(payload, "alice")
        assert "There is no proposal" in words_of(answer) or "belongs to no operation" in words_of(answer)
        assert "Nothing was changed" in words_of(answer)
        assert "<!" not in words_of(answer)
        assert len(words_of(answer)) < 300
        assert len(await office.refusals()) == number + 1
    await office.assert_untouched()


async def test_a_button_without_any_value_is_answered(office: Office) -> None:
    payload = office.forged(await office.types("alice", "stop prod"), "alice")
    del payload["actions"][0]["value"]
    assert "There is no proposal" in words_of(await office.sends(payload, "alice"))
    await office.assert_untouched()


async def test_of_two_presses_at_once_one_counts_and_both_are_answered(office: Office) -> None:
    card = await office.types("alice", "stop prod because patching")
    alice = office.slack.person("alice")
    payloads = [alice.press_payload("confirm", card) for _ in range(2)]
    said = [words_of(one) for one in await asyncio.gather(*(office.sends(one, "alice") for one in payloads))]
    (begun,) = office.starter.begun
    assert [one.id for one in await office.store.operations.unfinished()] == [begun.id]
    assert begun.reason == "patching"
    assert all(begun.id in one for one in said), "both are told of the one operation"
    assert len(await office.refusals()) == 1


async def test_yes_and_no_at_once_are_one_decision(office: Office) -> None:
    card = await office.types("alice", "stop prod")
    alice = office.slack.person("alice")
    payloads = [alice.press_payload(action, card) for action in ("confirm", "dismiss")]
    await asyncio.gather(*(office.sends(one, "alice") for one in payloads))
    decisions = await office.store.audit.entries(kinds={"proposal-accepted", "proposal-dismissed"})
    assert len(decisions) == 1
    assert len(office.starter.begun) == [one.kind for one in decisions].count("proposal-accepted")


async def test_a_card_that_expired_is_dead_and_says_what_to_type(office: Office) -> None:
    card = await office.types("alice", "stop prod")
    late = office.slack.person("alice").press_payload("confirm", card)
    office.store.clock.advance(CARD_LASTS.total_seconds())
    answer = await office.presses("alice", "confirm", card)
    assert "has expired, nothing was done. Type `/tml stop prod` again" in words_of(answer)
    assert answer is card, "a dead card goes, and its buttons with it"
    assert "confirm" not in str(card.blocks)
    assert "has expired" in words_of(await office.sends(late, "alice")), "a click that was on its way all the while"
    assert [one.data["code"] for one in await office.refusals()] == ["proposal-expired"] * 2
    await office.assert_untouched()


async def test_a_card_from_before_a_restart_of_the_bot_works(office: Office) -> None:
    card = await office.types("alice", "stop prod")
    await office.restart()
    assert "Stopping prod (op-" in words_of(await office.presses("alice", "confirm", card))
    assert [one.cluster for one in office.starter.begun] == ["prod"]


async def test_whoever_lost_the_right_meanwhile_loses_the_card(office: Office) -> None:
    card = await office.types("alice", "stop prod")
    office.slack.group("tml-ops").users.remove("U0ALICE")
    office.store.clock.advance(6)
    answer = await office.presses("alice", "confirm", card)
    assert "This is for operators of prod" in words_of(answer)
    office.slack.person("alice").user.deleted = True
    await office.restart()
    answer = await office.presses("alice", "confirm", card)
    assert "Deactivated users may not do this" in words_of(answer)
    assert [one.data["code"] for one in await office.refusals()] == ["not-allowed"] * 2
    await office.assert_untouched()


@pytest.mark.parametrize("action", ["confirm", "dismiss"])
async def test_somebody_elses_card_stays_as_it_is(office: Office, action: str) -> None:
    card = await office.types("alice", "stop prod")
    for person in ("bob", "dave", "greta", "eve", "fred"):
        reply = await office.slack.person(person).sends(office.forged(card, person, action))
        answer = (await reply.answers(1, timeout=PATIENCE))[-1]
        assert "asked for by somebody else" in words_of(answer)
        assert answer is not card
        refused = (await office.refusals())[-1]
        assert refused.actor is not None
        assert refused.actor.user == office.slack.person(person).id
    await office.assert_untouched()
    assert "Stopping prod" in words_of(await office.presses("alice", "confirm", card)), "Alice can still say yes"


WITHOUT_RIGHTS = {
    ("dave", "again"): "This is for operators of prod",
    ("greta", "again"): "Guests may not do this",
    ("greta", "status"): "Guests may not do this",
    ("eve", "again"): "People of other workspaces may not do this",
    ("eve", "status"): "People of other workspaces may not do this",
    ("fred", "again"): "Deactivated users may not do this",
    ("fred", "status"): "Deactivated users may not do this",
}


async def test_the_buttons_in_a_thread_are_for_those_who_could_type_it(office: Office) -> None:
    end = await office.thread_of(await office.failed())
    for number, ((person, action), said) in enumerate(WITHOUT_RIGHTS.items(), 1):
        answer = await office.presses(person, action, end)
        assert said in words_of(answer)
        assert answer.thread_ts == end.thread_ts, "the answer stands where the button is"
        assert len(await office.refusals()) == number
    await office.assert_untouched()
    assert "prod is running" in words_of(await office.presses("dave", "status", end)), "looking is for everybody"
    assert "Stop prod?" in words_of(await office.presses("bob", "again", end)), "any operator may take it up"
    assert "again" in str(end.blocks), "the thread is as it was"


async def test_the_status_button_shows_no_cluster_to_those_who_may_not_see_it(office: Office) -> None:
    end = await office.thread_of(await office.failed("secret"))
    answer = words_of(await office.presses("dave", "status", end))
    assert "This is for viewers of secret: nobody" in answer
    assert "tm" not in answer.split()
    assert "secret" not in words_of(await office.types("dave", "list"))
    assert "secret" not in words_of(await office.types("dave", "history"))


async def test_a_button_of_a_cluster_that_is_no_longer_configured_says_so(office: Office) -> None:
    end = await office.thread_of(await office.failed("gone"))
    for action in ("again", "status"):
        assert "gone is not in this bot's configuration any more" in words_of(await office.presses("bob", action, end))
    await office.assert_untouched()


async def test_a_card_for_a_cluster_that_became_busy_is_refused_and_kept(office: Office) -> None:
    alices, bobs = [await office.types(person, "stop prod") for person in ("alice", "bob")]
    await office.presses("bob", "confirm", bobs)
    (running,) = office.starter.begun
    answer = await office.presses("alice", "confirm", alices)
    assert f"prod is busy: {running.id} is still running" in words_of(answer)
    assert answer is not alices, "the card is as good as before"
    assert len(office.starter.begun) == 1
    taken = await office.store.journal.take(running, "bot-1", running.epoch + 1)
    await office.store.journal.finished(taken, Outcome(State.DONE))
    assert "Stopping prod" in words_of(await office.presses("alice", "confirm", alices))


@asynccontextmanager
async def locked(office: Office, folder: Path) -> AsyncIterator[None]:
    """Another process is writing and does not come to an end."""
    connection = sqlite3.connect(folder / "tml-bot.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@asynccontextmanager
async def read_only(office: Office, _folder: Path) -> AsyncIterator[None]:
    """The file system was mounted read-only."""
    await query_only(office.store.database, "ON")
    try:
        yield
    finally:
        await query_only(office.store.database, "OFF")


async def query_only(opened: Database, state: str) -> None:
    async with opened._writer.connect() as connection:
        raw = await connection.get_raw_connection()
        assert raw.driver_connection is not None
        await raw.driver_connection.execute(f"PRAGMA query_only={state}")


@pytest.mark.parametrize("broken", [locked, read_only], ids=["locked", "read-only"])
async def test_what_the_database_does_not_take_is_not_done_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Any
) -> None:
    monkeypatch.setattr(database, "WRITER_PRAGMAS", ("busy_timeout=50", *database.WRITER_PRAGMAS[1:]))
    async with an_office(tmp_path) as office:
        card = await office.types("alice", "stop prod")
        end = await office.thread_of(await office.failed())
        async with broken(office, tmp_path):
            for person, words in {"carol": "stop staging", "alice": "stop prod"}.items():
                assert "nothing was done. Try again" in words_of(await office.types(person, words)), words
            for action, on in {"confirm": card, "dismiss": card, "again": end}.items():
                answer = await office.presses("alice", action, on)
                assert "nothing was done. Try again" in words_of(answer), action
                assert answer is not on
            assert "may not do this" in words_of(await office.types("greta", "stop prod")), "a refusal is one anyhow"
            assert "prod is running" in words_of(await office.types("dave", "status prod")), "reading goes on"
        await office.assert_untouched()
        assert "Stopping prod" in words_of(await office.presses("alice", "confirm", card)), "and now it is done"


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (Retryable("connection refused"), "Kubernetes does not answer: connection refused. Try again in a moment"),
        (Forbidden("pods is forbidden"), "Kubernetes does not let the bot look: pods is forbidden"),
    ],
)
async def test_a_kubernetes_that_is_away_is_said_and_the_card_is_still_good(
    office: Office, trouble: ClusterError, said: str
) -> None:
    card = await office.types("alice", "stop prod")
    end = await office.thread_of(await office.failed())
    office.doors["prod"].trouble = trouble
    for words in ("stop prod", "status prod", "plan stop prod"):
        assert said in words_of(await office.types("alice", words)), words
    for action, on in {"confirm": card, "again": end, "status": end}.items():
        assert said in words_of(await office.presses("alice", action, on)), action
    listed = words_of(await office.types("alice", "list"))
    assert f"*prod* (production) cannot be read: {trouble}" in listed
    assert "*staging* (staging) running" in listed
    await office.assert_untouched()
    office.doors["prod"].trouble = None
    assert "Stopping prod" in words_of(await office.presses("alice", "confirm", card))


async def test_every_listener_acks_at_once_though_kubernetes_is_silent(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert listeners.DECIDED_WITHIN <= 2.0, "Slack waits three seconds and does not deliver a click again"
    monkeypatch.setattr(listeners, "DECIDED_WITHIN", 0.1)
    monkeypatch.setattr("bot.overview.GLANCE", 0.1)
    card = await office.types("alice", "stop prod")
    end = await office.thread_of(await office.failed())
    for door in office.doors.values():
        door.speaks.clear()
    alice = office.slack.person("alice")
    typed = [await alice.types(f"/tml {words}", "ops") for words in ("stop staging", "status prod", "plan stop prod")]
    listed = await alice.types("/tml list", "ops")
    pressed = [await alice.presses(action, on) for action, on in (("confirm", card), ("again", end), ("status", end))]
    for reply in [*typed, listed, *pressed]:
        assert reply.acked_in is not None
        assert reply.acked_in < AT_ONCE
    assert "*prod* (production) cannot be read: no answer" in words_of((await listed.answers())[0])
    assert [reply.messages for reply in (*typed, *pressed)] == [[]] * 6
    for door in office.doors.values():
        door.trouble = Retryable("no answer in time")
        door.speaks.set()
    for reply in (*typed, *pressed):
        assert "Kubernetes does not answer" in words_of(await office.only_answer(reply, "alice"))
    await office.assert_untouched()


@pytest.mark.parametrize("method", ["usergroups.users.list", "users.info"])
@pytest.mark.parametrize("fault", ["429", "503", "dropped"])
async def test_while_slack_does_not_say_who_somebody_is_nobody_may_do_anything(
    office: Office, method: str, fault: str
) -> None:
    card = await office.types("alice", "stop prod")
    office.store.clock.advance(6)
    if fault == "dropped":
        office.slack.faults.drops_before(method, times=2)  # aiohttp asks once more of its own accord
    else:
        office.slack.faults.answers(method, int(fault))
    answer = await office.presses("alice", "confirm", card)
    assert "Try again in a minute" in words_of(answer)
    assert answer is not card
    (refused,) = await office.refusals()
    assert refused.data["code"] == "undecided"
    await office.assert_untouched()
    assert "Stopping prod" in words_of(await office.presses("alice", "confirm", card)), "it is said again"


async def test_a_command_while_the_groups_cannot_be_read_gets_try_again(office: Office) -> None:
    office.slack.faults.answers("usergroups.users.list", 429)
    answer = words_of(await office.types("alice", "stop staging"))
    assert "Group S0TMLOPS could not be read (ratelimited), so it grants nobody. Try again in a minute" in answer
    await office.assert_untouched()


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_an_answer_that_slack_does_not_take_is_given_again(
    office: Office, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "PAUSES", (0.01, 0.01))
    office.slack.faults.answers("response_url", status, retry_after=0)
    card = await office.types("alice", "stop prod")
    office.slack.faults.answers("response_url", status, retry_after=0)
    assert "Stopping prod" in words_of(await office.presses("alice", "confirm", card))
    assert len(office.starter.begun) == 1


async def test_in_an_organisation_of_several_workspaces_a_card_is_answered_by_who_asked(tmp_path: Path) -> None:
    """A command and a click name the organisation in different places."""
    async with an_office(tmp_path, enterprise_id="E0TML") as office:
        card = await office.types("alice", "stop prod")
        assert "Stopping prod" in words_of(await office.presses("alice", "confirm", card))
        (begun,) = office.starter.begun
        assert begun.requester.team == "E0TML"


async def test_a_click_without_a_team_is_of_the_organisation() -> None:
    body = {"user": {"id": "U0ALICE"}, "enterprise": {"id": "E0TML"}, "team": None, "channel": {"id": "C0OPS"}}
    assert str(listeners.person_of(body)) == "E0TML/U0ALICE"
    assert listeners.place_of(body).channel == "C0OPS"


async def test_a_defect_is_told_once_and_changes_nothing(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_arguments: Any, **_keywords: Any) -> Any:
        raise RuntimeError("a defect")

    card = await office.types("alice", "stop prod")
    monkeypatch.setattr(office.store.operations, "running_on", broken)
    for answer in (await office.types("alice", "status prod"), await office.presses("alice", "confirm", card)):
        assert "This went wrong inside the bot" in words_of(answer)
        assert answer is not card
    await office.assert_untouched()


async def test_half_a_character_in_a_reason_is_no_obstacle(office: Office) -> None:
    answer = await office.types("carol", "stop staging because \ud83d is half")
    assert "Stopping staging" in words_of(answer)
    assert office.starter.begun[0].reason == "? is half"
