"""What Slack is to show and what it shows already; the difference is the projector's work."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Row, or_, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from lifecycle.model import Place
from storage.audit import Entry, Recorded, append, recorded_of
from storage.database import TOLD, Database
from storage.tables import audit, messages

LIVE = "live"
"""The entry that is the subject's own message; every other one is a line in its thread."""


@dataclass(frozen=True)
class Message:
    """One message: ``entry`` is 'live' or an audit entry's seq as text, ``ts`` None until Slack has it."""

    subject: str
    entry: str
    wanted: int
    posted: int
    team: str
    channel: str
    ts: str | None

    @property
    def is_due(self) -> bool:
        return self.wanted > self.posted


@dataclass(frozen=True)
class Due:
    """All that is to be posted or changed of one subject: the live message first, then its thread in order.

    ``place`` is where; its ``ts`` is the live message's, None as long as that was never posted.
    """

    subject: str
    place: Place
    messages: tuple[Message, ...]


async def want(connection: AsyncConnection, subject: str, entry: str, place: Place) -> None:
    """Let the projector post this message, or post it anew, once the caller's transaction is committed."""
    row = {"subject": subject, "entry": entry, "seq": 0 if entry == LIVE else int(entry)}
    statement = insert(messages).values(**row, wanted_version=1, team=place.team, channel=place.channel)
    newer = {"wanted_version": messages.c.wanted_version + 1}
    await connection.execute(statement.on_conflict_do_update(index_elements=["subject", "entry"], set_=newer))
    connection.info[TOLD] = True


async def tell(connection: AsyncConnection, entry: Entry, at: datetime) -> int:
    """Append to the audit log, want a line in the subject's thread and the live message anew; returns the seq."""
    if entry.subject is None or entry.place is None:
        raise ValueError(f"{entry.kind} cannot be told: it has no subject or no place")
    seq = await append(connection, entry, at)
    await want(connection, entry.subject, LIVE, entry.place)
    await want(connection, entry.subject, str(seq), entry.place)
    return seq


class Messages:
    """The projector's side of the table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self) -> list[Due]:
        """Every subject with something to post: those without a new line in their thread, then the oldest line's."""
        waiting = select(messages.c.subject).where(messages.c.wanted_version > messages.c.posted_version)
        query = select(messages).where(messages.c.subject.in_(waiting)).order_by(messages.c.subject, messages.c.seq)
        async with self._database.reading() as connection:
            found = [_message(row) for row in await connection.execute(query)]
        dues = [_due(subject, list(own)) for subject, own in groupby(found, key=lambda message: message.subject)]
        return sorted(dues, key=_first_line)

    async def posted(self, subject: str, entries: Sequence[str], versions: Sequence[int], channel: str, ts: str) -> int:
        """These entries are in the one message ``ts``, as of these versions; returns how many rows that was news to.

        A version that is posted already, or a newer one, stays, and so does the message that an entry is in: two
        projectors cannot undo each other's work.
        """
        async with self._database.transaction() as connection:
            return await _posted(connection, subject, entries, versions, channel, ts)

    async def posted_first(
        self, subject: str, entries: Sequence[str], versions: Sequence[int], channel: str, ts: str
    ) -> bool:
        """The same of a message that was just made; False, and nothing is written, where another has any of them."""
        elsewhere = select(messages.c.entry).where(
            messages.c.subject == subject, messages.c.entry.in_(entries), messages.c.ts != ts
        )
        async with self._database.transaction() as connection:
            if await connection.scalar(elsewhere) is not None:
                return False
            await _posted(connection, subject, entries, versions, channel, ts)
            return True

    async def live(self, subject: str) -> Message | None:
        """The subject's own message."""
        query = select(messages).where(messages.c.subject == subject, messages.c.entry == LIVE)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _message(row)

    async def entries_of(self, subject: str) -> tuple[Recorded, ...]:
        """All that the audit log has on the subject, oldest first: what its messages are rendered from."""
        query = select(audit).where(audit.c.subject == subject).order_by(audit.c.seq)
        async with self._database.reading() as connection:
            return tuple(recorded_of(row) for row in await connection.execute(query))


async def _posted(
    connection: AsyncConnection, subject: str, entries: Sequence[str], versions: Sequence[int], channel: str, ts: str
) -> int:
    changed = 0
    for entry, version in zip(entries, versions, strict=True):
        statement = (
            update(messages)
            .where(messages.c.subject == subject, messages.c.entry == entry)
            .where(messages.c.posted_version < version, messages.c.wanted_version >= version)
            .where(or_(messages.c.ts.is_(None), messages.c.ts == ts))
            .values(posted_version=version, channel=channel, ts=ts)
        )
        changed += (await connection.execute(statement)).rowcount
    return changed


def _message(row: Row[Any]) -> Message:
    return Message(
        subject=row.subject,
        entry=row.entry,
        wanted=row.wanted_version,
        posted=row.posted_version,
        team=row.team,
        channel=row.channel,
        ts=row.ts,
    )


def _due(subject: str, own: list[Message]) -> Due:
    first = own[0]
    place = Place(first.team, first.channel, first.ts if first.entry == LIVE else None)
    return Due(subject, place, tuple(message for message in own if message.is_due))


def _first_line(due: Due) -> int:
    return min((int(message.entry) for message in due.messages if message.entry != LIVE), default=0)
