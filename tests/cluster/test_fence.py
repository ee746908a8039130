"""Two executors of one cluster on the real API: one holds the Lease, and what the older one sends changes nothing."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import pytest

from lifecycle.decide import delete
from lifecycle.errors import Conflict, LeaseHeld
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import connect
from lifecycle.kube.lease import LeaseTiming
from lifecycle.model import Action, Ref, Step, Target
from lifecycle.observed import Discovery
from lifecycle.operation import Goal
from tests.cluster.ground import Ground
from tests.cluster.town import CONTEXT, Box, boxed
from tests.lifecycle.kube.conftest import goal_of, operation_of

pytestmark = pytest.mark.timeout(400)

TIMING = LeaseTiming(renew=0.5, trust=1, duration=2, retry=0.1)


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return monotonic()


@dataclass
class Pair:
    """Two executors with doors of their own, and what they both found."""

    box: Box
    one: KubeCluster
    other: KubeCluster
    found: Discovery

    @property
    def goal(self) -> Goal:
        return goal_of(self.found)

    @property
    def step(self) -> Step:
        return Step(Action.SCALE_TO_ZERO, self.tm, 1, self.goal.topology[self.tm].uid)

    @property
    def tm(self) -> Ref:
        return next(one.ref for one in self.found.workloads if one.ref.name == "tm-deploy-0")


@pytest.fixture
async def pair(ground: Ground, tmp_path: Path) -> AsyncIterator[Pair]:
    async with boxed(ground, tmp_path) as box:
        box.write_configuration()
        kubeconfig = str(box.kubeconfig)
        async with connect(CONTEXT, kubeconfig=kubeconfig) as door, connect(CONTEXT, kubeconfig=kubeconfig) as second:
            target = Target(CONTEXT, box.namespace)
            one, other = (KubeCluster(each, target, RealClock(), lease_timing=TIMING) for each in (door, second))
            yield Pair(box, one, other, await one.discover())


async def test_who_comes_second_is_told_who_holds_the_lease(pair: Pair) -> None:
    async with pair.one.lease("first", patience=0.1) as lease:
        assert lease.is_held
        with pytest.raises(LeaseHeld, match="first"):
            async with pair.other.lease("second", patience=1.5):
                pass
    async with pair.other.lease("second", patience=0.1) as lease:
        assert lease.is_held, "it was released"


async def test_what_an_executor_sends_after_a_later_one_came_changes_nothing(pair: Pair) -> None:
    async with pair.one.lease("first", patience=1) as lease:
        await pair.one.stamp(pair.goal, 1, lease)
        await pair.other.stamp(pair.goal, 2, lease)
        with pytest.raises(Conflict):
            await pair.one.do(pair.step, operation_of(pair.goal, 1, "op-1"), lease)
        with pytest.raises(Conflict, match="later executor"):
            await pair.one.stamp(pair.goal, 1, lease)
        assert (await pair.box.replicas())["tm-deploy-0"] == 1
        await pair.other.do(pair.step, operation_of(pair.goal, 2, "op-2"), lease)
    assert (await pair.box.replicas())["tm-deploy-0"] == 0
    assert await pair.one.highest_epoch(pair.goal) == 2


async def test_what_an_executor_removes_after_a_later_one_came_stays(pair: Pair) -> None:
    found = pair.found
    goal = delete.goal(found, await pair.one.inventory(found), keeps_services=False).marked("op-1")
    claims = await pair.box.identities("persistentvolumeclaims")
    async with pair.one.lease("first", patience=1) as lease:
        await pair.one.stamp(goal, 1, lease)
        await pair.other.stamp(goal, 2, lease)
        removals = [Step(Action.REMOVE, claim.ref, uid=claim.uid) for claim in goal.claims]
        for step in (*removals, Step(Action.REMOVE, pair.tm, uid=goal.topology[pair.tm].uid)):
            with pytest.raises(Conflict):
                await pair.one.do(step, operation_of(goal, 1, "op-1"), lease)
    assert await pair.box.identities("persistentvolumeclaims") == claims
    assert (await pair.box.replicas())["tm-deploy-0"] == 1


async def test_a_step_on_a_namesake_of_what_was_planned_changes_nothing(pair: Pair) -> None:
    path = pair.box.apps("deployments", "tm-deploy-0")
    found = (await pair.box.admin.get(path)).body
    await pair.box.admin.delete(path)
    again = {"metadata": {"name": "tm-deploy-0"}, "spec": found["spec"]}
    kind = {"apiVersion": "apps/v1", "kind": "Deployment"}
    await pair.box.admin.create(pair.box.apps("deployments"), kind | again)
    async with pair.one.lease("first", patience=1) as lease:
        with pytest.raises(Conflict):
            await pair.one.do(pair.step, operation_of(pair.goal), lease)
    assert (await pair.box.replicas())["tm-deploy-0"] == 1
