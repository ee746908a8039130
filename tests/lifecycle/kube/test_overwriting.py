"""The patch that makes an object as captured again: what it keeps of the one that is there."""

from typing import Any

from lifecycle.kube.answers import Json
from lifecycle.kube.overwriting import overwrite
from lifecycle.model import Action, Kind, Ref, Step, Verb
from lifecycle.operation import Goal
from lifecycle.topology import Topology
from tests.lifecycle.kube.conftest import operation_of

OPERATION = operation_of(Goal(Verb.RETURN, Topology(()), {}), epoch=7, id_="op-9")


def patched(ref: Ref, found: Json, wanted: Json) -> dict[str, Any]:
    """By path: what is written, or None for what is removed; tests stand for themselves."""
    step = Step(Action.OVERWRITE, ref, uid="uid-1")
    operations = overwrite(step, {**found, "metadata": {**found["metadata"], "uid": "uid-1"}}, wanted, OPERATION)
    assert operations[:2] == [
        {"op": "test", "path": "/metadata/uid", "value": "uid-1"},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "42"},
    ]
    return {one["path"]: one.get("value") for one in operations[2:]}


def service(spec: Json, **metadata: Any) -> Json:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"resourceVersion": "42", **metadata}, "spec": spec}


def test_a_service_keeps_its_addresses_and_the_node_ports_of_the_ports_that_stay() -> None:
    given = {"clusterIP": "10.0.0.7", "clusterIPs": ["10.0.0.7"], "healthCheckNodePort": 31000}
    ports = [{"port": 80, "nodePort": 30080}, {"port": 81, "nodePort": 30081}]
    found = service({"type": "LoadBalancer", "ports": ports, "selector": {"app": "theirs"}, **given})
    wanted = service({"type": "LoadBalancer", "ports": [{"port": 80}, {"port": 443}], "selector": {"app": "tm"}})
    assert patched(Ref(Kind.SERVICE, "tm-svc"), found, wanted)["/spec"] == {
        "type": "LoadBalancer",
        "ports": [{"port": 80, "nodePort": 30080}, {"port": 443}],
        "selector": {"app": "tm"},
        **given,
    }
    inside = service({"type": "ClusterIP", "ports": [{"port": 80}]})
    assert patched(Ref(Kind.SERVICE, "tm-svc"), found, inside)["/spec"]["ports"] == [{"port": 80}]


def test_what_controllers_noted_stays_and_what_somebody_noted_is_as_captured() -> None:
    notes = {"deployment.kubernetes.io/revision": "3", "example.com/by": "hand", "tml-bot/epoch": "6"}
    found = service({"ports": []}, annotations=notes, labels={"a": "b"})
    wanted = service({"ports": []}, annotations={"example.com/team": "api", "tml-bot/operation": "op-9"})
    made = patched(Ref(Kind.SERVICE, "tm-svc"), found, wanted)
    assert made["/metadata/annotations"] == {
        "deployment.kubernetes.io/revision": "3",
        "tml-bot/epoch": "6",
        "example.com/team": "api",
        "tml-bot/operation": "op-9",
    }
    assert made["/metadata/labels"] == {}


def test_what_was_not_captured_goes() -> None:
    found = {"metadata": {"resourceVersion": "42"}, "data": {"a": "YQ=="}, "type": "Opaque", "immutable": False}
    wanted = {"metadata": {}, "type": "Opaque"}
    made = patched(Ref(Kind.SECRET, "cache-resource"), found, wanted)
    assert made["/data"] is None
    assert made["/immutable"] is None
