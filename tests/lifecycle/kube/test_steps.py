"""The single writes of a delete and a restore: what they need to be so, and what they leave alone."""

from dataclasses import replace

import pytest

from lifecycle.errors import Conflict, Invalid, LeaseLost
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.kube.read import EPOCH, KEPT_BY, MADE_BY, POLICY_BEFORE
from lifecycle.model import Action, Kind, Ref, Step
from lifecycle.operation import Operation
from lifecycle.volumes import Claim, Volume
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.resources import CLAIMS, PODS, SERVICES, STATEFULSETS, VOLUMES, Object
from sandbox.tml import PROD_NAMESPACE, prod
from tests.lifecycle.kube.conftest import Held
from tests.lifecycle.kube.journey import carried_out, deletion, patient_cluster, return_of

SQL = Ref(Kind.STATEFUL_SET, "mysql-set-0")
CLAIM = Claim.ref_of("sqlvol-mysql-set-0-0")


@pytest.fixture
async def cluster(api: KubernetesSandbox, door: Door) -> KubeCluster:
    api.apply(prod())
    await api.ready(PROD_NAMESPACE)
    return patient_cluster(door)


@pytest.fixture
async def deleting(cluster: KubeCluster) -> Operation:
    operation = await deletion(cluster)
    await cluster.stamp(operation.goal, operation.epoch, Held())
    return operation


def volume_of(operation: Operation) -> Volume:
    return next(one for one in operation.goal.volumes if one.claim == CLAIM.name)


def on(volume: Volume, action: Action) -> Step:
    return Step(action, volume.ref, uid=volume.uid)


def live(api: KubernetesSandbox, volume: Volume) -> Object:
    return api.store.get(VOLUMES, None, volume.name)


def set_policy(api: KubernetesSandbox, volume: Volume, policy: str) -> None:
    def write(found: Object) -> None:
        found["spec"]["persistentVolumeReclaimPolicy"] = policy

    api.store.change(VOLUMES, None, volume.name, write)


async def test_a_kept_volume_says_by_whom_and_what_it_was(
    api: KubernetesSandbox, cluster: KubeCluster, deleting: Operation
) -> None:
    volume = volume_of(deleting)
    for _ in range(2):
        assert await cluster.do(on(volume, Action.KEEP), deleting, Held()) == volume.uid
    found = live(api, volume)
    assert found["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert (
        found["metadata"]["annotations"] | {KEPT_BY: "op-1", POLICY_BEFORE: "Delete"}
        == (found["metadata"]["annotations"])
    )
    set_policy(api, volume, "Delete")
    await cluster.do(on(volume, Action.KEEP), deleting, Held())
    later = replace(deleting, id="op-9")
    await cluster.do(on(volume, Action.KEEP), later, Held())
    found = live(api, volume)
    assert (found["metadata"]["annotations"][KEPT_BY], found["metadata"]["annotations"][POLICY_BEFORE]) == (
        "op-9",
        "Delete",
    ), "what the first delete found, not what it left"


async def test_a_volume_of_another_claim_is_not_kept(
    api: KubernetesSandbox, cluster: KubeCluster, deleting: Operation
) -> None:
    volume = volume_of(deleting)
    claims = tuple(replace(one, uid="other") for one in deleting.goal.claims)
    other = replace(deleting, goal=replace(deleting.goal, claims=claims))
    before = live(api, volume)
    with pytest.raises(Conflict):
        await cluster.do(on(volume, Action.KEEP), other, Held())
    assert live(api, volume) == before


async def test_no_claim_goes_before_its_volume_is_kept(
    api: KubernetesSandbox, cluster: KubeCluster, deleting: Operation
) -> None:
    uid = api.store.get(CLAIMS, PROD_NAMESPACE, CLAIM.name)["metadata"]["uid"]
    step = Step(Action.REMOVE, CLAIM, uid=uid)
    with pytest.raises(Conflict, match="is not removed"):
        await cluster.do(step, deleting, Held())
    await cluster.do(on(volume_of(deleting), Action.KEEP), deleting, Held())
    set_policy(api, volume_of(deleting), "Delete")
    with pytest.raises(Conflict, match="is not removed"):
        await cluster.do(step, deleting, Held())
    assert not api.store.get(CLAIMS, PROD_NAMESPACE, CLAIM.name)["metadata"].get("deletionTimestamp")


async def test_a_workload_that_runs_or_is_another_executors_is_not_removed(
    api: KubernetesSandbox, cluster: KubeCluster, deleting: Operation
) -> None:
    step = Step(Action.REMOVE, SQL, uid=deleting.goal.topology[SQL].uid)
    with pytest.raises(Conflict, match="scaled up"):
        await cluster.do(step, deleting, Held())
    with pytest.raises(Conflict, match="epoch"):
        await cluster.do(step, replace(deleting, epoch=2), Held())
    assert api.store.find(STATEFULSETS, PROD_NAMESPACE, SQL.name)


async def test_what_is_gone_or_a_namesake_is_not_removed_again(
    api: KubernetesSandbox, cluster: KubeCluster, deleting: Operation
) -> None:
    part = next(one for one in deleting.goal.parts if one.ref.name == "tm-svc")
    step = Step(Action.REMOVE, part.ref, uid=part.uid)
    for _ in range(2):
        assert await cluster.do(step, deleting, Held()) == part.uid
    assert api.store.find(SERVICES, PROD_NAMESPACE, "tm-svc") is None
    api.apply([one for one in prod() if one["metadata"]["name"] == "tm-svc"])
    await cluster.do(step, deleting, Held())
    assert api.store.find(SERVICES, PROD_NAMESPACE, "tm-svc")


async def test_nothing_is_sent_without_the_lease(
    api: KubernetesSandbox, cluster: KubeCluster, deleting: Operation
) -> None:
    before = len(api.writes)
    for action in Action:
        with pytest.raises(LeaseLost):
            await cluster.do(on(volume_of(deleting), action), deleting, Held(False))
    assert len(api.writes) == before


async def test_a_claim_in_whose_name_another_came_is_not_stamped(
    api: KubernetesSandbox, cluster: KubeCluster, deleting: Operation
) -> None:
    assert await cluster.highest_epoch(deleting.goal) == 1
    claims = tuple(replace(one, uid="gone") for one in deleting.goal.claims)
    await cluster.stamp(replace(deleting.goal, claims=claims), 4, Held())
    stamped = {one["metadata"]["annotations"][EPOCH] for one in api.store.list(CLAIMS, PROD_NAMESPACE)}
    assert stamped == {"1"}


@pytest.fixture
async def restoring(api: KubernetesSandbox, cluster: KubeCluster, deleting: Operation) -> Operation:
    await carried_out(cluster, deleting)
    return await return_of(cluster, deleting)


async def test_what_is_made_bears_its_marks_and_no_replicas(
    api: KubernetesSandbox, cluster: KubeCluster, restoring: Operation
) -> None:
    step = Step(Action.MAKE, SQL)
    uid = await cluster.do(step, restoring, Held())
    assert await cluster.do(step, restoring, Held()) == uid, "made before is done"
    found = api.store.get(STATEFULSETS, PROD_NAMESPACE, SQL.name)
    notes = {key: value for key, value in found["metadata"]["annotations"].items() if key.startswith("tml-bot/")}
    assert notes == {
        MADE_BY: "op-1",
        EPOCH: "5",
        "tml-bot/operation": "op-2",
        "tml-bot/replicas": "1",
    }
    assert found["spec"]["replicas"] == 0
    assert not api.store.list(PODS, PROD_NAMESPACE)


async def test_what_somebody_else_made_is_never_overwritten(
    api: KubernetesSandbox, cluster: KubeCluster, restoring: Operation
) -> None:
    api.apply([one for one in prod() if one["metadata"]["name"] == "tm-svc"])
    before = api.store.get(SERVICES, PROD_NAMESPACE, "tm-svc")["metadata"]["uid"]
    with pytest.raises(Invalid, match="service/tm-svc was made by somebody else"):
        await cluster.do(Step(Action.MAKE, Ref(Kind.SERVICE, "tm-svc")), restoring, Held())
    assert api.store.get(SERVICES, PROD_NAMESPACE, "tm-svc")["metadata"]["uid"] == before


async def test_a_volume_is_freed_for_its_name_alone_and_given_back_only_when_it_is_bound(
    api: KubernetesSandbox, cluster: KubeCluster, restoring: Operation
) -> None:
    volume = volume_of(restoring)
    with pytest.raises(Conflict, match="not bound"):
        await cluster.do(on(volume, Action.GIVE_BACK), restoring, Held())
    for _ in range(2):
        await cluster.do(on(volume, Action.REBIND), restoring, Held())
    named = live(api, volume)["spec"]["claimRef"]
    assert (named["namespace"], named["name"]) == (PROD_NAMESPACE, CLAIM.name)
    assert not {"uid", "resourceVersion"} & set(named)
    assert live(api, volume)["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


async def test_a_volume_whose_claim_is_going_is_not_given_back(
    api: KubernetesSandbox, cluster: KubeCluster, restoring: Operation
) -> None:
    """It stays Bound, and unchanged, until the last pod that mounts the claim ends; and then its bytes would go."""
    volume = volume_of(restoring)
    await cluster.do(on(volume, Action.REBIND), restoring, Held())
    await cluster.do(Step(Action.MAKE, CLAIM), restoring, Held())
    await api.until(lambda _: live(api, volume)["status"]["phase"] == "Bound")

    def hold(found: Object) -> None:
        found["metadata"]["finalizers"] = ["example.com/held"]

    api.store.change(CLAIMS, PROD_NAMESPACE, CLAIM.name, hold)
    api.store.delete(CLAIMS, PROD_NAMESPACE, CLAIM.name)
    with pytest.raises(Conflict, match="is going"):
        await cluster.do(on(volume, Action.GIVE_BACK), restoring, Held())
    assert live(api, volume)["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


async def test_a_diagnosis_says_of_claims_and_volumes_what_holds_them(
    api: KubernetesSandbox, cluster: KubeCluster, deleting: Operation
) -> None:
    api.store.delete(CLAIMS, PROD_NAMESPACE, CLAIM.name)
    volume = volume_of(deleting)
    asked = [str(CLAIM), str(volume.ref), "service/tm-svc", "secret/tml-bot-capture", "configmap/none"]
    found = await cluster.diagnose(deleting.goal.topology, asked)
    told = {one.object: (one.reason, one.message) for one in found.findings}
    assert set(told) == set(asked)
    assert told[str(CLAIM)][0] == "Terminating"
    assert "mounted by pod/mysql-set-0-0" in told[str(CLAIM)][1]
    assert told[str(volume.ref)][0] == "reclaim policy Delete"
    assert told["service/tm-svc"][0] == "still there"
    assert told["configmap/none"][0] == "does not exist"


async def test_a_diagnosis_tells_why_a_claim_waits(
    api: KubernetesSandbox, cluster: KubeCluster, restoring: Operation
) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": CLAIM.name, "namespace": PROD_NAMESPACE}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}
    api.apply([claim | {"spec": spec | {"storageClassName": "sql-storage-class"}}])
    await api.until(lambda store: bool(store.list(CLAIMS, PROD_NAMESPACE)))
    found = await cluster.diagnose(restoring.goal.topology, [str(CLAIM)])
    assert [one.object for one in found.findings] == [str(CLAIM)]
    assert "Pending" in found.findings[0].message
