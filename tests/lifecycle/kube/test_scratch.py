"""The single writes of a restore test: what they send, and what they leave alone."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from lifecycle.decide import snapshot, verify
from lifecycle.errors import Conflict, Invalid, LeaseLost
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.kube.scratch import LABEL
from lifecycle.model import Action, Kind, Ref, Step
from lifecycle.operation import Operation
from lifecycle.snapshots import Ending, SnapshotSet, Temperature
from lifecycle.verification import Leftover, scratch_name
from lifecycle.volumes import Claim
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.resources import CLAIMS, PODS, SECRETS, STATEFULSETS, VOLUMES, Object
from sandbox.tml import PROD_NAMESPACE, prod, snapshot_class
from tests.lifecycle.kube.conftest import Held, operation_of
from tests.lifecycle.kube.journey import carried_out, patient_cluster

NAME = scratch_name("op-2", "sqlvol-mysql-set-0-0")
CLONE = Step(Action.CLONE, Claim.ref_of(NAME))
CHECK = Step(Action.CHECK, Ref(Kind.POD, NAME))


@pytest.fixture
async def cluster(api: KubernetesSandbox, door: Door) -> KubeCluster:
    api.apply([*prod(), snapshot_class()])
    await api.ready(PROD_NAMESPACE)
    return patient_cluster(door)


@pytest.fixture
async def taken(cluster: KubeCluster) -> tuple[Operation, SnapshotSet]:
    found = await cluster.discover()
    goal = snapshot.goal(found, await cluster.inventory(found), Temperature.HOT, ())
    operation = operation_of(goal.marked("op-1"), id_="op-1")
    seen = await carried_out(cluster, operation)
    ready = (Temperature.HOT, Ending.RUNNING, seen.at, seen.snapshots, (), seen.capture)
    return operation, SnapshotSet("op-1", *ready)


@pytest.fixture
async def testing(cluster: KubeCluster, taken: tuple[Operation, SnapshotSet]) -> Operation:
    by, found = taken
    goal = verify.goal(found, by, await cluster.likenesses(by, found.capture), {})
    verify.refuse_lost(goal, await cluster.picture(goal))
    return operation_of(goal.marked("op-2"), id_="op-2")


def change(api: KubernetesSandbox, name: str, **notes: str) -> None:
    def write(found: Object) -> None:
        found["metadata"]["annotations"] |= notes

    api.store.change(CLAIMS, PROD_NAMESPACE, name, write)


async def bound(api: KubernetesSandbox, cluster: KubeCluster, operation: Operation) -> Object:
    """The clone's volume."""
    await cluster.do(CLONE, operation, Held())
    await cluster.do(CHECK, operation, Held())
    await api.until(lambda store: store.get(PODS, PROD_NAMESPACE, NAME)["status"].get("phase") == "Succeeded")
    name = api.store.get(CLAIMS, PROD_NAMESPACE, NAME)["spec"]["volumeName"]
    return api.store.get(VOLUMES, None, name)


async def test_the_whole_of_it_leaves_nothing_whatever_it_made(
    api: KubernetesSandbox, cluster: KubeCluster, testing: Operation
) -> None:
    before = {one["metadata"]["uid"] for kind in (CLAIMS, PODS) for one in api.store.list(kind, PROD_NAMESPACE)}
    await carried_out(cluster, testing)
    after = {one["metadata"]["uid"] for kind in (CLAIMS, PODS) for one in api.store.list(kind, PROD_NAMESPACE)}
    assert after == before
    assert await cluster.leftovers() == ()


async def test_a_clone_asks_for_what_its_claim_had_and_for_its_snapshot(
    api: KubernetesSandbox, cluster: KubeCluster, testing: Operation
) -> None:
    for _ in range(2):
        uid = await cluster.do(CLONE, testing, Held())
    found, original = (api.store.get(CLAIMS, PROD_NAMESPACE, one) for one in (NAME, "sqlvol-mysql-set-0-0"))
    assert found["metadata"]["uid"] == uid
    assert found["metadata"]["labels"] == {LABEL: "op-2"}
    assert found["spec"]["accessModes"] == original["spec"]["accessModes"]
    assert found["spec"]["storageClassName"] == original["spec"]["storageClassName"]
    assert found["spec"]["resources"]["requests"]["storage"] == str(20 * 1024**3)
    assert found["spec"]["dataSource"]["name"] == "tml-op-1-sqlvol-mysql-set-0-0"
    assert await cluster.leftovers() == (Leftover(Claim.ref_of(NAME), "op-2"),)


@pytest.mark.parametrize(("step", "resource"), [(CLONE, CLAIMS), (CHECK, PODS)])
async def test_a_name_that_is_taken_is_ours_only_with_our_mark_label_and_purpose(
    api: KubernetesSandbox, cluster: KubeCluster, testing: Operation, step: Step, resource: object
) -> None:
    await cluster.do(CLONE, testing, Held())
    await cluster.do(CHECK, testing, Held())
    found: Callable[[Object], None]
    for found in (
        lambda one: one["metadata"]["labels"].clear(),
        lambda one: one["metadata"]["annotations"].pop("tml-bot/made-by"),
    ):
        api.store.change(resource, PROD_NAMESPACE, NAME, found)  # type: ignore[arg-type]
        with pytest.raises(Invalid, match="was made by somebody else"):
            await cluster.do(step, testing, Held())


async def test_nothing_is_made_or_removed_without_the_lease(cluster: KubeCluster, testing: Operation) -> None:
    for step in (CLONE, CHECK):
        with pytest.raises(LeaseLost):
            await cluster.do(step, testing, Held(is_held=False))
    uid = await cluster.do(CLONE, testing, Held())
    with pytest.raises(LeaseLost):
        await cluster.do(Step(Action.CLEAN, CLONE.ref, uid=uid), testing, Held(is_held=False))


async def test_nothing_but_its_own_clones_and_pods_is_ever_removed_or_let_go(
    api: KubernetesSandbox, cluster: KubeCluster, testing: Operation
) -> None:
    own = api.store.get(CLAIMS, PROD_NAMESPACE, "sqlvol-mysql-set-0-0")
    pod = api.store.get(PODS, PROD_NAMESPACE, "mysql-set-0-0")
    volume = api.store.get(VOLUMES, None, own["spec"]["volumeName"])
    steps = [
        Step(Action.CLEAN, Claim.ref_of(own["metadata"]["name"]), uid=own["metadata"]["uid"]),
        Step(Action.CLEAN, Ref(Kind.POD, "mysql-set-0-0"), uid=pod["metadata"]["uid"]),
        Step(Action.LET_GO, Ref(Kind.VOLUME, volume["metadata"]["name"]), uid=volume["metadata"]["uid"]),
    ]
    for step in steps:
        with pytest.raises(Invalid):
            await cluster.do(step, testing, Held())
    await cluster.do(CLONE, testing, Held())
    uid = api.store.get(CLAIMS, PROD_NAMESPACE, NAME)["metadata"]["uid"]
    change(api, NAME, **{"tml-bot/made-by": "op-9"})
    with pytest.raises(Invalid, match="was not made by this operation"):
        await cluster.do(Step(Action.CLEAN, CLONE.ref, uid=uid), testing, Held())
    assert await cluster.do(Step(Action.CLEAN, CLONE.ref, uid="another"), testing, Held()) == "another"
    assert api.store.get(CLAIMS, PROD_NAMESPACE, NAME)


async def test_a_clone_stays_until_its_volume_goes_with_it_and_a_volume_of_somebody_elses_never_does(
    api: KubernetesSandbox, cluster: KubeCluster, testing: Operation
) -> None:
    volume = await bound(api, cluster, testing)
    name, uid = volume["metadata"]["name"], volume["metadata"]["uid"]
    claim = api.store.get(CLAIMS, PROD_NAMESPACE, NAME)["metadata"]["uid"]
    letting, cleaning = Step(Action.LET_GO, Ref(Kind.VOLUME, name), uid=uid), Step(Action.CLEAN, CLONE.ref, uid=claim)

    def write(policy: str, provisioner: str | None) -> None:
        def changed(found: Object) -> None:
            found["spec"]["persistentVolumeReclaimPolicy"] = policy
            notes = found["metadata"]["annotations"]
            notes.pop("pv.kubernetes.io/provisioned-by", None)
            if provisioner:
                notes["pv.kubernetes.io/provisioned-by"] = provisioner

        api.store.change(VOLUMES, None, name, changed)

    write("Retain", None)
    with pytest.raises(Conflict, match="was not made for"):
        await cluster.do(letting, testing, Held())
    for policy in ("Retain", "Delete"):
        write(policy, None)
        with pytest.raises(Conflict, match="was not made for it"):
            await cluster.do(cleaning, testing, Held())
    write("Retain", "hostpath.csi.sandbox")
    with pytest.raises(Conflict, match="would stay behind"):
        await cluster.do(cleaning, testing, Held())
    for _ in range(2):
        await cluster.do(letting, testing, Held())
    assert api.store.get(VOLUMES, None, name)["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    await cluster.do(cleaning, testing, Held())
    pod = api.store.get(PODS, PROD_NAMESPACE, NAME)["metadata"]["uid"]
    await cluster.do(Step(Action.CLEAN, CHECK.ref, uid=pod), testing, Held())
    await api.until(lambda store: store.find(VOLUMES, None, name) is None)


async def test_a_free_volume_is_seen(api: KubernetesSandbox, cluster: KubeCluster, testing: Operation) -> None:
    spec = {"capacity": {"storage": "50Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "sql-storage-class"}
    csi = {"csi": {"driver": "hostpath.csi.sandbox", "volumeHandle": "free"}}
    made = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "free"}, "spec": spec | csi}
    api.apply([made])
    await api.until(lambda store: store.get(VOLUMES, None, "free")["status"].get("phase") == "Available")
    seen = await cluster.picture(testing.goal)
    assert [one.name for one in seen.scratch.free] == ["free"]
    assert "volume free of the class sql-storage-class is free" in (verify.uncloneable(testing.goal, seen) or "")


async def test_how_the_pods_run_is_read_from_what_is_live_and_else_from_the_capture(
    api: KubernetesSandbox, cluster: KubeCluster, taken: tuple[Operation, SnapshotSet]
) -> None:
    by, found = taken
    live = await cluster.likenesses(by, found.capture)
    sql = live["sqlvol-mysql-set-0-0"]
    template = api.store.get(STATEFULSETS, PROD_NAMESPACE, "mysql-set-0")["spec"]["template"]["spec"]
    assert (sql.image, sql.mount) == (template["containers"][0]["image"], "/var/lib/mysql")
    assert sql.pull_secrets == ("tmgc-registry-key",)

    def upgrade(one: Object) -> None:
        one["spec"]["template"]["spec"]["containers"][0]["image"] = "registry/sql:2"
        one["spec"]["template"]["spec"] |= {
            "securityContext": {"runAsUser": 999, "fsGroup": 27},
            "nodeSelector": {"zone": "a"},
            "tolerations": [{"key": "tml", "operator": "Exists", "effect": "NoSchedule"}],
        }

    api.store.change(STATEFULSETS, PROD_NAMESPACE, "mysql-set-0", upgrade)
    newer = (await cluster.likenesses(by, found.capture))["sqlvol-mysql-set-0-0"]
    assert (newer.image, newer.user, newer.fs_group) == ("registry/sql:2", 999, 27)
    assert (newer.node_selector, newer.tolerations[0].key) == ({"zone": "a"}, "tml")
    api.store.delete(STATEFULSETS, PROD_NAMESPACE, "mysql-set-0")
    assert (await cluster.likenesses(by, found.capture))["sqlvol-mysql-set-0-0"] == sql
    for one in api.store.list(SECRETS, PROD_NAMESPACE):
        if one["metadata"]["name"].startswith("tml-bot-capture"):
            api.store.delete(SECRETS, PROD_NAMESPACE, one["metadata"]["name"])
    assert "sqlvol-mysql-set-0-0" not in await cluster.likenesses(by, found.capture)


async def test_who_the_pods_run_as_and_where_is_what_the_checks_pod_gets(
    api: KubernetesSandbox, cluster: KubeCluster, testing: Operation
) -> None:
    assert testing.goal.verifying
    member = next(one for one in testing.goal.verifying.members if "sql" in one.claim and "mysql" in one.claim)
    other = replace(member, likeness=replace(member.likeness, user=999, fs_group=27, node_selector={"zone": "a"}))
    goal = replace(testing.goal, verifying=replace(testing.goal.verifying, members=(other,)))
    await cluster.do(CHECK, replace(testing, goal=goal), Held())
    spec = api.store.get(PODS, PROD_NAMESPACE, NAME)["spec"]
    assert spec["securityContext"] == {"runAsUser": 999, "fsGroup": 27}
    assert spec["nodeSelector"] == {"zone": "a"}
    assert "serviceAccountName" not in spec
