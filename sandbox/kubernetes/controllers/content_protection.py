"""What the common `snapshot-controller` does with a VolumeSnapshotContent itself: hold it, and tell it of the end."""

from sandbox.kubernetes.controllers.owners import is_terminating, key_of
from sandbox.kubernetes.controllers.snapshotting import (
    AS_SOURCE,
    BEING_DELETED,
    BOUND,
    COMMON,
    CONTENT_BOUND,
    Editor,
    finalizers,
    key_in,
    refers_to,
)
from sandbox.kubernetes.controllers.work import Key
from sandbox.kubernetes.resources import SNAPSHOT_CONTENTS, SNAPSHOTS
from sandbox.kubernetes.store import Event, Store


class ContentProtection:
    """A content without a snapshot's uid is held by nothing: it is one that waits to be bound."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._edit = Editor(store, SNAPSHOT_CONTENTS, COMMON)

    def concerned(self, event: Event) -> list[Key]:
        return [key_of(event.object)] if event.resource is SNAPSHOT_CONTENTS and event.type != "DELETED" else []

    def reconcile(self, key: Key) -> None:
        content = self._store.find(SNAPSHOT_CONTENTS, *key)
        if content is None:
            return
        reference = content["spec"]["volumeSnapshotRef"]
        if not reference.get("uid"):
            return
        if not is_terminating(content) and CONTENT_BOUND not in finalizers(content):
            self._edit.add_finalizer(content, CONTENT_BOUND)
            return
        snapshot = self._store.find(SNAPSHOTS, *key_in(reference))
        if snapshot is None or not refers_to(reference, snapshot) or not is_terminating(snapshot):
            return
        if {AS_SOURCE, BOUND} & set(finalizers(snapshot)):
            self._edit.annotate(content, BEING_DELETED)
