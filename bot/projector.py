"""Closes the difference between what Slack shows and what the database says. Nothing else posts or changes messages."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack_trouble import UNREACHED, code_of, is_passing, named, status_of
from bot.views.blocks import Message as Rendered
from lifecycle.model import Place
from storage.audit import Recorded
from storage.database import Database, StorageError
from storage.messages import LIVE, Due, Messages
from storage.messages import Message as Line

log = structlog.get_logger(__name__)

EVENT = "tml_bot_message"
"""The type of the metadata by which a message is found again when Slack's answer got lost."""

SWEEP = 30.0
"""Seconds after which the table is looked at although nobody told of a change."""

HOPELESS = frozenset(
    {
        "account_inactive",
        "channel_not_found",
        "invalid_auth",
        "is_archived",
        "missing_scope",
        "not_authed",
        "not_in_channel",
        "restricted_action",
        "token_revoked",
    }
)
"""Answers about the channel or the app that only people can mend; tried again once in a while."""

OUT_OF_REACH = frozenset(
    {"cannot_reply_to_message", "cant_update_message", "edit_window_closed", "message_not_found", "thread_not_found"}
)
"""The message cannot be changed or answered any more: mostly somebody deleted it."""

UNSHOWABLE = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long"})
"""Slack does not take the details; the verdict gets through without them."""

SKEW = timedelta(hours=1)
"""How far this machine's clock may be ahead of Slack's when a message is looked for."""

LINES = 20
"""Of a thread in one reply; more of them may not fit into one message."""


class Subject(Protocol):
    """What can be told of an operation or an approval, from the record alone."""

    @property
    def since(self) -> datetime:
        """No message of it is older."""

    def live(self, entries: Sequence[Recorded]) -> Rendered:
        """Its own message."""

    def thread(self, entries: Sequence[Recorded]) -> Rendered | None:
        """One reply for these entries; None when they have nothing to say."""

    def bare(self) -> Rendered:
        """In place of a message that Slack does not take."""


class Limited(Exception):
    """Slack answered 429; ``seconds`` are left to wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"limited for {seconds:.1f} s")
        self.seconds = seconds


@dataclass(frozen=True)
class Pace:
    """Seconds between two calls: posts of a channel (Slack: about one a second), updates of one message.

    Slack allows at least 50 chat.update a minute in a whole workspace; ``all_updates`` apart make it 48.
    """

    posts: float = 1.0
    updates: float = 3.0
    all_updates: float = 1.25
    hopeless: float = 60.0
    trouble: float = 2.0


@dataclass
class Projector:
    """One per process. What is due is read again each time, so that a restart is no special case."""

    client: AsyncWebClient
    database: Database
    messages: Messages
    subject_of: Callable[[str], Awaitable[Subject]]
    """By the id that its messages carry."""
    monotonic: Callable[[], float]
    pace: Pace = field(default_factory=Pace)
    _not_before: dict[str, float] = field(default_factory=dict)
    """The monotonic time before which something rests: a channel, its posts, a subject, its updates, all updates."""
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
        async with asyncio.TaskGroup() as group:  # who is cancelled ends only when each of them has
            telling = [group.create_task(self._channel(channel, own)) for channel, own in channels.items()]
        return min([SWEEP, *(one.result() for one in telling)])

    async def _channel(self, channel: str, dues: Sequence[Due]) -> float:
        """One channel's subjects, one after another; a channel that has to wait holds up no other."""
        return min([self._until(channel) or self._until(due.subject) or await self._subject(due) for due in dues])

    async def _subject(self, due: Due) -> float:
        """Whatever goes wrong with one subject, the others are told of. Where it is unknown what Slack has, look."""
        try:
            return await self._bring_up_to_date(due)
        except Limited as limit:
            return limit.seconds
        except SlackApiError as error:
            wait = self._refused(due, error)
        except UNREACHED as error:
            log.warning("slack did not answer", subject=due.subject, reason=repr(error))
            wait = self._rest(due.place.channel, self._some_time())
        except StorageError:
            log.exception("what slack shows could not be read or written down", subject=due.subject)
            wait = self._rest(due.place.channel, self._some_time())
        except Exception:  # a defect in telling of one operation must not silence the others
            log.exception("an operation cannot be told", subject=due.subject)
            wait = self._rest(due.subject, self.pace.hopeless)
        self._settled.discard(due.subject)
        return wait

    async def _bring_up_to_date(self, due: Due) -> float:
        """The live message first: the thread hangs on it, and its notification is what wakes people."""
        entries = await self.messages.entries_of(due.subject)
        subject = await self.subject_of(due.subject)
        live = next((message for message in due.messages if message.entry == LIVE), None)
        lines = [message for message in due.messages if message.entry != LIVE][:LINES]
        unsettled = due.subject not in self._settled and (due.place.ts is None or lines)
        if unsettled and await self._found_again(due, subject.since):
            return 0.0
        if live and due.place.ts is None:
            return await self._post(due, subject, subject.live(entries), [live])
        waits = [SWEEP]
        if live:
            waits.append(await self._update(due, subject, live, subject.live(entries)))
        if lines:
            waits.append(await self._thread(due, subject, lines, subject.thread(_chosen(entries, lines))))
        return min(waits)

    async def _update(self, due: Due, subject: Subject, live: Line, rendered: Rendered) -> float:
        """Change the live message, not more often than the pace allows; the last state always gets through."""
        assert due.place.ts is not None
        own = f"updates of {due.subject}"
        if wait := max(self._until(own), self._until("updates")):
            return wait
        self._rest(own, self.pace.updates)
        self._rest("updates", self.pace.all_updates)
        where = {"channel": due.place.channel, "ts": due.place.ts}
        try:
            await self._say(self.client.chat_update, "updates", subject, rendered, where)
        except Limited as limit:
            return limit.seconds  # the thread need not wait for it
        except SlackApiError as error:
            self._give_up_on_what_is_gone(due, error)
        await self._write_down(due, [live], due.place.ts)
        return SWEEP

    async def _thread(self, due: Due, subject: Subject, lines: Sequence[Line], reply: Rendered | None) -> float:
        """Lines that are due in one reply; lines that say nothing are done at once."""
        assert due.place.ts is not None
        if reply is None:
            await self._write_down(due, lines, due.place.ts)
            return 0.0
        try:
            return await self._post(due, subject, reply, lines)
        except SlackApiError as error:
            self._give_up_on_what_is_gone(due, error)
            await self._write_down(due, lines, due.place.ts)
            return 0.0

    def _give_up_on_what_is_gone(self, due: Due, error: SlackApiError) -> None:
        """A message that somebody deleted stays deleted: what it would say is in `history` and the audit log."""
        if code_of(error) not in OUT_OF_REACH:
            raise error
        log.error("a message is out of reach", subject=due.subject, channel=due.place.channel, reason=code_of(error))

    async def _post(self, due: Due, subject: Subject, rendered: Rendered, lines: Sequence[Line]) -> float:
        """Post one message, as soon as the channel's pace allows, with the mark by which it is found again."""
        posts = f"posts to {due.place.channel}"
        if wait := self._until(posts):
            return wait
        self._rest(posts, self.pace.posts)
        mark = {"subject": due.subject, "entries": ",".join(line.entry for line in lines)}
        where = {
            "channel": due.place.channel,
            "thread_ts": due.place.ts,
            "metadata": {"event_type": EVENT, "event_payload": mark},
            "unfurl_links": False,
        }
        answer = await self._say(self.client.chat_postMessage, posts, subject, rendered, where)
        self._settled.add(due.subject)
        ts = str(answer["ts"])
        if not await self._written_down_first(due, lines, ts):
            # another process on this database was a moment faster with some of it: what is left is due again
            await self.client.chat_delete(channel=due.place.channel, ts=ts)
        return 0.0

    async def _say(
        self,
        call: Callable[..., Awaitable[Any]],
        limited: str,
        subject: Subject,
        rendered: Rendered,
        where: dict[str, Any],
    ) -> Any:
        """One call; ``limited`` is what rests when Slack answers 429. Raises Limited and what the client raises."""
        try:
            return await call(**where, **rendered)
        except SlackApiError as error:
            if status_of(error) == 429:
                raise Limited(self._rest(limited, _asked(error))) from error
            if code_of(error) not in UNSHOWABLE:
                raise
            log.error("slack did not take a message", reason=code_of(error), answer=str(error))
            return await call(**where, **subject.bare())

    async def _write_down(self, due: Due, lines: Sequence[Line], ts: str) -> int:
        names, versions = [line.entry for line in lines], [line.wanted for line in lines]
        return await self.messages.posted(due.subject, names, versions, due.place.channel, ts)

    async def _written_down_first(self, due: Due, lines: Sequence[Line], ts: str) -> bool:
        names, versions = [line.entry for line in lines], [line.wanted for line in lines]
        return await self.messages.posted_first(due.subject, names, versions, due.place.channel, ts)

    async def _found_again(self, due: Due, since: datetime) -> bool:
        """Write down the messages of this subject that Slack has and the table has not: an answer was lost."""
        found = 0
        for message in await self._in_slack(due, since):
            if entries := _marked(message, due.subject):
                versions = [1] * len(entries)
                found += await self.messages.posted(
                    due.subject, entries, versions, due.place.channel, str(message["ts"])
                )
        self._settled.add(due.subject)
        return found > 0

    async def _in_slack(self, due: Due, since: datetime) -> list[dict[str, Any]]:
        """All that the channel has since the operation began, or all of its thread."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            answer = await self._page(due, since, cursor)
            found += answer["messages"]
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return found

    async def _page(self, due: Due, since: datetime, cursor: str | None) -> Any:
        channel, ts = due.place.channel, due.place.ts
        if ts is None:
            oldest = f"{(since - SKEW).timestamp():.6f}"
            return await self.client.conversations_history(
                channel=channel, oldest=oldest, cursor=cursor, include_all_metadata=True, limit=100
            )
        try:
            return await self.client.conversations_replies(
                channel=channel, ts=ts, cursor=cursor, include_all_metadata=True, limit=100
            )
        except SlackApiError as error:
            self._give_up_on_what_is_gone(due, error)
            return {"messages": []}

    def _refused(self, due: Due, error: SlackApiError) -> float:
        """How long to leave what an answer was about alone: the channel, or this subject only."""
        if status_of(error) == 429:
            return self._rest(due.place.channel, _asked(error))
        log.error("slack refused a message", subject=due.subject, channel=due.place.channel, reason=named(error))
        if code_of(error) in HOPELESS:
            return self._rest(due.place.channel, self.pace.hopeless)
        if is_passing(error):
            return self._rest(due.place.channel, self._some_time())
        return self._rest(due.subject, self.pace.hopeless)

    def _some_time(self) -> float:
        return self.pace.trouble * random.uniform(0.5, 1.5)

    def _rest(self, what: str, seconds: float) -> float:
        """Leave it alone for so long, or longer where that was asked for before; returns the seconds."""
        now = self.monotonic()
        self._not_before[what] = max(self._not_before.get(what, now), now + seconds)
        return self._not_before[what] - now

    def _until(self, what: str) -> float:
        """Seconds for which this is to be left alone; 0 when it need not."""
        left = self._not_before.get(what, 0.0) - self.monotonic()
        if left <= 0:
            self._not_before.pop(what, None)
            return 0.0
        return left


def _asked(error: SlackApiError) -> float:
    return float(error.response.headers.get("Retry-After", 1))


def _marked(message: dict[str, Any], subject: str) -> list[str]:
    """The entries that a message of this subject tells."""
    metadata = message.get("metadata") or {}
    mark = metadata.get("event_payload") or {}
    if metadata.get("event_type") != EVENT or mark.get("subject") != subject:
        return []
    return str(mark.get("entries", "")).split(",")


def _chosen(entries: Sequence[Recorded], lines: Sequence[Line]) -> list[Recorded]:
    names = {line.entry for line in lines}
    return [entry for entry in entries if str(entry.seq) in names]


async def permalink(client: AsyncWebClient, place: Place) -> str | None:
    """The address of a message that people can open; None when Slack does not say."""
    if place.ts is None:
        return None
    try:
        answer = await client.chat_getPermalink(channel=place.channel, message_ts=place.ts)
    except UNREACHED:
        return None
    return str(answer["permalink"])
