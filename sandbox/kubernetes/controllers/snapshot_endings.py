"""A VolumeSnapshot's end: what has to go or be told before it, and what it holds no longer."""

from sandbox.kubernetes.controllers.recorder import Recorder
from sandbox.kubernetes.controllers.retries import Again
from sandbox.kubernetes.controllers.snapshotting import (
    AS_SOURCE,
    BEING_DELETED,
    BOUND,
    CLAIM_AS_SOURCE,
    COMMON,
    IN_GROUP,
    Editor,
    finalizers,
    is_ready,
    is_restored,
    path_of,
    refers_to,
    status_of,
)
from sandbox.kubernetes.resources import CLAIMS, GROUP_SNAPSHOTS, SNAPSHOT_CONTENTS, SNAPSHOTS, Object
from sandbox.kubernetes.store import Store


class Endings:
    """A content is told in any case, and deleted with its snapshot if its policy is Delete."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._recorder = Recorder(store, COMMON)

    def end(self, snapshot: Object) -> None:
        """Do what can be done now. Raises Again."""
        if not {AS_SOURCE, BOUND} & set(finalizers(snapshot)):
            return
        content = self._content(snapshot)
        if content is not None and is_restored(self._store, snapshot):
            message = "Snapshot is being used to restore a PVC"
            self._recorder.warning(SNAPSHOTS, snapshot, "SnapshotDeletePending", message)
            raise Again(message)
        held = [AS_SOURCE, *self._of_group(snapshot)]
        if content is not None:
            Editor(self._store, SNAPSHOT_CONTENTS, COMMON).annotate(content, BEING_DELETED)
        if content is not None and content["spec"]["deletionPolicy"] == "Delete":
            # the other finalizer goes with the content
            self._store.delete(SNAPSHOT_CONTENTS, None, content["metadata"]["name"], actor=COMMON)
        else:
            held.append(BOUND)
        self.free_claim(snapshot, but=snapshot["metadata"]["name"])
        Editor(self._store, SNAPSHOTS, COMMON).drop_finalizer(snapshot, *held)

    def free_claim(self, snapshot: Object, *, but: str = "") -> None:
        """Let its claim go unless a snapshot of it is not ready yet; `but` is one that does not count."""
        namespace, name = snapshot["metadata"]["namespace"], _claim_name(snapshot)
        claim = self._store.find(CLAIMS, namespace, name) if name else None
        if claim is None or CLAIM_AS_SOURCE not in finalizers(claim):
            return
        others = (row for row in self._store.rows(SNAPSHOTS, namespace) if row["metadata"]["name"] != but)
        if not any(_claim_name(row) == name and not is_ready(row) for row in others):
            Editor(self._store, CLAIMS, COMMON).drop_finalizer(claim, CLAIM_AS_SOURCE)

    def _content(self, snapshot: Object) -> Object | None:
        """The content that it is bound to, if that one agrees."""
        name = status_of(snapshot).get("boundVolumeSnapshotContentName")
        if not name and _claim_name(snapshot):
            name = f"snapcontent-{snapshot['metadata']['uid']}"
        content = self._store.find(SNAPSHOT_CONTENTS, None, name) if name else None
        return content if content and refers_to(content["spec"]["volumeSnapshotRef"], snapshot) else None

    def _of_group(self, snapshot: Object) -> list[str]:
        """A member goes with its group, and not before. Raises Again."""
        group = status_of(snapshot).get("volumeGroupSnapshotName")
        if not group:
            return []
        namespace, path = snapshot["metadata"]["namespace"], path_of(snapshot)
        if self._store.find(GROUP_SNAPSHOTS, namespace, group) is None:
            return [IN_GROUP]
        message = (
            f"deletion of the individual volume snapshot {path} is not allowed as it belongs to group snapshot "
            f"{namespace}/{group}. Deleting the group snapshot will trigger the deletion of all the individual "
            "volume snapshots that are part of the group."
        )
        self._recorder.warning(SNAPSHOTS, snapshot, "SnapshotDeletePending", message)
        raise Again(message)


def _claim_name(snapshot: Object) -> str | None:
    name: str | None = snapshot["spec"]["source"].get("persistentVolumeClaimName")
    return name
