"""There and back without the claims: a stop removes a cluster on the sandbox, and a start brings it back."""

import base64
from dataclasses import replace

import pytest

from lifecycle.decide import remove, returning
from lifecycle.errors import Conflict, Invalid, Unsafe
from lifecycle.kube.capture import captured_objects
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.model import Action, Kind, Ref, Step
from lifecycle.operation import Operation
from lifecycle.workloads import Owner, OwnerKind
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.resources import CLAIMS, DEPLOYMENTS, SECRETS, STATEFULSETS, VOLUMES, Object
from sandbox.tml import PROD_NAMESPACE, prod
from tests.lifecycle.kube.conftest import Held, operation_of
from tests.lifecycle.kube.journey import carried_out, patient_cluster
from tests.lifecycle.kube.test_return import comparable, live

SQL = Ref(Kind.STATEFUL_SET, "mysql-set-0")
SECRET = Ref(Kind.SECRET, "sql-property")
GATEWAY = Ref(Kind.SERVICE, "tm-svc")
SHARED = {"Secret/cluster-property", "Secret/zones-property", "Secret/papi-property", "Secret/tmgc-registry-key"}


@pytest.fixture
async def cluster(api: KubernetesSandbox, door: Door) -> KubeCluster:
    api.apply(prod())
    await api.ready(PROD_NAMESPACE)
    return patient_cluster(door)


async def removal(
    cluster: KubeCluster, id_: str = "op-1", epoch: int = 1, *, keeps_services: bool = False
) -> Operation:
    found = await cluster.discover()
    goal = remove.goal(found, await cluster.parts(found), {}, keeps_services=keeps_services)
    return operation_of(goal.marked(id_), epoch, id_)


async def start_after(
    cluster: KubeCluster, removed: Operation, id_: str = "op-2", epoch: int = 5, *, overwrites: bool = False
) -> Operation:
    observed = await cluster.picture(returning.draft(removed))
    wanted = replace(returning.draft(removed), captured=observed.capture)
    different = await cluster.differences(wanted, returning.present(removed, observed))
    goal = returning.goal(removed, observed, {}, {}, different if overwrites else ())
    return operation_of(goal.marked(id_), epoch, id_)


def claims(api: KubernetesSandbox) -> dict[str, tuple[str, str]]:
    return {
        one["metadata"]["name"]: (one["metadata"]["uid"], one["status"]["phase"])
        for one in api.store.list(CLAIMS, PROD_NAMESPACE)
    }


def without_claims(found: dict[str, Object]) -> dict[str, Object]:
    return {name: comparable(one) for name, one in found.items() if not name.startswith("PersistentVolumeClaim/")}


async def test_what_a_stop_removed_comes_back_as_it_was_on_the_same_claims(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    before, held = live(api), claims(api)
    volumes = {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in api.store.list(VOLUMES)}
    api.volumes.write(PROD_NAMESPACE, "sqlvol-mysql-set-0-0", "mine", b"bytes")
    removed = await removal(cluster)
    gone = await carried_out(cluster, removed)
    assert {claim.status for claim in gone.claims} == {"Bound"}
    assert set(without_claims(live(api))) == SHARED
    assert claims(api) == held

    await carried_out(cluster, await start_after(cluster, removed))
    assert without_claims(live(api)) == without_claims(before)
    assert claims(api) == held
    assert api.volumes.read(PROD_NAMESPACE, "sqlvol-mysql-set-0-0", "mine") == b"bytes"
    assert {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in api.store.list(VOLUMES)} == volumes


async def test_a_shared_secret_that_somebody_removed_meanwhile_comes_back_too(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    before = live(api)
    removed = await removal(cluster)
    assert {ref for ref, _ in captured_objects(removed.goal)} >= {Ref(Kind.SECRET, "cluster-property")}
    await carried_out(cluster, removed)
    api.store.delete(SECRETS, PROD_NAMESPACE, "cluster-property")
    await carried_out(cluster, await start_after(cluster, removed))
    assert without_claims(live(api)) == without_claims(before)


@pytest.mark.parametrize("how", ["policy", "owner"])
async def test_a_set_that_would_take_its_claims_along_is_not_removed(
    api: KubernetesSandbox, cluster: KubeCluster, how: str
) -> None:
    """Somebody changed that after everything was looked at; nothing else would keep the volumes."""
    removed = await removal(cluster)
    await carried_out(cluster, removed, until="remove")
    held = claims(api)
    uid = api.store.get(STATEFULSETS, PROD_NAMESPACE, SQL.name)["metadata"]["uid"]

    def take_along(one: Object) -> None:
        one["spec"]["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Delete", "whenScaled": "Retain"}

    def belong(one: Object) -> None:
        owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": SQL.name, "uid": uid}
        one["metadata"]["ownerReferences"] = [owner]

    if how == "policy":
        api.store.change(STATEFULSETS, PROD_NAMESPACE, SQL.name, take_along)
    else:
        api.store.change(CLAIMS, PROD_NAMESPACE, "sqlvol-mysql-set-0-0", belong)
    with pytest.raises(Invalid, match="would take its claims along"):
        await cluster.do(Step(Action.REMOVE, SQL, uid=uid), removed, Held())
    assert claims(api) == held
    assert api.store.find(STATEFULSETS, PROD_NAMESPACE, SQL.name)


def meddle(api: KubernetesSandbox) -> None:
    """Objects of the cluster's names, made again by somebody and otherwise."""
    made = {f"{one['kind']}/{one['metadata']['name']}": one for one in prod()}
    image = made["StatefulSet/mysql-set-0"]["spec"]
    image["replicas"] = 0
    image["template"]["spec"]["containers"][0]["image"] = "registry.example.com/tml-sql:other"
    made["StatefulSet/mysql-set-0"]["metadata"]["annotations"] = {"example.com/by": "hand"}
    made["Secret/sql-property"]["data"] = {"other": base64.b64encode(b"OTHER").decode()}
    made["Service/tm-svc"]["spec"]["ports"][0]["targetPort"] = 9999
    api.apply([made[name] for name in ("StatefulSet/mysql-set-0", "Secret/sql-property", "Service/tm-svc")])


async def test_what_somebody_made_otherwise_is_named_and_left_alone(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    before = without_claims(live(api))
    removed = await removal(cluster)
    await carried_out(cluster, removed)
    meddle(api)
    observed = await cluster.picture(returning.draft(removed))
    wanted = replace(returning.draft(removed), captured=observed.capture)
    found = await cluster.differences(wanted, returning.present(removed, observed))
    assert {one.ref: one.fields for one in found} == {
        GATEWAY: ("spec.ports[port-80].targetPort",),
        SECRET: ("data in key other", "data in key tml_sql_properties.json"),
        SQL: ("metadata.annotations.example.com/by", "spec.template.spec.containers[tml-sql].image"),
    }
    await carried_out(cluster, await start_after(cluster, removed))
    after = without_claims(live(api))
    named = {f"{one.ref.kind}/{one.ref.name}" for one in found}
    assert {name for name in before if after[name] != before[name]} == named


async def test_overwrite_makes_it_as_captured_in_place(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    before, held = without_claims(live(api)), claims(api)
    removed = await removal(cluster)
    await carried_out(cluster, removed)
    meddle(api)
    uids = {name: one["metadata"]["uid"] for name, one in live(api).items()}
    await carried_out(cluster, await start_after(cluster, removed, overwrites=True))
    assert without_claims(live(api)) == before
    assert claims(api) == held
    assert {name: one["metadata"]["uid"] for name, one in live(api).items() if name in uids} == uids


async def test_it_is_written_only_over_the_object_that_was_seen_at_zero_and_with_our_epoch(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    removed = await removal(cluster)
    await carried_out(cluster, removed)
    meddle(api)
    back = await start_after(cluster, removed, overwrites=True)
    step = next(one for one in returning.making_steps(back.goal, await cluster.picture(back.goal)) if one.ref == SQL)
    assert step.action is Action.OVERWRITE

    async def refused(why: str, one: Step = step) -> None:
        with pytest.raises(Conflict, match=why):
            await cluster.do(one, back, Held())

    await refused("bears epoch")
    await cluster.stamp(back.goal, back.epoch, Held())
    await refused("another object", replace(step, uid="another"))
    api.store.change(STATEFULSETS, PROD_NAMESPACE, SQL.name, lambda one: one["spec"].update(replicas=1))
    await refused("scaled up meanwhile")


async def test_what_kubernetes_lets_nobody_change_is_refused_before_anything_is(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    removed = await removal(cluster)
    await carried_out(cluster, removed)
    made = next(one for one in prod() if one["metadata"]["name"] == SQL.name)
    made["spec"] |= {"replicas": 0, "podManagementPolicy": "Parallel"}
    api.apply([made])
    with pytest.raises(Unsafe, match=r"spec\.podManagementPolicy, which Kubernetes lets"):
        await start_after(cluster, removed, overwrites=True)


async def test_whoever_scales_a_name_is_known_though_nothing_of_that_name_is_there(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    await carried_out(cluster, await removal(cluster))
    target = {"kind": "Deployment", "name": "tm-deploy-0", "apiVersion": "apps/v1"}
    metadata = {"name": "tm", "namespace": PROD_NAMESPACE}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3}
    api.apply([{"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec}])
    tm = Ref(Kind.DEPLOYMENT, "tm-deploy-0")
    assert await cluster.owners([tm, SQL]) == {tm: (Owner(OwnerKind.HPA, "tm"),), SQL: ()}
    assert api.store.find(DEPLOYMENTS, PROD_NAMESPACE, "tm-deploy-0") is None
