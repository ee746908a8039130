"""The journal of the running operations: each method one transaction, with its entry in the audit log."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from lifecycle.checks import Checked
from lifecycle.decide.cancel import takes_no_step
from lifecycle.diagnosis import Diagnosis
from lifecycle.errors import Cancelled, Fenced
from lifecycle.model import Step
from lifecycle.operation import Operation, Outcome, State
from lifecycle.plain import canonical, to_plain
from lifecycle.ports import Clock, Result
from lifecycle.snapshots import SnapshotSet
from lifecycle.verification import Verification
from lifecycle.volumes import Snapshot
from lifecycle.workloads import Exit
from storage.audit import Entry, append, moment
from storage.database import Database
from storage.messages import LIVE, tell, want
from storage.moments import stored
from storage.operations import read_in
from storage.purging import write_purged
from storage.snapshots import rewrite_members, write_set, write_verification
from storage.tables import arrivals, audit, exits, operations, steps

DONE = "done"
"""The result of a step that Kubernetes accepted; every other result is the error's text."""


@dataclass(frozen=True)
class _Page:
    """One transaction on one operation: what is written in it has one time."""

    connection: AsyncConnection
    operation: Operation
    at: datetime

    async def note(self, kind: str, data: Mapping[str, Any]) -> int:
        """For the record only."""
        return await append(self.connection, self._entry(kind, data), self.at)

    async def told(self, kind: str, data: Mapping[str, Any]) -> int:
        """For the record, and a line in the thread."""
        return await tell(self.connection, self._entry(kind, data), self.at)

    async def show(self, entry: str) -> None:
        await want(self.connection, self.operation.id, entry, self.operation.place)

    def _entry(self, kind: str, data: Mapping[str, Any]) -> Entry:
        operation = self.operation
        return Entry(kind, None, operation.cluster, operation.id, operation.place, data)


class DatabaseJournal:
    """Implements lifecycle.ports.Journal."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def take(self, operation: Operation, executor: str, epoch: int) -> Operation:
        """Told only when somebody else had it before: a take-over."""
        if epoch <= operation.epoch:
            raise ValueError(f"epoch {epoch} does not follow {operation.epoch}")
        async with self._writing(operation) as page:
            before = (await read_in(page.connection, operation.id)).executor
            await self._set(page, executor=executor, epoch=epoch)
            write = page.note if before in (None, executor) else page.told
            await write("taken", {"executor": executor, "epoch": epoch, "before": before, "first": before is None})
            return await read_in(page.connection, operation.id)

    async def current(self, operation: Operation) -> Operation:
        """Read only: it may be another executor's."""
        async with self._database.reading() as connection:
            found = await read_in(connection, operation.id)
        if found.state is not State.RUNNING:
            raise Fenced(f"{operation.id} was brought to its end by {found.executor}")
        return found

    async def entered(self, operation: Operation, limit: timedelta) -> Operation:
        """The limit goes into the audit log, in seconds."""
        async with self._writing(operation) as page:
            if (await read_in(page.connection, operation.id)).phase_begun_at is None:
                await self._set(page, phase_begun_at=stored(page.at))
                await page.note("entered", {"phase": operation.phase, "limit": round(limit.total_seconds())})
            return await read_in(page.connection, operation.id)

    async def record(self, operation: Operation, steps: Sequence[Step]) -> None:
        """One entry for each step, numbered by wave, all due at once.

        The thread has a line for each that is new, and for one that was done and that somebody else undid.
        """
        if not steps:
            return
        async with self._writing(operation) as page:
            await _require_wanted(page)
            await self._set(page, waves=operations.c.waves + 1)
            wave = await page.connection.scalar(select(operations.c.waves).where(operations.c.id == operation.id))
            entries = [await self._step(page, step, wave or 0) for step in steps]
            await page.show(LIVE)
            for seq, is_news in entries:
                if is_news:
                    await page.show(str(seq))

    async def _step(self, page: _Page, step: Step, wave: int) -> tuple[int, bool]:
        """Its entry's seq, and whether it is news to people."""
        undone = await _result_of(page, step) == DONE
        attempts = await _write_step(page, step)
        data = _step_data(step, step.uid) | {"phase": page.operation.phase, "wave": wave, "attempts": attempts}
        return await page.note("step", data | {"undone": undone}), undone or attempts == 1

    async def did(self, operation: Operation, results: Sequence[Result]) -> None:
        """A failure is told when it is another one than the step's last failure, not at each attempt."""
        if not results:
            return
        async with self._writing(operation) as page:
            for result in results:
                await self._result(page, result)

    async def _result(self, page: _Page, result: Result) -> None:
        text = DONE if result.error is None else f"{type(result.error).__name__}: {result.error}"
        told_before = await _write_result(page, result, text)
        data = _step_data(result.step, result.uid)
        if result.error is None:
            await page.note("step-done", data)
        elif told_before:
            await page.note("step-failed", data | {"error": text})
        else:
            await page.told("step-failed", data | {"error": text})

    async def arrived(self, operation: Operation, objects: Sequence[str]) -> None:
        """One entry for those of a picture that are new in this phase."""
        async with self._writing(operation) as page:
            new = [one for one in objects if await _write_arrival(page, one)]
            if new:
                await page.told("arrived", {"phase": operation.phase, "objects": new})

    async def witnessed(self, operation: Operation, exits: Sequence[Exit]) -> None:
        """Once for each container of each pod's uid."""
        async with self._writing(operation) as page:
            for seen in exits:
                if await _write_exit(page, seen):
                    await page.told("exit", to_plain(seen))

    async def exits(self, operation: Operation) -> tuple[Exit, ...]:
        """In the order in which they were written down."""
        query = select(exits).where(exits.c.operation == operation.id).order_by(exits.c.number)
        held = select(operations.c.id).where(operations.c.id == operation.id, operations.c.epoch == operation.epoch)
        async with self._database.reading() as connection:
            if (await connection.execute(held)).one_or_none() is None:
                raise _fenced(operation)
            rows = await connection.execute(query)
            return tuple(Exit(row.pod, row.pod_uid, row.container, row.code) for row in rows)

    async def slow(self, operation: Operation, diagnosis: Diagnosis) -> None:
        async with self._writing(operation) as page:
            once = update(operations).where(operations.c.id == operation.id, operations.c.slow_at.is_(None))
            if (await page.connection.execute(once.values(slow_at=stored(page.at)))).rowcount:
                await page.told("slow", {"phase": operation.phase, "diagnosis": diagnosis})

    async def saved(self, operation: Operation, snapshot_set: SnapshotSet) -> None:
        """The entry has everything that is needed to find and check the set without this database."""
        async with self._writing(operation) as page:
            if await write_set(page.connection, operation, snapshot_set):
                await page.told("snapshot-set", to_plain(snapshot_set))

    async def rebound(self, operation: Operation, found: Sequence[Snapshot]) -> None:
        """The entry has what was recorded before, and what is now."""
        async with self._writing(operation) as page:
            if before := await rewrite_members(page.connection, operation.goal.chosen, found):
                await page.told("set-rebound", {"set": operation.goal.chosen, "before": before, "now": tuple(found)})

    async def verified(self, operation: Operation, verification: Verification) -> None:
        """The entry has each member's verdict; the set has the newest that said something."""
        told = select(audit.c.seq).where(audit.c.subject == operation.id, audit.c.kind == "verified").limit(1)
        async with self._writing(operation) as page:
            if (await page.connection.execute(told)).one_or_none() is None:
                await write_verification(page.connection, verification)
                await page.told("verified", to_plain(verification) | {"result": verification.result})

    async def passed(self, operation: Operation, following: str, capture: str = "") -> Operation:
        """By compare-and-swap on the phase, too: it moves on once."""
        async with self._writing(operation) as page:
            await _require_wanted(page)
            await self._set(page, operations.c.phase == operation.phase, phase=following, phase_begun_at=None)
            seen = {"capture": capture} if capture else {}
            await page.told("passed", {"phase": operation.phase, "following": following} | seen)
            return await read_in(page.connection, operation.id)

    async def turned_back(self, operation: Operation, failure: Outcome, following: str) -> Operation:
        """The failure is told at once: what follows only takes the cluster up again."""
        async with self._writing(operation) as page:
            failure = await _as_wanted(page, failure)
            text = canonical(to_plain(failure))
            only_if = operations.c.phase == operation.phase
            await self._set(page, only_if, phase=following, phase_begun_at=None, failure=text)
            await page.told("turned-back", {"phase": operation.phase, "failure": failure})
            return await read_in(page.connection, operation.id)

    async def finished(self, operation: Operation, outcome: Outcome) -> Operation:
        """The entry has the claims as seen before and after."""
        if outcome.state is State.RUNNING:
            raise ValueError("an outcome is done or failed")
        async with self._writing(operation) as page:
            outcome = await _as_wanted(page, outcome)
            text = canonical(to_plain(outcome))
            await self._set(page, state=outcome.state.value, outcome=text, ended_at=stored(page.at))
            await page.told("finished", _finish_data(operation, outcome))
            if outcome.state is State.DONE:
                await write_purged(page.connection, operation, page.at)
            return await read_in(page.connection, operation.id)

    async def late(self, operation: Operation) -> None:
        """Raises Fenced also when somebody else was first to see it."""
        async with self._database.transaction() as connection:
            page = _Page(connection, operation, await moment(connection, self._clock))
            failed = (operations.c.id == operation.id, operations.c.epoch == operation.epoch)
            once = update(operations).where(*failed).where(operations.c.state == State.FAILED.value)
            once = once.where(operations.c.late_at.is_(None)).values(late_at=stored(page.at))
            if not (await connection.execute(once)).rowcount:
                raise _fenced(operation)
            await page.told("late", {"verb": operation.verb})

    async def found(self, operation: Operation, checked: Checked) -> None:
        """By compare-and-swap on the outcome. Raises Fenced also when somebody else was first to see it."""
        if operation.outcome is None:
            raise ValueError(f"{operation.id} has not ended")
        before, after = operation.outcome, replace(operation.outcome, checked=checked)
        async with self._database.transaction() as connection:
            page = _Page(connection, operation, await moment(connection, self._clock))
            ours = (operations.c.id == operation.id, operations.c.epoch == operation.epoch)
            once = update(operations).where(*ours, operations.c.outcome == canonical(to_plain(before)))
            if not (await connection.execute(once.values(outcome=canonical(to_plain(after))))).rowcount:
                raise _fenced(operation)
            await page.told("seen", {"verb": operation.verb, "checked": checked})

    @asynccontextmanager
    async def _writing(self, operation: Operation) -> AsyncIterator[_Page]:
        """A transaction in which the operation runs and is this executor's; raises Fenced otherwise."""
        async with self._database.transaction() as connection:
            page = _Page(connection, operation, await moment(connection, self._clock))
            await self._set(page, epoch=operation.epoch)
            yield page

    async def _set(self, page: _Page, *only_if: Any, **columns: Any) -> None:
        """Change the row where the epoch is the operation's and it runs; raises Fenced where not."""
        held = (
            operations.c.id == page.operation.id,
            operations.c.epoch == page.operation.epoch,
            operations.c.state == State.RUNNING.value,
        )
        statement = update(operations).where(*held, *only_if).values(**columns)
        if not (await page.connection.execute(statement)).rowcount:
            raise _fenced(page.operation)


async def _require_wanted(page: _Page) -> None:
    if takes_no_step(await read_in(page.connection, page.operation.id)):
        raise Cancelled(f"{page.operation.id} was cancelled")


async def _as_wanted(page: _Page, outcome: Outcome) -> Outcome:
    """An executor that had not heard of the cancel ends what somebody wanted to end."""
    is_wanted = outcome.state is State.FAILED and takes_no_step(await read_in(page.connection, page.operation.id))
    return outcome.by_cancelling() if is_wanted else outcome


async def _result_of(page: _Page, step: Step) -> str | None:
    """What became of the step when it was tried last."""
    own = (steps.c.operation == page.operation.id, steps.c.step_key == step.key)
    return (await page.connection.execute(select(steps.c.result).where(*own))).scalar_one_or_none()


async def _write_step(page: _Page, step: Step) -> int:
    """How often it was tried with this."""
    statement = insert(steps).values(
        operation=page.operation.id,
        step_key=step.key,
        action=step.action.value,
        kind=step.ref.kind.value,
        name=step.ref.name,
        uid=step.uid,
        replicas=step.replicas,
        attempts=1,
    )
    again = {"attempts": steps.c.attempts + 1, "replicas": step.replicas, "uid": step.uid, "result": None}
    statement = statement.on_conflict_do_update(index_elements=["operation", "step_key"], set_=again)
    attempts: int = (await page.connection.execute(statement.returning(steps.c.attempts))).scalar_one()
    return attempts


async def _write_result(page: _Page, result: Result, text: str) -> bool:
    """Whether the same failure was told before. Raises ValueError for a step that was never written down."""
    own = (steps.c.operation == page.operation.id, steps.c.step_key == result.step.key)
    before = (await page.connection.execute(select(steps.c.uid, steps.c.last_failure).where(*own))).one_or_none()
    if before is None:
        raise ValueError(f"{page.operation.id} has no step {result.step.key}")
    new = {"result": text, "uid": result.uid or before.uid}
    if result.error is not None:
        new["last_failure"] = text
    await page.connection.execute(update(steps).where(*own).values(**new))
    return bool(before.last_failure == text)


async def _write_arrival(page: _Page, arrived: str) -> bool:
    statement = insert(arrivals).values(
        operation=page.operation.id, phase=page.operation.phase, object=arrived
    )  # the primary key says once
    return bool((await page.connection.execute(statement.on_conflict_do_nothing())).rowcount)


async def _write_exit(page: _Page, seen: Exit) -> bool:
    statement = insert(exits).values(
        operation=page.operation.id, pod=seen.pod, pod_uid=seen.pod_uid, container=seen.container, code=seen.code
    )
    return bool((await page.connection.execute(statement.on_conflict_do_nothing())).rowcount)


def _step_data(step: Step, uid: str) -> dict[str, Any]:
    return {
        "action": step.action,
        "kind": step.ref.kind,
        "name": step.ref.name,
        "uid": uid,
        "replicas": step.replicas,
    }


def _finish_data(operation: Operation, outcome: Outcome) -> dict[str, Any]:
    seen: dict[str, Any] = to_plain(outcome)
    after = seen.pop("claims")
    return seen | {"verb": operation.verb, "claims_before": operation.goal.claims, "claims_after": after}


def _fenced(operation: Operation) -> Fenced:
    return Fenced(f"{operation.id} is no longer this executor's at epoch {operation.epoch}")
