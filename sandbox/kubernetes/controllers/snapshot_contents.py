"""VolumeSnapshotContents: cut, looked at until they are ready, and deleted, as the sidecar `csi-snapshotter` does."""

from collections.abc import Callable

from sandbox.kubernetes.controllers import storage_faults
from sandbox.kubernetes.controllers.csi_driver import CUTTING, DELETING, PATIENCE, Driver, Refusal, Snapshot, quoted
from sandbox.kubernetes.controllers.owners import is_terminating, key_of
from sandbox.kubernetes.controllers.recorder import Recorder
from sandbox.kubernetes.controllers.retries import Again, Retries
from sandbox.kubernetes.controllers.snapshotting import (
    BEING_CREATED,
    BEING_DELETED,
    CONTENT_BOUND,
    GROUP_HANDLE,
    SIDECAR,
    Editor,
    Trouble,
    annotations,
    error_at,
    finalizers,
    is_ready,
    status_of,
)
from sandbox.kubernetes.controllers.storage_faults import StorageFault
from sandbox.kubernetes.controllers.work import Key, Work
from sandbox.kubernetes.resources import (
    CLAIMS,
    SNAPSHOT_CLASSES,
    SNAPSHOT_CONTENTS,
    STORAGE_CLASSES,
    VOLUMES,
    Object,
)
from sandbox.kubernetes.store import Event, Store

RESYNC = 900.0
"""Simulated seconds."""
CREATION = ("SnapshotCreationFailed", "Failed to create snapshot")
CHECK = ("SnapshotContentCheckandUpdateFailed", "Failed to check and update snapshot content")


Taking = Callable[[Object], Snapshot]


class Waits(Exception):
    """The driver has been asked and has not answered yet; a timer is set."""


class SnapshotContents:
    """What fails is tried again for ever, ever later; the last error stays in the status until it is ready."""

    def __init__(self, store: Store, driver: Driver, work: Work) -> None:
        self._store = store
        self._driver = driver
        self._work = work
        self._retries = Retries()
        self._edit = Editor(store, SNAPSHOT_CONTENTS, SIDECAR)

    def concerned(self, event: Event) -> list[Key]:
        if event.resource is SNAPSHOT_CONTENTS:
            return self._of_content(event)
        if event.resource is CLAIMS and event.previous and storage_faults.differ(event.object, event.previous):
            return self._of_claim(event.object)
        if event.resource is STORAGE_CLASSES and event.type == "ADDED":
            return [key_of(row) for row in self._store.rows(SNAPSHOT_CONTENTS)]
        return []

    def reconcile(self, key: Key) -> None:
        content = self._store.find(SNAPSHOT_CONTENTS, *key)
        if content is None or not self._driver.runs(content["spec"]["driver"]):
            self._retries.forget(key)
            return
        try:
            self._sync(content)
        except Waits:
            return
        except Again:
            self._work.again(self, key, self._retries.after(key))
        else:
            self._retries.forget(key)

    def _of_content(self, event: Event) -> list[Key]:
        """A change that does not matter is looked at with the next resync, if nobody does before."""
        key = key_of(event.object)
        if matters(event, BEING_CREATED):
            return [key]
        if event.type != "DELETED" and not is_ready(event.object):
            self._work.at_the_latest(self, key, RESYNC)
        return []

    def _of_claim(self, claim: Object) -> list[Key]:
        volume = self._store.find(VOLUMES, None, claim["spec"].get("volumeName") or "")
        handle = ((volume or {}).get("spec", {}).get("csi") or {}).get("volumeHandle")
        rows = self._store.rows(SNAPSHOT_CONTENTS)
        return [key_of(row) for row in rows if handle and row["spec"]["source"].get("volumeHandle") == handle]

    def _sync(self, content: Object) -> None:
        if _is_doomed(content):
            self._end(content)
        elif is_ready(content):
            self._edit.drop_annotation(content, BEING_CREATED)
        elif _is_known(content):
            self._try(content, self._found)
        elif GROUP_HANDLE in annotations(content):
            raise Again("the group's controller has not said yet which snapshot it is")
        else:
            self._try(content, self._created)

    def _try(self, content: Object, taken: Taking) -> None:
        """Get the snapshot and write it down. Raises Again unless it is ready."""
        is_first = "volumeHandle" in content["spec"]["source"] and not content.get("status")
        try:
            snapshot = taken(content)
        except Trouble as trouble:
            self._fail(content, *(CREATION if is_first else CHECK), trouble)
            raise Again(str(trouble)) from trouble
        ready = self._driver.is_ready(snapshot)
        self._write(content, snapshot, ready)
        if not ready:
            raise Again("it is not ready yet")

    def _created(self, content: Object) -> Snapshot:
        """CreateSnapshot, which takes its time; the mark says that nobody knows yet whether there is a snapshot."""
        name, spec = content["metadata"]["name"], content["spec"]
        self._check_class(spec, f"failed to get input parameters to create snapshot for content {name}: ")
        self._edit.annotate(content, BEING_CREATED)
        volume = str(spec["source"]["volumeHandle"])
        hangs = StorageFault.SNAPSHOT_HANGS in self._driver.faults(volume)
        if "snapshotHandle" not in status_of(content):
            self._wait(content, PATIENCE if hangs else CUTTING)
        try:
            snapshot = self._driver.cut(f"snapshot-{spec['volumeSnapshotRef'].get('uid')}", spec["driver"], volume)
        except Refusal as refusal:
            if refusal.is_final:
                self._edit.drop_annotation(content, BEING_CREATED)
            raise Trouble(f"failed to take snapshot of the volume {volume}: {quoted(refusal)}") from refusal
        return snapshot

    def _check_class(self, spec: Object, prefix: str) -> None:
        name = spec.get("volumeSnapshotClassName")
        if name and self._store.find(SNAPSHOT_CLASSES, None, name) is None:
            raise Trouble(prefix + quoted(f'{SNAPSHOT_CLASSES.singular}.{SNAPSHOT_CLASSES.group} "{name}" not found'))

    def _found(self, content: Object) -> Snapshot:
        """ListSnapshots, for a handle that somebody else has cut."""
        handle = str(status_of(content).get("snapshotHandle") or content["spec"]["source"]["snapshotHandle"])
        snapshot = self._driver.find(handle)
        if snapshot is None:
            missing = quoted(f"can not find snapshot for snapshotID {handle}")
            raise Trouble(f"failed to list snapshot for content {content['metadata']['name']}: {missing}")
        return snapshot

    def _wait(self, content: Object, seconds: float) -> None:
        """Raises Waits until so much time has passed since the first call for this content."""
        if not self._work.has_waited(self, key_of(content), content["metadata"]["uid"], seconds):
            raise Waits

    def _write(self, content: Object, snapshot: Snapshot, ready: bool) -> None:
        status = dict(status_of(content))
        status.setdefault("snapshotHandle", snapshot.handle)
        status.setdefault("creationTime", snapshot.created_ns)
        status.setdefault("restoreSize", snapshot.size)
        if snapshot.group and _is_known(content):
            status.setdefault("volumeGroupSnapshotHandle", snapshot.group)
        status["readyToUse"] = ready
        if ready:
            status.pop("error", None)
        self._edit.write_status(content, status)
        self._edit.drop_annotation(content, BEING_CREATED)

    def _fail(self, content: Object, reason: str, prefix: str, trouble: Trouble) -> None:
        message = f"{prefix}: {trouble}"
        status = status_of(content)
        if (status.get("error") or {}).get("message") == message:
            return
        self._edit.write_status(content, {**status, "readyToUse": False, "error": error_at(self._edit.now(), message)})
        self._recorder(content).warning(SNAPSHOT_CONTENTS, content, reason, message)

    def _end(self, content: Object) -> None:
        """Delete the snapshot if the policy says so, and let the object go; a group's members go with their group."""
        status = status_of(content)
        handle = status.get("snapshotHandle")
        if content["spec"]["deletionPolicy"] == "Delete" and handle and not status.get("volumeGroupSnapshotHandle"):
            self._delete(content, handle)
        if CONTENT_BOUND in finalizers(content):
            self._edit.drop_finalizer(content, CONTENT_BOUND)

    def _delete(self, content: Object, handle: str) -> None:
        if StorageFault.DELETION_FAILS in storage_faults.declared(content):
            self._recorder(content).warning(
                SNAPSHOT_CONTENTS, content, "SnapshotDeleteError", "Failed to delete snapshot"
            )
            raise Again("the driver refused to delete it")
        self._wait(content, DELETING)
        self._driver.delete(handle)
        gone = ("snapshotHandle", "readyToUse", "creationTime", "restoreSize")
        left = {key: value for key, value in status_of(content).items() if key not in gone}
        self._edit.write_status(content, left)

    def _recorder(self, content: Object) -> Recorder:
        return Recorder(self._store, f"{SIDECAR} {content['spec']['driver']}")


def matters(event: Event, own_mark: str) -> bool:
    """Whether a change of a content gives the sidecar a reason to look: what it writes itself does not.

    A snapshot that has become ready does, for it may have been deleted in the meantime.
    """
    if event.type == "DELETED":
        return False
    if event.previous is None or (is_ready(event.object) and not is_ready(event.previous)):
        return True
    return _without_own(event.object, own_mark) != _without_own(event.previous, own_mark)


def _without_own(content: Object, own_mark: str) -> Object:
    metadata = {**content["metadata"], "annotations": {**annotations(content)}}
    metadata["annotations"].pop(own_mark, None)
    for key in ("resourceVersion", "finalizers"):
        metadata.pop(key, None)
    return {**content, "metadata": metadata, "status": None}


def _is_doomed(content: Object) -> bool:
    """Whether it is to go now: never while a cut may go on, nor before its snapshot is known to be deleted."""
    spec, marks = content["spec"], annotations(content)
    if not is_terminating(content):
        return False
    if spec["source"].get("snapshotHandle") and not spec["volumeSnapshotRef"].get("uid"):
        return True
    return BEING_CREATED not in marks and BEING_DELETED in marks


def _is_known(content: Object) -> bool:
    """Whether its handle is known without cutting."""
    status = status_of(content)
    of_group = bool(status.get("volumeGroupSnapshotHandle") and status.get("snapshotHandle"))
    return of_group or bool(content["spec"]["source"].get("snapshotHandle"))
