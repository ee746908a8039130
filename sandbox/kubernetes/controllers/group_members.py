"""The single snapshots of a group: one VolumeSnapshot and one content for each volume, made when the group is cut."""

import hashlib

from sandbox.kubernetes.controllers.owners import reference, references
from sandbox.kubernetes.controllers.snapshotting import (
    COMMON,
    GROUP_HANDLE,
    IN_GROUP,
    Editor,
    status_of,
)
from sandbox.kubernetes.resources import GROUP_SNAPSHOTS, SNAPSHOT_CONTENTS, SNAPSHOTS, VOLUMES, Object, Resource
from sandbox.kubernetes.store import Store


class Members:
    """They are owned by their group; their names follow from its uid and the volume's handle.

    As long as the group is not ready their statuses are written anew with each look at it, from what the storage said
    when it was cut. So one that was not ready then is said not to be even when it is, until the next resync.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, group: Object) -> list[Object]:
        name = group["metadata"]["name"]
        rows = self._store.list(SNAPSHOTS, group["metadata"]["namespace"])
        return [row for row in rows if any(_is_group(owner, name) for owner in references(row))]

    def make(self, group: Object, content: Object) -> None:
        """Those that are missing, as far as the content says what was cut."""
        status = status_of(content)
        if status.get("volumeGroupSnapshotHandle"):
            for info in status.get("volumeSnapshotInfoList") or []:
                self._make(group, content, info)

    def _make(self, group: Object, of_group: Object, info: Object) -> None:
        seed = group["metadata"]["uid"] + info["volumeHandle"]
        digest = hashlib.sha256(seed.encode()).hexdigest()
        volume = self._volume(of_group["spec"]["driver"], info["volumeHandle"])
        content = self._there(SNAPSHOT_CONTENTS, None, f"snapcontent-{digest}", _content(group, of_group, info, volume))
        namespace = group["metadata"]["namespace"]
        snapshot = self._there(SNAPSHOTS, namespace, f"snapshot-{digest}", _snapshot(group, volume))
        self._bind(snapshot, content)
        self._tell(content, of_group, info)

    def _there(self, resource: Resource, namespace: str | None, name: str, wish: Object) -> Object:
        found = self._store.find(resource, namespace, name)
        if found is not None:
            return found
        metadata = {**wish["metadata"], "name": name} | ({"namespace": namespace} if namespace else {})
        if resource is SNAPSHOT_CONTENTS:
            wish["spec"]["volumeSnapshotRef"]["name"] = name.replace("snapcontent-", "snapshot-", 1)
        return self._store.create(resource, {**wish, "metadata": metadata}, actor=COMMON)

    def _volume(self, driver: str, handle: str) -> Object | None:
        wanted = {"driver": driver, "volumeHandle": handle}
        rows = self._store.rows(VOLUMES)
        return next((row for row in rows if wanted.items() <= (row["spec"].get("csi") or {}).items()), None)

    def _bind(self, snapshot: Object, content: Object) -> None:
        def refer(found: Object) -> None:
            found["spec"]["volumeSnapshotRef"]["uid"] = snapshot["metadata"]["uid"]

        Editor(self._store, SNAPSHOT_CONTENTS, COMMON).change(content, refer)
        bound = {"boundVolumeSnapshotContentName": content["metadata"]["name"]}
        Editor(self._store, SNAPSHOTS, COMMON).write_status(snapshot, bound)

    def _tell(self, content: Object, of_group: Object, info: Object) -> None:
        told = {key: info[key] for key in ("snapshotHandle", "creationTime", "readyToUse", "restoreSize")}
        told["volumeGroupSnapshotHandle"] = status_of(of_group)["volumeGroupSnapshotHandle"]
        Editor(self._store, SNAPSHOT_CONTENTS, COMMON).write_status(content, told)


def _is_group(owner: Object, name: str) -> bool:
    wanted = (GROUP_SNAPSHOTS.api_version, GROUP_SNAPSHOTS.kind, name)
    return (owner["apiVersion"], owner["kind"], owner["name"]) == wanted


def _content(group: Object, of_group: Object, info: Object, volume: Object | None) -> Object:
    spec = {
        "volumeSnapshotRef": {"kind": SNAPSHOTS.kind, "namespace": group["metadata"]["namespace"]},
        "deletionPolicy": of_group["spec"]["deletionPolicy"],
        "driver": of_group["spec"]["driver"],
        "source": {"volumeHandle": info["volumeHandle"]},
    }
    if volume is not None:
        spec["sourceVolumeMode"] = volume["spec"].get("volumeMode") or "Filesystem"
    return {"metadata": {"annotations": {GROUP_HANDLE: status_of(of_group)["volumeGroupSnapshotHandle"]}}, "spec": spec}


def _snapshot(group: Object, volume: Object | None) -> Object:
    claim = (volume or {}).get("spec", {}).get("claimRef") or {}
    owner = reference(GROUP_SNAPSHOTS, group, controller=False)
    metadata = {"ownerReferences": [owner], "finalizers": [IN_GROUP]}
    return {"metadata": metadata, "spec": {"source": {"persistentVolumeClaimName": claim.get("name", "")}}}
