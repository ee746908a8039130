"""Every write, against the sandbox: what it changes, and when it changes nothing."""

from dataclasses import replace

import pytest

from lifecycle.errors import Conflict, Gone, Invalid, LeaseLost, Retryable
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.kube.read import EPOCH, OPERATION, REPLICAS, RESTARTED_BY
from lifecycle.model import Action, Kind, Ref, Step
from lifecycle.operation import Goal
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import DEPLOYMENTS, STATEFULSETS, Object
from sandbox.tml import PROD_NAMESPACE, prod
from tests.lifecycle.kube.conftest import Held, cluster_at, goal_of, operation_of

SQL = Ref(Kind.STATEFUL_SET, "mysql-set-0")
TM = Ref(Kind.DEPLOYMENT, "tm-deploy-0")


@pytest.fixture
async def cluster(api: KubernetesSandbox, door: Door) -> KubeCluster:
    api.apply(prod())
    return cluster_at(door)


@pytest.fixture
async def goal(cluster: KubeCluster) -> Goal:
    """Stamped with epoch 1."""
    found = goal_of(await cluster.discover())
    await cluster.stamp(found, 1, Held())
    return found


def step(goal: Goal, action: Action, ref: Ref, replicas: int) -> Step:
    return Step(action, ref, replicas, goal.topology[ref].uid)


def live(api: KubernetesSandbox, ref: Ref) -> Object:
    resource = STATEFULSETS if ref.kind is Kind.STATEFUL_SET else DEPLOYMENTS
    return api.store.get(resource, PROD_NAMESPACE, ref.name)


def annotations(api: KubernetesSandbox, ref: Ref) -> dict[str, str]:
    """The bot's own; controllers write others."""
    found: dict[str, str] = live(api, ref)["metadata"].get("annotations") or {}
    return {key: value for key, value in found.items() if key.startswith("tml-bot/")}


async def test_a_stop_remembers_the_count_in_the_same_write(
    api: KubernetesSandbox, cluster: KubeCluster, goal: Goal
) -> None:
    before = len(api.writes)
    uid = await cluster.do(step(goal, Action.SCALE_TO_ZERO, TM, 2), operation_of(goal, 1, "op-1"), Held())
    assert uid == live(api, TM)["metadata"]["uid"]
    assert live(api, TM)["spec"]["replicas"] == 0
    assert annotations(api, TM) == {REPLICAS: "2", EPOCH: "1", OPERATION: "op-1"}
    assert [(write.verb, write.resource, write.name) for write in api.writes[before:]] == [
        ("patch", "deployments", TM.name)
    ]


async def test_a_start_brings_the_count_back_and_keeps_the_note(
    api: KubernetesSandbox, cluster: KubeCluster, goal: Goal
) -> None:
    await cluster.do(step(goal, Action.SCALE_TO_ZERO, TM, 2), operation_of(goal, 1, "op-1"), Held())
    await cluster.do(step(goal, Action.SCALE_UP, TM, 3), operation_of(goal, 1, "op-2"), Held())
    assert live(api, TM)["spec"]["replicas"] == 3
    assert annotations(api, TM) == {REPLICAS: "2", EPOCH: "1", OPERATION: "op-2"}


async def test_a_count_that_changed_meanwhile_is_a_conflict_and_nothing_changes(
    api: KubernetesSandbox, cluster: KubeCluster, goal: Goal
) -> None:
    with pytest.raises(Conflict):
        await cluster.do(step(goal, Action.SCALE_TO_ZERO, TM, 5), operation_of(goal, 1, "op-1"), Held())
    with pytest.raises(Conflict):
        await cluster.do(step(goal, Action.SCALE_UP, TM, 5), operation_of(goal, 1, "op-1"), Held())
    assert live(api, TM)["spec"]["replicas"] == 2
    assert REPLICAS not in annotations(api, TM)


async def test_a_workload_at_zero_is_never_scaled_to_zero(
    api: KubernetesSandbox, cluster: KubeCluster, goal: Goal
) -> None:
    before = len(api.writes)
    with pytest.raises(Invalid):
        await cluster.do(step(goal, Action.SCALE_TO_ZERO, TM, 0), operation_of(goal, 1, "op-1"), Held())
    assert len(api.writes) == before


async def test_a_restart_marks_the_template_once(api: KubernetesSandbox, cluster: KubeCluster, goal: Goal) -> None:
    restart = step(goal, Action.ROLLOUT_RESTART, SQL, 1)
    await cluster.do(restart, operation_of(goal, 1, "op-1"), Held())
    written = len(api.writes)
    await cluster.do(restart, operation_of(goal, 1, "op-1"), Held())
    assert len(api.writes) == written
    await cluster.do(restart, operation_of(goal, 1, "op-2"), Held())
    assert live(api, SQL)["spec"]["template"]["metadata"]["annotations"] == {RESTARTED_BY: "op-2"}
    assert live(api, SQL)["spec"]["replicas"] == 1


async def test_a_stamp_is_written_where_it_is_absent_or_lower_only(
    api: KubernetesSandbox, cluster: KubeCluster, goal: Goal
) -> None:
    assert await cluster.highest_epoch(goal) == 1
    written = len(api.writes)
    await cluster.stamp(goal, 1, Held())
    assert len(api.writes) == written
    await cluster.stamp(goal, 4, Held())
    assert await cluster.highest_epoch(goal) == 4
    with pytest.raises(Conflict, match="later executor"):
        await cluster.stamp(goal, 3, Held())
    assert {write.resource for write in api.writes} <= {"statefulsets", "deployments"}


async def test_a_stamp_goes_on_after_somebody_else_wrote_in_between(
    api: KubernetesSandbox, cluster: KubeCluster, goal: Goal
) -> None:
    """A controller's write between read and write is not a later executor."""
    await api.ready(PROD_NAMESPACE)
    for epoch in range(2, 8):
        api.annotate(DEPLOYMENTS, PROD_NAMESPACE, TM.name, "other", str(epoch))
        await cluster.stamp(goal, epoch, Held())
    assert await cluster.highest_epoch(goal) == 7


@pytest.mark.parametrize("trouble", [Fault("status", status=500, times=4), Fault("drop_after", times=4)])
async def test_a_stamp_goes_on_where_the_server_did_not_take_it_or_its_answer_was_lost(
    trouble: Fault, api: KubernetesSandbox, cluster: KubeCluster, goal: Goal
) -> None:
    """All of them in the same epoch: what is stamped stays so while the others are tried again."""
    written = len(api.writes)
    api.faults.add(replace(trouble, verb="patch"))
    await cluster.stamp(goal, 2, Held())
    assert sum(write.changed for write in api.writes[written:]) == len(goal.scope)
    assert {annotations(api, workload.ref)[EPOCH] for workload in goal.scope} == {"2"}


async def test_a_server_that_takes_no_stamp_at_all_is_told_of(
    api: KubernetesSandbox, cluster: KubeCluster, goal: Goal
) -> None:
    api.faults.add(Fault("status", verb="patch", status=503))
    with pytest.raises(Retryable, match="503"):
        await cluster.stamp(goal, 2, Held())


async def test_a_frozen_executor_changes_nothing_when_it_thaws(
    api: KubernetesSandbox, cluster: KubeCluster, goal: Goal
) -> None:
    await cluster.stamp(goal, 2, Held())
    for late in (step(goal, Action.SCALE_TO_ZERO, TM, 2), step(goal, Action.ROLLOUT_RESTART, TM, 2)):
        with pytest.raises(Conflict):
            await cluster.do(late, operation_of(goal, 1, "op-1"), Held())
    assert live(api, TM)["spec"]["replicas"] == 2
    assert annotations(api, TM) == {EPOCH: "2"}


async def test_a_workload_made_anew_is_not_the_one_that_was_decided_upon(
    api: KubernetesSandbox, cluster: KubeCluster, goal: Goal
) -> None:
    api.store.delete(DEPLOYMENTS, PROD_NAMESPACE, TM.name)
    await cluster.stamp(goal, 2, Held())  # one that is gone needs no stamp
    api.apply([one for one in prod() if one["metadata"]["name"] == TM.name])
    with pytest.raises(Gone, match="replaced by another object"):
        await cluster.stamp(goal, 3, Held())
    with pytest.raises(Conflict):
        await cluster.do(step(goal, Action.SCALE_TO_ZERO, TM, 2), operation_of(goal, 2, "op-1"), Held())


async def test_nothing_is_sent_without_the_lease(api: KubernetesSandbox, cluster: KubeCluster, goal: Goal) -> None:
    before = len(api.writes)
    with pytest.raises(LeaseLost):
        await cluster.do(step(goal, Action.SCALE_TO_ZERO, TM, 2), operation_of(goal, 1, "op-1"), Held(False))
    with pytest.raises(LeaseLost):
        await cluster.stamp(goal, 2, Held(False))
    assert len(api.writes) == before
