"""Slack shows what the database says, whatever goes wrong between the two."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from bot.views import operation as views
from lifecycle.operation import Operation
from sandbox.slack import Away
from storage.database import Database, StorageError
from storage.messages import Messages
from tests.bot.house import FAST, PATIENCE, House, running, until

FAULTS = {
    "500": lambda faults, method: faults.answers(method, 500),
    "503": lambda faults, method: faults.answers(method, 503),
    "429": lambda faults, method: faults.answers(method, 429, retry_after=0),
    "dropped before": lambda faults, method: faults.drops_before(method),
    "dropped after": lambda faults, method: faults.drops_after(method, times=2),
}
METHODS = ("chat.postMessage", "chat.update", "conversations.history", "conversations.replies")


@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_is_posted_twice_and_nothing_is_missing(house: House, fault: str) -> None:
    """For each method at the beginning, in the middle and at the end of a story."""
    async with running(house.projector()):
        for number, method in enumerate(METHODS):
            await a_story_with(house, f"op-00000{number}", lambda m=method: FAULTS[fault](house.slack.faults, m))


async def a_story_with(house: House, identity: str, breaks: Callable[[], None]) -> None:
    breaks()
    operation = await house.begun(identity)
    await house.live(text=f"Stopping {operation.cluster}")
    for number, _ in enumerate(operation.goal.scope):
        if number == 1:
            breaks()
        await house.goes_on(operation)
    breaks()
    await house.ends(operation)
    await house.told(operation)


@pytest.mark.parametrize("how", Away)
async def test_slack_goes_away_and_comes_back(house: House, how: Away) -> None:
    async with running(house.projector()):
        operation = await house.begun()
        await house.live()
        await house.goes_on(operation)
        house.slack.faults.goes_away(how)
        before = house.client.tries
        for _ in operation.goal.scope.workloads[1:]:
            await house.goes_on(operation)
        await house.ends(operation)
        await until(lambda: tried(house, before), "somebody to notice")
        house.slack.faults.comes_back()
        await house.told(operation)


async def tried(house: House, before: int) -> bool:
    return house.client.tries > before


async def test_a_busy_bot_does_not_hammer_a_slack_that_is_away(house: House) -> None:
    async with running(house.projector(replace(FAST, trouble=60.0))):
        operation = await house.begun()
        await house.live()
        await until(house.nothing_is_due, "the beginning to be told")
        house.slack.faults.goes_away()
        before = house.client.tries
        await house.whole(operation)
        await until(lambda: tried(house, before), "one try")
        assert house.client.tries <= before + 2, "one for what was due first, at most one more that was on its way"


@pytest.mark.parametrize("why", ["not_in_channel", "channel_not_found", "is_archived"])
async def test_a_channel_that_cannot_be_written_to_stops_no_other_and_is_tried_again(house: House, why: str) -> None:
    place = house.slack.add_channel("quiet", bot=why == "is_archived", private=why == "channel_not_found")
    place.is_archived = why == "is_archived"
    async with running(house.projector()):
        quiet, loud = await house.begun("op-000001", "C0QUIET"), await house.begun("op-000002", "C0OPS")
        await house.whole(quiet)
        await house.whole(loud)
        await house.told_alone(loud)
        await house.slack.until(lambda s: why in str([call.result for call in s.calls]), PATIENCE, why)
        place.members.add(house.slack.bot_user_id)
        place.is_archived = False
        await house.told(quiet)


@pytest.mark.parametrize("who", ["the message", "the whole thread"])
async def test_a_message_that_somebody_deleted_silences_neither_its_channel_nor_its_thread(
    house: House, who: str
) -> None:
    async with running(house.projector()):
        gone, other = await house.begun("op-000001"), await house.begun("op-000002")
        live = await house.live(text="Stopping prod-1")
        await house.live(text="Stopping prod-2")
        await until(house.nothing_is_due, "the beginning to be told")
        for message in [live, *(house.replies(live) if who == "the whole thread" else [])]:
            message.deleted = True
        await asyncio.gather(house.whole(gone), house.whole(other))
        await house.told(other)
    assert "is stopped*" in str([reply.blocks for reply in house.replies(live)]) or who == "the whole thread"
    assert len(house.posted()) == 1, "nobody's deletion is undone"


async def test_a_defect_in_telling_of_one_operation_silences_no_other(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = views.live

    def broken(operation: Operation, entries: Any) -> Any:
        if operation.id == "op-000001":
            raise KeyError("a defect")
        return real(operation, entries)

    monkeypatch.setattr(views, "live", broken)
    async with running(house.projector()):
        one, other = await house.begun("op-000001"), await house.begun("op-000002")
        await house.whole(one)
        await house.whole(other)
        await house.told_alone(other)
        monkeypatch.setattr(views, "live", real)
        await house.told(one)


async def test_a_verdict_gets_through_without_details_that_slack_does_not_take(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = views.live

    def too_new(operation: Operation, entries: Any) -> Any:
        return {**real(operation, entries), "blocks": [{"type": "a block of next year"}]}

    monkeypatch.setattr(views, "live", too_new)
    async with running(house.projector()):
        operation = await house.begun()
        await house.whole(operation)
        live = await house.told(operation)
    assert "/tml status prod-1" in str(live.blocks)


@pytest.mark.parametrize("content_type", ["text/plain", "text/html", "application/json"])
async def test_a_proxy_that_answers_in_slacks_place_is_waited_out(house: House, content_type: str) -> None:
    answered = asyncio.Event()

    async def bad_gateway(_request: web.Request) -> web.Response:
        answered.set()
        return web.Response(text="<h1>Bad gateway</h1>", status=502, content_type=content_type)

    async with serving(bad_gateway) as url:
        house.client.base_url = url
        async with running(house.projector()):
            operation = await house.begun()
            await asyncio.wait_for(answered.wait(), PATIENCE)
            house.client.base_url = house.slack.url
            await house.whole(operation)
            await house.told(operation)


@asynccontextmanager
async def serving(answer: Callable[[web.Request], Any]) -> AsyncIterator[str]:
    application = web.Application()
    application.add_routes([web.route("*", "/{any:.*}", answer)])
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/api/"
    finally:
        await runner.cleanup()


class Unwell(Messages):
    """A database that is locked now and then."""

    def __init__(self, database: Database, which: Collection[str]) -> None:
        super().__init__(database)
        self.which = set(which)

    def _perhaps(self, name: str) -> None:
        if name in self.which:
            self.which.remove(name)
            raise StorageError("the database did not do it: database is locked")

    async def due(self) -> Any:
        self._perhaps("due")
        return await super().due()

    async def posted_first(self, *arguments: Any) -> bool:
        self._perhaps("posted_first")
        return await super().posted_first(*arguments)

    async def entries_of(self, subject: str) -> Any:
        self._perhaps("entries_of")
        return await super().entries_of(subject)


@pytest.mark.parametrize("which", [["due"], ["posted_first", "entries_of"]], ids=str)
async def test_a_database_that_is_locked_for_a_moment_ends_nothing_and_doubles_nothing(
    house: House, which: list[str]
) -> None:
    unwell = Unwell(house.store.database, which)
    async with running(house.projector(messages=unwell)):
        one, other = await house.begun("op-000001", "C0OPS"), await house.begun("op-000002", "C0PROD")
        await house.whole(one)
        await house.whole(other)
        await house.told(one)
        await house.told(other)
        unwell.which = set(which)
        third = await house.begun("op-000003", "C0OPS")
        await house.whole(third)
        await house.told(third)
    assert not unwell.which
