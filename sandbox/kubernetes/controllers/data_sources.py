"""What a claim's volume is to be made of: a snapshot, another claim's volume, or nothing.

As external-provisioner v6.4.0 asks it; the texts are its own.
"""

from sandbox.kubernetes.controllers.owners import is_terminating
from sandbox.kubernetes.controllers.snapshotting import Trouble, is_ready, refers_to, status_of
from sandbox.kubernetes.resources import CLAIMS, SNAPSHOT_CONTENTS, SNAPSHOTS, VOLUMES, Object
from sandbox.kubernetes.store import Store
from sandbox.kubernetes.validation import quantity

Source = tuple[str, str]
"""("snapshot", its handle) or ("volume", its handle)."""
_UNBOUND = "claim in dataSource not bound or invalid"


class Foreign(Exception):
    """A source of a kind that somebody else makes volumes of; the provisioner leaves the claim alone."""


def source_of(store: Store, claim: Object, storage_class: Object) -> Source | None:
    """None: an empty volume. Raises Trouble with what keeps it from being made now, Foreign."""
    given = claim["spec"].get("dataSource") or claim["spec"].get("dataSourceRef")
    if not given:
        return None
    kind, group, name = given["kind"], given.get("apiGroup") or "", given["name"]
    try:
        if kind == SNAPSHOTS.kind:
            if group != SNAPSHOTS.group:
                why = f"the PVC source does not belong to the right APIGroup. Expected {SNAPSHOTS.group}, Got {group}"
                raise Trouble(why)
            return "snapshot", _snapshot(store, claim, storage_class, name)
        if kind == CLAIMS.kind:
            return "volume", _volume(store, claim, storage_class, name)
    except Trouble as trouble:
        raise Trouble(f"error getting handle for DataSource Type {kind} by Name {name}: {trouble}") from trouble
    raise Foreign(kind)


def _snapshot(store: Store, claim: Object, storage_class: Object, name: str) -> str:
    snapshot = store.find(SNAPSHOTS, claim["metadata"]["namespace"], name)
    if snapshot is None:
        raise Trouble(f'error getting snapshot {name} from api server: {SNAPSHOTS.qualified} "{name}" not found')
    if is_terminating(snapshot):
        raise Trouble(f"snapshot {name} is being deleted")
    bound = status_of(snapshot).get("boundVolumeSnapshotContentName")
    if not bound:
        raise Trouble(f"snapshot {name} not bound")
    content = store.find(SNAPSHOT_CONTENTS, None, bound)
    if content is None:
        raise Trouble(f"error getting snapshotcontent {bound} for snapshot {name}")
    _check_content(snapshot, content, storage_class)
    if not is_ready(snapshot):
        raise Trouble(f"snapshot {name} is not Ready")
    handle = status_of(content).get("snapshotHandle")
    if not handle:
        raise Trouble(f"snapshot handle {name} is not available")
    _check_size(snapshot, claim)
    return str(handle)


def _check_content(snapshot: Object, content: Object, storage_class: Object) -> None:
    bound, name = content["metadata"]["name"], snapshot["metadata"]["name"]
    if not refers_to(content["spec"]["volumeSnapshotRef"], snapshot):
        raise Trouble(f"snapshotcontent {bound} for snapshot {name} is bound to a different snapshot")
    if content["spec"]["driver"] != storage_class["provisioner"]:
        of_class = storage_class["metadata"]["name"]
        why = f"snapshotcontent {bound} for snapshot {name} is not handled by CSI driver of StorageClass {of_class}"
        raise Trouble(why)


def _check_size(snapshot: Object, claim: Object) -> None:
    least = status_of(snapshot).get("restoreSize")
    wanted, least = _bytes(claim), int(quantity(least)) if least else 0
    if wanted < least:
        name = snapshot["metadata"]["name"]
        raise Trouble(f"requested volume size {wanted} is less than the size {least} for the source snapshot {name}")


def _volume(store: Store, claim: Object, storage_class: Object, name: str) -> str:
    namespace = claim["metadata"]["namespace"]
    source = store.find(CLAIMS, namespace, name)
    if source is None:
        missing = f'{CLAIMS.singular} "{name}" not found'
        raise Trouble(f'error getting PVC {name} (namespace "{namespace}") from api server: {missing}')
    phase = status_of(source).get("phase")
    if phase != "Bound":
        shown = f"{{{phase} [] map[] [] map[] map[] <nil> nil nil}}"
        raise Trouble(f"the PVC DataSource {name} must have a status of Bound.  Got {shown}")
    if is_terminating(source):
        raise Trouble(f"the PVC DataSource {name} is currently being deleted")
    wanted, least = _bytes(claim), _bytes(source)
    if wanted < least:
        raise Trouble(
            "error, new PVC request must be greater than or equal in size to the specified PVC data source, "
            f"requested {wanted} but source is {least}"
        )
    return _handle(store.find(VOLUMES, None, source["spec"]["volumeName"]), source, storage_class)


def _handle(volume: Object | None, source: Object, storage_class: Object) -> str:
    spec = (volume or {}).get("spec", {})
    csi, named = spec.get("csi") or {}, spec.get("claimRef") or {}
    is_its = refers_to(named, source) and status_of(volume or {}).get("phase") == "Bound"
    if csi.get("driver") != storage_class["provisioner"] or not is_its:
        raise Trouble(_UNBOUND)
    return str(csi["volumeHandle"])


def _bytes(claim: Object) -> int:
    return int(quantity(claim["spec"]["resources"]["requests"]["storage"]))
