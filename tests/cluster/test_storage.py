"""The storage of the control plane: real provisioner, real snapshotter, and bytes that can be looked at."""

import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import accounts
from tests.cluster.client import Answer, Client, Json, open_client, until
from tests.cluster.control_plane import ControlPlane
from tests.cluster.storage import DRIVER, GROUP_SNAPSHOT_CLASS, GROUP_SNAPSHOTS, SNAPSHOT_CLASS, SNAPSHOTS, handle_of
from tests.contract.objects import stateful_set

pytestmark = pytest.mark.timeout(400)

CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
CONTENTS = f"/apis/{SNAPSHOTS}/volumesnapshotcontents"
MODES = {"at-once": "Immediate", "with-its-pod": "WaitForFirstConsumer"}
"""The tests' StorageClasses, and when they provide."""
GIBIBYTE = 1 << 30


@dataclass
class Room:
    """A namespace with claims and snapshots of them."""

    plane: ControlPlane
    client: Client
    namespace: str

    @property
    def stateful_sets(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/statefulsets"

    def core(self, plural: str, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def snapshots(self, name: str = "") -> str:
        return f"/apis/{SNAPSHOTS}/namespaces/{self.namespace}/volumesnapshots" + (f"/{name}" if name else "")

    def groups(self, name: str = "") -> str:
        return f"/apis/{GROUP_SNAPSHOTS}/namespaces/{self.namespace}/volumegroupsnapshots" + (
            f"/{name}" if name else ""
        )

    async def claim(self, name: str, source: Json | None = None, **labels: str) -> Path:
        """A claim that is bound; the folder of its volume."""
        spec: Json = {"storageClassName": "at-once", **needs()} | ({"dataSource": source} if source else {})
        await self.client.create(self.core("persistentvolumeclaims"), claim(name, spec, labels))
        return await self.folder(name)

    async def folder(self, name: str) -> Path:
        """Where the bytes of a claim are, as soon as it is bound."""
        bound = await until(self.client, self.core("persistentvolumeclaims", name), has(phase="Bound"))
        return self.plane.volumes / await handle_of(self.client, bound.body)

    async def ask(self, name: str, source: Json) -> None:
        """For a snapshot."""
        spec: Json = {"source": source} | ({"volumeSnapshotClassName": SNAPSHOT_CLASS} if of_claim(source) else {})
        made = {"apiVersion": SNAPSHOTS, "kind": "VolumeSnapshot", "metadata": {"name": name}, "spec": spec}
        await self.client.create(self.snapshots(), made)

    async def snapshot(self, name: str, source: Json) -> tuple[Json, Json]:
        """A snapshot that can be restored, and its content."""
        await self.ask(name, source)
        return await self.ready(name)

    async def ready(self, name: str) -> tuple[Json, Json]:
        found = (await until(self.client, self.snapshots(name), has(readyToUse=True))).body
        content = await self.client.get(f"{CONTENTS}/{found['status']['boundVolumeSnapshotContentName']}")
        return found, content.body

    async def content(self, name: str, handle: str, policy: str) -> None:
        """One for bytes that are there, and for the snapshot of the same name."""
        made = {
            "apiVersion": SNAPSHOTS,
            "kind": "VolumeSnapshotContent",
            "metadata": {"name": f"{self.namespace}-{name}"},
            "spec": {
                "deletionPolicy": policy,
                "driver": DRIVER,
                "source": {"snapshotHandle": handle},
                "volumeSnapshotRef": {"namespace": self.namespace, "name": name},
            },
        }
        await self.client.create(CONTENTS, made)


def needs(size: str = "1Gi") -> Json:
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}


def claim(name: str, spec: Json, labels: dict[str, str] | None = None) -> Json:
    metadata = {"name": name, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def of_claim(source: Json) -> bool:
    return "persistentVolumeClaimName" in source


def from_snapshot(name: str) -> Json:
    return {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name}


def has(**status: Any) -> Callable[[Answer], bool]:
    """Whether an object's status has these values."""

    def judge(answer: Answer) -> bool:
        found = answer.body.get("status") or {}
        return isinstance(found, dict) and all(found.get(key) == value for key, value in status.items())

    return judge


def is_gone(answer: Answer) -> bool:
    return answer.status == 404


@pytest.fixture
async def room(plane: ControlPlane) -> AsyncIterator[Room]:
    namespace = f"storage-{secrets.token_hex(3)}"
    async with open_client(plane.access()) as client:
        for name, mode in MODES.items():
            metadata = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
            answer = await client.ask("POST", CLASSES, {**metadata, "provisioner": DRIVER, "volumeBindingMode": mode})
            assert answer.status in (201, 409), answer.text
        await accounts.make_namespace(client, namespace)
        yield Room(plane, client, namespace)
        await client.ask("DELETE", f"/api/v1/namespaces/{namespace}")


async def test_a_claim_is_provided_when_its_pod_is_placed_and_the_node_uses_the_same_folder(room: Room) -> None:
    template = claim("data", {"storageClassName": "with-its-pod", **needs()})
    await room.client.create(room.stateful_sets, stateful_set("db", volumeClaimTemplates=[template]))
    folder = await room.folder("data-db-0")
    bound = (await room.client.get(room.core("persistentvolumeclaims", "data-db-0"))).body
    assert bound["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == "sandbox-node"
    (folder / "mine").write_text("of a test")
    first = await until(room.client, room.core("pods", "db-0"), has(phase="Running"))
    await room.client.delete(room.core("pods", "db-0"))
    await until(room.client, room.core("pods", "db-0"), is_running_and_not(first.uid))
    assert "db-0" in (folder / "starts.log").read_text()


def is_running_and_not(uid: str) -> Callable[[Answer], bool]:
    return lambda answer: has(phase="Running")(answer) and answer.uid != uid


async def test_a_claim_without_a_pod_waits_where_its_class_says_so(room: Room) -> None:
    made = claim("alone", {"storageClassName": "with-its-pod", **needs()})
    await room.client.create(room.core("persistentvolumeclaims"), made)
    await until(room.client, room.core("events"), lambda answer: "WaitForFirstConsumer" in answer.text)
    assert (await room.client.get(room.core("persistentvolumeclaims", "alone"))).body["status"]["phase"] == "Pending"


async def test_a_snapshot_becomes_ready_and_a_claim_of_it_has_the_bytes_of_that_moment(room: Room) -> None:
    folder = await room.claim("one")
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_bytes(b"\0before")
    found, content = await room.snapshot("cut", {"persistentVolumeClaimName": "one"})
    (folder / "deep" / "file").write_bytes(b"after")
    assert found["status"]["restoreSize"] == "1Gi"
    assert content["spec"]["source"] == {"volumeHandle": folder.name}
    assert content["status"]["restoreSize"] == GIBIBYTE
    assert (room.plane.snapshots / content["status"]["snapshotHandle"] / "deep" / "file").read_bytes() == b"\0before"
    assert (await room.claim("two", from_snapshot("cut")) / "deep" / "file").read_bytes() == b"\0before"


async def test_a_claim_of_a_claim_has_its_bytes(room: Room) -> None:
    (await room.claim("one") / "file").write_text("the same")
    clone = await room.claim("two", {"kind": "PersistentVolumeClaim", "name": "one"})
    assert (clone / "file").read_text() == "the same"


async def test_a_claim_that_is_too_small_for_its_snapshot_is_refused_with_both_sizes(room: Room) -> None:
    await room.claim("one")
    await room.snapshot("cut", {"persistentVolumeClaimName": "one"})
    spec = {"storageClassName": "at-once", **needs("500Mi"), "dataSource": from_snapshot("cut")}
    await room.client.create(room.core("persistentvolumeclaims"), claim("small", spec))
    words = f"requested volume size {500 << 20} is less than the size {GIBIBYTE} for the source snapshot cut"
    await until(room.client, room.core("events"), lambda answer: words in answer.text)


async def test_a_claim_that_was_made_of_a_snapshot_beforehand_becomes_the_one_of_its_pod(room: Room) -> None:
    (await room.claim("one") / "file").write_text("of the snapshot")
    await room.snapshot("cut", {"persistentVolumeClaimName": "one"})
    spec = {"storageClassName": "with-its-pod", **needs()}
    made = claim("data-db-0", {**spec, "dataSource": from_snapshot("cut")})
    uid = (await room.client.create(room.core("persistentvolumeclaims"), made)).uid
    await room.client.create(room.stateful_sets, stateful_set("db", volumeClaimTemplates=[claim("data", spec)]))
    await until(room.client, room.core("pods", "db-0"), has(phase="Running"))
    assert (await room.folder("data-db-0") / "file").read_text() == "of the snapshot"
    assert (await room.client.get(room.core("persistentvolumeclaims", "data-db-0"))).uid == uid


async def test_a_kept_snapshot_gives_its_bytes_back_after_its_namespace_is_gone(room: Room) -> None:
    (await room.claim("one") / "file").write_text("kept")
    _, content = await room.snapshot("cut", {"persistentVolumeClaimName": "one"})
    kept, handle = f"{CONTENTS}/{content['metadata']['name']}", content["status"]["snapshotHandle"]
    await room.client.patch(kept, {"spec": {"deletionPolicy": "Retain"}})
    await room.client.delete(f"/api/v1/namespaces/{room.namespace}")
    await until(room.client, f"/api/v1/namespaces/{room.namespace}", is_gone)
    assert (await room.client.get(kept)).body["status"]["snapshotHandle"] == handle
    await accounts.make_namespace(room.client, room.namespace)
    await room.content("back", handle, "Retain")
    found, _ = await room.snapshot("back", {"volumeSnapshotContentName": f"{room.namespace}-back"})
    assert found["status"]["restoreSize"] == "1Gi"
    assert (await room.claim("again", from_snapshot("back")) / "file").read_text() == "kept"


async def test_the_bytes_go_with_a_snapshot_whose_policy_is_delete(room: Room) -> None:
    await room.claim("one")
    _, content = await room.snapshot("cut", {"persistentVolumeClaimName": "one"})
    folder = room.plane.snapshots / content["status"]["snapshotHandle"]
    assert folder.is_dir()
    await room.client.delete(room.snapshots("cut"))
    await until(room.client, f"{CONTENTS}/{content['metadata']['name']}", is_gone)
    assert not folder.exists()


async def test_the_bytes_of_a_kept_snapshot_go_with_its_content_once_the_policy_says_so(room: Room) -> None:
    await room.claim("one")
    _, content = await room.snapshot("cut", {"persistentVolumeClaimName": "one"})
    path = f"{CONTENTS}/{content['metadata']['name']}"
    folder = room.plane.snapshots / content["status"]["snapshotHandle"]
    await room.client.patch(path, {"spec": {"deletionPolicy": "Retain"}})
    await room.client.delete(room.snapshots("cut"))
    await until(room.client, room.snapshots("cut"), is_gone)
    assert folder.is_dir()
    await room.client.patch(path, {"spec": {"deletionPolicy": "Delete"}})
    await room.client.delete(path)
    await until(room.client, path, is_gone)
    assert not folder.exists()


async def test_a_refused_snapshot_says_why_and_is_tried_again_until_it_is_cut(room: Room) -> None:
    folder = await room.claim("one")
    (folder / ".refuse-snapshots").write_text("the pool is full\n")
    await room.ask("cut", {"persistentVolumeClaimName": "one"})
    refused = await until(room.client, room.snapshots("cut"), says("the pool is full"))
    assert refused.body["status"]["readyToUse"] is False
    (folder / ".refuse-snapshots").unlink()
    found, _ = await room.ready("cut")
    assert "error" not in found["status"]


def says(words: str) -> Callable[[Answer], bool]:
    return lambda answer: words in answer.body.get("status", {}).get("error", {}).get("message", "")


async def test_a_snapshot_that_is_uploaded_is_of_the_moment_before(room: Room) -> None:
    folder = await room.claim("one")
    (folder / "file").write_text("before")
    (folder / ".slow-snapshots").write_text("1")
    await room.ask("cut", {"persistentVolumeClaimName": "one"})
    early = await until(room.client, room.snapshots("cut"), is_cut)
    assert early.body["status"]["readyToUse"] is False
    (folder / "file").write_text("after")
    found, _ = await room.ready("cut")
    assert found["status"]["creationTime"] == early.body["status"]["creationTime"]
    restored = await room.claim("two", from_snapshot("cut"))
    assert {file.name: file.read_text() for file in restored.iterdir()} == {"file": "before"}


def is_cut(answer: Answer) -> bool:
    return "creationTime" in answer.body.get("status", {})


async def test_a_group_is_cut_at_one_moment_and_goes_as_one(room: Room) -> None:
    for name in ("one", "two", "three"):
        (await room.claim(name, tier="data") / "file").write_text(f"of {name}")
    await room.claim("other", tier="none")
    await room.client.create(room.groups(), group("all", tier="data"))
    whole = (await until(room.client, room.groups("all"), has(readyToUse=True))).body
    members = (await until(room.client, room.snapshots(), are_ready(3))).body["items"]
    assert {one["status"]["creationTime"] for one in members} == {whole["status"]["creationTime"]}
    assert {one["status"]["volumeGroupSnapshotName"] for one in members} == {"all"}
    for one in members:
        source = one["spec"]["source"]["persistentVolumeClaimName"]
        restored = await room.claim(f"{source}-again", from_snapshot(one["metadata"]["name"]))
        assert (restored / "file").read_text() == f"of {source}"
    contents = [f"{CONTENTS}/{one['status']['boundVolumeSnapshotContentName']}" for one in members]
    folders = [
        room.plane.snapshots / (await room.client.get(path)).body["status"]["snapshotHandle"] for path in contents
    ]
    await room.client.delete(room.groups("all"))
    for path in [room.groups("all"), *contents]:
        await until(room.client, path, is_gone)
    assert not [folder for folder in folders if folder.exists()]


def group(name: str, **labels: str) -> Json:
    spec = {"volumeGroupSnapshotClassName": GROUP_SNAPSHOT_CLASS, "source": {"selector": {"matchLabels": labels}}}
    return {"apiVersion": GROUP_SNAPSHOTS, "kind": "VolumeGroupSnapshot", "metadata": {"name": name}, "spec": spec}


def are_ready(count: int) -> Callable[[Answer], bool]:
    def judge(answer: Answer) -> bool:
        found = [one.get("status", {}) for one in answer.body["items"]]
        return len(found) == count and all(one.get("readyToUse") for one in found)

    return judge


async def test_a_group_with_a_claim_that_refuses_cuts_none(room: Room) -> None:
    await room.claim("one", tier="data")
    refuser = await room.claim("two", tier="data")
    (refuser / ".refuse-snapshots").write_text("the pool is full")
    await room.client.create(room.groups(), group("all", tier="data"))
    await until(room.client, room.groups("all"), says("the pool is full"))
    assert (await room.client.get(room.snapshots())).body["items"] == []
    (refuser / ".refuse-snapshots").unlink()
    await until(room.client, room.snapshots(), are_ready(2))


async def test_what_is_asked_while_the_storage_is_away_is_done_when_it_is_back(room: Room) -> None:
    (await room.claim("one") / "file").write_text("before")
    await room.snapshot("early", {"persistentVolumeClaimName": "one"})
    await room.plane.kill_storage()
    await room.ask("late", {"persistentVolumeClaimName": "one"})
    await room.plane.start_storage()
    await room.ready("late")
    assert (await room.claim("two", from_snapshot("early")) / "file").read_text() == "before"
