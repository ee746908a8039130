"""The three patch formats, as pure functions from a document and a patch to a new document."""

from copy import deepcopy
from typing import Any

from sandbox.kubernetes.status import bad_request, patch_not_applicable

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

# the field that tells the items of a list apart, in a strategic merge patch; other lists are replaced whole
_MERGE_KEYS = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "ports": ("containerPort", "port"),
    "imagePullSecrets": ("name",),
    "secrets": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "addresses": ("type",),
}
_MERGED_VALUES = ("finalizers",)
_DELETE_VALUES = "$deleteFromPrimitiveList/"


def merge(document: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def merge_strategically(document: Any, patch: dict[str, Any]) -> Any:
    """A strategic merge patch: lists of known fields are merged by key."""
    directive = patch.get("$patch")
    fields = {key: value for key, value in patch.items() if not key.startswith("$")}
    if directive == "replace":
        return fields
    if directive == "delete":
        return {}
    merged = dict(document) if isinstance(document, dict) else {}
    _retain(merged, patch.get("$retainKeys"))
    _delete_values(merged, patch)
    for key, value in fields.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged_field(key, merged.get(key), value)
    return merged


def _retain(merged: dict[str, Any], keys: list[str] | None) -> None:
    for key in [] if keys is None else set(merged) - set(keys):
        del merged[key]


def _delete_values(merged: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, values in patch.items():
        field = key.removeprefix(_DELETE_VALUES)
        if field != key:
            merged[field] = [item for item in merged.get(field) or [] if item not in values]


def _merged_field(key: str, old: Any, new: Any) -> Any:
    if isinstance(new, dict):
        return merge_strategically(old, new)
    if isinstance(new, list) and key in _MERGED_VALUES:
        return [*(old or []), *(item for item in new if item not in (old or []))]
    if isinstance(new, list) and key in _MERGE_KEYS and all(isinstance(item, dict) for item in new):
        return _merged_list(key, old or [], new)
    return new


def _merged_list(key: str, old: list[Any], new: list[Any]) -> list[Any]:
    directives = [item for item in new if set(item) == {"$patch"}]
    if any(item["$patch"] == "replace" for item in directives):
        return [item for item in new if item not in directives]
    merged = list(old)
    for item in new:
        field = _merge_key(key, item)
        place = next((index for index, known in enumerate(merged) if known.get(field) == item[field]), None)
        if item.get("$patch") == "delete":
            del merged[len(merged) if place is None else place : len(merged) if place is None else place + 1]
        elif place is None:
            merged.append(merge_strategically({}, item))
        else:
            merged[place] = merge_strategically(merged[place], item)
    return merged


def _merge_key(key: str, item: dict[str, Any]) -> str:
    for field in _MERGE_KEYS[key]:
        if field in item:
            return field
    raise bad_request(f"map: {item} does not contain declared merge key: {_MERGE_KEYS[key][0]}")


def apply_json_patch(document: Any, operations: Any) -> Any:
    """A JSON Patch (RFC 6902); `document` is changed in place. Raises ApiError: 400 no patch, 422 not applicable."""
    if not isinstance(operations, list) or not all(isinstance(step, dict) for step in operations):
        raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    for step in operations:
        document = _applied(document, step)
    return document


def _applied(document: Any, step: dict[str, Any]) -> Any:
    path = _pointer(step.get("path"))
    match step.get("op"):
        case "test":
            # an absent value is equal to null, as in the library that the real server uses
            if not _same(_read(document, path, missing_is_null=True), step.get("value")):
                raise patch_not_applicable()
            return document
        case "add":
            return _add(document, path, _value(step))
        case "replace":
            _read(document, path)
            return _replace(document, path, _value(step))
        case "remove":
            _remove(document, path)
            return document
        case "copy":
            return _add(document, path, deepcopy(_read(document, _pointer(step.get("from")))))
        case "move":
            moved = _remove(document, _pointer(step.get("from")))
            return _add(document, path, moved)
        case _:
            raise patch_not_applicable()


def _same(left: Any, right: Any) -> bool:
    """JSON's equality: true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)


def _value(step: dict[str, Any]) -> Any:
    if "value" not in step:
        raise patch_not_applicable()
    return step["value"]


def _pointer(path: Any) -> list[str]:
    if not isinstance(path, str) or (path and not path.startswith("/")):
        raise patch_not_applicable()
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _index(part: str, length: int) -> int:
    if not part.isdigit() or int(part) >= length:
        raise patch_not_applicable()
    return int(part)


def _read(document: Any, path: list[str], *, missing_is_null: bool = False) -> Any:
    for depth, part in enumerate(path):
        if isinstance(document, list):
            document = document[_index(part, len(document))]
        elif isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, dict) and missing_is_null and depth == len(path) - 1:
            return None
        else:
            raise patch_not_applicable()
    return document


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _read(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent) + 1), value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise patch_not_applicable()
    return document


def _replace(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _read(document, path[:-1]), path[-1]
    parent[_index(last, len(parent)) if isinstance(parent, list) else last] = value
    return document


def _remove(document: Any, path: list[str]) -> Any:
    if not path:
        raise patch_not_applicable()
    removed = _read(document, path)
    parent, last = _read(document, path[:-1]), path[-1]
    del parent[_index(last, len(parent)) if isinstance(parent, list) else last]
    return removed
