"""Who owns what: owner references, and the pods and other objects that one object controls."""

from collections.abc import Mapping
from typing import Any

from sandbox.kubernetes.controllers.work import Key
from sandbox.kubernetes.resources import Object, Resource
from sandbox.kubernetes.store import Event, Store


def key_of(obj: Object) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace"), metadata["name"]


def reference(resource: Resource, owner: Object, *, controller: bool = True) -> Object:
    """The entry in `ownerReferences` that says `owner` owns this."""
    found: Object = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    return found | ({"controller": True, "blockOwnerDeletion": True} if controller else {})


def references(obj: Object) -> list[Object]:
    return obj["metadata"].get("ownerReferences") or []


def controller_of(obj: Object) -> Object | None:
    """The reference to the object that controls this one."""
    return next((found for found in references(obj) if found.get("controller")), None)


def is_controlled_by(obj: Object, owner: Object) -> bool:
    found = controller_of(obj)
    return found is not None and found["uid"] == owner["metadata"]["uid"]


def controlled(store: Store, resource: Resource, owner: Object) -> list[Object]:
    """The objects of one kind that `owner` controls and selects."""
    labels: Mapping[str, str] = owner["spec"]["selector"].get("matchLabels") or {}
    candidates = store.list(resource, owner["metadata"]["namespace"], labels)
    return [obj for obj in candidates if is_controlled_by(obj, owner)]


def concerned_owner(event: Event, kind: str) -> list[Key]:
    """The key of the object of that kind which controls the event's object."""
    found = controller_of(event.object)
    if found is None or found["kind"] != kind:
        return []
    return [(event.object["metadata"].get("namespace"), found["name"])]


def is_terminating(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def conditions(obj: Object) -> dict[str, Any]:
    """The conditions of the status by type."""
    return {found["type"]: found for found in obj.get("status", {}).get("conditions") or []}


def is_true(obj: Object, condition: str) -> bool:
    found = conditions(obj).get(condition)
    return found is not None and found["status"] == "True"


def set_condition(obj: Object, now: str, kind: str, status: str, reason: str = "", message: str = "") -> None:
    """Write one condition; its transition time moves only with its status."""
    listed: list[Object] = obj.setdefault("status", {}).setdefault("conditions", [])
    old = next((found for found in listed if found["type"] == kind), None)
    new = {"type": kind, "status": status, "lastTransitionTime": now}
    new |= {key: value for key, value in (("reason", reason), ("message", message)) if value}
    if old is None:
        listed.append(new)
        return
    if old["status"] == status:
        new["lastTransitionTime"] = old.get("lastTransitionTime", now)
    old.clear()
    old.update(new)
