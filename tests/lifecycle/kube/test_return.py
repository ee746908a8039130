"""There and back: a cluster is deleted and restored on the sandbox, objects and bytes."""

from typing import Any

import pytest

from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.kube.read import EPOCH, KEPT_BY, MADE_BY, OPERATION, POLICY_BEFORE, REPLICAS
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.resources import (
    CLAIMS,
    CONFIGMAPS,
    DEPLOYMENTS,
    SECRETS,
    SERVICES,
    STATEFULSETS,
    VOLUMES,
    Object,
)
from sandbox.tml import PROD_NAMESPACE, manifests, prod
from tests.lifecycle.kube.journey import carried_out, deletion, patient_cluster, return_of

GIVEN = ("uid", "resourceVersion", "creationTimestamp", "generation", "finalizers", "ownerReferences")
KINDS = (STATEFULSETS, DEPLOYMENTS, SERVICES, SECRETS, CONFIGMAPS, CLAIMS)


@pytest.fixture
async def cluster(api: KubernetesSandbox, door: Door) -> KubeCluster:
    """With settings of a part in a ConfigMap, as releases up to 5.2 had them."""
    found = prod()
    template = next(one for one in found if one["metadata"]["name"] == "cache-set-0")["spec"]["template"]
    template["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "cache-map"}}]
    settings = {"metadata": {"name": "cache-map", "namespace": PROD_NAMESPACE}, "data": {"a": "b"}}
    api.apply([found[0], {"apiVersion": "v1", "kind": "ConfigMap", **settings}, *found[1:]])
    await api.ready(PROD_NAMESPACE)
    return patient_cluster(door)


def live(api: KubernetesSandbox) -> dict[str, Object]:
    return {
        f"{resource.kind}/{one['metadata']['name']}": one
        for resource in KINDS
        for one in api.store.list(resource, PROD_NAMESPACE)
        if not one["metadata"]["name"].startswith("tml-bot-capture")
    }


def comparable(found: Object) -> Object:
    """Without what Kubernetes gives each object, and without our marks."""
    notes = found["metadata"].get("annotations") or {}
    own = (EPOCH, OPERATION, MADE_BY, REPLICAS)
    kubernetes = (
        "pv.kubernetes.io/",
        "volume.kubernetes.io/",
        "volume.beta.kubernetes.io/",
        "deployment.kubernetes.io/",
    )
    kept = {key: value for key, value in notes.items() if key not in own and not key.startswith(kubernetes)}
    metadata = {key: value for key, value in found["metadata"].items() if key not in (*GIVEN, "annotations")}
    bare = {key: value for key, value in found.items() if key not in ("status", "metadata")}
    return _without_addresses({**bare, "metadata": metadata, "kept": kept})


def _without_addresses(found: Object) -> Object:
    if found["kind"] != "Service" or found["spec"].get("clusterIP") == "None":
        return found
    spec: dict[str, Any] = {
        key: value for key, value in found["spec"].items() if key not in ("clusterIP", "clusterIPs")
    }
    spec["ports"] = [{key: value for key, value in port.items() if key != "nodePort"} for port in spec["ports"]]
    return {**found, "spec": spec}


async def test_a_cluster_that_was_deleted_comes_back_as_it_was(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    before = live(api)
    claims = [one["metadata"]["name"] for one in api.store.list(CLAIMS, PROD_NAMESPACE)]
    api.volumes.write(PROD_NAMESPACE, "sqlvol-mysql-set-0-0", "mine", b"bytes")
    volumes = {one["spec"]["claimRef"]["name"]: one["metadata"]["uid"] for one in api.store.list(VOLUMES)}
    deleted = await deletion(cluster)
    gone = await carried_out(cluster, deleted)
    assert {one.phase for one in gone.volumes} <= {"Released", "Bound"}
    assert set(live(api)) == {"Secret/tmgc-registry-key"}

    restored = await return_of(cluster, deleted)
    assert restored.goal.captured == gone.capture
    after = await carried_out(cluster, restored)
    assert all(state.made_by == "op-1" for state in after.workloads.values())
    now = live(api)
    assert {name: comparable(one) for name, one in now.items()} == {
        name: comparable(one) for name, one in before.items()
    }
    assert {one["spec"]["claimRef"]["name"]: one["metadata"]["uid"] for one in api.store.list(VOLUMES)} == volumes
    assert api.volumes.read(PROD_NAMESPACE, "sqlvol-mysql-set-0-0", "mine") == b"bytes"
    assert {claim.name for claim in after.claims} == set(claims)
    for volume in api.store.list(VOLUMES):
        notes = volume["metadata"]["annotations"]
        assert KEPT_BY not in notes
        assert POLICY_BEFORE not in notes
        assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"


async def test_a_restored_cluster_can_be_deleted_again(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    first = await deletion(cluster)
    await carried_out(cluster, first)
    await carried_out(cluster, await return_of(cluster, first))
    second = await deletion(cluster, "op-3", 9)
    await carried_out(cluster, second)
    await carried_out(cluster, await return_of(cluster, second, "op-4", 12))
    assert (await cluster.discover()).observed.claims
    assert {one["spec"]["persistentVolumeReclaimPolicy"] for one in api.store.list(VOLUMES)} == {"Delete"}


async def test_a_kept_volume_is_taken_by_no_other_claim(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    """Of the same class, of the same name in another namespace: both are there before the volume is free."""
    api.volumes.write(PROD_NAMESPACE, "sqlvol-mysql-set-0-0", "mine", b"bytes")
    deleted = await deletion(cluster)
    await carried_out(cluster, deleted)
    api.apply(manifests("other", cluster_name="other", counts={}))
    for namespace, name in (("other", "sqlvol-mysql-set-0-0"), (PROD_NAMESPACE, "waits-0")):
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "sql-storage-class",
            "resources": {"requests": {"storage": "1Gi"}},
        }
        metadata = {"name": name, "namespace": namespace}
        if api.store.find(CLAIMS, namespace, name) is None:
            api.apply([{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}])
    await api.ready("other")
    await carried_out(cluster, await return_of(cluster, deleted))
    mine = api.store.get(CLAIMS, PROD_NAMESPACE, "sqlvol-mysql-set-0-0")["spec"]["volumeName"]
    kept = next(one.name for one in deleted.goal.volumes if one.claim == "sqlvol-mysql-set-0-0")
    assert mine == kept
    assert api.volumes.read(PROD_NAMESPACE, "sqlvol-mysql-set-0-0", "mine") == b"bytes"
    others = (("other", "sqlvol-mysql-set-0-0"), (PROD_NAMESPACE, "waits-0"))
    assert kept not in {api.store.get(CLAIMS, *one)["spec"].get("volumeName") for one in others}
    assert api.store.get(CLAIMS, PROD_NAMESPACE, "waits-0")["status"]["phase"] == "Pending"
