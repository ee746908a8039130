"""`nodetool flush` in the sandbox's pods, and what is written down of it."""

import asyncio
from dataclasses import dataclass, replace

import pytest

from lifecycle.decide import snapshot
from lifecycle.errors import Conflict, LeaseLost
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.kube.read import FLUSHED
from lifecycle.model import Action, Component, Kind, Ref, Step, Target
from lifecycle.operation import Operation
from lifecycle.ports import Use
from lifecycle.snapshots import MAY_NOT_EXECUTE, Temperature
from lifecycle.workloads import WorkloadState
from sandbox.kubernetes import FAULT_ANNOTATION, KubernetesSandbox, ObjectFault
from sandbox.kubernetes.access import Identity, Role
from sandbox.kubernetes.controllers.shell import FLUSHES
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import PODS, STATEFULSETS
from sandbox.kubernetes.store import ApiError
from sandbox.tml import PROD_NAMESPACE, prod, snapshot_class
from tests.lifecycle.kube.conftest import Held, OpenDoor, RealClock, operation_of
from tests.lifecycle.kube.test_rights import rules

NOSQL = Ref(Kind.STATEFUL_SET, "cass-set-0")
CLAIM = "nosqlvol-cass-set-0-0"
PATIENCE = 20.0
"""Seconds, of which a flush that answers takes none."""


@dataclass
class Flushing:
    """A cluster that runs, and an operation that is to take it down for a cold set."""

    api: KubernetesSandbox
    door: Door
    operation: Operation

    @property
    def step(self) -> Step:
        workload = self.operation.goal.topology[NOSQL]
        return Step(Action.FLUSH, NOSQL, workload.replicas, workload.uid)

    def cluster(self, door: Door | None = None, seconds: float = PATIENCE) -> KubeCluster:
        return cluster_with(door or self.door, seconds)

    async def flush(self, cluster: KubeCluster | None = None, lease: Held | None = None) -> WorkloadState:
        """How nosql is seen afterwards."""
        cluster = cluster or self.cluster()
        await cluster.do(self.step, self.operation, lease or Held())
        return (await cluster.picture(self.operation.goal)).state_of(NOSQL)

    def fail(self, fault: ObjectFault) -> None:
        self.api.annotate(STATEFULSETS, PROD_NAMESPACE, NOSQL.name, FAULT_ANNOTATION, fault)

    @property
    def told(self) -> str:
        """What the pods of nosql know of it themselves."""
        try:
            return self.api.volumes.read(PROD_NAMESPACE, CLAIM, FLUSHES).decode()
        except (ApiError, FileNotFoundError):
            return ""

    @property
    def note(self) -> str | None:
        found = self.api.store.get(STATEFULSETS, PROD_NAMESPACE, NOSQL.name)
        return (found["metadata"].get("annotations") or {}).get(FLUSHED)


def cluster_with(door: Door, seconds: float = PATIENCE) -> KubeCluster:
    return KubeCluster(door, Target("local", PROD_NAMESPACE), RealClock(), flush_seconds=seconds)


@pytest.fixture
async def flushing(api: KubernetesSandbox, door: Door) -> Flushing:
    api.apply([*prod(), snapshot_class()])
    await api.ready(PROD_NAMESPACE)
    cluster = cluster_with(door)
    found = await cluster.discover()
    goal = snapshot.goal(found, await cluster.inventory(found), Temperature.COLD, {Component.CACHE})
    operation = operation_of(goal.marked("op-1"))
    await cluster.stamp(operation.goal, operation.epoch, Held())
    return Flushing(api, door, operation)


async def test_every_pod_is_flushed_and_that_is_seen_on_the_workload_and_changes_nothing_else(
    flushing: Flushing,
) -> None:
    before = flushing.api.store.get(STATEFULSETS, PROD_NAMESPACE, NOSQL.name)
    seen = await flushing.flush()
    assert (seen.flushed_by, seen.flush_trouble) == ("op-1", "")
    assert flushing.note == "op-1 flushed"
    assert flushing.told.startswith("cass-set-0-0 ")
    after = flushing.api.store.get(STATEFULSETS, PROD_NAMESPACE, NOSQL.name)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


async def test_with_several_pods_what_is_told_names_each_that_was_not(flushing: Flushing) -> None:
    api = flushing.api
    api.store.change(STATEFULSETS, PROD_NAMESPACE, NOSQL.name, lambda one: one["spec"].update(replicas=2))
    await api.ready(PROD_NAMESPACE)
    assert (await flushing.flush()).flush_trouble == ""
    assert api.volumes.read(PROD_NAMESPACE, "nosqlvol-cass-set-0-1", FLUSHES).startswith(b"cass-set-0-1 ")
    flushing.fail(ObjectFault.FLUSH_FAILS)
    seen = await flushing.flush()
    assert seen.flush_trouble == "cass-set-0-0: exit code 2; cass-set-0-1: exit code 2"


async def test_a_pod_that_is_not_ready_is_flushed_as_well(flushing: Flushing) -> None:
    flushing.fail(ObjectFault.NEVER_READY)
    await flushing.api.until(
        lambda store: not store.get(STATEFULSETS, PROD_NAMESPACE, NOSQL.name)["status"].get("readyReplicas")
    )
    assert (await flushing.flush()).flush_trouble == ""


async def test_a_flush_that_fails_is_no_error_and_nothing_of_what_it_wrote_is_kept(flushing: Flushing) -> None:
    flushing.fail(ObjectFault.FLUSH_FAILS)
    seen = await flushing.flush()
    assert (seen.flushed_by, seen.flush_trouble) == ("op-1", "cass-set-0-0: exit code 2")
    assert flushing.note == "op-1 not flushed: cass-set-0-0: exit code 2"


async def test_a_flush_that_hangs_is_given_up_at_its_limit(flushing: Flushing) -> None:
    flushing.fail(ObjectFault.FLUSH_HANGS)
    begun = asyncio.get_running_loop().time()
    seen = await flushing.flush(flushing.cluster(seconds=0.3))
    assert 0.3 <= asyncio.get_running_loop().time() - begun < PATIENCE / 2
    assert seen.flush_trouble == "exec in cass-set-0-0/tml-nosql: not at its end after 0.3 s"


async def test_a_container_without_nodetool_was_not_flushed(flushing: Flushing) -> None:
    api = flushing.api

    def become_another(found: dict[str, object]) -> None:
        """The same pods by their labels, of a component that has no such program."""
        found["metadata"]["labels"].update(flushing.operation.goal.topology[NOSQL].selector)  # type: ignore[index]

    api.store.change(STATEFULSETS, PROD_NAMESPACE, NOSQL.name, lambda one: one["spec"].update(replicas=0))
    await api.until(lambda store: store.find(PODS, PROD_NAMESPACE, "cass-set-0-0") is None)
    api.store.change(PODS, PROD_NAMESPACE, "mysql-set-0-0", become_another)
    assert (await flushing.flush()).flush_trouble == "mysql-set-0-0: exit code 127"


async def test_where_no_pod_of_it_runs_it_was_not_flushed(flushing: Flushing) -> None:
    api = flushing.api
    api.store.change(STATEFULSETS, PROD_NAMESPACE, NOSQL.name, lambda one: one["spec"].update(replicas=0))
    await api.until(lambda store: store.find(PODS, PROD_NAMESPACE, "cass-set-0-0") is None)
    assert (await flushing.flush()).flush_trouble == "no pod of it runs"


async def test_an_exec_that_the_server_does_not_do_is_tried_once_and_told(flushing: Flushing) -> None:
    trouble = flushing.api.faults.add(Fault("status", resource="pods/exec", status=500))
    seen = await flushing.flush()
    assert trouble.met == 1
    assert "cass-set-0-0" in seen.flush_trouble
    assert "500" in seen.flush_trouble
    assert flushing.told == ""


async def test_a_right_that_was_taken_away_meanwhile_is_told_and_no_error(
    flushing: Flushing, open_door: OpenDoor
) -> None:
    names = ("role.yaml", "snapshot.yaml")
    few = [Role.of(rule) for name in names for kind in ("Role", "ClusterRole") for rule in rules(name, kind)]
    flushing.api.server.tokens["few"] = Identity("few", tuple(few))
    seen = await flushing.flush(flushing.cluster(await open_door("few")))
    assert seen.flush_trouble == f"cass-set-0-0: {MAY_NOT_EXECUTE}"


@pytest.mark.parametrize("more", [(), ("check.yaml",)], ids=["without", "with"])
async def test_whether_it_may_be_done_is_asked_when_it_is_planned(
    flushing: Flushing, open_door: OpenDoor, more: tuple[str, ...]
) -> None:
    names = ("role.yaml", "snapshot.yaml", *more)
    few = [Role.of(rule) for name in names for kind in ("Role", "ClusterRole") for rule in rules(name, kind)]
    flushing.api.server.tokens["few"] = Identity("few", tuple(few))
    cluster = flushing.cluster(await open_door("few"))
    inventory = await cluster.inventory(await cluster.discover())
    assert inventory.may_execute is bool(more)
    assert bool(await cluster.missing_rights_to(Use.EXECUTE)) is not bool(more)


async def test_an_executor_that_came_too_late_writes_nothing_of_it_down(flushing: Flushing) -> None:
    cluster = flushing.cluster()
    await cluster.stamp(flushing.operation.goal, 2, Held())
    with pytest.raises(Conflict):
        await flushing.flush()
    assert flushing.note is None
    flushing.operation = replace(flushing.operation, epoch=2)
    assert (await flushing.flush()).flushed_by == "op-1"


async def test_who_loses_the_lease_over_a_flush_writes_nothing_of_it_down(flushing: Flushing) -> None:
    flushing.fail(ObjectFault.FLUSH_HANGS)
    lease = Held()
    asyncio.get_running_loop().call_later(0.1, lambda: setattr(lease, "is_held", False))
    with pytest.raises(LeaseLost):
        await flushing.flush(flushing.cluster(seconds=0.5), lease)
    assert flushing.note is None
    with pytest.raises(LeaseLost):
        await flushing.flush(lease=lease)


@pytest.mark.parametrize(
    ("note", "seen"),
    [
        ("op-7 flushed", ("op-7", "")),
        ("op-7 not flushed: pod: exit code 1; other: no", ("op-7", "pod: exit code 1; other: no")),
        ("op-7", ("op-7", "")),
        ("op-7 whatever somebody wrote", ("op-7", "whatever somebody wrote")),
        ("", ("", "")),
    ],
)
async def test_the_note_is_read_as_it_stands(flushing: Flushing, note: str, seen: tuple[str, str]) -> None:
    flushing.api.annotate(STATEFULSETS, PROD_NAMESPACE, NOSQL.name, FLUSHED, note)
    state = (await flushing.cluster().picture(flushing.operation.goal)).state_of(NOSQL)
    assert (state.flushed_by, state.flush_trouble) == seen
