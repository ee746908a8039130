"""Closes the difference between what Slack shows and what the database says. Nothing else posts or changes messages."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from bot.views import operation as views
from bot.views.blocks import Message as Rendered
from lifecycle.model import Place
from storage.audit import Recorded
from storage.database import Database, StorageError
from storage.messages import LIVE, Due, Messages
from storage.messages import Message as Line
from storage.operations import Operations

log = structlog.get_logger(__name__)

EVENT = "tml_bot_message"
"""The type of the metadata by which a message is found again when Slack's answer got lost."""

SWEEP = 30.0
"""Seconds after which the table is looked at although nobody told of a change."""

HOPELESS = frozenset({"channel_not_found", "not_in_channel", "is_archived", "restricted_action", "missing_scope"})
"""Answers that only people can mend; tried again once in a while."""


@dataclass(frozen=True)
class Pace:
    """Seconds between two calls: posts of a channel (Slack: about one a second), updates of one message."""

    posts: float = 1.0
    updates: float = 3.0
    hopeless: float = 60.0
    trouble: float = 2.0


@dataclass
class Projector:
    """One per process. What is due is read again each time, so that a restart is no special case."""

    client: AsyncWebClient
    database: Database
    messages: Messages
    operations: Operations
    monotonic: Callable[[], float]
    pace: Pace = field(default_factory=Pace)
    _not_before: dict[str, float] = field(default_factory=dict)
    """By channel, by live message and for all updates: the monotonic time before which Slack is left alone."""
    _settled: set[str] = field(default_factory=set)
    """Subjects of which it is certain that every message Slack has is in the table."""

    async def run(self) -> None:
        """Project until cancelled. Trouble with Slack or the database is waited out, never raised."""
        while True:
            try:
                wait = await self.close_gaps()
            except StorageError:
                log.exception("what is due could not be read")
                wait = self.pace.trouble
            await self.database.changes.changed(wait)

    async def close_gaps(self) -> float:
        """Post and change what may be posted and changed now; returns the seconds until there may be more to do."""
        dues = await self.messages.due()
        channels: dict[str, list[Due]] = {}
        for due in dues:
            channels.setdefault(due.place.channel, []).append(due)
        waits = await asyncio.gather(*(self._channel(own) for own in channels.values()))
        return min([SWEEP, *waits])

    async def _channel(self, dues: Sequence[Due]) -> float:
        """One channel's subjects, one after another; a channel that has to wait holds up no other."""
        waits = [await self._subject(due) for due in dues]
        return min(waits)

    async def _subject(self, due: Due) -> float:
        try:
            return await self._bring_up_to_date(due)
        except SlackApiError as error:
            return self._refused(due, error)
        except (SlackClientError, aiohttp.ClientError, TimeoutError) as error:
            self._settled.discard(due.subject)
            log.warning("slack did not answer", subject=due.subject, reason=repr(error))
            return self._rest(due.place.channel, self.pace.trouble * random.uniform(0.5, 1.5))
        except StorageError:
            self._settled.discard(due.subject)  # Slack may have what the table has not
            raise

    async def _bring_up_to_date(self, due: Due) -> float:
        """The live message first: the thread hangs on it."""
        entries = await self.messages.entries_of(due.subject)
        operation = await self.operations.get(due.subject)
        assert operation is not None  # its messages are wanted in the transaction that begins it
        live = next((message for message in due.messages if message.entry == LIVE), None)
        lines = [message for message in due.messages if message.entry != LIVE]
        if due.subject not in self._settled and (due.place.ts is None or lines) and await self._found_again(due):
            return 0.0
        if live and due.place.ts is None:
            if wait := self._until(due.place.channel):
                return wait
            ts = await self._post(due, views.live(operation, entries), [LIVE])
            await self.messages.posted(due.subject, [LIVE], [live.wanted], due.place.channel, ts)
            return 0.0
        waits = [SWEEP]
        if lines:
            waits.append(await self._thread(due, lines, views.thread(operation, _chosen(entries, lines))))
        if live:
            waits.append(await self._update(due, live.wanted, views.live(operation, entries)))
        return min(waits)

    async def _thread(self, due: Due, lines: Sequence[Line], reply: Rendered | None) -> float:
        """All lines that are due in one reply; lines that say nothing are done at once."""
        assert due.place.ts is not None
        names, versions = [line.entry for line in lines], [line.wanted for line in lines]
        if reply is None:
            await self.messages.posted(due.subject, names, versions, due.place.channel, due.place.ts)
            return SWEEP
        if wait := self._until(due.place.channel):
            return wait
        ts = await self._post(due, reply, names)
        await self.messages.posted(due.subject, names, versions, due.place.channel, ts)
        return self.pace.posts

    async def _update(self, due: Due, version: int, rendered: Rendered) -> float:
        """Change the live message, not more often than the pace allows; the last state always gets through."""
        assert due.place.ts is not None
        if wait := max(self._until(due.subject), self._until("updates")):
            return wait
        self._rest(due.subject, self.pace.updates)
        try:
            await self.client.chat_update(channel=due.place.channel, ts=due.place.ts, **rendered)
        except SlackApiError as error:
            if error.response.status_code != 429:
                raise
            return self._rest("updates", _asked(error))
        await self.messages.posted(due.subject, [LIVE], [version], due.place.channel, due.place.ts)
        return SWEEP

    async def _post(self, due: Due, rendered: Rendered, entries: Sequence[str]) -> str:
        self._rest(due.place.channel, self.pace.posts)
        answer = await self.client.chat_postMessage(
            channel=due.place.channel,
            thread_ts=due.place.ts,
            metadata={"event_type": EVENT, "event_payload": {"subject": due.subject, "entries": ",".join(entries)}},
            unfurl_links=False,
            **rendered,
        )
        self._settled.add(due.subject)
        return str(answer["ts"])

    async def _found_again(self, due: Due) -> bool:
        """Write down the messages of this subject that Slack has and the table has not: an answer was lost."""
        found = False
        for message in await self._in_slack(due):
            payload = message.get("metadata", {}).get("event_payload", {})
            if message.get("metadata", {}).get("event_type") == EVENT and payload.get("subject") == due.subject:
                entries = str(payload.get("entries", "")).split(",")
                news = await self.messages.posted(
                    due.subject, entries, [1] * len(entries), due.place.channel, message["ts"]
                )
                found = found or news > 0
        self._settled.add(due.subject)
        return found

    async def _in_slack(self, due: Due) -> list[dict[str, Any]]:
        if due.place.ts is None:
            answer = await self.client.conversations_history(
                channel=due.place.channel, include_all_metadata=True, limit=100
            )
        else:
            answer = await self.client.conversations_replies(
                channel=due.place.channel, ts=due.place.ts, include_all_metadata=True, limit=200
            )
        return list(answer["messages"])

    def _refused(self, due: Due, error: SlackApiError) -> float:
        if error.response.status_code == 429:
            return self._rest(due.place.channel, _asked(error))
        self._settled.discard(due.subject)
        code = str(error.response.get("error", error.response.status_code))
        log.error("slack refused a message", subject=due.subject, channel=due.place.channel, reason=code)
        return self._rest(due.place.channel, self.pace.hopeless if code in HOPELESS else self.pace.trouble)

    def _rest(self, what: str, seconds: float) -> float:
        self._not_before[what] = self.monotonic() + seconds
        return seconds

    def _until(self, what: str) -> float:
        """Seconds for which this is to be left alone; 0 when it need not."""
        left = self._not_before.get(what, 0.0) - self.monotonic()
        if left <= 0:
            self._not_before.pop(what, None)
            return 0.0
        return left


def _asked(error: SlackApiError) -> float:
    return float(error.response.headers.get("Retry-After", 1))


def _chosen(entries: Sequence[Recorded], lines: Sequence[Line]) -> list[Recorded]:
    names = {line.entry for line in lines}
    return [entry for entry in entries if str(entry.seq) in names]


async def permalink(client: AsyncWebClient, place: Place) -> str | None:
    """The address of a message that people can open; None when Slack does not say."""
    if place.ts is None:
        return None
    try:
        answer = await client.chat_getPermalink(channel=place.channel, message_ts=place.ts)
    except (SlackApiError, aiohttp.ClientError, TimeoutError):
        return None
    return str(answer["permalink"])
