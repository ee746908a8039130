"""What is there against what was captured: semantically, and of a Secret or ConfigMap no more than its keys; pure.

What Kubernetes and its controllers fill in does not count, nor do our marks, the replica count (that is the start's own
business) and the annotation in which kubectl keeps a manifest.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lifecycle.errors import Gone
from lifecycle.kube import paths, read
from lifecycle.kube.answers import Json
from lifecycle.kube.capture import Reader
from lifecycle.kube.copies import NOT_OF_A_SERVICE
from lifecycle.kube.door import Door
from lifecycle.kube.parallel import together
from lifecycle.kube.parts import OWN
from lifecycle.model import Kind, Ref
from lifecycle.observed import Difference
from lifecycle.operation import Goal

FILLED_IN = (
    OWN,
    "deployment.kubernetes.io/",
    "kubectl.kubernetes.io/last-applied-configuration",
    "autoscaling.alpha.kubernetes.io/",
)
"""Labels and annotations that nobody decided upon, by their beginning."""

DATA = ("data", "binaryData")
BODY = ("spec", "type", "immutable")
MUTABLE_OF_A_SET = frozenset(
    {
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    }
)
"""Everything else in a StatefulSet's spec stays as it was made (API server, measured on 1.36)."""


async def differences(
    door: Door, namespace: str, captures: Reader, goal: Goal, refs: Sequence[Ref]
) -> tuple[Difference, ...]:
    """See the port."""
    if not refs:
        return ()
    captured = await captures.read(goal.source, goal.captured, goal.copies)
    known = [ref for ref in refs if ref in captured]
    found = await together(_live(door, namespace, ref) for ref in known)
    compared = (difference(ref, captured[ref], live) for ref, live in zip(known, found, strict=True) if live)
    return tuple(one for one in compared if one is not None)


async def _live(door: Door, namespace: str, ref: Ref) -> Json | None:
    try:
        return await door.get(paths.of(ref, namespace))
    except Gone:
        return None


def difference(ref: Ref, captured: Json, live: Json) -> Difference | None:
    """None where they mean the same."""
    fields = tuple(dict.fromkeys(_different(compared(ref.kind, captured), compared(ref.kind, live))))
    if not fields:
        return None
    return Difference(ref, fields, tuple(field for field in fields if is_fixed(ref.kind, field, live)))


def is_fixed(kind: Kind, field: str, live: Json) -> bool:
    """Whether Kubernetes lets nobody change it in the object as it is."""
    first, _, rest = field.partition(".")
    match kind:
        case Kind.STATEFUL_SET:
            return first == "spec" and rest.partition(".")[0].partition("[")[0] not in MUTABLE_OF_A_SET
        case Kind.DEPLOYMENT:
            return field.startswith("spec.selector")
        case Kind.SERVICE:
            return field.startswith("spec.clusterIP")
        case _:
            return field == "type" or (bool(live.get("immutable")) and not field.startswith("metadata"))


def compared(kind: Kind, found: Json) -> Json:
    """What of the object has been decided upon by somebody."""
    body: Json = {key: found[key] for key in (*BODY, *DATA) if key in found}
    if kind is Kind.SERVICE:
        body["spec"] = _service(read.spec_of(found))
    elif "spec" in body:
        body["spec"] = _workload(body["spec"])
    return {**body, "metadata": _notes(read.metadata(found))}


def _notes(metadata: Json) -> Json:
    return {
        key: {name: text for name, text in (metadata.get(key) or {}).items() if not name.startswith(FILLED_IN)}
        for key in ("labels", "annotations")
    }


def _workload(spec: Json) -> Json:
    template = spec.get("template") or {}
    templates = [{key: value for key, value in one.items() if key != "status"} for one in _claim_templates(spec)]
    return {
        **{key: value for key, value in spec.items() if key != "replicas"},
        "template": {**template, "metadata": _notes(read.metadata(template))},
        "volumeClaimTemplates": templates,
    }


def _claim_templates(spec: Json) -> list[Json]:
    return spec.get("volumeClaimTemplates") or []


def _service(spec: Json) -> Json:
    """Addresses and node ports are given to each Service anew; headless or not is somebody's decision."""
    kept = {key: value for key, value in spec.items() if key not in (*NOT_OF_A_SERVICE, "ports")}
    ports = [{key: value for key, value in port.items() if key != "nodePort"} for port in spec.get("ports") or []]
    return {**kept, "ports": ports, "clusterIP": "None" if spec.get("clusterIP") == "None" else ""}


def _different(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """The fields that differ, by their path; an empty value is as good as none."""
    if isinstance(before, Mapping) or isinstance(now, Mapping):
        yield from _within(before or {}, now or {}, path)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _different(one, other, f"{path}[{_called(one, index)}]")
    elif (before or None) != (now or None):
        yield path


def _within(before: Any, now: Any, path: str) -> Iterator[str]:
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        yield path
        return
    for key in sorted({*before, *now}):
        if path in DATA:
            if before.get(key) != now.get(key):
                yield f"{path} in key {key}"
        else:
            yield from _different(before.get(key), now.get(key), f"{path}.{key}" if path else key)


def _called(item: Any, index: int) -> str:
    """A container, a port, a volume by its name, a claim template by that in its metadata."""
    if not isinstance(item, Mapping):
        return str(index)
    return str(item.get("name") or read.metadata(dict(item)).get("name") or index)
