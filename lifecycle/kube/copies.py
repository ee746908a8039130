"""Captured objects as they are made again: without what Kubernetes gave the old ones, with our marks; pure."""

from collections.abc import Callable

from lifecycle.errors import Invalid
from lifecycle.kube import read
from lifecycle.kube.answers import Json
from lifecycle.kube.parts import OWN
from lifecycle.kube.read import ACCESS_MODES, EPOCH, MADE_BY, OPERATION, REPLICAS
from lifecycle.model import Kind, Ref
from lifecycle.operation import Goal, Operation
from lifecycle.quantity import in_bytes
from lifecycle.snapshots import Clone

GIVEN = frozenset(
    {
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "managedFields",
        "ownerReferences",
        "finalizers",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    }
)
"""Metadata that is of the old object, or that its controllers add again."""

OF_THE_BINDING = (
    "pv.kubernetes.io/",
    "volume.kubernetes.io/",
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-resizer",
)
"""Annotations of a claim that tell of its binding; volume.beta.kubernetes.io/storage-class is none of them."""

SNAPSHOT_GROUP = "snapshot.storage.k8s.io"
LONG_MODES = {short: long for long, short in ACCESS_MODES.items()}

NOT_OF_A_CLAIM = ("volumeName", "dataSource", "dataSourceRef")
NOT_OF_A_SERVICE = ("clusterIP", "clusterIPs", "healthCheckNodePort")


def copy(ref: Ref, captured: Json, operation: Operation) -> Json:
    """What is sent to make it. Raises Invalid for a claim that the goal has no volume for."""
    kept = {key: value for key, value in captured.items() if key not in ("status", "metadata")}
    metadata = {key: value for key, value in read.metadata(captured).items() if key not in GIVEN}
    notes = {**_notes_left(ref, captured), **_marks(ref, operation)}
    body = {**kept, "metadata": {**metadata, "annotations": notes}}
    reshaped = _OF_KIND.get(ref.kind)
    return reshaped(ref, body, operation.goal) if reshaped else body


def cloned(clone: Clone, operation: Operation) -> Json:
    """A claim that the provisioner fills with the snapshot's data; at least of the snapshot's size.

    ``dataSource`` with the group: one of an unknown kind is dropped silently, and the claim would come empty
    (measured, kubernetes 1.36).
    """
    size = clone.capacity if in_bytes(clone.capacity) >= clone.size else str(clone.size)
    marks = {MADE_BY: operation.goal.cloned_by, OPERATION: operation.id, EPOCH: str(operation.epoch)}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": clone.claim, "labels": dict(clone.labels), "annotations": marks},
        "spec": {
            "accessModes": [LONG_MODES.get(mode, mode) for mode in clone.access_modes],
            **({"storageClassName": clone.storage_class} if clone.storage_class else {}),
            **({"volumeMode": clone.mode} if clone.mode else {}),
            "resources": {"requests": {"storage": size}},
            "dataSource": {"apiGroup": SNAPSHOT_GROUP, "kind": "VolumeSnapshot", "name": clone.snapshot},
        },
    }


def _notes_left(ref: Ref, captured: Json) -> dict[str, str]:
    """A remembered count stays; the other marks are of operations that are over."""
    dropped = (OWN, *(OF_THE_BINDING if ref.kind is Kind.CLAIM else ()))
    notes = read.annotations_of(captured)
    return {key: value for key, value in notes.items() if key == REPLICAS or not key.startswith(dropped)}


def _marks(ref: Ref, operation: Operation) -> dict[str, str]:
    """Epochs only on what a later step writes to."""
    marks = {MADE_BY: operation.goal.source, OPERATION: operation.id}
    if ref in operation.goal.counts or ref.kind is Kind.CLAIM:
        marks[EPOCH] = str(operation.epoch)
    if count := operation.goal.counts.get(ref, 0):
        marks[REPLICAS] = str(count)
    return marks


def _workload(_ref: Ref, body: Json, _goal: Goal) -> Json:
    """At zero: a StatefulSet with replicas makes empty claims of its own."""
    return {**body, "spec": {**read.spec_of(body), "replicas": 0}}


def _service(_ref: Ref, body: Json, _goal: Goal) -> Json:
    """Cluster addresses and node ports are given anew; a headless service has none and stays so."""
    spec = read.spec_of(body)
    headless = {"clusterIP": "None"} if spec.get("clusterIP") == "None" else {}
    kept = {key: value for key, value in spec.items() if key not in (*NOT_OF_A_SERVICE, "ports")}
    ports = [{key: value for key, value in port.items() if key != "nodePort"} for port in spec.get("ports") or []]
    return {**body, "spec": {**kept, **headless, **({"ports": ports} if ports else {})}}


def _claim(ref: Ref, body: Json, goal: Goal) -> Json:
    """For the very volume that it had."""
    volume = next((one for one in goal.volumes if one.claim == ref.name), None)
    if volume is None:
        raise Invalid(f"{ref} had no volume, so its StatefulSet makes it and nobody else")
    spec = {key: value for key, value in read.spec_of(body).items() if key not in NOT_OF_A_CLAIM}
    return {**body, "spec": {**spec, "volumeName": volume.name}}


_OF_KIND: dict[Kind, Callable[[Ref, Json, Goal], Json]] = {
    Kind.STATEFUL_SET: _workload,
    Kind.DEPLOYMENT: _workload,
    Kind.SERVICE: _service,
    Kind.CLAIM: _claim,
}
