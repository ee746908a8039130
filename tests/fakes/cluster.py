"""A TML cluster in memory behind the cluster port: real enough for the loop, with faults on demand."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from lifecycle.errors import ClusterError, Conflict, Gone, LeaseHeld, LeaseLost
from lifecycle.model import (
    Action,
    Diagnosis,
    Discovery,
    Exit,
    Finding,
    Observed,
    Ref,
    Step,
    Target,
    Traffic,
    WorkloadState,
)
from lifecycle.ports import Lease, Right
from lifecycle.topology import Topology, arranged
from tests.fakes import values


class Crash(Exception):
    """The process died at this point."""


@dataclass
class FakeClock:
    """Time that moves when somebody waits."""

    at: datetime = values.NOW

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - values.NOW).total_seconds()

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class FakeLease:
    is_held: bool = True


@dataclass
class FakeCluster:
    """Each look lets every controller do one move; `never_ready` keeps a workload from ever becoming ready.

    `crash_after` counts effects on the cluster down and raises Crash when it reaches zero, the effect done.
    """

    found: Discovery
    clock: FakeClock
    target: Target = values.TARGET
    never_ready: set[Ref] = field(default_factory=set)
    errors: list[ClusterError] = field(default_factory=list)
    crash_after: int | None = None
    states: dict[Ref, WorkloadState] = field(default_factory=dict)
    writes: list[tuple[str, Step]] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    killed: set[Ref] = field(default_factory=set)
    looks: int = 0
    unstamped_at: dict[int, Ref] = field(default_factory=dict)
    """By the number of the look: whose stamp somebody removes then."""
    deleted_at: dict[int, Ref] = field(default_factory=dict)
    """By the number of the look: which workload somebody deletes then."""
    holders: list[str] = field(default_factory=list)
    """Who is seen to hold the Lease at the next attempts."""

    def __post_init__(self) -> None:
        self.states = self.states or dict(self.found.observed.workloads)

    async def discover(self) -> Discovery:
        return replace(self.found, observed=self.observed())

    async def missing_rights(self) -> tuple[Right, ...]:
        return ()

    @asynccontextmanager
    async def lease(self, holder: str, *, patience: float) -> AsyncIterator[Lease]:
        if self.holders:
            self.clock.advance(patience)
            raise LeaseHeld(self.target.namespace, self.holders.pop(0))
        yield FakeLease()

    async def highest_epoch(self, topology: Topology) -> int:
        return max((self.states[workload.ref].epoch for workload in topology), default=0)

    async def stamp(self, topology: Topology, epoch: int, lease: Lease) -> None:
        for workload in topology:
            if self.states[workload.ref].uid != workload.uid:
                raise Gone(f"{workload.ref} was replaced by another object of the same name")
            if self.states[workload.ref].epoch > epoch:
                raise Conflict("a higher epoch is stamped")
            if self.states[workload.ref].epoch < epoch:
                self.states[workload.ref] = replace(self.states[workload.ref], epoch=epoch)
                self._effect()

    async def do(self, step: Step, topology: Topology, epoch: int, lease: Lease, operation: str) -> str:
        await asyncio.sleep(0)
        if not lease.is_held:
            raise LeaseLost("not held")
        if self.errors:
            raise self.errors.pop(0)
        state = self.states[step.workload]
        if state.epoch != epoch:
            raise Conflict("another epoch is stamped")
        newer = replace(state, generation=state.generation + 1)
        match step.action:
            case Action.SCALE_TO_ZERO:
                if state.replicas != step.replicas:
                    raise Conflict("the count changed")
                newer = replace(newer, replicas=0, remembered=step.replicas)
            case Action.SCALE_UP:
                newer = replace(newer, replicas=step.replicas)
            case Action.ROLLOUT_RESTART:
                newer = replace(newer, restarted_by=operation, ready=0, updated=0, available=0)
        self.states[step.workload] = newer
        self.writes.append((operation, step))
        self._effect()
        return topology[step.workload].uid

    def _effect(self) -> None:
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after < 0:
                raise Crash

    @asynccontextmanager
    async def watch(self, topology: Topology) -> AsyncIterator["FakeWatch"]:
        yield FakeWatch(self)

    async def diagnose(self, topology: Topology, missing: Sequence[str]) -> Diagnosis:
        return Diagnosis(tuple(Finding(name, "NotReady", "the readiness probe fails") for name in missing))

    async def traffic(self, probe_url: str | None) -> Traffic:
        return Traffic(Traffic.ANSWERS, probe_url or "")

    def observed(self) -> Observed:
        return Observed(self.clock.now(), dict(self.states), self.found.observed.claims, tuple(self.exits))

    def move(self) -> None:
        """One move of every controller, judged on what was there before it."""
        before = dict(self.states)
        for workload in arranged(self.found.workloads):
            state = before[workload.ref]
            needs = arranged(self.found.workloads).needs_of(workload)
            needs_met = all(before[need.ref].is_ready(need.ref.kind) for need in needs)
            may = needs_met and workload.ref not in self.never_ready
            self.states[workload.ref] = self._moved(workload.ref, state, may_be_ready=may)

    def _moved(self, ref: Ref, state: WorkloadState, *, may_be_ready: bool) -> WorkloadState:
        if state.observed_generation < state.generation:
            return replace(state, observed_generation=state.generation)
        if len(state.pods) != state.replicas:
            workload = next(w for w in self.found.workloads if w.ref == ref)
            code = 137 if ref in self.killed else 0
            if not state.replicas:
                self.exits += [
                    Exit(pod.name, pod.uid, container.name, code) for pod in state.pods for container in pod.containers
                ]
            fresh = values.pods(workload, state.replicas, ready=False)
            return replace(state, pods=fresh, status_replicas=len(fresh), ready=0, available=0, updated=len(fresh))
        if may_be_ready and state.replicas:
            n = state.replicas
            return replace(state, ready=n, available=n, updated=n, revision_settled=True)
        return state


@dataclass
class FakeWatch:
    """A picture that differs after every move; waiting for one that does not change takes its whole time."""

    cluster: FakeCluster
    last: Observed | None = None

    async def next(self, wait: float) -> Observed | None:
        await asyncio.sleep(0)
        cluster = self.cluster
        cluster.looks += 1
        assert cluster.looks < 5000, "the loop spins"
        if ref := cluster.deleted_at.get(cluster.looks):
            cluster.states[ref] = WorkloadState(uid=None)
        if ref := cluster.unstamped_at.get(cluster.looks):
            cluster.states[ref] = replace(cluster.states[ref], epoch=0)
        if self.last is not None:
            cluster.move()
        seen = cluster.observed()
        if self.last is not None and replace(seen, at=self.last.at) == self.last:
            cluster.clock.advance(wait)
            seen = cluster.observed()
        else:
            cluster.clock.advance(1)
        self.last = seen
        return seen
