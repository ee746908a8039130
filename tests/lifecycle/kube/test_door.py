"""Requests that go wrong, and what never leaves with the error."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio.client import Configuration

from lifecycle.errors import Conflict, Forbidden, Gone, Invalid, Retryable
from lifecycle.kube import paths
from lifecycle.kube.answers import Expired, Request, refusal
from lifecycle.kube.credentials import same_connection
from lifecycle.kube.door import Connections, Door, Timeouts, connect
from lifecycle.kube.paths import Resource
from lifecycle.model import Kind, Ref
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.access import Identity
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import SECRETS
from sandbox.tml import PROD_NAMESPACE, prod
from tests.lifecycle.kube.conftest import OpenDoor

TM = paths.workload(Ref(Kind.DEPLOYMENT, "tm-deploy-0"), PROD_NAMESPACE)
SECRET = f"/api/v1/namespaces/{PROD_NAMESPACE}/secrets/cluster-property"


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
    assert asyncio.get_running_loop().time() - begun < 1


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
