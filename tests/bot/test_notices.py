"""Whoever may decide is told so directly, once; and nothing depends on it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
import structlog

from bot import notices
from bot.access import DirectoryUnavailable, Profile
from bot.notices import Notices
from bot.projector import permalink
from lifecycle.approval import Approval, Decision, Terms
from lifecycle.model import Person
from sandbox.slack import Away
from tests.bot.house import House, a_house, running, until
from tests.e2e.town import words_of
from tests.storage.test_approvals import ASKED

TERMS = Terms(1, (("@S0LEADS", "U0BOB", "U0ALICE"), ("@S0CHIEFS",)), reason_required=True)


@dataclass
class Groups:
    """A directory that knows groups; None: it cannot say."""

    members_of: dict[str, frozenset[str] | None] = field(default_factory=dict)

    async def profile(self, person: Person) -> Profile:
        return Profile(person.team)

    async def members(self, group: str) -> frozenset[str]:
        found = self.members_of.get(group, frozenset())
        if found is None:
            raise DirectoryUnavailable(retry=True, reason="ratelimited")
        return found


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(tmp_path) as made:
        for name in ("bob", "carol", "dave"):
            made.slack.add_user(name)
        yield made


def notices_in(house: House, **members: frozenset[str] | None) -> Notices:
    return Notices(house.client, Groups(members), house.store.messages, partial(permalink, house.client))


async def asked(house: House, approval: Approval = ASKED) -> Approval:
    return await house.store.approvals.ask(replace(approval, terms=TERMS))


async def sent(told: Notices) -> None:
    async def nothing_left() -> bool:
        return not told._tasks

    await until(nothing_left, "every notice")


def received(house: House, person: str) -> list[str]:
    return [words_of(one) for one in house.slack.person(person).direct_messages]


async def test_each_approver_is_told_once_with_the_card_and_the_requester_is_not(house: House) -> None:
    approval = await asked(house)
    told = notices_in(house, S0LEADS=frozenset({"U0BOB", "U0CAROL", "U0ALICE"}))
    async with running(house.projector()):
        told.tell(approval, approval.asked)
        await sent(told)
    for person in ("bob", "carol"):
        (text,) = received(house, person)
        assert f"prod: your yes or no to a stop is asked for ({approval.id})" in text
        assert "<@U0ALICE> asks to stop *prod*, because moved away" in text
        assert "|Open the card>" in text
    assert received(house, "alice") == received(house, "dave") == []


async def test_who_said_yes_already_is_not_asked_again(house: House) -> None:
    said = replace(await asked(house), decisions=(Decision(Person("T0TML", "U0BOB"), True, ASKED.made_at),))
    told = notices_in(house, S0LEADS=frozenset({"U0BOB", "U0CAROL"}))
    async with running(house.projector()):
        told.tell(said, said.asked)
        await sent(told)
    assert (len(received(house, "bob")), len(received(house, "carol"))) == (0, 1)


async def test_a_card_that_does_not_come_holds_up_no_notice(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "CARD_POSTED", 0.05)
    told = notices_in(house)
    approval = await asked(house)
    told.tell(approval, ["U0BOB"])
    await sent(told)
    (text,) = received(house, "bob")
    assert "Its card is in <#C0OPS>" in text


async def test_a_group_that_cannot_be_read_is_logged_and_the_others_are_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "CARD_POSTED", 0.0)
    told = notices_in(house, S0LEADS=None, S0CHIEFS=frozenset({"U0CAROL"}))
    approval = await asked(house)
    with structlog.testing.capture_logs() as logged:
        told.tell(approval, ["@S0LEADS", "U0BOB", "@S0CHIEFS"])
        await sent(told)
    assert [one["event"] for one in logged] == ["a group of approvers could not be read"]
    assert logged[0]["group"] == "@S0LEADS"
    assert [len(received(house, person)) for person in ("bob", "carol")] == [1, 1]


@pytest.mark.parametrize("fault", ["429", "503", "dropped"])
async def test_one_who_cannot_be_told_keeps_nobody_else_from_being_told(
    house: House, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(notices, "CARD_POSTED", 0.0)
    told = notices_in(house)
    approval = await asked(house)
    if fault == "dropped":
        house.slack.faults.drops_before("chat.postMessage")
    else:
        house.slack.faults.answers("chat.postMessage", int(fault))
    with structlog.testing.capture_logs() as logged:
        told.tell(approval, ["U0BOB", "U0CAROL"])
        await sent(told)
    assert [(one["event"], one["user"]) for one in logged] == [("an approver was not told", "U0BOB")]
    assert [len(received(house, person)) for person in ("bob", "carol")] == [0, 1]


async def test_a_slack_that_is_away_is_logged_and_nothing_else_breaks(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "CARD_POSTED", 0.0)
    told = notices_in(house)
    approval = await asked(house)
    house.slack.faults.goes_away(Away.HANGS_UP)
    with structlog.testing.capture_logs() as logged:
        told.tell(approval, ["U0BOB", "U0CAROL"])
        await sent(told)
    assert {one["event"] for one in logged} == {"an approver was not told"}
    house.slack.faults.comes_back()
    told.tell(approval, ["U0BOB"])
    await sent(told)
    assert len(received(house, "bob")) == 1


async def test_what_is_not_sent_at_the_end_stays_unsent(house: House) -> None:
    told = notices_in(house)
    told.tell(await asked(house), ["U0BOB"])
    await told.close()
    assert received(house, "bob") == []
    assert not told._tasks
