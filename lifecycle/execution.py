"""One run of one operation: observe, decide, record, do, until the end of each phase was SEEN."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lifecycle.decide import phases_from
from lifecycle.errors import ClusterError, Conflict, Forbidden, Invalid, LeaseLost, Retryable
from lifecycle.model import Diagnosis, Exit, Observed, Step, Verb
from lifecycle.operation import Operation, Outcome, State
from lifecycle.phase import Phase
from lifecycle.plan import by_hand
from lifecycle.ports import Clock, Cluster, Journal, Lease, Result, Watch

BACKOFF = (0.25, 8.0)
"""Seconds: the first and the longest pause after a step that Kubernetes did not take, doubled each time, jittered."""


ONE_LOOK = 15.0
"""Seconds to wait for a first picture when an operation is taken up after its deadline."""


class Stopped(Exception):
    """The operation cannot go on; the text says why. Not a deadline: there is nothing to wait for."""


@dataclass
class Pace:
    """How long to wait for the next picture: until something changes, less after a step that has to be repeated."""

    refusals: int = 0
    asked: float = 0.0

    def judge(self, results: Sequence[Result]) -> None:
        """Raise what ends the operation; remember what only asks for patience."""
        for result in results:
            if isinstance(result.error, (Forbidden, Invalid)):
                raise Stopped(f"{result.step.workload}: {result.error}") from result.error
        refused = [result.error for result in results if result.error is not None]
        self.refusals = self.refusals + 1 if refused else 0
        self.asked = max((error.after or 0.0 for error in refused if isinstance(error, Retryable)), default=0.0)

    def pause(self) -> float | None:
        """Seconds after which to look again whatever happens; None when a change has to come first."""
        return backoff(self.refusals, self.asked) if self.refusals else None


def backoff(refusals: int, asked: float = 0.0) -> float:
    """Seconds to leave Kubernetes alone after so many refusals in a row, at least what it asked for; jittered."""
    first, longest = BACKOFF
    return max(asked, min(longest, first * 2.0 ** min(refusals - 1, 16)) * random.uniform(0.5, 1.0))


@dataclass
class Execution:
    """One executor's run of one operation, under one held Lease."""

    journal: Journal
    clock: Clock
    operation: Operation
    cluster: Cluster
    lease: Lease
    probe_url: str | None
    observed: Observed | None = None
    sent: dict[str, int] = field(default_factory=dict)
    """The generation that each accepted step's object had in the picture it was decided on."""
    told: set[str | Exit] = field(default_factory=set)
    """Arrivals and exits that this executor wrote down; the journal knows those of the others."""
    deadline: float = 0.0
    """Of the present phase, by the monotonic clock: a wall clock that jumps ends nothing early or late."""
    slow_at: float | None = None
    """By the monotonic clock; None when there is no usual time, or it was told."""

    async def through_all_phases(self) -> Operation:
        """Phase after phase; the first whose end is not seen in time ends the operation."""
        phases = phases_from(self.operation.verb, self.operation.phase)
        async with self.cluster.watch(self.operation.goal.topology) as watch:
            for phase, following in zip(phases, (*phases[1:], None), strict=True):
                await self._enter(phase)
                try:
                    if not await self._until_reached(phase, watch):
                        return await self._failed(phase)
                except Stopped as reason:
                    return await self._failed(phase, error=str(reason))
                if following:
                    self.operation = await self.journal.passed(self.operation, following.name)
        return await self._done()

    async def _enter(self, phase: Phase) -> None:
        """A phase that was entered before keeps its time; what is left of it counts from here."""
        limit = phase.time_for(self.operation)
        self.operation = await self.journal.entered(self.operation, limit)
        assert self.operation.phase_begun_at is not None
        self.told.clear()
        self.deadline = self._monotonic(self.operation.phase_begun_at + limit)
        if self.operation.expected:
            slow_at = self.operation.begun_at + 2 * timedelta(seconds=self.operation.expected)
            self.slow_at = self._monotonic(slow_at)

    def _monotonic(self, moment: datetime) -> float:
        clock = self.clock
        return clock.monotonic() + (moment - clock.now()).total_seconds()

    async def _until_reached(self, phase: Phase, watch: Watch) -> bool:
        """The core: False when the deadline passed and the end was not SEEN."""
        pace = Pace()
        while (wait := self._wait(pace)) > 0 or self.observed is None:
            overdue = wait <= 0  # nobody ran while the time passed: it may have been reached all the same
            observed = await watch.next(ONE_LOOK if overdue else wait)
            if observed is not None:
                self.observed = observed
                await self._tell_what_is_seen(phase, observed)
                if phase.reached(self.operation.goal, observed):
                    return True
            if overdue:
                return False
            await self._tell_when_slow(phase)
            if observed is None:
                continue
            await self._stamp_again(observed)
            steps = self._not_yet_sent(phase.decide(self.operation.goal, observed), observed)
            pace.judge(await self._do_all(steps, observed))
        return False

    def _wait(self, pace: Pace) -> float:
        """Seconds until there is a reason to look again even if nothing changes; at most 0 past the deadline."""
        now = self.clock.monotonic()
        left = self.deadline - now
        until_slow = None if self.slow_at is None else max(0.01, self.slow_at - now)
        reasons = [left, pace.pause(), until_slow]
        return min(reason for reason in reasons if reason is not None) if left > 0 else left

    async def _tell_what_is_seen(self, phase: Phase, observed: Observed) -> None:
        goal = self.operation.goal
        self._refuse_strangers(observed)
        if exits := [end for end in observed.exits if end not in self.told]:
            await self.journal.witnessed(self.operation, exits)
        there = [str(workload.ref) for workload in goal.scope if phase.arrived(goal, observed, workload)]
        if arrived := [name for name in there if name not in self.told]:
            await self.journal.arrived(self.operation, arrived)
        self.told.update(exits, arrived)

    async def _stamp_again(self, observed: Observed) -> None:
        """A stamp that somebody removed would turn every step away."""
        scope = self.operation.goal.scope
        if any(observed[one].exists and observed[one].epoch < self.operation.epoch for one in scope):
            with suppress(Conflict):  # the next picture tells whose it is now
                await self.cluster.stamp(scope, self.operation.epoch, self.lease)

    def _refuse_strangers(self, observed: Observed) -> None:
        """An object of the same name with another uid is not what the goal was made for."""
        for workload in self.operation.goal.scope:
            uid = observed[workload].uid
            if uid is not None and uid != workload.uid:
                raise Stopped(f"{workload.ref} was replaced by another object of the same name")
            if uid is None:  # a stop keeps every object: one that is gone must not pass for stopped
                raise Stopped(f"{workload.ref} was deleted")

    async def _tell_when_slow(self, phase: Phase) -> None:
        if self.slow_at is None or self.slow_at > self.clock.monotonic():
            return
        self.slow_at = None
        await self.journal.slow(self.operation, await self._diagnose(phase))

    def _not_yet_sent(self, steps: Sequence[Step], observed: Observed) -> list[Step]:
        """Without the steps whose effect this picture is too old to show: each raises the object's generation."""
        return [step for step in steps if self.sent.get(step.key) != observed.workloads[step.workload].generation]

    async def _do_all(self, steps: Sequence[Step], observed: Observed) -> list[Result]:
        """Written before they are done; every outcome is collected before any is judged."""
        if not steps:
            return []
        await self.journal.record(self.operation, steps, observed)
        results = list(await asyncio.gather(*(self._do(step) for step in steps)))
        await self.journal.did(self.operation, results)
        for result in results:
            if isinstance(result.error, LeaseLost):
                raise result.error
            if result.error is None:
                self.sent[result.step.key] = observed.workloads[result.step.workload].generation
        return results

    async def _do(self, step: Step) -> Result:
        operation = self.operation
        try:
            uid = await self.cluster.do(step, operation.goal.scope, operation.epoch, self.lease, operation.id)
        except ClusterError as error:
            return Result(step, error=error)
        return Result(step, uid=uid)

    def _missing(self, phase: Phase) -> tuple[str, ...]:
        goal = self.operation.goal
        workloads = goal.scope if self.observed is None else phase.missing(goal, self.observed)
        return tuple(str(workload.ref) for workload in workloads)

    async def _diagnose(self, phase: Phase) -> Diagnosis:
        return await self.cluster.diagnose(self.operation.goal.topology, self._missing(phase))

    async def _failed(self, phase: Phase, error: str | None = None) -> Operation:
        goal, observed = self.operation.goal, self.observed
        missing = self._missing(phase)
        exits = await self.journal.exits(self.operation)
        outcome = Outcome(
            state=State.FAILED,
            done=tuple(str(workload.ref) for workload in goal.scope if str(workload.ref) not in missing),
            missing=missing,
            claims=observed.claims if observed else (),
            exits=exits,
            unseen=unseen_exits(self.operation, exits, observed) if observed else (),
            diagnosis=await self._diagnose(phase),
            by_hand=by_hand(goal, observed, phase) if observed else (),
            error=error,
        )
        return await self.journal.finished(self.operation, outcome)

    async def _done(self) -> Operation:
        goal, observed = self.operation.goal, self.observed
        assert observed is not None
        exits = await self.journal.exits(self.operation)
        outcome = Outcome(
            state=State.DONE,
            done=tuple(str(workload.ref) for workload in goal.scope),
            claims=observed.claims,
            exits=exits,
            unseen=unseen_exits(self.operation, exits, observed),
            traffic=None if self.operation.verb is Verb.STOP else await self.cluster.traffic(self.probe_url),
        )
        return await self.journal.finished(self.operation, outcome)


def unseen_exits(operation: Operation, exits: Sequence[Exit], observed: Observed) -> tuple[str, ...]:
    """The database containers, as pod/container, that ran at the beginning, are gone, and whose end nobody saw."""
    seen = {(end.pod_uid, end.container) for end in exits}
    there = {pod.uid for state in observed.workloads.values() for pod in state.pods}
    return tuple(
        f"{pod.name}/{container.name}"
        for pod in operation.goal.databases
        for container in pod.containers
        if pod.uid not in there and (pod.uid, container.name) not in seen
    )
