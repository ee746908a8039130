"""The card, the dialog and the thread of an approval."""

from dataclasses import replace

import pytest

from bot.views import answers, modals, snapshots
from bot.views import approval as cards
from bot.views.blocks import BLOCK_LIMIT
from lifecycle.approval import ApprovalState
from lifecycle.model import Verb
from sandbox.slack.blocks import faults_in_view
from tests.bot.views.reading import finish, texts, words, wrong_in
from tests.bot.views.world import LATER, World


@pytest.mark.parametrize("word", ["patching", "<!channel>", "```\n<!channel>\n```", "&" * 4000, "x" * 10_000])
@pytest.mark.parametrize("claims", [2, 60, 200])
def test_slack_takes_the_dialog_however_much_there_is_to_say(word: str, claims: int) -> None:
    one = replace(World(word, zones=3, claims=claims).approval(), cluster="a" * 40)
    dialog = cards.modal(one)
    assert faults_in_view(dialog) == []
    assert [wrong_in(text) for text in texts(dialog)] == [[]] * len(list(texts(dialog)))
    assert len(dialog["title"]["text"]) <= 24
    inputs = [block for block in dialog["blocks"] if block["type"] == "input"]
    assert [block["block_id"] for block in inputs] == ["name", "reason"], "however much has to be cut"
    assert all(len(block["label"]["text"]) <= 150 for block in inputs)
    assert dialog["private_metadata"] == one.id
    for answer in (answers.deciding(), answers.broken(), cards.approved(one)):
        assert faults_in_view(modals.page(answer)) == []


@pytest.mark.parametrize("word", ["patching", "<!channel>", "```\n<!channel>\n```", "&" * 4000, "x" * 10_000])
@pytest.mark.parametrize("has_to_say_why", [True, False])
def test_slack_takes_the_dialog_of_a_restore(word: str, has_to_say_why: bool) -> None:
    kept = World(word).kept()[0]
    dialog = snapshots.modal(kept, LATER, has_to_say_why=has_to_say_why)
    assert faults_in_view(dialog) == []
    assert [wrong_in(text) for text in texts(dialog)] == [[]] * len(list(texts(dialog)))
    assert (dialog["private_metadata"], dialog["blocks"][-1]["optional"]) == (kept.content.id, not has_to_say_why)


def test_what_is_lost_for_good_is_said_first_and_in_red_and_what_is_only_at_risk_after_it() -> None:
    one = World("data-mysql-set-0", claims=3).approval(asked=World("data-mysql-set-0", claims=3).losing())
    dialog = cards.modal(one)
    assert faults_in_view(dialog) == []
    first, named, risk = dialog["blocks"][:3]
    assert (first["type"], first["level"]) == ("alert", "error")
    assert "LOST FOR GOOD with this delete" in first["text"]["text"]
    assert "data-mysql-set-0-1 and data-mysql-set-0-2: *what is on it is unknown" in named["text"]["text"]
    assert risk["text"]["text"].startswith("*Lost only if a kept volume and its snapshot are lost*")
    shown = "\n".join(texts(dialog))
    assert shown.count("LOST FOR GOOD") == 1
    assert "• data-mysql-set-0-1: *no way back*: its volume pv-data-mysql-set-0-1 is gone" in shown
    assert "no snapshot of data-mysql-set-0-1: its volume pv-data-mysql-set-0-1 is gone" in shown
    card = words(cards.live(one, []))
    headline, alarm, *_ = card.split("\n")
    assert "Delete prod?" in headline
    assert alarm.startswith(":rotating_light: *LOST FOR GOOD")
    decided = words(cards.live(replace(one, state=ApprovalState.DENIED), []))
    assert "LOST FOR GOOD" not in decided, "nothing was done"


def test_the_plainer_dialog_says_the_same_in_blocks_that_every_workspace_knows() -> None:
    dialog = cards.modal(World("patching").approval(asked=World("patching").losing()))
    plainer = modals.plainer(dialog)
    assert faults_in_view(plainer) == []
    assert "alert" not in {block["type"] for block in plainer["blocks"]}
    assert plainer["blocks"][0]["text"]["text"].startswith(":red_circle: ")
    assert len(list(texts(plainer))) == len(list(texts(dialog)))


def test_a_delete_of_three_zones_and_sixty_claims_names_each_volume_and_its_way_back() -> None:
    big = World("data-mysql-set-0", zones=3, claims=60)
    card, dialog = words(cards.live(big.approval(), [])), "\n".join(texts(cards.modal(big.approval())))
    for number in range(60):
        line = f"• data-mysql-set-0-{number}: volume pv-data-mysql-set-0-{number}, 10Gi, the claim's uid uid-{number}\n"
        assert line in f"{card}\n"
        assert line in f"{dialog}\n"
    thread = finish(replace(big.done(Verb.DELETE), phase="remove-claims"))
    assert all(f"• data-mysql-set-0-{number} → pv-data-mysql-set-0-{number} (10Gi)" in thread for number in range(60))


def test_the_buttons_of_a_card_are_kept_when_it_has_to_be_cut() -> None:
    card = cards.live(World("&" * 500, zones=3, claims=60).approval(), [])
    assert len(card["blocks"]) <= BLOCK_LIMIT
    buttons, footer = card["blocks"][-2:]
    assert [one["action_id"] for one in buttons["elements"]] == ["approve", "deny", "withdraw"]
    assert "ap-000001" in str(footer)


BUTTONS = {ApprovalState.PENDING: ["approve", "deny", "withdraw"], ApprovalState.APPROVED: ["run"]}


HEADLINES = {
    ApprovalState.PENDING: "Delete prod? Needs one more person's yes",
    ApprovalState.APPROVED: "Approved, not begun: delete prod",
    ApprovalState.EXECUTED: "Approved and begun: delete prod (op-000001)",
    ApprovalState.DENIED: "Denied: delete prod. Nothing was done",
    ApprovalState.EXPIRED: "Expired: delete prod. Nothing was done",
    ApprovalState.WITHDRAWN: "Withdrawn: delete prod. Nothing was done",
    ApprovalState.VOID: "Void: delete prod. Nothing was done",
}


@pytest.mark.parametrize("state", ApprovalState)
def test_a_card_says_how_it_stands_and_has_the_buttons_that_do_something(state: ApprovalState) -> None:
    card = cards.live(World("moving").approval(state), [])
    assert card["text"] == HEADLINES[state]
    shown = [one["action_id"] for block in card["blocks"] if block["type"] == "actions" for one in block["elements"]]
    assert shown == BUTTONS.get(state, [])
    assert ("*Ways back*" in words(card)) is (state in BUTTONS), "a plan that is not carried out is no news"
    assert "<@U0ALICE> asks to delete *prod*, because moving" in words(card)
    assert f"<@U0BOB> said {'no' if state is ApprovalState.DENIED else 'yes'}" in words(card)


def test_the_thread_of_an_approval_says_who_said_what() -> None:
    world = World("patching")
    lines = words(cards.thread(world.approval(), world.said()) or {}).splitlines()
    assert lines[:4] == [
        ":white_check_mark: <@U0ALICE> said yes: patching",
        ":white_check_mark: <@U0ALICE> said yes",
        ":no_entry: <@U0ALICE> said no: patching. Nothing was done",
        ":leftwards_arrow_with_hook: <@U0ALICE> took it back. Nothing was done",
    ]
    assert ":bell: still open, <!subteam^S0LEADS> and <@U0BOB>: it expires soon" in lines
    assert ":bell: no decision yet, so these are asked now: <!subteam^S0LEADS> and <@U0BOB>" in lines
    assert lines[-1] == ":arrow_forward: begun as op-000001"
