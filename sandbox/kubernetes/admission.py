"""What the API server asks of other objects before it lets a write pass."""

from collections.abc import Iterable
from typing import Protocol

from sandbox.kubernetes import status
from sandbox.kubernetes.resources import CLAIMS, NAMESPACES, STORAGE_CLASSES, Object, Resource

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_RESIZE_RULE = (
    "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
)


class Reader(Protocol):
    """What admission sees of the store."""

    def find(self, resource: Resource, namespace: str | None, name: str) -> Object | None: ...
    def rows(self, resource: Resource, namespace: str | None = None) -> Iterable[Object]: ...


def admit_new(state: Reader, resource: Resource, obj: Object) -> None:
    if resource.namespaced:
        _check_namespace(state, resource, obj)
    if resource is CLAIMS and obj.setdefault("spec", {}).get("storageClassName") is None:
        _give_default_class(state, obj)


def admit_change(state: Reader, resource: Resource, old: Object, new: Object) -> None:
    if resource is CLAIMS and old["spec"].get("resources") != new["spec"].get("resources"):
        _check_resize(state, new)


def _check_namespace(state: Reader, resource: Resource, obj: Object) -> None:
    namespace = obj["metadata"]["namespace"]
    found = state.find(NAMESPACES, None, namespace)
    if found is None:
        raise status.not_found(NAMESPACES, namespace)
    if found["metadata"].get("deletionTimestamp"):
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        reason = status.cause(
            "NamespaceTerminating", "metadata.namespace", f"namespace {namespace} is being terminated"
        )
        raise status.forbidden(resource, obj["metadata"].get("name", ""), why, [reason])


def _give_default_class(state: Reader, claim: Object) -> None:
    for storage_class in state.rows(STORAGE_CLASSES):
        if (storage_class["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true":
            claim["spec"]["storageClassName"] = storage_class["metadata"]["name"]
            return


def _check_resize(state: Reader, claim: Object) -> None:
    storage_class = state.find(STORAGE_CLASSES, None, claim["spec"].get("storageClassName") or "")
    if not (storage_class or {}).get("allowVolumeExpansion"):
        raise status.forbidden(CLAIMS, claim["metadata"]["name"], _RESIZE_RULE)
