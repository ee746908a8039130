"""A cluster of two databases that is deleted and brought back, cut off where a test wants it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from bot.captures import picture_with_capture
from lifecycle.decide import delete, in_place, restore, snapshot, start, stop, verify
from lifecycle.errors import ClusterError, Conflict, Forbidden, Invalid, Retryable, Unsafe
from lifecycle.model import Component, Step
from lifecycle.observed import Discovery
from lifecycle.operation import Goal, Operation, Outcome, State
from lifecycle.quiescing import HotCommands
from lifecycle.runner import Runner
from lifecycle.snapshots import SnapshotSet, Temperature, name_of
from tests.fakes import values
from tests.fakes.cluster import Crash, FakeClock, FakeCluster
from tests.fakes.journal import MemoryJournal
from tests.fakes.world import Fault, World

NOSQL, SQL = values.workload(Component.NOSQL), values.workload(Component.SQL)
PAIR = (NOSQL, SQL)
NOSQL_CLAIM, SQL_CLAIM = values.CLAIMS
NOSQL_VOLUME, SQL_VOLUME = (values.volume_of(claim) for claim in values.CLAIMS)
FULL = {claim.name: f"bytes of {claim.name}" for claim in values.CLAIMS}
"""What each pod finds on its claim as long as nothing was lost."""


def pair(*, running: bool = True) -> Discovery:
    """Two databases, or the two at zero with the note of three replicas each."""
    states = {} if running else {one.component: values.down(one, 3) for one in PAIR}
    return values.discovery(states, workloads=PAIR)


@dataclass
class Scene:
    """One cluster and the bots that work on it, one after another."""

    running: bool = True
    cuts: bool = False
    """Whether the storage cuts snapshots."""
    copies: tuple[str, ...] = ()
    """Where its captures are copied to."""
    clock: FakeClock = field(default_factory=FakeClock)
    of: Discovery | None = None
    """Another cluster than the two databases."""

    def __post_init__(self) -> None:
        found = self.of or pair(running=self.running)
        stored = values.csi_inventory(found) if self.cuts else values.inventory(found)
        self.cluster = FakeCluster(found, self.clock, world=World.of(found, stored))
        self.journal = MemoryJournal(self.clock)

    @property
    def world(self) -> World:
        return self.cluster.world

    def begin(self, goal: Goal, identity: str) -> Operation:
        goal = replace(goal, mark=identity, kubernetes=self.cluster.kubernetes)
        operation = replace(values.operation(goal, identity), begun_at=self.clock.now())
        return self.journal.begin(operation)

    async def run(self, operation: Operation) -> Operation:
        return await Runner(self.journal, self.clock, "test/1").run(operation, self.cluster)

    async def delete(self, identity: str = "op-delete", *, keeps_services: bool = False) -> Operation:
        found = await self.cluster.discover()
        stored = await self.cluster.inventory(found)
        goal = delete.goal(found, stored, keeps_services=keeps_services)
        goal = snapshot.as_far_as_possible(goal, found, stored, (), None)
        return self.begin(replace(goal, copies=self.copies), identity)

    async def snapshot(
        self, temperature: Temperature, identity: str = "op-cutset", commands: HotCommands | None = None
    ) -> Operation:
        found = await self.cluster.discover()
        stored = await self.cluster.inventory(found)
        made = replace(snapshot.goal(found, stored, temperature, ()), copies=self.copies)
        return self.begin(snapshot.held_still(made, await self.cluster.grouping(), commands), identity)

    async def verify(self, identity: str = "op-verify", of: str = "op-cutset") -> Operation:
        taken, by = self.journal.sets[of], self.journal.rows[of]
        goal = verify.goal(taken, by, await self.cluster.likenesses(by, taken.capture), {})
        verify.refuse_lost(goal, await self.cluster.picture(goal))
        return self.begin(goal, identity)

    async def stop(self, identity: str = "op-stop00") -> Operation:
        """With a set on the way."""
        found = await self.cluster.discover()
        goal = snapshot.on_the_way(stop.goal(found), found, await self.cluster.inventory(found), ())
        return self.begin(goal, identity)

    async def restore(self, deleted: Operation, identity: str = "op-return", of: str = "") -> Operation:
        """From the kept volumes, or from a set that was taken before."""
        taken, by = (self.journal.sets[of], self.journal.rows[of]) if of else (None, None)
        draft = restore.draft(deleted, taken, by)
        wanted, observed = await picture_with_capture(self.cluster, draft, deleted.goal.copies)
        return self.begin(restore.goal(wanted, observed), identity)

    async def exchange(self, of: str, identity: str = "op-place0") -> Operation:
        """Back to a set, in place."""
        found = await self.cluster.discover()
        stored = await self.cluster.inventory(found)
        half_done = next((row for row in self.journal.rows.values() if in_place.is_half_done(row)), None)
        goal = in_place.goal(found, stored, self.journal.sets[of], self.journal.rows[of], (), half_done)
        return self.begin(in_place.with_lost(goal, await self.cluster.picture(goal)), identity)

    async def start(self, identity: str = "op-start0") -> Operation:
        return self.begin(start.goal(await self.cluster.discover(), {}, {}), identity)

    async def cut_off(self, operation: Operation) -> Operation | None:
        """Run until the process dies; None when it came to its end before."""
        try:
            await self.run(operation)
        except Crash:
            self.cluster.crash_after = self.journal.crash_after = None
            return self.journal.rows[operation.id]
        return None

    async def ended(self, left: Operation, *, goes_on: bool) -> Operation:
        """Of one that was cut off: taken up and brought to its end, or given up."""
        if not goes_on:
            return await self.end_as_failed(left)
        ended = left if left.state is State.DONE else await self.run(left)
        assert ended.state is State.DONE
        return ended

    async def end_as_failed(self, operation: Operation) -> Operation:
        """A person gave it up where it is."""
        if operation.state is not State.RUNNING:
            return operation
        taken = await self.journal.take(operation, "test/2", operation.epoch + 100)
        return await self.journal.finished(taken, Outcome(State.FAILED, error="given up"))

    async def bring_back(self, deleted: Operation) -> None:
        """By a restore, or by a start where nothing was written down yet, and so nothing removed."""
        if self.world.captures:
            assert (await self.run(await self.restore(deleted))).state is State.DONE
            return
        with pytest.raises(Unsafe, match="the capture of op-delete is not there"):
            await self.restore(deleted)
        assert len(self.world.states) == len(PAIR)
        if not self.runs:
            assert (await self.run(await self.start())).state is State.DONE

    @property
    def runs(self) -> bool:
        states = self.world.states
        return all(one.ref in states and states[one.ref].is_ready(one.ref.kind) for one in PAIR)

    @property
    def policies(self) -> set[tuple[str, str]]:
        """Of all volumes: the reclaim policy, and by whom it is kept."""
        return {(volume.policy, volume.kept_by) for volume in self.world.volumes.values()}

    @property
    def is_whole(self) -> bool:
        """Running on what it had, with the policies it had."""
        return self.runs and self.world.contents() == FULL and self.policies == {("Delete", "")}

    @property
    def bytes_are_there(self) -> bool:
        return set(FULL.values()) <= set(self.world.data.values())

    def is_good(self, taken: SnapshotSet) -> bool:
        """All of it is there, outlives the namespace, and holds what was on the volumes."""
        there = [self.world.snapshots[name_of(taken.id, claim)] for claim in FULL]
        return all(one.is_saved for one in there) and {one.claim: self.world.cuts[one.handle] for one in there} == FULL

    @property
    def is_empty(self) -> bool:
        return not (self.world.states or self.world.claims or self.world.parts)


Cut = Callable[[Scene, int], None]


def after_effect(scene: Scene, count: int) -> None:
    scene.cluster.crash_after = count


def after_commit(scene: Scene, count: int) -> None:
    scene.journal.crash_after = count


CUTS = [pytest.param(after_effect, id="effect"), pytest.param(after_commit, id="commit")]
cut_anywhere = pytest.mark.parametrize("cut", CUTS)
taken_up_or_given_up = pytest.mark.parametrize("goes_on", [True, False], ids=["taken up", "given up"])

NO = [Forbidden("may not"), Invalid("is not so"), Retryable("throttled"), Conflict("changed")]
"""In every way in which Kubernetes refuses a write."""


def fails(scene: Scene, step: Step, error: ClusterError, times: int | None = None) -> None:
    scene.world.faults[step.key] = Fault(error, times)


def outcome_of(ended: Operation) -> Outcome:
    assert ended.outcome is not None
    return ended.outcome


def error_of(ended: Operation) -> str:
    assert ended.state is State.FAILED
    return outcome_of(ended).error or ""
