"""A hold, as people type it and see it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bot.office import Office, an_office
from tests.bot.test_cancelling import running
from tests.e2e.town import approval_in, words_of
from tests.storage.conftest import a_stop


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with an_office(tmp_path) as made:
        yield made


async def held(office: Office, cluster: str = "staging") -> None:
    assert f"{cluster} is held (ho-" in words_of(await office.types("alice", f"hold {cluster} the auditors are here"))


COMMANDS = ["stop", "start", "restart", "snapshot", "verify", "restore", "purge", "delete"]


@pytest.mark.parametrize("verb", COMMANDS)
async def test_nothing_can_be_begun_or_asked_for_while_it_is_held_and_the_answer_says_who_and_why(
    office: Office, verb: str
) -> None:
    await held(office)
    answer = words_of(await office.types("carol", f"{verb} staging because of something"))
    assert "staging is held (ho-" in answer
    assert "the auditors are here" in answer
    assert "held by <@U0ALICE>" in answer
    assert "`/tml release staging`" in answer
    await office.assert_untouched()


async def test_a_card_from_before_the_hold_begins_nothing_and_stays(office: Office) -> None:
    card = await office.types("alice", "stop prod")
    await held(office, "prod")
    assert "prod is held" in words_of(await office.presses("alice", "confirm", card))
    await office.assert_untouched()
    await office.types("alice", "release prod")
    await office.presses("alice", "confirm", card)
    assert len(office.starter.begun) == 1


async def test_what_was_approved_before_the_hold_waits_for_its_end(office: Office) -> None:
    identity = approval_in(words_of(await office.types("alice", "delete secret because it moves")))
    await held(office, "secret")
    answer = words_of(await office.types("carol", f"approve {identity} secret"))
    assert "is approved, but could not begin: secret is held" in answer
    assert office.starter.begun == []


async def test_it_is_shown_wherever_the_cluster_is_shown(office: Office) -> None:
    await held(office)
    for words in ("list", "status staging", "snapshots staging", "plan stop staging"):
        assert "held by <@U0ALICE>" in words_of(await office.types("dave", words)), words


async def test_any_operator_lets_go_and_others_may_neither_hold_nor_let_go(office: Office) -> None:
    assert "This is for operators" in words_of(await office.types("dave", "hold staging for fun"))
    await held(office)
    assert "This is for operators" in words_of(await office.types("dave", "release staging"))
    assert "staging is held no more" in words_of(await office.types("carol", "release staging"))
    await office.types("carol", "stop staging")
    assert len(office.starter.begun) == 1


async def test_a_hold_takes_a_reason_and_is_not_held_twice(office: Office) -> None:
    assert "Why?" in words_of(await office.types("alice", "hold staging"))
    await held(office)
    assert "staging is held (ho-" in words_of(await office.types("carol", "hold staging because of me too"))
    assert len(await office.store.audit.entries(kinds=["held"])) == 1


async def test_what_runs_goes_on_and_can_be_cancelled(office: Office) -> None:
    await running(office, a_stop())
    answer = words_of(await office.types("alice", "hold staging the auditors are here"))
    assert "op-000001 goes on; `/tml cancel op-000001` ends it" in answer
    assert "no new step is taken" in words_of(await office.types("alice", "cancel staging"))
