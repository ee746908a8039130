"""Object faults: what an annotation makes go wrong with a pod, until it is taken away again."""

from enum import StrEnum
from typing import Any

from sandbox.kubernetes.controllers.owners import controller_of
from sandbox.kubernetes.resources import Object, of_kind
from sandbox.kubernetes.store import Store

FAULT_ANNOTATION = "sandbox.tml-bot/fault"
FROM_TEMPLATE = "sandbox.tml-bot/template-fault"
"""What a pod bears instead of its template's annotation: it counts as long as the template has a fault at all."""


class ObjectFault(StrEnum):
    NEVER_READY = "never-ready"
    IMAGE_PULL = "image-pull"
    UNSCHEDULABLE = "unschedulable"
    STUCK_TERMINATING = "stuck-terminating"
    CRASH_LOOP = "crash-loop"
    SLOW_STOP = "slow-stop"
    SLOW_START = "slow-start"
    FLUSH_FAILS = "flush-fails"
    FLUSH_HANGS = "flush-hangs"


def declared(metadata: dict[str, Any], key: str = FAULT_ANNOTATION) -> frozenset[ObjectFault]:
    """The faults an annotation names, separated by commas; a word that is none is passed over."""
    words = {word.strip() for word in ((metadata.get("annotations") or {}).get(key) or "").split(",")}
    return frozenset(fault for fault in ObjectFault if fault in words)


def declarations(workload: Object) -> tuple[frozenset[ObjectFault], frozenset[ObjectFault]]:
    """The faults on a workload itself and on its pod template."""
    template = workload.get("spec", {}).get("template") or {}
    return declared(workload["metadata"]), declared(template.get("metadata") or {})


def faults_of(store: Store, pod: Object) -> frozenset[ObjectFault]:
    """What is wrong with a pod now: its own annotation, and those of the workloads above it."""
    found = declared(pod["metadata"])
    from_template = declared(pod["metadata"], FROM_TEMPLATE)
    owner = _owner(store, pod)
    while owner is not None:
        above, in_template = declarations(owner)
        found |= above
        top, owner = in_template, _owner(store, owner)
        if owner is None and top:
            found |= from_template
    return found


def moved_from_template(annotations: dict[str, str]) -> dict[str, str]:
    """A template's annotations as its pods bear them."""
    return {FROM_TEMPLATE if key == FAULT_ANNOTATION else key: value for key, value in annotations.items()}


def _owner(store: Store, obj: Object) -> Object | None:
    reference = controller_of(obj)
    resource = of_kind(reference["apiVersion"], reference["kind"]) if reference else None
    if reference is None or resource is None:
        return None
    return store.find(resource, obj["metadata"]["namespace"], reference["name"])
