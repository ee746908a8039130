"""*Restore* beside a set asks why in a dialog: by whom, when, and with whatever comes back from it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot import listeners
from bot.commands import Restore
from bot.grammar import parse
from lifecycle.errors import Retryable
from lifecycle.model import Target
from lifecycle.operation import Outcome, State
from lifecycle.volumes import Snapshot
from sandbox.slack import Message, View
from sandbox.slack.blocks import faults_in_view
from sandbox.slack.payloads import submission
from storage.database import StorageError
from tests.bot.office import AT_ONCE, PATIENCE, Office, an_office
from tests.e2e.town import words_of
from tests.fakes import values
from tests.storage.conftest import a_stop
from tests.storage.test_retention import a_set

SET = "op-set001"
CLAIM = values.CLAIMS[1].name
MEMBER = Snapshot(
    f"tml-{SET}-{CLAIM}", "uid", CLAIM, SET, values.NOW, is_ready=True, content="c", policy="Retain", handle="h", size=1
)
ASKED = "Asked for: restore-in-place staging (ap-"
"""The cluster is there: a second person has to say yes."""


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with an_office(tmp_path) as made:
        yield made


async def listed(office: Office, cluster: str = "staging", person: str = "alice") -> Message:
    """The list, with a set in it."""
    operation = replace(a_stop(SET), cluster=cluster, target=Target(None, cluster))
    taken = await office.store.taken(operation)
    await office.store.journal.saved(taken, a_set(SET, members=(MEMBER,)))
    office.doors[cluster].world.snapshots[MEMBER.name] = MEMBER
    await office.store.journal.finished(taken, Outcome(State.DONE))
    return await office.types(person, f"snapshots {cluster}")


async def opened(office: Office, on: Message, person: str = "alice") -> View:
    return await office.slack.person(person).opens("restore_set", on)


async def says(office: Office, view: View, reason: str = "bad data") -> str:
    return await office.submits("alice", view, reason=reason)


async def codes(office: Office) -> list[str]:
    return [one.data["code"] for one in await office.refusals()]


async def submitted_as(office: Office, person: str, view: View, **changes: Any) -> dict[str, Any]:
    """A submission of the view as if it came from somebody else, or with another id."""
    user = office.slack.person(person).user
    payload = submission(user, view, office.slack.workspace)
    payload["view"] = payload["view"] | changes
    reply = await office.slack.person(person).sends(payload)
    assert reply.acked is not None
    return reply.acked


async def test_it_shows_which_set_it_is_and_asks_why(office: Office) -> None:
    view = await opened(office, await listed(office))
    assert faults_in_view(view.content) == []
    shown = office.slack.rendered(view)
    assert all(words in shown for words in (SET, "in place", "Why?", "Restore staging"))
    assert view.content["blocks"][-1]["optional"] is False, "its approvers want to know"
    assert await codes(office) == []
    await office.assert_untouched()


@pytest.mark.parametrize("reason", ["bad data", "a <!channel> & b", "because of kept --remove", "x" * 500])
async def test_a_reason_goes_the_way_of_a_typed_one(office: Office, reason: str) -> None:
    on = await listed(office)
    first, second = await opened(office, on), await opened(office, on)
    assert ASKED in await says(office, second, reason)
    (asked,) = await office.store.approvals.open_on()
    assert (asked.requester.user, asked.verb, asked.cluster, asked.reason) == (
        "U0ALICE", "restore-in-place", "staging", reason,
    )  # fmt: skip
    assert parse(asked.command, ["staging"]) == Restore("staging", SET, reason), "as it is read again before it begins"
    acked = await submitted_as(office, "alice", first, state={"values": {"reason": {"reason": {"value": reason}}}})
    assert f"{asked.id} waits for a decision" in str(acked["view"]["blocks"]), "a dialog that was left open"
    await office.assert_untouched()


@pytest.mark.parametrize("reason", ["", "   ", "\n"])
async def test_a_reason_that_is_missing_is_said_at_the_input_and_can_be_typed_again(
    office: Office, reason: str
) -> None:
    view = await opened(office, await listed(office))
    acked = await submitted_as(office, "alice", view, state={"values": {"reason": {"reason": {"value": reason}}}})
    assert acked["response_action"] == "errors"
    assert acked["errors"] == {"reason": "Say why, so that an approver can judge it. Nothing was asked for yet."}
    assert await codes(office) == ["reason-missing"]
    assert ASKED in await says(office, view)


OUTSIDE = {
    "dave": "This is for operators of staging",
    "greta": "Guests may not do this",
    "eve": "People of other workspaces may not do this",
    "fred": "Deactivated users may not do this",
    "deploybot": "Bots may not do this",
}


@pytest.mark.parametrize("person", OUTSIDE)
async def test_whoever_may_not_restore_gets_no_dialog_and_cannot_submit_one(office: Office, person: str) -> None:
    on = await listed(office)
    view = await opened(office, on)
    reply = await office.slack.person(person).sends(office.forged(on, person, "restore_set"))
    assert OUTSIDE[person] in words_of((await reply.answers(1, timeout=PATIENCE))[-1])
    assert office.slack.person(person).modal is None
    acked = await submitted_as(office, person, view)
    assert OUTSIDE[person] in str(acked["view"]["blocks"])
    assert await codes(office) == ["not-allowed"] * 2
    await office.assert_untouched()


@pytest.mark.parametrize(
    "value", ["", "op-000000", "ap-000000", "x" * 2000, "<!channel>", "\ud800", "' OR 1=1 --", None]
)
async def test_an_id_the_bot_never_gave_is_answered_and_recorded(office: Office, value: Any) -> None:
    on = await listed(office)
    view = await opened(office, on)
    answer = words_of(await office.sends(office.forged(on, "alice", "restore_set", value=value), "alice"))
    assert "There is no snapshot set" in answer
    assert "<!" not in answer
    acked = await submitted_as(office, "alice", view, private_metadata=value)
    assert "There is no snapshot set" in str(acked["view"]["blocks"])
    assert await codes(office) == ["no-such-set"] * 2
    await office.assert_untouched()


@pytest.mark.parametrize("given", [{}, {"reason": {}}, {"reason": {"reason": {"value": None}}}, {"other": {}}])
async def test_a_submission_without_its_input_has_no_reason(office: Office, given: dict[str, Any]) -> None:
    view = await opened(office, await listed(office))
    acked = await submitted_as(office, "alice", view, state={"values": given})
    assert list(acked["errors"]) == ["reason"]
    await office.assert_untouched()


async def test_who_lost_the_right_since_the_dialog_opened_restores_nothing(office: Office) -> None:
    view = await opened(office, await listed(office))
    office.slack.group("tml-ops").users.remove("U0ALICE")
    office.store.clock.advance(6)
    assert "This is for operators of staging" in await says(office, view)
    await office.assert_untouched()


async def test_a_dialog_from_before_a_restart_works(office: Office) -> None:
    on = await listed(office)
    await office.restart()
    view = await opened(office, on)
    await office.restart()
    assert ASKED in await says(office, view)


async def test_a_dialog_that_slack_does_not_open_is_answered_with_what_to_type(office: Office) -> None:
    on = await listed(office)
    office.slack.faults.answers("views.open", 503)
    answer = words_of(await office.presses("alice", "restore_set", on))
    assert f"`/tml restore staging {SET} because …`" in answer
    expired = office.slack.person("alice").press_payload("restore_set", on) | {"trigger_id": "1.2.used"}
    assert f"`/tml restore staging {SET} because …`" in words_of(await office.sends(expired, "alice"))


async def test_it_opens_although_kubernetes_does_not_answer_and_the_answer_is_shown_when_it_is_there(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "DECIDED_WITHIN", 0.1)
    door = office.doors["staging"]
    door.speaks.clear()
    view = await opened(office, await listed(office))
    reply = await office.slack.person("alice").submits(view, {"reason": "bad data"})
    assert reply.acked_in is not None
    assert reply.acked_in < AT_ONCE
    assert "Looking at the cluster once more" in office.slack.rendered(view)
    door.trouble = Retryable("connection refused")
    door.speaks.set()

    def shown(_: object) -> bool:
        modal = office.slack.person("alice").modal
        return modal is not None and "Kubernetes does not answer" in office.slack.rendered(modal)

    await office.slack.until(shown, PATIENCE, "the answer in the dialog")
    await office.assert_untouched()


async def test_a_record_that_cannot_be_read_is_said(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    on = await listed(office)

    async def locked(_identity: str) -> Any:
        raise StorageError("database is locked")

    monkeypatch.setattr(office.store.retention, "set_of", locked)
    assert "The bot's database did not take this" in words_of(await office.presses("alice", "restore_set", on))


async def test_a_press_on_a_card_within_a_dialog_is_answered_there_also_when_it_breaks(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of production that is gone: the dialog asks the one who pressed, as the typed command does."""
    card = await office.types("alice", "stop prod because patching")
    view = await opened(office, await listed(office))
    alice = office.slack.person("alice")
    payload = alice.press_payload("confirm", card) | {"view": {"id": view.id}, "container": {"type": "view"}}
    del payload["response_url"], payload["channel"]
    broken = payload["actions"][0] | {"value": None}
    await alice.sends({**payload, "actions": [broken]})
    await office.slack.until(lambda _: "There is no proposal" in office.slack.rendered(view), PATIENCE, "the refusal")

    async def defect(*_arguments: Any) -> Any:
        raise RuntimeError("a defect")

    assert office.gate
    monkeypatch.setattr(office.gate, "confirm", defect)
    await alice.sends(payload)
    await office.slack.until(lambda _: "This went wrong" in office.slack.rendered(view), PATIENCE, "the defect")
    monkeypatch.undo()
    await alice.sends(payload)
    await office.slack.until(lambda _: "Stopping prod (op-" in office.slack.rendered(view), PATIENCE, "what began")
    assert [one.cluster for one in office.starter.begun] == ["prod"]
