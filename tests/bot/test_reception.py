"""Not more at once than can be answered, and nobody while the bot ends."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.reception import AT_ONCE, Reception, Restarting, TooMany
from sandbox.slack import SlackSandbox
from tests.bot.office import PATIENCE, Office, an_office
from tests.e2e.town import words_of


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with an_office(tmp_path) as made:
        yield made


def test_there_is_room_again_when_somebody_leaves_even_by_an_error() -> None:
    reception = Reception(at_once=1)

    def breaks() -> None:
        with reception.let_in():
            with pytest.raises(TooMany), reception.let_in():
                pass
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        breaks()
    with reception.let_in():
        pass


def test_who_is_inside_when_it_closes_may_finish_and_nobody_comes_in_any_more() -> None:
    reception = Reception()
    with reception.let_in():
        reception.close()
        with pytest.raises(Restarting), reception.let_in():
            pass
    with pytest.raises(Restarting), reception.let_in():
        pass


async def test_of_more_commands_than_there_is_room_for_each_is_answered_or_refused(office: Office) -> None:
    office.doors["staging"].speaks.clear()
    alice = office.slack.person("alice")
    asked = [asyncio.create_task(alice.types("/tml status staging", "ops")) for _ in range(2 * AT_ONCE)]

    def turned_away(slack: SlackSandbox) -> bool:
        return len(slack.called("response_url")) == AT_ONCE

    await office.slack.until(turned_away, PATIENCE, "half of them to be turned away")
    office.doors["staging"].speaks.set()
    replies = [await one for one in asked]
    said = [words_of((await one.answers(1, timeout=PATIENCE))[-1]) for one in replies]
    refused = [one for one in said if "asked too much at once" in one]
    answered = [one for one in said if "staging is running" in one]
    assert len(refused) + len(answered) == 2 * AT_ONCE
    assert len(answered) == AT_ONCE
    assert "staging is running" in words_of(await office.types("alice", "status staging"))


async def test_while_it_ends_a_command_a_press_and_a_modal_are_told_to_come_back(office: Office) -> None:
    card = await office.types("alice", "stop prod")
    assert office.desk
    office.desk.reception.close()
    assert "The bot is restarting" in words_of(await office.types("alice", "stop staging"))
    assert "The bot is restarting" in words_of(await office.presses("alice", "confirm", card))
    assert [one.data["code"] for one in await office.refusals()] == ["restarting"] * 2
    await office.assert_untouched()
    await office.restart()
    await office.presses("alice", "confirm", card)
    assert len(office.starter.begun) == 1
