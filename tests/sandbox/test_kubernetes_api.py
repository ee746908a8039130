"""The sandbox's API server, asked by the unmodified official client and by kubectl."""

import asyncio
import base64
import json
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from kubernetes.aio import client as official
from kubernetes.aio import config
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.stream import WsApiClient

from sandbox.kubernetes.access import Identity, Role
from sandbox.kubernetes.clock import Clock
from sandbox.kubernetes.faults import Fault, Faults, fault_from
from sandbox.kubernetes.kubeconfig import write_kubeconfig
from sandbox.kubernetes.patches import merge_strategically
from sandbox.kubernetes.resources import (
    AUTOSCALERS,
    CLAIMS,
    CONFIGMAPS,
    EVENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    SECRETS,
    SERVICES,
    STATEFULSETS,
    STORAGE_CLASSES,
    VOLUMES,
    Object,
)
from sandbox.kubernetes.server import ApiServer
from sandbox.kubernetes.store import ApiError, Event, Store
from sandbox.kubernetes.tables import duration

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
SETS = "/apis/apps/v1/namespaces/prod/statefulsets"
MAPS = "/api/v1/namespaces/prod/configmaps"
CORE = "/api/v1/namespaces/prod"
LEASE_PATH = "/apis/coordination.k8s.io/v1/namespaces/prod/leases"


@dataclass
class Answer:
    status: int
    body: Any
    headers: Any

    @property
    def reason(self) -> str:
        return str(self.body.get("reason", ""))

    @property
    def version(self) -> str:
        return str(self.body["metadata"]["resourceVersion"])


class Api:
    """Raw requests of the official client."""

    def __init__(self, url: str, token: str | None = None) -> None:
        settings = official.Configuration(host=url)
        self.url = url
        self.client = official.ApiClient(settings)
        if token:
            self.client.set_default_header("Authorization", f"Bearer {token}")

    async def ask(
        self, method: str, path: str, body: Any = None, kind: str = "application/json", **query: str
    ) -> Answer:
        headers = {**self.client.default_headers, "Content-Type": kind}
        response = await self._send(method, path, query, headers, body, 5)
        data = await response.read()
        text = data.decode()
        return Answer(response.status, json.loads(text) if text.startswith(("{", "[")) else text, response.headers)

    async def _send(
        self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: Any, patience: Any
    ) -> Any:
        url = self.url + path + ("?" + urlencode(query) if query else "")
        return await self.client.call_api(
            method, url, header_params=headers, body=body, _request_timeout=patience, _preload_content=False
        )

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator["Lines"]:
        headers = dict(self.client.default_headers)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=5)
        response = await self._send("GET", path, {"watch": "true", **query}, headers, None, timeout)
        try:
            yield Lines(response.response)
        finally:
            response.response.close()


class Lines:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self._response = response

    async def next(self) -> tuple[str, Object]:
        line = json.loads(await self._response.content.readline())
        return line["type"], line["object"]

    async def rest(self) -> list[tuple[str, Object]]:
        return [(line["type"], line["object"]) for line in map(json.loads, [x async for x in self._response.content])]


@pytest.fixture
def store() -> Store:
    made = Store(Clock(scale=0.001))
    made.create(NAMESPACES, {"metadata": {"name": "prod"}})
    return made


@pytest.fixture
async def server(store: Store) -> AsyncIterator[ApiServer]:
    async def logs(namespace: str, pod: str, container: str, tail: int | None, previous: bool) -> str:
        return f"{namespace}/{pod}/{container} {tail} {previous}\n"

    async def run(namespace: str, pod: str, container: str, command: Sequence[str]) -> tuple[int, str, str]:
        return (137 if command[0] == "die" else 0), " ".join(command), "careful"

    async def traffic(namespace: str) -> tuple[int, str]:
        return (200, "pong") if namespace == "prod" else (503, "")

    made = ApiServer(store, pod_logs=logs, pod_exec=run, traffic=traffic, bookmark_seconds=0.1)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def api(server: ApiServer) -> AsyncIterator[Api]:
    made = Api(server.url)
    yield made
    await made.client.close()


@pytest.fixture
async def as_user(server: ApiServer) -> AsyncIterator[Callable[..., Api]]:
    made: list[Api] = []

    def build(*rules: dict[str, Any]) -> Api:
        server.tokens["t0ken"] = Identity("bot", tuple(Role.of(rule) for rule in rules))
        made.append(Api(server.url, "t0ken"))
        return made[-1]

    yield build
    for one in made:
        await one.client.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what is waited for happens in the server and tells nobody
            await asyncio.sleep(0.002)


def a_set(name: str = "web", **spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "app:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "serviceName": name, "selector": {"matchLabels": {"app": name}}, "template": template, "replicas": 2, **spec
        },
    }  # fmt: skip


def a_map(name: str, data: dict[str, str] | None = None, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}, "data": data or {}}


def a_pod(name: str = "p", *, node: str = "n1", **metadata: Any) -> Object:
    spec = {"nodeName": node, "containers": [{"name": "main", "image": "app:1"}]}
    return {"metadata": {"name": name, "namespace": "prod", **metadata}, "spec": spec}


def a_claim(name: str = "data", size: str = "1Gi", **spec: Any) -> Object:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "storageClassName": "sc"}
    return {"metadata": {"name": name, "namespace": "prod"}, "spec": {**wanted, **spec}}


async def test_a_new_object_gets_its_metadata_from_the_server(api: Api) -> None:
    forged = {"uid": "mine", "creationTimestamp": "2000-01-01T00:00:00Z", "generation": 9, "name": "web"}
    made = await api.ask("POST", SETS, {**a_set(), "metadata": forged})
    metadata = made.body["metadata"]
    assert made.status == 201
    assert metadata["uid"] != "mine"
    assert metadata["creationTimestamp"] > "2020"
    assert (metadata["generation"], metadata["namespace"]) == (1, "prod")
    assert int(metadata["resourceVersion"]) > 0


async def test_defaults_that_somebody_relies_on_are_filled_in(api: Api) -> None:
    manifest = a_set()
    del manifest["spec"]["replicas"]
    manifest["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = {"exec": {"command": ["true"]}}
    spec = (await api.ask("POST", SETS, manifest)).body["spec"]
    assert (spec["replicas"], spec["podManagementPolicy"], spec["updateStrategy"]["type"]) == (
        1, "OrderedReady", "RollingUpdate",
    )  # fmt: skip
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 30
    probe = spec["template"]["spec"]["containers"][0]["readinessProbe"]
    assert (probe["periodSeconds"], probe["failureThreshold"]) == (10, 3)
    deployment = {**a_set("d"), "kind": "Deployment"}
    spec = (await api.ask("POST", "/apis/apps/v1/namespaces/prod/deployments", deployment)).body["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": "25%"}
    assert spec["progressDeadlineSeconds"] == 600
    made = await api.ask("POST", "/apis/storage.k8s.io/v1/storageclasses", {"metadata": {"name": "sc"}})
    assert (made.body["reclaimPolicy"], made.body["volumeBindingMode"]) == ("Delete", "Immediate")


async def test_the_plain_strings_of_a_secret_are_folded_into_its_data(api: Api) -> None:
    made = await api.ask("POST", f"{CORE}/secrets", {"metadata": {"name": "s"}, "stringData": {"k": "v"}})
    assert made.body["data"] == {"k": base64.b64encode(b"v").decode()}
    assert "stringData" not in made.body
    assert made.body["type"] == "Opaque"


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # the client's, about what is tried here
async def test_a_secret_over_one_mebibyte_is_invalid(api: Api) -> None:
    big = {"metadata": {"name": "s"}, "data": {"k": base64.b64encode(b"x" * (2**20 + 1)).decode()}}
    refused = await api.ask("POST", f"{CORE}/secrets", big)
    assert (refused.status, refused.body["details"]["causes"][0]["reason"]) == (422, "FieldValueTooLong")


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a_request_over_three_mebibytes_is_too_large(api: Api) -> None:
    refused = await api.ask("POST", MAPS, a_map("a", {"k": "x" * (3 << 20)}))
    assert (refused.status, refused.reason) == (413, "RequestEntityTooLarge")


async def test_generated_names_differ(api: Api) -> None:
    names = {(await api.ask("POST", MAPS, {"metadata": {"generateName": "x-"}})).body["metadata"]["name"] for _ in "ab"}
    assert len(names) == 2
    assert all(name.startswith("x-") and len(name) == 7 for name in names)


@pytest.mark.parametrize("name", ["Web", "a_b", "-a", "a" * 254, ""])
async def test_an_invalid_name_is_unprocessable(api: Api, name: str) -> None:
    refused = await api.ask("POST", MAPS, a_map(name))
    assert (refused.status, refused.reason, refused.body["details"]["kind"]) == (422, "Invalid", "ConfigMap")
    assert refused.body["details"]["causes"][0]["field"] == "metadata.name"


async def test_an_unknown_namespace_is_refused(api: Api) -> None:
    refused = await api.ask("POST", "/api/v1/namespaces/nowhere/configmaps", a_map("a"))
    assert (refused.status, refused.body["message"]) == (404, 'namespaces "nowhere" not found')


async def test_a_resource_version_on_a_new_object_is_refused(api: Api) -> None:
    refused = await api.ask("POST", MAPS, {"metadata": {"name": "a", "resourceVersion": "1"}})
    assert (refused.status, refused.body["message"]) == (
        500,
        "resourceVersion should not be set on objects to be created",
    )


async def test_generation_rises_with_the_spec_only(api: Api) -> None:
    await api.ask("POST", SETS, a_set())
    labelled = await api.ask("PATCH", f"{SETS}/web", {"metadata": {"labels": {"a": "b"}}}, MERGE)
    counted = await api.ask("PATCH", f"{SETS}/web/status", {"status": {"replicas": 2}}, MERGE)
    assert (labelled.body["metadata"]["generation"], counted.body["metadata"]["generation"]) == (1, 1)
    scaled = await api.ask("PATCH", f"{SETS}/web", {"spec": {"replicas": 3}}, MERGE)
    assert scaled.body["metadata"]["generation"] == 2


async def test_refusals_are_status_objects_as_the_real_server_words_them(api: Api) -> None:
    missing = await api.ask("GET", f"{SETS}/web")
    assert missing.body == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404,
        "message": 'statefulsets.apps "web" not found',
        "details": {"name": "web", "group": "apps", "kind": "statefulsets"},
    }  # fmt: skip
    unknown = await api.ask("GET", "/apis/example.com/v1/things")
    assert (unknown.status, unknown.body) == (404, "404 page not found\n")
    unknown = await api.ask("GET", "/apis/apps/v1/things")
    assert (unknown.status, unknown.body["message"]) == (404, "the server could not find the requested resource")
    await api.ask("POST", SETS, a_set())
    again = await api.ask("POST", SETS, a_set())
    assert (again.status, again.reason, again.body["message"]) == (
        409, "AlreadyExists", 'statefulsets.apps "web" already exists',
    )  # fmt: skip


async def test_the_clients_own_classes_understand_a_refusal(server: ApiServer, api: Api) -> None:
    core = official.CoreV1Api(api.client)
    with pytest.raises(ApiException) as refused:
        await core.read_namespaced_pod(name="nobody", namespace="prod")
    assert refused.value.status == 404
    namespaces = await core.list_namespace()
    assert [item.metadata.name for item in namespaces.items] == ["default", "kube-system", "prod"]


async def test_a_method_that_is_not_served_is_refused(api: Api) -> None:
    assert (await api.ask("POST", "/api/v1/configmaps", a_map("a"))).status == 405
    assert (await api.ask("DELETE", "/api/v1/namespaces")).status == 405


async def test_a_body_of_another_kind_or_namespace_is_a_bad_request(api: Api) -> None:
    assert (await api.ask("POST", MAPS, {**a_map("a"), "kind": "Secret", "apiVersion": "v1"})).status == 400
    elsewhere = {"metadata": {"name": "a", "namespace": "default"}}
    assert (await api.ask("POST", MAPS, elsewhere)).status == 400


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("tier=db", ["a"]),
        ("tier==db", ["a"]),
        ("tier!=db", ["b", "c"]),
        ("tier in (db, web),zone=1", ["a"]),
        ("tier notin (db)", ["b", "c"]),
        ("tier", ["a", "b"]),
        ("!tier", ["c"]),
        ("zone,tier=web", ["b"]),
    ],
)
async def test_a_list_takes_label_selectors(api: Api, store: Store, selector: str, names: list[str]) -> None:
    for name, labels in {"a": {"tier": "db", "zone": "1"}, "b": {"tier": "web", "zone": "2"}, "c": {}}.items():
        store.create(CONFIGMAPS, {"metadata": {"name": name, "namespace": "prod", "labels": labels}})
    found = await api.ask("GET", MAPS, labelSelector=selector)
    assert [item["metadata"]["name"] for item in found.body["items"]] == names
    assert (found.body["kind"], found.version) == ("ConfigMapList", str(store.revision))
    assert all("kind" not in item for item in found.body["items"])


async def test_a_list_takes_field_selectors(api: Api, store: Store) -> None:
    store.create(PODS, a_pod("a", node="n1"))
    store.create(PODS, a_pod("b", node="n2"))
    store.change(PODS, "prod", "b", lambda pod: pod["status"].update(phase="Running"), subresource="status")
    for selector, names in {
        "spec.nodeName=n1": ["a"], "status.phase=Running": ["b"], "metadata.name!=a": ["b"],
        "metadata.namespace=prod,status.phase!=Running": ["a"],
    }.items():  # fmt: skip
        found = await api.ask("GET", f"{CORE}/pods", fieldSelector=selector)
        assert [item["metadata"]["name"] for item in found.body["items"]] == names
    refused = await api.ask("GET", f"{CORE}/pods", fieldSelector="spec.colour=red")
    assert (refused.status, "field label not supported: spec.colour" in refused.body["message"]) == (400, True)


async def test_events_are_found_by_what_they_involve(api: Api) -> None:
    involved = {"kind": "Pod", "name": "p", "namespace": "prod", "uid": "u"}
    await api.ask("POST", f"{CORE}/events", {"metadata": {"name": "e"}, "involvedObject": involved, "reason": "Boom"})
    for selector, count in {"involvedObject.name=p,involvedObject.uid=u": 1, "involvedObject.kind=Node": 0}.items():
        found = await api.ask("GET", f"{CORE}/events", fieldSelector=selector)
        assert len(found.body["items"]) == count


async def test_a_table_is_given_to_those_who_ask_for_one(api: Api, store: Store) -> None:
    store.create(CLAIMS, a_claim())
    api.client.set_default_header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
    found = await api.ask("GET", f"{CORE}/persistentvolumeclaims")
    columns = [column["name"] for column in found.body["columnDefinitions"] if column["priority"] == 0]
    assert columns == [
        "Name", "Status", "Volume", "Capacity", "Access Modes", "StorageClass", "VolumeAttributesClass", "Age",
    ]  # fmt: skip
    assert found.body["rows"][0]["cells"][:2] == ["data", "Pending"]
    assert found.body["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


async def test_a_watch_goes_on_from_a_resource_version(api: Api, store: Store) -> None:
    first = await api.ask("POST", MAPS, a_map("a"))
    await api.ask("PATCH", f"{MAPS}/a", {"data": {"k": "v"}}, MERGE)
    async with api.watch(MAPS, resourceVersion=first.version) as lines:
        kind, changed = await lines.next()
        assert (kind, changed["data"], changed["kind"]) == ("MODIFIED", {"k": "v"}, "ConfigMap")
        await api.ask("DELETE", f"{MAPS}/a")
        kind, gone = await lines.next()
        assert (kind, gone["data"]) == ("DELETED", {"k": "v"})
        assert int(gone["metadata"]["resourceVersion"]) == store.revision > int(changed["metadata"]["resourceVersion"])


async def test_a_watch_without_a_resource_version_begins_with_what_is_there(api: Api) -> None:
    await api.ask("POST", MAPS, a_map("a"))
    for query in ({}, {"resourceVersion": "0"}):
        async with api.watch(MAPS, **query) as lines:
            kind, found = await lines.next()
            assert (kind, found["metadata"]["name"]) == ("ADDED", "a")


async def test_a_watch_tells_who_enters_and_leaves_its_selection(api: Api) -> None:
    async with api.watch(MAPS, labelSelector="tier=db") as lines:
        await api.ask("POST", MAPS, a_map("a"))
        for labels in ({"tier": "db"}, {"tier": "db", "x": "y"}, {"tier": "web"}):
            left = await api.ask("PATCH", f"{MAPS}/a", {"metadata": {"labels": labels}}, MERGE)
        seen = [await lines.next() for _ in range(3)]
    assert [kind for kind, _ in seen] == ["ADDED", "MODIFIED", "DELETED"]
    assert seen[2][1]["metadata"]["labels"]["tier"] == "db"
    assert seen[2][1]["metadata"]["resourceVersion"] == left.version


async def test_a_watch_of_one_name_leaves_out_the_others(api: Api) -> None:
    async with api.watch(MAPS, fieldSelector="metadata.name=b") as lines:
        for name in "ab":
            await api.ask("POST", MAPS, a_map(name))
        kind, found = await lines.next()
        assert (kind, found["metadata"]["name"]) == ("ADDED", "b")


async def test_a_watch_ends_in_time_with_a_bookmark(api: Api, store: Store) -> None:
    started = time.monotonic()
    version = str(store.revision)
    async with api.watch(MAPS, resourceVersion=version, timeoutSeconds="1", allowWatchBookmarks="true") as lines:
        store.create(SECRETS, {"metadata": {"name": "other", "namespace": "prod"}})
        seen = await lines.rest()
    assert 0.9 < time.monotonic() - started < 10, "it was asked to last one second, and not for ever"
    assert {kind for kind, _ in seen} == {"BOOKMARK"}
    assert len(seen) >= 5
    assert seen[-1][1]["metadata"]["resourceVersion"] == str(store.revision)


async def test_a_watch_from_the_future_is_silent(api: Api) -> None:
    async with api.watch(MAPS, resourceVersion="100000", timeoutSeconds="1", allowWatchBookmarks="true") as lines:
        await api.ask("POST", MAPS, a_map("a"))
        assert await lines.rest() == []


async def test_a_watch_from_a_forgotten_version_gets_an_expired_error(api: Api, store: Store) -> None:
    await api.ask("POST", MAPS, a_map("a"))
    store.forget_history()
    async with api.watch(MAPS, resourceVersion="2") as lines:
        assert lines.status == 200
        [(kind, status)] = await lines.rest()
    assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
    assert status["message"] == f"too old resource version: 2 ({store.revision})"


def test_events_are_forgotten_beyond_the_window() -> None:
    small = Store(Clock(), window=3)
    for index in range(5):
        small.create(CONFIGMAPS, {"metadata": {"name": f"m{index}", "namespace": "default"}})
    assert len(small.events_since(small.revision - 3)) == 3
    with pytest.raises(ApiError, match="too old resource version"):
        small.events_since(small.revision - 4)


async def test_initial_events_on_a_watch_are_refused(api: Api) -> None:
    refused = await api.ask("GET", MAPS, watch="1", sendInitialEvents="true")
    assert (refused.status, refused.reason) == (422, "Invalid")


async def test_a_watcher_that_goes_away_is_forgotten(server: ApiServer, store: Store) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}{MAPS}?watch=1"):
        assert len(store._feeds) == 1
    await until(lambda: not store._feeds)


async def test_a_put_with_a_stale_resource_version_is_a_conflict(api: Api) -> None:
    first = (await api.ask("POST", SETS, a_set())).body
    await api.ask("PATCH", f"{SETS}/web", {"spec": {"replicas": 5}}, MERGE)
    refused = await api.ask("PUT", f"{SETS}/web", first)
    assert (refused.status, refused.reason) == (409, "Conflict")
    assert refused.body["message"] == (
        'Operation cannot be fulfilled on statefulsets.apps "web": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    assert refused.body["details"] == {"name": "web", "group": "apps", "kind": "statefulsets"}


async def test_a_put_replaces_what_a_writer_may_set_and_keeps_the_rest(api: Api, store: Store) -> None:
    made = (await api.ask("POST", SETS, a_set())).body
    store.change(STATEFULSETS, "prod", "web", lambda obj: obj["status"].update(replicas=2), subresource="status")
    put = {**a_set(replicas=7), "status": {"replicas": 99}}
    saved = (await api.ask("PUT", f"{SETS}/web", put)).body
    assert (saved["spec"]["replicas"], saved["status"]["replicas"]) == (7, 2)
    assert saved["metadata"]["uid"] == made["metadata"]["uid"]


async def test_a_write_that_changes_nothing_makes_no_new_version(api: Api) -> None:
    first = await api.ask("POST", SETS, a_set())
    again = await api.ask("PUT", f"{SETS}/web", first.body)
    assert again.version == first.version


async def test_a_put_for_another_uid_is_a_conflict_and_a_patch_of_it_invalid(api: Api) -> None:
    await api.ask("POST", MAPS, a_map("a"))
    assert (await api.ask("PUT", f"{MAPS}/a", {"metadata": {"name": "a", "uid": "x"}})).status == 409
    patched = await api.ask("PATCH", f"{MAPS}/a", {"metadata": {"uid": "x"}}, MERGE)
    assert (patched.status, patched.body["details"]["causes"][0]["field"]) == (422, "metadata.uid")


async def test_a_merge_patch_removes_with_null_and_replaces_lists(api: Api) -> None:
    await api.ask("POST", MAPS, a_map("a", {"keep": "1", "drop": "2"}))
    saved = await api.ask("PATCH", f"{MAPS}/a", {"data": {"drop": None, "new": "3"}}, MERGE)
    assert saved.body["data"] == {"keep": "1", "new": "3"}
    await api.ask("POST", SETS, a_set())
    containers = [{"name": "other", "image": "b:1"}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    saved = await api.ask("PATCH", f"{SETS}/web", patch, MERGE)
    assert [one["name"] for one in saved.body["spec"]["template"]["spec"]["containers"]] == ["other"]


async def test_a_strategic_patch_merges_known_lists_by_key(api: Api) -> None:
    manifest = a_set()
    manifest["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "A", "value": "1"}, {"name": "B", "value": "2"},
    ]  # fmt: skip
    await api.ask("POST", SETS, manifest)
    env = [{"name": "B", "value": "9"}, {"name": "A", "$patch": "delete"}, {"name": "C", "value": "3"}]
    containers = [{"name": "main", "env": env}, {"name": "side", "image": "s:1"}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    saved = await api.ask("PATCH", f"{SETS}/web", patch, STRATEGIC)
    main, side = saved.body["spec"]["template"]["spec"]["containers"]
    assert main["image"] == "app:1"
    assert main["env"] == [{"name": "B", "value": "9"}, {"name": "C", "value": "3"}]
    assert side["name"] == "side"


async def test_a_json_patch_applies_all_its_operations(api: Api) -> None:
    made = await api.ask("POST", SETS, a_set())
    patch = [
        {"op": "test", "path": "/metadata/uid", "value": made.body["metadata"]["uid"]},
        {"op": "test", "path": "/spec/replicas", "value": 2},
        # where there are no annotations a test against null passes
        {"op": "test", "path": "/metadata/annotations", "value": None},
        {"op": "add", "path": "/metadata/annotations", "value": {"tml-bot/replicas": "2"}},
        {"op": "replace", "path": "/spec/replicas", "value": 0},
        {"op": "copy", "from": "/spec/template/metadata/labels/app", "path": "/metadata/annotations/copied"},
        {"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "x", "image": "x:1"}},
        {"op": "move", "from": "/spec/template/spec/containers/1", "path": "/spec/template/spec/containers/0"},
        {"op": "remove", "path": "/spec/template/spec/containers/0"},
    ]
    saved = await api.ask("PATCH", f"{SETS}/web", patch, JSON_PATCH)
    assert (saved.status, saved.body["spec"]["replicas"]) == (200, 0)
    assert saved.body["metadata"]["annotations"] == {"tml-bot/replicas": "2", "copied": "web"}
    assert [one["name"] for one in saved.body["spec"]["template"]["spec"]["containers"]] == ["main"]
    emptied = [{"op": "remove", "path": f"/metadata/annotations/{key}"} for key in ("tml-bot~1replicas", "copied")]
    saved = await api.ask("PATCH", f"{SETS}/web", emptied, JSON_PATCH)
    assert "annotations" not in saved.body["metadata"]


@pytest.mark.parametrize(
    "step",
    [
        {"op": "test", "path": "/spec/replicas", "value": 7},
        {"op": "test", "path": "/metadata/annotations/a", "value": None},
        {"op": "add", "path": "/metadata/annotations/a", "value": "b"},
        {"op": "replace", "path": "/spec/nothing", "value": 1},
        {"op": "remove", "path": "/metadata/labels"},
    ],
)
async def test_a_json_patch_that_does_not_apply_is_unprocessable_without_causes_and_changes_nothing(
    api: Api, step: dict[str, Any]
) -> None:
    made = await api.ask("POST", SETS, a_set())
    patch = [{"op": "replace", "path": "/spec/replicas", "value": 0}, step]
    refused = await api.ask("PATCH", f"{SETS}/web", patch, JSON_PATCH)
    assert (refused.status, refused.reason) == (422, "Invalid")
    assert refused.body["message"] == "the server rejected our request due to an error in our request"
    assert "causes" not in refused.body["details"]
    assert (await api.ask("GET", f"{SETS}/web")).body == made.body


async def test_a_json_patch_with_a_stale_resource_version_is_a_conflict(api: Api) -> None:
    made = await api.ask("POST", SETS, a_set())
    await api.ask("PATCH", f"{SETS}/web", {"spec": {"replicas": 5}}, MERGE)
    patch = [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": made.version},
        {"op": "replace", "path": "/spec/replicas", "value": 0},
    ]
    refused = await api.ask("PATCH", f"{SETS}/web", patch, JSON_PATCH)
    assert (refused.status, refused.reason) == (409, "Conflict")


async def test_formats_that_are_not_understood_are_unsupported(api: Api) -> None:
    scaled = "/apis/keda.sh/v1alpha1/namespaces/prod/scaledobjects"
    await api.ask("POST", scaled, {"metadata": {"name": "a"}, "spec": {}})
    assert (await api.ask("PATCH", f"{scaled}/a", {"spec": {"x": 1}}, STRATEGIC)).status == 415
    assert (await api.ask("PATCH", f"{SETS}/web", {}, "application/apply-patch+yaml")).status == 415


async def test_a_dry_run_is_answered_and_changes_nothing(api: Api, store: Store) -> None:
    assert (await api.ask("POST", SETS, a_set(), dryRun="All")).status == 201
    assert store.find(STATEFULSETS, "prod", "web") is None
    made = await api.ask("POST", SETS, a_set())
    dry = await api.ask("PATCH", f"{SETS}/web", {"spec": {"replicas": 0}}, MERGE, dryRun="All")
    assert dry.body["spec"]["replicas"] == 0
    assert (await api.ask("DELETE", f"{SETS}/web", dryRun="All")).status == 200
    assert (await api.ask("GET", f"{SETS}/web")).version == made.version
    assert (await api.ask("DELETE", f"{SETS}/web", dryRun="Some")).status == 422


async def test_a_lease_is_written_only_with_its_resource_version(api: Api) -> None:
    made = await api.ask("POST", LEASE_PATH, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})
    taken = {**made.body, "spec": {"holderIdentity": "b"}}
    assert (await api.ask("PUT", f"{LEASE_PATH}/l", taken)).status == 200
    assert (await api.ask("PUT", f"{LEASE_PATH}/l", taken)).status == 409
    blind = await api.ask("PUT", f"{LEASE_PATH}/l", {"metadata": {"name": "l"}})
    assert (blind.status, blind.body["details"]["causes"][0]["field"]) == (422, "metadata.resourceVersion")


async def test_most_of_a_statefulset_cannot_be_changed(api: Api) -> None:
    await api.ask("POST", SETS, a_set())
    refused = await api.ask("PATCH", f"{SETS}/web", {"spec": {"serviceName": "other"}}, MERGE)
    assert (refused.status, refused.reason) == (422, "Invalid")
    assert refused.body["message"].startswith(
        'StatefulSet.apps "web" is invalid: spec: Forbidden: updates to statefulset spec for fields other than'
    )
    assert refused.body["details"]["causes"][0]["reason"] == "FieldValueForbidden"
    allowed = {"replicas": 3, "minReadySeconds": 5, "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}}
    assert (await api.ask("PATCH", f"{SETS}/web", {"spec": allowed}, MERGE)).status == 200
    assert (await api.ask("PATCH", f"{SETS}/web", {"spec": {"replicas": -1}}, MERGE)).status == 422


async def test_a_claim_is_immutable_but_for_growth_where_its_class_allows(api: Api, store: Store) -> None:
    store.create(STORAGE_CLASSES, {"metadata": {"name": "sc"}, "provisioner": "x", "allowVolumeExpansion": True})
    store.create(CLAIMS, a_claim())
    store.change(CLAIMS, "prod", "data", lambda claim: claim["spec"].update(volumeName="pv"))
    store.change(CLAIMS, "prod", "data", lambda claim: claim["status"].update(phase="Bound"), subresource="status")
    path = f"{CORE}/persistentvolumeclaims/data"

    async def resize(size: str) -> Answer:
        return await api.ask("PATCH", path, {"spec": {"resources": {"requests": {"storage": size}}}}, MERGE)

    assert (await api.ask("PATCH", path, {"spec": {"volumeName": "other"}}, MERGE)).status == 422
    assert (await resize("2Gi")).status == 200
    shrunk = await resize("500Mi")
    assert (shrunk.status, "can not be less" in shrunk.body["message"]) == (422, True)
    store.change(STORAGE_CLASSES, None, "sc", lambda obj: obj.update(allowVolumeExpansion=False))
    assert (await resize("3Gi")).status == 403


async def test_a_delete_says_what_went(api: Api, store: Store) -> None:
    made = await api.ask("POST", MAPS, a_map("a"))
    gone = await api.ask("DELETE", f"{MAPS}/a")
    assert gone.body["status"] == "Success"
    assert gone.body["details"] == {"name": "a", "kind": "configmaps", "uid": made.body["metadata"]["uid"]}
    assert (await api.ask("DELETE", f"{MAPS}/a")).status == 404


@pytest.mark.parametrize("precondition", [{"uid": "another"}, {"resourceVersion": "1"}])
async def test_a_delete_with_a_wrong_precondition_is_a_conflict(api: Api, precondition: dict[str, str]) -> None:
    await api.ask("POST", MAPS, a_map("a"))
    refused = await api.ask("DELETE", f"{MAPS}/a", {"preconditions": precondition})
    assert (refused.status, refused.reason) == (409, "Conflict")
    assert "in the precondition" in refused.body["message"]
    assert (await api.ask("GET", f"{MAPS}/a")).status == 200


async def test_a_running_pod_gets_its_grace_period(api: Api, store: Store) -> None:
    store.create(PODS, a_pod())
    ending = await api.ask("DELETE", f"{CORE}/pods/p")
    assert ending.body["metadata"]["deletionGracePeriodSeconds"] == 30
    assert ending.body["metadata"]["deletionTimestamp"] > ending.body["metadata"]["creationTimestamp"]
    longer = await api.ask("DELETE", f"{CORE}/pods/p", {"gracePeriodSeconds": 90})
    assert longer.version == ending.version
    shorter = await api.ask("DELETE", f"{CORE}/pods/p", gracePeriodSeconds="5")
    assert shorter.body["metadata"]["deletionGracePeriodSeconds"] == 5
    assert (await api.ask("DELETE", f"{CORE}/pods/p", {"gracePeriodSeconds": 0})).body["kind"] == "Pod"
    assert store.find(PODS, "prod", "p") is None


async def test_a_pod_on_no_node_goes_at_once(api: Api, store: Store) -> None:
    store.create(PODS, a_pod(node=""))
    await api.ask("DELETE", f"{CORE}/pods/p")
    assert store.find(PODS, "prod", "p") is None


async def test_a_claim_goes_with_its_last_finalizer(api: Api, store: Store) -> None:
    store.create(CLAIMS, a_claim())
    path = f"{CORE}/persistentvolumeclaims/data"
    kept = await api.ask("DELETE", path)
    assert kept.body["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert kept.body["metadata"]["deletionTimestamp"]
    added = await api.ask("PATCH", path, {"metadata": {"finalizers": ["x/y", "kubernetes.io/pvc-protection"]}}, MERGE)
    assert (added.status, added.body["details"]["causes"][0]["field"]) == (422, "metadata.finalizers")
    async with api.watch(f"{CORE}/persistentvolumeclaims", resourceVersion=kept.version) as lines:
        await api.ask("PATCH", path, {"metadata": {"finalizers": None}}, MERGE)
        kind, gone = await lines.next()
    assert (kind, gone["metadata"]["name"]) == ("DELETED", "data")
    assert store.find(CLAIMS, "prod", "data") is None


@pytest.mark.parametrize(("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
async def test_a_propagation_policy_leaves_its_finalizer(api: Api, policy: str, finalizer: str) -> None:
    await api.ask("POST", SETS, a_set())
    held = await api.ask("DELETE", f"{SETS}/web", {"propagationPolicy": policy})
    assert held.body["metadata"]["finalizers"] == [finalizer]
    assert held.body["metadata"]["deletionTimestamp"]
    assert (await api.ask("DELETE", f"{SETS}/web", {"propagationPolicy": "Never"})).status == 422
    assert (await api.ask("DELETE", f"{SETS}/web", {"propagationPolicy": "Background"})).status == 200
    assert (await api.ask("GET", f"{SETS}/web")).status == 404


async def test_a_collection_is_deleted_by_its_selector(api: Api) -> None:
    for name, label in {"a": "1", "b": "1", "c": "2"}.items():
        await api.ask("POST", MAPS, a_map(name, x=label))
    await api.ask("DELETE", MAPS, labelSelector="x=1")
    assert [item["metadata"]["name"] for item in (await api.ask("GET", MAPS)).body["items"]] == ["c"]


async def test_a_terminating_namespace_takes_nothing_new_and_goes_when_finalized(api: Api, store: Store) -> None:
    ending = await api.ask("DELETE", "/api/v1/namespaces/prod")
    assert ending.body["status"]["phase"] == "Terminating"
    refused = await api.ask("POST", MAPS, a_map("a"))
    assert (refused.status, refused.reason) == (403, "Forbidden")
    assert refused.body["message"] == (
        'configmaps "a" is forbidden: unable to create new content in namespace prod because it is being terminated'
    )
    assert refused.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    await api.ask("PUT", "/api/v1/namespaces/prod/finalize", {"metadata": {"name": "prod"}, "spec": {}})
    assert store.find(NAMESPACES, None, "prod") is None


def test_a_controller_ends_an_object_at_once_but_a_pod_with_finalizers_stays(store: Store) -> None:
    store.create(VOLUMES, {"metadata": {"name": "pv"}})
    store.remove(VOLUMES, None, "pv")
    assert store.find(VOLUMES, None, "pv") is None
    store.create(PODS, a_pod(finalizers=["x/y"]))
    store.delete(PODS, "prod", "p")
    store.remove(PODS, "prod", "p")
    assert store.get(PODS, "prod", "p")["metadata"]["deletionGracePeriodSeconds"] == 0
    store.change(PODS, "prod", "p", lambda pod: pod["metadata"].pop("finalizers"))
    assert store.find(PODS, "prod", "p") is None


async def test_a_subscriber_gets_every_event_in_order_as_its_own_copy(store: Store) -> None:
    async with store.subscribe() as events:
        store.create(PODS, a_pod())
        store.change(PODS, "prod", "p", lambda pod: None)
        store.change(PODS, "prod", "p", lambda pod: pod["metadata"].update(labels={"a": "b"}))
        store.remove(PODS, "prod", "p")
        seen: list[Event] = [await anext(events) for _ in range(3)]
    assert [event.type for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
    assert [event.revision for event in seen] == sorted({event.revision for event in seen})
    seen[0].object["metadata"]["name"] = "changed"
    assert store.events_since(0)[-3].object["metadata"]["name"] == "p"


async def test_scale_is_read_and_written(api: Api) -> None:
    made = await api.ask("POST", SETS, a_set())
    shown = await api.ask("GET", f"{SETS}/web/scale")
    assert (shown.body["kind"], shown.body["spec"], shown.body["status"]["selector"]) == (
        "Scale", {"replicas": 2}, "app=web",
    )  # fmt: skip
    assert shown.version == made.version
    patched = await api.ask("PATCH", f"{SETS}/web/scale", {"spec": {"replicas": 0}}, MERGE)
    assert patched.body["spec"]["replicas"] == 0
    stale = await api.ask("PUT", f"{SETS}/web/scale", {**shown.body, "spec": {"replicas": 4}})
    assert stale.status == 409
    assert (await api.ask("PATCH", f"{SETS}/web/scale", {"spec": {"replicas": -1}}, MERGE)).status == 422
    assert (await api.ask("GET", f"{SETS}/web")).body["spec"]["replicas"] == 0


async def test_the_status_is_written_through_its_subresource_only(api: Api) -> None:
    await api.ask("POST", SETS, {**a_set(), "status": {"readyReplicas": 9}})
    await api.ask("PATCH", f"{SETS}/web", {"status": {"readyReplicas": 9}}, MERGE)
    assert "readyReplicas" not in (await api.ask("GET", f"{SETS}/web")).body["status"]
    patch = {"status": {"readyReplicas": 1}, "spec": {"replicas": 50}}
    saved = (await api.ask("PATCH", f"{SETS}/web/status", patch, MERGE)).body
    assert (saved["status"]["readyReplicas"], saved["spec"]["replicas"]) == (1, 2)


async def test_a_pods_log_is_read(api: Api, store: Store) -> None:
    store.create(PODS, a_pod())
    text = await api.ask("GET", f"{CORE}/pods/p/log", tailLines="5", previous="true", follow="true")
    assert text.body == "prod/p/main 5 True\n"
    assert (await api.ask("GET", f"{CORE}/pods/p/log", container="other")).status == 400
    assert (await api.ask("GET", f"{CORE}/pods/q/log")).status == 404


@pytest.mark.parametrize(("command", "code"), [("live", 0), ("die", 137)])
async def test_a_command_runs_in_a_pod_and_its_exit_code_is_told(
    server: ApiServer, store: Store, command: str, code: int
) -> None:
    store.create(PODS, a_pod())
    async with WsApiClient(official.Configuration(host=server.url)) as sockets:
        core = official.CoreV1Api(sockets)
        socket = await core.connect_get_namespaced_pod_exec_without_preload_content(
            name="p", namespace="prod", command=[command, "now"], stdout=True, stderr=True
        )
        async with socket as channel:
            said = [message.data async for message in channel]
    assert said[:2] == [f"\x01{command} now".encode(), b"\x02careful"]
    assert WsApiClient.parse_error_data(said[2][1:]) == code


async def test_an_unknown_token_is_unauthorized(server: ApiServer) -> None:
    stranger = Api(server.url, "wrong")
    refused = await stranger.ask("GET", MAPS)
    await stranger.client.close()
    assert (refused.status, refused.reason) == (401, "Unauthorized")


async def test_what_a_role_does_not_allow_is_forbidden(api: Api, as_user: Callable[..., Api]) -> None:
    await api.ask("POST", SETS, a_set())
    reading = {"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["get"], "namespaces": ["prod"]}
    scaling = {"apiGroups": ["apps"], "resources": ["statefulsets/scale"], "verbs": ["*"], "resourceNames": ["web"]}
    user = as_user(reading, scaling)
    assert (await user.ask("GET", f"{SETS}/web")).status == 200
    assert (await user.ask("PATCH", f"{SETS}/web/scale", {"spec": {"replicas": 1}}, MERGE)).status == 200
    assert (await user.ask("PATCH", f"{SETS}/other/scale", {"spec": {"replicas": 1}}, MERGE)).status == 403
    refused = await user.ask("PATCH", f"{SETS}/web", {"spec": {"replicas": 1}}, MERGE)
    assert (refused.status, refused.reason) == (403, "Forbidden")
    assert refused.body["message"] == (
        'statefulsets.apps "web" is forbidden: User "bot" cannot patch resource "statefulsets" in API group "apps" '
        'in the namespace "prod"'
    )
    everywhere = await user.ask("GET", "/apis/apps/v1/statefulsets")
    assert everywhere.body["message"].endswith("at the cluster scope")


async def test_an_access_review_says_what_the_rules_say(as_user: Callable[..., Api]) -> None:
    user = as_user({"apiGroups": ["apps"], "resources": ["statefulsets/scale"], "verbs": ["patch"]})
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    asked = {"group": "apps", "resource": "statefulsets", "verb": "patch", "namespace": "prod"}
    for subresource, allowed in {"scale": True, "": False}.items():
        review = {"spec": {"resourceAttributes": {**asked, "subresource": subresource}}}
        answered = await user.ask("POST", path, review)
        assert (answered.status, answered.body["status"]["allowed"]) == (201, allowed)
    rules = await user.ask(
        "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {"namespace": "prod"}}
    )
    assert rules.body["status"]["resourceRules"][0]["resources"] == ["statefulsets/scale"]


async def test_a_fault_meets_what_it_matches_as_often_as_it_says(server: ApiServer, api: Api) -> None:
    await api.ask("POST", SETS, a_set())
    server.faults.add(Fault("status", verb="patch", resource="statefulsets", status=429, retry_after=7, times=2))
    assert (await api.ask("GET", f"{SETS}/web")).status == 200
    for _ in range(2):
        refused = await api.ask("PATCH", f"{SETS}/web", {"spec": {"replicas": 0}}, MERGE)
        assert (refused.status, refused.reason, refused.headers["Retry-After"]) == (429, "TooManyRequests", "7")
    assert (await api.ask("PATCH", f"{SETS}/web", {"spec": {"replicas": 0}}, MERGE)).status == 200


async def test_faults_are_set_and_cleared_over_http(api: Api) -> None:
    rule = {"kind": "status", "status": 503, "verb": "list", "namespace": "prod", "seed": 3}
    assert (await api.ask("POST", "/sandbox/faults", rule)).status == 200
    assert (await api.ask("GET", MAPS)).status == 503
    assert (await api.ask("GET", "/sandbox/faults")).body[0]["met"] == 1
    await api.ask("DELETE", "/sandbox/faults")
    assert (await api.ask("GET", MAPS)).status == 200
    wrong = await api.ask("POST", "/sandbox/faults", {"kind": "earthquake"})
    assert (wrong.status, "earthquake" in wrong.body["error"]) == (400, True)


def test_chance_can_be_repeated() -> None:
    def run() -> list[int]:
        faults = Faults(seed=42)
        faults.add(Fault("status", probability=0.5))
        return [len(faults.meeting(verb="get")) for _ in range(50)]

    assert run() == run()
    assert 10 < sum(run()) < 40
    with pytest.raises(ValueError, match="unknown: colour"):
        fault_from({"kind": "delay", "colour": "red"})


async def test_a_slow_answer_comes_late(server: ApiServer, api: Api) -> None:
    server.faults.add(Fault("delay", seconds=0.3, times=1))
    started = time.monotonic()
    assert (await api.ask("GET", MAPS)).status == 200
    assert time.monotonic() - started > 0.29


@pytest.mark.parametrize(("kind", "took_effect"), [("drop_before", False), ("drop_after", True)])
async def test_a_connection_is_dropped_before_or_after_the_effect(
    server: ApiServer, api: Api, store: Store, kind: Any, took_effect: bool
) -> None:
    server.faults.add(Fault(kind, verb="create", times=1))
    with pytest.raises(aiohttp.ClientError):
        await api.ask("POST", MAPS, a_map("a"))
    assert (store.find(CONFIGMAPS, "prod", "a") is not None) == took_effect


async def test_a_silent_watch_is_accepted_and_tells_nothing(server: ApiServer, api: Api) -> None:
    server.faults.add(Fault("silent"))
    await api.ask("POST", MAPS, a_map("a"))
    async with api.watch(MAPS, timeoutSeconds="1", allowWatchBookmarks="true") as lines:
        assert lines.status == 200
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lines.next(), 1.3)


async def test_a_watch_is_dropped_after_some_events(server: ApiServer, api: Api) -> None:
    server.faults.add(Fault("drop_watch", after_events=2))
    for name in "abc":
        await api.ask("POST", MAPS, a_map(name))
    async with api.watch(MAPS) as lines:
        assert [(await lines.next())[1]["metadata"]["name"] for _ in range(2)] == ["a", "b"]
        with pytest.raises(aiohttp.ClientError):
            await lines.rest()


async def test_a_resource_version_is_made_to_expire(server: ApiServer, api: Api) -> None:
    server.faults.add(Fault("expired", times=1))
    async with api.watch(MAPS, resourceVersion="3") as lines:
        [(kind, status)] = await lines.rest()
    assert (kind, status["code"]) == ("ERROR", 410)


async def test_a_token_is_made_to_expire(server: ApiServer, api: Api) -> None:
    server.faults.add(Fault("unauthorized", times=1))
    assert (await api.ask("GET", MAPS)).status == 401
    assert (await api.ask("GET", MAPS)).status == 200


async def test_every_write_is_on_record_with_its_author(
    server: ApiServer, api: Api, as_user: Callable[..., Api]
) -> None:
    made = await api.ask("POST", SETS, a_set())
    user = as_user({"apiGroups": ["apps"], "resources": ["*"], "verbs": ["patch", "get"]})
    saved = await user.ask("PATCH", f"{SETS}/web/scale", {"spec": {"replicas": 1}}, MERGE)
    await user.ask("DELETE", f"{SETS}/web")
    await user.ask("GET", f"{SETS}/web")
    created, scaled, refused = server.writes
    assert (created.identity, created.verb, created.before, created.after) == (
        "sandbox-admin", "create", None, made.version,
    )  # fmt: skip
    assert (scaled.identity, scaled.subresource, scaled.body) == ("bot", "scale", {"spec": {"replicas": 1}})
    assert (scaled.before, scaled.after) == (made.version, saved.version)
    assert (refused.verb, refused.status, refused.changed) == ("delete", 403, False)
    assert server.requests["patch", "statefulsets/scale"] == 1
    assert server.requests["get", "statefulsets"] == 1
    assert created.user_agent


async def test_the_record_holds_no_secret(server: ApiServer, api: Api) -> None:
    word = base64.b64encode(b"hush").decode()
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"data": {"k": word}})}
    body = {"metadata": {"name": "s", "annotations": annotations}, "data": {"k": word}, "stringData": {"m": "hush"}}
    await api.ask("POST", f"{CORE}/secrets", body)
    await api.ask("PATCH", f"{CORE}/secrets/s", [{"op": "add", "path": "/data/z", "value": word}], JSON_PATCH)
    shown = json.dumps((await api.ask("GET", "/sandbox/writes")).body)
    assert "secrets" in shown
    assert '"k"' in shown
    assert not any(secret in shown + repr(server.writes) for secret in (word, "hush"))


async def test_what_the_server_says_of_itself(api: Api) -> None:
    assert (await api.ask("GET", "/version")).body["gitVersion"].startswith("v1.")
    assert (await api.ask("GET", "/api")).body["versions"] == ["v1"]
    groups = {group["name"] for group in (await api.ask("GET", "/apis")).body["groups"]}
    assert groups >= {"apps", "storage.k8s.io", "coordination.k8s.io", "autoscaling", "keda.sh"}
    names = {row["name"] for row in (await api.ask("GET", "/apis/apps/v1")).body["resources"]}
    assert names >= {"statefulsets", "statefulsets/scale", "statefulsets/status", "deployments"}
    for path in ("/openapi/v2", "/openapi/v3"):
        assert (await api.ask("GET", path)).status == 404
    for path in ("/healthz", "/readyz", "/livez"):
        assert (await api.ask("GET", path)).body == "ok"


async def test_traffic_is_answered_by_its_namespace(api: Api) -> None:
    assert (await api.ask("GET", "/sandbox/traffic/prod/mashping")).body == "pong"
    assert (await api.ask("GET", "/sandbox/traffic/staging/mashping")).status == 503


async def test_the_server_is_restarted_on_its_port_and_ends_open_watches(server: ApiServer, api: Api) -> None:
    await api.ask("POST", MAPS, a_map("a"))
    url = server.url
    async with api.watch(MAPS) as lines:
        await lines.next()
        await asyncio.wait_for(server.stop(), 10)
        assert await lines.rest() == []
    with pytest.raises(aiohttp.ClientError):
        await api.ask("GET", MAPS)
    await server.start()
    assert server.url == url
    assert (await api.ask("GET", f"{MAPS}/a")).status == 200


async def test_the_official_client_reads_the_kubeconfig_and_sends_its_token(server: ApiServer, tmp_path: Path) -> None:
    server.tokens["t"] = Identity("bot", ())
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, {"prod": (server.url, "t", "prod"), "admin": (server.url, None, None)})
    for context, status in {"prod": 403, "admin": None}.items():
        client = await config.new_client_from_config(str(path), context=context)
        async with client:
            try:
                await official.CoreV1Api(client).list_namespaced_pod(namespace="prod")
                seen = None
            except ApiException as refused:
                seen = refused.status
        assert seen == status


async def cells(api: Api, path: str) -> dict[str, Any]:
    """The first row of a table by the names of its columns."""
    api.client.set_default_header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
    found = (await api.ask("GET", path)).body
    return dict(zip((column["name"] for column in found["columnDefinitions"]), found["rows"][0]["cells"], strict=True))


async def test_a_pods_row_says_what_is_wrong_with_it(api: Api, store: Store) -> None:
    store.create(PODS, a_pod())

    async def row(**status: Any) -> tuple[Any, ...]:
        store.change(PODS, "prod", "p", lambda pod: pod["status"].update(status), subresource="status")
        shown = await cells(api, f"{CORE}/pods")
        return shown["Ready"], shown["Status"], shown["Restarts"]

    def one(state: Object, *, ready: bool = False, restarts: int = 0, **last: Any) -> list[Object]:
        return [{"name": "main", "ready": ready, "restartCount": restarts, "state": state, "lastState": last}]

    assert await row() == ("0/1", "Pending", "0")
    assert await row(phase="Running", containerStatuses=one({"running": {}}, ready=True)) == ("1/1", "Running", "0")
    pulling = one({"waiting": {"reason": "ImagePullBackOff"}})
    assert await row(containerStatuses=pulling) == ("0/1", "ImagePullBackOff", "0")
    long_ago = {"finishedAt": "2020-01-01T00:00:00Z"}
    crashed = one({"terminated": {"exitCode": 137}}, restarts=3, terminated=long_ago)
    ready, status, restarts = await row(containerStatuses=crashed)
    assert (ready, status) == ("0/1", "ExitCode:137")
    assert restarts.startswith("3 (6y")
    store.delete(PODS, "prod", "p")
    assert (await row())[1] == "Terminating"


async def test_every_kind_has_its_row(api: Api, store: Store) -> None:
    store.create(VOLUMES, {
        "metadata": {"name": "pv"},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Delete", "claimRef": {"namespace": "prod", "name": "data"},
        },
    })  # fmt: skip
    volume = await cells(api, "/api/v1/persistentvolumes")
    assert (volume["Access Modes"], volume["Reclaim Policy"], volume["Claim"]) == ("RWO,RWX", "Delete", "prod/data")
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    store.create(STORAGE_CLASSES, {"metadata": {"name": "fast", "annotations": default}, "provisioner": "csi"})
    shown = await cells(api, "/apis/storage.k8s.io/v1/storageclasses")
    assert (shown["Name"], shown["ReclaimPolicy"], shown["AllowVolumeExpansion"]) == (
        "fast (default)", "Delete", "false",
    )  # fmt: skip
    ports = [{"port": 80, "nodePort": 30080}, {"port": 443}]
    service = {"metadata": {"name": "tm", "namespace": "prod"}, "spec": {"type": "LoadBalancer", "ports": ports}}
    store.create(SERVICES, service)
    shown = await cells(api, f"{CORE}/services")
    assert (shown["External-IP"], shown["Port(s)"]) == ("<pending>", "80:30080/TCP,443/TCP")
    store.create(EVENTS, {
        "metadata": {"name": "e", "namespace": "prod"}, "type": "Warning", "reason": "Failed",
        "involvedObject": {"kind": "Pod", "name": "p"}, "lastTimestamp": "2020-01-01T00:00:00Z",
    })  # fmt: skip
    shown = await cells(api, f"{CORE}/events")
    assert (shown["Object"], shown["Type"], shown["Last Seen"][:2]) == ("pod/p", "Warning", "6y")
    store.create(AUTOSCALERS, {
        "metadata": {"name": "h", "namespace": "prod"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "tm"}, "maxReplicas": 4},
    })  # fmt: skip
    shown = await cells(api, "/apis/autoscaling/v2/horizontalpodautoscalers")
    assert (shown["Reference"], shown["MinPods"], shown["MaxPods"]) == ("Deployment/tm", 1, 4)
    store.create(NODES, {"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    assert (await cells(api, "/api/v1/nodes"))["Status"] == "Ready"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "<invalid>"), (0, "0s"), (119, "119s"), (120, "2m"), (330, "5m30s"), (3600, "60m"), (12_000, "3h20m"),
     (86_400, "24h"), (200_000, "2d7h"), (864_000, "10d"), (3 * 31_536_000, "3y"), (9 * 31_536_000, "9y")],
)  # fmt: skip
def test_an_age_is_shown_as_kubectl_shows_it(seconds: int, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("patch", "outcome"),
    [
        ({"env": [{"name": "B", "value": "2"}]}, {"env": [{"name": "A"}, {"name": "B", "value": "2"}], "x": {"y": 1}}),
        ({"env": [{"$patch": "replace"}, {"name": "C"}]}, {"env": [{"name": "C"}], "x": {"y": 1}}),
        ({"x": {"$patch": "replace", "z": 2}}, {"env": [{"name": "A"}], "x": {"z": 2}}),
        ({"x": {"$patch": "delete"}}, {"env": [{"name": "A"}], "x": {}}),
        ({"x": None}, {"env": [{"name": "A"}]}),
        ({"$retainKeys": ["x"], "x": {"z": 2}}, {"x": {"y": 1, "z": 2}}),
        ({"$setElementOrder/env": [{"name": "A"}]}, {"env": [{"name": "A"}], "x": {"y": 1}}),
        ({"finalizers": ["a", "b"]}, {"env": [{"name": "A"}], "x": {"y": 1}, "finalizers": ["a", "b"]}),
    ],
)
def test_a_strategic_patch_knows_its_directives(patch: Any, outcome: Any) -> None:
    assert merge_strategically({"env": [{"name": "A"}], "x": {"y": 1}}, patch) == outcome


def test_values_are_taken_out_of_a_list_of_values() -> None:
    patch = {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}
    assert merge_strategically({"finalizers": ["a", "b"]}, patch) == {"finalizers": ["b", "c"]}


@pytest.mark.parametrize(
    ("kind", "body"),
    [(JSON_PATCH, {"op": "add"}), (MERGE, "text"), (MERGE, []), (MERGE, {"kind": "Secret"}),
     (MERGE, {"metadata": {"name": "b"}}), (MERGE, {"metadata": {"namespace": "default"}})],
)  # fmt: skip
async def test_a_patch_that_makes_no_sense_is_a_bad_request(api: Api, server: ApiServer, kind: str, body: Any) -> None:
    await api.ask("POST", MAPS, a_map("a"))
    async with (
        aiohttp.ClientSession(headers={"Content-Type": kind}) as session,
        session.patch(f"{server.url}{MAPS}/a", data=json.dumps(body)) as refused,
    ):
        assert (refused.status, (await refused.json())["reason"]) == (400, "BadRequest")


async def test_what_is_fixed_stays_fixed(api: Api, store: Store) -> None:
    store.create(PODS, a_pod())
    store.create(SECRETS, {"metadata": {"name": "s", "namespace": "prod"}, "immutable": True, "data": {"k": "dg=="}})
    store.create(STORAGE_CLASSES, {"metadata": {"name": "sc"}, "provisioner": "csi"})
    service = {"metadata": {"name": "tm", "namespace": "prod"}, "spec": {"clusterIP": "10.0.0.1"}}
    store.create(SERVICES, service)
    for path, patch in {
        f"{CORE}/pods/p": {"spec": {"hostNetwork": True}},
        f"{CORE}/secrets/s": {"data": {"k": "eA=="}},
        "/apis/storage.k8s.io/v1/storageclasses/sc": {"reclaimPolicy": "Retain"},
        f"{CORE}/services/tm": {"spec": {"clusterIP": "10.0.0.2"}},
    }.items():
        refused = await api.ask("PATCH", path, patch, MERGE)
        assert (refused.status, refused.reason) == (422, "Invalid"), path
    image = {"spec": {"containers": [{"name": "main", "image": "app:2"}]}}
    assert (await api.ask("PATCH", f"{CORE}/pods/p", image, STRATEGIC)).status == 200


async def test_a_workload_needs_a_selector_that_fits_its_template(api: Api) -> None:
    wrong = a_set(selector={"matchLabels": {"app": "other"}})
    refused = await api.ask("POST", SETS, wrong)
    assert refused.body["details"]["causes"][0]["field"] == "spec.template.metadata.labels"
    assert (await api.ask("POST", SETS, a_set(selector=None))).status == 422


async def test_a_claim_without_a_class_gets_the_default_one(api: Api, store: Store) -> None:
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    store.create(STORAGE_CLASSES, {"metadata": {"name": "std", "annotations": default}, "provisioner": "csi"})
    made = await api.ask("POST", f"{CORE}/persistentvolumeclaims", a_claim(storageClassName=None))
    assert (made.body["spec"]["storageClassName"], made.body["status"]["phase"]) == ("std", "Pending")


Kubectl = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def kubectl(server: ApiServer, tmp_path: Path) -> Kubectl:
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, {"prod": (server.url, None, "prod")})

    async def run(*words: str, stdin: str = "") -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            "kubectl", "--kubeconfig", str(path), "--cache-dir", str(tmp_path / "cache"), *words,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate(stdin.encode())
        return process.returncode or 0, output.decode()

    return run


# kubectl is no Python package: where it is not installed there is nothing to try these with
if shutil.which("kubectl"):

    async def test_kubectl_applies_shows_scales_patches_and_deletes(kubectl: Kubectl, store: Store) -> None:
        manifest = json.dumps(a_set())
        assert await kubectl("apply", "--validate=false", "-f", "-", stdin=manifest) == (
            0, "statefulset.apps/web created\n",
        )  # fmt: skip
        changed = manifest.replace("app:1", "app:2")
        assert "configured" in (await kubectl("apply", "--validate=false", "-f", "-", stdin=changed))[1]
        shown = (await kubectl("get", "sts", "-o", "wide"))[1].splitlines()
        assert shown[0].split() == ["NAME", "READY", "AGE", "CONTAINERS", "IMAGES"]
        assert shown[1].split()[:2] == ["web", "0/2"]
        assert shown[1].endswith("app:2")
        assert await kubectl("scale", "sts/web", "--replicas=5") == (0, "statefulset.apps/web scaled\n")
        assert (await kubectl("get", "sts", "web", "-o", "jsonpath={.spec.replicas}"))[1] == "5"
        assert (await kubectl("patch", "sts", "web", "-p", '{"spec":{"replicas":0}}'))[0] == 0
        assert "Replicas:" in (await kubectl("describe", "sts", "web"))[1]
        assert await kubectl("delete", "sts", "web") == (0, 'statefulset.apps "web" deleted\n')
        assert await kubectl("get", "sts", "web") == (
            1, 'Error from server (NotFound): statefulsets.apps "web" not found\n',
        )  # fmt: skip

    async def test_kubectl_creates_namespaces_and_secrets(kubectl: Kubectl, store: Store) -> None:
        assert await kubectl("create", "namespace", "extra") == (0, "namespace/extra created\n")
        made = await kubectl("create", "secret", "generic", "s", "--from-literal=k=v", "-n", "extra")
        assert made == (0, "secret/s created\n")
        secret = store.get(SECRETS, "extra", "s")
        assert (secret["data"], secret["type"]) == ({"k": "dg=="}, "Opaque")
        assert (await kubectl("auth", "can-i", "delete", "pods"))[1] == "yes\n"

    async def test_kubectl_reads_logs_runs_commands_and_watches(kubectl: Kubectl, store: Store) -> None:
        store.create(PODS, a_pod())
        assert await kubectl("logs", "p", "--tail=5") == (0, "prod/p/main 5 False\n")
        code, said = await kubectl("exec", "p", "--", "echo", "hello")
        assert (code, "echo hello" in said) == (0, True)
        assert (await kubectl("exec", "p", "--", "die"))[0] == 137
        watching = asyncio.ensure_future(kubectl("get", "pods", "-w", "--request-timeout=1s"))
        await until(lambda: bool(store._feeds))
        store.change(PODS, "prod", "p", lambda pod: pod["status"].update(phase="Running"), subresource="status")
        lines = (await watching)[1].splitlines()
        assert [line.split()[:3] for line in lines] == [
            ["NAME", "READY", "STATUS"], ["p", "0/1", "Pending"], ["p", "0/1", "Running"],
        ]  # fmt: skip

    async def test_kubectl_waits_for_what_it_deletes(kubectl: Kubectl, store: Store) -> None:
        store.create(CLAIMS, a_claim())
        deleting = asyncio.ensure_future(kubectl("delete", "pvc", "data"))
        await until(lambda: bool(store._feeds))
        assert (await kubectl("get", "pvc"))[1].splitlines()[1].split()[:2] == ["data", "Terminating"]
        assert not deleting.done()
        store.change(CLAIMS, "prod", "data", lambda claim: claim["metadata"].pop("finalizers"))
        assert (await deleting)[0] == 0


async def test_a_lease_has_one_winner(api: Api, store: Store) -> None:
    store.create(LEASES, {"metadata": {"name": "l", "namespace": "prod"}, "spec": {}})
    seen = (await api.ask("GET", f"{LEASE_PATH}/l")).body
    bids = [{**seen, "spec": {"holderIdentity": who}} for who in "abcde"]
    answers = await asyncio.gather(*(api.ask("PUT", f"{LEASE_PATH}/l", bid) for bid in bids))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
