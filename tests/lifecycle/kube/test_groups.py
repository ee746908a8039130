"""A hot set as one volume group on the sandbox: what is sent, what is believed, and how it goes again."""

from dataclasses import replace
from typing import Any

import pytest

from lifecycle.decide import purge, reclaim, snapshot, verify
from lifecycle.decide.purge import Stock
from lifecycle.decide.sets import SetRecord
from lifecycle.errors import Conflict, Invalid
from lifecycle.kube import paths
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.kube.read import GROUPED_BY
from lifecycle.model import Action, Kind, Ref, Step
from lifecycle.operation import Operation
from lifecycle.retention import Policy, Quality, stale
from lifecycle.snapshots import SnapshotSet, Temperature, group_name
from lifecycle.volumes import Claim
from sandbox.kubernetes import FAULT_ANNOTATION, KubernetesSandbox
from sandbox.kubernetes.access import Identity, Role
from sandbox.kubernetes.controllers.storage_faults import StorageFault
from sandbox.kubernetes.resources import (
    CLAIMS,
    GROUP_SNAPSHOT_CLASSES,
    GROUP_SNAPSHOT_CONTENTS,
    GROUP_SNAPSHOTS,
    SNAPSHOT_CONTENTS,
    SNAPSHOTS,
    Object,
)
from sandbox.tml import PROD_NAMESPACE, group_snapshot_class, prod, snapshot_class
from tests.fakes.values import NOW
from tests.lifecycle.kube.conftest import Held, OpenDoor, operation_of
from tests.lifecycle.kube.journey import carried_out, patient_cluster
from tests.lifecycle.kube.test_rights import rules

CLAIM = "sqlvol-mysql-set-0-0"


@pytest.fixture
async def cluster(api: KubernetesSandbox, door: Door) -> KubeCluster:
    api.apply([*prod(), snapshot_class(), group_snapshot_class()])
    await api.ready(PROD_NAMESPACE)
    return patient_cluster(door)


async def hot(cluster: KubeCluster, identity: str = "op-1", epoch: int = 1) -> Operation:
    found = await cluster.discover()
    made = snapshot.goal(found, await cluster.inventory(found), Temperature.HOT, ())
    made = snapshot.held_still(made, await cluster.grouping(), None)
    assert made.is_grouped
    return operation_of(made.marked(identity), epoch, identity)


async def taken_by(cluster: KubeCluster, operation: Operation) -> SnapshotSet:
    return snapshot.taken(operation.goal, await carried_out(cluster, operation), (), ())


def contents(api: KubernetesSandbox) -> list[Object]:
    return [*api.store.list(SNAPSHOT_CONTENTS), *api.store.list(GROUP_SNAPSHOT_CONTENTS)]


async def test_a_set_is_one_group_of_the_labelled_claims_and_all_of_it_outlives_the_namespace(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    operation = await hot(cluster)
    taken = await taken_by(cluster, operation)
    (group,) = api.store.list(GROUP_SNAPSHOTS, PROD_NAMESPACE)
    assert group["metadata"]["name"] == group_name("op-1")
    assert group["metadata"]["labels"] == {"tml-bot/set": "op-1"}
    assert group["spec"]["source"] == {"selector": {"matchLabels": {GROUPED_BY: "op-1"}}}
    claims = {one["metadata"]["name"]: one for one in api.store.list(CLAIMS, PROD_NAMESPACE)}
    assert {one.claim for one in taken.members} == set(claims)
    assert {one["metadata"]["labels"][GROUPED_BY] for one in claims.values()} == {"op-1"}
    assert all(len(one["metadata"]["labels"]) == 3 for one in claims.values()), "beside the labels it had"
    assert taken.group
    assert taken.group.is_saved
    assert {one.name for one in taken.members} == {
        one["metadata"]["name"] for one in api.store.list(SNAPSHOTS, PROD_NAMESPACE)
    }
    assert all(one.is_saved and one.group == group_name("op-1") for one in taken.members)
    assert {one["spec"]["deletionPolicy"] for one in contents(api)} == {"Retain"}


async def test_a_set_cut_as_a_group_can_be_tested_like_any_other(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    by = await hot(cluster)
    taken = await taken_by(cluster, by)
    goal = verify.goal(taken, by, await cluster.likenesses(by, taken.capture), {})
    observed = await cluster.picture(goal)
    verify.refuse_lost(goal, observed)
    await carried_out(cluster, operation_of(goal.marked("op-2"), 5, "op-2"))


async def test_a_claim_is_labelled_by_its_uid_and_by_the_newest_executor_only(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    operation = await hot(cluster)
    await cluster.stamp(operation.goal, 2, Held())
    claim = api.store.get(CLAIMS, PROD_NAMESPACE, CLAIM)
    step = Step(Action.LABEL, Claim.ref_of(CLAIM), uid=claim["metadata"]["uid"])
    with pytest.raises(Conflict):
        await cluster.do(step, operation, Held())
    later = replace(operation, epoch=2)
    with pytest.raises(Conflict):
        await cluster.do(replace(step, uid="another"), later, Held())
    assert GROUPED_BY not in api.store.get(CLAIMS, PROD_NAMESPACE, CLAIM)["metadata"]["labels"]
    for _ in range(2):
        assert await cluster.do(step, later, Held()) == claim["metadata"]["uid"]


async def test_a_claim_without_any_label_gets_the_one(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    operation = await hot(cluster)
    await cluster.stamp(operation.goal, 1, Held())
    api.store.change(CLAIMS, PROD_NAMESPACE, CLAIM, lambda one: one["metadata"].pop("labels"))
    claim = api.store.get(CLAIMS, PROD_NAMESPACE, CLAIM)
    step = Step(Action.LABEL, Claim.ref_of(CLAIM), uid=claim["metadata"]["uid"])
    await cluster.do(step, operation, Held())
    assert api.store.get(CLAIMS, PROD_NAMESPACE, CLAIM)["metadata"]["labels"] == {GROUPED_BY: "op-1"}


async def test_a_group_that_is_there_already_is_ours_only_if_it_bears_our_mark(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    operation = await hot(cluster)
    step = Step(Action.CUT, Ref(Kind.GROUP, group_name("op-1")))
    first = await cluster.do(step, operation, Held())
    assert await cluster.do(step, operation, Held()) == first
    api.store.change(
        GROUP_SNAPSHOTS, PROD_NAMESPACE, group_name("op-1"), lambda one: one["metadata"].pop("annotations")
    )
    with pytest.raises(Invalid, match="was made by somebody else"):
        await cluster.do(step, operation, Held())


async def test_what_only_claims_to_be_a_member_is_none(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    operation = await hot(cluster)
    await carried_out(cluster, operation)
    (group,) = api.store.list(GROUP_SNAPSHOTS, PROD_NAMESPACE)
    owner = {key: group["metadata"][key] for key in ("name", "uid")}
    forged = {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {
            "name": "forged",
            "namespace": PROD_NAMESPACE,
            "ownerReferences": [{"apiVersion": group["apiVersion"], "kind": group["kind"], **owner}],
        },
        "spec": {"source": {"persistentVolumeClaimName": CLAIM}, "volumeSnapshotClassName": "hostpath-snapshots"},
    }
    api.apply([forged])
    seen = await cluster.picture(operation.goal)
    assert "forged" not in {one.name for one in seen.snapshots}
    assert len(seen.snapshots) == len(operation.goal.claims)


async def cut_by(cluster: KubeCluster, operation: Operation) -> Ref:
    """The group, as soon as it is asked for."""
    await cluster.stamp(operation.goal, 1, Held())
    for claim in operation.goal.claims:
        await cluster.do(Step(Action.LABEL, claim.ref, uid=claim.uid), operation, Held())
    ref = Ref(Kind.GROUP, group_name(operation.id))
    await cluster.do(Step(Action.CUT, ref), operation, Held())
    return ref


async def test_what_the_driver_says_of_a_group_is_told(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    api.annotate(CLAIMS, PROD_NAMESPACE, CLAIM, FAULT_ANNOTATION, StorageFault.SNAPSHOT_FAILS)
    operation = await hot(cluster)
    ref = await cut_by(cluster, operation)
    await api.until(lambda store: store.get(GROUP_SNAPSHOTS, PROD_NAMESPACE, ref.name).get("status", {}).get("error"))
    (found,) = (await cluster.diagnose(operation.goal.topology, [str(ref)])).findings
    assert (found.object, found.reason) == (str(ref), "cannot be cut")
    assert "the storage refuses, as it was told to" in found.message


async def test_a_member_that_never_says_that_it_is_ready_is_told_with_its_group(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    api.annotate(CLAIMS, PROD_NAMESPACE, CLAIM, FAULT_ANNOTATION, StorageFault.SNAPSHOT_SLOW)
    operation = await hot(cluster)
    ref = await cut_by(cluster, operation)
    await api.until(lambda store: store.get(GROUP_SNAPSHOTS, PROD_NAMESPACE, ref.name)["status"].get("readyToUse"))
    member = next(one for one in (await cluster.picture(operation.goal)).snapshots if one.claim == CLAIM)
    told = (await cluster.diagnose(operation.goal.topology, [str(ref)])).findings
    assert (told[0].object, told[0].reason) == (str(member.ref), "not ready")
    assert told[0].message == f"of claim {CLAIM}; its group is ready, and it does not say so"


# whether volumes can be cut as a group here


async def test_what_keeps_volumes_from_being_cut_as_a_group_is_told(
    api: KubernetesSandbox, cluster: KubeCluster, open_door: OpenDoor
) -> None:
    assert [one.name for one in (await cluster.grouping()).classes] == ["hostpath-group-snapshots"]
    api.store.delete(GROUP_SNAPSHOT_CLASSES, None, "hostpath-group-snapshots")
    assert (await cluster.grouping()).classes == ()
    files = ("role.yaml", "snapshot.yaml")
    own = [Role.of(rule) for name in files for kind in ("Role", "ClusterRole") for rule in rules(name, kind)]
    api.server.tokens["few"] = Identity("few", tuple(own))
    few = await patient_cluster(await open_door("few")).grouping()
    assert few.classes == ()
    assert "no right to patch persistentvolumeclaims, get volumegroupsnapshots" in few.why_not
    assert few.why_not.startswith("deploy/rbac/group.yaml is not granted: ")


async def test_a_kubernetes_that_serves_no_groups_says_so(
    api: KubernetesSandbox, cluster: KubeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    unserve(monkeypatch)
    assert (
        await cluster.grouping()
    ).why_not == "this Kubernetes knows no volume groups (groupsnapshot.storage.k8s.io/v1)"


def unserve(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on nobody knows the kinds."""
    whole = paths.all_of

    def elsewhere(resource: Any, namespace: str) -> str:
        return whole(resource, namespace).replace("groupsnapshot.storage.k8s.io", "not-served.example.com")

    monkeypatch.setattr(paths, "all_of", elsewhere)


# how it goes


async def record_of(cluster: KubeCluster, identity: str, epoch: int) -> SetRecord:
    taken = await taken_by(cluster, await hot(cluster, identity, epoch))
    return SetRecord(identity, NOW.replace(hour=epoch), taken.members, group=taken.group)


async def purge_of_old_set(cluster: KubeCluster) -> Operation:
    stock = Stock((await record_of(cluster, "op-old", 1), await record_of(cluster, "op-new", 2)))
    observed = await cluster.picture(purge.draft(stock))
    assert {one.quality for one in purge.held(stock, observed)} == {Quality.GOOD}
    verdict = stale(purge.held(stock, observed), Policy(keep_last=1), {}, NOW)
    return operation_of(purge.goal(stock, observed, [], verdict).marked("op-p"), 3, "op-p")


def folders(api: KubernetesSandbox) -> set[str]:
    """Where the bytes of snapshots lie."""
    return {path.name for path in api.volumes.snapshot_folder("any").parent.iterdir()}


async def test_a_purge_takes_the_group_with_its_members_contents_and_bytes_and_no_other(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    operation = await purge_of_old_set(cluster)
    before = folders(api)
    await carried_out(cluster, operation)
    (left,) = api.store.list(GROUP_SNAPSHOTS, PROD_NAMESPACE)
    assert left["metadata"]["name"] == group_name("op-new")
    members = api.store.list(SNAPSHOTS, PROD_NAMESPACE)
    assert len(members) == len(before) / 2
    assert {one["status"]["volumeGroupSnapshotName"] for one in members} == {group_name("op-new")}
    assert {one["spec"]["deletionPolicy"] for one in contents(api)} == {"Retain"}
    assert len(contents(api)) == len(members) + 1
    assert len(folders(api)) == len(before) / 2


async def test_a_group_goes_only_once_every_content_lets_go_and_nobody_uses_a_member(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    operation = await purge_of_old_set(cluster)
    group = next(one for one in reclaim.of(operation.goal).doomed if one.kind is Kind.GROUP)
    removal = Step(Action.REMOVE, group.snapshot_ref, uid=group.snapshot_uid)
    with pytest.raises(Conflict, match="keeps its bytes still"):
        await cluster.do(removal, operation, Held())
    await cluster.do(Step(Action.RELEASE, group.content_ref, uid=group.content_uid), operation, Held())
    with pytest.raises(Conflict, match=r"volumesnapshotcontent/.* keeps its bytes still"):
        await cluster.do(removal, operation, Held())
    members = [one for one in reclaim.of(operation.goal).doomed if one.kind is Kind.SNAPSHOT]
    for one in members:
        await cluster.do(Step(Action.RELEASE, one.content_ref, uid=one.content_uid), operation, Held())
    api.apply([restored_by_hand(api, members[0].snapshot)])
    with pytest.raises(Conflict, match="claim by-hand is being restored from"):
        await cluster.do(removal, operation, Held())
    assert api.store.get(GROUP_SNAPSHOTS, PROD_NAMESPACE, group.snapshot)


def restored_by_hand(api: KubernetesSandbox, member: str) -> Object:
    template = api.store.get(CLAIMS, PROD_NAMESPACE, CLAIM)
    spec = {key: template["spec"][key] for key in ("accessModes", "resources")}
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": member}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "by-hand", "namespace": PROD_NAMESPACE},
        "spec": {**spec, "storageClassName": "not-there", "dataSource": source},
    }


async def test_a_groups_content_whose_bytes_another_one_names_is_not_let_go(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    operation = await purge_of_old_set(cluster)
    group = next(one for one in reclaim.of(operation.goal).doomed if one.kind is Kind.GROUP)
    found = api.store.get(GROUP_SNAPSHOT_CONTENTS, None, group.content)
    handles = {"volumeGroupSnapshotHandle": group.handle, "volumeSnapshotHandles": ["nobody-has-cut-it"]}
    reference = {"name": "another", "namespace": PROD_NAMESPACE}
    api.apply(
        [
            {
                "apiVersion": found["apiVersion"],
                "kind": found["kind"],
                "metadata": {"name": "by-hand"},
                "spec": {
                    "deletionPolicy": "Retain",
                    "driver": found["spec"]["driver"],
                    "source": {"groupSnapshotHandles": handles},
                    "volumeGroupSnapshotRef": reference,
                },
            }
        ]
    )
    with pytest.raises(Invalid, match="volumegroupsnapshotcontent/by-hand is of the same bytes"):
        await cluster.do(Step(Action.RELEASE, group.content_ref, uid=group.content_uid), operation, Held())


async def test_a_group_that_somebody_removed_leaves_contents_and_a_purge_takes_them_with_the_bytes(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    old, new = await record_of(cluster, "op-old", 1), await record_of(cluster, "op-new", 2)
    api.store.delete(GROUP_SNAPSHOTS, PROD_NAMESPACE, group_name("op-old"))
    await api.until(lambda store: len(store.list(SNAPSHOTS, PROD_NAMESPACE)) == len(new.members))
    assert len(contents(api)) == 2 * (len(new.members) + 1)
    stock = Stock((old, new))
    observed = await cluster.picture(purge.draft(stock))
    verdict = stale(purge.held(stock, observed), Policy(keep_last=1), {}, NOW)
    operation = operation_of(purge.goal(stock, observed, [], verdict).marked("op-p"), 3, "op-p")
    await carried_out(cluster, operation)
    assert len(contents(api)) == len(new.members) + 1
    assert len(folders(api)) == len(new.members)
