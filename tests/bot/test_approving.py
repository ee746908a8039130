"""A delete needs somebody else's yes: who may give it, how, until when, and what becomes of it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import listeners
from bot.outcome import ApprovedNotBegun, Begun, Renewed
from lifecycle.approval import Approval, ApprovalDecided, ApprovalState
from lifecycle.errors import ClusterBusy, Refused, Retryable
from lifecycle.model import Person, Place
from lifecycle.operation import Outcome, State
from sandbox.slack import Message, View, blocks
from sandbox.slack.blocks import faults_in_view
from storage.database import StorageError
from tests.bot.house import House, running
from tests.bot.office import AT_ONCE, PATIENCE, Office, an_office
from tests.e2e.town import words_of

BECAUSE = "because it moves away"
APPROVED = "Deleting prod (op-"


VALUES = ["", "ap-000000", "op-000000", "x" * 2000, "<!channel>", "\ud800", "' OR 1=1 --", None]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    """With a projector, which posts the cards."""
    async with an_office(tmp_path) as made, running(House(made.store, made.slack).projector()):
        yield made


async def asked(office: Office, cluster: str = "prod", person: str = "alice") -> tuple[Approval, Message]:
    """Asked for, with the card that was posted."""
    answer = words_of(await office.types(person, f"delete {cluster} {BECAUSE}"))
    identity = re.search(r"ap-[0-9a-z]{6}", answer)
    assert identity, answer
    return await office.store.approvals.get(identity[0]), await card(office, identity[0])


async def card(office: Office, identity: str) -> Message:
    def posted(_: object) -> Message | None:
        said = [*office.slack.channel_messages("prod"), *office.slack.channel_messages("ops")]
        return next((one for one in said if identity in str(one.blocks)), None)

    return await office.slack.until(posted, PATIENCE, f"the card of {identity}")


async def shows(office: Office, on: Message, words: str) -> None:
    await office.slack.until(lambda _: words in words_of(on), PATIENCE, f"{words!r} on the card")


async def state_of(office: Office, asked: Approval) -> ApprovalState:
    return (await office.store.approvals.get(asked.id)).state


async def submits(office: Office, person: str, view: View, name: str = "prod", reason: str = "") -> str:
    return await office.submits(person, view, name=name, reason=reason)


def press(office: Office, on: Message, person: str, action: str, **changes: Any) -> dict[str, Any]:
    """A press on the card, kept for later or with another value."""
    payload = office.slack.person(person).press_payload(action, on)
    payload["actions"][0].update(changes)
    return payload


async def codes(office: Office) -> list[str]:
    return [one.data["code"] for one in await office.refusals()]


async def test_a_yes_by_an_approver_in_the_dialog_begins_it(office: Office) -> None:
    approval, on = await asked(office)
    assert office.told.calls == [(approval.id, ("@S0TMLAPPROVERS",))]
    await office.assert_untouched()
    view = await office.slack.person("bob").opens("approve", on)
    assert faults_in_view(view.content) == []
    shown = office.slack.rendered(view)
    assert all(words in shown for words in ("Type the cluster's name: prod", "it moves away", "in-cluster/ml550"))
    said = await submits(office, "bob", view, reason="agreed")
    assert APPROVED in said
    (begun,) = office.starter.begun
    assert (begun.cluster, begun.verb, begun.requester.user, begun.reason) == (
        "prod", "delete", "U0ALICE", "it moves away",
    )  # fmt: skip
    assert await state_of(office, approval) is ApprovalState.EXECUTED
    await shows(office, on, "Approved and begun")
    assert "approve" not in str([block for block in on.blocks if block["type"] == "actions"])
    assert (await office.store.audit.verify()) is None


async def test_a_typed_yes_begins_it_too(office: Office) -> None:
    approval, _ = await asked(office)
    assert APPROVED in words_of(await office.types("carol", f"approve `{approval.id.upper()}` Prod"))
    assert [one.id for one in office.starter.begun] == [(await office.store.approvals.get(approval.id)).operation]


async def test_several_have_to_say_yes_where_that_is_asked_for(office: Office) -> None:
    approval, on = await asked(office, "staging")
    assert f"Your yes to {approval.id} is recorded; 1 more" in words_of(
        await office.types("bob", f"approve {approval.id} staging")
    )
    await office.assert_untouched()
    assert "You said yes" in words_of(await office.types("bob", f"approve {approval.id} staging"))
    await shows(office, on, "<@U0BOB> said yes")
    view = await office.slack.person("dave").opens("approve", on)
    assert "Deleting staging (op-" in await submits(office, "dave", view, "staging")
    assert len(office.starter.begun) == 1


OUTSIDE = {
    "alice": ("You asked for", "own-request"),
    "dave": ("This is for approvers of a delete of prod: group S0TMLAPPROVERS", "not-allowed"),
    "greta": ("Guests may not do this", "not-allowed"),
    "eve": ("People of other workspaces may not do this", "not-allowed"),
    "fred": ("Deactivated users may not do this", "not-allowed"),
    "deploybot": ("Bots may not do this", "not-allowed"),
}


@pytest.mark.parametrize("person", OUTSIDE)
@pytest.mark.parametrize("action", ["approve", "deny"])
async def test_whoever_may_not_decide_is_told_so_and_recorded(office: Office, person: str, action: str) -> None:
    said, code = OUTSIDE[person]
    approval, on = await asked(office)
    reply = await office.slack.person(person).sends(office.forged(on, person, action))
    answer = (await reply.answers(1, timeout=PATIENCE))[-1]
    assert said in words_of(answer)
    assert answer is not on
    assert office.slack.person(person).modal is None
    assert await codes(office) == [code]
    words = {"approve": f"approve {approval.id} prod", "deny": f"deny {approval.id}"}[action]
    if person != "deploybot":  # nobody types as a bot
        assert said in words_of(await office.types(person, words))
        assert await codes(office) == [code, code]
    assert await state_of(office, approval) is ApprovalState.PENDING
    await office.assert_untouched()


@pytest.mark.parametrize(
    "value", ["", "ap-000000", "op-000000", "x" * 2000, "<!channel>", "\ud800", "' OR 1=1 --", None]
)
@pytest.mark.parametrize("action", ["approve", "deny", "withdraw"])
async def test_a_value_the_bot_never_gave_is_answered_and_recorded(office: Office, action: str, value: Any) -> None:
    approval, on = await asked(office)
    answer = words_of(await office.sends(press(office, on, "bob", action, value=value), "bob"))
    assert "There is no approval" in answer
    assert "`/tml approvals`" in answer
    assert "<!" not in answer
    assert await codes(office) == ["no-such-approval"]
    assert await state_of(office, approval) is ApprovalState.PENDING
    await office.assert_untouched()


@pytest.mark.parametrize("action", ["approve", "deny", "withdraw"])
async def test_a_press_on_another_message_decides_nothing(office: Office, action: str) -> None:
    """A message that another app made to look like a card, or one that was copied elsewhere."""
    approval, on = await asked(office)
    person = "alice" if action == "withdraw" else "bob"
    elsewhere, another = (office.forged(on, person, action) for _ in range(2))
    elsewhere["channel"]["id"] = elsewhere["container"]["channel_id"] = "C0PARTNERS"
    another["container"]["message_ts"] = another["message"]["ts"] = "1.000001"
    for payload in (elsewhere, another):
        reply = await office.slack.person(person).sends(payload)
        assert "This is not that approval's card" in words_of((await reply.answers(1, timeout=PATIENCE))[-1])
    assert await codes(office) == ["approval-elsewhere"] * 2
    assert await state_of(office, approval) is ApprovalState.PENDING


async def test_a_wrong_name_keeps_the_dialog_open_with_the_error_at_the_input(office: Office) -> None:
    _, on = await asked(office)
    view = await office.slack.person("bob").opens("approve", on)
    for wrong in ("staging", "pro", "prod prod", "ml550", "<!channel>"):
        said = await submits(office, "bob", view, wrong)
        assert "That is not the name of the cluster, so nothing was decided" in said
        assert office.slack.person("bob").modal is view
    assert await codes(office) == ["wrong-name"] * 5
    await office.assert_untouched()
    assert APPROVED in await submits(office, "bob", view, "Prod "), "a phone writes it so"


async def test_a_second_press_after_the_decision_says_what_became_of_it(office: Office) -> None:
    approval, on = await asked(office)
    late = {action: press(office, on, "carol", action) for action in ("approve", "deny")}
    withdraw = office.slack.person("alice").press_payload("withdraw", on)
    first, second = [await office.slack.person("bob").opens("approve", on) for _ in range(2)]
    assert APPROVED in await submits(office, "bob", second)
    (begun,) = office.starter.begun
    del first
    for payload, person in ((late["approve"], "carol"), (late["deny"], "carol"), (withdraw, "alice")):
        answer = words_of(await office.sends(payload, person))
        assert f"{approval.id} was approved already by U0BOB: it became {begun.id}" in answer
    assert await codes(office) == ["approval-decided"] * 3
    assert len(office.starter.begun) == 1


async def test_after_its_time_nobody_can_decide(office: Office) -> None:
    approval, on = await asked(office)
    view = await office.slack.person("bob").opens("approve", on)
    office.store.clock.advance(timedelta(minutes=31).total_seconds())
    assert "was not decided in time and has expired" in await submits(office, "bob", view)
    for action, person in (("approve", "bob"), ("deny", "carol"), ("withdraw", "alice")):
        answer = words_of(await office.sends(press(office, on, person, action), person))
        assert "has expired: nothing was done. To ask anew, type `/tml delete prod because …`" in answer
    assert await codes(office) == ["approval-expired"] * 4
    await office.assert_untouched()
    await office.store.approvals.expire_due()
    await shows(office, on, "Expired: delete prod")
    assert "actions" not in {block["type"] for block in on.blocks}
    assert await state_of(office, approval) is ApprovalState.EXPIRED


@pytest.mark.parametrize("how", ["presses", "types"])
async def test_one_no_ends_it_and_takes_the_buttons_away(office: Office, how: str) -> None:
    approval, on = await asked(office)
    if how == "presses":
        answer = await office.presses("carol", "deny", on)
    else:
        answer = await office.types("carol", f"deny {approval.id} not before Friday")
    assert answer is not on, "the card is changed from the record alone"
    assert f"{approval.id} is denied. Nothing was done" in words_of(answer)
    await shows(office, on, "Denied: delete prod. Nothing was done")
    assert "actions" not in {block["type"] for block in on.blocks}
    if how == "types":
        assert "not before Friday" in words_of(on)
    assert f"{approval.id} was denied by U0CAROL" in words_of(await office.types("bob", f"approve {approval.id} prod"))
    await office.assert_untouched()


async def test_only_the_requester_takes_it_back(office: Office) -> None:
    approval, on = await asked(office)
    for person in ("bob", "carol", "dave"):
        said = f"Only U0ALICE can withdraw {approval.id}. An approver can end it: `/tml deny {approval.id}`"
        assert said in words_of(await office.presses(person, "withdraw", on))
        assert said in words_of(await office.types(person, f"withdraw {approval.id}"))
    assert await codes(office) == ["not-the-requester"] * 6
    answer = await office.presses("alice", "withdraw", on)
    assert answer is not on
    assert f"{approval.id} is withdrawn" in words_of(answer)
    await shows(office, on, "Withdrawn: delete prod")
    await office.assert_untouched()


@asynccontextmanager
async def busy(office: Office, cluster: str = "prod") -> AsyncIterator[str]:
    """A stop runs in the meantime."""
    answer = await office.types("alice", f"stop {cluster}")
    await office.presses("alice", "confirm", answer)
    running = office.starter.begun.pop()
    yield running.id
    taken = await office.store.journal.take(running, "bot-1", running.epoch + 1)
    await office.store.journal.finished(taken, Outcome(State.DONE))


async def test_what_a_busy_cluster_kept_from_beginning_is_run_by_an_operator_later(office: Office) -> None:
    approval, on = await asked(office)
    async with busy(office) as other:
        view = await office.slack.person("carol").opens("approve", on)
        said = await submits(office, "carol", view)
        assert f"{approval.id} is approved, but could not begin: prod is busy: {other} is still running" in said
        assert "The yes counts" in said
        await shows(office, on, "Approved, not begun: delete prod")
        refused = await office.presses("bob", "run", on)
        assert "prod is busy" in words_of(refused)
        assert refused is not on
    assert await codes(office) == ["approved-not-begun", "cluster-busy"]
    for person in ("carol", "dave"):
        assert "This is for operators of prod" in words_of(await office.presses(person, "run", on)), (
            "approving is not operating"
        )
    answer = await office.presses("bob", "run", on)
    assert APPROVED in words_of(answer)
    assert answer is not on
    assert [one.requester.user for one in office.starter.begun] == ["U0ALICE"], "it is Alice's delete"
    await shows(office, on, "Approved and begun")
    assert [block for block in on.blocks if block["type"] == "actions"] == []


async def test_what_was_approved_is_worth_nothing_after_its_time(office: Office) -> None:
    approval, on = await asked(office)
    async with busy(office):
        assert "The yes counts" in words_of(await office.types("bob", f"approve {approval.id} prod"))
        await shows(office, on, "has to begin by")
    office.store.clock.advance(timedelta(minutes=11).total_seconds())
    answer = words_of(await office.sends(press(office, on, "alice", "run"), "alice"))
    assert "was approved but not carried out in time and has expired" in answer
    assert office.starter.begun == []


async def test_a_cluster_that_changed_meanwhile_is_asked_about_anew_with_what_changed(office: Office) -> None:
    approval, on = await asked(office)
    world = office.doors["prod"].world
    tm = next(ref for ref in world.states if "tm-deploy" in ref.name)
    world.states[tm] = replace(world.states[tm], replicas=3)
    view = await office.slack.person("bob").opens("approve", on)
    said = await submits(office, "bob", view)
    assert f"prod has changed since {approval.id} was asked for" in said
    assert "deployment/tm-deploy-0: 1 replicas before, 3 now" in said
    (fresh,) = await office.store.approvals.open_on()
    assert (fresh.replaces, fresh.requester, fresh.reason) == (approval.id, approval.requester, "it moves away")
    assert fresh.approvers == (), "the yes was to something else"
    await shows(office, on, "1 replicas before, 3 now")
    assert office.told.calls[-1] == (fresh.id, ("@S0TMLAPPROVERS",))
    await office.assert_untouched()
    anew = await card(office, f"{fresh.id} ·")
    view = await office.slack.person("bob").opens("approve", anew)
    assert APPROVED in await submits(office, "bob", view)
    (begun,) = office.starter.begun
    assert begun.goal.counts[tm] == 3


async def test_whoever_left_the_group_between_click_and_submission_decides_nothing(office: Office) -> None:
    approval, on = await asked(office)
    view = await office.slack.person("bob").opens("approve", on)
    office.slack.group("tml-approvers").users.remove("U0BOB")
    office.store.clock.advance(6)
    assert "This is for approvers of a delete of prod" in await submits(office, "bob", view)
    assert await codes(office) == ["not-allowed"]
    assert await state_of(office, approval) is ApprovalState.PENDING
    await office.assert_untouched()


async def test_the_yes_of_somebody_who_left_the_group_before_it_begins_counts_no_more(office: Office) -> None:
    approval, on = await asked(office)
    async with busy(office):
        await office.types("carol", f"approve {approval.id} prod")
        await shows(office, on, "Run it")
    office.slack.group("tml-approvers").users.remove("U0CAROL")
    office.store.clock.advance(6)
    assert "U0CAROL said yes and may not approve any more" in words_of(await office.presses("bob", "run", on))
    assert office.starter.begun == []


async def test_a_requester_who_may_not_operate_any_more_stops_it_and_is_named(office: Office) -> None:
    approval, _ = await asked(office)
    office.slack.group("tml-ops").users.remove("U0ALICE")
    office.store.clock.advance(6)
    said = words_of(await office.types("carol", f"approve {approval.id} prod"))
    assert "could not begin: U0ALICE, who asked for it, would have to be let in to begin it" in said
    assert "This is for operators of prod" in said
    await office.assert_untouched()


async def test_of_two_hundred_yeses_at_once_exactly_one_begins_it(office: Office) -> None:
    approval, _ = await asked(office)
    people = [Person(office.slack.team_id, user) for user in ("U0BOB", "U0CAROL")]
    consent = office.consent
    said = await asyncio.gather(
        *(consent.approve(people[number % 2], approval.id, "prod") for number in range(200)),
        return_exceptions=True,
    )
    assert [type(one) for one in said].count(Begun) == 1
    assert {type(one) for one in said} == {Begun, ApprovalDecided}
    assert len(office.starter.begun) == len(await office.store.operations.unfinished()) == 1
    assert await office.store.audit.verify() is None


async def test_of_a_hundred_presses_of_run_it_exactly_one_begins_it(office: Office) -> None:
    approval, on = await asked(office)
    async with busy(office):
        await office.types("bob", f"approve {approval.id} prod")
    consent, place = office.consent, Place(office.slack.team_id, on.channel, on.ts)
    alice = Person(office.slack.team_id, "U0ALICE")
    said = await asyncio.gather(*(consent.run(alice, approval.id, place) for _ in range(100)), return_exceptions=True)
    assert [type(one) for one in said].count(Begun) == 1
    assert {type(one) for one in said} <= {Begun, ApprovalDecided, ClusterBusy}
    assert len(office.starter.begun) == 1


async def test_of_a_yes_and_a_no_at_once_one_is_the_decision(office: Office) -> None:
    approval, _ = await asked(office)
    bob, carol = (Person(office.slack.team_id, user) for user in ("U0BOB", "U0CAROL"))
    consent = office.consent
    said = await asyncio.gather(
        consent.approve(bob, approval.id, "prod"), consent.deny(carol, approval.id), return_exceptions=True
    )
    ended = await state_of(office, approval)
    assert ended in (ApprovalState.EXECUTED, ApprovalState.DENIED)
    assert len(office.starter.begun) == (ended is ApprovalState.EXECUTED)
    assert sum(isinstance(one, Refused) for one in said) == 1


async def test_a_cluster_that_changes_under_many_yeses_is_asked_about_anew_once(office: Office) -> None:
    approval, _ = await asked(office)
    world = office.doors["prod"].world
    tm = next(ref for ref in world.states if "tm-deploy" in ref.name)
    world.states[tm] = replace(world.states[tm], replicas=3)
    bob, consent = Person(office.slack.team_id, "U0BOB"), office.consent
    said = await asyncio.gather(*(consent.approve(bob, approval.id, "prod") for _ in range(20)), return_exceptions=True)
    assert [type(one) for one in said].count(Renewed) == 1
    assert len(await office.store.approvals.open_on()) == 1


async def test_a_second_delete_of_the_same_cluster_is_refused_with_the_way_out(office: Office) -> None:
    approval, _ = await asked(office)
    answer = words_of(await office.types("bob", f"delete prod {BECAUSE}"))
    assert f"{approval.id} waits for a decision" in answer
    assert f"`/tml withdraw {approval.id}`" in answer
    assert "Say why" in words_of(await office.types("bob", "delete staging"))
    assert "because …" in words_of(await office.types("bob", "delete staging"))


async def test_a_pending_delete_blocks_no_stop(office: Office) -> None:
    await asked(office)
    async with busy(office) as other:
        assert other.startswith("op-")


async def test_a_viewer_cannot_ask_for_it(office: Office) -> None:
    assert "This is for operators of prod" in words_of(await office.types("dave", f"delete prod {BECAUSE}"))
    assert await office.store.approvals.open_on() == ()


async def test_what_waits_on_a_cluster_is_shown_to_those_who_may_see_it_or_decide(office: Office) -> None:
    approval, _ = await asked(office, "secret")
    for person in ("alice", "bob", "carol"):
        assert approval.id in words_of(await office.types(person, "approvals")), person
    answer = words_of(await office.types("dave", "approvals"))
    assert answer == "Nothing that you may see waits for an approval."


@pytest.mark.parametrize("words", ["approve {} secret", "approve {} prod", "deny {}", "deny {} because", "withdraw {}"])
async def test_an_id_that_is_typed_tells_those_nothing_who_may_not_see_the_cluster(office: Office, words: str) -> None:
    approval, _ = await asked(office, "secret")
    answer = words_of(await office.types("dave", words.format(approval.id)))
    never = words_of(await office.types("dave", words.format("ap-zzzzzz")))
    assert answer.replace(approval.id, "ap-zzzzzz") == never
    assert "There is no approval" in answer
    assert await codes(office) == ["approval-hidden", "no-such-approval"], "the log knows the difference"
    assert "Guests may not" in words_of(await office.types("greta", words.format(approval.id)))
    assert await state_of(office, approval) is ApprovalState.PENDING


async def test_an_unread_group_is_no_reason_to_say_that_there_is_nothing(office: Office) -> None:
    approval, _ = await asked(office, "secret")
    office.store.clock.advance(6)
    office.slack.faults.answers("usergroups.users.list", 429, times=9)
    answer = words_of(await office.types("bob", f"deny {approval.id}"))
    assert "Try again in a minute" in answer
    assert "secret" not in answer
    assert await codes(office) == ["undecided"]


async def test_a_yes_while_the_group_cannot_be_read_is_none_and_can_be_said_again(office: Office) -> None:
    approval, on = await asked(office)
    view = await office.slack.person("bob").opens("approve", on)
    office.store.clock.advance(6)
    office.slack.faults.answers("usergroups.users.list", 429)
    assert "Try again in a minute" in await submits(office, "bob", view)
    assert await codes(office) == ["undecided"]
    await office.assert_untouched()
    office.store.clock.advance(6)
    assert APPROVED in words_of(await office.types("bob", f"approve {approval.id} prod"))


async def test_a_kubernetes_that_is_away_leaves_the_yes_standing(office: Office) -> None:
    approval, on = await asked(office)
    office.doors["prod"].trouble = Retryable("connection refused")
    view = await office.slack.person("bob").opens("approve", on)
    said = await submits(office, "bob", view)
    assert f"{approval.id} is approved, but could not begin: its cluster could not be read: connection refused." in said
    assert "Run it on its card" in said
    office.doors["prod"].trouble = None
    await shows(office, on, "Run it")
    assert APPROVED in words_of(await office.presses("alice", "run", on))


async def test_a_record_that_cannot_be_written_after_the_yes_leaves_it_standing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def locked(*_arguments: Any, **_keywords: Any) -> Any:
        raise StorageError("database is locked")

    approval, on = await asked(office)
    monkeypatch.setattr(office.store.approvals, "execute", locked)
    said = words_of(await office.types("bob", f"approve {approval.id} prod"))
    assert "is approved, but could not begin: database is locked" in said
    monkeypatch.undo()
    await shows(office, on, "Run it")
    assert APPROVED in words_of(await office.presses("alice", "run", on))


@pytest.mark.parametrize("fault", ["429", "503", "dropped"])
async def test_a_dialog_that_slack_does_not_open_is_acked_and_answered_with_what_to_type(
    office: Office, fault: str
) -> None:
    approval, on = await asked(office)
    if fault == "dropped":
        office.slack.faults.drops_before("views.open", times=2)  # aiohttp asks once more of its own accord
    else:
        office.slack.faults.answers("views.open", int(fault))
    answer = await office.presses("bob", "approve", on)
    assert f"`/tml approve {approval.id} NAME`" in words_of(answer)
    assert answer is not on
    assert office.slack.person("bob").modal is None
    assert APPROVED in words_of(await office.types("bob", f"approve {approval.id} prod"))


async def test_a_workspace_that_knows_no_alerts_gets_the_dialog_in_plainer_blocks(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, on = await asked(office)
    red = await office.slack.person("bob").opens("approve", on)
    assert red.blocks[0]["type"] == "alert", "OAuth tokens, of which no snapshot is cut"
    monkeypatch.delitem(blocks.KINDS, "alert")
    plain = await office.slack.person("carol").opens("approve", on)
    assert plain.blocks[0]["text"]["text"].startswith(":red_circle: ")
    assert APPROVED in await submits(office, "carol", plain)


async def test_an_expired_trigger_is_answered_with_what_to_type(office: Office) -> None:
    approval, on = await asked(office)
    payload = press(office, on, "bob", "approve") | {"trigger_id": "1.2.used"}
    assert f"`/tml approve {approval.id} NAME`" in words_of(await office.sends(payload, "bob"))


async def test_a_press_of_approve_is_acked_at_once_though_slack_does_not_say_who_it_is(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "DECIDED_WITHIN", 0.1)
    _, on = await asked(office)
    consent = office.consent
    look, go = consent.look_at, asyncio.Event()

    async def slow(*arguments: Any) -> Approval:
        await go.wait()
        return await look(*arguments)

    monkeypatch.setattr(consent, "look_at", slow)
    reply = await office.slack.person("bob").presses("approve", on)
    assert reply.acked_in is not None
    assert reply.acked_in < AT_ONCE
    go.set()
    await office.slack.until(lambda _: office.slack.person("bob").modal, PATIENCE, "the dialog")


@pytest.mark.parametrize(("name", "said"), [("prod", APPROVED), ("staging", "That is not the name of")])
async def test_a_submission_that_takes_long_shows_a_page_and_then_the_answer(
    office: Office, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.setattr(listeners, "DECIDED_WITHIN", 0.1)
    monkeypatch.setattr(listeners, "PAUSES", (0.01, 0.01))
    _, on = await asked(office)
    view = await office.slack.person("bob").opens("approve", on)
    consent = office.consent
    approve, go = consent.approve, asyncio.Event()

    async def slow(*arguments: Any) -> Any:
        await go.wait()
        return await approve(*arguments)

    monkeypatch.setattr(consent, "approve", slow)
    office.slack.faults.answers("views.update", 503)
    assert "Looking at the cluster once more" in await submits(office, "bob", view, name)
    go.set()

    def shown(_: object) -> bool:
        modal = office.slack.person("bob").modal
        return modal is not None and said in office.slack.rendered(modal)

    await office.slack.until(shown, PATIENCE, f"{said!r} in the dialog")


async def test_a_defect_in_a_submission_is_told_in_the_dialog(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_arguments: Any, **_keywords: Any) -> Any:
        raise RuntimeError("a defect")

    _, on = await asked(office)
    view = await office.slack.person("bob").opens("approve", on)
    monkeypatch.setattr(office.store.approvals, "approve", broken)
    assert "This went wrong inside the bot" in await submits(office, "bob", view)
    await office.assert_untouched()


async def test_a_card_from_before_a_restart_works(office: Office) -> None:
    _, on = await asked(office)
    await office.restart()
    view = await office.slack.person("bob").opens("approve", on)
    await office.restart()
    assert APPROVED in await submits(office, "bob", view)


async def test_an_id_that_is_taken_is_drawn_again(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    approval, _ = await asked(office)
    consent = office.consent
    fresh = iter([approval.id, "ap-999999"])
    monkeypatch.setattr(consent, "_new_id", lambda _prefix: next(fresh))
    assert "ap-999999" in words_of(await office.types("alice", f"delete staging {BECAUSE}"))


async def test_the_refusal_of_a_yes_that_could_not_begin_is_recorded_with_its_cause(office: Office) -> None:
    approval, _ = await asked(office)
    async with busy(office):
        await office.types("bob", f"approve {approval.id} prod")
    (refused,) = await office.refusals()
    assert refused.data["code"] == ApprovedNotBegun.code
    assert "is still running" in refused.data["why"]
    assert refused.actor is not None
    assert refused.actor.user == "U0BOB"
