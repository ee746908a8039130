"""What is kept of a cluster, how long still, and what people said to it: pins and notices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, Select, and_, literal, or_, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from lifecycle.decide.delete import REMOVING
from lifecycle.decide.in_place import EXCHANGING
from lifecycle.errors import PurgeVoid, Refused
from lifecycle.model import Action, Person, Place, Verb
from lifecycle.operation import Operation, State
from lifecycle.plan import Plan
from lifecycle.ports import Clock
from lifecycle.retention import Keeping
from storage.audit import Entry, append, moment
from storage.database import Database
from storage.messages import tell
from storage.moments import moment_of, perhaps, stored
from storage.operations import begin_in, operation_of
from storage.purging import OPEN, SET, VOLUMES, is_purged, restoring, returned
from storage.snapshots import Kept, SnapshotSets
from storage.tables import notices, operations, pins, purged, snapshot_sets, steps


class NoticeState(StrEnum):
    """OPEN is the only one that can be left."""

    OPEN = OPEN
    EXTENDED = "extended"
    BEGUN = "begun"
    VOID = "void"


@dataclass(frozen=True)
class Notice:
    """What the channel was told: the volumes that the operation ``by`` kept go at ``due_at``.

    ``held`` is why they did not though it was time.
    """

    id: str
    cluster: str
    by: str
    place: Place
    made_at: datetime
    due_at: datetime
    state: NoticeState = NoticeState.OPEN
    held: str = ""
    ended_at: datetime | None = None
    kept_until: datetime | None = None
    person: Person | None = None
    operation: str | None = None


class NothingToExtend(Refused):
    """The notice is over, or this bot never gave it."""

    code = "nothing-to-extend"

    def __init__(self, notice: Notice | None) -> None:
        came = {
            None: "That button belongs to no notice this bot knows.",
            NoticeState.EXTENDED: "They are kept longer already.",
            NoticeState.BEGUN: "It is too late: the purge has begun.",
            NoticeState.VOID: "There is nothing to keep any more: see the notice.",
        }
        super().__init__(came.get(notice.state if notice else None, "They go already."))


class NoSuchSet(Refused):
    """The button's set is not there, or not there any more."""

    code = "no-such-set"

    def __init__(self, identity: str, why: str = "it is not there") -> None:
        super().__init__(
            f"There is no snapshot set {identity} any more: {why}. `/tml snapshots CLUSTER` lists those there are."
        )


@dataclass(frozen=True)
class Pin:
    """Who keeps a set, whatever the retention says."""

    set: str
    person: Person
    at: datetime


@dataclass(frozen=True)
class KeptVolumes:
    """What a delete kept and nobody brought back, or a restore in place, with the notice that is open."""

    by: Operation
    keeping: Keeping
    notice: Notice | None = None


@dataclass(frozen=True)
class Records:
    """All that is kept of a cluster; ``failed`` are operations that cut something and have no set."""

    sets: tuple[Kept, ...] = ()
    pins: Mapping[str, Pin] = field(default_factory=dict)
    failed: tuple[Operation, ...] = ()
    volumes: tuple[KeptVolumes, ...] = ()
    last_way_back: str | None = None
    """The last delete, where no restore after it reached its goal."""
    restoring: frozenset[str] = frozenset()
    """What restores need that run, or that failed and were not followed by one that reached its goal.

    Operations: that took the set, that kept the volumes, and the restore itself, whose safety set it is.
    """


class Retention:
    """The records of what is kept."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._sets = SnapshotSets(database)

    async def moment(self) -> datetime:
        """Now, by the database's time."""
        async with self._database.reading() as connection:
            return await moment(connection, self._clock)

    async def of(self, cluster: str) -> Records:
        """All that is kept of the cluster."""
        sets = await self._sets.of(cluster)
        async with self._database.reading() as connection:
            kept_by = await _operations(connection, _keeping(cluster))
            back = await returned(connection, [one.id for one in kept_by])
            unreturned = [one for one in kept_by if one.id not in back and _keeps_any(one)]
            gone = set((await connection.execute(select(purged.c.operation).where(purged.c.what == VOLUMES))).scalars())
            told = [_notice(row) for row in await connection.execute(_notices(cluster))]
            pinned = [_pin(row) for row in await connection.execute(select(pins))]
            return Records(
                sets=sets,
                pins={one.set: one for one in pinned},
                failed=tuple(await _operations(connection, _failed(cluster))),
                volumes=tuple(_kept_volumes(one, told) for one in unreturned if one.id not in gone),
                last_way_back=await _last_way_back(connection, kept_by),
                restoring=await restoring(connection, cluster),
            )

    async def purge_of(self, by: str) -> str | None:
        """The operation that purged what this one kept; None where it is kept still."""
        query = select(purged.c.purge).where(purged.c.what == VOLUMES, purged.c.operation == by)
        async with self._database.reading() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    # notices

    async def announce(self, by: Operation, place: Place, new_id: Callable[[str], str]) -> Notice | None:
        """Tell the channel where it is time for what it kept; None where it is not, or somebody was faster."""
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            due = await _announcement(connection, by, at)
            if due is None:
                return None
            identity = new_id("no")
            row = {
                "id": identity,
                "cluster": by.cluster,
                "deletion": by.id,
                "place_team": place.team,
                "place_channel": place.channel,
                "made_at": stored(at),
                "due_at": stored(due),
                "state": NoticeState.OPEN.value,
            }
            if not (await connection.execute(insert(notices).values(**row).on_conflict_do_nothing())).rowcount:
                return None
            data = {"verb": by.verb, "delete": by.id, "due_at": due, "volumes": by.goal.volumes}
            await tell(connection, Entry("notice", None, by.cluster, identity, place, data), at)
            return await _noticed(connection, identity)

    async def notice(self, identity: str) -> Notice | None:
        async with self._database.reading() as connection:
            return await _noticed(connection, identity)

    async def extend(self, identity: str, person: Person, keep: timedelta) -> Notice:
        """*Keep longer*: once, however often it is pressed. Raises NothingToExtend."""
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            before = await _noticed(connection, identity)
            if before is None or before.state is not NoticeState.OPEN:
                raise NothingToExtend(before)
            until = max(before.due_at, at) + keep
            await _end(
                connection,
                identity,
                {
                    "state": NoticeState.EXTENDED.value,
                    "ended_at": stored(at),
                    "kept_until": stored(until),
                    "person_team": person.team,
                    "person_user": person.user,
                },
            )
            await _told(connection, before, "notice-extended", person, {"until": until}, at)
            return await _existing(connection, identity)

    async def begin(self, notice: Notice, operation: Operation, plan: Plan) -> Operation:
        """Begin the announced purge, where nobody kept it longer meanwhile and it is time.

        Raises PurgeVoid, and what Operations.begin raises.
        """
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            now = await _existing(connection, notice.id)
            if now.state is not NoticeState.OPEN or at < now.due_at:
                raise PurgeVoid("It is kept longer.")
            return await begin_in(connection, operation, at, plan)

    async def hold(self, notice: Notice, why: str) -> None:
        """It is time, and something keeps it from beginning; told when it is another reason than the last."""
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            once = update(notices).where(notices.c.id == notice.id, notices.c.state == OPEN, notices.c.held != why)
            if (await connection.execute(once.values(held=why))).rowcount:
                await _told(connection, notice, "notice-held", None, {"why": why}, at)

    async def void_overtaken(self, cluster: str) -> None:
        """Close the notices of what a restore brought back."""
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            waiting = _notices(cluster).where(notices.c.state == OPEN)
            open_ones = [_notice(row) for row in await connection.execute(waiting)]
            back = await returned(connection, [one.by for one in open_ones])
            for one in open_ones:
                if one.by in back:
                    await _end(connection, one.id, {"state": NoticeState.VOID.value, "ended_at": stored(at)})
                    await _told(connection, one, "notice-void", None, {"why": "restored"}, at)

    async def settle(self, kept: KeptVolumes) -> None:
        """Nothing of it is left to purge: somebody removed it without the bot."""
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            by = kept.by
            row = {"what": VOLUMES, "operation": by.id, "purge": None, "at": stored(at)}
            if not (await connection.execute(insert(purged).values(**row).on_conflict_do_nothing())).rowcount:
                return
            data = {"delete": by.id, "volumes": by.goal.volumes}
            await append(connection, Entry("purge-settled", None, by.cluster, by.id, None, data), at)
            if kept.notice:
                await _end(connection, kept.notice.id, {"state": NoticeState.VOID.value, "ended_at": stored(at)})
                await _told(connection, kept.notice, "notice-void", None, {"why": "gone"}, at)

    # pins

    async def set_of(self, identity: str) -> Kept:
        """The set of this id. Raises NoSuchSet."""
        found = await self._sets.find(identity)
        if found is None:
            raise NoSuchSet(identity)
        return found

    async def pin(self, identity: str, person: Person, place: Place) -> None:
        """Keep the set whatever the retention says; pinning it twice changes nothing. Raises NoSuchSet."""
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            cluster = await _cluster_of_set(connection, identity)
            if identity in await _being_purged(connection, cluster):
                raise NoSuchSet(identity, "it goes right now")
            row = {"operation": identity, "person_team": person.team, "person_user": person.user, "at": stored(at)}
            if (await connection.execute(insert(pins).values(**row).on_conflict_do_nothing())).rowcount:
                await append(connection, Entry("pinned", person, cluster, identity, place, {}), at)

    async def unpin(self, identity: str, person: Person, place: Place) -> None:
        """Leave the set to the retention again. Raises NoSuchSet."""
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            cluster = await _cluster_of_set(connection, identity)
            if (await connection.execute(pins.delete().where(pins.c.operation == identity))).rowcount:
                await append(connection, Entry("unpinned", person, cluster, identity, place, {}), at)


async def _last_way_back(connection: AsyncConnection, kept_by: list[Operation]) -> str | None:
    """As Operations.unreturned_removal has it: a restore from a set is a return too."""
    deletes = [one for one in kept_by if one.verb is Verb.DELETE]
    if not deletes:
        return None
    since = select(operations.c.number).where(operations.c.id == deletes[-1].id).scalar_subquery()
    query = select(operations.c.id).where(
        operations.c.cluster == deletes[-1].cluster,
        operations.c.verb == Verb.RESTORE.value,
        operations.c.state == State.DONE.value,
        operations.c.number > since,
    )
    return None if (await connection.execute(query)).first() else deletes[-1].id


async def _announcement(connection: AsyncConnection, by: Operation, at: datetime) -> datetime | None:
    """The moment to announce now, if any, as the tables have it in this transaction."""
    if await returned(connection, [by.id]) or await _is_being_purged(connection, by.cluster):
        return None
    if await connection.scalar(select(is_purged(VOLUMES, literal(by.id)))):
        return None
    told = [_notice(row) for row in await connection.execute(_notices(by.cluster))]
    return _kept_volumes(by, told).keeping.announcement(at)


async def _is_being_purged(connection: AsyncConnection, cluster: str) -> bool:
    """Then its end decides whether there is anything to announce."""
    return bool(await _operations(connection, _purges(cluster)))


async def _being_purged(connection: AsyncConnection, cluster: str) -> frozenset[str]:
    """The sets that a purge is letting go."""
    running = await _operations(connection, _purges(cluster))
    return frozenset(identity for one in running if one.goal.purging for identity in one.goal.purging.sets)


def _purges(cluster: str) -> Select[Any]:
    """That run."""
    return select(operations).where(
        operations.c.cluster == cluster,
        operations.c.verb == Verb.PURGE.value,
        operations.c.state == State.RUNNING.value,
    )


def _keeping(cluster: str) -> Select[Any]:
    """The deletes and restores in place that have ended and got as far as removing something, oldest first."""
    delete = and_(operations.c.verb == Verb.DELETE.value, operations.c.phase.in_(REMOVING))
    exchange = and_(operations.c.verb == Verb.RESTORE_IN_PLACE.value, operations.c.phase.in_(EXCHANGING))
    return (
        select(operations)
        .where(operations.c.cluster == cluster, operations.c.state != State.RUNNING.value, or_(delete, exchange))
        .order_by(operations.c.number)
    )


def _keeps_any(by: Operation) -> bool:
    """A restore in place that goes on with another one may find no volume to keep; a delete has its capture besides."""
    return by.verb is Verb.DELETE or bool(by.goal.volumes)


def _failed(cluster: str) -> Select[Any]:
    """Those that cut something, have ended, and have no set that was seen ready."""
    cut = select(steps.c.number).where(
        steps.c.operation == operations.c.id, steps.c.action.in_((Action.CUT.value, Action.QUIESCE.value))
    )
    saved = select(snapshot_sets.c.operation).where(snapshot_sets.c.operation == operations.c.id)
    return (
        select(operations)
        .where(operations.c.cluster == cluster, operations.c.state != State.RUNNING.value)
        .where(cut.exists(), ~saved.exists(), ~is_purged(SET, operations.c.id))
        .order_by(operations.c.number)
    )


async def _operations(connection: AsyncConnection, query: Select[Any]) -> list[Operation]:
    return [operation_of(row) for row in await connection.execute(query)]


def _notices(cluster: str) -> Select[Any]:
    return select(notices).where(notices.c.cluster == cluster).order_by(notices.c.number)


def _kept_volumes(by: Operation, told: list[Notice]) -> KeptVolumes:
    own = [one for one in told if one.by == by.id]
    waiting = next((one for one in own if one.state is NoticeState.OPEN), None)
    assert by.ended_at is not None
    keeping = Keeping(
        id=by.id,
        removed_at=by.ended_at,
        keeps=by.goal.keeps,
        kept_until=max((one.kept_until for one in own if one.kept_until), default=None),
        announced_for=waiting.due_at if waiting else None,
    )
    return KeptVolumes(by, keeping, waiting)


async def _noticed(connection: AsyncConnection, identity: str) -> Notice | None:
    row = (await connection.execute(select(notices).where(notices.c.id == identity))).one_or_none()
    return None if row is None else _notice(row)


async def _existing(connection: AsyncConnection, identity: str) -> Notice:
    return _notice((await connection.execute(select(notices).where(notices.c.id == identity))).one())


async def _end(connection: AsyncConnection, identity: str, values: Mapping[str, Any]) -> None:
    await connection.execute(update(notices).where(notices.c.id == identity, notices.c.state == OPEN).values(**values))


async def _told(
    connection: AsyncConnection, notice: Notice, kind: str, person: Person | None, data: Mapping[str, Any], at: datetime
) -> None:
    await tell(connection, Entry(kind, person, notice.cluster, notice.id, notice.place, data), at)


async def _cluster_of_set(connection: AsyncConnection, identity: str) -> str:
    query = select(snapshot_sets.c.cluster).where(snapshot_sets.c.operation == identity)
    query = query.where(~is_purged(SET, snapshot_sets.c.operation))
    found: str | None = (await connection.execute(query)).scalar_one_or_none()
    if found is None:
        raise NoSuchSet(identity)
    return found


def _notice(row: Row[Any]) -> Notice:
    return Notice(
        id=row.id,
        cluster=row.cluster,
        by=row.deletion,
        place=Place(row.place_team, row.place_channel),
        made_at=moment_of(row.made_at),
        due_at=moment_of(row.due_at),
        state=NoticeState(row.state),
        held=row.held,
        ended_at=perhaps(row.ended_at),
        kept_until=perhaps(row.kept_until),
        person=None if row.person_team is None else Person(row.person_team, row.person_user),
        operation=row.operation,
    )


def _pin(row: Row[Any]) -> Pin:
    return Pin(row.operation, Person(row.person_team, row.person_user), moment_of(row.at))
