"""What the CustomResourceDefinitions of the snapshot APIs ask of an object: their schemas and their CEL rules.

From external-snapshotter's client/config/crd (v8.6.0); the wording is that of a 1.36 API server.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.kubernetes import status
from sandbox.kubernetes.resources import (
    GROUP_SNAPSHOT_CLASSES,
    GROUP_SNAPSHOT_CONTENTS,
    GROUP_SNAPSHOTS,
    SNAPSHOT_CLASSES,
    SNAPSHOT_CONTENTS,
    SNAPSHOTS,
    Object,
    Resource,
)

_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)
_POLICIES = ("Delete", "Retain")
_TYPES = {str: "string", dict: "object", list: "array", bool: "boolean", int: "integer", float: "number"}
Path = tuple[str, ...]


@dataclass(frozen=True)
class Field:
    """One field's schema; of a string `values` lists all that it may be, if not any."""

    type: type = str
    required: tuple[str, ...] = ()
    fields: Mapping[str, "Field"] = field(default_factory=dict)
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """One CEL rule: asked of what is at the path, where there is something."""

    path: Path
    message: str
    holds: Callable[[Any], bool] = lambda _: True
    allows: Callable[[Any, Any], bool] = lambda _old, _new: True
    """Asked of a change only: the old value and the new one."""


def causes(resource: Resource, old: Object | None, new: Object) -> list[Object]:
    """What is wrong with a custom object, which is new where there is no old one."""
    schema, rules = _SCHEMAS.get(resource), _RULES.get(resource, ())
    if schema is None:
        return []
    found = _malformed(schema, (), new)
    if found:
        # without a rule there is none that could not be checked
        return [*found, status.invalid_field("<nil>", "null", _UNCHECKED)] if rules else found
    return [cause for rule in rules if (cause := _broken(rule, old, new)) is not None]


def _malformed(schema: Field, path: Path, value: Any) -> list[Object]:
    name = ".".join(path)
    if not isinstance(value, schema.type):
        given = _TYPES.get(type(value), "null")
        why = f'{name} in body must be of type {_TYPES[schema.type]}: "{given}"'
        return [status.cause("FieldValueTypeInvalid", name, f'Invalid value: "{given}": {why}')]
    if schema.values and value not in schema.values:
        return [status.unsupported_value(name, str(value), schema.values)]
    if not isinstance(value, dict):
        return []
    missing = [key for key in schema.required if key not in value]
    below = [_malformed(part, (*path, key), value[key]) for key, part in schema.fields.items() if key in value]
    required = [status.cause("FieldValueRequired", ".".join((*path, key)), "Required value") for key in missing]
    return [*required, *(cause for found in below for cause in found)]


def _broken(rule: Rule, old: Object | None, new: Object) -> Object | None:
    after = _at(new, rule.path)
    if after is None:
        return None
    before = None if old is None else _at(old, rule.path)
    if rule.holds(after) and (before is None or rule.allows(before, after)):
        return None
    # of an object or a list the value is left out
    shown = f"{json.dumps(after)}: " if isinstance(after, str) else ""
    return status.cause("FieldValueInvalid", ".".join(rule.path), f"Invalid value: {shown}{rule.message}")


def _at(obj: Any, path: Path) -> Any:
    for part in path:
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def _immutable(*path: str, once_set: bool = False) -> Rule:
    verb = "are" if path[-1] == "parameters" else "is"
    message = f"{path[-1]} {verb} immutable{' once set' if once_set else ''}"
    return Rule(path, message, allows=lambda old, new: bool(old == new))


def _kept(path: Path, key: str) -> Rule:
    return Rule(path, f"{key} is required once set", allows=lambda old, new: key not in old or key in new)


def _one_of(path: Path, first: str, second: str) -> Rule:
    message = f"exactly one of {first} and {second} must be set"
    return Rule(path, message, holds=lambda value: (first in value) != (second in value))


def _not_empty(*path: str) -> Rule:
    return Rule(path, f"{path[-1]} must not be the empty string when set", holds=lambda value: len(value) > 0)


def _full_reference(path: Path, message: str) -> Rule:
    return Rule(path, message, holds=lambda value: "name" in value and "namespace" in value)


def _source(path: Path, first: str, second: str, *, stated: tuple[str, str] | None = None) -> list[Rule]:
    """Exactly one of the two, for ever; `stated` is the order in which the message names them, where it is another."""
    return [
        _kept(path, first),
        _kept(path, second),
        _one_of(path, *(stated or (first, second))),
        _immutable(*path, first),
        _immutable(*path, second),
    ]


def _same_name(old: Object, new: Object) -> bool:
    return (old.get("name"), old.get("namespace")) == (new.get("name"), new.get("namespace"))


_STRING, _LIST, _POLICY = Field(), Field(list), Field(values=_POLICIES)
_SOURCE = ("spec", "source")


def _object(*required: str, **fields: Field) -> Field:
    return Field(dict, required, fields)


def _class() -> Field:
    return _object("deletionPolicy", "driver", deletionPolicy=_POLICY, driver=_STRING, parameters=_object())


def _request(class_name: str, **source: Field) -> Field:
    return _object("spec", spec=_object("source", source=_object(**source), **{class_name: _STRING}))


def _content(reference: str, **source: Field) -> Field:
    required = ("deletionPolicy", "driver", "source", reference)
    named = {reference: _object(name=_STRING, namespace=_STRING, uid=_STRING)}
    spec = _object(*required, deletionPolicy=_POLICY, driver=_STRING, source=_object(**source), **named)
    return _object("spec", spec=spec)


_SCHEMAS: dict[Resource, Field] = {
    SNAPSHOTS: _request(
        "volumeSnapshotClassName", persistentVolumeClaimName=_STRING, volumeSnapshotContentName=_STRING
    ),
    SNAPSHOT_CONTENTS: _content("volumeSnapshotRef", volumeHandle=_STRING, snapshotHandle=_STRING),
    SNAPSHOT_CLASSES: _class(),
    GROUP_SNAPSHOTS: _request(
        "volumeGroupSnapshotClassName", selector=_object(), volumeGroupSnapshotContentName=_STRING
    ),
    GROUP_SNAPSHOT_CONTENTS: _content(
        "volumeGroupSnapshotRef",
        volumeHandles=_LIST,
        groupSnapshotHandles=_object("volumeGroupSnapshotHandle", "volumeSnapshotHandles"),
    ),
    GROUP_SNAPSHOT_CLASSES: _class(),
}

_SNAPSHOT_REFERENCE = ("spec", "volumeSnapshotRef")
_GROUP_REFERENCE = ("spec", "volumeGroupSnapshotRef")

_RULES: dict[Resource, Sequence[Rule]] = {
    SNAPSHOTS: (
        *_source(
            _SOURCE,
            "persistentVolumeClaimName",
            "volumeSnapshotContentName",
            stated=("volumeSnapshotContentName", "persistentVolumeClaimName"),
        ),
        _not_empty("spec", "volumeSnapshotClassName"),
    ),
    SNAPSHOT_CONTENTS: (
        _kept(("spec",), "sourceVolumeMode"),
        *_source(_SOURCE, "volumeHandle", "snapshotHandle"),
        _immutable("spec", "sourceVolumeMode"),
        _full_reference(
            _SNAPSHOT_REFERENCE, "both spec.volumeSnapshotRef.name and spec.volumeSnapshotRef.namespace must be set"
        ),
    ),
    GROUP_SNAPSHOTS: (
        *_source(_SOURCE, "selector", "volumeGroupSnapshotContentName"),
        _not_empty("spec", "volumeGroupSnapshotClassName"),
    ),
    GROUP_SNAPSHOT_CONTENTS: (
        _immutable("spec", "driver", once_set=True),
        *_source(_SOURCE, "volumeHandles", "groupSnapshotHandles"),
        _immutable("spec", "volumeGroupSnapshotClassName", once_set=True),
        _full_reference(
            _GROUP_REFERENCE, "both volumeGroupSnapshotRef.name and volumeGroupSnapshotRef.namespace must be set"
        ),
        Rule(
            _GROUP_REFERENCE,
            "volumeGroupSnapshotRef.name and volumeGroupSnapshotRef.namespace are immutable",
            allows=_same_name,
        ),
        Rule(
            _GROUP_REFERENCE,
            "volumeGroupSnapshotRef.uid is immutable once set",
            allows=lambda old, new: not old.get("uid") or old["uid"] == new.get("uid"),
        ),
    ),
    GROUP_SNAPSHOT_CLASSES: (
        _immutable("deletionPolicy", once_set=True),
        _immutable("driver", once_set=True),
        _immutable("parameters", once_set=True),
    ),
}
