"""What the snapshot controllers have in common: names, marks and finalizers, and which objects belong together.

As external-snapshotter v8.7.0 has them; the texts of errors are its own.
"""

from collections.abc import Callable

from sandbox.kubernetes.clock import timestamp
from sandbox.kubernetes.controllers.csi_driver import quoted
from sandbox.kubernetes.controllers.owners import key_of
from sandbox.kubernetes.controllers.retries import Again
from sandbox.kubernetes.controllers.work import Key
from sandbox.kubernetes.resources import CLAIMS, SNAPSHOTS, VOLUMES, Object, Resource
from sandbox.kubernetes.store import Store

COMMON = "snapshot-controller"
SIDECAR = "csi-snapshotter"

BOUND = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"
AS_SOURCE = "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection"
IN_GROUP = "snapshot.storage.kubernetes.io/volumesnapshot-in-group-protection"
CONTENT_BOUND = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
CLAIM_AS_SOURCE = "snapshot.storage.kubernetes.io/pvc-as-source-protection"
GROUP_BOUND = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-bound-protection"
GROUP_CONTENT_BOUND = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshotcontent-bound-protection"
"""Finalizers."""

DEFAULT_CLASS = "snapshot.storage.kubernetes.io/is-default-class"
DEFAULT_GROUP_CLASS = "groupsnapshot.storage.kubernetes.io/is-default-class"
BEING_CREATED = "snapshot.storage.kubernetes.io/volumesnapshot-being-created"
BEING_DELETED = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted"
GROUP_BEING_CREATED = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-being-created"
GROUP_BEING_DELETED = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-being-deleted"
GROUP_HANDLE = "groupsnapshot.storage.k8s.io/volumeGroupSnapshotHandle"
"""Annotations; the last one is on a group member's content and says which group's."""


class Trouble(Exception):
    """Why it cannot be done now; the text is what people read in `status.error` and in events."""


class Failed(Again):
    """It goes into the status, and is tried again."""

    def __init__(self, reason: str, message: str, *, is_unready: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        self.is_unready = is_unready
        """Whether the snapshot is said to be not ready, too."""


def status_of(obj: Object) -> Object:
    return obj.get("status") or {}


def is_ready(obj: Object) -> bool:
    return status_of(obj).get("readyToUse") is True


def finalizers(obj: Object) -> list[str]:
    return obj["metadata"].get("finalizers") or []


def annotations(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def path_of(obj: Object) -> str:
    """Namespace and name, as messages show it."""
    namespace, name = key_of(obj)
    return f"{namespace}/{name}"


def reference_to(resource: Resource, obj: Object) -> Object:
    """The full reference that a content has to its snapshot."""
    metadata = obj["metadata"]
    named = {key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion")}
    return {"apiVersion": resource.api_version, "kind": resource.kind, **named}


def refers_to(reference: Object, obj: Object) -> bool:
    """Whether a content is that very snapshot's, and not a namesake's."""
    metadata = obj["metadata"]
    return all(reference.get(key) == metadata[key] for key in ("namespace", "name", "uid"))


def key_in(reference: Object) -> Key:
    return reference.get("namespace"), str(reference.get("name"))


def binary_size(size: int) -> str:
    """Bytes as a resource.Quantity writes them in powers of two: `1Gi`, `1536Mi`, `1000`."""
    for power, unit in ((4, "Ti"), (3, "Gi"), (2, "Mi"), (1, "Ki")):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power}{unit}"
    return str(size)


def error_at(now: str, message: str) -> Object:
    return {"time": now, "message": message}


def claim_of(store: Store, snapshot: Object) -> Object:
    """The claim that is to be snapshotted. Raises Trouble."""
    name = snapshot["spec"]["source"].get("persistentVolumeClaimName")
    if not name:
        raise Trouble(f"the PVC name is not specified in snapshot {path_of(snapshot)}")
    found = store.find(CLAIMS, snapshot["metadata"]["namespace"], name)
    if found is None:
        missing = quoted(f'{CLAIMS.singular} "{name}" not found')
        raise Trouble(f"failed to retrieve PVC {name} from the lister: {missing}")
    return found


def volume_of(store: Store, claim: Object, what: str) -> Object:
    """The volume behind a claim, for `what` is to be taken of it. Raises Trouble."""
    name = claim["metadata"]["name"]
    if status_of(claim).get("phase") != "Bound":
        raise Trouble(f"the PVC {name} is not yet bound to a PV, will not attempt to take a {what}")
    volume = store.find(VOLUMES, None, claim["spec"]["volumeName"])
    if volume is None:
        missing = quoted(f'{VOLUMES.qualified} "{claim["spec"]["volumeName"]}" not found')
        raise Trouble(f"failed to retrieve PV {claim['spec']['volumeName']} from the API server: {missing}")
    named = volume["spec"].get("claimRef") or {}
    if key_in(named) != key_of(claim) or named.get("uid") not in (None, "", claim["metadata"]["uid"]):
        raise Trouble("claim in dataSource not bound or invalid")
    return volume


def is_restored(store: Store, snapshot: Object) -> bool:
    """Whether a claim waits for a volume made of this snapshot."""
    namespace, name = key_of(snapshot)
    wanted = (SNAPSHOTS.kind, SNAPSHOTS.group, name)
    rows = store.rows(CLAIMS, namespace)
    sources = (row["spec"].get("dataSource") or {} for row in rows if status_of(row).get("phase") == "Pending")
    return any((each.get("kind"), each.get("apiGroup"), each.get("name")) == wanted for each in sources)


class Editor:
    """Writes to objects of one kind on behalf of one component: finalizers, annotations, status."""

    def __init__(self, store: Store, resource: Resource, actor: str) -> None:
        self._store = store
        self._resource = resource
        self._actor = actor

    def now(self) -> str:
        return timestamp(self._store.clock.now())

    def change(self, obj: Object, mutate: Callable[[Object], None]) -> Object:
        return self._store.change(self._resource, *key_of(obj), mutate, actor=self._actor)

    def write_status(self, obj: Object, status: Object) -> Object:
        def write(found: Object) -> None:
            found["status"] = status

        return self._store.change(self._resource, *key_of(obj), write, subresource="status", actor=self._actor)

    def add_finalizer(self, obj: Object, *names: str) -> Object:
        def add(found: Object) -> None:
            known = finalizers(found)
            found["metadata"]["finalizers"] = [*known, *(name for name in names if name not in known)]

        return self.change(obj, add)

    def drop_finalizer(self, obj: Object, *names: str) -> None:
        def drop(found: Object) -> None:
            found["metadata"]["finalizers"] = [name for name in finalizers(found) if name not in names]

        self.change(obj, drop)

    def annotate(self, obj: Object, key: str) -> Object:
        def annotate(found: Object) -> None:
            found["metadata"]["annotations"] = {**annotations(found), key: "yes"}

        return self.change(obj, annotate)

    def drop_annotation(self, obj: Object, key: str) -> Object:
        def drop(found: Object) -> None:
            found["metadata"]["annotations"] = {name: text for name, text in annotations(found).items() if name != key}

        return self.change(obj, drop)
