"""What a purge writes and what it must find, in the transactions of whoever begins or ends one."""

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import takewhile

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from lifecycle.errors import PurgeVoid
from lifecycle.model import Place, Verb
from lifecycle.operation import Operation, State
from lifecycle.retention import Purging
from storage.audit import Entry
from storage.messages import tell
from storage.moments import stored
from storage.tables import notices, operations, pins, purged

SET = "set"
VOLUMES = "volumes"
RESTORES = (Verb.RESTORE.value, Verb.RESTORE_IN_PLACE.value)
OPEN = "open"
BEGUN = "begun"


def is_purged(what: str, of: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether the set, or the kept volumes, of the operation in this column are gone for good."""
    return select(purged.c.operation).where(purged.c.what == what, purged.c.operation == of).exists()


async def require_purgeable(connection: AsyncConnection, cluster: str, purging: Purging) -> None:
    """Raises PurgeVoid where what goes was pinned, restored, purged or needed since it was looked at."""
    if needed := sorted({*purging.sets, *purging.deletes} & await restoring(connection, cluster)):
        raise PurgeVoid(f"A restore that needs {needed[0]} has not come to its end.")
    for what, ids in ((SET, purging.sets), (VOLUMES, purging.deletes)):
        gone = select(purged.c.operation).where(purged.c.what == what, purged.c.operation.in_(ids))
        if found := (await connection.execute(gone.limit(1))).scalar_one_or_none():
            raise PurgeVoid(f"What {found} kept was purged already.")
    pinned = select(pins.c.operation).where(pins.c.operation.in_(purging.sets)).limit(1)
    if found := (await connection.execute(pinned)).scalar_one_or_none():
        raise PurgeVoid(f"Set {found} was pinned meanwhile, so it stays.")
    if back := await returned(connection, purging.deletes):
        raise PurgeVoid(f"What {back[0]} removed was restored meanwhile, so nothing of it is purged.")


async def restoring(connection: AsyncConnection, cluster: str) -> frozenset[str]:
    """What restores need that run, or that failed and were not followed by one that reached its goal.

    Operations: that took the set, that kept the volumes, and the restore itself, whose safety set it is.
    """
    query = select(operations.c.id, operations.c.state, operations.c.goal)
    query = query.where(operations.c.cluster == cluster, operations.c.verb.in_(RESTORES))
    newest = (await connection.execute(query.order_by(operations.c.number.desc()))).all()
    needed = set()
    for row in takewhile(lambda one: one.state != State.DONE.value, newest):
        goal = json.loads(row.goal)
        needed |= {row.id, goal.get("chosen", ""), goal.get("source", "")}
    return frozenset(needed - {""})


async def returned(connection: AsyncConnection, ids: Sequence[str]) -> list[str]:
    """Those of these operations whose kept volumes a restore has bound again; one from a set leaves them kept."""
    if not ids:
        return []
    ours = select(operations.c.cluster).where(operations.c.id.in_(ids))
    query = select(operations.c.goal).where(
        operations.c.verb == Verb.RESTORE.value,
        operations.c.state == State.DONE.value,
        operations.c.cluster.in_(ours),
    )
    goals = [json.loads(goal) for goal in (await connection.execute(query)).scalars()]
    sources = {goal.get("source", "") for goal in goals if not goal.get("chosen")}
    return [one for one in ids if one in sources]


async def close_notices(connection: AsyncConnection, operation: Operation, at: datetime) -> None:
    """Those of what the operation purges: there is nothing to keep longer any more."""
    assert operation.goal.purging
    query = select(notices).where(notices.c.deletion.in_(operation.goal.purging.deletes), notices.c.state == OPEN)
    for row in (await connection.execute(query)).all():
        ended = {"state": BEGUN, "ended_at": stored(at), "operation": operation.id}
        await connection.execute(update(notices).where(notices.c.number == row.number).values(**ended))
        place = Place(row.place_team, row.place_channel)
        data = {"operation": operation.id, "delete": row.deletion}
        await tell(connection, Entry("notice-begun", None, row.cluster, row.id, place, data), at)


async def write_purged(connection: AsyncConnection, operation: Operation, at: datetime) -> None:
    """At the end of a purge that reached its goal; of no other operation anything."""
    purging = operation.goal.purging
    for what, ids in ((SET, purging.sets), (VOLUMES, purging.deletes)) if purging else ():
        for one in ids:
            row = {"what": what, "operation": one, "purge": operation.id, "at": stored(at)}
            await connection.execute(insert(purged).values(**row).on_conflict_do_nothing())
