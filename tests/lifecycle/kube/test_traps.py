"""What the official client does that nobody expects, and that the bot does not do it."""

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from kubernetes.aio import client as official
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock
from kubernetes.aio.stream import WsApiClient
from kubernetes.aio.watch import Watch
from pydantic import ValidationError

from lifecycle.errors import Retryable
from lifecycle.kube import paths, read
from lifecycle.kube.door import Door
from lifecycle.kube.lease import NAME
from lifecycle.kube.paths import Resource
from lifecycle.model import Action, Kind, Ref, Step, Verb
from lifecycle.operation import Goal
from lifecycle.topology import arranged
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import DEPLOYMENTS, LEASES, PODS, Object
from sandbox.tml import PROD_NAMESPACE, prod
from tests.lifecycle.kube.conftest import QUICK, Held, cluster_at, operation_of

TM = Ref(Kind.DEPLOYMENT, "tm-deploy-0")
NEWER = {"mode": "Unheard", "of": [1, {"by": "this client"}]}


@pytest.fixture
async def running(api: KubernetesSandbox) -> KubernetesSandbox:
    """The reference cluster, on a Kubernetes that is newer than the client."""
    api.apply(prod())
    await api.ready(PROD_NAMESPACE)
    api.store.change(DEPLOYMENTS, PROD_NAMESPACE, TM.name, add_newer_fields)
    return api


def add_newer_fields(found: Object) -> None:
    found["spec"]["newer"] = NEWER
    found["spec"]["template"]["spec"]["containers"][0]["newer"] = NEWER


def lasting(found: Object) -> Object:
    """Without what a stop, a start and a restart are there to change, and what others write."""
    kept = copy.deepcopy({"spec": found["spec"], "labels": found["metadata"].get("labels")})
    kept["spec"]["template"]["metadata"].pop("annotations", None)
    return kept


async def test_the_clients_own_models_lose_what_they_do_not_know(running: KubernetesSandbox) -> None:
    async with official.ApiClient(official.Configuration(host=running.url)) as client:
        found = await official.AppsV1Api(client).read_namespaced_deployment(TM.name, PROD_NAMESPACE)
    assert "newer" not in found.spec.to_dict()


async def test_fields_newer_than_the_client_go_unharmed_through_all_that_is_written(
    running: KubernetesSandbox, door: Door
) -> None:
    cluster = cluster_at(door)
    topology = arranged((await cluster.discover()).workloads)
    operation = operation_of(Goal(Verb.RESTART, topology, {one.ref: one.replicas for one in topology}), 1, "op-1")
    before = running.store.get(DEPLOYMENTS, PROD_NAMESPACE, TM.name)
    assert (await door.get(paths.of(TM, PROD_NAMESPACE)))["spec"]["newer"] == NEWER
    await cluster.stamp(operation.goal, 1, Held())
    for action in (Action.SCALE_TO_ZERO, Action.SCALE_UP, Action.ROLLOUT_RESTART):
        await cluster.do(Step(action, TM, 2, topology[TM].uid), operation, Held())
    after = running.store.get(DEPLOYMENTS, PROD_NAMESPACE, TM.name)
    assert after["metadata"]["generation"] > before["metadata"]["generation"]
    assert lasting(after) == lasting(before)


async def test_a_lease_keeps_what_others_wrote_on_it(running: KubernetesSandbox, door: Door) -> None:
    """It is the one object that is written whole."""

    def decorate(found: Object) -> None:
        found["spec"]["newer"] = NEWER
        found["metadata"]["labels"] = {"of": "somebody"}

    async with cluster_at(door, lease_timing=QUICK).lease("bot-1", patience=1):
        running.store.change(LEASES, PROD_NAMESPACE, NAME, decorate)
        done = len(running.writes)
        await running.until(lambda _: len(running.writes) >= done + 2, 2)
    found = running.store.get(LEASES, PROD_NAMESPACE, NAME)
    assert read.spec_of(found)["holderIdentity"] == ""
    assert (read.spec_of(found)["newer"], found["metadata"]["labels"]) == (NEWER, {"of": "somebody"})


async def test_a_command_in_a_pod_is_a_list_of_words_and_a_line_is_refused(running: KubernetesSandbox) -> None:
    """The API runs one program with its arguments and no shell: a line would be the name of a program."""
    pods: list[dict[str, Any]] = running.store.list(PODS, PROD_NAMESPACE)
    name = next(one["metadata"]["name"] for one in pods if one["metadata"]["name"].startswith("cm-"))
    async with WsApiClient(official.Configuration(host=running.url)) as client:
        run = official.CoreV1Api(client).connect_get_namespaced_pod_exec
        with pytest.raises(ValidationError, match="command"):
            await run(name, PROD_NAMESPACE, command="clustermanager ls components", stdout=True)
        words = ["clustermanager", "ls", "components"]
        assert "trafficmanager" in await run(name, PROD_NAMESPACE, command=words, stdout=True)


async def test_a_silent_watch_outlasts_the_time_it_asked_the_server_for_and_the_bots_does_not(
    running: KubernetesSandbox, door: Door
) -> None:
    """The client's own watch takes no limit for the reading (DynamicClient) or has none of its own (37.0.2)."""
    running.faults.add(Fault("silent"))
    async with official.ApiClient(official.Configuration(host=running.url)) as client:
        pods = official.CoreV1Api(client).list_namespaced_pod
        async with Watch().stream(pods, PROD_NAMESPACE, timeout_seconds=1) as events:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(to_the_end(events), 1.5)
    path, asked = paths.all_of(Resource.PODS, PROD_NAMESPACE), {"watch": "true", "timeoutSeconds": "1"}
    async with aclosing(door.follow(path, asked, silence=0.2)) as events:
        with pytest.raises(Retryable, match="no answer in time"):
            await asyncio.wait_for(to_the_end(events), 1.5)


async def test_the_clients_own_election_goes_on_leading_on_a_hung_server_and_the_bots_lease_does_not(
    running: KubernetesSandbox, door: Door
) -> None:
    """It waits for each answer as long as that takes, so its deadline never comes; nor can it make a Lease (37.0.2)."""
    metadata = {"name": "elected", "namespace": PROD_NAMESPACE}
    running.apply([{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}}])
    leads, stopped = asyncio.Event(), asyncio.Event()

    async def lead() -> None:
        leads.set()
        await stopped.wait()

    async def stop() -> None:
        stopped.set()

    async with official.ApiClient(official.Configuration(host=running.url)) as client:
        lock = LeaseLock("elected", PROD_NAMESPACE, "somebody", client)
        config = Config(lock, lease_duration=2, renew_deadline=1.3, retry_period=1, onstarted_leading=lead,
                        onstopped_leading=stop)  # fmt: skip
        election = asyncio.create_task(LeaderElection(config).run())
        async with cluster_at(door, lease_timing=QUICK).lease("bot-1", patience=1) as lease:
            await asyncio.wait_for(leads.wait(), 5)
            running.faults.add(Fault("delay", resource="leases", seconds=60))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(stopped.wait(), config.lease_duration + config.renew_deadline)
            assert not lease.is_held
            running.faults.clear()
        election.cancel()
        await asyncio.gather(election, return_exceptions=True)


async def to_the_end(events: AsyncIterator[Any]) -> None:
    async for _ in events:
        pass
