"""The verbs of the API: from a call to a reply, on the store."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.kubernetes import forms, scale, status
from sandbox.kubernetes.access import review_access, review_rules
from sandbox.kubernetes.call import TRUE, Call
from sandbox.kubernetes.patches import (
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    apply_json_patch,
    merge,
    merge_strategically,
)
from sandbox.kubernetes.protobuf import PROTOBUF
from sandbox.kubernetes.resources import ACCESS_REVIEWS, NODES, Object, Resource
from sandbox.kubernetes.selectors import selection
from sandbox.kubernetes.store import Store
from sandbox.kubernetes.tables import table

_PROPAGATIONS = ("Background", "Foreground", "Orphan")


@dataclass(frozen=True)
class Reply:
    status: int
    body: Object


Handler = Callable[[Store, Call], Reply]


def answer(store: Store, call: Call) -> Reply:
    """Does what is asked. Raises ApiError."""
    handler = _HANDLERS.get((call.verb, call.target.subresource))
    if handler is None or call.verb not in call.target.resource.verbs:
        raise status.method_not_allowed()
    _check_form(call)
    _check_dry_run(call)
    return handler(store, call)


def _check_form(call: Call) -> None:
    """A form that is not served is refused before anything is done, one that does not fit the answer only after."""
    _ = call.form


def _check_dry_run(call: Call) -> None:
    asked = call.query.get("dryRun", "")
    if call.changes and asked not in ("", "All"):
        kind = {"update": "UpdateOptions", "patch": "PatchOptions", "create": "CreateOptions"}
        found = status.unsupported_value("dryRun", asked, ["All"])
        raise status.invalid_options(kind.get(call.verb, "DeleteOptions"), found)


def _shown(store: Store, call: Call, obj: Object, code: int = 200) -> Reply:
    match call.form.kind:
        case forms.TABLE:
            return Reply(code, _table(store, call, [obj]))
        case forms.METADATA:
            return Reply(code, call.form.metadata_of(obj))
        case forms.METADATA_LIST:
            raise forms.is_no_list(call.target.resource)
        case _:
            return Reply(code, obj)


def _table(store: Store, call: Call, rows: list[Object]) -> Object:
    return table(call.form, call.target.resource, rows, store.clock.now(), call.query.get("includeObject"))


def _get(store: Store, call: Call) -> Reply:
    target = call.target
    return _shown(store, call, store.get(target.resource, target.namespace, target.name))


def _selected(store: Store, call: Call) -> list[Object]:
    target = call.target
    test = selection(target.resource, call.query.get("labelSelector", ""), call.query.get("fieldSelector", ""))
    return [row for row in store.rows(target.resource, target.namespace) if test(row)]


def _list(store: Store, call: Call) -> Reply:
    return _listed(store, call, _selected(store, call))


def _listed(store: Store, call: Call, rows: list[Object]) -> Reply:
    resource, metadata = call.target.resource, {"resourceVersion": str(store.revision)}
    if resource.custom:
        metadata = {"continue": "", **metadata}
    match call.form.kind:
        case forms.TABLE:
            return Reply(200, {**_table(store, call, rows), "metadata": metadata})
        case forms.METADATA_LIST:
            return Reply(200, call.form.metadata_of_all(rows, metadata))
        case forms.METADATA:
            raise forms.is_a_list(resource)
    items = rows if resource.custom else [_untyped(row) for row in rows]
    kind = f"{resource.kind}List"
    return Reply(200, {"kind": kind, "apiVersion": resource.api_version, "metadata": metadata, "items": items})


def _untyped(row: Object) -> Object:
    """The items of a list of built-in objects do not say their kind."""
    return {key: value for key, value in row.items() if key not in ("kind", "apiVersion")}


def _create(store: Store, call: Call) -> Reply:
    target = call.target
    if target.resource.namespaced and not target.namespace:
        raise status.method_not_allowed()
    obj = _given(call)
    if (obj["metadata"]).get("resourceVersion"):
        raise status.failure(500, "", "resourceVersion should not be set on objects to be created")
    if target.resource.has_status and target.resource is not NODES:
        obj.pop("status", None)
    made = store.create(target.resource, obj, actor=call.identity.name, dry_run=call.dry_run)
    return _shown(store, call, made, 201)


def _given(call: Call) -> Object:
    """The object in the body, as one of the target's kind in its namespace. Raises ApiError (400)."""
    target = call.target
    if call.content_type not in ("application/json", "", "application/octet-stream", PROTOBUF):
        raise status.unsupported_media_type(["application/json"])
    return _as_object(target.resource, target.namespace, call.body())


def _as_object(resource: Resource, namespace: str, body: Any) -> Object:
    if not isinstance(body, dict) or not isinstance(body.get("metadata", {}), dict | None):
        raise status.bad_request(f"the object provided is unrecognized (must be of type {resource.kind})")
    obj = body if resource.custom else _without_nulls(body)
    _check_kind(resource, obj)
    metadata = obj["metadata"] = dict(obj.get("metadata") or {})
    if resource.namespaced and metadata.setdefault("namespace", namespace) != namespace:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    return obj


def _without_nulls(value: Any) -> Any:
    """For the typed objects of the real server null is the same as absent."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _check_kind(resource: Resource, obj: Object) -> None:
    kind, api_version = obj.get("kind") or resource.kind, obj.get("apiVersion") or resource.api_version
    if (kind, api_version) != (resource.kind, resource.api_version):
        raise status.bad_request(
            f"{kind} in version {api_version!r} cannot be handled as a {resource.kind}: "
            f"the object provided is unrecognized (must be of type {resource.kind})"
        )


def _update(store: Store, call: Call) -> Reply:
    obj = _given(call)
    _check_name(call, obj)
    return _write(store, call, obj)


def _check_name(call: Call, obj: Object) -> None:
    wanted, given = call.target.name, obj["metadata"].get("name")
    if not given:
        obj["metadata"]["name"] = wanted
    elif given != wanted:
        raise status.bad_request(f"the name of the object ({given}) does not match the name on the URL ({wanted})")


def _write(store: Store, call: Call, obj: Object) -> Reply:
    target = call.target
    saved = store.update(
        target.resource, obj, subresource=target.subresource, actor=call.identity.name, dry_run=call.dry_run
    )
    return _shown(store, call, saved)


def _patch(store: Store, call: Call) -> Reply:
    target = call.target
    _check_patch_type(call)
    old = store.get(target.resource, target.namespace, target.name)
    uid = old["metadata"]["uid"]
    obj = _as_object(target.resource, target.namespace, _patched(call, old))
    _check_name(call, obj)
    if obj["metadata"].get("uid", uid) != uid:
        wrong = status.invalid_field("metadata.uid", f'"{obj["metadata"]["uid"]}"', "field is immutable")
        raise status.invalid(target.resource, target.name, [wrong])
    return _write(store, call, obj)


def _patched(call: Call, document: Object) -> Any:
    """The document with the patch applied; may share parts with both and may change the document."""
    body = call.body()
    if call.content_type == JSON_PATCH:
        return apply_json_patch(document, body)
    if not isinstance(body, dict):
        raise status.bad_request("error decoding patch: json: cannot unmarshal into a map")
    return merge(document, body) if call.content_type == MERGE_PATCH else merge_strategically(document, body)


def _check_patch_type(call: Call) -> None:
    accepted = [JSON_PATCH, MERGE_PATCH, *([] if call.target.resource.custom else [STRATEGIC_PATCH])]
    if call.content_type not in accepted:
        raise status.unsupported_media_type([*accepted, "application/apply-patch+yaml"])


def _options(call: Call) -> Object:
    """The delete options of the body, or else of the query."""
    options: Object = dict(call.body() or {})
    if "gracePeriodSeconds" in call.query:
        options.setdefault("gracePeriodSeconds", int(call.query["gracePeriodSeconds"]))
    if "propagationPolicy" in call.query:
        options.setdefault("propagationPolicy", call.query["propagationPolicy"])
    orphan = options.get("orphanDependents", call.query.get("orphanDependents"))
    if orphan is not None:
        options.setdefault("propagationPolicy", "Orphan" if orphan in (True, *TRUE) else "Background")
    propagation = options.get("propagationPolicy")
    if propagation not in (None, *_PROPAGATIONS):
        found = status.unsupported_value("propagationPolicy", propagation, _PROPAGATIONS)
        raise status.invalid_options("DeleteOptions", found)
    return options


def _delete(store: Store, call: Call) -> Reply:
    target, options = call.target, _options(call)
    preconditions = options.get("preconditions") or {}
    left = _end(
        store, call, options, target.namespace, target.name,
        uid=preconditions.get("uid"), resource_version=preconditions.get("resourceVersion"),
    )  # fmt: skip
    if left["metadata"].get("deletionTimestamp") or target.resource.returns_deleted:
        return _shown(store, call, left)
    return Reply(200, status.succeeded(target.resource, target.name, left["metadata"]["uid"]))


def _end(store: Store, call: Call, options: Object, namespace: str, name: str, **preconditions: str | None) -> Object:
    return store.delete(
        call.target.resource,
        namespace,
        name,
        grace_seconds=options.get("gracePeriodSeconds"),
        propagation=options.get("propagationPolicy"),
        actor=call.identity.name,
        dry_run=call.dry_run or options.get("dryRun") == ["All"],
        **preconditions,
    )


def _delete_all(store: Store, call: Call) -> Reply:
    options, rows = _options(call), _selected(store, call)
    for row in rows:
        _end(store, call, options, row["metadata"].get("namespace", ""), row["metadata"]["name"])
    return _listed(store, call, rows)


def _get_scale(store: Store, call: Call) -> Reply:
    target = call.target
    return Reply(200, scale.of(store.get(target.resource, target.namespace, target.name)))


def _update_scale(store: Store, call: Call) -> Reply:
    body = call.body()
    if not isinstance(body, dict):
        raise status.bad_request("the object provided is unrecognized (must be of type Scale)")
    return _set_scale(store, call, body)


def _patch_scale(store: Store, call: Call) -> Reply:
    target = call.target
    _check_patch_type(call)
    current = scale.of(store.get(target.resource, target.namespace, target.name))
    return _set_scale(store, call, _patched(call, current))


def _set_scale(store: Store, call: Call, wanted: Object) -> Reply:
    target = call.target
    obj = store.get(target.resource, target.namespace, target.name)
    scale.put(obj, wanted)
    return Reply(200, scale.of(store.update(target.resource, obj, actor=call.identity.name, dry_run=call.dry_run)))


def _review(_: Store, call: Call) -> Reply:
    review = _given(call)
    answered = review_access if call.target.resource is ACCESS_REVIEWS else review_rules
    kind = {"kind": call.target.resource.kind, "apiVersion": call.target.resource.api_version}
    return Reply(201, answered(call.identity, {**kind, **review}))


def _create_or_review(store: Store, call: Call) -> Reply:
    return _create(store, call) if call.target.resource.is_stored else _review(store, call)


_HANDLERS: dict[tuple[str, str], Handler] = {
    ("get", ""): _get,
    ("list", ""): _list,
    ("create", ""): _create_or_review,
    ("update", ""): _update,
    ("patch", ""): _patch,
    ("delete", ""): _delete,
    ("deletecollection", ""): _delete_all,
    ("get", "status"): _get,
    ("update", "status"): _update,
    ("patch", "status"): _patch,
    ("update", "finalize"): _update,
    ("get", "scale"): _get_scale,
    ("update", "scale"): _update_scale,
    ("patch", "scale"): _patch_scale,
}
