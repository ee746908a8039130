"""The holds: at most one on a cluster, and nothing begins under it."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Row, Select, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from lifecycle.hold import ClusterHeld, Hold, NotHeld
from lifecycle.model import Person, Place
from lifecycle.ports import Clock
from storage.audit import Entry, moment
from storage.database import Database
from storage.ids import IdTaken
from storage.messages import tell
from storage.moments import moment_of, perhaps, stored
from storage.tables import holds


class Holds:
    """Every hold and its end is told in the cluster's channel and is in the audit log."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def hold(self, identity: str, cluster: str, person: Person, place: Place, reason: str) -> Hold:
        """``place`` is where it is told. Raises ClusterHeld where somebody does already, and IdTaken."""
        async with self._database.transaction() as connection:
            await require_free(connection, cluster)
            at = await moment(connection, self._clock)
            made = Hold(identity, cluster, person, place, reason, at)
            if not (await connection.execute(insert(holds).values(**_columns(made)).on_conflict_do_nothing())).rowcount:
                raise IdTaken(identity)
            await tell(connection, Entry("held", person, cluster, identity, place, {"reason": reason}), at)
            return made

    async def release(self, cluster: str, person: Person) -> Hold:
        """By whoever it is. Raises NotHeld."""
        async with self._database.transaction() as connection:
            found = await _open_on(connection, cluster)
            if found is None:
                raise NotHeld(cluster)
            at = await moment(connection, self._clock)
            ended = {"released_at": stored(at), "released_team": person.team, "released_user": person.user}
            await connection.execute(update(holds).where(holds.c.id == found.id).values(**ended))
            await tell(connection, Entry("released", person, cluster, found.id, found.place, {}), at)
            return await _get(connection, found.id)

    async def on(self, cluster: str) -> Hold | None:
        """The hold that is not let go yet."""
        async with self._database.reading() as connection:
            return await _open_on(connection, cluster)

    async def on_each(self, clusters: Collection[str]) -> Mapping[str, Hold]:
        """Of those of these that are held."""
        async with self._database.reading() as connection:
            rows = await connection.execute(_open().where(holds.c.cluster.in_(clusters)))
            return {row.cluster: _hold(row) for row in rows}

    async def get(self, identity: str) -> Hold:
        """ClusterHeld or let go; it has to exist."""
        async with self._database.reading() as connection:
            return await _get(connection, identity)


async def require_free(connection: AsyncConnection, cluster: str) -> None:
    """Raises ClusterHeld."""
    if found := await _open_on(connection, cluster):
        raise ClusterHeld(found)


def _open() -> Select[Any]:
    return select(holds).where(holds.c.released_at.is_(None))


async def _open_on(connection: AsyncConnection, cluster: str) -> Hold | None:
    row = (await connection.execute(_open().where(holds.c.cluster == cluster))).one_or_none()
    return None if row is None else _hold(row)


async def _get(connection: AsyncConnection, identity: str) -> Hold:
    return _hold((await connection.execute(select(holds).where(holds.c.id == identity))).one())


def _columns(made: Hold) -> dict[str, Any]:
    return {
        "id": made.id,
        "cluster": made.cluster,
        "person_team": made.person.team,
        "person_user": made.person.user,
        "place_team": made.place.team,
        "place_channel": made.place.channel,
        "reason": made.reason,
        "since": stored(made.since),
    }


def _hold(row: Row[Any]) -> Hold:
    return Hold(
        id=row.id,
        cluster=row.cluster,
        person=Person(row.person_team, row.person_user),
        place=Place(row.place_team, row.place_channel),
        reason=row.reason,
        since=moment_of(row.since),
        released_at=perhaps(row.released_at),
        released_by=None if row.released_at is None else Person(row.released_team, row.released_user),
    )
