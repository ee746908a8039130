"""Slack shows what the database says: once, in order, and at the pace that Slack allows."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bot.projector import LINES, Projector
from sandbox.slack import Limits, Rate
from storage.database import Database
from storage.messages import LIVE, Due, Messages
from tests.bot.house import FAST, PATIENCE, House, a_house, running, until
from tests.fakes.database import a_database


async def test_the_live_message_is_posted_once_and_then_only_changed(house: House) -> None:
    async with running(house.projector()):
        operation = await house.begun()
        live = await house.live()
        assert live.text == "Stopping prod-1: patching"
        await house.whole(operation)
        assert await house.told(operation) is live
    assert len(house.posted()) == 1
    assert all("blocks" in call.arguments for call in house.slack.called("chat.update")), "or Slack removes them"


async def test_what_is_due_at_once_is_one_reply_and_in_order(house: House) -> None:
    operation = await house.begun()
    await house.whole(operation)
    async with running(house.projector()):
        live = await house.told(operation)
    (reply,) = house.replies(live)
    words = str(reply.blocks)
    places = [words.index(part) for part in ("*Plan*", "nosql stopped", "tm stopped", "*prod-1 is stopped*")]
    assert places == sorted(places), "as they came"


async def test_more_lines_than_fit_into_one_reply_are_several_in_order(house: House) -> None:
    operation = await house.begun()
    for number in range(2 * LINES + 5):
        operation = await house.store.journal.take(operation, f"bot-{number % 2}", operation.epoch + 1)
    await house.whole(operation)
    async with running(house.projector()):
        live = await house.told(operation)
    assert len(house.replies(live)) == 3
    assert all(len(reply.blocks) <= 50 for reply in house.replies(live))


async def test_updates_are_paced_and_the_last_state_always_gets_through(house: House) -> None:
    pace = replace(FAST, updates=0.2)
    operation = await house.begun()
    async with running(house.projector(pace)):
        await house.live()
        await house.whole(operation)
        live = await house.told(operation)
    assert ":white_check_mark: *nosql* stopped" in str(live.blocks)
    moments = [call.at for call in house.slack.called("chat.update")]
    assert all(after - before >= 0.19 for before, after in pairwise(moments))


async def test_a_channel_that_slack_limits_holds_up_no_other_and_rests_as_long_as_slack_asks(tmp_path: Path) -> None:
    limits = Limits({"chat.postMessage": Rate(1, 1.0, per_channel=True)})
    async with a_house(tmp_path, limits) as house, running(house.projector()):
        await house.client.chat_postMessage(channel="C0OPS", text="uses the channel's second up")
        await house.begun("op-000001", "C0OPS")
        await house.begun("op-000002", "C0PROD")
        await house.live("C0PROD", "Stopping prod-2")
        assert len(house.posted("C0OPS")) == 1, "the other is through while this one has to wait"
        await house.live("C0OPS", "Stopping prod-1")
        calls = [call for call in house.slack.called("chat.postMessage") if call.arguments["channel"] == "C0OPS"]
        refused = next(call for call in calls if call.status == 429)
        following = calls[calls.index(refused) + 1]
        assert following.at - refused.at >= 1.0, "Retry-After is obeyed"
        assert [call.status for call in calls[:3]] == [200, 429, 200]


async def test_while_updates_are_limited_the_thread_goes_on_and_the_verdict_follows(house: House) -> None:
    operation = await house.begun()
    async with running(house.projector()):
        await house.live()
        house.slack.faults.answers("chat.update", 429, retry_after=2)
        await house.whole(operation)
        await house.told(operation)
    first, second = house.slack.called("chat.update")[:2]
    assert (first.status, second.status) == (429, 200)
    assert second.at - first.at >= 2.0
    thread = [call.at for call in house.slack.called("chat.postMessage") if "is stopped*" in str(call.arguments)]
    assert first.at < thread[0] < second.at


async def test_a_longer_rest_is_not_cut_short_by_another_subjects_trouble(house: House) -> None:
    one, other = await house.begun("op-000001"), await house.begun("op-000002")
    async with running(house.projector()):
        await house.live(text="Stopping prod-1")
        await house.live(text="Stopping prod-2")
        await until(house.nothing_is_due, "a quiet channel")
        house.slack.faults.answers("chat.postMessage", 429, retry_after=1)
        house.slack.faults.answers("chat.update", 503, times=3)
        await asyncio.gather(house.whole(one), house.whole(other))
        await asyncio.gather(house.told(one), house.told(other))
    calls = house.slack.called("chat.postMessage")
    refused = next(call for call in calls if call.status == 429)
    assert calls[calls.index(refused) + 1].at - refused.at >= 1.0


async def test_a_restart_goes_on_in_the_same_message(house: House, tmp_path: Path) -> None:
    async with running(house.projector()):
        operation = await house.begun()
        live = await house.live()
        await house.goes_on(operation)
    for _ in operation.goal.scope.workloads[1:]:
        await house.goes_on(operation)
    await house.ends(operation)
    async with (
        a_database(tmp_path / "tml-bot.db") as database,
        running(house.projector(database=database)),
    ):
        assert await house.told(operation) is live


class DiesBeforeItsNote(Messages):
    """Slack has the message, the table never hears of it: the process ends at the note with this number."""

    def __init__(self, database: Database, note: int) -> None:
        super().__init__(database)
        self.left = note
        self.died = asyncio.Event()

    async def posted(self, *arguments: Any) -> int:
        await self._note()
        return await super().posted(*arguments)

    async def posted_first(self, *arguments: Any) -> bool:
        await self._note()
        return await super().posted_first(*arguments)

    async def _note(self) -> None:
        self.left -= 1
        if self.left < 0:
            self.died.set()
            await asyncio.Event().wait()


@pytest.mark.parametrize("note", range(4))
async def test_a_process_that_dies_before_it_notes_what_it_posted_posts_nothing_twice(house: House, note: int) -> None:
    operation = await house.begun()
    await house.goes_on(operation)
    dying = DiesBeforeItsNote(house.store.database, note)
    async with running(house.projector(messages=dying)):
        if note > 1:  # the live message and a first reply are noted by then
            await until(house.nothing_is_due, "the first part")
            await house.goes_on(operation)
        await asyncio.wait_for(dying.died.wait(), PATIENCE)
    async with running(house.projector()):
        while len(house.down[operation.id]) < len(operation.goal.scope):
            await house.goes_on(operation)
        await house.ends(operation)
        await house.told(operation)


@pytest.mark.parametrize("note", [0, 1], ids=["the live message", "a line"])
async def test_a_lost_message_is_found_though_people_talked_on(house: House, note: int) -> None:
    operation = await house.begun()
    dying = DiesBeforeItsNote(house.store.database, note)
    async with running(house.projector(messages=dying)):
        live = await house.live()
        await asyncio.wait_for(dying.died.wait(), PATIENCE)
    alice = house.slack.person("alice")
    for number in range(230):
        alice.says(f"what now? {number}", "ops", live if note else None)
    async with running(house.projector()):
        await house.whole(operation)
        assert await house.told(operation) is live


async def test_two_projectors_on_one_database_do_not_undo_each_other(house: House, tmp_path: Path) -> None:
    async with a_database(tmp_path / "tml-bot.db") as database:
        both = (house.projector(), house.projector(database=database))
        operations = [await house.begun(f"op-00000{number}", "C0OPS") for number in range(1, 4)]
        await asyncio.gather(*(one.close_gaps() for one in both))
        await until(lambda: _close(both, house), "both to be through")
        lives = {message.text: message.ts for message in house.posted()}
        assert len(house.posted()) == len(lives) == 3, "one message each"
        for operation in operations:
            await house.whole(operation)
        await until(lambda: _close(both, house), "both to be through")
        for operation in operations:
            live = await house.told(operation)
            assert live.ts in lives.values(), "still the same messages"
            row = await house.store.messages.live(operation.id)
            assert row is not None
            assert row.ts == live.ts


class IsLate(Messages):
    """Between what it sees to be due and its note, another process tells the first of it."""

    def __init__(self, database: Database, other: Projector) -> None:
        super().__init__(database)
        self._other = other

    async def due(self) -> list[Due]:
        found = await super().due()
        if lines := [message for due in found for message in due.messages if message.entry != LIVE][:1]:
            (due,) = found
            place, subject = due.place, await self._other.subject_of(due.subject)
            reply = subject.thread(
                [one for one in await self.entries_of(due.subject) if str(one.seq) == lines[0].entry]
            )
            assert reply is not None
            answer = await self._other.client.chat_postMessage(channel=place.channel, thread_ts=place.ts, **reply)
            names, versions = [lines[0].entry], [lines[0].wanted]
            await super().posted(due.subject, names, versions, place.channel, str(answer["ts"]))
        return found


async def test_lines_that_another_process_told_in_part_are_told_once_each(house: House) -> None:
    operation = await house.begun()
    async with running(house.projector()):
        live = await house.live()
        await until(house.nothing_is_due, "the beginning")
    await house.goes_on(operation)
    await house.goes_on(operation)
    await house.projector(messages=IsLate(house.store.database, house.projector())).close_gaps()
    await house.projector().close_gaps()
    words = "\n".join(str(reply.blocks) for reply in house.replies(live))
    assert sorted(re.findall(r"(\w+) stopped", words)) == ["nosql", "sql"]


async def _close(both: Sequence[Projector], house: House) -> bool:
    await asyncio.gather(*(one.close_gaps() for one in both))
    return await house.nothing_is_due()


async def test_messages_of_before_the_operation_are_not_read(house: House) -> None:
    async with running(house.projector()):
        operation = await house.begun()
        await house.live()
    (call,) = house.slack.called("conversations.history")
    oldest = datetime.fromtimestamp(float(call.arguments["oldest"]), UTC)
    assert timedelta(0) <= operation.begun_at - oldest <= timedelta(hours=2)
    row = await house.store.messages.live(operation.id)
    assert row is not None
    assert row.entry == LIVE
