"""Why a cluster is not where it should be, for each fault of the sandbox and for what can only be made up."""

from dataclasses import replace
from typing import Any

import pytest

from lifecycle.decide import start, stop
from lifecycle.diagnosis import Diagnosis, Finding
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.diagnose import explain
from lifecycle.kube.door import Door
from lifecycle.kube.evidence import Evidence
from lifecycle.kube.masking import MASK, masked, shown
from lifecycle.kube.paths import Resource
from lifecycle.model import Component, Kind, Ref
from lifecycle.topology import arranged
from lifecycle.workloads import Owner, OwnerKind, Workload
from sandbox.kubernetes import FAULT_ANNOTATION, KubernetesSandbox
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import DEPLOYMENTS, EVENTS, PODS, STATEFULSETS, Object
from sandbox.kubernetes.store import Store
from sandbox.tml import PROD_NAMESPACE, prod
from tests.lifecycle.kube.conftest import cluster_at

SQL = Ref(Kind.STATEFUL_SET, "mysql-set-0")
TM = Ref(Kind.DEPLOYMENT, "tm-deploy-0")
POD = "mysql-set-0-0"


@pytest.fixture
def cluster(door: Door) -> KubeCluster:
    return cluster_at(door)


def prod_with(fault: str) -> list[Object]:
    """The reference cluster, whose MySQL has this fault from the beginning."""
    found = prod()
    for one in found:
        if one["metadata"]["name"] == SQL.name:
            one["metadata"]["annotations"] = {FAULT_ANNOTATION: fault}
    return found


async def diagnosis_of_start(cluster: KubeCluster) -> Diagnosis:
    found = await cluster.discover()
    goal = start.goal(found, {}, {})
    missing = [str(one.ref) for one in goal.scope if not found.observed[one].is_ready(one.ref.kind)]
    return await cluster.diagnose(goal.topology, missing)


def has_event(store: Store, reason: str) -> bool:
    return any(event["reason"] == reason for event in store.list(EVENTS, PROD_NAMESPACE))


def waits(store: Store, reason: str) -> bool:
    pod = store.find(PODS, PROD_NAMESPACE, POD) or {"status": {}}
    states = [one["state"] for one in pod["status"].get("containerStatuses") or []]
    return any(state.get("waiting", {}).get("reason") == reason for state in states)


def only_sql_is_left(store: Store) -> bool:
    """All that does not need sql is ready."""
    sets = store.list(STATEFULSETS, PROD_NAMESPACE)
    return all(one["status"].get("readyReplicas") for one in sets if one["metadata"]["name"] != SQL.name)


async def test_a_pod_that_never_gets_ready_is_told_with_its_probe_and_its_log(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    api.apply(prod_with("never-ready"))
    await api.until(lambda store: _unhealthy(store, POD) and only_sql_is_left(store))
    found = await diagnosis_of_start(cluster)
    first = found.findings[0]
    assert (first.object, first.reason) == (f"pod/{POD}", "Unhealthy")
    assert "probe failed" in first.message
    assert "[ERROR]" in "\n".join(first.log)
    assert len(first.log) <= 5
    assert found.findings[-1] == Finding("deployment/tm-deploy-0", "waits for sql", "")


def _unhealthy(store: Store, pod: str) -> bool:
    events = store.list(EVENTS, PROD_NAMESPACE)
    return any(one["reason"] == "Unhealthy" and one["involvedObject"]["name"] == pod for one in events)


async def test_an_image_that_cannot_be_pulled_is_told(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    api.apply(prod_with("image-pull"))
    await api.until(lambda store: waits(store, "ImagePullBackOff") and only_sql_is_left(store))
    first = (await diagnosis_of_start(cluster)).findings[0]
    assert (first.object, first.reason) == (f"pod/{POD}", "ImagePullBackOff")
    assert "registry.example.com" in first.message
    assert first.log == ()


async def test_a_pod_that_fits_nowhere_is_told(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    api.apply(prod_with("unschedulable"))
    await api.until(lambda store: has_event(store, "FailedScheduling") and only_sql_is_left(store))
    first = (await diagnosis_of_start(cluster)).findings[0]
    assert (first.object, first.reason) == (f"pod/{POD}", "Unschedulable")
    assert "nodes are available" in first.message


async def test_a_container_that_crashes_is_told_with_the_log_of_the_run_before(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    api.apply(prod_with("crash-loop"))
    await api.until(lambda store: waits(store, "CrashLoopBackOff") and only_sql_is_left(store))
    found = await diagnosis_of_start(cluster)
    first = found.findings[0]
    assert first.object == f"pod/{POD}"
    assert first.reason in ("CrashLoopBackOff", "Error") or first.reason.startswith("restarted")
    assert any("Aborting" in line for line in first.log)


async def test_a_pod_that_cannot_go_is_told_by_its_stop(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    api.apply(prod())
    await api.ready(PROD_NAMESPACE)
    goal = stop.goal(await cluster.discover())
    api.annotate(STATEFULSETS, PROD_NAMESPACE, SQL.name, FAULT_ANNOTATION, "stuck-terminating")
    for ref in (TM, SQL):
        _scale_to_zero(api, ref)
    await api.until(lambda store: has_event(store, "FailedKillPod"))
    await api.until(lambda store: not any(_is_of_tm(pod) for pod in store.list(PODS, PROD_NAMESPACE)))
    found = await cluster.diagnose(goal.topology, ["statefulset/mysql-set-0", "statefulset/cass-set-0"])
    first = found.findings[0]
    assert (first.object, first.reason) == (f"pod/{POD}", "Terminating")
    assert "FailedKillPod" in first.message
    assert found.findings[-1].object == "statefulset/cass-set-0"
    assert found.findings[-1].reason.startswith("waits for ")
    assert "sql" in found.findings[-1].reason


def _is_of_tm(pod: Object) -> bool:
    return str(pod["metadata"]["name"]).startswith("tm-deploy-0")


def _scale_to_zero(api: KubernetesSandbox, ref: Ref) -> None:
    def to_zero(found: Object) -> None:
        found["spec"]["replicas"] = 0

    resource = STATEFULSETS if ref.kind is Kind.STATEFUL_SET else DEPLOYMENTS
    api.store.change(resource, PROD_NAMESPACE, ref.name, to_zero)


async def test_what_cannot_be_read_is_a_finding(api: KubernetesSandbox, cluster: KubeCluster) -> None:
    api.apply(prod_with("image-pull"))
    await api.until(lambda store: waits(store, "ImagePullBackOff") and only_sql_is_left(store))
    found = await cluster.discover()
    api.faults.add(Fault("status", verb="list", resource="events", status=403))
    partly = await cluster.diagnose(arranged(found.workloads), [str(SQL)])
    assert [one.reason for one in partly.findings] == ["ImagePullBackOff", "cannot be read"]
    api.faults.add(Fault("status", verb="list", status=403))
    nothing = await cluster.diagnose(arranged(found.workloads), [str(SQL)])
    assert {one.reason for one in nothing.findings} == {"cannot be read"}


def workload(name: str, component: Component, kind: Kind = Kind.STATEFUL_SET, **more: Any) -> Workload:
    selector = {"app": name}
    return Workload(Ref(kind, name), component, 0, f"uid-{name}", selector, 1, **more)


def live(one: Workload, ready: int = 0, **more: Any) -> Object:
    status = {"replicas": ready, "readyReplicas": ready, "updatedReplicas": ready, "availableReplicas": ready}
    return {
        "metadata": {"name": one.ref.name, "uid": one.uid},
        "spec": {"replicas": 1},
        "status": status | more,
    }


def pod_of(one: Workload, **status: Any) -> Object:
    metadata = {"name": f"{one.ref.name}-0", "uid": f"uid-{one.ref.name}-0", "labels": dict(one.selector)}
    return {"metadata": metadata, "spec": {"containers": [{"name": "main"}]}, "status": status}


def event(kind: str, found: Object, reason: str, message: str, at: str = "2026-11-02T10:00:00Z") -> Object:
    about = {"kind": kind, "name": found["metadata"]["name"], "uid": found["metadata"]["uid"]}
    return {"type": "Warning", "involvedObject": about, "reason": reason, "message": message, "lastTimestamp": at}


def explained(*workloads: Workload, **lists: list[Object]) -> list[Finding]:
    evidence = Evidence({resource: lists.get(resource.plural, []) for resource in Resource})
    return [one.finding for one in explain(arranged(workloads), evidence, [str(one.ref) for one in workloads])]


NOSQL = workload("cass-set-0", Component.NOSQL, claims=("vol",))
GATEWAY = workload("tm-deploy-0", Component.TM, Kind.DEPLOYMENT)


def test_a_quota_that_refuses_pods_is_told() -> None:
    message = "exceeded quota: compute"
    found = live(NOSQL)
    told = explained(NOSQL, statefulsets=[found], events=[event("StatefulSet", found, "FailedCreate", message)])
    assert told == [Finding("statefulset/cass-set-0", "FailedCreate", "0 of 1 pods exist: exceeded quota: compute")]


def test_a_deployments_refusals_are_told_by_its_replica_sets() -> None:
    replica_set = {"metadata": {"name": "tm-deploy-0-5d9", "uid": "rs"}}
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    told = explained(
        GATEWAY,
        deployments=[live(GATEWAY, conditions=[late])],
        events=[event("ReplicaSet", replica_set, "FailedCreate", "no service account")],
    )
    assert [(one.reason, one.message) for one in told] == [
        ("FailedCreate", "0 of 1 pods exist: no service account"),
        ("ProgressDeadlineExceeded", "timed out"),
    ]


def test_a_volume_that_cannot_be_mounted_is_told_by_the_newest_event() -> None:
    waiting = {"name": "main", "state": {"waiting": {"reason": "ContainerCreating"}}}
    pod = pod_of(NOSQL, phase="Pending", containerStatuses=[waiting])
    events = [
        event("Pod", pod, "FailedScheduling", "older", "2026-11-02T09:00:00Z"),
        event("Pod", pod, "FailedMount", "timed out waiting for the volume", "2026-11-02T10:00:00Z"),
        event("Pod", {"metadata": {"name": "cass-set-0-0", "uid": "before"}}, "Evicted", "a namesake's", "2026-11-03"),
    ]
    told = explained(NOSQL, statefulsets=[live(NOSQL)], pods=[pod], events=events)
    assert told == [Finding("pod/cass-set-0-0", "FailedMount", "timed out waiting for the volume")]


def test_a_claim_that_is_not_provisioned_comes_before_the_pod_that_waits_for_it() -> None:
    claim = {"metadata": {"name": "vol-cass-set-0-0", "uid": "c"}, "status": {"phase": "Pending"}}
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "unbound claims"}
    told = explained(
        NOSQL,
        statefulsets=[live(NOSQL)],
        persistentvolumeclaims=[claim],
        pods=[pod_of(NOSQL, phase="Pending", conditions=[unscheduled])],
        events=[event("PersistentVolumeClaim", claim, "ProvisioningFailed", "no such zone")],
    )
    assert [(one.object, one.reason) for one in told] == [
        ("persistentvolumeclaim/vol-cass-set-0-0", "ProvisioningFailed"),
        ("pod/cass-set-0-0", "Unschedulable"),
    ]


def test_a_pod_that_does_not_end_is_told_with_its_finalizers_and_its_node() -> None:
    pod = pod_of(NOSQL, phase="Running", reason="NodeLost", message="node-1 is unresponsive")
    pod["metadata"] |= {"deletionTimestamp": "2026-11-02T10:00:00Z", "finalizers": ["example.com/hold"]}
    gone = live(NOSQL) | {"spec": {"replicas": 0}}
    (told,) = explained(NOSQL, statefulsets=[gone], pods=[pod])
    assert told.reason == "Terminating"
    assert "example.com/hold" in told.message
    assert "NodeLost node-1 is unresponsive" in told.message


def test_a_container_between_two_crashes_is_told_by_its_last_end() -> None:
    last = {"terminated": {"exitCode": 1, "reason": "Error"}}
    status = {"name": "main", "ready": False, "restartCount": 4, "state": {"running": {}}, "lastState": last}
    (told,) = explained(
        NOSQL,
        statefulsets=[live(NOSQL)],
        pods=[pod_of(NOSQL, phase="Running", containerStatuses=[status])],
    )
    assert (told.reason, told.message) == ("restarted 4x", "last exit code 1 Error")


def initially(state: Object) -> Object:
    return {"initContainerStatuses": [{"name": "chown", "state": state}]}


def mainly(state: Object) -> Object:
    return {"containerStatuses": [{"name": "main", "state": state}]}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "Evicted"),
        (initially({"waiting": {"reason": "ErrImagePull"}}), "ErrImagePull"),
        (initially({"terminated": {"exitCode": 0}}), "not ready"),
        (mainly({"waiting": {"reason": "PodInitializing"}}), "PodInitializing"),
        (mainly({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}), "OOMKilled"),
        (mainly({"running": {}}), "not ready"),
    ],
)
def test_each_state_of_a_pod_has_its_reason(status: Object, reason: str) -> None:
    told = explained(NOSQL, statefulsets=[live(NOSQL)], pods=[pod_of(NOSQL, **status)])
    assert [one.reason for one in told] == [reason]


@pytest.mark.parametrize(("phase", "reason"), [("Lost", "Lost"), ("Pending", "Pending")])
def test_a_claim_that_is_not_bound_is_told(phase: str, reason: str) -> None:
    claim = {"metadata": {"name": "vol-cass-set-0-0", "uid": "c"}, "status": {"phase": phase}}
    told = explained(NOSQL, statefulsets=[live(NOSQL)], persistentvolumeclaims=[claim])
    assert reason in [one.reason for one in told]


def test_a_workload_at_zero_or_one_its_controller_ignores_is_told() -> None:
    found = live(NOSQL, observedGeneration=1)
    found["spec"]["replicas"] = 0
    found["metadata"]["generation"] = 2
    settled = found | {"status": {"observedGeneration": 2}}
    assert [one.reason for one in explained(NOSQL, statefulsets=[settled])] == ["at zero"]
    told = explained(NOSQL, statefulsets=[found], pods=[pod_of(NOSQL, phase="Running")])
    assert [one.reason for one in told] == ["not seen by its controller", "not asked to stop yet"]


def test_a_replica_failure_is_told_when_its_events_are_gone() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}
    (told,) = explained(GATEWAY, deployments=[live(GATEWAY, conditions=[failure])])
    assert (told.reason, told.message) == ("FailedCreate", "0 of 1 pods exist: quota")


def test_a_deleted_workload_is_told() -> None:
    assert [one.reason for one in explained(NOSQL)] == ["does not exist"]


def test_what_should_be_gone_and_is_up_is_told_with_who_sets_its_count() -> None:
    owned = replace(NOSQL, owners=(Owner(OwnerKind.ARGO_CD, "tml"),))
    (told,) = explained(owned, statefulsets=[live(NOSQL, ready=1)])
    assert (told.reason, told.message) == ("up", "it asks for 1 and 1 are ready; Argo CD tml may set it again")


def test_in_a_stop_what_is_needed_waits_for_what_is_still_there() -> None:
    going = live(GATEWAY) | {"spec": {"replicas": 0}}
    pod = pod_of(GATEWAY, phase="Running")
    pod["metadata"]["deletionTimestamp"] = "2026-11-02T10:00:00Z"
    told = explained(NOSQL, GATEWAY, statefulsets=[live(NOSQL)], deployments=[going], pods=[pod])
    assert [(one.object, one.reason) for one in told] == [
        ("pod/tm-deploy-0-0", "Terminating"),
        ("statefulset/cass-set-0", "waits for tm"),
    ]


def test_in_a_start_what_is_at_zero_waits_for_what_is_not_ready() -> None:
    waiting = live(GATEWAY) | {"spec": {"replicas": 0}}
    told = explained(NOSQL, GATEWAY, statefulsets=[live(NOSQL)], deployments=[waiting])
    assert [(one.object, one.reason) for one in told] == [
        ("statefulset/cass-set-0", "pods missing"),
        ("deployment/tm-deploy-0", "waits for nosql"),
    ]


def test_in_a_restart_what_has_no_mark_yet_waits_for_what_is_not_ready() -> None:
    marked = live(NOSQL)
    marked["spec"]["template"] = {"metadata": {"annotations": {"tml-bot/restarted-by": "op-1"}}}
    told = explained(NOSQL, GATEWAY, statefulsets=[marked], deployments=[live(GATEWAY, ready=1)])
    assert [(one.object, one.reason) for one in told] == [
        ("statefulset/cass-set-0", "pods missing"),
        ("deployment/tm-deploy-0", "waits for nosql"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "mom_secret=S3CRET",
        'connecting with {"password": "S3CRET x", "user": "a"}',
        "MYSQL_ROOT_PASSWORD: 'S3CRET'",
        "mysqld --password S3CRET --port 3306",
        "CREATE USER tml IDENTIFIED BY 'S3CRET'",
        "Authorization: Bearer S3CRETS3CRET",
        "jdbc:mysql://tml:S3CRET@mysql-svc-0:3306/onprem",
        "api-key => S3CRET",
    ],
)
def test_what_is_assigned_to_a_password_is_masked(line: str) -> None:
    assert "S3CRET" not in masked(line)
    assert MASK in masked(line)


def test_other_lines_stay_as_they_are_and_are_cut_after_masking() -> None:
    plain = "[Note] 10.0.0.1 ready for connections. port: 3306"
    assert shown(plain) == plain
    assert len(shown("x" * 500)) == 200
    assert "S3CRET" not in shown("x" * 180 + " password=" + "S3CRET" * 20)
