"""Snapshots in the sandbox: what the contract with a real Kubernetes cannot reach."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sandbox import kubernetes
from sandbox.kubernetes import FAULT_ANNOTATION, FAULT_TEXT, KubernetesSandbox, StorageFault
from sandbox.kubernetes.controllers.retries import Retries
from sandbox.kubernetes.controllers.snapshotting import binary_size
from sandbox.kubernetes.resources import (
    CLAIMS,
    EVENTS,
    GROUP_SNAPSHOT_CONTENTS,
    GROUP_SNAPSHOTS,
    SNAPSHOT_CONTENTS,
    SNAPSHOTS,
    STORAGE_CLASSES,
    VOLUMES,
    Resource,
)
from sandbox.kubernetes.store import Store

Object = dict[str, Any]
NS = "apps"
SCALE = 0.002
DRIVER = "hostpath.csi.sandbox"
SNAPSHOT_API = "snapshot.storage.k8s.io/v1"
GROUP_API = "groupsnapshot.storage.k8s.io/v1"
BEING_CREATED = "snapshot.storage.kubernetes.io/volumesnapshot-being-created"


@pytest.fixture
async def sandbox() -> AsyncIterator[KubernetesSandbox]:
    async with kubernetes.start(time_scale=SCALE) as running:
        running.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}}])
        running.apply([storage_class("csi"), snapshot_class("cut"), claim("data")])
        await bound(running, "data")
        running.volumes.write(NS, "data", "rows", b"1,2,3\n")
        yield running


def storage_class(name: str, provisioner: str = DRIVER, **more: Any) -> Object:
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
    return {**kind, "provisioner": provisioner, **more}


def snapshot_class(name: str, policy: str = "Delete", driver: str = DRIVER, group: bool = False) -> Object:
    api, kind = (GROUP_API, "VolumeGroupSnapshotClass") if group else (SNAPSHOT_API, "VolumeSnapshotClass")
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "driver": driver, "deletionPolicy": policy}


def claim(name: str, class_name: str = "csi", **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": NS, "labels": {"set": "one"}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": class_name,
            "resources": {"requests": {"storage": "1Gi"}},
            **spec,
        },
    }


def snapshot(name: str = "snap", of: str = "data", class_name: str | None = "cut") -> Object:
    spec: Object = {"source": {"persistentVolumeClaimName": of}}
    if class_name:
        spec["volumeSnapshotClassName"] = class_name
    metadata = {"name": name, "namespace": NS}
    return {"apiVersion": SNAPSHOT_API, "kind": "VolumeSnapshot", "metadata": metadata, "spec": spec}


def from_snapshot(name: str = "snap") -> Object:
    return {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name}


async def bound(sandbox: KubernetesSandbox, *names: str) -> None:
    await sandbox.until(lambda store: all(status(store, CLAIMS, name).get("phase") == "Bound" for name in names))


def status(store: Store, resource: Resource, name: str = "snap") -> Object:
    found = store.find(resource, NS, name) or {}
    return found.get("status") or {}


def is_ready(name: str = "snap") -> Callable[[Store], bool]:
    return lambda store: status(store, SNAPSHOTS, name).get("readyToUse") is True


def error(store: Store, name: str = "snap") -> str:
    return str((status(store, SNAPSHOTS, name).get("error") or {}).get("message") or "")


def said(sandbox: KubernetesSandbox, about: str) -> list[str]:
    rows = sandbox.store.rows(EVENTS)
    return [row["message"] for row in rows if row["involvedObject"].get("name") == about]


def content(sandbox: KubernetesSandbox, name: str = "snap") -> Object:
    return sandbox.store.get(
        SNAPSHOT_CONTENTS, None, status(sandbox.store, SNAPSHOTS, name)["boundVolumeSnapshotContentName"]
    )


async def test_a_snapshot_is_a_copy_that_outlives_its_volume(sandbox: KubernetesSandbox) -> None:
    digest = sandbox.volumes.digest(NS, "data")
    sandbox.apply([snapshot()])
    await sandbox.until(is_ready())
    sandbox.volumes.write(NS, "data", "rows", b"other")
    (handle,) = sandbox.volumes.snapshots()
    assert content(sandbox)["status"]["snapshotHandle"] == handle
    assert sandbox.volumes.snapshot_digest(handle) == digest != sandbox.volumes.digest(NS, "data")
    sandbox.store.delete(CLAIMS, NS, "data")
    await sandbox.until(lambda store: not store.rows(VOLUMES))
    assert sandbox.volumes.snapshot_digest(handle) == digest
    with pytest.raises(FileNotFoundError):
        sandbox.volumes.snapshot_digest("snap-of-nothing")


async def test_a_snapshot_that_fails_so_often_succeeds_then(sandbox: KubernetesSandbox) -> None:
    sandbox.storage_fault(NS, "data", StorageFault.SNAPSHOT_FAILS, times=3, text="no room")
    sandbox.apply([snapshot()])
    await sandbox.until(lambda store: "no room" in error(store))
    await sandbox.until(is_ready())
    assert error(sandbox.store) == ""
    name = content(sandbox)["metadata"]["name"]
    told = said(sandbox, name)
    assert {text.partition(":")[0] for text in told} == {
        "Failed to create snapshot",
        "Failed to check and update snapshot content",
    }
    assert all('"rpc error: code = Internal desc = no room"' in text for text in told)


async def test_a_snapshot_fails_for_ever_until_it_is_repaired_which_is_felt_at_once(sandbox: KubernetesSandbox) -> None:
    sandbox.storage_fault(NS, "data", StorageFault.SNAPSHOT_FAILS)
    sandbox.apply([snapshot()])
    await sandbox.until(lambda store: error(store).startswith("Failed to check"))
    assert status(sandbox.store, SNAPSHOTS)["readyToUse"] is False
    assert "creationTime" not in status(sandbox.store, SNAPSHOTS)
    sandbox.storage_fault(NS, "data", None)
    await sandbox.until(is_ready())


async def test_a_driver_that_does_not_answer_keeps_its_snapshot_from_being_deleted(sandbox: KubernetesSandbox) -> None:
    sandbox.storage_fault(NS, "data", StorageFault.SNAPSHOT_HANGS)
    sandbox.apply([snapshot()])
    await sandbox.until(lambda store: "DeadlineExceeded" in error(store))
    assert content(sandbox)["metadata"]["annotations"] == {BEING_CREATED: "yes"}
    sandbox.store.delete(SNAPSHOTS, NS, "snap")
    await sandbox.until(lambda _: "deletionTimestamp" in content(sandbox)["metadata"])
    assert sandbox.store.find(SNAPSHOTS, NS, "snap") is not None
    sandbox.storage_fault(NS, "data", None)
    await sandbox.until(lambda store: not store.rows(SNAPSHOT_CONTENTS) and not store.rows(SNAPSHOTS))
    assert sandbox.volumes.snapshots() == []


@pytest.mark.parametrize("fault", [StorageFault.SNAPSHOT_NEVER_READY, StorageFault.SNAPSHOT_SLOW])
async def test_a_snapshot_that_is_cut_is_not_ready_until_it_is_repaired(
    sandbox: KubernetesSandbox, fault: StorageFault
) -> None:
    sandbox.storage_fault(NS, "data", fault)
    sandbox.apply([snapshot(), claim("restored", dataSource=from_snapshot())])
    await sandbox.until(lambda store: "creationTime" in status(store, SNAPSHOTS))
    await sandbox.until(lambda _: any("snapshot snap is not Ready" in text for text in said(sandbox, "restored")))
    assert status(sandbox.store, SNAPSHOTS)["readyToUse"] is False
    sandbox.storage_fault(NS, "data", None)
    await sandbox.until(is_ready())
    await bound(sandbox, "restored")
    assert sandbox.volumes.read(NS, "restored", "rows") == b"1,2,3\n"


async def test_a_slow_snapshot_becomes_ready_by_itself(sandbox: KubernetesSandbox) -> None:
    sandbox.storage_fault(NS, "data", StorageFault.SNAPSHOT_SLOW)
    sandbox.apply([snapshot()])
    await sandbox.until(lambda store: "creationTime" in status(store, SNAPSHOTS))
    assert not is_ready()(sandbox.store)
    await sandbox.until(is_ready())


async def test_a_snapshot_that_holds_nothing_looks_like_any_other(sandbox: KubernetesSandbox) -> None:
    sandbox.storage_fault(NS, "data", StorageFault.SNAPSHOT_EMPTY)
    sandbox.apply([snapshot(), claim("restored", dataSource=from_snapshot())])
    await bound(sandbox, "restored")
    assert status(sandbox.store, SNAPSHOTS)["restoreSize"] == "1Gi"
    assert sandbox.volumes.files(NS, "restored") == []


async def test_a_volume_that_cannot_be_made_says_why_until_it_can(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([snapshot()])
    await sandbox.until(is_ready())
    restored = claim("restored", dataSource=from_snapshot())
    restored["metadata"]["annotations"] = {FAULT_ANNOTATION: StorageFault.PROVISIONING_FAILS, FAULT_TEXT: "no room"}
    sandbox.apply([restored])
    await sandbox.until(lambda _: "rpc error: code = Internal desc = no room" in said(sandbox, "restored"))
    assert status(sandbox.store, CLAIMS, "restored")["phase"] == "Pending"
    sandbox.storage_fault(NS, "restored", None)
    await bound(sandbox, "restored")


async def test_a_claim_whose_snapshot_lost_its_bytes_gets_no_volume(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([snapshot()])
    await sandbox.until(is_ready())
    kept = content(sandbox)
    handle = kept["status"]["snapshotHandle"]
    spec = {**kept["spec"], "source": {"snapshotHandle": handle}}
    spec["volumeSnapshotRef"] = {"namespace": NS, "name": "again"}
    again = {"apiVersion": SNAPSHOT_API, "kind": "VolumeSnapshotContent", "metadata": {"name": "again"}, "spec": spec}
    waiting = snapshot("again", class_name=None)
    waiting["spec"]["source"] = {"volumeSnapshotContentName": "again"}
    sandbox.apply([again, waiting])
    await sandbox.until(is_ready("again"))
    sandbox.store.delete(SNAPSHOTS, NS, "snap")
    await sandbox.until(lambda store: store.find(SNAPSHOTS, NS, "snap") is None)
    sandbox.apply([claim("restored", dataSource=from_snapshot("again"))])
    await sandbox.until(
        lambda _: f"rpc error: code = NotFound desc = there is no snapshot {handle}" in said(sandbox, "restored")
    )


async def test_a_snapshot_that_the_storage_does_not_give_up_stays_until_it_does(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([snapshot()])
    await sandbox.until(is_ready())
    name = content(sandbox)["metadata"]["name"]
    sandbox.annotate(SNAPSHOT_CONTENTS, None, name, FAULT_ANNOTATION, StorageFault.DELETION_FAILS)
    sandbox.store.delete(SNAPSHOTS, NS, "snap")
    await sandbox.until(lambda _: "Failed to delete snapshot" in said(sandbox, name))
    assert sandbox.store.find(SNAPSHOTS, NS, "snap") is not None
    sandbox.annotate(SNAPSHOT_CONTENTS, None, name, FAULT_ANNOTATION, None)
    await sandbox.until(lambda store: not store.rows(SNAPSHOTS) and not store.rows(SNAPSHOT_CONTENTS))


async def test_a_class_of_a_driver_that_nobody_runs_never_cuts_and_never_says_so(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([snapshot_class("nobodys", driver="nobody.example.com"), snapshot(class_name="nobodys")])
    await sandbox.until(lambda store: bool(status(store, SNAPSHOTS)))
    await asyncio.sleep(30 * SCALE)
    assert status(sandbox.store, SNAPSHOTS) == {
        "boundVolumeSnapshotContentName": content(sandbox)["metadata"]["name"],
        "readyToUse": False,
    }
    assert "status" not in content(sandbox)


@pytest.mark.parametrize("provisioner", ["kubernetes.io/aws-ebs", "cluster.local/nfs-subdir-external-provisioner"])
async def test_a_volume_that_is_not_of_a_csi_driver_has_no_snapshots(
    sandbox: KubernetesSandbox, provisioner: str
) -> None:
    sandbox.apply([storage_class("old", provisioner), claim("old", "old")])
    await bound(sandbox, "old")
    sandbox.apply([snapshot("with", "old"), snapshot("without", "old", class_name=None)])
    await sandbox.until(lambda store: all(error(store, name) for name in ("with", "without")))
    volume = sandbox.store.get(CLAIMS, NS, "old")["spec"]["volumeName"]
    assert error(sandbox.store, "with") == (
        f"Failed to create snapshot content with error cannot find CSI PersistentVolumeSource for volume {volume}"
    )
    assert error(sandbox.store, "without") == (
        "Failed to set default snapshot class with error snapshotting non-CSI volumes is not supported, "
        "snapshot:apps/without"
    )


@pytest.mark.parametrize(
    ("provisioner", "message"),
    [
        (
            "kubernetes.io/aws-ebs",
            (
                'plugin "kubernetes.io/aws-ebs" is not a CSI plugin. '
                "Only CSI plugin can provision a claim with a datasource"
            ),
        ),
        (
            "cluster.local/nfs-subdir-external-provisioner",
            'failed to provision volume with StorageClass "old": data sources are not supported',
        ),
    ],
)
@pytest.mark.parametrize("source", [from_snapshot(), {"kind": "PersistentVolumeClaim", "name": "data"}])
async def test_a_provisioner_that_copies_nothing_makes_no_empty_volume_instead(
    sandbox: KubernetesSandbox, provisioner: str, message: str, source: Object
) -> None:
    sandbox.apply([storage_class("old", provisioner), claim("restored", "old", dataSource=source)])
    await sandbox.until(lambda _: message in said(sandbox, "restored"))
    assert status(sandbox.store, CLAIMS, "restored")["phase"] == "Pending"


async def test_a_snapshot_of_one_driver_is_not_restored_by_another(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([storage_class("other", "other.example.com"), snapshot()])
    await sandbox.until(is_ready())
    sandbox.apply([claim("restored", "other", dataSource=from_snapshot())])
    name = content(sandbox)["metadata"]["name"]
    await sandbox.until(
        lambda _: any(
            f"snapshotcontent {name} for snapshot snap is not handled by CSI driver of StorageClass other" in text
            for text in said(sandbox, "restored")
        )
    )


async def test_several_default_classes_of_one_driver_are_none(sandbox: KubernetesSandbox) -> None:
    default = {"snapshot.storage.kubernetes.io/is-default-class": "true"}
    for name in ("one", "two"):
        made = snapshot_class(name)
        made["metadata"]["annotations"] = default
        sandbox.apply([made])
    sandbox.apply([snapshot(class_name=None)])
    await sandbox.until(lambda store: "2 default snapshot classes were found" in error(store))


async def test_an_in_tree_volumes_object_is_held_by_its_own_deleter(sandbox: KubernetesSandbox) -> None:
    sandbox.apply([storage_class("old", "kubernetes.io/aws-ebs"), claim("old", "old")])
    await bound(sandbox, "old")
    volume = sandbox.store.get(VOLUMES, None, sandbox.store.get(CLAIMS, NS, "old")["spec"]["volumeName"])
    assert set(volume["metadata"]["finalizers"]) == {"kubernetes.io/pv-controller", "kubernetes.io/pv-protection"}
    sandbox.store.delete(CLAIMS, NS, "old")
    await sandbox.until(lambda store: store.find(VOLUMES, None, volume["metadata"]["name"]) is None)


async def test_a_volume_whose_claim_found_another_one_is_free_again(sandbox: KubernetesSandbox) -> None:
    uid = sandbox.store.get(CLAIMS, NS, "data")["metadata"]["uid"]
    spec: Object = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
        "claimRef": {"namespace": NS, "name": "data", "uid": uid},
        "csi": {"driver": DRIVER, "volumeHandle": "spare"},
        "storageClassName": "csi",
    }
    sandbox.apply([{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "spare"}, "spec": spec}])
    await sandbox.until(lambda store: store.get(VOLUMES, None, "spare")["status"]["phase"] == "Available")
    assert sandbox.store.get(VOLUMES, None, "spare")["spec"]["claimRef"] == {"namespace": NS, "name": "data"}


@pytest.fixture
async def group(sandbox: KubernetesSandbox) -> Object:
    """A group snapshot of two claims, not created yet."""
    sandbox.apply([claim("more"), snapshot_class("both", "Retain", group=True)])
    await bound(sandbox, "more")
    spec = {"source": {"selector": {"matchLabels": {"set": "one"}}}, "volumeGroupSnapshotClassName": "both"}
    metadata = {"name": "both", "namespace": NS}
    return {"apiVersion": GROUP_API, "kind": "VolumeGroupSnapshot", "metadata": metadata, "spec": spec}


def members(store: Store) -> list[bool]:
    """Of each member of a group, whether it says that it is ready."""
    return sorted(bool((row.get("status") or {}).get("readyToUse")) for row in store.rows(SNAPSHOTS, NS))


def group_is_ready(store: Store) -> bool:
    return status(store, GROUP_SNAPSHOTS, "both").get("readyToUse") is True


async def test_a_member_that_was_slow_is_said_not_to_be_ready_until_the_next_resync(
    sandbox: KubernetesSandbox, group: Object
) -> None:
    sandbox.storage_fault(NS, "more", StorageFault.SNAPSHOT_NEVER_READY)
    sandbox.apply([group])
    await sandbox.until(lambda store: "creationTime" in status(store, GROUP_SNAPSHOTS, "both"))
    sandbox.storage_fault(NS, "more", None)
    await sandbox.until(lambda store: group_is_ready(store) and members(store) == [False, True])
    await sandbox.until(lambda store: members(store) == [True, True])


async def test_a_kept_member_is_bound_again_only_while_its_groups_content_is_there(
    sandbox: KubernetesSandbox, group: Object
) -> None:
    sandbox.apply([group])
    await sandbox.until(lambda store: group_is_ready(store) and members(store) == [True, True])
    kept = sandbox.store.rows(SNAPSHOT_CONTENTS)[0]
    sandbox.store.delete(GROUP_SNAPSHOTS, NS, "both")
    await sandbox.until(lambda store: not store.rows(SNAPSHOTS))
    sandbox.store.delete(
        GROUP_SNAPSHOT_CONTENTS, None, sandbox.store.rows(GROUP_SNAPSHOT_CONTENTS)[0]["metadata"]["name"]
    )
    await sandbox.until(lambda store: not store.rows(GROUP_SNAPSHOT_CONTENTS))
    spec = {**kept["spec"], "source": {"snapshotHandle": kept["status"]["snapshotHandle"]}}
    spec["volumeSnapshotRef"] = {"namespace": NS, "name": "again"}
    again = {"apiVersion": SNAPSHOT_API, "kind": "VolumeSnapshotContent", "metadata": {"name": "again"}, "spec": spec}
    waiting = snapshot("again", class_name=None)
    waiting["spec"]["source"] = {"volumeSnapshotContentName": "again"}
    sandbox.apply([again, waiting])
    await sandbox.until(lambda store: "cannot find the group snapshot" in error(store, "again"))
    assert not is_ready("again")(sandbox.store)


async def test_a_cluster_without_the_definitions_knows_no_snapshots() -> None:
    without = ("snapshot.storage.k8s.io", "groupsnapshot.storage.k8s.io")
    async with kubernetes.start(time_scale=SCALE, without=without) as running:
        async with aiohttp.ClientSession(running.url) as session:
            for group in without:
                for path in (f"/apis/{group}", f"/apis/{group}/v1", f"/apis/{group}/v1/volumesnapshots"):
                    async with session.get(path) as answer:
                        assert (answer.status, await answer.text()) == (404, "404 page not found\n")
            async with session.get("/apis") as answer:
                known = {group["name"] for group in (await answer.json())["groups"]}
        assert known.isdisjoint(without)
        assert "apps" in known
        with pytest.raises(KeyError, match="not served"):
            running.apply([snapshot()])


async def test_a_cluster_may_know_single_snapshots_only() -> None:
    async with (
        kubernetes.start(time_scale=SCALE, without=["groupsnapshot.storage.k8s.io"]) as running,
        aiohttp.ClientSession(running.url) as session,
    ):
        async with session.get(f"/apis/{SNAPSHOT_API}/volumesnapshotcontents") as answer:
            assert answer.status == 200
        async with session.get(f"/apis/{GROUP_API}/volumegroupsnapshotcontents") as answer:
            assert answer.status == 404


async def test_what_was_applied_can_be_applied_again(sandbox: KubernetesSandbox) -> None:
    manifests = [snapshot_class("cut"), snapshot()]
    sandbox.apply(manifests)
    await sandbox.until(is_ready())
    held = sandbox.store.get(SNAPSHOTS, NS, "snap")["metadata"]["finalizers"]
    sandbox.apply(manifests)
    assert sandbox.store.get(SNAPSHOTS, NS, "snap")["metadata"]["finalizers"] == held


async def test_a_mistyped_storage_fault_is_refused(sandbox: KubernetesSandbox) -> None:
    with pytest.raises(ValueError, match="snapshot-fales"):
        sandbox.annotate(STORAGE_CLASSES, None, "csi", FAULT_ANNOTATION, "snapshot-fales")


def test_what_fails_is_tried_again_ever_later_up_to_five_minutes() -> None:
    retries = Retries()
    assert [retries.after((NS, "snap")) for _ in range(11)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    retries.forget((NS, "snap"))
    assert retries.after((NS, "snap")) == 1


@pytest.mark.parametrize(
    ("size", "text"), [(1 << 30, "1Gi"), (3 << 29, "1536Mi"), (20 << 30, "20Gi"), (1000, "1000"), (0, "0")]
)
def test_a_size_is_written_in_the_largest_unit_that_is_whole(size: int, text: str) -> None:
    assert binary_size(size) == text


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
async def test_kubectl_shows_snapshots_with_their_own_columns(sandbox: KubernetesSandbox, tmp_path: Path) -> None:
    sandbox.apply([snapshot()])
    await sandbox.until(is_ready())
    sandbox.kubeconfig(tmp_path / "config", {"sandbox": NS})
    process = await asyncio.create_subprocess_exec(
        *("kubectl", f"--kubeconfig={tmp_path / 'config'}", f"--cache-dir={tmp_path}", "get", "vs"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()
    header, row = stdout.decode().splitlines()
    assert header.split() == [
        *("NAME", "READYTOUSE", "SOURCEPVC", "SOURCESNAPSHOTCONTENT", "RESTORESIZE", "SNAPSHOTCLASS"),
        *("SNAPSHOTCONTENT", "CREATIONTIME", "AGE"),
    ]
    assert row.split()[:5] == ["snap", "true", "data", "1Gi", "cut"]
