"""Objects as the API server may send them, without an API server."""

from datetime import UTC, datetime
from typing import Any

import pytest

from lifecycle.errors import NothingFound
from lifecycle.kube import read
from lifecycle.kube.discovery import discovered
from lifecycle.kube.owners import owners
from lifecycle.kube.paths import Resource
from lifecycle.model import Component, Kind, Target
from lifecycle.topology import arranged
from lifecycle.workloads import Owner, OwnerKind, Probe

NOW = datetime(2026, 11, 2, tzinfo=UTC)
SET, DEPLOYMENT = Kind.STATEFUL_SET, Kind.DEPLOYMENT


def stateful_set(name: str = "mysql-set-0", *, type_: str = "sql", **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "env": [{"name": "TMGC_TYPE", "value": type_}]}
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [container]}}
    return {
        "metadata": {"name": name, "uid": f"uid-{name}"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template, **spec},
    }


def lists(**found: list[dict[str, Any]]) -> dict[Resource, list[dict[str, Any]]]:
    return {resource: found.get(resource.plural, []) for resource in Resource}


def test_what_the_api_server_leaves_out_has_its_default() -> None:
    workload = read.workload(SET, stateful_set())
    assert workload is not None
    assert (workload.replicas, workload.grace, workload.ordered, workload.probe) == (1, 30, True, None)
    state = read.state(stateful_set(), SET, [])
    assert (state.replicas, state.ready, state.epoch, state.remembered) == (1, 0, 0, None)


def test_a_zone_is_the_number_at_the_end_of_the_name_and_else_the_serial() -> None:
    renamed = stateful_set("mysql")
    renamed["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "TMG_ZONE_SERIAL", "value": "3"})
    zones = [read.workload(SET, one) for one in (stateful_set("mysql-set-2"), renamed, stateful_set("mysql"))]
    assert [one.zone for one in zones if one] == [2, 3, 0]


def test_the_longest_readiness_probe_of_several_containers_counts() -> None:
    found = stateful_set()
    found["spec"]["template"]["spec"]["containers"] += [
        {"name": "loader", "readinessProbe": {"initialDelaySeconds": 30, "periodSeconds": 5, "failureThreshold": 3}},
        {"name": "fast", "readinessProbe": {"periodSeconds": 1}},
    ]
    workload = read.workload(SET, found)
    assert workload is not None
    assert workload.probe == Probe(30, 5, 3)


def test_a_release_with_two_containers_says_what_it_is_in_either() -> None:
    found = stateful_set(type_="configmanager")
    found["spec"]["template"]["spec"]["containers"].insert(0, {"name": "proxy"})
    workload = read.workload(DEPLOYMENT, found)
    assert workload is not None
    assert workload.component is Component.CM


def test_of_a_variable_given_twice_the_last_value_counts() -> None:
    found = stateful_set(type_="sql")
    found["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "TMGC_TYPE", "value": "cache"})
    assert read.environment(found)["TMGC_TYPE"] == "cache"


@pytest.mark.parametrize(
    "found",
    [
        stateful_set("new-set-0", type_="quantum"),
        stateful_set("new-set-0", selector={"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "a"}]}),
        stateful_set("new-set-0", selector={}),
    ],
)
def test_what_cannot_be_handled_is_named_as_strange(found: dict[str, Any]) -> None:
    target = Target("local", "ml550")
    discovery = discovered(target, lists(statefulsets=[stateful_set(), found]), NOW)
    assert discovery.strange == ("statefulset/new-set-0",)
    assert [workload.ref.name for workload in discovery.workloads] == ["mysql-set-0"]


def test_an_empty_namespace_is_refused_with_what_to_look_at() -> None:
    other = stateful_set("postgres")
    other["spec"]["template"]["spec"]["containers"] = [{"name": "postgres"}]
    with pytest.raises(NothingFound, match="kubectl -n ml550 get"):
        discovered(Target("local", "ml550"), lists(statefulsets=[other]), NOW)


def test_claims_beyond_the_present_count_belong_to_the_set_and_those_of_a_namesake_do_not() -> None:
    workload = read.workload(SET, stateful_set("mysql-set-0", volumeClaimTemplates=[{"metadata": {"name": "vol"}}]))
    assert workload is not None
    assert workload.owns_claim("vol-mysql-set-0-7")
    assert not workload.owns_claim("vol-mysql-set-0")
    assert not workload.owns_claim("vol-mysql-set-0-0-0")
    assert not workload.owns_claim("other-mysql-set-0-0")


def test_a_claim_reads_as_kubectl_shows_it() -> None:
    claim = read.claim(
        {
            "metadata": {
                "name": "vol-0",
                "uid": "u",
                "creationTimestamp": "2026-11-01T08:00:00Z",
                "deletionTimestamp": "2026-11-02T08:00:00Z",
                "annotations": {"volume.beta.kubernetes.io/storage-provisioner": "ebs.csi.aws.com"},
            },
            "spec": {"volumeName": "pv-1", "storageClassName": "sql-storage-class"},
            "status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "20Gi"}},
        }
    )
    assert (claim.status, claim.access_modes, claim.capacity) == ("Terminating", ("RWO",), "20Gi")
    assert (claim.driver, claim.created_at) == ("ebs.csi.aws.com", datetime(2026, 11, 1, 8, tzinfo=UTC))


@pytest.mark.parametrize(
    ("strategy", "status", "settled"),
    [
        ({}, {"currentRevision": "a", "updateRevision": "a"}, True),
        ({}, {"currentRevision": "a", "updateRevision": "b"}, False),
        ({"type": "OnDelete"}, {"currentRevision": "a", "updateRevision": "b"}, True),
        ({"rollingUpdate": {"partition": 1}}, {"currentRevision": "a", "updateRevision": "b"}, False),
        (
            {"rollingUpdate": {"partition": 1}},
            {"currentRevision": "a", "updateRevision": "b", "updatedReplicas": 1},
            True,
        ),
    ],
)
def test_a_stateful_set_is_settled_by_kubectls_rules(
    strategy: dict[str, Any], status: dict[str, Any], settled: bool
) -> None:
    found = stateful_set(replicas=2, updateStrategy=strategy) | {"status": status}
    assert read.state(found, SET, []).revision_settled is settled


def test_an_evicted_pod_of_a_deployment_does_not_count_as_present() -> None:
    evicted = {"metadata": {"name": "tm-1", "uid": "1"}, "status": {"phase": "Failed", "reason": "Evicted"}}
    assert not read.state(stateful_set(replicas=0), DEPLOYMENT, [evicted]).is_present
    assert read.state(stateful_set(replicas=0), SET, [evicted]).is_present


def test_an_unreadable_annotation_is_as_good_as_none() -> None:
    found = stateful_set()
    found["metadata"]["annotations"] = {read.REPLICAS: "three", read.EPOCH: "²"}
    state = read.state(found, SET, [])
    assert (state.remembered, state.epoch) == (None, 0)


def scaler(name: str, target: dict[str, str], **annotations: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "annotations": annotations}, "spec": {"scaleTargetRef": target}}


def test_all_who_write_the_count_are_named() -> None:
    found = stateful_set()
    found["metadata"] |= {
        "labels": {
            "argocd.argoproj.io/instance": "tml",
            "kustomize.toolkit.fluxcd.io/name": "apps",
            "app.kubernetes.io/managed-by": "Helm",
        },
        "annotations": {"meta.helm.sh/release-name": "prod"},
        "ownerReferences": [{"kind": "Tml", "name": "prod", "controller": True}, {"kind": "Other", "name": "x"}],
    }
    target = {"kind": "StatefulSet", "name": "mysql-set-0"}
    assert owners(SET, found, [scaler("so", target)], [scaler("hpa", target)]) == (
        Owner(OwnerKind.KEDA, "so"),
        Owner(OwnerKind.HPA, "hpa"),
        Owner(OwnerKind.ARGO_CD, "tml"),
        Owner(OwnerKind.FLUX, "apps"),
        Owner(OwnerKind.HELM, "prod"),
        Owner(OwnerKind.OPERATOR, "Tml/prod"),
    )


def test_a_scaler_of_another_workload_or_a_paused_one_owns_nothing() -> None:
    target = {"kind": "StatefulSet", "name": "mysql-set-0"}
    paused = {"metadata": {"name": "so", "annotations": {"autoscaling.keda.sh/paused": "true"}}}
    scalers = [
        paused | {"spec": {"scaleTargetRef": target}},
        scaler("a", {"name": "mysql-set-0"}),
        scaler("b", {"kind": "StatefulSet", "name": "other"}),
    ]
    assert owners(SET, stateful_set(), scalers, []) == ()
    assert owners(DEPLOYMENT, stateful_set(), scalers, []) == (Owner(OwnerKind.KEDA, "a"),)


def test_a_tracking_id_of_argo_cd_names_the_application() -> None:
    found = stateful_set()
    found["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "tml:apps/StatefulSet:ml550/mysql-set-0"}
    assert owners(SET, found, [], []) == (Owner(OwnerKind.ARGO_CD, "tml"),)


def test_pods_left_of_a_deleted_workload_are_still_seen() -> None:
    workload = read.workload(SET, stateful_set())
    assert workload is not None
    pod = {"metadata": {"name": "mysql-set-0-0", "uid": "p", "labels": {"app": "x"}}}
    state = read.observed(arranged([workload]), lists(pods=[pod]), NOW)[workload]
    assert not state.exists
    assert state.is_present
