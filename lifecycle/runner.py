"""Who runs an operation: the Lease, the epoch, taking it up again, and what becomes of it when none of that works."""

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import timedelta

from lifecycle.checks import Checked
from lifecycle.decide import phases_from, phases_of, quiescing, snapshot, way_back
from lifecycle.decide.cancel import takes_no_step
from lifecycle.errors import Cancelled, ClusterError, Conflict, LeaseHeld, LeaseLost, Retryable
from lifecycle.execution import Deadlines, Execution, Stopped, backoff
from lifecycle.operation import Operation, Outcome, State
from lifecycle.phase import Phase
from lifecycle.ports import Clock, Cluster, Journal, Lease

log = logging.getLogger(__name__)

HELD = (snapshot.CUT.name, quiescing.RESUMED.name)
"""Phases in which a command that was run around a hot cut may hold something."""


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
    seek: timedelta = timedelta(hours=2)
    """How long a configuration that was not seen is still looked for: MOM synchronises hourly (domain, section 5)."""
    rest: float = 60.0
    """Seconds between two looks for it."""

    async def run(self, operation: Operation, cluster: Cluster, probe_url: str | None = None) -> Operation:
        """Take the operation up wherever it is and bring it to an end. Raises Fenced when somebody else took it."""
        refusals, deadlines = 0, Deadlines(self.clock)
        deadlines.of(operation)
        while True:
            try:
                async with cluster.lease(self.executor, patience=self.patience) as lease:
                    await _require_same_kubernetes(operation, cluster)
                    operation = await self._take(operation, cluster)
                    while not await self._stamp(operation, cluster, lease, deadlines):
                        refusals += 1
                        await asyncio.sleep(backoff(refusals))
                        operation = await self._take(operation, cluster)
                    return await Execution(
                        self.journal, self.clock, operation, cluster, lease, probe_url, deadlines
                    ).through_all_phases()
            except LeaseLost:
                log.warning("lease lost, taking it up again", extra={"operation": operation.id})
            except Cancelled:
                log.info("cancelled, taking it up to end it", extra={"operation": operation.id})
            except LeaseHeld as held:
                operation = await self.journal.current(operation)
                if held.holder != operation.executor:
                    return await self._stopped(operation, cluster, str(held))
                # whoever holds it carries this very operation out: wait for its end, or for its own
            except (Stopped, ClusterError) as reason:
                operation = await self._latest(operation)
                if takes_no_step(operation):
                    deadlines.hurry(operation)
                if isinstance(reason, Retryable) and not deadlines.is_over(operation):
                    refusals += 1
                    await asyncio.sleep(backoff(refusals, reason.after or 0.0))
                    continue
                operation = await self._given_up(operation, cluster, str(reason))
                if operation.state is not State.RUNNING:
                    return operation

    async def _take(self, operation: Operation, cluster: Cluster) -> Operation:
        """Raise the epoch above every stamp."""
        highest = await cluster.highest_epoch(operation.goal)
        return await self.journal.take(operation, self.executor, max(operation.epoch, highest) + 1)

    async def _stamp(self, operation: Operation, cluster: Cluster, lease: Lease, deadlines: Deadlines) -> bool:
        """From here on no earlier executor can write; False when an object changed between read and write."""
        try:
            await cluster.stamp(operation.goal, operation.epoch, lease)
        except Conflict:
            if deadlines.is_over(operation):
                raise Stopped("the epoch could not be stamped: something else keeps changing the workloads") from None
            return False
        return True

    async def _latest(self, operation: Operation) -> Operation:
        """In the phase that it went on to since, still at our epoch: what somebody else took stays theirs."""
        return replace(await self.journal.current(operation), epoch=operation.epoch)

    async def _given_up(self, operation: Operation, cluster: Cluster, reason: str) -> Operation:
        """End it, or go on with its way back where there is one."""
        if back := way_back(operation.goal, _phase(operation)):
            return await self.journal.turned_back(operation, await self._failure(operation, cluster, reason), back.name)
        return await self._stopped(operation, cluster, reason)

    async def _stopped(self, operation: Operation, cluster: Cluster, reason: str) -> Operation:
        """End it as failed, and with the failure that made it turn back, if it did."""
        failure = await self._failure(operation, cluster, reason)
        return await self.journal.finished(operation, operation.ended(failure))

    async def _failure(self, operation: Operation, cluster: Cluster, reason: str) -> Outcome:
        """Without a picture: what is done and what not is not known here, and nothing is claimed."""
        refs = [str(workload.ref) for workload in operation.goal.scope]
        exits = await self.journal.exits(operation)
        lines = quiescing.by_hand(operation.goal, None) if operation.phase in HELD else ()
        found = Outcome(State.FAILED, exits=exits, error=reason, by_hand=lines)
        if takes_no_step(operation):
            return found.by_cancelling()
        return replace(found, diagnosis=await cluster.diagnose(operation.goal.topology, refs))

    async def follow_up(self, operation: Operation, cluster: Cluster) -> None:
        """Watch a failed operation's goal a while longer and say so when it is reached after all."""
        assert operation.ended_at is not None
        until = operation.ended_at + self.follow
        phase = phases_of(operation.goal)[-1]
        async with cluster.watch(operation.goal) as watch:
            while (left := (until - self.clock.now()).total_seconds()) > 0:
                observed = await watch.next(left)
                if observed and phase.reached(operation.goal, observed):
                    await self.journal.late(operation)
                    return

    async def look_for_configuration(self, operation: Operation, cluster: Cluster) -> None:
        """Run the check of a start or restore that is done a while longer, and say so when it passes after all."""
        assert operation.ended_at is not None
        until = operation.ended_at + self.seek
        while self.clock.now() < until:
            await asyncio.sleep(self.rest)
            checked = await cluster.check(operation.goal.topology)
            if checked is None or checked.verdict == Checked.FORBIDDEN:
                return
            if checked.is_seen:
                await self.journal.found(operation, checked)
                return


async def _require_same_kubernetes(operation: Operation, cluster: Cluster) -> None:
    """In another one everything would look as if it were gone."""
    began_in = operation.goal.kubernetes
    if began_in and await cluster.identity() != began_in:
        raise Stopped(f"{operation.target} is another Kubernetes cluster than the one in which this began")


def _phase(operation: Operation) -> Phase:
    return phases_from(operation.goal, operation.phase)[0]
