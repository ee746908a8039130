"""The journal of one operation after another in memory: for tests that begin hundreds of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from lifecycle.checks import Checked
from lifecycle.decide.cancel import refuse, takes_no_step
from lifecycle.diagnosis import Diagnosis
from lifecycle.errors import Cancelled, Fenced
from lifecycle.model import Person, Step
from lifecycle.operation import Cancellation, Operation, Outcome, State
from lifecycle.ports import Clock, Result
from lifecycle.snapshots import SnapshotSet
from lifecycle.verification import Verification
from lifecycle.volumes import Snapshot
from lifecycle.workloads import Exit
from tests.fakes.cluster import Crash


@dataclass
class MemoryJournal:
    """Keeps lifecycle.ports.Journal's promises; raises Crash after so many commits, the commit done."""

    clock: Clock
    rows: dict[str, Operation] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    """As they were written down, each before it was done."""
    seen: dict[str, list[Exit]] = field(default_factory=dict)
    sets: dict[str, SnapshotSet] = field(default_factory=dict)
    verifications: dict[str, Verification] = field(default_factory=dict)
    """By the operation that made them."""
    crash_after: int | None = None

    def begin(self, operation: Operation) -> Operation:
        epoch = max((row.epoch for row in self.rows.values()), default=0)
        assert operation.id not in self.rows
        assert not [row for row in self.rows.values() if row.state is State.RUNNING]
        self.rows[operation.id] = replace(operation, epoch=epoch)
        return self.rows[operation.id]

    def _held(self, operation: Operation) -> Operation:
        row = self.rows[operation.id]
        if row.epoch != operation.epoch or row.state is not State.RUNNING:
            raise Fenced(f"{operation.id} is no longer this executor's")
        return row

    def _require_wanted(self, row: Operation) -> None:
        if takes_no_step(row):
            raise Cancelled(row.id)

    def _commit(self, row: Operation) -> Operation:
        self.rows[row.id] = row
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after < 0:
                raise Crash
        return row

    def cancel(self, identity: str, person: Person, reason: str = "") -> None:
        """Raises NotCancellable."""
        refuse(self.rows[identity])
        made = Cancellation(person, self.clock.now(), reason)
        self.rows[identity] = replace(self.rows[identity], cancellation=made)

    async def take(self, operation: Operation, executor: str, epoch: int) -> Operation:
        assert epoch > operation.epoch
        return self._commit(replace(self._held(operation), executor=executor, epoch=epoch))

    async def current(self, operation: Operation) -> Operation:
        row = self.rows[operation.id]
        if row.state is not State.RUNNING:
            raise Fenced("ended")
        return row

    async def entered(self, operation: Operation, limit: timedelta) -> Operation:
        row = self._held(operation)
        return self._commit(replace(row, phase_begun_at=row.phase_begun_at or self.clock.now()))

    async def record(self, operation: Operation, steps: Sequence[Step]) -> None:
        row = self._held(operation)
        self._require_wanted(row)
        self.steps += steps
        self._commit(row)

    async def did(self, operation: Operation, results: Sequence[Result]) -> None:
        assert {result.step for result in results} <= set(self.steps)
        self._commit(self._held(operation))

    async def arrived(self, operation: Operation, objects: Sequence[str]) -> None:
        self._commit(self._held(operation))

    async def witnessed(self, operation: Operation, exits: Sequence[Exit]) -> None:
        own = self.seen.setdefault(operation.id, [])
        own += [one for one in exits if one not in own]
        self._commit(self._held(operation))

    async def exits(self, operation: Operation) -> tuple[Exit, ...]:
        self._held(operation)
        return tuple(self.seen.get(operation.id, ()))

    async def slow(self, operation: Operation, diagnosis: Diagnosis) -> None:
        self._commit(self._held(operation))

    async def saved(self, operation: Operation, snapshot_set: SnapshotSet) -> None:
        row = self._held(operation)
        assert self.sets.setdefault(operation.id, snapshot_set).members == snapshot_set.members
        self._commit(row)

    async def rebound(self, operation: Operation, found: Sequence[Snapshot]) -> None:
        row = self._held(operation)
        taken, now = self.sets[operation.goal.chosen], {one.claim: one for one in found}
        members = tuple(
            replace(one, uid=now[one.claim].uid, content=now[one.claim].content) if one.claim in now else one
            for one in taken.members
        )
        self.sets[taken.id] = replace(taken, members=members)
        self._commit(row)

    async def verified(self, operation: Operation, verification: Verification) -> None:
        row = self._held(operation)
        assert verification.by == operation.id
        self.verifications.setdefault(operation.id, verification)
        self._commit(row)

    async def passed(self, operation: Operation, following: str, capture: str = "") -> Operation:
        row = self._held(operation)
        self._require_wanted(row)
        assert row.phase == operation.phase
        return self._commit(replace(row, phase=following, phase_begun_at=None))

    async def turned_back(self, operation: Operation, failure: Outcome, following: str) -> Operation:
        row = self._held(operation)
        assert row.phase == operation.phase
        return self._commit(replace(row, phase=following, phase_begun_at=None, failure=failure))

    async def finished(self, operation: Operation, outcome: Outcome) -> Operation:
        row = self._held(operation)
        return self._commit(replace(row, state=outcome.state, outcome=outcome, ended_at=self.clock.now()))

    async def late(self, operation: Operation) -> None:
        self._commit(replace(self.rows[operation.id], late_at=self.clock.now()))

    async def found(self, operation: Operation, checked: Checked) -> None:
        row = self.rows[operation.id]
        assert row.outcome is not None
        self._commit(replace(row, outcome=replace(row.outcome, checked=checked)))
