import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sandbox import kubernetes, tml
from sandbox.kubernetes import FAULT_ANNOTATION, KubernetesSandbox
from sandbox.kubernetes.controllers.podstatus import is_ready
from sandbox.kubernetes.resources import (
    CLAIMS,
    DEPLOYMENTS,
    EVENTS,
    PODS,
    SECRETS,
    SERVICES,
    STATEFULSETS,
    STORAGE_CLASSES,
    Resource,
)
from sandbox.tml import PROD_NAMESPACE, STAGING_NAMESPACE
from sandbox.tml.components import COMPONENTS, component_of

Object = dict[str, Any]
NAMES = {
    "nosql": (STATEFULSETS, "cass-set-0"),
    "cm": (DEPLOYMENTS, "cm-deploy-0"),
    "log": (STATEFULSETS, "log-set-0"),
    "sql": (STATEFULSETS, "mysql-set-0"),
    "cache": (STATEFULSETS, "cache-set-0"),
    "tm": (DEPLOYMENTS, "tm-deploy-0"),
    "reporting": (STATEFULSETS, "reporting-set-0"),
}
CLAIM_NAMES = {
    "nosqlvol-cass-set-0-0": "app=cass-svc,interface=cass-svc-0",
    "logvol-log-set-0-0": "app=log-svc,interface=log-svc-0",
    "sqlvol-mysql-set-0-0": "app=mysql-svc,interface=mysql-svc-0",
    "cachevol-cache-set-0-0": "app=cache-svc,interface=cache-svc-0",
    "reportingvol-reporting-set-0-0": "app=reporting-svc,interface=reporting-svc-0",
}


@pytest.fixture
async def sandbox() -> AsyncIterator[KubernetesSandbox]:
    async with kubernetes.start(time_scale=0.002) as running:
        yield running


@pytest.fixture
async def prod(sandbox: KubernetesSandbox) -> KubernetesSandbox:
    sandbox.apply(tml.prod())
    await sandbox.ready(PROD_NAMESPACE)
    return sandbox


def scale(sandbox: KubernetesSandbox, component: str, replicas: int) -> None:
    def change(found: Object) -> None:
        found["spec"]["replicas"] = replicas

    resource, name = NAMES[component]
    sandbox.store.change(resource, PROD_NAMESPACE, name, change)


async def run(sandbox: KubernetesSandbox, component: str, *command: str) -> tuple[int, str, str]:
    rows = sandbox.store.rows(PODS, PROD_NAMESPACE)
    pod = next(row for row in rows if component_of(row["spec"]).name == component)
    container = pod["spec"]["containers"][0]["name"]
    return await sandbox.shell.run(PROD_NAMESPACE, pod["metadata"]["name"], container, command)


async def test_both_clusters_live_beside_each_other(sandbox: KubernetesSandbox) -> None:
    sandbox.apply(tml.reference())
    await sandbox.ready(PROD_NAMESPACE)
    await sandbox.ready(STAGING_NAMESPACE)
    assert len(sandbox.store.rows(PODS, PROD_NAMESPACE)) == 8
    assert len(sandbox.store.rows(PODS, STAGING_NAMESPACE)) == 6
    assert await sandbox.traffic(PROD_NAMESPACE) == (200, "mashping: all services are up\n")


async def test_no_component_is_ready_before_those_it_needs(sandbox: KubernetesSandbox) -> None:
    sandbox.apply(tml.prod())
    order: list[str] = []
    with sandbox.store.feed() as feed:
        await sandbox.ready(PROD_NAMESPACE)
        while not feed.empty():
            event = feed.get_nowait()
            if event and event.resource is PODS and is_ready(event.object) and not is_ready(event.previous or {}):
                order.append(component_of(event.object["spec"]).name)
    for component in COMPONENTS:
        assert all(order.index(need) < order.index(component.name) for need in component.needs)


async def test_a_component_waits_unready_for_what_it_needs(prod: KubernetesSandbox) -> None:
    for component in ("tm", "sql"):
        scale(prod, component, 0)
    await prod.until(lambda store: len(store.rows(PODS, PROD_NAMESPACE)) == 5)
    scale(prod, "tm", 1)

    def is_unhealthy(_: object) -> bool:
        rows = prod.store.rows(EVENTS, PROD_NAMESPACE)
        return any(row["reason"] == "Unhealthy" and row["involvedObject"]["name"].startswith("tm-") for row in rows)

    await prod.until(is_unhealthy)
    assert (await prod.traffic(PROD_NAMESPACE))[0] == 503
    scale(prod, "sql", 1)
    await prod.ready(PROD_NAMESPACE)
    assert (await prod.traffic(PROD_NAMESPACE))[0] == 200


async def test_a_stop_keeps_every_claim_and_every_byte(prod: KubernetesSandbox) -> None:
    before = {name: prod.volumes.digest(PROD_NAMESPACE, name) for name in CLAIM_NAMES}
    for component in NAMES:
        scale(prod, component, 0)
    await prod.stopped(PROD_NAMESPACE)
    assert {name: prod.volumes.digest(PROD_NAMESPACE, name) for name in CLAIM_NAMES} == before
    phases = {row["status"]["phase"] for row in prod.store.rows(CLAIMS, PROD_NAMESPACE)}
    assert phases == {"Bound"}
    for component in NAMES:
        scale(prod, component, 1)
    await prod.ready(PROD_NAMESPACE)
    for name in CLAIM_NAMES:
        assert len(prod.volumes.read(PROD_NAMESPACE, name, "starts.log").splitlines()) == 1


async def test_claims_bear_the_selector_s_labels(prod: KubernetesSandbox) -> None:
    rows = prod.store.rows(CLAIMS, PROD_NAMESPACE)
    found = {row["metadata"]["name"]: row["metadata"]["labels"] for row in rows}
    assert {name: ",".join(f"{key}={labels[key]}" for key in sorted(labels)) for name, labels in found.items()} == (
        CLAIM_NAMES
    )


async def test_workloads_and_secrets_are_named_as_the_vendor_names_them(prod: KubernetesSandbox) -> None:
    for resource, name in NAMES.values():
        assert "labels" not in prod.store.get(resource, PROD_NAMESPACE, name)["metadata"]
    names = {row["metadata"]["name"] for row in prod.store.rows(SECRETS, PROD_NAMESPACE)}
    assert {"cluster-property", "zones-property", "papi-property", "tmgc-registry-key", "sql-property"} <= names
    assert len(names) == 4 + 4 + 5 + 2 + 2 + 2 + 4 + 9
    assert {row["metadata"]["name"] for row in prod.store.rows(SERVICES, PROD_NAMESPACE)} == {
        *("cass-svc-0", "cm-svc-0", "log-svc-0", "mysql-svc-0", "cache-svc-0", "tm-svc"),
        *("reporting-svc-0", "reporting-app-0"),
    }


async def test_every_secret_value_is_a_canary(prod: KubernetesSandbox) -> None:
    values = [
        base64.b64decode(value).decode()
        for row in prod.store.rows(SECRETS, PROD_NAMESPACE)
        for value in (row.get("data") or {}).values()
    ]
    assert values
    assert all("CANARY" in value for value in values)
    assert len(set(values)) == len(values)


async def test_the_shared_storage_classes_wait_and_name_no_policy() -> None:
    classes = [each for each in tml.prod() if each["kind"] == STORAGE_CLASSES.kind]
    assert len(classes) == 5
    assert all(each["volumeBindingMode"] == "WaitForFirstConsumer" for each in classes)
    assert not any("reclaimPolicy" in each for each in classes)


def test_several_zones_share_one_front_service() -> None:
    found = tml.manifests("ml", cluster_name="big", zones=2, counts={"sql": 3}, reporting=False)
    names = {(each["kind"], each["metadata"]["name"]) for each in found}
    assert {("StatefulSet", "cass-set-0"), ("StatefulSet", "cass-set-1"), ("Deployment", "tm-deploy-1")} <= names
    assert [name for kind, name in names if kind == "Service" and name.startswith("tm-")] == ["tm-svc"]
    cm = next(each for each in found if each["metadata"]["name"] == "cm-deploy-1")
    variables = {each["name"]: each["value"] for each in cm["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert variables["TMGC_SQL_COUNT"] == "3"
    assert (variables["TMG_ZONE_SERIAL"], variables["TMG_ZONE_COUNT"]) == ("1", "2")
    assert variables["TMG_ZONE_NAMES"] == "zone-0,zone-1"


async def test_two_zones_become_ready(sandbox: KubernetesSandbox) -> None:
    sandbox.apply(tml.manifests("ml", cluster_name="big", zones=2, counts={"sql": 2}))
    await sandbox.ready("ml")
    assert len(sandbox.store.rows(PODS, "ml")) == 16


async def test_the_cluster_manager_tells_the_state_of_each_component(prod: KubernetesSandbox) -> None:
    code, table, _ = await run(prod, "cm", "clustermanager", "ls", "components")
    states = {row.split()[1]: row.split()[2] for row in table.splitlines()[1:]}
    assert code == 0
    assert states == {each.type: "RESOLVED" if each.name == "cm" else "ACTIVE" for each in COMPONENTS}
    scale(prod, "nosql", 0)
    await prod.until(lambda store: store.find(PODS, PROD_NAMESPACE, "cass-set-0-0") is None)
    _, table, _ = await run(prod, "cm", "clustermanager", "ls", "components")
    assert "UNSATISFIED" in table


@pytest.mark.parametrize(
    ("component", "command", "code", "words"),
    [
        ("nosql", ["nodetool", "flush"], 0, ""),
        ("nosql", ["nodetool", "status"], 0, "UN  10.244."),
        ("sql", ["mysql", "-e", "select * from performance_schema.replication_group_members"], 0, "ONLINE"),
        ("sql", ["sh", "-c", "ls /var/lib/mysql && cat /var/lib/mysql/ibdata1"], 0, "innodb: system tablespace"),
        ("sql", ["sh", "-c", "echo a b > /var/lib/mysql/c && cat /var/lib/mysql/c"], 0, "a b\n"),
        ("sql", ["sh", "-c", "echo a > /nowhere/c"], 1, ""),
        ("log", ["cat", "/mnt/log.txt"], 0, "log service"),
        ("log", ["cat", "/etc/tml/log-property/tml_log_properties.json"], 1, ""),
        ("tm", ["clustermanager", "ls", "components"], 127, ""),
    ],
)
async def test_containers_know_their_own_commands(
    prod: KubernetesSandbox, component: str, command: list[str], code: int, words: str
) -> None:
    outcome = await run(prod, component, *command)
    assert outcome[0] == code
    assert words in outcome[1]


async def test_a_database_that_never_gets_ready_says_why_and_recovers(sandbox: KubernetesSandbox) -> None:
    broken = tml.staging()
    for each in broken:
        if each["metadata"]["name"] == "mysql-set-0":
            each["metadata"]["annotations"] = {FAULT_ANNOTATION: "never-ready"}
    sandbox.apply(broken)

    def mysql_is_unhealthy(_: object) -> bool:
        rows = sandbox.store.rows(EVENTS, STAGING_NAMESPACE)
        return any(row["involvedObject"]["name"] == "mysql-set-0-0" and row["reason"] == "Unhealthy" for row in rows)

    await sandbox.until(mysql_is_unhealthy)
    path = f"/api/v1/namespaces/{STAGING_NAMESPACE}/pods/mysql-set-0-0/log?tailLines=3"
    async with aiohttp.ClientSession(sandbox.url) as session, session.get(path) as answer:
        assert "Failed to initialize DD Storage Engine" in await answer.text()
    sandbox.annotate(STATEFULSETS, STAGING_NAMESPACE, "mysql-set-0", FAULT_ANNOTATION, None)
    await sandbox.ready(STAGING_NAMESPACE)


@pytest.mark.parametrize(("resource", "name"), [(STATEFULSETS, "cass-set-0"), (STATEFULSETS, "mysql-set-0")])
async def test_databases_end_well_within_their_grace_period(
    prod: KubernetesSandbox, resource: Resource, name: str
) -> None:
    codes: list[int] = []
    with prod.store.feed() as feed:
        prod.store.change(resource, PROD_NAMESPACE, name, lambda found: found["spec"].update(replicas=0))
        await prod.until(lambda store: store.find(PODS, PROD_NAMESPACE, f"{name}-0") is None)
        while not feed.empty():
            event = feed.get_nowait()
            if event and event.resource is PODS and event.type == "MODIFIED":
                states = [each["state"] for each in event.object["status"]["containerStatuses"]]
                codes += [state["terminated"]["exitCode"] for state in states if "terminated" in state]
    assert codes == [0]
