"""An operation carried out on the sandbox, phase after phase, with nothing around it but the port."""

import asyncio
import contextlib
from dataclasses import replace

from lifecycle.decide import delete, phases_of, restore
from lifecycle.errors import Conflict, Retryable
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.model import Step, Target
from lifecycle.observed import Observed
from lifecycle.operation import Operation
from lifecycle.phase import Phase
from lifecycle.ports import Lease, Watch
from sandbox.tml import PROD_NAMESPACE
from tests.lifecycle.kube.conftest import RealClock, operation_of


def patient_cluster(door: Door, namespace: str = PROD_NAMESPACE) -> KubeCluster:
    """With the real times of Lease and watches: what is measured here is not time."""
    return KubeCluster(door, Target("local", namespace), RealClock(), watch_seconds=5)


async def deletion(cluster: KubeCluster, id_: str = "op-1", epoch: int = 1) -> Operation:
    """Of everything that is there, addresses too."""
    found = await cluster.discover()
    goal = delete.goal(found, await cluster.inventory(found), keeps_services=False)
    return operation_of(goal.marked(id_), epoch, id_)


async def return_of(cluster: KubeCluster, deleted: Operation, id_: str = "op-2", epoch: int = 5) -> Operation:
    observed = await cluster.picture(restore.draft(deleted))
    return operation_of(restore.goal(restore.draft(deleted), observed).marked(id_), epoch, id_)


async def carried_out(cluster: KubeCluster, operation: Operation, until: str = "") -> Observed:
    """The last picture; ``until`` names the phase before which it ends."""
    async with (
        asyncio.timeout(40),
        cluster.lease("bot", patience=5) as lease,
        cluster.watch(operation.goal) as watch,
    ):
        await cluster.stamp(operation.goal, operation.epoch, lease)
        observed: Observed | None = None
        for phase in phases_of(operation.goal):
            if phase.name == until:
                break
            observed = await _through(cluster, phase, replace(operation, phase=phase.name), lease, watch, observed)
        assert observed is not None
        return observed


async def _through(
    cluster: KubeCluster, phase: Phase, operation: Operation, lease: Lease, watch: Watch, last: Observed | None
) -> Observed:
    """Begins with the last picture: nothing needs to change for the first step of a phase."""
    observed = last
    while True:
        observed = observed or await watch.next(5)
        if observed is not None:
            if obstacle := phase.obstacle(operation.goal, observed):
                raise AssertionError(obstacle)
            if phase.reached(operation.goal, observed):
                return observed
            steps = phase.decide(operation.goal, observed)
            await asyncio.gather(*(_tried(cluster, step, operation, lease) for step in steps))
        observed = None


async def _tried(cluster: KubeCluster, step: Step, operation: Operation, lease: Lease) -> None:
    """A picture may be older than our last write: then the write is a Conflict, and we look again."""
    with contextlib.suppress(Conflict, Retryable):
        await cluster.do(step, operation, lease)
