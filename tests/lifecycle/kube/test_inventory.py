"""What belongs to a cluster, and what is somebody else's."""

from typing import Any

import pytest

from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.kube.inventory import pull_secrets, references
from lifecycle.model import Kind, Ref
from lifecycle.observed import Inventory
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.resources import SECRETS, SERVICES, STATEFULSETS, VOLUMES, Object
from sandbox.tml import PROD_NAMESPACE, prod
from tests.lifecycle.kube.conftest import cluster_at


@pytest.fixture
async def cluster(api: KubernetesSandbox, door: Door) -> KubeCluster:
    api.apply(prod())
    await api.ready(PROD_NAMESPACE)
    return cluster_at(door)


async def found_in(cluster: KubeCluster) -> Inventory:
    return await cluster.inventory(await cluster.discover())


def names(found: Inventory, kind: Kind) -> set[str]:
    return {one.ref.name for one in found.parts if one.ref.kind is kind}


def manifest(kind: str, name: str, **fields: Any) -> Object:
    api_version = "apps/v1" if kind in ("Deployment", "StatefulSet") else "v1"
    metadata = {"name": name, "namespace": PROD_NAMESPACE, **fields.pop("metadata", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def workload(kind: str, name: str, pod: Object, *, replicas: int = 0) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "x:1"}], **pod}}
    return manifest(kind, name, spec={"replicas": replicas, "selector": {"matchLabels": labels}, "template": template})


async def test_everything_the_vendor_makes_for_a_cluster_belongs_to_it_but_the_pull_secret(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    found = await found_in(cluster)
    made = {(one["kind"], one["metadata"]["name"]) for one in prod()}
    assert names(found, Kind.SERVICE) == {name for kind, name in made if kind == "Service"}
    assert names(found, Kind.SECRET) == {name for kind, name in made if kind == "Secret"} - {"tmgc-registry-key"}
    assert names(found, Kind.CONFIG_MAP) == set()
    balanced = {one.ref.name: one.addresses for one in found.parts if one.addresses}
    assert balanced == dict.fromkeys(["cm-svc-0", "reporting-app-0", "tm-svc"], ("127.0.0.1",))
    live = {one["metadata"]["name"]: one["metadata"]["uid"] for one in api.store.list(SECRETS, PROD_NAMESPACE)}
    assert {one.uid for one in found.parts if one.ref.kind is Kind.SECRET} < set(live.values())


async def test_the_volumes_are_those_behind_its_claims(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    found = await found_in(cluster)
    live = api.store.list(VOLUMES)
    assert {one.name for one in found.volumes} == {one["metadata"]["name"] for one in live}
    assert {one.claim for one in found.volumes} == {one["spec"]["claimRef"]["name"] for one in live}
    first = found.volumes[0]
    source = live[0]["spec"]["csi"]
    assert (first.policy, first.phase) == ("Delete", "Bound")
    assert (first.driver, first.handle) == ("hostpath.csi.sandbox", source["volumeHandle"])


@pytest.mark.parametrize(
    "pod",
    [
        {"volumes": [{"name": "v", "secret": {"secretName": "cm-jks"}}]},
        {"imagePullSecrets": [{"name": "cm-jks"}]},
        {"initContainers": [{"name": "i", "image": "x:1", "envFrom": [{"secretRef": {"name": "cm-jks"}}]}]},
    ],
)
async def test_what_another_workload_uses_too_stays_even_where_it_does_not_run(
    api: KubernetesSandbox, cluster: KubeCluster, pod: Object
) -> None:
    api.apply([workload("Deployment", "backup", pod)])
    found = names(await found_in(cluster), Kind.SECRET)
    assert "cm-jks" not in found
    assert "cm-key" in found


async def test_what_a_pod_of_nobody_uses_stays(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    spec = {"containers": [{"name": "main", "image": "x:1", "envFrom": [{"secretRef": {"name": "sql-property"}}]}]}
    api.apply([manifest("Pod", "debug", spec=spec, metadata={"labels": {"a": "b"}})])
    assert "sql-property" not in names(await found_in(cluster), Kind.SECRET)


async def test_a_service_of_somebody_elses_pods_stays(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    port = [{"port": 80}]
    api.apply(
        [
            workload("Deployment", "portal", {}),
            manifest("Service", "portal", spec={"selector": {"app": "portal"}, "ports": port}),
            manifest("Service", "by-hand", spec={"ports": port}),
            manifest("Service", "second", spec={"selector": {"service": "tm-svc"}, "ports": port}),
        ]
    )
    found = names(await found_in(cluster), Kind.SERVICE)
    assert not {"portal", "by-hand"} & found
    assert {"second", "tm-svc"} <= found


async def test_a_service_that_a_set_names_belongs_to_it_without_a_selector(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    def rename(found: Object) -> None:
        found["spec"]["selector"] = {"nothing": "here"}

    api.store.change(SERVICES, PROD_NAMESPACE, "cass-svc-0", rename)
    assert "cass-svc-0" in names(await found_in(cluster), Kind.SERVICE)


async def test_what_a_controller_makes_is_its_own(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    owner = api.store.get(STATEFULSETS, PROD_NAMESPACE, "mysql-set-0")["metadata"]

    def own(found: Object) -> None:
        reference = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": owner["name"], "uid": owner["uid"]}
        found["metadata"]["ownerReferences"] = [{**reference, "controller": True}]

    api.store.change(SECRETS, PROD_NAMESPACE, "sql-property", own)
    assert "sql-property" not in names(await found_in(cluster), Kind.SECRET)


async def test_the_values_of_secrets_are_not_read(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    await found_in(cluster)
    asked = {key: count for key, count in api.server.requests.items() if key[1] in ("secrets", "configmaps")}
    assert asked == {("list", "secrets"): 1, ("list", "configmaps"): 1}


def test_every_way_in_which_a_pod_names_a_secret_or_a_config_map_is_known() -> None:
    pod = {
        "imagePullSecrets": [{"name": "pull"}],
        "volumes": [
            {"name": "a", "secret": {"secretName": "s1"}},
            {"name": "b", "configMap": {"name": "c1"}},
            {"name": "c", "projected": {"sources": [{"secret": {"name": "s2"}}, {"configMap": {"name": "c2"}}]}},
            {"name": "d", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "s3"}}},
        ],
        "initContainers": [{"envFrom": [{"secretRef": {"name": "s4"}}, {"configMapRef": {"name": "c4"}}]}],
        "containers": [
            {
                "name": "s9",
                "env": [
                    {"name": "x", "valueFrom": {"secretKeyRef": {"name": "s5", "key": "k"}}},
                    {"name": "y", "valueFrom": {"configMapKeyRef": {"name": "c5", "key": "k"}}},
                    {"name": "secretName", "value": "s8"},
                ],
            }
        ],
    }
    found = set(references(pod))
    assert {ref.name for ref in found if ref.kind is Kind.SECRET} == {"s1", "s2", "s3", "s4", "s5"}
    assert {ref.name for ref in found if ref.kind is Kind.CONFIG_MAP} == {"c1", "c2", "c4", "c5"}
    assert set(pull_secrets(pod)) == {Ref(Kind.SECRET, "pull")}
