"""The control plane itself and its stand-in node: real where it matters, and as the sandbox plays it where not."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from kubernetes.aio import client as official
from kubernetes.aio.config import load_kube_config
from kubernetes.aio.stream import WsApiClient

from sandbox.kubernetes import FAULT_ANNOTATION
from tests.cluster import building
from tests.cluster.client import Answer, Json, open_client, until
from tests.cluster.control_plane import ControlPlane
from tests.cluster.ground import Ground
from tests.cluster.storage import handle_of
from tests.cluster.town import Box, boxed

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
async def box(ground: Ground, tmp_path: Path) -> AsyncIterator[Box]:
    ground.own("how its servers and its node behave is theirs")
    async with boxed(ground, tmp_path) as made:
        yield made


async def test_the_servers_say_which_release_they_are(plane: ControlPlane) -> None:
    async with open_client(plane.access()) as client:
        said = (await client.get("/version")).body
    assert (said["gitVersion"], said["major"], said["minor"]) == (building.version(), "1", "36")


async def test_the_api_server_comes_back_on_its_port_with_all_that_was_there(plane: ControlPlane) -> None:
    async with open_client(plane.access()) as client:
        before = await client.get("/api/v1/namespaces/default")
        await plane.kill_api_server()
        await plane.start_api_server()
        assert (await client.get("/api/v1/namespaces/default")).uid == before.uid


async def test_the_node_beats_on_its_lease(plane: ControlPlane) -> None:
    lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/sandbox-node"
    async with open_client(plane.access()) as client:
        first = (await client.get(lease)).body["spec"]["renewTime"]
        await until(client, lease, lambda answer: answer.body["spec"]["renewTime"] != first)


async def test_a_command_runs_in_a_pod_through_the_api_server_and_its_exit_code_comes_back(box: Box) -> None:
    path = f"/api/v1/namespaces/{box.namespace}/pods"
    pods = (await box.admin.get(path, labelSelector="service=cm-svc")).body["items"]
    name = pods[0]["metadata"]["name"]
    configuration = official.Configuration()
    await load_kube_config(str(box.plane.kubeconfig("admin")), client_configuration=configuration)
    async with WsApiClient(configuration=configuration) as sockets:
        api = official.CoreV1Api(sockets)

        async def run(*command: str) -> str:
            return str(
                await api.connect_get_namespaced_pod_exec(
                    name, box.namespace, command=list(command), stdout=True, stderr=True
                )
            )

        table = await run("clustermanager", "ls", "components")
        assert "trafficmanager" in table
        assert "RESOLVED" in table
        assert "command not found" in await run("nonsense")


async def test_a_log_is_read_through_the_api_server(box: Box) -> None:
    path = f"/api/v1/namespaces/{box.namespace}/pods/cass-set-0-0/log"
    answer = await box.admin.ask("GET", path, params={"tailLines": 1})
    assert answer.text.endswith("INFO  registry is ready\n")


async def test_a_volume_is_a_folder_that_outlives_its_pod_and_ends_with_its_claim(box: Box) -> None:
    claim = f"/api/v1/namespaces/{box.namespace}/persistentvolumeclaims/sqlvol-mysql-set-0-0"
    bound = (await box.admin.get(claim)).body
    folder = box.plane.volumes / await handle_of(box.admin, bound)
    assert (folder / "ibdata1").read_bytes().startswith(b"innodb")
    (folder / "mine").write_text("of a test")
    await box.admin.delete(f"/api/v1/namespaces/{box.namespace}/pods/mysql-set-0-0")
    await until(box.admin, box.apps("statefulsets", "mysql-set-0"), has(readyReplicas=None))
    await until(box.admin, box.apps("statefulsets", "mysql-set-0"), has(readyReplicas=1))
    assert (folder / "mine").read_text() == "of a test"
    await box.admin.patch(box.apps("statefulsets", "mysql-set-0"), {"spec": {"replicas": 0}})
    await box.admin.delete(claim)
    await until(box.admin, claim, lambda answer: answer.status == 404)
    volume = f"/api/v1/persistentvolumes/{bound['spec']['volumeName']}"
    await until(box.admin, volume, lambda answer: answer.status == 404)
    assert not folder.exists()


def has(**status: int | None) -> "Has":
    return Has(status)


class Has:
    """Whether an object's status has these values; None: not, or 0."""

    def __init__(self, status: dict[str, int | None]) -> None:
        self._status = status

    def __call__(self, answer: Answer) -> bool:
        found = answer.body.get("status") or {}
        return all((found.get(key) or None) == value for key, value in self._status.items())


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("never-ready", "Readiness probe failed"),
        ("image-pull", "ImagePullBackOff"),
        ("crash-loop", "CrashLoopBackOff"),
    ],
)
async def test_trouble_by_annotation_is_trouble_as_a_real_node_has_it(fault: str, seen: str, box: Box) -> None:
    await box.annotate("statefulsets", "mysql-set-0", FAULT_ANNOTATION, fault)
    await box.admin.delete(f"/api/v1/namespaces/{box.namespace}/pods/mysql-set-0-0")
    pods, events = (f"/api/v1/namespaces/{box.namespace}/{plural}" for plural in ("pods/mysql-set-0-0", "events"))
    if fault == "never-ready":
        await until(box.admin, events, lambda answer: seen in answer.text)
    else:
        await until(box.admin, pods, lambda answer: seen in answer.text)
    await box.annotate("statefulsets", "mysql-set-0", FAULT_ANNOTATION, None)
    await until(box.admin, box.apps("statefulsets", "mysql-set-0"), has(readyReplicas=1))


@pytest.mark.parametrize(("fault", "code"), [("slow-stop", 137), (None, 0)])
async def test_a_pod_ends_within_its_grace_period_and_says_how_before_it_goes(
    fault: str | None, code: int, box: Box
) -> None:
    await box.annotate("statefulsets", "mysql-set-0", FAULT_ANNOTATION, fault)
    path = f"/api/v1/namespaces/{box.namespace}/pods"
    since = (await box.admin.get(path)).version
    await box.admin.patch(box.apps("statefulsets", "mysql-set-0"), {"spec": {"replicas": 0}})
    last = await last_of(box, path, since, "mysql-set-0-0")
    (container,) = last["status"]["containerStatuses"]
    assert container["state"]["terminated"]["exitCode"] == code


async def last_of(box: Box, path: str, since: str, name: str) -> Json:
    """The state a pod was deleted with."""
    events = box.admin.watch(path, resourceVersion=since, fieldSelector=f"metadata.name={name}", timeoutSeconds=30)
    async with aclosing(events) as told:
        async for event in told:
            if event["type"] == "DELETED":
                found: Json = event["object"]
                return found
    raise AssertionError(f"{name} did not go")


async def test_a_pod_that_is_stuck_stays_until_it_is_repaired(box: Box) -> None:
    pod = f"/api/v1/namespaces/{box.namespace}/pods/cache-set-0-0"
    await box.annotate("statefulsets", "cache-set-0", FAULT_ANNOTATION, "stuck-terminating")
    await box.admin.patch(box.apps("statefulsets", "cache-set-0"), {"spec": {"replicas": 0}})
    await until(box.admin, f"/api/v1/namespaces/{box.namespace}/events", lambda answer: "FailedKillPod" in answer.text)
    assert "deletionTimestamp" in (await box.admin.get(pod)).body["metadata"]
    await box.annotate("statefulsets", "cache-set-0", FAULT_ANNOTATION, None)
    await until(box.admin, pod, lambda answer: answer.status == 404)


async def test_a_namespace_goes_with_all_that_is_in_it(box: Box) -> None:
    await box.admin.delete(f"/api/v1/namespaces/{box.namespace}")
    await until(box.admin, f"/api/v1/namespaces/{box.namespace}", lambda answer: answer.status == 404)


def test_without_go_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(building, "USUAL_PLACE", tmp_path / "go")
    with pytest.raises(building.Missing, match="Go is not installed"):
        building.build(lambda _: None)


def test_without_the_modules_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modules"))
    monkeypatch.setenv("GOPROXY", "off")
    with pytest.raises(building.Missing, match="the Go modules of etcd cannot be fetched"):
        building.build(lambda _: None)


def test_without_openssl_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(building.Missing, match="openssl is not installed"):
        building.build(lambda _: None)


def test_a_program_that_does_not_compile_is_no_reason_to_run_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(building, "TOOLS", tmp_path / "tools")
    monkeypatch.setattr(building, "PROGRAMS", (building.Tool("broken", ".", "broken"),))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "tools" / "broken"
    source.mkdir(parents=True)
    (source / "go.mod").write_text("module broken\n\ngo 1.24\n")
    (source / "main.go").write_text("package main\n\nfunc main() { nonsense() }\n")
    (tmp_path / "tools" / "snapshotter").mkdir()
    with pytest.raises(building.Broken, match="nonsense"):
        building.build(lambda _: None)
