"""The snapshot sets that were seen ready to restore from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, Select, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from lifecycle.operation import Operation
from lifecycle.plain import canonical, from_plain, to_plain
from lifecycle.snapshots import SnapshotSet
from lifecycle.verification import Verification
from lifecycle.volumes import Snapshot
from storage.database import Database
from storage.moments import stored
from storage.operations import operation_of
from storage.purging import SET, is_purged
from storage.tables import operations, snapshot_sets


@dataclass(frozen=True)
class Kept:
    """A set with the operation that took it: who asked for it, and why."""

    content: SnapshotSet
    operation: Operation
    verification: Verification | None = None
    """The newest that said something of its data; else the newest that there was."""


class SnapshotSets:
    """The table of sets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, cluster: str) -> tuple[Kept, ...]:
        """The cluster's sets that were not purged, newest first."""
        query = _sets().where(snapshot_sets.c.cluster == cluster, ~is_purged(SET, snapshot_sets.c.operation))
        query = query.order_by(operations.c.begun_at.desc(), operations.c.id.desc())
        async with self._database.reading() as connection:
            return tuple(_kept(row) for row in await connection.execute(query))

    async def get(self, cluster: str, identity: str) -> Kept | None:
        """The cluster's set of this id, unless it was purged."""
        kept = await self.find(identity)
        return kept if kept and kept.operation.cluster == cluster else None

    async def find(self, identity: str) -> Kept | None:
        """The set of this id, of whichever cluster, unless it was purged."""
        query = _sets().where(snapshot_sets.c.operation == identity, ~is_purged(SET, snapshot_sets.c.operation))
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _kept(row)


async def write_set(connection: AsyncConnection, operation: Operation, taken: SnapshotSet) -> bool:
    """In the caller's transaction; False where it was written before."""
    statement = insert(snapshot_sets).values(
        operation=operation.id,
        cluster=operation.cluster,
        content=canonical(to_plain(taken)),
    )
    return bool((await connection.execute(statement.on_conflict_do_nothing())).rowcount)


async def rewrite_members(
    connection: AsyncConnection, identity: str, found: Sequence[Snapshot]
) -> tuple[Snapshot, ...]:
    """In the caller's transaction: other snapshots for the same data. What they were before; empty where all was so."""
    own = snapshot_sets.c.operation == identity
    recorded = (await connection.execute(select(snapshot_sets.c.content).where(own))).scalar_one()
    taken = from_plain(SnapshotSet, json.loads(recorded))
    now = {one.claim: one for one in found}
    members = tuple(_stood_for(member, now.get(member.claim)) for member in taken.members)
    before = tuple(old for old, new in zip(taken.members, members, strict=True) if old != new)
    if before:
        content = canonical(to_plain(replace(taken, members=members)))
        await connection.execute(update(snapshot_sets).where(own).values(content=content))
    return before


def _stood_for(member: Snapshot, now: Snapshot | None) -> Snapshot:
    """When it was cut, and how large it is, stays as it was seen then."""
    return replace(member, uid=now.uid, content=now.content) if now else member


async def write_verification(connection: AsyncConnection, found: Verification) -> None:
    """In the caller's transaction. A test that says nothing of the data hides none that did."""
    own = snapshot_sets.c.operation == found.set
    known = _verification(await connection.scalar(select(snapshot_sets.c.verdict).where(own)))
    if known and known.is_conclusive and not found.is_conclusive:
        return
    columns = {"verified_at": stored(found.at), "verified_by": found.by, "verdict": canonical(to_plain(found))}
    await connection.execute(update(snapshot_sets).where(own).values(**columns))


def _verification(text: str | None) -> Verification | None:
    return from_plain(Verification, json.loads(text)) if text else None


def _sets() -> Select[Any]:
    columns = (snapshot_sets.c.content, snapshot_sets.c.verdict)
    return select(operations, *columns).join(snapshot_sets, snapshot_sets.c.operation == operations.c.id)


def _kept(row: Row[Any]) -> Kept:
    return Kept(from_plain(SnapshotSet, json.loads(row.content)), operation_of(row), _verification(row.verdict))
