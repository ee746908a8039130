"""A TML cluster in memory behind the cluster port: real enough for the loop, with faults on demand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from lifecycle.checks import Checked
from lifecycle.diagnosis import Diagnosis, Finding, Traffic
from lifecycle.errors import ClusterError, Conflict, Gone, LeaseHeld, LeaseLost, NothingFound
from lifecycle.model import Action, Ref, Step, Target, Verb
from lifecycle.observed import Difference, Discovery, Inventory, Observed, Part, Stream
from lifecycle.operation import Goal, Operation
from lifecycle.ports import Lease, Right, Use
from lifecycle.snapshots import FLUSHING, Grouping
from lifecycle.topology import Topology
from lifecycle.verification import Leftover, Likeness
from lifecycle.workloads import Owner
from tests.fakes import values
from tests.fakes.quiescing import Pods
from tests.fakes.world import NAMELESS, World


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
    """Each look lets every controller do one move.

    `crash_after` counts effects on the cluster down and raises Crash when it reaches zero, the effect done.
    """

    found: Discovery
    clock: FakeClock
    target: Target = values.TARGET
    world: World = field(default_factory=lambda: World({}, {}))
    errors: list[ClusterError] = field(default_factory=list)
    """Answers to the next steps, whichever they are; World.faults has those of one step."""
    unreadable: dict[int, ClusterError] = field(default_factory=dict)
    """By the number of the look: why there is no picture."""
    crash_after: int | None = None
    writes: list[tuple[str, Step]] = field(default_factory=list)
    looks: int = 0
    unstamped_at: dict[int, Ref] = field(default_factory=dict)
    """By the number of the look: whose stamp somebody removes then."""
    deleted_at: dict[int, Ref] = field(default_factory=dict)
    """By the number of the look: which workload somebody deletes then."""
    meanwhile: Callable[[Observed], None] = lambda _observed: None
    """What somebody else does before each look, told of the last one."""
    checked: Checked | None = None
    """What comes of the configured check; None: none is."""
    scaled_by: dict[Ref, tuple[Owner, ...]] = field(default_factory=dict)
    """Who scales what has this name, whether or not it is there."""
    kubernetes: str = "uid-of-kube-system"
    """Which Kubernetes cluster it is in; empty: that may not be read."""
    holders: list[str] = field(default_factory=list)
    """Who is seen to hold the Lease at the next attempts."""

    def __post_init__(self) -> None:
        if not self.world.workloads:
            self.world = World.of(self.found, values.inventory(self.found))
        self.pods = Pods(self.world)

    async def identity(self) -> str:
        return self.kubernetes

    async def discover(self) -> Discovery:
        world = self.world
        there = tuple(replace(one, uid=world.uid_of(ref)) for ref, one in world.workloads.items() if world.uid_of(ref))
        if not there:
            raise NothingFound("no TML workload")
        return replace(self.found, workloads=there, observed=world.picture(NAMELESS, self.clock.now()))

    async def inventory(self, discovery: Discovery) -> Inventory:
        world = self.world
        behind = {claim.volume for claim in world.claims.values()}
        volumes = tuple(volume for name, volume in world.volumes.items() if name in behind)
        parts = tuple(world.parts.values())
        return Inventory(volumes, parts, world.snapshot_classes, may_execute=world.may_execute)

    async def grouping(self) -> Grouping:
        return self.world.grouping

    async def log_streams(self, discovery: Discovery) -> tuple[Stream, ...]:
        return ()

    async def parts(self, discovery: Discovery) -> tuple[Part, ...]:
        return tuple(self.world.parts.values())

    async def differences(self, goal: Goal, refs: Sequence[Ref]) -> tuple[Difference, ...]:
        assert goal.captured == self.world.picture(goal).capture
        return tuple(one for ref, one in self.world.differences.items() if ref in refs)

    async def owners(self, refs: Sequence[Ref]) -> Mapping[Ref, tuple[Owner, ...]]:
        return {ref: owners for ref, owners in self.scaled_by.items() if ref in refs}

    async def picture(self, goal: Goal) -> Observed:
        return self.world.picture(goal, self.clock.now())

    async def likenesses(self, taken: Operation, captured: str) -> Mapping[str, Likeness]:
        return {claim.name: Likeness(f"registry/{claim.name}:1", "/mnt") for claim in taken.goal.claims}

    async def leftovers(self) -> tuple[Leftover, ...]:
        return self.world.scratch.leftovers

    async def missing_rights(self, verb: Verb) -> tuple[Right, ...]:
        return ()

    async def missing_rights_to(self, use: Use) -> tuple[Right, ...]:
        return ()

    async def missing_rights_to_copies(self, namespaces: Sequence[str]) -> tuple[Right, ...]:
        return ()

    async def home(self) -> str:
        return "uid-home"

    @asynccontextmanager
    async def lease(self, holder: str, *, patience: float) -> AsyncIterator[Lease]:
        if self.holders:
            self.clock.advance(patience)
            raise LeaseHeld(self.target.namespace, self.holders.pop(0))
        yield FakeLease()

    async def highest_epoch(self, goal: Goal) -> int:
        states = [self.world.states[one.ref].epoch for one in goal.scope if one.ref in self.world.states]
        claims = [claim.epoch for claim in self.world.claims.values() if claim.ref in goal.stamped_claims]
        return max((*states, *claims), default=0)

    async def stamp(self, goal: Goal, epoch: int, lease: Lease) -> None:
        states, claims = self.world.states, self.world.claims
        for workload in goal.scope:
            if workload.ref not in states:
                continue
            if not goal.is_ours(workload, states[workload.ref]):
                raise Gone(f"{workload.ref} was replaced by another object of the same name")
            if self._is_lower(states[workload.ref].epoch, epoch):
                states[workload.ref] = replace(states[workload.ref], epoch=epoch)
                self._effect()
        for claim in [one for one in goal.claims if one.ref in goal.stamped_claims]:
            there = claims.get(claim.name)
            if there and there.uid == claim.uid and self._is_lower(there.epoch, epoch):
                claims[claim.name] = replace(there, epoch=epoch)
                self._effect()

    def _is_lower(self, stamped: int, epoch: int) -> bool:
        if stamped > epoch:
            raise Conflict("a higher epoch is stamped")
        return stamped < epoch

    async def do(self, step: Step, operation: Operation, lease: Lease) -> str:
        await asyncio.sleep(0)
        if not lease.is_held:
            raise LeaseLost("not held")
        if self.errors:
            raise self.errors.pop(0)
        if step.action is Action.FLUSH and step.ref in self.world.unflushed:
            self.clock.advance(FLUSHING.total_seconds())
        if step.action in (Action.QUIESCE, Action.RESUME):
            for _ in self.pods.do(step, operation.goal, operation.epoch):
                self._effect()
            return step.uid
        uid = self.world.apply(step, operation.goal, operation.epoch)
        self.writes.append((operation.id, step))
        self._effect()
        return uid

    def _effect(self) -> None:
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after < 0:
                raise Crash

    @asynccontextmanager
    async def watch(self, goal: Goal) -> AsyncIterator["FakeWatch"]:
        yield FakeWatch(self, goal)

    async def diagnose(self, topology: Topology, missing: Sequence[str]) -> Diagnosis:
        return Diagnosis(tuple(Finding(name, "NotReady", "the readiness probe fails") for name in missing))

    async def check(self, topology: Topology) -> Checked | None:
        return self.checked

    async def traffic(self, probe_url: str | None) -> Traffic:
        return Traffic(Traffic.ANSWERS, probe_url or "")


@dataclass
class FakeWatch:
    """A picture that differs after every move; waiting for one that does not change takes its whole time."""

    cluster: FakeCluster
    goal: Goal
    last: Observed | None = None

    async def next(self, wait: float) -> Observed | None:
        await asyncio.sleep(0)
        cluster, world = self.cluster, self.cluster.world
        cluster.looks += 1
        assert cluster.looks < 5000, "the loop spins"
        if error := cluster.unreadable.pop(cluster.looks, None):
            raise error
        if ref := cluster.deleted_at.get(cluster.looks):
            del world.states[ref]
        if ref := cluster.unstamped_at.get(cluster.looks):
            world.states[ref] = replace(world.states[ref], epoch=0)
        if self.last is not None:
            cluster.pods.move()
            cluster.meanwhile(self.last)
        seen = await cluster.picture(self.goal)
        if self.last is not None and replace(seen, at=self.last.at) == self.last:
            cluster.clock.advance(wait)
            seen = await cluster.picture(self.goal)
        else:
            cluster.clock.advance(1)
        self.last = seen
        return seen
