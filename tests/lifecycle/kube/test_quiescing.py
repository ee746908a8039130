"""Commands around a hot cut, run in the sandbox's pods: what a snapshot holds shows when each was run."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from lifecycle.decide import snapshot
from lifecycle.errors import Conflict, LeaseLost
from lifecycle.kube import quiescing
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.kube.read import QUIESCING
from lifecycle.model import Action, Component, Kind, Ref, Step
from lifecycle.operation import Operation
from lifecycle.quiescing import HotCommands, Quiescing, Stage, parsed
from lifecycle.snapshots import Temperature
from sandbox.kubernetes import FAULT_ANNOTATION, KubernetesSandbox, ObjectFault
from sandbox.kubernetes.controllers.storage_faults import StorageFault
from sandbox.kubernetes.resources import CLAIMS, SNAPSHOT_CONTENTS, SNAPSHOTS, STATEFULSETS
from sandbox.tml import PROD_NAMESPACE, prod, snapshot_class
from tests.lifecycle.kube.conftest import Held, operation_of
from tests.lifecycle.kube.journey import carried_out, patient_cluster

SQL_SET, SQL_CLAIM = "mysql-set-0", "sqlvol-mysql-set-0-0"
POD = "mysql-set-0-0"


def leaving(file: str) -> tuple[str, ...]:
    """A command that leaves this file on sql's volume."""
    return ("sh", "-c", f"echo CANARY && echo x > /var/lib/mysql/{file}")


COMMANDS = HotCommands(
    Component.SQL, leaving("held"), leaving("free"), timeout=timedelta(seconds=20), hold=timedelta(seconds=30)
)


@pytest.fixture
async def cluster(api: KubernetesSandbox, door: Door) -> KubeCluster:
    api.apply([*prod(), snapshot_class()])
    await api.ready(PROD_NAMESPACE)
    return patient_cluster(door)


async def hot(cluster: KubeCluster, commands: HotCommands = COMMANDS) -> Operation:
    found = await cluster.discover()
    made = snapshot.goal(found, await cluster.inventory(found), Temperature.HOT, ())
    made = snapshot.held_still(made, await cluster.grouping(), commands)
    return operation_of(made.marked("op-1"))


def step_of(api: KubernetesSandbox, action: Action = Action.QUIESCE) -> Step:
    uid = api.store.get(STATEFULSETS, PROD_NAMESPACE, SQL_SET)["metadata"]["uid"]
    return Step(action, Ref(Kind.STATEFUL_SET, SQL_SET), uid=uid)


async def stamped(cluster: KubeCluster, operation: Operation) -> None:
    await cluster.stamp(operation.goal, operation.epoch, Held())


def noted(api: KubernetesSandbox) -> Quiescing | None:
    found = api.store.get(STATEFULSETS, PROD_NAMESPACE, SQL_SET)["metadata"].get("annotations") or {}
    return parsed(found.get(QUIESCING, ""))


def files(api: KubernetesSandbox) -> set[str]:
    """What the commands left on sql's volume."""
    return {"held", "free"} & set(api.volumes.files(PROD_NAMESPACE, SQL_CLAIM))


def cut_files(api: KubernetesSandbox) -> set[str]:
    """What of that the snapshot has."""
    found = next(
        one
        for one in api.store.list(SNAPSHOTS, PROD_NAMESPACE)
        if one["spec"]["source"]["persistentVolumeClaimName"] == SQL_CLAIM
    )
    content = api.store.get(SNAPSHOT_CONTENTS, None, found["status"]["boundVolumeSnapshotContentName"])
    folder = api.volumes.snapshot_folder(content["status"]["snapshotHandle"])
    return {"held", "free"} & {path.name for path in folder.iterdir()}


def break_cut(api: KubernetesSandbox, fault: StorageFault = StorageFault.SNAPSHOT_HANGS) -> None:
    api.annotate(CLAIMS, PROD_NAMESPACE, SQL_CLAIM, FAULT_ANNOTATION, fault)


async def held(api: KubernetesSandbox) -> None:
    """Until the command before has run and something was sent to be cut."""
    await api.until(lambda store: "held" in files(api) and bool(store.list(SNAPSHOTS, PROD_NAMESPACE)))


async def test_all_is_cut_after_the_command_before_and_before_the_one_after(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    operation = await hot(cluster)
    seen = await carried_out(cluster, operation)
    assert files(api) == {"held", "free"}
    assert cut_files(api) == {"held"}
    assert noted(api) == Quiescing("op-1", Stage.QUIESCED, POD, "tml-sql")
    taken = snapshot.taken(operation.goal, seen, (), ())
    assert taken.quiescence
    assert taken.quiescence.is_quiesced


async def test_what_the_commands_write_is_in_nothing_that_is_left(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    failing = replace(COMMANDS, before=("sh", "-c", "echo CANARY && nonsense"))
    operation = await hot(cluster, failing)
    seen = await carried_out(cluster, operation)
    found = noted(api)
    assert found
    assert (found.stage, found.why) == (Stage.NOT_QUIESCED, "the command before ended with exit code 127")
    assert "CANARY" not in repr(seen)


async def test_a_command_before_that_hangs_is_given_up_and_the_one_after_runs(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    hanging = replace(COMMANDS, before=("sleep", "100000"), timeout=timedelta(seconds=0.4))
    operation = await hot(cluster, hanging)
    await stamped(cluster, operation)
    await cluster.do(step_of(api), operation, Held())
    found = noted(api)
    assert found
    assert found.stage is Stage.NOT_QUIESCED
    assert "not at its end after 0.4 s" in found.why
    assert files(api) == {"free"}
    assert not api.store.list(SNAPSHOTS, PROD_NAMESPACE), "it is cut by itself then"


async def test_no_longer_than_is_said_is_anything_held(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    break_cut(api)
    operation = await hot(cluster, replace(COMMANDS, hold=timedelta(seconds=0.5)))
    await stamped(cluster, operation)
    await cluster.do(step_of(api), operation, Held())
    found = noted(api)
    assert found
    assert (found.stage, found.why) == (Stage.NOT_QUIESCED, "not all was cut within 0.5 s")
    assert files(api) == {"held", "free"}


async def test_who_is_told_to_end_in_the_middle_runs_the_command_after_on_the_way_out(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    break_cut(api)
    operation = await hot(cluster)
    await stamped(cluster, operation)
    doing = asyncio.ensure_future(cluster.do(step_of(api), operation, Held()))
    await held(api)
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing
    assert files(api) == {"held", "free"}
    found = noted(api)
    assert found
    assert (found.stage, found.why) == (Stage.NOT_QUIESCED, quiescing.INTERRUPTED)


async def test_who_lost_the_lease_in_the_middle_leaves_the_command_after_to_whoever_takes_it_up(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    break_cut(api)
    operation, lease = await hot(cluster, replace(COMMANDS, hold=timedelta(seconds=2))), Held()
    await stamped(cluster, operation)
    doing = asyncio.ensure_future(cluster.do(step_of(api), operation, lease))
    await held(api)
    lease.is_held = False
    with pytest.raises(LeaseLost):
        await doing
    assert files(api) == {"held"}
    assert noted(api) == Quiescing("op-1", Stage.BEGUN, POD, "tml-sql")
    later = replace(operation, epoch=2)
    await stamped(cluster, later)
    await cluster.do(step_of(api), later, Held())
    assert files(api) == {"held", "free"}
    found = noted(api)
    assert found
    assert (found.stage, found.why) == (Stage.NOT_QUIESCED, quiescing.INTERRUPTED)


@pytest.mark.parametrize("action", [Action.QUIESCE, Action.RESUME])
async def test_what_is_over_is_not_done_again(api: KubernetesSandbox, cluster: KubeCluster, action: Action) -> None:
    operation = await hot(cluster)
    await stamped(cluster, operation)
    await cluster.do(step_of(api), operation, Held())
    writes = len(api.writes)
    assert await cluster.do(step_of(api, action), operation, Held()) == step_of(api).uid
    assert len(api.writes) == writes


async def test_a_command_after_that_fails_for_good_is_told_with_its_end(
    api: KubernetesSandbox, cluster: KubeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiescing, "RESUMING", timedelta(seconds=0.1))
    operation = await hot(cluster, replace(COMMANDS, after=("nonsense",)))
    await stamped(cluster, operation)
    await cluster.do(step_of(api), operation, Held())
    assert noted(api) == Quiescing("op-1", Stage.STUCK, POD, "tml-sql", "the command after ended with exit code 127")
    assert cut_files(api) == {"held"}


async def test_without_a_ready_pod_nothing_is_run_and_it_says_so(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    operation = await hot(cluster)
    await stamped(cluster, operation)
    api.annotate(STATEFULSETS, PROD_NAMESPACE, SQL_SET, FAULT_ANNOTATION, ObjectFault.NEVER_READY)
    api.store.change(STATEFULSETS, PROD_NAMESPACE, SQL_SET, lambda one: one["spec"].update(replicas=0))
    await api.until(lambda store: not store.get(STATEFULSETS, PROD_NAMESPACE, SQL_SET)["status"].get("readyReplicas"))
    await cluster.do(step_of(api), operation, Held())
    assert noted(api) == Quiescing("op-1", Stage.NOT_QUIESCED, why="no pod of sql is ready")
    assert files(api) == set()


async def test_nothing_is_run_for_an_executor_that_was_overtaken(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    operation = await hot(cluster)
    await stamped(cluster, replace(operation, epoch=2))
    with pytest.raises(Conflict):
        await cluster.do(step_of(api), operation, Held())
    assert files(api) == set()
    assert noted(api) is None


async def test_where_something_was_cut_and_nothing_says_how_far_the_commands_were_only_the_one_after_runs(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    operation = await hot(cluster)
    await stamped(cluster, operation)
    member = operation.goal.cutting.members[0] if operation.goal.cutting else None
    assert member
    await cluster.do(Step(Action.CUT, member.ref, uid=member.uid), operation, Held())
    await cluster.do(step_of(api), operation, Held())
    assert files(api) == {"free"}
    found = noted(api)
    assert found
    assert found.stage is Stage.NOT_QUIESCED
