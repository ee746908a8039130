"""The JSON Patch (RFC 6902) of each step: all of it or nothing, with a `test` on all that was decided upon.

A failed `test` answers 422 without causes, a stale `resourceVersion` 409 (measured on 1.36): both are Conflict.
"""

from typing import Any

from lifecycle.errors import Invalid
from lifecycle.kube.answers import Json
from lifecycle.kube.read import EPOCH, OPERATION, REPLICAS, RESTARTED_BY, metadata, template_of
from lifecycle.model import Action, Step

Patch = list[Json]

ANNOTATIONS = "/metadata/annotations"
TEMPLATE_ANNOTATIONS = "/spec/template/metadata/annotations"


def stamp(found: Json, uid: str, epoch: int) -> Patch:
    """Write the epoch on the object as it was just read, and on no later version of it."""
    return [
        _test("/metadata/uid", uid),
        _set("/metadata/resourceVersion", metadata(found).get("resourceVersion")),
        *_annotate(metadata(found), ANNOTATIONS, EPOCH, str(epoch)),
    ]


def scale_to_zero(step: Step, uid: str, epoch: int, operation: str) -> Patch:
    """Take the count away and remember it, in one. Raises Invalid for a count of zero, which would be forgetting."""
    if step.action is not Action.SCALE_TO_ZERO or step.replicas < 1:
        raise Invalid(f"{step.workload} at {step.replicas} is not scaled to zero: what is remembered would be lost")
    return [
        *_guards(step.replicas, uid, epoch),
        _add(_annotation(ANNOTATIONS, REPLICAS), str(step.replicas)),
        _add(_annotation(ANNOTATIONS, OPERATION), operation),
        _set("/spec/replicas", 0),
    ]


def scale_up(step: Step, uid: str, epoch: int, operation: str) -> Patch:
    """From zero to the count; what is remembered stays as it is."""
    return [
        *_guards(0, uid, epoch),
        _add(_annotation(ANNOTATIONS, OPERATION), operation),
        _set("/spec/replicas", step.replicas),
    ]


def rollout_restart(step: Step, found: Json, uid: str, epoch: int, operation: str) -> Patch:
    """Mark the pod template of the object as it was just read; an empty patch when it bears the mark already."""
    template = metadata(template_of(found))
    is_marked = (template.get("annotations") or {}).get(RESTARTED_BY) == operation
    if is_marked and metadata(found).get("uid") == uid:
        return []
    return [
        *_guards(step.replicas, uid, epoch),
        _add(_annotation(ANNOTATIONS, OPERATION), operation),
        *_annotate(template, TEMPLATE_ANNOTATIONS, RESTARTED_BY, operation),
    ]


def _guards(replicas: int, uid: str, epoch: int) -> Patch:
    return [
        _test("/metadata/uid", uid),
        _test(_annotation(ANNOTATIONS, EPOCH), str(epoch)),
        _test("/spec/replicas", replicas),
    ]


def _annotate(found: Json, path: str, key: str, value: str) -> Patch:
    """The vendor's objects have no annotations, and a key cannot be added to a map that is not there."""
    if found.get("annotations") is None:
        return [_test(path, None), _add(path, {key: value})]
    return [_add(_annotation(path, key), value)]


def _annotation(path: str, key: str) -> str:
    return f"{path}/{key.replace('~', '~0').replace('/', '~1')}"


def _test(path: str, value: Any) -> Json:
    return {"op": "test", "path": path, "value": value}


def _add(path: str, value: Any) -> Json:
    return {"op": "add", "path": path, "value": value}


def _set(path: str, value: Any) -> Json:
    return {"op": "replace", "path": path, "value": value}
