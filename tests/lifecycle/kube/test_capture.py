"""The capture: whole or not there, never written twice, and silent about what is in it."""

import json
import logging
from dataclasses import dataclass, replace

import pytest

from lifecycle.errors import ClusterError, Conflict, Invalid, LeaseLost, Retryable
from lifecycle.kube import capture, paths, pieces
from lifecycle.kube.answers import Request
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.kube.paths import Resource
from lifecycle.kube.pieces import Shelf
from lifecycle.model import Action, Kind, Ref, Step
from lifecycle.operation import Operation
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import SECRETS, SERVICES, Object
from sandbox.tml import PROD_NAMESPACE, prod
from tests.lifecycle.kube.conftest import Held
from tests.lifecycle.kube.journey import deletion, patient_cluster

HOME = Shelf(PROD_NAMESPACE, PROD_NAMESPACE)
CAPTURE = Step(Action.CAPTURE, Ref(Kind.SECRET, "tml-bot-capture"))


@pytest.fixture
async def cluster(api: KubernetesSandbox, door: Door) -> KubeCluster:
    api.apply(prod())
    await api.ready(PROD_NAMESPACE)
    return patient_cluster(door)


@pytest.fixture
async def operation(cluster: KubeCluster) -> Operation:
    return await deletion(cluster, "op-7K2M9X")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of 2 KiB, so that the reference cluster makes several."""
    whole = pieces.pack
    monkeypatch.setattr(pieces, "pack", lambda objects: whole(objects, 2048))


def secrets(api: KubernetesSandbox) -> list[Object]:
    found = api.store.list(SECRETS, PROD_NAMESPACE)
    return [one for one in found if one["metadata"]["name"].startswith("tml-bot-capture")]


async def seen(cluster: KubeCluster, operation: Operation) -> str:
    return (await cluster.picture(operation.goal)).capture


async def test_every_object_that_goes_is_read_back_as_it_was(
    api: KubernetesSandbox, cluster: KubeCluster, operation: Operation, door: Door, small: None
) -> None:
    assert await seen(cluster, operation) == ""
    await cluster.do(CAPTURE, operation, Held())
    sha256 = await seen(cluster, operation)
    assert len(sha256) == 64
    assert len(secrets(api)) > 2
    assert {one["metadata"]["name"] for one in secrets(api)} >= {"tml-bot-capture-op-7k2m9x-0"}
    assert {one["type"] for one in secrets(api)} == {"tml-bot/capture"}
    found = await capture.read_back(door, HOME, operation.id, sha256)
    goal = operation.goal
    assert set(found) == {one.ref for one in (*goal.scope, *goal.parts, *goal.claims, *goal.volumes)}
    assert found[Ref(Kind.SECRET, "sql-property")] == api.store.get(SECRETS, PROD_NAMESPACE, "sql-property")


def test_the_same_objects_make_the_same_capture() -> None:
    objects = [{"kind": "Secret", "data": {"b": "1", "a": "2"}}]
    again = [{"data": {"a": "2", "b": "1"}, "kind": "Secret"}]
    assert pieces.pack(objects) == pieces.pack(again)
    packed = pieces.pack(objects, 7)
    assert max(map(len, packed.pieces)) == 7
    assert pieces.unpack(pieces.packed(packed.pieces, packed.sha256)) == objects


async def test_once_whole_it_is_never_written_again(
    api: KubernetesSandbox, cluster: KubeCluster, operation: Operation
) -> None:
    await cluster.do(CAPTURE, operation, Held())
    before = secrets(api)
    api.annotate(SERVICES, PROD_NAMESPACE, "tm-svc", "changed", "since")
    await cluster.do(CAPTURE, operation, Held())
    await cluster.do(CAPTURE, replace(operation, epoch=7), Held())
    assert secrets(api) == before


@dataclass
class Until:
    """A Lease that is lost after so many questions."""

    left: int

    @property
    def is_held(self) -> bool:
        self.left -= 1
        return self.left >= 0


@pytest.mark.parametrize("written", [1, 2, 3])
async def test_an_attempt_that_was_cut_off_leaves_nothing_that_passes_for_whole(
    api: KubernetesSandbox, cluster: KubeCluster, operation: Operation, door: Door, small: None, written: int
) -> None:
    """Between the two attempts something changes, so that the pieces of the two do not fit together."""
    with pytest.raises(LeaseLost):
        await cluster.do(CAPTURE, operation, Until(1 + written))
    assert len(secrets(api)) == written
    assert await seen(cluster, operation) == ""
    api.annotate(SERVICES, PROD_NAMESPACE, "tm-svc", "changed", "since")
    await cluster.do(CAPTURE, replace(operation, epoch=2), Held())
    sha256 = await seen(cluster, operation)
    found = await capture.read_back(door, HOME, operation.id, sha256)
    assert found[Ref(Kind.SERVICE, "tm-svc")]["metadata"]["annotations"]["changed"] == "since"
    assert {one["metadata"]["annotations"]["tml-bot/sha256"] for one in secrets(api)} == {sha256}


async def test_a_lost_answer_costs_nothing_but_another_attempt(
    api: KubernetesSandbox, cluster: KubeCluster, operation: Operation
) -> None:
    api.faults.add(Fault("drop_after", method="POST", resource="secrets", times=1))
    with pytest.raises(Retryable):
        await cluster.do(CAPTURE, operation, Held())
    before = secrets(api)
    await cluster.do(CAPTURE, operation, Held())
    assert secrets(api) == before


async def test_a_thawed_executor_takes_no_piece_away(
    api: KubernetesSandbox, cluster: KubeCluster, operation: Operation, small: None
) -> None:
    with pytest.raises(LeaseLost):
        await cluster.do(CAPTURE, replace(operation, epoch=2), Until(2))
    before = secrets(api)
    with pytest.raises(Conflict, match="later executor"):
        await cluster.do(CAPTURE, operation, Held())
    assert secrets(api) == before


async def test_a_name_that_somebody_else_took_ends_it(
    api: KubernetesSandbox, cluster: KubeCluster, operation: Operation
) -> None:
    name = HOME.name_of(operation.id, 0)
    api.apply([{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": PROD_NAMESPACE}}])
    with pytest.raises(Invalid, match="is there already"):
        await cluster.do(CAPTURE, operation, Held())


async def test_an_object_that_is_not_the_one_of_the_plan_is_not_captured(
    api: KubernetesSandbox, cluster: KubeCluster, operation: Operation
) -> None:
    api.store.delete(SERVICES, PROD_NAMESPACE, "tm-svc")
    with pytest.raises(Invalid, match="was deleted"):
        await cluster.do(CAPTURE, operation, Held())
    api.apply([one for one in prod() if one["metadata"]["name"] == "tm-svc"])
    with pytest.raises(Invalid, match="was replaced"):
        await cluster.do(CAPTURE, operation, Held())
    assert secrets(api) == []


async def test_what_was_changed_or_is_not_whole_is_not_read(
    api: KubernetesSandbox, cluster: KubeCluster, operation: Operation, door: Door, small: None
) -> None:
    await cluster.do(CAPTURE, operation, Held())
    sha256 = await seen(cluster, operation)
    with pytest.raises(Invalid, match="not what was written"):
        await capture.read_back(door, HOME, operation.id, "0" * 64)
    api.store.delete(SECRETS, PROD_NAMESPACE, HOME.name_of(operation.id, 1))
    assert await seen(cluster, operation) == ""
    with pytest.raises(Invalid, match="not whole"):
        await capture.read_back(door, HOME, operation.id, sha256)


@pytest.mark.parametrize("status", [400, 403, 409, 413, 422, 500, 504])
async def test_no_value_of_a_secret_is_told_when_capturing_fails(
    api: KubernetesSandbox,
    cluster: KubeCluster,
    operation: Operation,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    status: int,
) -> None:
    caplog.set_level(logging.DEBUG)
    last_applied = json.dumps({"data": {"tml_sql_properties.json": "CANARY-last-applied"}})
    key = "kubectl.kubernetes.io/last-applied-configuration"
    api.annotate(SECRETS, PROD_NAMESPACE, "sql-property", key, last_applied)
    api.faults.add(Fault("status", method="POST", resource="secrets", status=status))
    with pytest.raises(ClusterError) as raised:
        await cluster.do(CAPTURE, operation, Held())
    async with cluster.watch(operation.goal) as watch:
        picture = await watch.next(5)
        told = [*_everything_of(raised.value), repr(watch), repr(vars(watch)), repr(picture), repr(operation)]
    told += [caplog.text, *(repr(vars(record)) for record in caplog.records), *capsys.readouterr()]
    encoded = [value for one in api.store.list(SECRETS, PROD_NAMESPACE) for value in (one.get("data") or {}).values()]
    for text in told:
        assert "CANARY" not in text
        assert not any(value in text for value in encoded if len(value) > 8)


def _everything_of(error: BaseException) -> list[str]:
    """Text and repr of an exception and of all that led to it."""
    found = [str(error), repr(error), repr(vars(error))]
    for cause in (error.__cause__, error.__context__):
        found += _everything_of(cause) if cause is not None else []
    return found


def test_a_request_shows_nothing_of_its_body() -> None:
    path = paths.all_of(Resource.SECRETS, PROD_NAMESPACE)
    assert "CANARY" not in repr(Request("POST", path, body={"data": {"a": "CANARY"}}))
    assert "CANARY" not in repr(pieces.pack([{"data": "CANARY"}]))
