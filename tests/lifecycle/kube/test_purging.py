"""Each write of a purge looks once more, right before: whoever needs the object again is a moment faster."""

from dataclasses import replace
from typing import Any

import pytest

from lifecycle.decide import purge, reclaim, snapshot
from lifecycle.decide.purge import Stock
from lifecycle.decide.sets import SetRecord
from lifecycle.errors import Conflict, Invalid
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.kube.read import KEPT_BY
from lifecycle.model import Action, Kind, Ref, Step
from lifecycle.operation import Operation, State
from lifecycle.retention import Policy, Verdict, stale
from lifecycle.snapshots import Temperature
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.resources import CLAIMS, SNAPSHOT_CONTENTS, SNAPSHOTS, VOLUMES, Object
from sandbox.tml import PROD_NAMESPACE, prod
from sandbox.tml.manifests import snapshot_class
from tests.fakes.values import NOW
from tests.lifecycle.kube.conftest import Held, operation_of
from tests.lifecycle.kube.journey import carried_out, deletion, patient_cluster

CLAIM = "sqlvol-mysql-set-0-0"


@pytest.fixture
async def cluster(api: KubernetesSandbox, door: Door) -> KubeCluster:
    api.apply([*prod(), snapshot_class()])
    await api.ready(PROD_NAMESPACE)
    return patient_cluster(door)


async def set_of(cluster: KubeCluster, identity: str, epoch: int) -> SetRecord:
    found = await cluster.discover()
    goal = snapshot.goal(found, await cluster.inventory(found), Temperature.HOT, ())
    seen = await carried_out(cluster, operation_of(goal.marked(identity), epoch, identity))
    return SetRecord(identity, NOW.replace(hour=epoch), seen.snapshots)


async def purge_of_old_set(cluster: KubeCluster) -> Operation:
    stock = Stock((await set_of(cluster, "op-old", 1), await set_of(cluster, "op-new", 2)))
    observed = await cluster.picture(purge.draft(stock))
    verdict = stale(purge.held(stock, observed), Policy(keep_last=1), {}, NOW)
    assert verdict.goes == ("op-old",)
    return operation_of(purge.goal(stock, observed, [], verdict).marked("op-p"), 3, "op-p")


def step_of(operation: Operation, action: Action, kind: Kind) -> Step:
    one = next(one for one in reclaim.of(operation.goal).doomed if one.claim == CLAIM)
    ref = Ref(kind, one.snapshot if kind is Kind.SNAPSHOT else one.content)
    return Step(action, ref, uid=one.snapshot_uid if kind is Kind.SNAPSHOT else one.content_uid)


def named(api: KubernetesSandbox, step: Step) -> Object:
    resource, namespace = (SNAPSHOTS, PROD_NAMESPACE) if step.ref.kind is Kind.SNAPSHOT else (SNAPSHOT_CONTENTS, None)
    return next(one for one in api.store.list(resource, namespace) if one["metadata"]["name"] == step.ref.name)


async def test_a_purge_of_a_set_ends_with_its_snapshots_and_contents_gone_and_the_other_set_whole(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    operation = await purge_of_old_set(cluster)
    await carried_out(cluster, operation)
    names = {one["metadata"]["name"] for one in api.store.list(SNAPSHOTS, PROD_NAMESPACE)}
    assert names
    assert all(name.startswith("tml-op-new-") for name in names)
    contents = api.store.list(SNAPSHOT_CONTENTS)
    assert {one["spec"]["deletionPolicy"] for one in contents} == {"Retain"}
    assert len(contents) == len(names)


async def test_no_snapshot_goes_whose_bytes_would_stay_nor_one_that_this_purge_is_not_about(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    operation = await purge_of_old_set(cluster)
    forget = step_of(operation, Action.REMOVE, Kind.SNAPSHOT)
    with pytest.raises(Conflict, match="keeps its bytes still"):
        await cluster.do(forget, operation, Held())
    with pytest.raises(Conflict):
        await cluster.do(step_of(operation, Action.REMOVE, Kind.CONTENT), operation, Held())
    other = replace(forget, ref=Ref(Kind.SNAPSHOT, f"tml-op-new-{CLAIM}"), uid=uid_of(api, f"tml-op-new-{CLAIM}"))
    with pytest.raises(Invalid, match="is none of the snapshots of this purge"):
        await cluster.do(other, operation, Held())
    assert named(api, forget)


def uid_of(api: KubernetesSandbox, name: str) -> str:
    found = next(one for one in api.store.list(SNAPSHOTS, PROD_NAMESPACE) if one["metadata"]["name"] == name)
    return str(found["metadata"]["uid"])


async def test_a_snapshot_from_which_a_claim_is_being_made_is_left_alone(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    operation = await purge_of_old_set(cluster)
    release = step_of(operation, Action.RELEASE, Kind.CONTENT)
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": f"tml-op-old-{CLAIM}"}
    template = next(one for one in api.store.list(CLAIMS, PROD_NAMESPACE) if one["metadata"]["name"] == CLAIM)
    spec = {key: template["spec"][key] for key in ("accessModes", "resources")}
    api.apply(
        [
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "by-hand", "namespace": PROD_NAMESPACE},
                "spec": {**spec, "storageClassName": "not-there", "dataSource": source},
            }
        ]
    )
    with pytest.raises(Conflict, match="claim by-hand is being restored from"):
        await cluster.do(release, operation, Held())
    assert named(api, release)["spec"]["deletionPolicy"] == "Retain"


async def test_a_content_whose_bytes_another_one_names_is_not_let_go(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    """Kept contents are bound anew by another content of the same handle: both would lose their bytes."""
    operation = await purge_of_old_set(cluster)
    release = step_of(operation, Action.RELEASE, Kind.CONTENT)
    ours = named(api, release)
    another = {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshotContent",
        "metadata": {"name": "bound-anew"},
        "spec": {
            "deletionPolicy": "Retain",
            "driver": ours["spec"]["driver"],
            "source": {"snapshotHandle": ours["status"]["snapshotHandle"]},
            "volumeSnapshotRef": {"name": "of-somebody", "namespace": "elsewhere"},
        },
    }
    api.apply([another])
    with pytest.raises(Invalid, match="bound-anew is of the same bytes"):
        await cluster.do(release, operation, Held())
    assert named(api, release)["spec"]["deletionPolicy"] == "Retain"


def set_policy(api: KubernetesSandbox, name: str, policy: str) -> None:
    api.store.change(SNAPSHOT_CONTENTS, None, name, lambda one: one["spec"].update(deletionPolicy=policy))


async def test_a_content_that_was_left_behind_goes_before_the_bytes_do_and_never_once_it_would_take_them(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    stock = Stock((await set_of(cluster, "op-old", 1), await set_of(cluster, "op-new", 2)))
    member = next(one for one in stock.sets[0].members if one.claim == CLAIM)
    left = {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshotContent",
        "metadata": {"name": "left-behind"},
        "spec": {
            "deletionPolicy": "Retain",
            "driver": member.driver,
            "source": {"snapshotHandle": member.handle},
            "volumeSnapshotRef": {"name": member.name, "namespace": PROD_NAMESPACE},
        },
    }
    api.apply([left])
    observed = await cluster.picture(purge.draft(stock))
    verdict = stale(purge.held(stock, observed), Policy(keep_last=1), {}, NOW)
    operation = operation_of(purge.goal(stock, observed, [], verdict).marked("op-p"), 3, "op-p")
    uid = api.store.get(SNAPSHOT_CONTENTS, None, "left-behind")["metadata"]["uid"]
    step = Step(Action.REMOVE, Ref(Kind.CONTENT, "left-behind"), uid=uid)
    set_policy(api, "left-behind", "Delete")
    with pytest.raises(Conflict, match="left-behind would take its bytes along"):
        await cluster.do(step, operation, Held())
    set_policy(api, "left-behind", "Retain")
    await carried_out(cluster, operation)
    names = {one["spec"]["volumeSnapshotRef"]["name"] for one in api.store.list(SNAPSHOT_CONTENTS)}
    assert names
    assert all(name.startswith("tml-op-new-") for name in names)


async def test_a_kept_volume_whose_disk_another_one_is_for_is_not_given_up(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    operation = await purge_of_volumes(cluster)
    step = volume_step(operation)
    (ours,) = [one for one in api.store.list(VOLUMES) if one["metadata"]["name"] == step.ref.name]
    spec = {key: value for key, value in ours["spec"].items() if key != "claimRef"}
    api.apply([{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "by-hand"}, "spec": spec}])
    with pytest.raises(Invalid, match="by-hand is of the same bytes"):
        await cluster.do(step, operation, Held())
    (there,) = [one for one in api.store.list(VOLUMES) if one["metadata"]["name"] == step.ref.name]
    assert there["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


async def purge_of_volumes(cluster: KubeCluster) -> Operation:
    deleted = replace(await deletion(cluster), state=State.DONE)
    await carried_out(cluster, deleted)
    stock = Stock(kept_by=(deleted,))
    observed = await cluster.picture(purge.draft(stock))
    return operation_of(purge.goal(stock, observed, [deleted.id], Verdict()).marked("op-p"), 3, "op-p")


def volume_step(operation: Operation) -> Step:
    volume = next(one for one in operation.goal.volumes if one.claim == CLAIM)
    return Step(Action.GIVE_UP, volume.ref, uid=volume.uid)


def changed(api: KubernetesSandbox, step: Step, changes: dict[str, Any]) -> None:
    def write(found: Object) -> None:
        found["metadata"]["annotations"].update(changes.get("notes", {}))
        found["spec"]["claimRef"].update(changes.get("claim", {}))
        found["status"].update(changes.get("status", {}))

    api.store.change(VOLUMES, None, step.ref.name, write, actor="somebody")


@pytest.mark.parametrize(
    "changes",
    [
        {"notes": {KEPT_BY: "op-another"}},
        {"claim": {"uid": "uid-of-another"}},
        {"claim": {"name": "another"}},
    ],
    ids=str,
)
async def test_a_kept_volume_that_is_somebodys_again_is_not_given_up(
    changes: dict[str, Any], api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    operation = await purge_of_volumes(cluster)
    step = volume_step(operation)
    changed(api, step, changes)
    with pytest.raises(Conflict):
        await cluster.do(step, operation, Held())
    (there,) = [one for one in api.store.list(VOLUMES) if one["metadata"]["name"] == step.ref.name]
    assert there["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


async def test_a_claim_of_the_name_that_came_a_moment_before_keeps_the_volume(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    operation = await purge_of_volumes(cluster)
    step = volume_step(operation)
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {
        "metadata": {"name": CLAIM, "namespace": PROD_NAMESPACE},
        "spec": {**spec, "storageClassName": "not-there"},
    }
    api.apply([{"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim}])
    with pytest.raises(Conflict, match=f"a claim {CLAIM} is there again"):
        await cluster.do(step, operation, Held())
    await cluster.do(replace(step, uid="uid-another"), operation, Held())
    (there,) = [one for one in api.store.list(VOLUMES) if one["metadata"]["name"] == step.ref.name]
    assert there["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


async def test_a_purge_of_volumes_ends_with_all_of_them_gone(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    operation = await purge_of_volumes(cluster)
    names = {one.name for one in operation.goal.volumes}
    assert names
    await carried_out(cluster, operation)
    assert names.isdisjoint(one["metadata"]["name"] for one in api.store.list(VOLUMES))
