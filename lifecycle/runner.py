"""The loop: observe, decide, record, do, until the end of the phase was SEEN."""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from lifecycle.decide import PHASES, phases_from
from lifecycle.errors import ClusterError, Conflict, Forbidden, Invalid, LeaseHeld, LeaseLost, Retryable
from lifecycle.model import Diagnosis, Exit, Observed, Step, Verb
from lifecycle.operation import Operation, Outcome, State
from lifecycle.phase import Phase
from lifecycle.plan import by_hand
from lifecycle.ports import Clock, Cluster, Journal, Lease, Result, Watch

log = logging.getLogger(__name__)

BACKOFF = (0.25, 8.0)
"""Seconds: the first and the longest pause after a step that Kubernetes did not take, doubled each time, jittered."""


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
        if not self.refusals:
            return None
        first, longest = BACKOFF
        return max(self.asked, min(longest, first * 2.0 ** (self.refusals - 1)) * random.uniform(0.5, 1.0))


@dataclass
class Runner:
    """Carries out operations, each under its namespace's Lease. ``executor`` names this process to people."""

    journal: Journal
    clock: Clock
    executor: str
    patience: float = 45.0
    """Seconds to wait for the Lease while somebody else renews it; longer than a dead holder's Lease lasts."""
    follow: timedelta = timedelta(minutes=30)
    """How long a failed start is still watched."""

    async def run(self, operation: Operation, cluster: Cluster, probe_url: str | None = None) -> Operation:
        """Take the operation up wherever it is and bring it to an end. Raises Fenced when somebody else took it."""
        while True:
            try:
                async with cluster.lease(self.executor, patience=self.patience) as lease:
                    stamped = False
                    while not stamped:
                        operation = await self._take(operation, cluster)
                        stamped = await self._stamp(operation, cluster, lease)
                    return await Execution(self, operation, cluster, lease, probe_url).through_all_phases()
            except LeaseLost:
                log.warning("lease lost, taking it up again", extra={"operation": operation.id})
            except (LeaseHeld, Stopped) as reason:
                return await self._stopped(operation, cluster, str(reason))
            except ClusterError as error:
                if isinstance(error, Retryable) and not self._expired(operation):
                    await asyncio.sleep(error.after or BACKOFF[0])
                    continue
                return await self._stopped(operation, cluster, str(error))

    async def _take(self, operation: Operation, cluster: Cluster) -> Operation:
        """Raise the epoch above every stamp."""
        highest = await cluster.highest_epoch(operation.goal.scope)
        return await self.journal.take(operation, self.executor, max(operation.epoch, highest) + 1)

    async def _stamp(self, operation: Operation, cluster: Cluster, lease: Lease) -> bool:
        """From here on no earlier executor can write; False when an object changed between read and write."""
        try:
            await cluster.stamp(operation.goal.scope, operation.epoch, lease)
        except Conflict:
            if self._expired(operation):
                raise Stopped("the epoch could not be stamped: something else keeps changing the workloads") from None
            return False
        return True

    def _expired(self, operation: Operation) -> bool:
        """Whether the phase's time was up before the loop itself could say so, because Kubernetes was away."""
        phase = phases_from(operation.verb, operation.phase)[0]
        begun = operation.phase_begun_at or operation.begun_at
        return self.clock.now() >= begun + limit_of(phase, operation)

    async def _stopped(self, operation: Operation, cluster: Cluster, reason: str) -> Operation:
        phase = phases_from(operation.verb, operation.phase)[0]
        refs = tuple(str(workload.ref) for workload in operation.goal.scope)
        diagnosis = await cluster.diagnose(operation.goal.topology, refs)
        return await self.journal.finished(
            operation,
            Outcome(
                state=State.FAILED,
                missing=refs,
                exits=await self.journal.exits(operation),
                diagnosis=diagnosis,
                error=f"{reason} (in phase {phase.name})",
            ),
        )

    async def follow_up(self, operation: Operation, cluster: Cluster) -> None:
        """Watch a failed operation's goal a while longer and say so when it is reached after all."""
        assert operation.ended_at is not None
        until = operation.ended_at + self.follow
        phase = PHASES[operation.verb][-1]
        async with cluster.watch(operation.goal.topology) as watch:
            while (left := (until - self.clock.now()).total_seconds()) > 0:
                observed = await watch.next(left)
                if observed and phase.reached(operation.goal, observed):
                    await self.journal.late(operation)
                    return


def limit_of(phase: Phase, operation: Operation) -> timedelta:
    """How long the phase may take: as configured when the operation began, else by its topology."""
    return timedelta(seconds=operation.limit) if operation.limit else phase.limit(operation.goal)


@dataclass
class Execution:
    """One executor's run of one operation, under one held Lease."""

    runner: Runner
    operation: Operation
    cluster: Cluster
    lease: Lease
    probe_url: str | None
    observed: Observed | None = None
    slow_told: bool = False
    sent: dict[str, int] = field(default_factory=dict)
    """The generation that each accepted step's object had in the picture it was decided on."""

    @property
    def journal(self) -> Journal:
        return self.runner.journal

    async def through_all_phases(self) -> Operation:
        """Phase after phase; the first whose end is not seen in time ends the operation."""
        phases = phases_from(self.operation.verb, self.operation.phase)
        async with self.cluster.watch(self.operation.goal.topology) as watch:
            for phase, following in zip(phases, (*phases[1:], None), strict=True):
                self.operation = await self.journal.entered(self.operation, limit_of(phase, self.operation))
                try:
                    if not await self._until_reached(phase, watch):
                        return await self._failed(phase)
                except Stopped as reason:
                    return await self._failed(phase, error=str(reason))
                if following:
                    self.operation = await self.journal.passed(self.operation, following.name)
        return await self._done()

    async def _until_reached(self, phase: Phase, watch: Watch) -> bool:
        """The core: False when the deadline passed and the end was not SEEN."""
        pace = Pace()
        while (wait := self._wait(phase, pace)) > 0:
            observed = await watch.next(wait)
            if observed is not None:
                self.observed = observed
                await self._tell_what_is_seen(phase, observed)
                if phase.reached(self.operation.goal, observed):
                    return True
            await self._tell_when_slow(phase)
            if observed is None:
                continue
            steps = self._not_yet_sent(phase.decide(self.operation.goal, observed), observed)
            pace.judge(await self._do_all(steps, observed))
        return False

    def _wait(self, phase: Phase, pace: Pace) -> float:
        """Seconds until there is a reason to look again even if nothing changes; at most 0 past the deadline."""
        left = self._seconds_left(phase)
        reasons = [left, pace.pause(), self._until_slow()]
        return min(reason for reason in reasons if reason is not None) if left > 0 else left

    def _seconds_left(self, phase: Phase) -> float:
        assert self.operation.phase_begun_at is not None
        deadline = self.operation.phase_begun_at + limit_of(phase, self.operation)
        return (deadline - self.runner.clock.now()).total_seconds()

    def _until_slow(self) -> float | None:
        """Seconds until the operation takes twice as long as usual; None when that is unknown, told or past."""
        if self.slow_told or not self.operation.expected:
            return None
        slow_at = self.operation.begun_at + 2 * timedelta(seconds=self.operation.expected)
        return max(0.01, (slow_at - self.runner.clock.now()).total_seconds())

    async def _tell_what_is_seen(self, phase: Phase, observed: Observed) -> None:
        goal = self.operation.goal
        self._refuse_strangers(observed)
        if observed.exits:
            await self.journal.witnessed(self.operation, observed.exits)
        arrived = [str(w.ref) for w in goal.scope if phase.arrived(goal, observed, w)]
        await self.journal.arrived(self.operation, arrived)

    def _refuse_strangers(self, observed: Observed) -> None:
        """An object of the same name with another uid is not what the goal was made for."""
        for workload in self.operation.goal.scope:
            uid = observed[workload].uid
            if uid is not None and uid != workload.uid:
                raise Stopped(f"{workload.ref} was replaced by another object of the same name")
            if uid is None and self.operation.verb is not Verb.STOP:
                raise Stopped(f"{workload.ref} was deleted")

    async def _tell_when_slow(self, phase: Phase) -> None:
        until = self._until_slow()
        if until is None or until > 0.01:
            return
        self.slow_told = True
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
        outcome = Outcome(
            state=State.FAILED,
            done=tuple(str(workload.ref) for workload in goal.scope if str(workload.ref) not in missing),
            missing=missing,
            claims=observed.claims if observed else (),
            exits=await self.journal.exits(self.operation),
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
            unseen=unseen_exits(self.operation, exits),
            traffic=None if self.operation.verb is Verb.STOP else await self.cluster.traffic(self.probe_url),
        )
        return await self.journal.finished(self.operation, outcome)


def unseen_exits(operation: Operation, exits: Sequence[Exit]) -> tuple[str, ...]:
    """The database containers that ran at the beginning and whose end nobody saw, as pod/container."""
    seen = {(end.pod_uid, end.container) for end in exits}
    return tuple(
        f"{pod.name}/{container.name}"
        for pod in operation.goal.databases
        for container in pod.containers
        if (pod.uid, container.name) not in seen
    )
