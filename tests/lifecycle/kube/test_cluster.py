"""The port as a whole: the decisions of stop, start and restart carried out on the reference cluster."""

import asyncio
import contextlib
import time

import pytest

from lifecycle.decide import phases_of, restart, start, stop
from lifecycle.errors import Conflict, Retryable
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.model import DATABASES, Target
from lifecycle.observed import Observed
from lifecycle.operation import Goal, Source
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.resources import CLAIMS, PODS
from sandbox.tml import PROD_NAMESPACE, manifests, prod
from tests.lifecycle.kube.conftest import RealClock, cluster_at, operation_of


async def carried_out(cluster: KubeCluster, goal: Goal, epoch: int) -> Observed:
    """The last picture. A picture may be older than our last write: then the write is a Conflict, and we look again."""
    (phase,) = phases_of(goal)
    async with (
        asyncio.timeout(20),
        cluster.lease("bot", patience=1) as lease,
        cluster.watch(goal) as watch,
    ):
        await cluster.stamp(goal, epoch, lease)
        while True:
            observed = await watch.next(5)
            if observed is None:
                continue
            if phase.reached(goal, observed):
                return observed
            for step in phase.decide(goal, observed):
                with contextlib.suppress(Conflict, Retryable):
                    await cluster.do(step, operation_of(goal, epoch), lease)


@pytest.mark.parametrize("zones", [1, 2])
async def test_a_cluster_is_stopped_and_started_and_its_claims_are_never_written(
    api: KubernetesSandbox, door: Door, zones: int
) -> None:
    api.apply(
        manifests(PROD_NAMESPACE, cluster_name="prod", zones=zones, counts={"tm": 2, "sql": 2}) if zones > 1 else prod()
    )
    await api.ready(PROD_NAMESPACE)
    cluster = cluster_at(door)
    before = await cluster.discover()
    claims = {claim["metadata"]["uid"] for claim in api.store.list(CLAIMS, PROD_NAMESPACE)}
    stopped = await carried_out(cluster, stop.goal(before), 1)
    assert {exit_.code for exit_ in stopped.exits} == {0}
    databases = [one for one in before.workloads if one.component in DATABASES]
    assert len(stopped.exits) == sum(before.observed[one].replicas for one in databases)
    goal = start.goal(await cluster.discover(), {}, {})
    assert set(goal.sources.values()) == {Source.REMEMBERED}
    started = await carried_out(cluster, goal, 2)
    assert {ref: state.replicas for ref, state in started.workloads.items()} == {
        ref: state.replicas for ref, state in before.observed.workloads.items()
    }
    assert {claim["metadata"]["uid"] for claim in api.store.list(CLAIMS, PROD_NAMESPACE)} == claims
    assert {write.resource for write in api.writes} == {"statefulsets", "deployments", "leases"}


async def test_a_restart_rolls_one_workload_after_another(api: KubernetesSandbox, door: Door) -> None:
    api.apply(prod())
    await api.ready(PROD_NAMESPACE)
    cluster = cluster_at(door)
    before = await cluster.discover()
    goal = restart.goal(before, None, downtime=True).marked("op-1")
    after = await carried_out(cluster, goal, 1)
    assert {state.restarted_by for state in after.workloads.values()} == {"op-1"}
    assert not {pod.uid for state in before.observed.workloads.values() for pod in state.pods} & {
        pod.uid for state in after.workloads.values() for pod in state.pods
    }
    assert PROD_NAMESPACE in {write.namespace for write in api.writes}


async def test_a_restarted_server_costs_a_start_seconds(api: KubernetesSandbox, door: Door) -> None:
    api.apply(prod())
    await api.ready(PROD_NAMESPACE)
    cluster = KubeCluster(door, Target("local", PROD_NAMESPACE), RealClock())
    await carried_out(cluster, stop.goal(await cluster.discover()), 1)
    goal = start.goal(await cluster.discover(), {}, {})
    running = asyncio.create_task(_started_in(cluster, goal))
    await api.until(lambda store: bool(store.list(PODS, PROD_NAMESPACE)))
    await api.server.stop()
    await api.server.start()
    assert await running < 10


async def _started_in(cluster: KubeCluster, goal: Goal) -> float:
    begun = time.monotonic()
    await carried_out(cluster, goal, 2)
    return time.monotonic() - begun
