"""The operations: beginning one, finding one, and what earlier ones tell."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from lifecycle.configuration import CHECKED, is_missed
from lifecycle.decide import in_place, remove
from lifecycle.decide.cancel import refuse
from lifecycle.decide.delete import REMOVING
from lifecycle.errors import ClusterBusy
from lifecycle.model import Action, Kind, Person, Place, Ref, Step, Target, Verb
from lifecycle.operation import Attempt, Cancellation, Goal, Operation, Outcome, State
from lifecycle.plain import canonical, from_plain, to_plain
from lifecycle.plan import Plan
from lifecycle.ports import Clock
from storage.audit import Entry, moment
from storage.database import Database
from storage.holds import require_free
from storage.ids import IdTaken
from storage.messages import tell
from storage.moments import MICROSECOND, moment_of, perhaps, stored
from storage.purging import close_notices, require_purgeable
from storage.tables import operations, steps

LOOKED_BACK = 20
"""Restores among which one that was left half done is looked for."""
TAKING_DOWN = (Verb.STOP.value, Verb.DELETE.value, Verb.SNAPSHOT.value, Verb.REMOVE.value)
BRINGING_BACK = (Verb.START.value, Verb.RETURN.value, Verb.RESTORE.value)
"""A plain start is not begun as long as something of the cluster is missing and written down."""


class Operations:
    """The table of operations, without the journal of the running ones."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def begin(self, operation: Operation, plan: Plan) -> Operation:
        """Take the cluster's slot, and return the operation as it is stored: with its first epoch.

        The plan is what the person was shown; it goes into the audit log with its digest.

        Raises ClusterBusy, naming the operation that has the slot, ClusterHeld and IdTaken.
        """
        async with self._database.transaction() as connection:
            return await begin_in(connection, operation, await moment(connection, self._clock), plan)

    async def get(self, operation_id: str) -> Operation | None:
        """The operation, running or ended."""
        return await self._first(select(operations).where(operations.c.id == operation_id))

    async def cancel(self, operation_id: str, person: Person, place: Place, reason: str = "") -> Operation:
        """From here on no step of it is recorded, so none is done, but those of its way back.

        ``place`` is where it was asked for; it is told where the operation is. ``operation_id`` has to exist. Raises
        NotCancellable.
        """
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            operation = await read_in(connection, operation_id)
            refuse(operation)
            asked = {"cancelled_by_team": person.team, "cancelled_by_user": person.user, "cancel_reason": reason}
            statement = update(operations).where(operations.c.id == operation_id)
            await connection.execute(statement.values(**asked, cancelled_at=stored(at)))
            data = {"phase": operation.phase, "reason": reason, "asked_in": to_plain(place)}
            entry = Entry("cancelled", person, operation.cluster, operation_id, operation.place, data)
            await tell(connection, entry, at)
            return await read_in(connection, operation_id)

    async def unfinished(self) -> tuple[Operation, ...]:
        """What has to be taken up, oldest first."""
        return await self._all(_running().order_by(operations.c.number))

    async def running_on(self, cluster: str) -> Operation | None:
        """The one that has the cluster's slot."""
        return await self._first(_running().where(operations.c.cluster == cluster))

    async def latest(self, cluster: str, verb: Verb | None = None, state: State | None = None) -> Operation | None:
        """The one that began last, of all that fit."""
        query = _newest_first().where(operations.c.cluster == cluster).limit(1)
        if verb is not None:
            query = query.where(operations.c.verb == verb.value)
        if state is not None:
            query = query.where(operations.c.state == state.value)
        return await self._first(query)

    async def latest_change(self, cluster: str) -> Operation | None:
        """The one that began last, of all that touch the cluster: a restore test and a purge do not."""
        aside = (Verb.VERIFY.value, Verb.PURGE.value)
        query = _newest_first().where(operations.c.cluster == cluster, operations.c.verb.not_in(aside))
        return await self._first(query.limit(1))

    async def last_removal(self, cluster: str) -> Operation | None:
        """The newest delete that has ended and got as far as removing something: what a restore brings back."""
        query = (
            _newest_first()
            .where(operations.c.cluster == cluster, operations.c.verb == Verb.DELETE.value)
            .where(operations.c.state != State.RUNNING.value, operations.c.phase.in_(REMOVING))
            .limit(1)
        )
        return await self._first(query)

    async def unreturned_removal(self, cluster: str) -> Operation | None:
        """The last removal, where no restore after it has reached its goal."""
        removal = await self.last_removal(cluster)
        if removal is None:
            return None
        since = select(operations.c.number).where(operations.c.id == removal.id).scalar_subquery()
        query = (
            _newest_first()
            .where(operations.c.cluster == cluster, operations.c.verb == Verb.RESTORE.value)
            .where(operations.c.state == State.DONE.value, operations.c.number > since)
            .limit(1)
        )
        return None if await self._first(query) else removal

    async def half_restored(self, cluster: str) -> Operation | None:
        """The newest restore in place that took claims away and failed, where none after it has reached its goal."""
        back = (Verb.RESTORE_IN_PLACE.value, Verb.RESTORE.value)
        query = _newest_first().where(operations.c.cluster == cluster, operations.c.verb.in_(back)).limit(LOOKED_BACK)
        for operation in await self._all(query):
            if operation.state is State.DONE:
                return None
            if in_place.is_half_done(operation):
                return operation
        return None

    async def removed(self, cluster: str) -> Operation | None:
        """The newest stop that removed something, where nothing after it brought the cluster back or took it anew."""
        taken = or_(
            and_(operations.c.verb == Verb.DELETE.value, operations.c.phase.in_(REMOVING)),
            and_(operations.c.verb == Verb.REMOVE.value, operations.c.phase.in_(remove.REMOVING)),
        )
        back = and_(operations.c.verb.in_(BRINGING_BACK), operations.c.state == State.DONE.value)
        query = (
            _newest_first()
            .where(operations.c.cluster == cluster, operations.c.state != State.RUNNING.value)
            .where(or_(taken, back))
            .limit(1)
        )
        newest = await self._first(query)
        return newest if newest is not None and newest.verb is Verb.REMOVE else None

    async def history(self, clusters: Collection[str] | None = None, limit: int = 10) -> tuple[Operation, ...]:
        """The newest first; of these clusters, None for all."""
        query = _newest_first().limit(limit)
        if clusters is not None:
            query = query.where(operations.c.cluster.in_(clusters))
        return await self._all(query)

    async def attempts(self, operation_id: str) -> tuple[Attempt, ...]:
        """Its journalled steps, in the order in which they were first written down."""
        query = select(steps).where(steps.c.operation == operation_id).order_by(steps.c.number)
        async with self._database.reading() as connection:
            return tuple(_attempt(row) for row in await connection.execute(query))

    async def remembered_counts(self, cluster: str) -> Mapping[Ref, int]:
        """For each workload the count in the goal of the newest operation that took it from above zero to zero."""
        query = (
            select(steps.c.kind, steps.c.name, operations.c.id, operations.c.goal)
            .join(operations, operations.c.id == steps.c.operation)
            .where(operations.c.cluster == cluster)
            .where(operations.c.verb.in_(TAKING_DOWN))
            .where(steps.c.action == Action.SCALE_TO_ZERO.value)
            .order_by(operations.c.number.desc())
        )
        async with self._database.reading() as connection:
            return _counts((await connection.execute(query)).all())

    async def usual_seconds(self, cluster: str, verb: Verb, step_keys: frozenset[str]) -> int | None:
        """The median of the last five that went well and took these steps (their keys), no more and no fewer.

        None when there is none: a part of the cluster, or what was left of it, says nothing of the whole.
        """
        journalled = select(func.count()).where(steps.c.operation == operations.c.id)
        query = (
            select(operations.c.begun_at, operations.c.ended_at)
            .where(operations.c.cluster == cluster, operations.c.verb == verb.value)
            .where(operations.c.state == State.DONE.value)
            .where(journalled.scalar_subquery() == len(step_keys))
            .where(journalled.where(steps.c.step_key.in_(step_keys)).scalar_subquery() == len(step_keys))
            .order_by(operations.c.number.desc())
            .limit(5)
        )
        async with self._database.reading() as connection:
            took = [ended - begun for begun, ended in await connection.execute(query)]
        return round(median(took) * MICROSECOND / timedelta(seconds=1)) if took else None

    async def followed(self, now: datetime, within: timedelta) -> tuple[Operation, ...]:
        """The failed starts and restarts whose goal may still be seen: younger than ``within``, none after them."""
        return await self._youngest(State.FAILED, (Verb.START, Verb.RESTART, Verb.RETURN), now - within)

    async def sought(self, now: datetime, within: timedelta) -> tuple[Operation, ...]:
        """The starts and restores that missed nothing but the configuration: younger than ``within``, none after."""
        done = await self._youngest(State.DONE, CHECKED, now - within)
        return tuple(operation for operation in done if is_missed(operation))

    async def _youngest(self, state: State, verbs: Collection[Verb], since: datetime) -> tuple[Operation, ...]:
        """That ended so after ``since``, without a late end, and are the last of their cluster."""
        newer = operations.alias()
        query = (
            select(operations)
            .where(operations.c.state == state.value, operations.c.late_at.is_(None))
            .where(operations.c.verb.in_([verb.value for verb in verbs]))
            .where(operations.c.ended_at > stored(since))
            .where(
                ~select(newer.c.id)
                .where(newer.c.cluster == operations.c.cluster, newer.c.number > operations.c.number)
                .exists()
            )
            .order_by(operations.c.number)
        )
        return await self._all(query)

    async def _first(self, query: Select[Any]) -> Operation | None:
        return next(iter(await self._all(query)), None)

    async def _all(self, query: Select[Any]) -> tuple[Operation, ...]:
        async with self._database.reading() as connection:
            return tuple(operation_of(row) for row in await connection.execute(query))


async def begin_in(connection: AsyncConnection, operation: Operation, at: datetime, plan: Plan) -> Operation:
    """Begin in the caller's transaction, at its moment, which is the database's: a clock that jumps reorders nothing.

    See Operations.begin. Whoever catches an error of it must roll back.
    """
    await require_free(connection, operation.cluster)
    operation = replace(operation, begun_at=at)
    epoch = await connection.scalar(select(func.max(operations.c.epoch)).where(_on_the_cluster(operation)))
    statement = insert(operations).values(**_columns(operation) | {"epoch": max(epoch or 0, operation.epoch)})
    if not (await connection.execute(statement.on_conflict_do_nothing())).rowcount:
        raise await _why_not(connection, operation)
    if operation.goal.purging is not None:
        await require_purgeable(connection, operation.cluster, operation.goal.purging)
        await close_notices(connection, operation, at)
    await tell(connection, _begun(operation, plan), at)
    return await read_in(connection, operation.id)


async def read_in(connection: AsyncConnection, operation_id: str) -> Operation:
    """The operation as the caller's transaction sees it; it has to exist."""
    return operation_of((await connection.execute(select(operations).where(operations.c.id == operation_id))).one())


async def _why_not(connection: AsyncConnection, operation: Operation) -> Exception:
    busy = select(operations.c.id).where(_on_the_cluster(operation), operations.c.state == State.RUNNING.value)
    running = (await connection.execute(busy.limit(1))).scalar_one_or_none()
    return ClusterBusy(operation.cluster, running) if running else IdTaken(operation.id)


def _on_the_cluster(operation: Operation) -> ColumnElement[bool]:
    """By its name or by what it means: the same namespace may have had another name."""
    return or_(
        operations.c.cluster == operation.cluster,
        and_(
            operations.c.context == (operation.target.context or ""),
            operations.c.namespace == operation.target.namespace,
        ),
    )


def _running() -> Select[Any]:
    return select(operations).where(operations.c.state == State.RUNNING.value)


def _newest_first() -> Select[Any]:
    return select(operations).order_by(operations.c.number.desc())


def _begun(operation: Operation, plan: Plan) -> Entry:
    goal = operation.goal
    return Entry(
        kind="begun",
        actor=operation.requester,
        cluster=operation.cluster,
        subject=operation.id,
        place=operation.place,
        data={
            "verb": operation.verb,
            "target": operation.target,
            "reason": operation.reason,
            "command": operation.command,
            "counts": {str(ref): count for ref, count in goal.counts.items()},
            "sources": {str(ref): source for ref, source in goal.sources.items()},
            "left": [str(ref) for ref in goal.left],
            "uids": {str(workload.ref): workload.uid for workload in goal.scope},
            "claims": goal.claims,
            "digest": plan.digest,
            "plan": plan,
        },
    )


def _counts(rows: Sequence[Row[Any, Any, Any, Any]]) -> dict[Ref, int]:
    """Rows come newest stop first; the first count above zero of a workload stands."""
    goals: dict[str, Goal] = {}
    counts: dict[Ref, int] = {}
    for row in rows:
        if row.id not in goals:
            goals[row.id] = from_plain(Goal, json.loads(row.goal))
        ref = Ref(Kind(row.kind), row.name)
        count = goals[row.id].counts.get(ref, 0)
        if count > 0:
            counts.setdefault(ref, count)
    return counts


def _attempt(row: Row[Any]) -> Attempt:
    step = Step(Action(row.action), Ref(Kind(row.kind), row.name), row.replicas, row.uid)
    return Attempt(step, row.attempts, row.result)


def _columns(operation: Operation) -> dict[str, Any]:
    """The row of a new operation; what only a running one has is left empty."""
    return {
        "id": operation.id,
        "verb": operation.verb.value,
        "cluster": operation.cluster,
        "context": operation.target.context or "",
        "namespace": operation.target.namespace,
        "requester_team": operation.requester.team,
        "requester_user": operation.requester.user,
        "place_team": operation.place.team,
        "place_channel": operation.place.channel,
        "place_ts": operation.place.ts,
        "reason": operation.reason,
        "command": operation.command,
        "goal": canonical(to_plain(operation.goal)),
        "phase": operation.phase,
        "state": State.RUNNING.value,
        "begun_at": stored(operation.begun_at),
        "expected": operation.expected,
        "phase_limits": canonical(to_plain(operation.limits)),
    }


def operation_of(row: Row[Any]) -> Operation:
    """The operation in this row of the table ``operations``."""
    return Operation(
        id=row.id,
        verb=Verb(row.verb),
        cluster=row.cluster,
        target=Target(row.context or None, row.namespace),
        requester=Person(row.requester_team, row.requester_user),
        place=Place(row.place_team, row.place_channel, row.place_ts),
        goal=from_plain(Goal, json.loads(row.goal)),
        phase=row.phase,
        begun_at=moment_of(row.begun_at),
        reason=row.reason,
        command=row.command,
        state=State(row.state),
        epoch=row.epoch,
        executor=row.executor,
        phase_begun_at=perhaps(row.phase_begun_at),
        ended_at=perhaps(row.ended_at),
        outcome=None if row.outcome is None else from_plain(Outcome, json.loads(row.outcome)),
        late_at=perhaps(row.late_at),
        expected=row.expected,
        limits=json.loads(row.phase_limits),
        failure=None if row.failure is None else from_plain(Outcome, json.loads(row.failure)),
        cancellation=_cancellation(row),
    )


def _cancellation(row: Row[Any]) -> Cancellation | None:
    if row.cancelled_at is None:
        return None
    person = Person(row.cancelled_by_team, row.cancelled_by_user)
    return Cancellation(person, moment_of(row.cancelled_at), row.cancel_reason)
