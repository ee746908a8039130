"""VolumeSnapshots, their contents and classes as values, and the two writes that make a set: cut, and keep.

A snapshot's content is believed only where each names the other: anybody may write a name into a status.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from lifecycle.errors import Conflict, Invalid
from lifecycle.kube import read
from lifecycle.kube.answers import Json
from lifecycle.kube.patch import Patch, as_read, setting
from lifecycle.kube.read import EPOCH, MADE_BY, OPERATION
from lifecycle.model import Step
from lifecycle.operation import Operation
from lifecycle.quantity import in_bytes
from lifecycle.snapshots import SINGLE_CLASS, Clone, Member, name_of
from lifecycle.volumes import GroupSnapshot, Snapshot, SnapshotClass, Volume

GROUP = "snapshot.storage.k8s.io"
API = f"{GROUP}/v1"
SET = "tml-bot/set"
"""Label of a VolumeSnapshot: the operation whose set it is of."""
POLICY = "/spec/deletionPolicy"


@dataclass(frozen=True)
class Fields:
    """What the fields are called by which a snapshot and its content name each other, and what the driver knows."""

    bound: str
    named: str
    handle: str


SINGLE = Fields("boundVolumeSnapshotContentName", "volumeSnapshotRef", "snapshotHandle")
TOGETHER = Fields("boundVolumeGroupSnapshotContentName", "volumeGroupSnapshotRef", "volumeGroupSnapshotHandle")
"""Of a VolumeSnapshot, and of a VolumeGroupSnapshot."""


def snapshot_class(found: Json, kind: tuple[str, str] = SINGLE_CLASS) -> SnapshotClass:
    _, is_default = kind
    return SnapshotClass(
        name=read.name_of(found),
        driver=str(found.get("driver", "")),
        policy=str(found.get("deletionPolicy", "")),
        is_default=read.annotations_of(found).get(is_default) == "true",
    )


def by_name(contents: Iterable[Json]) -> dict[str, Json]:
    return {read.name_of(one): one for one in contents}


def snapshot(found: Json, contents: Mapping[str, Json], groups: Iterable[GroupSnapshot] = ()) -> Snapshot:
    """With what is known of its content, where that is among ``contents`` and names it, and of its group."""
    status = read.status_of(found)
    source = read.spec_of(found).get("source") or {}
    seen = Snapshot(
        name=read.name_of(found),
        uid=read.uid_of(found),
        claim=str(source.get("persistentVolumeClaimName", "")),
        made_by=read.made_by(found),
        cut_at=moment(status.get("creationTime")),
        is_ready=status.get("readyToUse") is True and not read.is_deleting(found),
        size=in_bytes(str(status.get("restoreSize", ""))),
        error=str((status.get("error") or {}).get("message", "")),
        deleting=read.is_deleting(found),
    )
    whole = seen_with(seen, found, contents, SINGLE)
    group = _group_of(found, contents.get(whole.content), groups)
    return replace(whole, group=group.name, made_by=group.made_by) if group else whole


def _group_of(found: Json, content: Json | None, groups: Iterable[GroupSnapshot]) -> GroupSnapshot | None:
    """By its owner, and by what its content says: anybody may name an owner."""
    handle = read.status_of(content or {}).get(TOGETHER.handle)
    owners = read.owners_of(found)
    return next((one for one in groups if one.uid in owners and handle and handle == one.handle), None)


Seen = TypeVar("Seen", bound=Snapshot)


def seen_with(seen: Seen, found: Json, contents: Mapping[str, Json], fields: Fields) -> Seen:
    """With its content, where that is among these and names it."""
    content = contents.get(str(read.status_of(found).get(fields.bound, "")))
    if content is None or not names(content, found, fields):
        return seen
    spec, status = read.spec_of(content), read.status_of(content)
    return replace(
        seen,
        is_ready=seen.is_ready and not read.is_deleting(content),
        content=read.name_of(content),
        policy=str(spec.get("deletionPolicy", "")),
        handle=str(status.get(fields.handle, "")),
        driver=str(spec.get("driver", "")),
        mode=str(spec.get("sourceVolumeMode", "")),
        error=seen.error or str((status.get("error") or {}).get("message", "")),
    )


def names(content: Json, snapshot: Json, fields: Fields = SINGLE) -> bool:
    """Whether the content is of this very snapshot."""
    named: Mapping[str, Any] = read.spec_of(content).get(fields.named) or {}
    metadata = read.metadata(snapshot)
    return all(named.get(key) == metadata.get(key) for key in ("namespace", "name", "uid"))


def moment(written: Any) -> datetime | None:
    return datetime.fromisoformat(str(written)).astimezone(UTC) if written else None


def body(member: Member, operation: Operation) -> Json:
    """The VolumeSnapshot that is sent for a member."""
    return {
        "apiVersion": API,
        "kind": "VolumeSnapshot",
        "metadata": _marked(name_of(operation.id, member.claim), operation.id, operation),
        "spec": {
            "volumeSnapshotClassName": member.snapshot_class,
            "source": {"persistentVolumeClaimName": member.claim},
        },
    }


def content_again(one: Clone, name: str, operation: Operation, namespace: str) -> Json:
    """A content for the recorded data, for the snapshot of the recorded name, which it outlives."""
    return {
        "apiVersion": API,
        "kind": "VolumeSnapshotContent",
        "metadata": _marked(name, operation.goal.chosen, operation),
        "spec": {
            "deletionPolicy": Volume.RETAIN,
            "driver": one.driver,
            "source": {"snapshotHandle": one.handle},
            **({"sourceVolumeMode": one.mode} if one.mode else {}),
            "volumeSnapshotRef": {
                "apiVersion": API,
                "kind": "VolumeSnapshot",
                "namespace": namespace,
                "name": one.snapshot,
            },
        },
    }


def again(one: Clone, content: str, operation: Operation) -> Json:
    """The VolumeSnapshot for it."""
    return {
        "apiVersion": API,
        "kind": "VolumeSnapshot",
        "metadata": _marked(one.snapshot, operation.goal.chosen, operation),
        "spec": {"source": {"volumeSnapshotContentName": content}},
    }


def _marked(name: str, made_by: str, operation: Operation) -> Json:
    """``made_by`` is the operation of the set that it is of."""
    notes = {MADE_BY: made_by, OPERATION: operation.id, EPOCH: str(operation.epoch)}
    return {"name": name, "labels": {SET: made_by}, "annotations": notes}


def require_ours(found: Json, member: Member, operation: Operation) -> None:
    """Raises Invalid where the name is taken by what this operation did not make."""
    source = read.spec_of(found).get("source") or {}
    if read.made_by(found) != operation.id or source.get("persistentVolumeClaimName") != member.claim:
        raise Invalid(f"volumesnapshot/{read.name_of(found)} is there already, and was made by somebody else")


def bound_content(found: Json, fields: Fields = SINGLE) -> str:
    """Raises Conflict where the snapshot has none yet."""
    content = read.status_of(found).get(fields.bound)
    if not content:
        raise Conflict(f"{read.name_of(found)} has no content yet")
    return str(content)


def retain(step: Step, content: Json, snapshot: Json, fields: Fields = SINGLE) -> Patch:
    """An empty patch where it is so; raises Conflict where the content is another snapshot's."""
    if not names(content, snapshot, fields):
        raise Conflict(f"content {read.name_of(content)} is not of the snapshot of {step.ref}")
    if read.spec_of(content).get("deletionPolicy") == Volume.RETAIN:
        return []
    return [*as_read(content, read.uid_of(content)), setting(POLICY, Volume.RETAIN)]
