"""Reads the few protobuf bodies that kubectl sends: `create namespace|secret|configmap|serviceaccount`, `auth can-i`.

The field numbers are those of Kubernetes' generated.proto files. Answers are JSON, which kubectl takes as well.
"""

import base64
from collections.abc import Iterator
from typing import Any

from sandbox.kubernetes.status import bad_request

PROTOBUF = "application/vnd.kubernetes.protobuf"

_MAGIC = b"k8s\x00"
# a schema: field number to (name, form); a form is a schema, a name of a scalar, or one of these around it
_Form = Any
_Schema = dict[int, tuple[str, _Form]]
_STRINGS = ("map", "string")
_BYTES = ("map", "bytes")

_METADATA: _Schema = {
    1: ("name", "string"),
    2: ("generateName", "string"),
    3: ("namespace", "string"),
    11: ("labels", _STRINGS),
    12: ("annotations", _STRINGS),
}
_RESOURCE_ATTRIBUTES: _Schema = {
    1: ("namespace", "string"),
    2: ("verb", "string"),
    3: ("group", "string"),
    4: ("version", "string"),
    5: ("resource", "string"),
    6: ("subresource", "string"),
    7: ("name", "string"),
}
_PATH_ATTRIBUTES: _Schema = {1: ("path", "string"), 2: ("verb", "string")}
_SCHEMAS: dict[str, _Schema] = {
    "Namespace": {1: ("metadata", _METADATA)},
    "ServiceAccount": {1: ("metadata", _METADATA)},
    "Secret": {1: ("metadata", _METADATA), 2: ("data", _BYTES), 3: ("type", "string"), 5: ("immutable", "bool")},
    "ConfigMap": {1: ("metadata", _METADATA), 2: ("data", _STRINGS), 3: ("binaryData", _BYTES)},
    "SelfSubjectAccessReview": {
        2: ("spec", {1: ("resourceAttributes", _RESOURCE_ATTRIBUTES), 2: ("nonResourceAttributes", _PATH_ATTRIBUTES)})
    },
    "SelfSubjectRulesReview": {2: ("spec", {1: ("namespace", "string")})},
}
_TYPE: _Schema = {1: ("apiVersion", "string"), 2: ("kind", "string")}
_ENVELOPE: _Schema = {1: ("type", _TYPE), 2: ("raw", "raw")}


def decoded(body: bytes) -> dict[str, Any]:
    """The object in the body. Raises ApiError (400) for a kind that is not known here."""
    if not body.startswith(_MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message, expected prefix k8s")
    envelope = _message(body[len(_MAGIC) :], _ENVELOPE)
    kind = envelope["type"].get("kind", "")
    if kind not in _SCHEMAS:
        raise bad_request(f"{kind} is not understood as protobuf; send it as JSON")
    return {**envelope["type"], **_message(envelope["raw"], _SCHEMAS[kind])}


def _message(data: bytes, schema: _Schema) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for number, value in _fields(data):
        if number in schema:
            name, form = schema[number]
            _put(read, name, form, value)
    return read


def _put(read: dict[str, Any], name: str, form: _Form, value: Any) -> None:
    if isinstance(form, tuple):
        entry = _message(value, {1: ("key", "string"), 2: ("value", form[1])})
        read.setdefault(name, {})[entry.get("key", "")] = entry.get("value", "")
    elif isinstance(form, dict):
        read[name] = _message(value, form)
    elif value:
        # an empty scalar is one that was not given
        read[name] = _scalar(form, value)


def _scalar(form: str, value: Any) -> Any:
    match form:
        case "string":
            return value.decode()
        case "bytes":
            return base64.b64encode(value).decode()
        case "bool":
            return bool(value)
        case _:
            return value


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        match tag & 7:
            case 0:
                value, place = _varint(data, place)
                yield tag >> 3, value
            case 2:
                length, place = _varint(data, place)
                yield tag >> 3, data[place : place + length]
                place += length
            case 1 | 5 as wire:
                place += 8 if wire == 1 else 4
            case _:
                raise bad_request("unexpected wire type in a protobuf message")


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(data):
            raise bad_request("unexpected EOF in a protobuf message")
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
