"""What is there against what was captured: what counts as another object, and what is never told of it."""

import copy
from typing import Any

import pytest

from lifecycle.kube.answers import Json
from lifecycle.kube.comparison import difference
from lifecycle.model import Kind, Ref
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.resources import DEPLOYMENTS, SECRETS, SERVICES, STATEFULSETS, Object
from sandbox.tml import PROD_NAMESPACE, prod

SET = Ref(Kind.STATEFUL_SET, "mysql-set-0")
TM = Ref(Kind.DEPLOYMENT, "tm-deploy-0")
GATEWAY = Ref(Kind.SERVICE, "tm-svc")
SECRET = Ref(Kind.SECRET, "sql-property")
RESOURCES = {SET: STATEFULSETS, TM: DEPLOYMENTS, GATEWAY: SERVICES, SECRET: SECRETS}


@pytest.fixture
async def live(api: KubernetesSandbox) -> dict[Ref, Object]:
    """As the API server fills them in."""
    api.apply(prod())
    await api.ready(PROD_NAMESPACE)
    return {
        ref: copy.deepcopy(api.store.get(resource, PROD_NAMESPACE, ref.name)) for ref, resource in RESOURCES.items()
    }


def told(ref: Ref, before: Json, after: Json) -> tuple[str, ...]:
    found = difference(ref, before, after)
    return found.fields if found else ()


def changed(found: Json, path: str, value: Any) -> Json:
    """With the field at this path set; ``None`` removes it."""
    made: Json = copy.deepcopy(found)
    *way, last = path.split("/")
    at: Any = made
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
    if value is None:
        at.pop(last, None)
    else:
        at[int(last) if isinstance(at, list) else last] = value
    return made


SAME = [
    (SET, "metadata/uid", "another"),
    (SET, "metadata/annotations", {"tml-bot/epoch": "7", "tml-bot/made-by": "op-1"}),
    (SET, "metadata/managedFields", [{"manager": "somebody"}]),
    (SET, "metadata/ownerReferences", [{"uid": "x"}]),
    (SET, "spec/replicas", 0),
    (SET, "spec/template/metadata/annotations", {"tml-bot/restarted-by": "op-1"}),
    (SET, "status", {"replicas": 7}),
    (TM, "metadata/annotations", {"deployment.kubernetes.io/revision": "9"}),
    (TM, "metadata/annotations", {"kubectl.kubernetes.io/last-applied-configuration": "the whole manifest"}),
    (TM, "spec/template/spec/nodeSelector", {}),
    (GATEWAY, "spec/clusterIP", "10.96.7.7"),
    (GATEWAY, "spec/ports/0/nodePort", 31999),
    (GATEWAY, "spec/healthCheckNodePort", 31998),
    (GATEWAY, "status", {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}),
]
OTHER = [
    (SET, "metadata/labels", {"team": "api"}, ("metadata.labels.team",), ()),
    (SET, "metadata/annotations", {"example.com/x": "y"}, ("metadata.annotations.example.com/x",), ()),
    (SET, "spec/template/spec/containers/0/image", "x:2", ("spec.template.spec.containers[tml-sql].image",), ()),
    (
        SET,
        "spec/template/spec/containers/0/readinessProbe/periodSeconds",
        7,
        ("spec.template.spec.containers[tml-sql].readinessProbe.periodSeconds",),
        (),
    ),
    (SET, "spec/template/spec/containers", [], ("spec.template.spec.containers",), ()),
    (SET, "spec/serviceName", "other", ("spec.serviceName",), ("spec.serviceName",)),
    (
        SET,
        "spec/volumeClaimTemplates/0/spec/storageClassName",
        "fast",
        ("spec.volumeClaimTemplates[sqlvol].spec.storageClassName",),
        ("spec.volumeClaimTemplates[sqlvol].spec.storageClassName",),
    ),
    (TM, "spec/selector/matchLabels/app", "x", ("spec.selector.matchLabels.app",), ("spec.selector.matchLabels.app",)),
    (GATEWAY, "spec/type", "ClusterIP", ("spec.type",), ()),
    (GATEWAY, "spec/clusterIP", "None", ("spec.clusterIP",), ("spec.clusterIP",)),
    (GATEWAY, "spec/ports/0/targetPort", 1, ("spec.ports[port-80].targetPort",), ()),
    (SECRET, "type", "tml", ("type",), ("type",)),
]


@pytest.mark.parametrize(("ref", "path", "value"), SAME)
async def test_what_kubernetes_or_the_bot_fills_in_is_no_difference(
    live: dict[Ref, Object], ref: Ref, path: str, value: Any
) -> None:
    assert told(ref, live[ref], changed(live[ref], path, value)) == ()
    assert told(ref, changed(live[ref], path, value), live[ref]) == ()


@pytest.mark.parametrize(("ref", "path", "value", "fields", "fixed"), OTHER)
async def test_what_somebody_decided_otherwise_is_named_by_its_field(
    live: dict[Ref, Object], ref: Ref, path: str, value: Any, fields: tuple[str, ...], fixed: tuple[str, ...]
) -> None:
    found = difference(ref, live[ref], changed(live[ref], path, value))
    assert found is not None
    assert (found.ref, found.fields, found.fixed) == (ref, fields, fixed)


async def test_of_a_secret_no_more_than_the_keys_is_told(live: dict[Ref, Object]) -> None:
    (key,) = live[SECRET]["data"]
    after = changed(changed(live[SECRET], f"data/{key}", "T1RIRVI="), "data/more", "TU9SRQ==")
    found = difference(SECRET, live[SECRET], after)
    assert found is not None
    assert found.fields == ("data in key more", f"data in key {key}")
    assert found.fixed == ()
    assert not [value for value in (*live[SECRET]["data"].values(), "T1RIRVI=") if value in repr(found)]
    assert told(SECRET, changed(live[SECRET], "data", {}), changed(live[SECRET], "data", None)) == ()


async def test_what_is_in_an_immutable_secret_cannot_be_changed(live: dict[Ref, Object]) -> None:
    after = changed(changed(live[SECRET], "data/more", "TU9SRQ=="), "immutable", True)
    found = difference(SECRET, live[SECRET], after)
    assert found is not None
    assert set(found.fixed) == {"immutable", "data in key more"}
