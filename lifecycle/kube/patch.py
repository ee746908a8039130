"""The JSON Patch (RFC 6902) of each step: all of it or nothing, with a `test` on all that was decided upon.

A failed `test` answers 422 without causes, a stale `resourceVersion` 409 (measured on 1.36): both are Conflict.
"""

from collections.abc import Mapping
from typing import Any

from lifecycle.errors import Invalid
from lifecycle.kube.answers import Json
from lifecycle.kube.read import (
    EPOCH,
    FLUSHED,
    IS_FLUSHED,
    NOT_FLUSHED,
    OPERATION,
    REPLICAS,
    RESTARTED_BY,
    metadata,
    template_of,
    uid_of,
)
from lifecycle.model import Action, Step

Patch = list[Json]

ANNOTATIONS = "/metadata/annotations"
TEMPLATE_ANNOTATIONS = "/spec/template/metadata/annotations"


def stamp(found: Json, epoch: int) -> Patch:
    """Write the epoch on the object as it was just read, and on no later version of it."""
    return [*as_read(found, uid_of(found)), *annotate(metadata(found), ANNOTATIONS, {EPOCH: str(epoch)})]


def flushed(step: Step, epoch: int, operation: str, trouble: str) -> Patch:
    """What came of it, whoever scaled it meanwhile; ``trouble`` empty: every pod was flushed."""
    how = f"{NOT_FLUSHED}{trouble}" if trouble else IS_FLUSHED
    return [
        *_own(step, epoch),
        addition(entry(ANNOTATIONS, FLUSHED), f"{operation} {how}"),
        addition(entry(ANNOTATIONS, OPERATION), operation),
    ]


def scale_to_zero(step: Step, epoch: int, operation: str) -> Patch:
    """Take the count away and remember it, in one. Raises Invalid for a count of zero, which would be forgetting."""
    if step.action is not Action.SCALE_TO_ZERO or step.replicas < 1:
        raise Invalid(f"{step.ref} at {step.replicas} is not scaled to zero: what is remembered would be lost")
    return [
        *_guards(step, step.replicas, epoch),
        addition(entry(ANNOTATIONS, REPLICAS), str(step.replicas)),
        addition(entry(ANNOTATIONS, OPERATION), operation),
        setting("/spec/replicas", 0),
    ]


def scale_up(step: Step, epoch: int, operation: str) -> Patch:
    """From zero to the count; what is remembered stays as it is."""
    return [
        *_guards(step, 0, epoch),
        addition(entry(ANNOTATIONS, OPERATION), operation),
        setting("/spec/replicas", step.replicas),
    ]


def rollout_restart(step: Step, found: Json, epoch: int, operation: str) -> Patch:
    """Mark the pod template of the object as it was just read; an empty patch when it bears the mark already."""
    template = metadata(template_of(found))
    is_marked = (template.get("annotations") or {}).get(RESTARTED_BY) == operation
    if is_marked and uid_of(found) == step.uid:
        return []
    return [
        *_guards(step, step.replicas, epoch),
        addition(entry(ANNOTATIONS, OPERATION), operation),
        *annotate(template, TEMPLATE_ANNOTATIONS, {RESTARTED_BY: operation}),
    ]


def note(step: Step, found: Json, epoch: int, notes: Mapping[str, str]) -> Patch:
    """Annotations for the workload as it was just read, as long as no later executor has it."""
    return [
        test("/metadata/uid", step.uid),
        test(entry(ANNOTATIONS, EPOCH), str(epoch)),
        *annotate(metadata(found), ANNOTATIONS, notes),
    ]


def _guards(step: Step, replicas: int, epoch: int) -> Patch:
    return [*_own(step, epoch), test("/spec/replicas", replicas)]


def _own(step: Step, epoch: int) -> Patch:
    return [test("/metadata/uid", step.uid), test(entry(ANNOTATIONS, EPOCH), str(epoch))]


def as_read(found: Json, uid: str) -> Patch:
    """The object with this uid, in the version that was just read."""
    return [
        test("/metadata/uid", uid),
        setting("/metadata/resourceVersion", metadata(found).get("resourceVersion")),
    ]


def annotate(found: Json, path: str, notes: Mapping[str, str]) -> Patch:
    """The vendor's objects have no annotations."""
    return entries(found.get("annotations"), path, notes) if notes else []


def entries(known: Mapping[str, str] | None, path: str, added: Mapping[str, str]) -> Patch:
    """A key cannot be added to a map that is not there."""
    if known is None:
        return [test(path, None), addition(path, dict(added))]
    return [addition(entry(path, key), value) for key, value in added.items()]


def entry(path: str, key: str) -> str:
    """The path of a key that may hold slashes."""
    return f"{path}/{key.replace('~', '~0').replace('/', '~1')}"


def test(path: str, value: Any) -> Json:
    return {"op": "test", "path": path, "value": value}


def addition(path: str, value: Any) -> Json:
    return {"op": "add", "path": path, "value": value}


def setting(path: str, value: Any) -> Json:
    return {"op": "replace", "path": path, "value": value}


def removal(path: str) -> Json:
    return {"op": "remove", "path": path}
