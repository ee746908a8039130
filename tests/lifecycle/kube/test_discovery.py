"""The reference clusters as they are found."""

from lifecycle.kube import rights
from lifecycle.kube.rights import NEEDED, READING
from lifecycle.model import Component, Verb
from lifecycle.ports import Right
from lifecycle.topology import arranged
from lifecycle.workloads import OwnerKind
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.access import Identity, Role
from sandbox.tml import PROD_NAMESPACE, STAGING_NAMESPACE, manifests, prod, reference
from tests.lifecycle.kube.conftest import OpenDoor, cluster_at


async def test_both_reference_clusters_are_discovered(api: KubernetesSandbox, open_door: OpenDoor) -> None:
    api.apply(reference())
    await api.ready(PROD_NAMESPACE)
    await api.ready(STAGING_NAMESPACE)
    door = await open_door()
    found = await cluster_at(door).discover()
    staging = await cluster_at(door, STAGING_NAMESPACE).discover()
    assert (found.name, found.mode, found.release) == ("prod", "tethered", "5.5.2")
    assert (staging.name, staging.mode) == ("staging", "untethered")
    assert {workload.component for workload in found.workloads} == set(Component)
    assert Component.REPORTING not in {workload.component for workload in staging.workloads}
    assert found.declared[Component.TM, 0] == 2
    assert found.strange == ()
    assert all(found.observed[one].is_ready(one.ref.kind) for one in found.workloads)
    assert [claim.name for claim in found.observed.claims] == [
        "cachevol-cache-set-0-0",
        "logvol-log-set-0-0",
        "nosqlvol-cass-set-0-0",
        "reportingvol-reporting-set-0-0",
        "sqlvol-mysql-set-0-0",
    ]
    assert {(claim.status, claim.driver) for claim in found.observed.claims} == {("Bound", "hostpath.csi.sandbox")}


async def test_a_cluster_of_two_zones_has_each_component_in_both(api: KubernetesSandbox, open_door: OpenDoor) -> None:
    api.apply(manifests("two", cluster_name="two", zones=2, counts={"sql": 2}, reporting=False))
    found = await cluster_at(await open_door(), "two").discover()
    assert sorted((one.component, one.zone) for one in found.workloads) == sorted(
        (component, zone) for component in set(Component) - {Component.REPORTING} for zone in (0, 1)
    )
    assert found.declared[Component.SQL, 1] == 2
    seed, second = [one for one in arranged(found.workloads) if one.component is Component.NOSQL]
    assert arranged(found.workloads).needs_of(second) == (seed,)


async def test_scalers_are_seen_where_they_may_be_read(api: KubernetesSandbox, open_door: OpenDoor) -> None:
    api.apply(prod())
    for api_version, kind in (("autoscaling/v2", "HorizontalPodAutoscaler"), ("keda.sh/v1alpha1", "ScaledObject")):
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "tm-deploy-0"}
        metadata = {"name": "scaler", "namespace": PROD_NAMESPACE}
        spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3, "triggers": []}
        api.apply([{"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}])
    api.server.tokens["few"] = Identity("few", _rules(READING))
    (owners,) = [one.owners for one in (await cluster_at(await open_door()).discover()).workloads if one.owners]
    assert {owner.kind for owner in owners} == {OwnerKind.KEDA, OwnerKind.HPA}
    unseen = await cluster_at(await open_door("few")).discover()
    assert not any(one.owners for one in unseen.workloads)


def _rules(rights: tuple[Right, ...]) -> tuple[Role, ...]:
    return tuple(Role((right.group,), (right.resource,), (right.verb,), (PROD_NAMESPACE,)) for right in rights)


async def test_missing_rights_are_named(api: KubernetesSandbox, open_door: OpenDoor) -> None:
    api.apply(prod())
    api.server.tokens["all"] = Identity("all", _rules(NEEDED))
    api.server.tokens["few"] = Identity("few", _rules(tuple(one for one in NEEDED if one.verb != "patch")))
    assert await cluster_at(await open_door("all")).missing_rights(Verb.STOP) == ()
    missing = await cluster_at(await open_door("few")).missing_rights(Verb.START)
    assert [str(right) for right in missing] == ["patch statefulsets (apps)", "patch deployments (apps)"]
    assert await rights.missing(await open_door("few"), PROD_NAMESPACE, READING) == ()
