"""A capture in two namespaces: the same bytes in both, each seen whole, and read from the copy where home has none."""

from dataclasses import replace

import pytest

from lifecycle.decide import delete, phases_of, purge
from lifecycle.decide.purge import Stock
from lifecycle.errors import Conflict, Invalid, LeaseLost, NoNamespace
from lifecycle.kube import pieces
from lifecycle.kube.capture import Reader
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.model import Action, Kind, Ref, Target
from lifecycle.operation import Operation, State
from lifecycle.retention import Verdict
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.access import Identity, Role
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import NAMESPACES, SECRETS, SERVICES, Object
from sandbox.tml import PROD_NAMESPACE, STAGING_NAMESPACE, prod, staging
from tests.lifecycle.kube.conftest import Held, OpenDoor, operation_of
from tests.lifecycle.kube.journey import carried_out, deletion, patient_cluster
from tests.lifecycle.kube.test_capture import CAPTURE, Until

ELSEWHERE = "tml-captures"
PIECES = 2
"""Of the capture in this test, which `small` makes several of."""
FOREIGN = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "theirs", "namespace": ELSEWHERE}}


def make_namespace(api: KubernetesSandbox, name: str) -> None:
    api.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])


@pytest.fixture
async def cluster(api: KubernetesSandbox, door: Door) -> KubeCluster:
    make_namespace(api, ELSEWHERE)
    api.apply([*prod(), FOREIGN])
    await api.ready(PROD_NAMESPACE)
    return patient_cluster(door)


@pytest.fixture
async def operation(cluster: KubeCluster) -> Operation:
    return copied(await deletion(cluster, "op-7K2M9X"))


def copied(made: Operation) -> Operation:
    return replace(made, goal=replace(made.goal, copies=(ELSEWHERE,)))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of 4 KiB, two of the reference cluster."""
    whole = pieces.pack
    monkeypatch.setattr(pieces, "pack", lambda objects: whole(objects, 4 * 1024))


def lying_in(api: KubernetesSandbox, namespace: str) -> list[Object]:
    return [one for one in api.store.list(SECRETS, namespace) if one["type"] == pieces.TYPE]


def data_of(api: KubernetesSandbox, namespace: str) -> list[object]:
    return [one["data"] for one in lying_in(api, namespace)]


async def lacking(cluster: KubeCluster, operation: Operation) -> tuple[str, ...]:
    return (await cluster.picture(operation.goal)).lacking


async def test_it_is_written_to_both_and_a_copy_says_whose_it_is(
    api: KubernetesSandbox, cluster: KubeCluster, operation: Operation, small: None
) -> None:
    await cluster.do(CAPTURE, operation, Held())
    assert len(data_of(api, PROD_NAMESPACE)) == PIECES
    assert data_of(api, ELSEWHERE) == data_of(api, PROD_NAMESPACE)
    metadata = lying_in(api, ELSEWHERE)[0]["metadata"]
    assert metadata["name"] == f"tml-bot-copy-{PROD_NAMESPACE}-op-7k2m9x-0"
    assert metadata["labels"] == {"tml-bot/capture": "op-7K2M9X", "tml-bot/namespace": PROD_NAMESPACE}
    assert metadata["annotations"]["tml-bot/cluster"] == "prod"
    observed = await cluster.picture(operation.goal)
    assert (len(observed.capture), observed.lacking) == (64, ())


@pytest.mark.parametrize("written", range(1, 2 * PIECES + 1))
async def test_cut_off_anywhere_the_next_attempt_leaves_both_whole_and_the_same(
    api: KubernetesSandbox, cluster: KubeCluster, operation: Operation, small: None, written: int
) -> None:
    """Between the two something changes: what is whole at home is what is copied, whatever is live by then."""
    try:
        await cluster.do(CAPTURE, operation, Until(1 + written))
    except LeaseLost:
        assert not delete.captured(operation.goal, await cluster.picture(operation.goal), CAPTURE.ref)
    home = (await cluster.picture(replace(operation.goal, copies=()))).capture
    api.annotate(SERVICES, PROD_NAMESPACE, "tm-svc", "changed", "since")
    await cluster.do(CAPTURE, replace(operation, epoch=2), Held())
    observed = await cluster.picture(operation.goal)
    assert delete.captured(operation.goal, observed, CAPTURE.ref)
    assert home in ("", observed.capture)
    assert data_of(api, ELSEWHERE) == data_of(api, PROD_NAMESPACE)


@pytest.mark.parametrize("where", [PROD_NAMESPACE, ELSEWHERE])
async def test_a_piece_that_somebody_takes_away_from_either_is_seen_and_written_again(
    api: KubernetesSandbox, cluster: KubeCluster, operation: Operation, small: None, where: str
) -> None:
    phase = next(phase for phase in phases_of(operation.goal) if phase.name == "capture")
    await cluster.do(CAPTURE, operation, Held())
    async with cluster.watch(operation.goal) as watch:
        seen = await watch.next(5)
        assert seen
        assert phase.reached(operation.goal, seen)
        api.store.delete(SECRETS, where, lying_in(api, where)[0]["metadata"]["name"])
        seen = await watch.next(5)
        assert seen
        assert seen.lacking == (where,)
        assert [step.action for step in phase.decide(operation.goal, seen)] == [Action.CAPTURE]
    await cluster.do(CAPTURE, operation, Held())
    assert await lacking(cluster, operation) == ()
    assert data_of(api, ELSEWHERE) == data_of(api, PROD_NAMESPACE)


async def test_a_thawed_executor_takes_no_piece_of_a_copy_away(
    api: KubernetesSandbox, cluster: KubeCluster, operation: Operation, small: None
) -> None:
    await cluster.do(CAPTURE, replace(operation, epoch=2), Held())
    gone = lying_in(api, ELSEWHERE)[0]["metadata"]["name"]
    api.store.delete(SECRETS, ELSEWHERE, gone)
    before = lying_in(api, ELSEWHERE)
    with pytest.raises(Conflict, match="later executor"):
        await cluster.do(CAPTURE, operation, Held())
    assert lying_in(api, ELSEWHERE) == before


async def test_two_clusters_share_the_namespace_and_see_each_their_own_even_of_one_operation(
    api: KubernetesSandbox, cluster: KubeCluster, door: Door
) -> None:
    api.apply(staging())
    await api.ready(STAGING_NAMESPACE)
    other = patient_cluster(door, STAGING_NAMESPACE)
    ours, theirs = copied(await deletion(cluster)), copied(await deletion(other))
    await cluster.do(CAPTURE, ours, Held())
    assert await lacking(other, theirs) == ()
    assert (await other.picture(theirs.goal)).capture == ""
    await other.do(CAPTURE, theirs, Held())
    shas = {(await one.picture(made.goal)).capture for one, made in ((cluster, ours), (other, theirs))}
    assert len(shas) == 2
    assert len(lying_in(api, ELSEWHERE)) == 2


async def test_a_copy_that_lies_in_another_clusters_own_namespace_is_never_taken_for_that_ones(
    api: KubernetesSandbox, cluster: KubeCluster, door: Door
) -> None:
    api.apply(staging())
    await api.ready(STAGING_NAMESPACE)
    other = patient_cluster(door, STAGING_NAMESPACE)
    ours, theirs = await deletion(cluster), await deletion(other)
    await cluster.do(CAPTURE, replace(ours, goal=replace(ours.goal, copies=(STAGING_NAMESPACE,))), Held())
    assert len(lying_in(api, STAGING_NAMESPACE)) == 1
    assert (await other.picture(theirs.goal)).capture == ""


async def test_home_comes_first_then_the_copy_and_neither_is_read_that_was_changed(
    api: KubernetesSandbox, cluster: KubeCluster, operation: Operation, door: Door
) -> None:
    await cluster.do(CAPTURE, operation, Held())
    sha256 = (await cluster.picture(operation.goal)).capture
    reader = Reader(door, PROD_NAMESPACE)
    api.faults.add(Fault("status", method="GET", namespace=ELSEWHERE, resource="secrets", status=500))
    assert await reader.read(operation.id, sha256, operation.goal.copies), "the copy is not asked for"
    api.faults.clear()
    api.store.delete(SECRETS, PROD_NAMESPACE, lying_in(api, PROD_NAMESPACE)[0]["metadata"]["name"])
    found = await reader.read(operation.id, sha256, operation.goal.copies)
    assert Ref(Kind.SECRET, "sql-property") in found
    with pytest.raises(Invalid, match="there is no Secret tml-bot-capture"):
        await reader.read(operation.id, sha256)
    with pytest.raises(Invalid, match="there is no Secret tml-bot-capture"):
        await reader.read(operation.id, "0" * 64, operation.goal.copies)


async def test_a_copy_has_the_parts_too_that_a_delete_leaves_in_the_namespace(cluster: KubeCluster, door: Door) -> None:
    found = await cluster.discover()
    goal = delete.goal(found, await cluster.inventory(found), keeps_services=True)
    for copies, has_it in (((), False), ((ELSEWHERE,), True)):
        identity = f"op-{len(copies)}"
        made = operation_of(replace(goal, copies=copies).marked(identity), id_=identity)
        await cluster.do(CAPTURE, made, Held())
        sha256 = (await cluster.picture(made.goal)).capture
        captured = await Reader(door, PROD_NAMESPACE).read(identity, sha256)
        assert (Ref(Kind.SERVICE, "tm-svc") in captured) is has_it


async def test_a_purge_removes_both(api: KubernetesSandbox, cluster: KubeCluster, operation: Operation) -> None:
    await carried_out(cluster, operation)
    stock = Stock(kept_by=(replace(operation, state=State.DONE),))
    observed = await cluster.picture(purge.draft(stock))
    assert {part.namespace for part in observed.parts} == {"", ELSEWHERE}
    goal = purge.goal(stock, observed, [operation.id], Verdict())
    await carried_out(cluster, operation_of(goal.marked("op-p"), 3, "op-p"))
    assert lying_in(api, PROD_NAMESPACE) == lying_in(api, ELSEWHERE) == []
    assert [one["metadata"]["name"] for one in api.store.list(SECRETS, ELSEWHERE)] == ["theirs"]


async def test_a_namespace_is_known_by_its_uid_and_that_it_is_gone_or_going_is_said_with_what_to_do(
    api: KubernetesSandbox, cluster: KubeCluster, door: Door, open_door: OpenDoor
) -> None:
    there = api.store.get(NAMESPACES, None, PROD_NAMESPACE)["metadata"]["uid"]
    assert await cluster.home() == there
    api.server.tokens["few"] = Identity("few", (Role(("",), ("secrets",), ("*",)),))
    assert await patient_cluster(await open_door("few"), "nowhere").home() == "", "who may not look does not know"
    with pytest.raises(NoNamespace, match=r"There is no namespace nowhere\..* create namespace nowhere`"):
        await patient_cluster(door, "nowhere").home()
    with pytest.raises(NoNamespace, match="There is no namespace nowhere"):
        await cluster.missing_rights_to_copies([ELSEWHERE, "nowhere"])

    def hold(found: Object) -> None:
        found["metadata"]["finalizers"] = ["example.com/held"]

    api.store.change(SECRETS, ELSEWHERE, "theirs", hold, actor="somebody")
    api.store.delete(NAMESPACES, None, ELSEWHERE)
    with pytest.raises(NoNamespace, match=f"{ELSEWHERE} is being deleted; wait until it is gone"):
        await patient_cluster(door, ELSEWHERE).home()
    assert Target("local", ELSEWHERE) == patient_cluster(door, ELSEWHERE).target
