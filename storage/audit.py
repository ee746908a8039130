"""The audit log: append-only, each entry bound to the one before it by its hash."""

import json
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from lifecycle.model import Person, Place
from lifecycle.plain import canonical, digest, rfc3339, to_plain
from lifecycle.ports import Clock
from storage.database import Database
from storage.moments import moment_of, stored
from storage.tables import audit, audit_head

GENESIS = "genesis"
"""The kind of the first entry; no other entry has it."""

NO_HASH = "0" * 64
"""What the first entry has in place of the hash of the one before."""


@dataclass(frozen=True)
class Entry:
    """What is to be recorded; ``actor`` None is the bot itself, ``data`` plain JSON without floating point."""

    kind: str
    actor: Person | None = None
    cluster: str | None = None
    subject: str | None = None
    place: Place | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recorded:
    """An entry as it stands in the log."""

    seq: int
    at: datetime
    kind: str
    actor: Person | None
    cluster: str | None
    subject: str | None
    place: Place | None
    data: Mapping[str, Any]
    prev_hash: str
    hash: str


@dataclass(frozen=True)
class Head:
    """The newest entry; posted outside, it shows later that the newest entries were cut off."""

    seq: int
    hash: str
    at: datetime


@dataclass(frozen=True)
class BadEntry:
    """The first entry that is not as it was written, and what is wrong with it."""

    seq: int
    wrong: str


async def append(connection: AsyncConnection, entry: Entry, at: datetime) -> int:
    """Add the entry in the caller's transaction and return its seq.

    Its time is ``at``, or the newest entry's when that is later. An empty log gets its genesis entry first.
    Raises ValueError for a naive ``at`` and for data that has no canonical JSON.
    """
    stored(at)
    newest = await _newest(connection)
    if newest is None:
        genesis = Entry(GENESIS, data={"hash": "SHA-256 of canonical JSON (RFC 8785)"})
        newest = await _write(connection, genesis, Head(0, NO_HASH, at))
        await connection.execute(insert(audit_head).values(single=1, **_columns_of(newest)))
    head = await _write(connection, entry, Head(newest.seq, newest.hash, max(at, newest.at)))
    await connection.execute(update(audit_head).values(**_columns_of(head)))
    return head.seq


async def moment(connection: AsyncConnection, clock: Clock) -> datetime:
    """Now, but never earlier than the newest entry: a clock that jumps back revives nothing and reorders nothing."""
    newest = await _newest(connection)
    return clock.now() if newest is None else max(clock.now(), newest.at)


async def _newest(connection: AsyncConnection) -> Head | None:
    row = (await connection.execute(select(audit_head))).one_or_none()
    return None if row is None else Head(row.seq, row.hash, moment_of(row.at))


async def _write(connection: AsyncConnection, entry: Entry, before: Head) -> Head:
    """Write the entry after ``before``, at the time that ``before`` carries, and return the new head."""
    seq = before.seq + 1
    data = to_plain(entry.data)
    fingerprint = _hash(seq, before.at, entry, data, before.hash)
    await connection.execute(
        insert(audit).values(
            seq=seq,
            at=stored(before.at),
            kind=entry.kind,
            actor_team=entry.actor and entry.actor.team,
            actor_user=entry.actor and entry.actor.user,
            cluster=entry.cluster,
            subject=entry.subject,
            place_team=entry.place and entry.place.team,
            place_channel=entry.place and entry.place.channel,
            place_ts=entry.place and entry.place.ts,
            data=canonical(data),
            prev_hash=before.hash,
            hash=fingerprint,
        )
    )
    return Head(seq, fingerprint, before.at)


def _columns_of(head: Head) -> dict[str, Any]:
    return {"seq": head.seq, "hash": head.hash, "at": stored(head.at)}


def _hash(seq: int, at: datetime, entry: Entry | Recorded, data: Any, prev_hash: str) -> str:
    return digest(
        {
            "seq": seq,
            "at": rfc3339(at),
            "kind": entry.kind,
            "actor": to_plain(entry.actor),
            "cluster": entry.cluster,
            "subject": entry.subject,
            "place": to_plain(entry.place),
            "data": data,
            "prev_hash": prev_hash,
        }
    )


def recorded_of(row: Row[Any]) -> Recorded:
    """The entry in this row of the table ``audit``."""
    return Recorded(
        seq=row.seq,
        at=moment_of(row.at),
        kind=row.kind,
        actor=None if row.actor_team is None else Person(row.actor_team, row.actor_user),
        cluster=row.cluster,
        subject=row.subject,
        place=None if row.place_team is None else Place(row.place_team, row.place_channel, row.place_ts),
        data=json.loads(row.data),
        prev_hash=row.prev_hash,
        hash=row.hash,
    )


class AuditLog:
    """The log as a whole: to record what changes no state, to read and to verify."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def record(self, entry: Entry) -> int:
        """Append in a transaction of its own: for refusals, which change nothing else."""
        async with self._database.transaction() as connection:
            return await append(connection, entry, self._clock.now())

    async def entries(
        self,
        subject: str | None = None,
        cluster: str | None = None,
        kinds: Collection[str] | None = None,
        *,
        newest_first: bool = True,
        limit: int = 100,
        before: int | None = None,
    ) -> tuple[Recorded, ...]:
        """At most ``limit`` entries with seq below ``before``."""
        query = select(audit).order_by(audit.c.seq.desc() if newest_first else audit.c.seq).limit(limit)
        if subject is not None:
            query = query.where(audit.c.subject == subject)
        if cluster is not None:
            query = query.where(audit.c.cluster == cluster)
        if kinds is not None:
            query = query.where(audit.c.kind.in_(kinds))
        if before is not None:
            query = query.where(audit.c.seq < before)
        async with self._database.reading() as connection:
            return tuple(recorded_of(row) for row in await connection.execute(query))

    async def head(self) -> Head | None:
        """The newest entry's seq, hash and time; None while nothing was ever recorded."""
        async with self._database.reading() as connection:
            return await _newest(connection)

    async def verify(self) -> BadEntry | None:
        """The first entry that was changed, removed, put in or moved, by the chain and its head; None: all is well."""
        async with self._database.reading() as connection:
            last, fingerprint = 0, NO_HASH
            async with aclosing(_rows(connection)) as rows:
                async for row in rows:
                    if wrong := _wrong_with(row, last, fingerprint):
                        return wrong
                    last, fingerprint = row.seq, row.hash
            return _wrong_with_head(await _newest(connection), last, fingerprint)


async def _rows(connection: AsyncConnection) -> AsyncGenerator[Row[Any], None]:
    async with connection.stream(select(audit).order_by(audit.c.seq)) as rows:
        async for row in rows:
            yield row


def _wrong_with(row: Row[Any], last: int, fingerprint: str) -> BadEntry | None:
    if row.seq > last + 1:
        return BadEntry(last + 1, f"entry {last + 1} is missing: entry {row.seq} comes next")
    if row.seq <= last:
        return BadEntry(row.seq, f"entry {row.seq} was put in: no entry has a number below 1")
    if _hash_of(row) != row.hash:
        return BadEntry(row.seq, f"entry {row.seq} was changed: its content does not have its hash")
    if row.prev_hash != fingerprint:
        return BadEntry(row.seq, f"entry {row.seq} was put in or moved: it does not follow the entry before it")
    return None


def _hash_of(row: Row[Any]) -> str | None:
    """The hash its content should have; None for content that was never written by this program."""
    try:
        entry = recorded_of(row)
        if canonical(entry.data) != row.data:
            return None  # the same to a JSON reader, perhaps, but not to everybody
        return _hash(entry.seq, entry.at, entry, entry.data, entry.prev_hash)
    except (ValueError, TypeError, OverflowError):
        return None


def _wrong_with_head(head: Head | None, last: int, fingerprint: str) -> BadEntry | None:
    if head is None:
        return BadEntry(last, "the head is missing") if last else None
    if head.seq > last:
        return BadEntry(last + 1, f"entry {last + 1} is missing: the log was cut off, its head is entry {head.seq}")
    if head.seq < last:
        return BadEntry(head.seq + 1, f"entry {head.seq + 1} was put in: the head is entry {head.seq}")
    if head.hash != fingerprint:
        return BadEntry(last, f"entry {last} was exchanged: the head has another hash")
    return None
