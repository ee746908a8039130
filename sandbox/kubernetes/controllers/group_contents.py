"""VolumeGroupSnapshotContents: cut and deleted as a whole, as the sidecar `csi-snapshotter` does it."""

from sandbox.kubernetes.clock import timestamp
from sandbox.kubernetes.controllers import storage_faults
from sandbox.kubernetes.controllers.csi_driver import CUTTING, DELETING, PATIENCE, Driver, Refusal, Snapshot, quoted
from sandbox.kubernetes.controllers.owners import is_terminating, key_of
from sandbox.kubernetes.controllers.recorder import Recorder
from sandbox.kubernetes.controllers.retries import Again, Retries
from sandbox.kubernetes.controllers.snapshot_contents import Waits, matters
from sandbox.kubernetes.controllers.snapshotting import (
    GROUP_BEING_CREATED,
    GROUP_BEING_DELETED,
    GROUP_CONTENT_BOUND,
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
from sandbox.kubernetes.resources import CLAIMS, GROUP_SNAPSHOT_CLASSES, GROUP_SNAPSHOT_CONTENTS, Object
from sandbox.kubernetes.store import Event, Store

CREATION = ("GroupSnapshotCreationFailed", "Failed to create group snapshot")
CHECK = ("GroupSnapshotContentCheckandUpdateFailed", "Failed to check and update group snapshot content")


class GroupContents:
    """One volume that cannot be cut keeps the whole group from being cut."""

    def __init__(self, store: Store, driver: Driver, work: Work) -> None:
        self._store = store
        self._driver = driver
        self._work = work
        self._retries = Retries()
        self._edit = Editor(store, GROUP_SNAPSHOT_CONTENTS, SIDECAR)

    def concerned(self, event: Event) -> list[Key]:
        if event.resource is GROUP_SNAPSHOT_CONTENTS:
            return [key_of(event.object)] if matters(event, GROUP_BEING_CREATED) else []
        if event.resource is CLAIMS and event.previous and storage_faults.differ(event.object, event.previous):
            rows = self._store.rows(GROUP_SNAPSHOT_CONTENTS)
            return [key_of(row) for row in rows if not is_ready(row)]
        return []

    def reconcile(self, key: Key) -> None:
        content = self._store.find(GROUP_SNAPSHOT_CONTENTS, *key)
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

    def _sync(self, content: Object) -> None:
        if _is_doomed(content):
            self._end(content)
        elif is_ready(content):
            self._edit.drop_annotation(content, GROUP_BEING_CREATED)
        else:
            self._try(content)

    def _try(self, content: Object) -> None:
        """Cut them, or look at those that are cut. Raises Again unless all are ready."""
        is_first = "volumeHandles" in content["spec"]["source"] and not content.get("status")
        try:
            name, snapshots = self._found(content) or self._created(content)
        except Trouble as trouble:
            self._fail(content, *(CREATION if is_first else CHECK), trouble)
            raise Again(str(trouble)) from trouble
        ready = all(self._driver.is_ready(snapshot) for snapshot in snapshots)
        self._write(content, name, snapshots, ready)
        if not ready:
            raise Again("they are not ready yet")

    def _found(self, content: Object) -> tuple[str, list[Snapshot]] | None:
        """GetVolumeGroupSnapshot, for handles that somebody else has cut."""
        handles = content["spec"]["source"].get("groupSnapshotHandles")
        if not handles:
            return None
        name = str(handles["volumeGroupSnapshotHandle"])
        snapshots = [self._driver.find(handle) for handle in handles["volumeSnapshotHandles"]]
        if not all(snapshots):
            why = quoted(Refusal("NotFound", f"group snapshot {name} does not exist"))
            message = f"failed to list group snapshot for group snapshot content {content['metadata']['name']}"
            raise Trouble(f"{message}: {why}")
        return name, [snapshot for snapshot in snapshots if snapshot]

    def _created(self, content: Object) -> tuple[str, list[Snapshot]]:
        spec, chosen = content["spec"], content["spec"].get("volumeGroupSnapshotClassName")
        if chosen and self._store.find(GROUP_SNAPSHOT_CLASSES, None, chosen) is None:
            missing = f'{GROUP_SNAPSHOT_CLASSES.singular}.{GROUP_SNAPSHOT_CLASSES.group} "{chosen}" not found'
            what = f"create group snapshot for group snapshot content {content['metadata']['name']}"
            raise Trouble(f"failed to get input parameters to {what}: {quoted(missing)}")
        self._edit.annotate(content, GROUP_BEING_CREATED)
        volumes = list(spec["source"]["volumeHandles"])
        hangs = any(StorageFault.SNAPSHOT_HANGS in self._driver.faults(volume) for volume in volumes)
        self._wait(content, PATIENCE if hangs else CUTTING)
        name = f"groupsnapshot-{spec['volumeGroupSnapshotRef'].get('uid')}"
        try:
            return name, self._driver.cut_all(name, spec["driver"], volumes)
        except Refusal as refusal:
            if refusal.is_final:
                self._edit.drop_annotation(content, GROUP_BEING_CREATED)
            why = quoted(refusal)
            raise Trouble(f"failed to take group snapshot of the volumes [{' '.join(volumes)}]: {why}") from refusal

    def _wait(self, content: Object, seconds: float) -> None:
        if not self._work.has_waited(self, key_of(content), content["metadata"]["uid"], seconds):
            raise Waits

    def _write(self, content: Object, name: str, snapshots: list[Snapshot], ready: bool) -> None:
        status = dict(status_of(content))
        status.setdefault("volumeGroupSnapshotHandle", name)
        status.setdefault("creationTime", timestamp(min(each.created for each in snapshots)))
        if "volumeHandles" in content["spec"]["source"]:
            status.setdefault("volumeSnapshotInfoList", [self._info(each) for each in snapshots])
        status["readyToUse"] = ready
        if ready:
            status.pop("error", None)
        self._edit.write_status(content, status)
        self._edit.drop_annotation(content, GROUP_BEING_CREATED)

    def _info(self, snapshot: Snapshot) -> Object:
        return {
            "volumeHandle": snapshot.volume,
            "snapshotHandle": snapshot.handle,
            "creationTime": snapshot.created_ns,
            "readyToUse": self._driver.is_ready(snapshot),
            "restoreSize": snapshot.size,
        }

    def _fail(self, content: Object, reason: str, prefix: str, trouble: Trouble) -> None:
        message, status = f"{prefix}: {trouble}", status_of(content)
        if (status.get("error") or {}).get("message") == message:
            return
        self._edit.write_status(content, {**status, "readyToUse": False, "error": error_at(self._edit.now(), message)})
        self._recorder(content).warning(GROUP_SNAPSHOT_CONTENTS, content, reason, message)

    def _end(self, content: Object) -> None:
        handle = status_of(content).get("volumeGroupSnapshotHandle")
        if content["spec"]["deletionPolicy"] == "Delete" and handle:
            self._delete(content, handle)
        if GROUP_CONTENT_BOUND in finalizers(content):
            self._edit.drop_finalizer(content, GROUP_CONTENT_BOUND)

    def _delete(self, content: Object, handle: str) -> None:
        if StorageFault.DELETION_FAILS in storage_faults.declared(content):
            self._recorder(content).warning(
                GROUP_SNAPSHOT_CONTENTS, content, "GroupSnapshotDeleteError", "Failed to delete group snapshot"
            )
            raise Again("the driver refused to delete it")
        self._wait(content, DELETING)
        self._driver.delete_all(handle)
        gone = ("volumeGroupSnapshotHandle", "readyToUse", "creationTime", "error")
        left = {key: value for key, value in status_of(content).items() if key not in gone}
        self._edit.write_status(content, left)

    def _recorder(self, content: Object) -> Recorder:
        return Recorder(self._store, f"{SIDECAR} {content['spec']['driver']}")


def _is_doomed(content: Object) -> bool:
    spec, marks = content["spec"], annotations(content)
    if not is_terminating(content):
        return False
    if spec["source"].get("groupSnapshotHandles") and not spec["volumeGroupSnapshotRef"].get("uid"):
        return True
    return GROUP_BEING_CREATED not in marks and GROUP_BEING_DELETED in marks
