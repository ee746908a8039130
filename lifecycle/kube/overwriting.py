"""The JSON Patch that makes an object as it was captured again, in place: its uid, address and claims stay."""

from collections.abc import Mapping

from lifecycle.errors import Conflict
from lifecycle.kube import read
from lifecycle.kube.answers import Json
from lifecycle.kube.comparison import FILLED_IN
from lifecycle.kube.copies import NOT_OF_A_SERVICE
from lifecycle.kube.patch import ANNOTATIONS, Patch, addition, as_read, removal
from lifecycle.kube.paths import WORKLOADS
from lifecycle.model import Kind, Step
from lifecycle.operation import Operation

LABELS = "/metadata/labels"


def overwrite(step: Step, found: Json, wanted: Json, operation: Operation) -> Patch:
    """``found`` is the object as it was just read, ``wanted`` what would be made in its place.

    Raises Conflict where another executor has it, or where pods run of it.
    """
    ref = step.ref
    if ref.kind in WORKLOADS:
        _refuse_taken(step, found, operation)
    body = {key: value for key, value in wanted.items() if key not in ("apiVersion", "kind", "metadata")}
    if ref.kind is Kind.SERVICE:
        body["spec"] = _with_its_addresses(body["spec"], read.spec_of(found))
    gone = [key for key in found if key not in (*body, "apiVersion", "kind", "metadata", "status")]
    return [
        *as_read(found, step.uid),
        addition(ANNOTATIONS, _notes(read.annotations_of(found), read.annotations_of(wanted))),
        addition(LABELS, dict(read.labels_of(wanted))),
        *(addition(f"/{key}", value) for key, value in body.items()),
        *(removal(f"/{key}") for key in gone),
    ]


def _refuse_taken(step: Step, found: Json, operation: Operation) -> None:
    epoch = read.epoch_of(found)
    if epoch != operation.epoch:
        raise Conflict(f"{step.ref} bears epoch {epoch}, ours is {operation.epoch}")
    if read.replicas_of(found) > 0:
        raise Conflict(f"{step.ref} was scaled up meanwhile")


def _notes(now: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """What controllers wrote stays, everybody else's is as captured, ours is of this operation."""
    return {**{key: text for key, text in now.items() if key.startswith(FILLED_IN)}, **wanted}


def _with_its_addresses(wanted: Json, now: Json) -> Json:
    """Those that the Service has now: they cannot be changed, or others use them."""
    has_node_ports = wanted.get("type") in ("NodePort", "LoadBalancer")
    given = now.get("ports") or [] if has_node_ports else []
    node_ports = {port.get("port"): port["nodePort"] for port in given if port.get("nodePort")}
    ports = [
        {**port, **({"nodePort": node_ports[port.get("port")]} if port.get("port") in node_ports else {})}
        for port in wanted.get("ports") or []
    ]
    addresses = {key: now[key] for key in NOT_OF_A_SERVICE if key in now}
    return {**wanted, **addresses, **({"ports": ports} if ports else {})}
