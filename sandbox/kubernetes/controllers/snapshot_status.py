"""A VolumeSnapshot's status, as its content's makes it."""

from datetime import UTC, datetime

from sandbox.kubernetes.clock import timestamp
from sandbox.kubernetes.controllers.snapshotting import Trouble, binary_size, path_of, status_of
from sandbox.kubernetes.resources import GROUP_SNAPSHOT_CONTENTS, Object
from sandbox.kubernetes.store import Store


def shown(store: Store, snapshot: Object, content: Object) -> Object:
    """The new status: what was known stays; an error comes and goes with the content's. Raises Trouble."""
    told, status = status_of(content), dict(status_of(snapshot))
    status.setdefault("boundVolumeSnapshotContentName", content["metadata"]["name"])
    if "creationTime" in told:
        moment = datetime.fromtimestamp(told["creationTime"] / 1e9, UTC)
        status.setdefault("creationTime", timestamp(moment))
    if "restoreSize" in told:
        status.setdefault("restoreSize", binary_size(told["restoreSize"]))
    status["readyToUse"] = bool(told.get("readyToUse"))
    status.pop("error", None)
    if told.get("error"):
        status["error"] = dict(told["error"])
    if group := _group(store, snapshot, told.get("volumeGroupSnapshotHandle")):
        status.setdefault("volumeGroupSnapshotName", group)
    return status


def _group(store: Store, snapshot: Object, handle: str | None) -> str:
    """The name of the group that it was cut with: without the group's content nobody knows it. Raises Trouble."""
    if not handle:
        return ""
    for content in store.rows(GROUP_SNAPSHOT_CONTENTS):
        if status_of(content).get("volumeGroupSnapshotHandle") == handle:
            return str(content["spec"]["volumeGroupSnapshotRef"]["name"])
    raise Trouble(
        f"updateSnapshotStatus: cannot find the group snapshot for VolumeSnapshot [{path_of(snapshot)}], "
        "will not update snapshot status"
    )
