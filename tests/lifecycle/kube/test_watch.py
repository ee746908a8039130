"""The running picture, on a server that misbehaves."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from lifecycle.errors import Forbidden
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.kube.paths import PICTURED
from lifecycle.model import Component, Kind, Ref
from lifecycle.observed import Observed
from lifecycle.operation import Goal
from lifecycle.ports import Watch
from sandbox.kubernetes import FAULT_ANNOTATION, KubernetesSandbox
from sandbox.kubernetes.access import Identity, Role
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import DEPLOYMENTS, SECRETS, STATEFULSETS, Object
from sandbox.tml import PROD_NAMESPACE, prod
from tests.lifecycle.kube.conftest import OpenDoor, cluster_at, goal_of
from tests.lifecycle.kube.journey import deletion

TM = Ref(Kind.DEPLOYMENT, "tm-deploy-0")
SQL = Ref(Kind.STATEFUL_SET, "mysql-set-0")


@pytest.fixture
async def cluster(api: KubernetesSandbox, door: Door) -> KubeCluster:
    api.apply(prod())
    await api.ready(PROD_NAMESPACE)
    return cluster_at(door)


@pytest.fixture
async def goal(cluster: KubeCluster) -> Goal:
    return goal_of(await cluster.discover())


@pytest.fixture
async def watch(cluster: KubeCluster, goal: Goal) -> AsyncIterator[Watch]:
    """One that has its first picture."""
    async with cluster.watch(goal) as running:
        assert await running.next(2) is not None
        yield running


def scale(api: KubernetesSandbox, ref: Ref, replicas: int) -> None:
    def set_replicas(found: Object) -> None:
        found["spec"]["replicas"] = replicas

    resource = STATEFULSETS if ref.kind is Kind.STATEFUL_SET else DEPLOYMENTS
    api.store.change(resource, PROD_NAMESPACE, ref.name, set_replicas)


async def seen(watch: Watch, condition: Callable[[Observed], bool]) -> Observed:
    """The first picture that is so; the test fails when there is none in five seconds."""
    async with asyncio.timeout(5):
        while True:
            picture = await watch.next(5)
            if picture is not None and condition(picture):
                return picture


async def test_a_picture_comes_with_every_change_and_else_after_the_wait(api: KubernetesSandbox, watch: Watch) -> None:
    quiet = await watch.next(0.05)
    assert quiet is not None
    scale(api, TM, 0)
    picture = await seen(watch, lambda picture: not picture.workloads[TM].is_present)
    assert picture.at > quiet.at
    assert picture.workloads[TM].pods == ()


async def test_a_new_watch_continues_where_the_last_one_ended(api: KubernetesSandbox, watch: Watch) -> None:
    """Several watches long, and each kind is listed once."""
    lists = {resource.plural: api.server.requests["list", resource.plural] for resource in PICTURED}
    async with asyncio.timeout(5):
        while api.server.requests["watch", "pods"] < 4:
            await watch.next(0.1)
    scale(api, TM, 1)
    await seen(watch, lambda picture: picture.workloads[TM].status_replicas == 1)
    assert {resource.plural: api.server.requests["list", resource.plural] for resource in PICTURED} == lists


@pytest.mark.parametrize("kind", ["silent", "drop_watch", "expired"])
async def test_a_broken_watch_costs_no_more_than_a_watchs_time(
    api: KubernetesSandbox, cluster: KubeCluster, goal: Goal, kind: str
) -> None:
    broken = api.faults.add(Fault(kind, times=8))  # type: ignore[arg-type]
    async with cluster.watch(goal) as watch:
        assert await watch.next(2) is not None
        scale(api, TM, 0)
        await seen(watch, lambda picture: not picture.workloads[TM].is_present)
    assert broken.met >= 4


async def test_a_restarted_server_is_listed_again(api: KubernetesSandbox, watch: Watch) -> None:
    await api.server.stop()
    scale(api, SQL, 0)
    assert await unknown(watch)
    await api.server.start()
    await seen(watch, lambda picture: not picture.workloads[SQL].is_present)


async def unknown(watch: Watch) -> bool:
    """Whether within two seconds there comes a time without a picture."""
    async with asyncio.timeout(2):
        while await watch.next(0.05) is not None:
            pass
    return True


async def test_there_is_no_picture_while_one_kind_cannot_be_read(
    api: KubernetesSandbox, cluster: KubeCluster, goal: Goal
) -> None:
    fault = api.faults.add(Fault("status", verb="list", resource="persistentvolumeclaims", status=503))
    async with cluster.watch(goal) as watch:
        assert await watch.next(0.1) is None
        api.faults.remove(fault)
        assert await watch.next(5) is not None


async def test_a_server_that_asks_to_wait_is_obeyed(api: KubernetesSandbox, cluster: KubeCluster, goal: Goal) -> None:
    fault = api.faults.add(Fault("status", verb="list", resource="pods", status=429, retry_after=1, times=1))
    async with cluster.watch(goal) as watch:
        assert await watch.next(0.9) is None
        assert await watch.next(5) is not None
    assert fault.met == 1


async def test_a_right_that_is_taken_away_is_raised(api: KubernetesSandbox, open_door: OpenDoor, goal: Goal) -> None:
    listing = Role(("", "apps"), ("*",), ("list",))
    api.server.tokens["few"] = Identity("few", (listing,))
    async with cluster_at(await open_door("few")).watch(goal) as watch:
        with pytest.raises(Forbidden):
            await seen(watch, lambda _: False)


async def test_each_databases_exit_is_seen_once_between_two_looks(api: KubernetesSandbox, watch: Watch) -> None:
    for workload in (SQL, Ref(Kind.STATEFUL_SET, "cass-set-0"), Ref(Kind.STATEFUL_SET, "cache-set-0")):
        scale(api, workload, 0)
    picture = await seen(watch, lambda picture: not picture.workloads[SQL].is_present and len(picture.exits) > 1)
    assert {(found.pod, found.container, found.code) for found in picture.exits} == {
        ("mysql-set-0-0", "tml-sql", 0),
        ("cass-set-0-0", "tml-nosql", 0),
    }
    assert Component.CACHE not in {found.container for found in picture.exits}


async def test_a_database_that_was_killed_is_told_by_its_exit_code(
    api: KubernetesSandbox, cluster: KubeCluster, goal: Goal
) -> None:
    api.annotate(STATEFULSETS, PROD_NAMESPACE, SQL.name, FAULT_ANNOTATION, "slow-stop")
    async with cluster.watch(goal) as watch:
        assert await watch.next(2) is not None
        scale(api, SQL, 0)
        picture = await seen(watch, lambda picture: not picture.workloads[SQL].is_present)
    assert [(found.pod, found.code) for found in picture.exits] == [("mysql-set-0-0", 137)]


async def test_watches_exist_only_within_the_block(cluster: KubeCluster, goal: Goal) -> None:
    async with cluster.watch(goal) as watch:
        await watch.next(2)
        assert len(following()) == len(PICTURED)
    assert following() == []


def following() -> list[str]:
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith("Pictures.")]


async def test_a_delete_is_followed_with_its_volumes_and_parts_and_a_stop_without(
    api: KubernetesSandbox, cluster: KubeCluster, goal: Goal
) -> None:
    async with cluster.watch(goal) as watch:
        picture = await watch.next(2)
        assert picture is not None
        assert (picture.volumes, picture.parts) == ((), ())
    assert not any(resource in ("secrets", "persistentvolumes") for _, resource in api.server.requests)
    deleting = (await deletion(cluster)).goal
    async with cluster.watch(deleting) as watch:
        whole = await seen(watch, lambda picture: len(picture.parts) == len(deleting.parts))
        assert set(whole.volumes) == set(deleting.volumes)
        assert set(whole.parts) == set(deleting.parts)
        api.store.delete(SECRETS, PROD_NAMESPACE, "cm-key")
        await seen(watch, lambda picture: picture.part(Ref(Kind.SECRET, "cm-key")) is None)
    once = await cluster.picture(deleting)
    assert {one.ref for one in once.parts} == {one.ref for one in deleting.parts} - {Ref(Kind.SECRET, "cm-key")}


@pytest.mark.parametrize("plural", ["secrets", "persistentvolumes", "configmaps", "services"])
async def test_without_the_right_to_list_what_a_delete_looks_at_there_is_no_picture(
    api: KubernetesSandbox, cluster: KubeCluster, plural: str
) -> None:
    goal = (await deletion(cluster)).goal
    api.faults.add(Fault("status", resource=plural, status=403))
    with pytest.raises(Forbidden):
        await cluster.picture(goal)
    async with cluster.watch(goal) as watch:
        with pytest.raises(Forbidden):
            await seen(watch, lambda _: False)
