"""Requests that go wrong, and what never leaves with the error."""

import asyncio
import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio.client import Configuration

from lifecycle.errors import Conflict, Forbidden, Gone, Invalid, Retryable
from lifecycle.kube import paths
from lifecycle.kube.answers import Accept, Expired, Json, Request, refusal
from lifecycle.kube.credentials import same_connection
from lifecycle.kube.door import Connections, Door, Timeouts, connect
from lifecycle.kube.paths import Resource
from lifecycle.kube.watch import Mirror
from lifecycle.model import Kind, Ref
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.access import Identity
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import CONFIGMAPS, REPLICASETS, SECRETS, Object
from sandbox.tml import PROD_NAMESPACE, prod
from tests.lifecycle.kube.conftest import OpenDoor

TM = paths.of(Ref(Kind.DEPLOYMENT, "tm-deploy-0"), PROD_NAMESPACE)
SECRET = paths.one_of(Resource.SECRETS, PROD_NAMESPACE, "cluster-property")


@pytest.fixture(autouse=True)
def namespace(api: KubernetesSandbox) -> None:
    api.apply(prod())


async def test_a_throttled_read_is_tried_again_when_it_was_asked_to(api: KubernetesSandbox, door: Door) -> None:
    fault = api.faults.add(Fault("status", verb="get", status=429, retry_after=1, times=1))
    begun = asyncio.get_running_loop().time()
    assert (await door.get(TM))["metadata"]["name"] == "tm-deploy-0"
    assert asyncio.get_running_loop().time() - begun >= 1
    assert fault.met == 1


async def test_a_write_is_sent_once_and_says_when_to_come_back(api: KubernetesSandbox, door: Door) -> None:
    fault = api.faults.add(Fault("status", method="PATCH", status=429, retry_after=7))
    with pytest.raises(Retryable) as raised:
        await door.patch(TM, [{"op": "test", "path": "/spec/replicas", "value": 2}])
    assert raised.value.after == 7
    assert fault.met == 1


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
async def test_a_cut_connection_is_retryable(api: KubernetesSandbox, door: Door, kind: str) -> None:
    api.faults.add(Fault(kind, method="PATCH"))  # type: ignore[arg-type]
    with pytest.raises(Retryable, match="PATCH"):
        await door.patch(TM, [{"op": "test", "path": "/spec/replicas", "value": 2}])


async def test_a_silent_server_is_given_up_in_time(api: KubernetesSandbox, open_door: OpenDoor) -> None:
    door = await open_door(timeouts=Timeouts(read=0.05, write=0.05))
    api.faults.add(Fault("delay", seconds=5))
    begun = asyncio.get_running_loop().time()
    with pytest.raises(Retryable, match="no answer in time"):
        await door.get_once(TM)
    with pytest.raises(Retryable, match="no answer in time"):
        await door.patch(TM, [])
    assert asyncio.get_running_loop().time() - begun < 5, "long before anybody gives up on the door"


async def test_a_server_that_is_not_there_is_retryable(api: KubernetesSandbox, door: Door) -> None:
    await api.server.stop()
    with pytest.raises(Retryable, match="cannot connect"):
        await door.get_once(TM)


async def test_refusals_have_our_names(api: KubernetesSandbox, door: Door) -> None:
    with pytest.raises(Gone, match="nobody"):
        await door.get(paths.one_of(Resource.PODS, PROD_NAMESPACE, "nobody"))
    with pytest.raises(Conflict):
        await door.patch(TM, [{"op": "test", "path": "/spec/replicas", "value": 9}])
    with pytest.raises(Conflict):
        await door.patch(TM, [{"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}])
    with pytest.raises(Invalid):
        await door.patch(TM, [{"op": "replace", "path": "/spec/replicas", "value": -1}])


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Invalid), (404, Gone), (409, Conflict), (410, Expired), (415, Invalid), (500, Retryable), (504, Retryable)],
)
def test_each_status_is_one_error(status: int, error: type[Exception]) -> None:
    assert type(refusal(Request("GET", "/x"), status, b"<html>", None)) is error


async def test_expired_credentials_are_read_again_once(api: KubernetesSandbox, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    api.server.tokens["new"] = Identity("bot")
    api.kubeconfig(path, {"local": None}, {"local": "old"})
    async with connect("local", kubeconfig=str(path)) as door:
        with pytest.raises(Retryable, match="401"):
            await door.get_once(TM)
        api.kubeconfig(path, {"local": None}, {"local": "new"})
        found = await asyncio.gather(*(door.get(TM) for _ in range(5)))
    assert len(found) == 5


async def test_one_refused_request_is_no_refusal(api: KubernetesSandbox, door: Door) -> None:
    api.faults.add(Fault("unauthorized", times=1))
    assert await door.get(TM)
    api.faults.add(Fault("unauthorized", times=2))
    with pytest.raises(Retryable, match="401"):
        await door.get_once(TM)


async def test_who_may_not_is_forbidden_and_not_tried_again(api: KubernetesSandbox, door: Door) -> None:
    fault = api.faults.add(Fault("status", status=403))
    with pytest.raises(Forbidden):
        await door.get(TM)
    assert fault.met == 1


async def test_a_credential_plugin_that_fails_is_retryable_and_may_work_the_next_time(
    api: KubernetesSandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api.server.tokens["fresh"] = Identity("bot")
    answer = tmp_path / "answer.json"
    path = with_plugin(api, tmp_path / "kubeconfig", f"cat {answer}")
    async with connect("local", kubeconfig=str(path)) as door:
        with pytest.raises(Retryable, match="context local of the kubeconfig: its credential plugin"):
            await door.get_once(TM)
        answer.write_text(
            '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "fresh"}}'
        )
        assert await door.get_once(TM)
        del api.server.tokens["fresh"]
        answer.unlink()
        with pytest.raises(Retryable, match="its credential plugin"):
            await door.get_once(TM)


def with_plugin(api: KubernetesSandbox, path: Path, command: str) -> Path:
    """A kubeconfig whose user's token comes from this shell command."""
    api.kubeconfig(path, {"local": None}, {"local": "unused"})
    written = yaml.safe_load(path.read_text())
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", command]}
    for user in written["users"]:
        user["user"] = {"exec": plugin}
    path.write_text(yaml.safe_dump(written))
    return path


async def test_a_context_that_is_missing_is_invalid_until_it_is_there(api: KubernetesSandbox, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    api.kubeconfig(path, {"other": None})
    async with Connections(kubeconfig=str(path)) as connections:
        door, other = await connections.to("local"), await connections.to("other")
        with pytest.raises(Invalid, match="context local of the kubeconfig"):
            await door.get(TM)
        assert await other.get(TM), "one that cannot be loaded keeps no other from being asked"
        api.kubeconfig(path, {"local": None})
        assert await door.get(TM)


async def test_the_bot_names_itself(api: KubernetesSandbox, door: Door) -> None:
    await door.patch(TM, [{"op": "test", "path": "/spec/replicas", "value": 2}])
    assert api.writes[-1].user_agent.startswith("tml-bot/")


async def test_no_value_of_a_secret_is_in_an_error(api: KubernetesSandbox, door: Door) -> None:
    (value,) = api.store.get(SECRETS, PROD_NAMESPACE, "cluster-property")["data"].values()
    with pytest.raises(Invalid) as raised:
        await door.patch(SECRET, [{"op": "add", "path": "/data/tml_cluster_properties.json", "value": f"!{value}"}])
    chained = [raised.value, raised.value.__cause__, raised.value.__context__]
    assert value not in "".join(repr(error) for error in chained)
    body = b'{"kind":"Status","message":"Invalid value: CANARY","code":422}'
    assert "CANARY" not in str(refusal(Request("PUT", SECRET), 422, body, None))


async def test_no_token_is_in_the_error_of_a_kubeconfig(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(
        "current-context: a\nclusters: []\ncontexts: [{name: a, context: {cluster: b, user: c}}]\n"
        "users: [{name: c, user: {token: CANARY}}]\n"
    )
    async with connect("a", kubeconfig=str(path)) as door:
        with pytest.raises(Invalid, match="context a of the kubeconfig") as raised:
            await door.get(TM)
    assert "CANARY" not in str(raised.value)
    assert raised.value.__cause__ is None


async def test_outside_of_a_cluster_there_is_no_service_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    async with connect(None) as door:
        with pytest.raises(Invalid, match="the service account of this pod"):
            await door.get(TM)


async def test_a_certificate_that_cannot_be_read_is_told_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(
        "current-context: a\ncontexts: [{name: a, context: {cluster: b, user: c}}]\nusers: [{name: c, user: {}}]\n"
        "clusters: [{name: b, cluster: {server: 'https://b', certificate-authority-data: Q0FOQVJZ}}]\n"
    )
    async with connect("a", kubeconfig=str(path)) as door:
        with pytest.raises(Invalid, match="certificates for https://b") as raised:
            await door.get(TM)
    assert "CANARY" not in repr(raised.value)


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"api_key": {"BearerToken": "new"}}, True),
        ({"host": "http://b"}, False),
        ({"cert_file": "x"}, False),
    ],
)
def test_a_client_serves_on_only_if_nothing_but_its_token_changed(changed: dict[str, Any], same: bool) -> None:
    before, after = Configuration(host="http://a"), Configuration(host="http://a")
    for field, value in changed.items():
        setattr(after, field, value)
    assert same_connection(before, after) is same


async def test_each_context_has_one_door(api: KubernetesSandbox, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    api.kubeconfig(path, {"one": None, "two": None})
    async with Connections(kubeconfig=str(path)) as connections:
        one, again, two = [await connections.to(name) for name in ("one", "one", "two")]
        assert one is again
        assert one is not two
        assert await one.get(TM)


async def test_a_403_from_an_api_server_that_is_still_starting_is_worth_another_try(
    api: KubernetesSandbox, open_door: OpenDoor
) -> None:
    api.server.tokens["none"] = Identity("none", ())
    door = await open_door("none")
    api.server.is_ready = False
    with pytest.raises(Retryable, match="still starting"):
        await door.get_once(TM)
    api.server.is_ready = True
    with pytest.raises(Forbidden):
        await door.get_once(TM)


async def test_an_api_server_that_takes_its_time_to_read_its_roles_is_still_starting(
    api: KubernetesSandbox, door: Door
) -> None:
    api.server.has_read_roles = api.server.is_ready = False
    asyncio.get_running_loop().call_later(0.8, setattr, api.server, "has_read_roles", True)
    with pytest.raises(Retryable, match="still starting"):
        await door.get_once(TM)


async def test_where_readyz_is_never_allowed_a_refusal_is_believed_in_the_end(
    api: KubernetesSandbox, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lifecycle.kube.door.ROLES_READ", (0.0, 0.01))
    api.server.has_read_roles = False
    with pytest.raises(Forbidden):
        await door.get_once(TM)


CANARY = "Q0FOQVJZIG9mIGEgdGVzdA=="


def relabel(found: Object) -> None:
    found["metadata"].setdefault("labels", {})["seen"] = "again"


def tells_a_value(api: KubernetesSandbox, found: Any) -> bool:
    """Whether any data of a Secret or ConfigMap is in it."""
    objects = [one for kind in (SECRETS, CONFIGMAPS) for one in api.store.rows(kind, PROD_NAMESPACE)]
    values = [CANARY, *(value for one in objects for value in (one.get("data") or {}).values())]
    text = json.dumps(found)
    return any(json.dumps(value) in text for value in values)


async def test_of_a_secret_the_metadata_can_be_read_without_its_values(api: KubernetesSandbox, door: Door) -> None:
    whole, found = await door.get(SECRET), await door.get(SECRET, accept=Accept.METADATA)
    assert tells_a_value(api, whole)
    assert found["metadata"] == whole["metadata"]
    assert not tells_a_value(api, found)


async def test_a_list_is_no_single_object(door: Door) -> None:
    with pytest.raises(Invalid, match="406"):
        await door.get(paths.all_of(Resource.SECRETS, PROD_NAMESPACE), accept=Accept.METADATA)


@pytest.mark.parametrize(("resource", "kind"), [(Resource.SECRETS, SECRETS), (Resource.CONFIG_MAPS, CONFIGMAPS)])
async def test_what_holds_values_is_listed_and_followed_by_its_metadata(
    api: KubernetesSandbox, door: Door, resource: Resource, kind: Any
) -> None:
    path = paths.all_of(resource, PROD_NAMESPACE)
    for name in ("one", "other"):
        api.store.create(kind, {"metadata": {"name": name, "namespace": PROD_NAMESPACE}, "data": {"key": CANARY}})
    names = {one["metadata"]["name"] for one in api.store.rows(kind, PROD_NAMESPACE)}
    mirror = Mirror(resource, PROD_NAMESPACE)
    mirror.fill(await door.get_once(path, accept=resource.listed_as))
    assert set(mirror.objects) == names
    for name in sorted(names):
        api.store.change(kind, PROD_NAMESPACE, name, relabel)
    api.store.delete(kind, PROD_NAMESPACE, "other")
    latest = api.store.revision
    for event in await told(door, path, mirror):
        assert set(event["object"]) == {"kind", "apiVersion", "metadata"}
        mirror.apply(event)
    assert set(mirror.objects) == names - {"other"}
    assert all(one["metadata"]["labels"]["seen"] == "again" for one in mirror.objects.values())
    assert int(mirror.version) >= latest
    assert not tells_a_value(api, mirror.objects)


async def told(door: Door, path: str, mirror: Mirror) -> list[Json]:
    """Everything from the mirror's version on."""
    params = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": mirror.version, "timeoutSeconds": "1"}
    async with aclosing(door.follow(path, params, silence=5, accept=mirror.resource.watched_as)) as events:
        return [event async for event in events]


async def test_a_list_of_none_fills_a_mirror_with_nothing(api: KubernetesSandbox, door: Door) -> None:
    mirror = Mirror(Resource.SECRETS, PROD_NAMESPACE)
    mirror.fill(await door.get_once(paths.all_of(Resource.SECRETS, "nobodys"), accept=mirror.resource.listed_as))
    assert (mirror.objects, mirror.known) == ({}, True)


async def test_a_delete_ends_the_object_that_was_read_and_then_what_it_owns(api: KubernetesSandbox, door: Door) -> None:
    await api.until(lambda store: bool(owned(api, "tm-deploy-0")))
    metadata = (await door.get(TM))["metadata"]
    while True:
        try:
            await door.delete(TM, metadata["uid"], metadata["resourceVersion"])
            break
        except Conflict:  # its status is still being written
            metadata = (await door.get(TM))["metadata"]
    assert api.writes[-1].body["propagationPolicy"] == "Background"
    await api.until(lambda store: not owned(api, "tm-deploy-0"))
    with pytest.raises(Gone):
        await door.delete(TM, metadata["uid"], metadata["resourceVersion"])


def owned(api: KubernetesSandbox, deployment: str) -> list[Object]:
    sets = api.store.rows(REPLICASETS, PROD_NAMESPACE)
    return [one for one in sets if one["metadata"]["ownerReferences"][0]["name"] == deployment]


async def test_a_namesake_is_not_deleted(api: KubernetesSandbox, door: Door) -> None:
    metadata = (await door.get(SECRET))["metadata"]
    with pytest.raises(Conflict):
        await door.delete(SECRET, "0-0-0-0", metadata["resourceVersion"])
    assert await door.get(SECRET)


async def test_what_changed_since_it_was_read_is_not_deleted(api: KubernetesSandbox, door: Door) -> None:
    read = (await door.get(SECRET))["metadata"]
    api.store.change(SECRETS, PROD_NAMESPACE, "cluster-property", relabel)
    with pytest.raises(Conflict):
        await door.delete(SECRET, read["uid"], read["resourceVersion"])
    now = (await door.get(SECRET))["metadata"]
    await door.delete(SECRET, now["uid"], now["resourceVersion"])
    with pytest.raises(Gone):
        await door.get(SECRET)


async def test_what_something_still_holds_is_answered_as_it_is_going(api: KubernetesSandbox, door: Door) -> None:
    def hold(found: Object) -> None:
        found["metadata"]["finalizers"] = ["example.com/held"]

    api.store.change(SECRETS, PROD_NAMESPACE, "cluster-property", hold)
    read = (await door.get(SECRET))["metadata"]
    assert "deletionTimestamp" in (await door.delete(SECRET, read["uid"], read["resourceVersion"]))["metadata"]
