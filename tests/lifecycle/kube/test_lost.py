"""A claim whose volume is gone, in a cluster that is deleted: what goes with it, and what never does."""

import pytest

from lifecycle.decide import delete
from lifecycle.errors import Conflict, Unsafe
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.model import Action, Step
from lifecycle.operation import Operation
from lifecycle.volumes import Claim
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.resources import CLAIMS, VOLUMES, Object
from sandbox.tml import PROD_NAMESPACE, prod
from tests.lifecycle.kube.conftest import Held, operation_of
from tests.lifecycle.kube.journey import carried_out, patient_cluster, return_of

CLAIM = Claim.ref_of("reportingvol-reporting-set-0-0")
OTHER = Claim.ref_of("logvol-log-set-0-0")


@pytest.fixture
async def cluster(api: KubernetesSandbox, door: Door) -> KubeCluster:
    """One of its claims is Lost: somebody removed the volume."""
    api.apply(prod())
    await api.ready(PROD_NAMESPACE)
    await lose(api, CLAIM.name)
    return patient_cluster(door)


def claim(api: KubernetesSandbox, name: str) -> Object:
    return api.store.get(CLAIMS, PROD_NAMESPACE, name)


async def lose(api: KubernetesSandbox, name: str) -> Object:
    """The volume, as it was."""
    found = api.store.get(VOLUMES, None, claim(api, name)["spec"]["volumeName"])
    api.store.remove(VOLUMES, None, found["metadata"]["name"])
    await api.until(lambda _: claim(api, name)["status"]["phase"] == "Lost")
    return found


async def losing(cluster: KubeCluster) -> Operation:
    found = await cluster.discover()
    goal = delete.goal(found, await cluster.inventory(found), keeps_services=False, may_lose=True)
    return operation_of(goal.marked("op-1"))


def removal(api: KubernetesSandbox, name: str) -> Step:
    return Step(Action.REMOVE, Claim.ref_of(name), uid=claim(api, name)["metadata"]["uid"])


async def test_it_is_refused_unless_that_is_allowed(cluster: KubeCluster) -> None:
    found = await cluster.discover()
    with pytest.raises(Unsafe, match=rf"of claim {CLAIM.name} is gone"):
        delete.goal(found, await cluster.inventory(found), keeps_services=False)


async def test_it_goes_with_the_cluster_every_other_volume_is_kept_and_a_restore_brings_an_empty_one(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    api.volumes.write(PROD_NAMESPACE, "sqlvol-mysql-set-0-0", "mine", b"bytes")
    deleting = await losing(cluster)
    assert [one.name for one in deleting.goal.lost_claims] == [CLAIM.name]
    gone = await carried_out(cluster, deleting)
    assert gone.claims == ()
    kept = {(one["spec"]["claimRef"]["name"], one["spec"]["persistentVolumeReclaimPolicy"]) for one in volumes(api)}
    assert kept == {(one.claim, "Retain") for one in deleting.goal.volumes}
    assert len(kept) == len(deleting.goal.claims) - 1
    await carried_out(cluster, await return_of(cluster, deleting))
    assert claim(api, CLAIM.name)["metadata"]["uid"] != deleting.goal.lost_claims[0].uid
    assert api.volumes.read(PROD_NAMESPACE, "sqlvol-mysql-set-0-0", "mine") == b"bytes"


def volumes(api: KubernetesSandbox) -> list[Object]:
    return [one for one in api.store.list(VOLUMES) if one["spec"]["claimRef"]["namespace"] == PROD_NAMESPACE]


@pytest.mark.parametrize("holder", ["its own", "", "another's"])
async def test_it_is_not_removed_when_its_volume_is_there_again(
    api: KubernetesSandbox, cluster: KubeCluster, holder: str
) -> None:
    """Right before the write, whatever the picture showed: only a volume of another claim is none of its own."""
    deleting = await losing(cluster)
    await cluster.stamp(deleting.goal, deleting.epoch, Held())
    step = removal(api, CLAIM.name)
    uid = {"its own": step.uid, "another's": "another"}.get(holder)
    reference = {"namespace": PROD_NAMESPACE, "name": CLAIM.name} | ({"uid": uid} if uid else {})
    api.apply([volume(claim(api, CLAIM.name)["spec"]["volumeName"], reference)])
    if holder == "another's":
        await cluster.do(step, deleting, Held())
        assert claim(api, CLAIM.name)["metadata"].get("deletionTimestamp")
        return
    seen = await cluster.picture(deleting.goal)
    assert f"{CLAIM} has its" in (delete.unkeepable(deleting.goal, seen) or ""), "the picture has that volume, too"
    with pytest.raises(Conflict, match="is there again"):
        await cluster.do(step, deleting, Held())
    assert not claim(api, CLAIM.name)["metadata"].get("deletionTimestamp")


def volume(name: str, reference: dict[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "reporting-storage-class",
            "csi": {"driver": "csi.example.com", "volumeHandle": name},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **reference},
        },
    }


async def test_a_claim_that_loses_its_volume_after_the_plan_stops_the_delete_and_stays(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    deleting = await losing(cluster)
    await carried_out(cluster, deleting, until="remove-claims")
    await lose(api, OTHER.name)
    with pytest.raises(Conflict, match="is gone"):
        await cluster.do(removal(api, OTHER.name), deleting, Held())
    seen = await cluster.picture(deleting.goal)
    assert f"of claim {OTHER.name} is gone" in (delete.CLAIMS_REMOVED.obstacle(deleting.goal, seen) or "")
    assert OTHER not in {step.ref for step in delete.claim_steps(deleting.goal, seen)}
    assert not claim(api, OTHER.name)["metadata"].get("deletionTimestamp")
