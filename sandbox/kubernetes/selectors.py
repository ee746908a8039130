"""Label and field selectors as lists and watches take them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.kubernetes.resources import Object, Resource
from sandbox.kubernetes.status import ApiError, bad_request

Test = Callable[[Object], bool]
LabelTest = Callable[[Mapping[str, str]], bool]

_SET = re.compile(r"\s*(?P<key>[^\s!=,()]+)\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)\s*")
_EQUALITY = re.compile(r"\s*(?P<key>[^\s!=,()]+)\s*(?P<operator>==|=|!=)\s*(?P<value>[^\s!=,()]*)\s*")
_EXISTS = re.compile(r"\s*(?P<absent>!?)\s*(?P<key>[^\s!=,()]+)\s*")
_COMMA = re.compile(r",(?![^()]*\))")


def selection(resource: Resource, labels: str, fields: str) -> Test:
    """Whether an object is selected by both; an empty selector selects all. Raises ApiError (400)."""
    label_tests = [_label_test(part) for part in _COMMA.split(labels)] if labels.strip() else []
    field_tests = [_field_test(resource, part, fields) for part in fields.split(",") if part.strip()]
    if not label_tests and not field_tests:
        return lambda _: True

    def selected(obj: Object) -> bool:
        own = obj["metadata"].get("labels") or {}
        return all(test(own) for test in label_tests) and all(test(obj) for test in field_tests)

    return selected


def _label_test(part: str) -> LabelTest:
    for pattern, build in ((_SET, _in_set), (_EQUALITY, _equality), (_EXISTS, _exists)):
        match = pattern.fullmatch(part)
        if match is not None:
            return build(match)
    raise bad_request(f'unable to parse requirement: found "{part.strip()}", expected: an operator or a label key')


def _in_set(match: re.Match[str]) -> LabelTest:
    key, values = match["key"], {value.strip() for value in match["values"].split(",")}
    if match["operator"] == "in":
        return lambda labels: labels.get(key) in values
    return lambda labels: labels.get(key) not in values


def _equality(match: re.Match[str]) -> LabelTest:
    key, value = match["key"], match["value"]
    if match["operator"] == "!=":
        return lambda labels: labels.get(key) != value
    return lambda labels: labels.get(key) == value


def _exists(match: re.Match[str]) -> LabelTest:
    key = match["key"]
    if match["absent"]:
        return lambda labels: key not in labels
    return lambda labels: key in labels


def _field_test(resource: Resource, part: str, whole: str) -> Test:
    match = re.fullmatch(r"\s*([^=!\s]+)\s*(==|=|!=)\s*([^=]*?)\s*", part)
    if match is None:
        raise bad_request(f"invalid field selector: '{whole}'; can't understand '{part}'")
    path, operator, value = match.groups()
    if path not in ("metadata.name", "metadata.namespace", *resource.fields):
        raise _unsupported(resource, whole, path)
    if operator == "!=":
        return lambda obj: _field(obj, path) != value
    return lambda obj: _field(obj, path) == value


def _unsupported(resource: Resource, whole: str, path: str) -> ApiError:
    if resource.custom:
        return bad_request(f"field label not supported: {path}")
    return bad_request(
        f'Unable to find "{resource.api_version}, Resource={resource.plural}" that match label selector "", '
        f'field selector "{whole}": field label not supported: {path}'
    )


def _field(obj: Object, path: str) -> str:
    """The field as text; what is not there is the empty string."""
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
