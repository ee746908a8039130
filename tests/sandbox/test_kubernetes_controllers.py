import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sandbox import kubernetes
from sandbox.kubernetes import FAULT_ANNOTATION, KubernetesSandbox
from sandbox.kubernetes.controllers.podstatus import is_ready
from sandbox.kubernetes.resources import (
    CLAIMS,
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    SECRETS,
    SERVICES,
    STATEFULSETS,
    STORAGE_CLASSES,
    VOLUMES,
    Resource,
)
from sandbox.kubernetes.store import ApiError, Event, Store

Object = dict[str, Any]
NS = "apps"
SCALE = 0.002


@pytest.fixture
async def sandbox() -> AsyncIterator[KubernetesSandbox]:
    async with kubernetes.start(time_scale=SCALE) as running:
        running.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}}, storage_class("late")])
        yield running


def storage_class(name: str, *, mode: str = "WaitForFirstConsumer", **more: Any) -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "hostpath.csi.sandbox",
        "volumeBindingMode": mode,
        **more,
    }


def template(**spec: Any) -> Object:
    container = {"name": "main", "image": "example.com/app:1", "readinessProbe": {"periodSeconds": 1}}
    return {
        "metadata": {"labels": {"app": "db"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 10, **spec},
    }


def stateful(name: str = "db", replicas: int = 3, *, claims: bool = False, **spec: Any) -> Object:
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "late",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": NS},
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "selector": {"matchLabels": {"app": "db"}},
            "template": template(),
            "volumeClaimTemplates": [claim] if claims else [],
            **spec,
        },
    }


def deployed(replicas: int = 4, **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": NS},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "db"}},
            "template": template(),
            **spec,
        },
    }


def claim(name: str, class_name: str = "late", **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": NS},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": class_name,
            "resources": {"requests": {"storage": "1Gi"}},
            **spec,
        },
    }


def scale(sandbox: KubernetesSandbox, resource: Resource, name: str, replicas: int) -> None:
    def change(found: Object) -> None:
        found["spec"]["replicas"] = replicas

    sandbox.store.change(resource, NS, name, change)


def renew(sandbox: KubernetesSandbox, resource: Resource, name: str, image: str = "example.com/app:2") -> None:
    def change(found: Object) -> None:
        found["spec"]["template"]["spec"]["containers"][0]["image"] = image

    sandbox.store.change(resource, NS, name, change)


def phase_of(store: Store, resource: Resource, namespace: str | None, name: str) -> str:
    found = store.find(resource, namespace, name)
    return found["status"].get("phase", "") if found else "gone"


def reasons(sandbox: KubernetesSandbox, name: str) -> set[str]:
    rows = sandbox.store.rows(EVENTS, NS)
    return {row["reason"] for row in rows if row["involvedObject"]["name"] == name}


def waiting(store: Store, name: str) -> str:
    pod = store.find(PODS, NS, name)
    states = [one["state"] for one in (pod or {}).get("status", {}).get("containerStatuses") or []]
    return next((state["waiting"]["reason"] for state in states if "waiting" in state), "")


@asynccontextmanager
async def recorded(sandbox: KubernetesSandbox) -> AsyncIterator[list[Event]]:
    """The events of all pods from here on; complete at the end of the block."""
    events: list[Event] = []
    with sandbox.store.feed() as feed:
        yield events
        while not feed.empty():
            event = feed.get_nowait()
            if event is not None and event.resource is PODS:
                events.append(event)


def line(events: list[Event], wanted: Callable[[Event], str]) -> list[str]:
    return [word for event in events if (word := wanted(event))]


def became_ready_or_gone(event: Event) -> str:
    name = event.object["metadata"]["name"]
    if event.type == "DELETED":
        return f"{name} gone"
    if event.type == "ADDED":
        return f"{name} made"
    return f"{name} ready" if is_ready(event.object) and not is_ready(event.previous or {}) else ""


async def test_ordered_pods_start_one_after_another_and_stop_from_the_last(sandbox: KubernetesSandbox) -> None:
    async with recorded(sandbox) as events:
        sandbox.apply([stateful()])
        await sandbox.ready(NS)
        scale(sandbox, STATEFULSETS, "db", 0)
        await sandbox.stopped(NS)
    assert line(events, became_ready_or_gone) == [
        *("db-0 made", "db-0 ready", "db-1 made", "db-1 ready", "db-2 made", "db-2 ready"),
        *("db-2 gone", "db-1 gone", "db-0 gone"),
    ]


async def test_parallel_pods_start_and_stop_together(sandbox: KubernetesSandbox) -> None:
    async with recorded(sandbox) as events:
        sandbox.apply([stateful(podManagementPolicy="Parallel")])
        await sandbox.ready(NS)
        scale(sandbox, STATEFULSETS, "db", 0)
        await sandbox.stopped(NS)
    told = line(events, became_ready_or_gone)
    assert set(told[:3]) == {"db-0 made", "db-1 made", "db-2 made"}
    deleting = [event for event in events if "deletionTimestamp" in event.object["metadata"]]
    assert {event.object["metadata"]["name"] for event in deleting[:3]} == {"db-0", "db-1", "db-2"}


async def test_a_pod_that_somebody_deletes_is_made_again(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([stateful(replicas=1)])
    await sandbox.ready(NS)
    before = sandbox.store.get(PODS, NS, "db-0")["metadata"]["uid"]
    sandbox.store.delete(PODS, NS, "db-0")
    await sandbox.until(
        lambda store: is_ready(pod := store.find(PODS, NS, "db-0") or {}) and pod["metadata"]["uid"] != before
    )


async def test_the_status_counts_pods_on_their_way_out_and_says_what_it_has_seen(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([stateful(replicas=2, podManagementPolicy="Parallel")])
    await sandbox.ready(NS)
    sandbox.annotate(STATEFULSETS, NS, "db", FAULT_ANNOTATION, "stuck-terminating")
    scale(sandbox, STATEFULSETS, "db", 0)
    await sandbox.until(lambda store: store.get(STATEFULSETS, NS, "db")["status"]["observedGeneration"] == 2)
    assert sandbox.store.get(STATEFULSETS, NS, "db")["status"]["replicas"] == 2
    sandbox.annotate(STATEFULSETS, NS, "db", FAULT_ANNOTATION, None)
    await sandbox.stopped(NS)


async def test_a_deployment_s_status_leaves_out_pods_on_their_way_out(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([deployed(2)])
    await sandbox.ready(NS)
    sandbox.annotate(DEPLOYMENTS, NS, "web", FAULT_ANNOTATION, "stuck-terminating")
    scale(sandbox, DEPLOYMENTS, "web", 0)
    await sandbox.until(lambda store: not store.get(DEPLOYMENTS, NS, "web")["status"].get("replicas"))
    assert len(sandbox.store.rows(PODS, NS)) == 2


async def test_a_rolling_update_replaces_the_highest_pod_first_and_waits_for_it(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([stateful()])
    await sandbox.ready(NS)
    old = sandbox.store.get(STATEFULSETS, NS, "db")["status"]["currentRevision"]
    async with recorded(sandbox) as events:
        renew(sandbox, STATEFULSETS, "db")
        await sandbox.ready(NS)
    told = line(events, became_ready_or_gone)
    assert told == [f"db-{n} {what}" for n in (2, 1, 0) for what in ("gone", "made", "ready")]
    status = sandbox.store.get(STATEFULSETS, NS, "db")["status"]
    assert status["currentRevision"] == status["updateRevision"] != old
    labels = {row["metadata"]["labels"]["controller-revision-hash"] for row in sandbox.store.rows(PODS, NS)}
    assert labels == {status["updateRevision"]}


async def test_a_partition_keeps_the_pods_below_it_even_when_they_are_lost(sandbox: KubernetesSandbox) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    sandbox.apply([stateful(replicas=2, updateStrategy=strategy)])
    await sandbox.ready(NS)
    renew(sandbox, STATEFULSETS, "db")
    await sandbox.until(lambda store: store.get(STATEFULSETS, NS, "db")["status"].get("updatedReplicas") == 1)
    before = sandbox.store.get(PODS, NS, "db-0")["metadata"]["uid"]
    sandbox.store.delete(PODS, NS, "db-0")
    await sandbox.until(
        lambda store: (
            all(is_ready(store.find(PODS, NS, name) or {}) for name in ("db-0", "db-1"))
            and store.get(PODS, NS, "db-0")["metadata"]["uid"] != before
        )
    )
    images = [sandbox.store.get(PODS, NS, f"db-{n}")["spec"]["containers"][0]["image"] for n in (0, 1)]
    assert images == ["example.com/app:1", "example.com/app:2"]


async def test_on_delete_waits_for_somebody_to_delete_the_pod(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([stateful(replicas=1, updateStrategy={"type": "OnDelete"})])
    await sandbox.ready(NS)
    renew(sandbox, STATEFULSETS, "db")
    await sandbox.until(lambda store: store.get(STATEFULSETS, NS, "db")["status"]["observedGeneration"] == 2)
    assert sandbox.store.get(PODS, NS, "db-0")["spec"]["containers"][0]["image"] == "example.com/app:1"
    sandbox.store.delete(PODS, NS, "db-0")
    await sandbox.ready(NS)
    assert sandbox.store.get(PODS, NS, "db-0")["spec"]["containers"][0]["image"] == "example.com/app:2"


async def test_a_deployment_rolls_within_its_bounds(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([deployed(4)])
    await sandbox.ready(NS)
    serving = {row["metadata"]["name"]: (True, True) for row in sandbox.store.rows(PODS, NS)}
    async with recorded(sandbox) as events:
        renew(sandbox, DEPLOYMENTS, "web")
        await sandbox.ready(NS)
    for event in events:
        stays = event.type != "DELETED" and "deletionTimestamp" not in event.object["metadata"]
        serving[event.object["metadata"]["name"]] = (stays, stays and is_ready(event.object))
        assert sum(stays for stays, _ in serving.values()) <= 5
        assert sum(is_up for _, is_up in serving.values()) >= 3
    assert len(sandbox.store.rows(REPLICASETS, NS)) == 2
    status = sandbox.store.get(DEPLOYMENTS, NS, "web")["status"]
    assert (status["replicas"], status["updatedReplicas"], status["availableReplicas"]) == (4, 4, 4)
    assert "unavailableReplicas" not in status
    assert {found["type"]: found["status"] for found in status["conditions"]} == {
        "Available": "True",
        "Progressing": "True",
    }


async def test_a_rollout_that_does_not_move_exceeds_its_deadline(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([deployed(1, progressDeadlineSeconds=30)])
    sandbox.annotate(DEPLOYMENTS, NS, "web", FAULT_ANNOTATION, "never-ready")

    def progress(store: Store) -> str:
        found = store.get(DEPLOYMENTS, NS, "web")["status"].get("conditions") or []
        return next((each["reason"] for each in found if each["type"] == "Progressing"), "")

    await sandbox.until(lambda store: progress(store) == "ProgressDeadlineExceeded")
    sandbox.annotate(DEPLOYMENTS, NS, "web", FAULT_ANNOTATION, None)
    await sandbox.until(lambda store: progress(store) == "NewReplicaSetAvailable")


async def test_claims_and_their_bytes_outlive_a_stop(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([stateful(replicas=2, claims=True)])
    await sandbox.ready(NS)
    sandbox.volumes.write(NS, "data-db-0", "table/rows", b"1,2,3\n")
    uid, digest = sandbox.store.get(CLAIMS, NS, "data-db-0")["metadata"]["uid"], sandbox.volumes.digest(NS, "data-db-0")
    scale(sandbox, STATEFULSETS, "db", 0)
    await sandbox.stopped(NS)
    assert sandbox.volumes.digest(NS, "data-db-0") == digest
    scale(sandbox, STATEFULSETS, "db", 2)
    await sandbox.ready(NS)
    found = sandbox.store.get(CLAIMS, NS, "data-db-0")
    assert (found["metadata"]["uid"], found["status"]["phase"]) == (uid, "Bound")
    assert found["metadata"]["labels"] == {"app": "db"}
    assert sandbox.volumes.read(NS, "data-db-0", "table/rows") == b"1,2,3\n"
    assert b"db-0" in sandbox.volumes.read(NS, "data-db-0", "starts.log")


async def test_a_retention_policy_deletes_claims_on_scaling_if_it_says_so(sandbox: KubernetesSandbox) -> None:
    policy = {"whenScaled": "Delete", "whenDeleted": "Retain"}
    sandbox.apply([stateful(replicas=2, claims=True, persistentVolumeClaimRetentionPolicy=policy)])
    await sandbox.ready(NS)
    scale(sandbox, STATEFULSETS, "db", 1)
    await sandbox.until(lambda store: store.find(CLAIMS, NS, "data-db-1") is None)
    sandbox.store.delete(STATEFULSETS, NS, "db", propagation="Background")
    await sandbox.stopped(NS)
    assert phase_of(sandbox.store, CLAIMS, NS, "data-db-0") == "Bound"


async def test_a_retention_policy_deletes_claims_with_the_set_if_it_says_so(sandbox: KubernetesSandbox) -> None:
    policy = {"whenScaled": "Retain", "whenDeleted": "Delete"}
    sandbox.apply([stateful(replicas=1, claims=True, persistentVolumeClaimRetentionPolicy=policy)])
    await sandbox.ready(NS)
    scale(sandbox, STATEFULSETS, "db", 0)
    await sandbox.stopped(NS)
    assert phase_of(sandbox.store, CLAIMS, NS, "data-db-0") == "Bound"
    sandbox.store.delete(STATEFULSETS, NS, "db", propagation="Background")
    await sandbox.until(lambda store: not store.rows(CLAIMS, NS) and not store.rows(VOLUMES))


async def test_a_claim_waits_for_its_first_consumer(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([claim("data")])
    await sandbox.until(lambda store: "WaitForFirstConsumer" in reasons(sandbox, "data"))
    assert phase_of(sandbox.store, CLAIMS, NS, "data") == "Pending"
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    sandbox.apply([pod("reader", volumes=[volume])])
    await sandbox.until(lambda store: is_ready(store.get(PODS, NS, "reader")))
    found = sandbox.store.get(CLAIMS, NS, "data")
    assert found["status"] == {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}
    assert found["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] == "yes"
    bound = sandbox.store.get(VOLUMES, None, found["spec"]["volumeName"])
    assert bound["spec"]["csi"]["driver"] == "hostpath.csi.sandbox"
    assert bound["spec"]["persistentVolumeReclaimPolicy"] == "Delete"


def pod(name: str, **spec: Any) -> Object:
    made = template(**spec)
    metadata = {"name": name, "namespace": NS, **made["metadata"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": made["spec"]}


@pytest.mark.parametrize(
    ("provisioner", "source"),
    [
        ("hostpath.csi.sandbox", "csi"),
        ("kubernetes.io/aws-ebs", "awsElasticBlockStore"),
        ("cluster.local/nfs-subdir-external-provisioner", "nfs"),
    ],
)
async def test_an_immediate_class_binds_at_once_with_its_own_kind_of_volume(
    sandbox: KubernetesSandbox, provisioner: str, source: str
) -> None:
    sandbox.apply([storage_class("now", mode="Immediate", provisioner=provisioner), claim("data", "now")])
    await sandbox.until(lambda store: phase_of(store, CLAIMS, NS, "data") == "Bound")
    assert source in sandbox.store.rows(VOLUMES)[0]["spec"]


async def test_a_claim_that_a_pod_uses_stays_until_the_pod_is_gone(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([stateful(replicas=1, claims=True)])
    await sandbox.ready(NS)
    sandbox.store.delete(CLAIMS, NS, "data-db-0")
    assert "deletionTimestamp" in sandbox.store.get(CLAIMS, NS, "data-db-0")["metadata"]
    async with recorded(sandbox) as events:
        scale(sandbox, STATEFULSETS, "db", 0)
        await sandbox.until(lambda store: store.find(CLAIMS, NS, "data-db-0") is None)
    assert events[-1].type == "DELETED"


async def test_a_retained_volume_is_released_and_bound_again_by_name(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([storage_class("now", mode="Immediate", reclaimPolicy="Retain"), claim("data", "now")])
    await sandbox.until(lambda store: phase_of(store, CLAIMS, NS, "data") == "Bound")
    name = sandbox.store.get(CLAIMS, NS, "data")["spec"]["volumeName"]
    sandbox.volumes.write(NS, "data", "rows", b"kept")
    sandbox.store.delete(CLAIMS, NS, "data")
    await sandbox.until(lambda store: phase_of(store, VOLUMES, None, name) == "Released")

    def reserve(found: Object) -> None:
        del found["spec"]["claimRef"]["uid"], found["spec"]["claimRef"]["resourceVersion"]

    sandbox.store.change(VOLUMES, None, name, reserve)
    await sandbox.until(lambda store: phase_of(store, VOLUMES, None, name) == "Available")
    sandbox.apply([claim("other", "now"), claim("data", "now", volumeName=name)])
    await sandbox.until(lambda store: {row["status"]["phase"] for row in store.rows(CLAIMS, NS)} == {"Bound"})
    assert sandbox.volumes.read(NS, "data", "rows") == b"kept"
    assert sandbox.volumes.files(NS, "other") == []


async def test_an_emptied_claim_reference_gives_the_volume_to_whoever_comes(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([storage_class("now", mode="Immediate", reclaimPolicy="Retain"), claim("data", "now")])
    await sandbox.until(lambda store: phase_of(store, CLAIMS, NS, "data") == "Bound")
    name = sandbox.store.get(CLAIMS, NS, "data")["spec"]["volumeName"]
    sandbox.store.delete(CLAIMS, NS, "data")
    await sandbox.until(lambda store: phase_of(store, VOLUMES, None, name) == "Released")
    sandbox.store.change(VOLUMES, None, name, lambda found: found["spec"].pop("claimRef"))
    await sandbox.until(lambda store: phase_of(store, VOLUMES, None, name) == "Available")
    sandbox.apply([claim("stranger", "now")])
    await sandbox.until(lambda store: phase_of(store, CLAIMS, NS, "stranger") == "Bound")
    assert sandbox.store.get(CLAIMS, NS, "stranger")["spec"]["volumeName"] == name


async def test_a_volume_to_be_deleted_goes_with_its_bytes(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([storage_class("now", mode="Immediate"), claim("data", "now")])
    await sandbox.until(lambda store: phase_of(store, CLAIMS, NS, "data") == "Bound")
    folder = sandbox.volumes.folder_of(NS, "data")
    assert folder.is_dir()
    sandbox.store.delete(CLAIMS, NS, "data")
    await sandbox.until(lambda store: not store.rows(VOLUMES))
    assert not folder.exists()


async def test_a_volume_in_use_is_protected(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([storage_class("now", mode="Immediate", reclaimPolicy="Retain"), claim("data", "now")])
    await sandbox.until(lambda store: phase_of(store, CLAIMS, NS, "data") == "Bound")
    name = sandbox.store.get(CLAIMS, NS, "data")["spec"]["volumeName"]
    sandbox.store.delete(VOLUMES, None, name)
    assert "deletionTimestamp" in sandbox.store.get(VOLUMES, None, name)["metadata"]
    sandbox.store.delete(CLAIMS, NS, "data")
    await sandbox.until(lambda store: store.find(VOLUMES, None, name) is None)


@pytest.mark.parametrize("fault", ["never-ready", "image-pull", "unschedulable", "crash-loop", "slow-start"])
@pytest.mark.parametrize("place", ["workload", "template"])
async def test_a_pod_recovers_by_itself_from_a_fault_that_is_repaired(
    sandbox: KubernetesSandbox, fault: str, place: str
) -> None:
    manifest = stateful(replicas=1)
    metadata = manifest["metadata"] if place == "workload" else manifest["spec"]["template"]["metadata"]
    metadata["annotations"] = {FAULT_ANNOTATION: fault}
    sandbox.apply([manifest])
    signs: dict[str, Callable[[Store], bool]] = {
        "never-ready": lambda store: "Unhealthy" in reasons(sandbox, "db-0"),
        "image-pull": lambda store: (
            waiting(store, "db-0") == "ImagePullBackOff" and "BackOff" in reasons(sandbox, "db-0")
        ),
        "unschedulable": lambda store: "FailedScheduling" in reasons(sandbox, "db-0"),
        "crash-loop": lambda store: waiting(store, "db-0") == "CrashLoopBackOff",
        "slow-start": lambda store: phase_of(store, PODS, NS, "db-0") == "Running",
    }
    await sandbox.until(signs[fault])
    assert not is_ready(sandbox.store.get(PODS, NS, "db-0"))

    def repair(found: Object) -> None:
        held = found if place == "workload" else found["spec"]["template"]
        held["metadata"]["annotations"] = {}

    sandbox.store.change(STATEFULSETS, NS, "db", repair)
    await sandbox.ready(NS)


async def test_an_unschedulable_pod_says_why(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([pod("big")])
    sandbox.annotate(PODS, NS, "big", FAULT_ANNOTATION, "unschedulable")
    await sandbox.until(lambda store: "FailedScheduling" in reasons(sandbox, "big"))
    found = sandbox.store.get(PODS, NS, "big")
    assert found["status"]["phase"] == "Pending"
    assert found["status"]["conditions"][0] | {"lastTransitionTime": ""} == {
        "type": "PodScheduled",
        "status": "False",
        "lastTransitionTime": "",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient memory.",
    }


async def test_a_crashing_container_is_restarted_and_its_last_words_are_kept(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([pod("app")])
    sandbox.annotate(PODS, NS, "app", FAULT_ANNOTATION, "crash-loop")

    def restarts(store: Store) -> int:
        listed = store.get(PODS, NS, "app")["status"].get("containerStatuses") or [{"restartCount": 0}]
        return int(listed[0]["restartCount"])

    await sandbox.until(lambda store: restarts(store) >= 2 and waiting(store, "app") == "CrashLoopBackOff")
    container = sandbox.store.get(PODS, NS, "app")["status"]["containerStatuses"][0]
    assert container["lastState"]["terminated"]["exitCode"] == 1
    path = f"/api/v1/namespaces/{NS}/pods/app/log?previous=true&tailLines=1"
    async with aiohttp.ClientSession(sandbox.url) as session, session.get(path) as answer:
        assert "FATAL" in await answer.text()


async def test_a_ready_pod_whose_probe_begins_to_fail_becomes_unready(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([stateful(replicas=1)])
    await sandbox.ready(NS)
    sandbox.annotate(STATEFULSETS, NS, "db", FAULT_ANNOTATION, "never-ready")
    await sandbox.until(lambda store: not is_ready(store.get(PODS, NS, "db-0")))
    sandbox.annotate(STATEFULSETS, NS, "db", FAULT_ANNOTATION, None)
    await sandbox.ready(NS)


async def test_a_pod_stuck_terminating_goes_when_that_is_repaired(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([stateful(replicas=1)])
    await sandbox.ready(NS)
    sandbox.annotate(STATEFULSETS, NS, "db", FAULT_ANNOTATION, "stuck-terminating")
    scale(sandbox, STATEFULSETS, "db", 0)
    await sandbox.until(lambda store: "FailedKillPod" in reasons(sandbox, "db-0"))
    assert sandbox.store.find(PODS, NS, "db-0") is not None
    sandbox.annotate(STATEFULSETS, NS, "db", FAULT_ANNOTATION, None)
    await sandbox.stopped(NS)


@pytest.mark.parametrize(("fault", "exit_code"), [(None, 0), ("slow-stop", 137)])
async def test_the_exit_code_is_seen_before_the_pod_is_gone(
    sandbox: KubernetesSandbox, fault: str | None, exit_code: int
) -> None:
    sandbox.apply([stateful(replicas=1)])
    await sandbox.ready(NS)
    sandbox.annotate(STATEFULSETS, NS, "db", FAULT_ANNOTATION, fault)
    async with recorded(sandbox) as events:
        scale(sandbox, STATEFULSETS, "db", 0)
        await sandbox.stopped(NS)
    assert [event.type for event in events[-2:]] == ["MODIFIED", "DELETED"]
    ended = events[-2].object["status"]
    terminated = ended["containerStatuses"][0]["state"]["terminated"]
    assert terminated["exitCode"] == exit_code
    assert terminated["reason"] == ("Error" if exit_code else "Completed")
    assert {"startedAt", "finishedAt"} <= terminated.keys()
    assert ended["phase"] == ("Failed" if exit_code else "Succeeded")


async def test_a_pod_waits_for_the_secret_that_it_mounts(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([pod("app", volumes=[{"name": "key", "secret": {"secretName": "key"}}])])
    await sandbox.until(lambda store: "FailedMount" in reasons(sandbox, "app"))
    assert waiting(sandbox.store, "app") == "ContainerCreating"
    sandbox.store.create(SECRETS, {"metadata": {"name": "key", "namespace": NS}})
    await sandbox.until(lambda store: is_ready(store.get(PODS, NS, "app")))


async def test_what_a_deleted_object_owns_goes_with_it(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([deployed(2)])
    await sandbox.ready(NS)
    sandbox.store.delete(DEPLOYMENTS, NS, "web", propagation="Background")
    assert sandbox.store.find(DEPLOYMENTS, NS, "web") is None
    await sandbox.until(lambda store: not store.rows(REPLICASETS, NS) and not store.rows(PODS, NS))


async def test_a_foreground_delete_ends_after_all_that_is_owned(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([deployed(2)])
    await sandbox.ready(NS)
    sandbox.store.delete(DEPLOYMENTS, NS, "web", propagation="Foreground")
    pods_left: list[int] = []
    with sandbox.store.feed() as feed:
        await sandbox.until(lambda store: store.find(DEPLOYMENTS, NS, "web") is None)
        while not feed.empty():
            event = feed.get_nowait()
            if event and (event.type, event.resource) in (("DELETED", PODS), ("DELETED", DEPLOYMENTS)):
                pods_left.append(event.resource is PODS)
    assert pods_left == [True, True, False]


async def test_an_orphaned_pod_stays_and_is_adopted_by_the_next_set(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([stateful(replicas=1)])
    await sandbox.ready(NS)
    uid = sandbox.store.get(PODS, NS, "db-0")["metadata"]["uid"]
    sandbox.store.delete(STATEFULSETS, NS, "db", propagation="Orphan")
    await sandbox.until(lambda store: store.find(STATEFULSETS, NS, "db") is None)
    assert "ownerReferences" not in sandbox.store.get(PODS, NS, "db-0")["metadata"]
    sandbox.apply([stateful(replicas=1)])
    await sandbox.ready(NS)
    assert sandbox.store.get(PODS, NS, "db-0")["metadata"]["uid"] == uid


async def test_a_namespace_takes_all_that_is_in_it_along(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([stateful(claims=True), deployed(1)])
    await sandbox.ready(NS)
    sandbox.store.delete(NAMESPACES, None, NS)
    assert phase_of(sandbox.store, NAMESPACES, None, NS) == "Terminating"
    with pytest.raises(ApiError):
        sandbox.apply([claim("late-comer")])
    await sandbox.until(lambda store: store.find(NAMESPACES, None, NS) is None)
    await sandbox.until(lambda store: not store.rows(VOLUMES))
    assert not sandbox.store.rows(PODS)


async def test_a_load_balancer_gets_its_address_and_a_headless_service_none(sandbox: KubernetesSandbox) -> None:
    for name, spec in {"front": {"type": "LoadBalancer"}, "back": {"clusterIP": "None"}}.items():
        made = {"metadata": {"name": name, "namespace": NS}, "spec": {"ports": [{"port": 80}], **spec}}
        sandbox.store.create(SERVICES, made)
    await sandbox.until(lambda store: bool(store.get(SERVICES, NS, "front")["status"]["loadBalancer"]))
    front, back = sandbox.store.get(SERVICES, NS, "front"), sandbox.store.get(SERVICES, NS, "back")
    assert front["status"]["loadBalancer"]["ingress"][0]["hostname"] == f"front.{NS}.elb.sandbox"
    assert front["spec"]["ports"][0]["nodePort"] >= 30000
    assert back["spec"]["clusterIP"] == "None"


async def test_a_controller_that_crashes_is_heard_of() -> None:
    with pytest.raises(KeyError, match="storage"):
        await provision_without_a_size()


async def provision_without_a_size() -> None:
    """No API server would let this claim pass; here it makes the provisioner fail."""
    async with kubernetes.start(time_scale=SCALE) as running:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}}
        sizeless = claim("data", "now", resources={"requests": {}})
        running.apply([namespace, storage_class("now", mode="Immediate"), sizeless])
        await running.until(lambda store: False)


async def test_a_condition_that_does_not_come_true_is_a_timeout(sandbox: KubernetesSandbox) -> None:
    with pytest.raises(TimeoutError, match="not true"):
        await sandbox.until(lambda store: False, timeout=0.01)


async def test_a_mistyped_fault_is_refused(sandbox: KubernetesSandbox) -> None:
    with pytest.raises(ValueError, match="nevr-ready"):
        sandbox.annotate(STORAGE_CLASSES, None, "late", FAULT_ANNOTATION, "nevr-ready")


async def test_a_claim_that_cannot_be_bound_says_why(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([storage_class("now", mode="Immediate"), claim("data", "now")])
    await sandbox.until(lambda store: phase_of(store, CLAIMS, NS, "data") == "Bound")
    name = sandbox.store.get(CLAIMS, NS, "data")["spec"]["volumeName"]
    snapshot = {"kind": "VolumeSnapshot", "name": "yesterday", "apiGroup": "snapshot.storage.k8s.io"}
    sandbox.apply(
        [
            claim("taken", "now", volumeName=name),
            claim("classless", "nowhere"),
            claim("restored", "now", dataSource=snapshot),
        ]
    )
    await sandbox.until(lambda store: "FailedBinding" in reasons(sandbox, "taken"))
    await sandbox.until(
        lambda store: "ProvisioningFailed" in reasons(sandbox, "classless") & reasons(sandbox, "restored")
    )
    assert {phase_of(sandbox.store, CLAIMS, NS, name) for name in ("classless", "restored")} == {"Pending"}


async def test_a_claim_whose_volume_vanishes_is_lost(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([storage_class("now", mode="Immediate"), claim("data", "now")])
    await sandbox.until(lambda store: phase_of(store, CLAIMS, NS, "data") == "Bound")
    sandbox.store.remove(VOLUMES, None, sandbox.store.get(CLAIMS, NS, "data")["spec"]["volumeName"])
    await sandbox.until(lambda store: phase_of(store, CLAIMS, NS, "data") == "Lost")


async def test_a_pod_waits_for_a_claim_that_is_not_there(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([pod("reader", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}])])
    await sandbox.until(lambda store: "FailedScheduling" in reasons(sandbox, "reader"))
    sandbox.apply([claim("data")])
    await sandbox.until(lambda store: is_ready(store.get(PODS, NS, "reader")))


async def test_a_recreated_deployment_ends_its_old_pods_first(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([deployed(2, strategy={"type": "Recreate"})])
    await sandbox.ready(NS)
    async with recorded(sandbox) as events:
        renew(sandbox, DEPLOYMENTS, "web")
        await sandbox.ready(NS)
    told = [event.type for event in events if event.type != "MODIFIED"]
    assert told == ["DELETED", "DELETED", "ADDED", "ADDED"]


async def test_a_deployment_goes_back_to_an_earlier_template(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([deployed(1)])
    await sandbox.ready(NS)
    for image in ("example.com/app:2", "example.com/app:1"):
        renew(sandbox, DEPLOYMENTS, "web", image)
        await sandbox.ready(NS)
    revision = "deployment.kubernetes.io/revision"
    assert sandbox.store.get(DEPLOYMENTS, NS, "web")["metadata"]["annotations"][revision] == "3"
    assert len(sandbox.store.rows(REPLICASETS, NS)) == 2


async def test_a_stop_in_the_middle_of_a_rollout_ends_all_pods(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([deployed(3)])
    await sandbox.ready(NS)
    sandbox.annotate(DEPLOYMENTS, NS, "web", FAULT_ANNOTATION, "image-pull")
    renew(sandbox, DEPLOYMENTS, "web")
    await sandbox.until(lambda store: any(waiting(store, row["metadata"]["name"]) for row in store.rows(PODS, NS)))
    scale(sandbox, DEPLOYMENTS, "web", 0)
    await sandbox.stopped(NS)


async def test_a_second_delete_shortens_the_grace_period(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([pod("slow", terminationGracePeriodSeconds=1_000_000)])
    await sandbox.until(lambda store: is_ready(store.get(PODS, NS, "slow")))
    sandbox.annotate(PODS, NS, "slow", FAULT_ANNOTATION, "slow-stop")
    sandbox.store.delete(PODS, NS, "slow")
    await sandbox.until(lambda store: "Killing" in reasons(sandbox, "slow"))
    sandbox.store.delete(PODS, NS, "slow", grace_seconds=1)
    await sandbox.until(lambda store: store.find(PODS, NS, "slow") is None)


async def test_manifests_can_be_applied_again(sandbox: KubernetesSandbox) -> None:
    front = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front", "namespace": NS}}
    manifests = [stateful(replicas=1, claims=True), front | {"spec": {"ports": [{"port": 80}]}}, claim("data")]
    sandbox.apply(manifests)
    await sandbox.ready(NS)
    await sandbox.until(lambda store: "clusterIP" in store.get(SERVICES, NS, "front")["spec"])
    uids = {row["metadata"]["uid"] for row in sandbox.store.rows(PODS, NS)}
    sandbox.apply(manifests)
    await sandbox.ready(NS)
    assert {row["metadata"]["uid"] for row in sandbox.store.rows(PODS, NS)} == uids


async def test_a_container_that_did_not_start_has_no_log(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([pod("app")])
    sandbox.annotate(PODS, NS, "app", FAULT_ANNOTATION, "image-pull")
    await sandbox.until(lambda store: waiting(store, "app") == "ImagePullBackOff")
    path = f"/api/v1/namespaces/{NS}/pods/app/log"
    async with aiohttp.ClientSession(sandbox.url) as session, session.get(path) as answer:
        assert answer.status == 400
        assert "waiting to start" in await answer.text()


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
async def test_kubectl_shows_the_pods(sandbox: KubernetesSandbox, tmp_path: Path) -> None:
    sandbox.apply([stateful(replicas=1)])
    await sandbox.ready(NS)
    sandbox.kubeconfig(tmp_path / "config", {"sandbox": NS})
    process = await asyncio.create_subprocess_exec(
        *("kubectl", f"--kubeconfig={tmp_path / 'config'}", f"--cache-dir={tmp_path}", "get", "pods"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()
    header, row = stdout.decode().splitlines()
    assert header.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row.split()[:3] == ["db-0", "1/1", "Running"]
