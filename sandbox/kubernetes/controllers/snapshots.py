"""VolumeSnapshots: bound to a content that is there or newly made, as the common `snapshot-controller` does it."""

from sandbox.kubernetes.controllers.csi_driver import quoted
from sandbox.kubernetes.controllers.owners import is_terminating, key_of, references
from sandbox.kubernetes.controllers.recorder import Recorder
from sandbox.kubernetes.controllers.retries import Again, Retries
from sandbox.kubernetes.controllers.snapshot_endings import Endings
from sandbox.kubernetes.controllers.snapshot_status import shown
from sandbox.kubernetes.controllers.snapshotting import (
    AS_SOURCE,
    BOUND,
    CLAIM_AS_SOURCE,
    COMMON,
    DEFAULT_CLASS,
    Editor,
    Failed,
    Trouble,
    annotations,
    claim_of,
    error_at,
    finalizers,
    is_ready,
    key_in,
    path_of,
    reference_to,
    refers_to,
    status_of,
    volume_of,
)
from sandbox.kubernetes.controllers.work import Key, Work
from sandbox.kubernetes.resources import (
    CLAIMS,
    GROUP_SNAPSHOTS,
    SNAPSHOT_CLASSES,
    SNAPSHOT_CONTENTS,
    SNAPSHOTS,
    Object,
)
from sandbox.kubernetes.store import Event, Store


class Snapshots:
    """Every failure is shown in `status.error` and tried again, ever later; success takes it away."""

    def __init__(self, store: Store, work: Work) -> None:
        self._store = store
        self._work = work
        self._retries = Retries()
        self._endings = Endings(store)
        self._edit = Editor(store, SNAPSHOTS, COMMON)
        self._recorder = Recorder(store, COMMON)

    def concerned(self, event: Event) -> list[Key]:
        if event.resource is SNAPSHOTS and event.type != "DELETED":
            return [key_of(event.object)]
        return self._of_content(event) if event.resource is SNAPSHOT_CONTENTS else []

    def reconcile(self, key: Key) -> None:
        snapshot = self._store.find(SNAPSHOTS, *key)
        if snapshot is None:
            self._retries.forget(key)
            return
        try:
            self._sync(self._with_class(snapshot))
        except Again as again:
            if isinstance(again, Failed):
                self._fail(key, again)
            self._work.again(self, key, self._retries.after(key))
        else:
            self._retries.forget(key)

    def _of_content(self, event: Event) -> list[Key]:
        """Whose content has something to tell, or is gone. One that is another one's now tells nobody."""
        reference = event.object["spec"]["volumeSnapshotRef"]
        snapshot = self._store.find(SNAPSHOTS, *key_in(reference))
        is_its = snapshot is not None and refers_to(reference, snapshot) and event.object.get("status")
        return [key_in(reference)] if is_its or event.type == "DELETED" else []

    def _fail(self, key: Key, failed: Failed) -> None:
        """Say it, once."""
        snapshot = self._store.get(SNAPSHOTS, *key)
        status = status_of(snapshot)
        message = str(failed)
        if (status.get("error") or {}).get("message") == message:
            return
        unready = {"readyToUse": False} if failed.is_unready else {}
        self._edit.write_status(snapshot, {**status, **unready, "error": error_at(self._edit.now(), message)})
        self._recorder.warning(SNAPSHOTS, snapshot, failed.reason, message)

    def _with_class(self, snapshot: Object) -> Object:
        """With the class that it asks for, or else the only default one of its volume's driver. Raises Failed."""
        name = snapshot["spec"].get("volumeSnapshotClassName")
        if name is None:
            return self._with_default_class(snapshot)
        if self._store.find(SNAPSHOT_CLASSES, None, name) is None and not is_terminating(snapshot):
            why = f'{SNAPSHOT_CLASSES.singular}.{SNAPSHOT_CLASSES.group} "{name}" not found'
            message = f"Failed to get snapshot class with error {why}"
            raise Failed("GetSnapshotClassFailed", message, is_unready=False)
        return snapshot

    def _with_default_class(self, snapshot: Object) -> Object:
        if snapshot["spec"]["source"].get("volumeSnapshotContentName") or _is_member(snapshot):
            return snapshot
        try:
            name = self._default_class(snapshot)
        except Trouble as trouble:
            message = f"Failed to set default snapshot class with error {trouble}"
            raise Failed("SetDefaultSnapshotClassFailed", message, is_unready=False) from trouble

        def give(found: Object) -> None:
            found["spec"]["volumeSnapshotClassName"] = name

        return self._edit.change(snapshot, give)

    def _default_class(self, snapshot: Object) -> str:
        """Raises Trouble unless there is exactly one."""
        csi = volume_of(self._store, claim_of(self._store, snapshot), "snapshot")["spec"].get("csi")
        if csi is None:
            raise Trouble(f"snapshotting non-CSI volumes is not supported, snapshot:{path_of(snapshot)}")
        rows = self._store.rows(SNAPSHOT_CLASSES)
        found = [
            row for row in rows if annotations(row).get(DEFAULT_CLASS) == "true" and row["driver"] == csi["driver"]
        ]
        if not found:
            raise Trouble("cannot find default snapshot class")
        if len(found) > 1:
            raise Trouble(f"{len(found)} default snapshot classes were found")
        return str(found[0]["metadata"]["name"])

    def _sync(self, snapshot: Object) -> None:
        self._endings.free_claim(snapshot)
        if is_terminating(snapshot):
            self._endings.end(snapshot)
            return
        content = self._content(snapshot)
        snapshot = self._protected(snapshot, content)
        if is_ready(snapshot) and status_of(snapshot).get("boundVolumeSnapshotContentName"):
            self._check(snapshot)
        else:
            self._show(snapshot, self._bound(snapshot, content))

    def _content(self, snapshot: Object) -> Object | None:
        """The content that is its own, already or on request. Raises Failed where it is another one's."""
        asked = snapshot["spec"]["source"].get("volumeSnapshotContentName")
        name = asked or f"snapcontent-{snapshot['metadata']['uid']}"
        content = self._store.find(SNAPSHOT_CONTENTS, None, name)
        if content is None or _is_member(snapshot):
            return None
        kind = "snapshotHandle" if asked else "volumeHandle"
        if kind not in content["spec"]["source"]:
            raise Failed("SnapshotContentMismatch", _mismatch(name, is_asked_for=bool(asked)))
        reference = content["spec"]["volumeSnapshotRef"]
        is_open = bool(asked) and not reference.get("uid") and key_in(reference) == key_of(snapshot)
        if not is_open and not refers_to(reference, snapshot):
            message = f"VolumeSnapshotContent [{name}] is bound to a different snapshot"
            raise Failed("SnapshotContentMisbound", message)
        return content

    def _protected(self, snapshot: Object, content: Object | None) -> Object:
        """With the finalizers that it needs: the second one only where deleting it deletes its content, too."""
        wanted = [AS_SOURCE]
        is_bound = status_of(snapshot).get("boundVolumeSnapshotContentName")
        if content is not None and is_bound and content["spec"]["deletionPolicy"] == "Delete":
            wanted.append(BOUND)
        if set(wanted) <= set(finalizers(snapshot)):
            return snapshot
        return self._edit.add_finalizer(snapshot, *wanted)

    def _check(self, snapshot: Object) -> None:
        """A snapshot that is ready may lose its content. Raises Failed."""
        content = self._store.find(SNAPSHOT_CONTENTS, None, status_of(snapshot)["boundVolumeSnapshotContentName"])
        if content is None:
            raise Failed("SnapshotContentMissing", "VolumeSnapshotContent is missing")
        if not refers_to(content["spec"]["volumeSnapshotRef"], snapshot):
            message = "VolumeSnapshotContent is not bound to the VolumeSnapshot correctly"
            raise Failed("SnapshotMisbound", message)

    def _bound(self, snapshot: Object, content: Object | None) -> Object:
        """Its content, that refers to it. Raises Again, Failed."""
        if snapshot["spec"]["source"].get("volumeSnapshotContentName"):
            if content is None:
                raise Failed("SnapshotContentMissing", "VolumeSnapshotContent is missing")
            return self._claimed(snapshot, content)
        if _is_member(snapshot):
            name = status_of(snapshot).get("boundVolumeSnapshotContentName") or ""
            found = self._store.find(SNAPSHOT_CONTENTS, None, name)
            if found is None:
                raise Again(f"detected group snapshot member {path_of(snapshot)} with no content, retrying")
            return found
        return content or self._created(snapshot)

    def _claimed(self, snapshot: Object, content: Object) -> Object:
        """A content that waits for a snapshot of this name gets its uid, and its class."""

        def claim(found: Object) -> None:
            found["spec"]["volumeSnapshotRef"]["uid"] = snapshot["metadata"]["uid"]
            if name := snapshot["spec"].get("volumeSnapshotClassName"):
                found["spec"]["volumeSnapshotClassName"] = name

        return Editor(self._store, SNAPSHOT_CONTENTS, COMMON).change(content, claim)

    def _created(self, snapshot: Object) -> Object:
        """A new content, for which the sidecar cuts the snapshot. Raises Failed."""
        try:
            self._hold_claim(snapshot)
            spec = self._wishes(snapshot)
        except Trouble as trouble:
            message = f"Failed to create snapshot content with error {trouble}"
            raise Failed("SnapshotContentCreationFailed", message) from trouble
        made = {"metadata": {"name": f"snapcontent-{snapshot['metadata']['uid']}"}, "spec": spec}
        content = self._store.create(SNAPSHOT_CONTENTS, made, actor=COMMON)
        message = f"Waiting for a snapshot {path_of(snapshot)} to be created by the CSI driver."
        self._recorder.normal(SNAPSHOTS, snapshot, "CreatingSnapshot", message)
        return content

    def _hold_claim(self, snapshot: Object) -> None:
        """Until the snapshot is ready the claim cannot go. Raises Trouble."""
        failed = "snapshot controller failed to update"
        try:
            claim = claim_of(self._store, snapshot)
        except Trouble as trouble:
            name = snapshot["metadata"]["name"]
            raise Trouble(f"{failed} {name} on API server: cannot get claim from snapshot") from trouble
        if CLAIM_AS_SOURCE in finalizers(claim):
            return
        if is_terminating(claim):
            why = "cannot add finalizer on claim because it is being deleted"
            raise Trouble(f"{failed} {claim['metadata']['name']} on API server: {why}")
        Editor(self._store, CLAIMS, COMMON).add_finalizer(claim, CLAIM_AS_SOURCE)

    def _wishes(self, snapshot: Object) -> Object:
        """A new content's spec. Raises Trouble."""
        name = snapshot["spec"]["volumeSnapshotClassName"]
        chosen = self._store.get(SNAPSHOT_CLASSES, None, name)
        try:
            volume = volume_of(self._store, claim_of(self._store, snapshot), "snapshot")
        except Trouble as trouble:
            prefix = f"failed to get input parameters to create snapshot {snapshot['metadata']['name']}"
            raise Trouble(f"{prefix}: {quoted(trouble)}") from trouble
        if "csi" not in volume["spec"]:
            raise Trouble(f"cannot find CSI PersistentVolumeSource for volume {volume['metadata']['name']}")
        return {
            "volumeSnapshotRef": reference_to(SNAPSHOTS, snapshot),
            "source": {"volumeHandle": volume["spec"]["csi"]["volumeHandle"]},
            "volumeSnapshotClassName": name,
            "deletionPolicy": chosen["deletionPolicy"],
            "driver": chosen["driver"],
            "sourceVolumeMode": volume["spec"].get("volumeMode") or "Filesystem",
        }

    def _show(self, snapshot: Object, content: Object) -> None:
        """The content's status is the snapshot's. Raises Failed."""
        snapshot = self._store.get(SNAPSHOTS, *key_of(snapshot))
        try:
            status = shown(self._store, snapshot, content)
        except Trouble as trouble:
            message = f"Snapshot status update failed, {trouble}"
            raise Failed("SnapshotStatusUpdateFailed", message, is_unready=False) from trouble
        before, path = status_of(snapshot), path_of(snapshot)
        if "creationTime" in status and "creationTime" not in before:
            message = f"Snapshot {path} was successfully created by the CSI driver."
            self._recorder.normal(SNAPSHOTS, snapshot, "SnapshotCreated", message)
        if status["readyToUse"] and not before.get("readyToUse"):
            self._recorder.normal(SNAPSHOTS, snapshot, "SnapshotReady", f"Snapshot {path} is ready to use.")
        self._edit.write_status(snapshot, status)


def _is_member(snapshot: Object) -> bool:
    """Of a group that was cut together."""
    wanted = (GROUP_SNAPSHOTS.api_version, GROUP_SNAPSHOTS.kind)
    return any((owner["apiVersion"], owner["kind"]) == wanted for owner in references(snapshot))


def _mismatch(content: str, *, is_asked_for: bool) -> str:
    if is_asked_for:
        return "VolumeSnapshotContent is dynamically provisioned while expecting a pre-provisioned one"
    return f"VolumeSnapshotContent {content} is pre-provisioned while expecting a dynamically provisioned one"
