"""Pods that run once on a clone: how they end, what holds their claims, what a claim with a source is bound to."""

from typing import Any

import pytest

from tests.contract.api import Api
from tests.contract.objects import IMAGE, claim, from_snapshot, storage_class
from tests.contract.test_snapshots import bound_claim, is_bound, is_gone, taken, with_claim, with_storage

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(90)


def check(script: str, name: str = "check", *, of: str = "", notes: Json | None = None, **spec: Any) -> Json:
    """A pod as the bot makes them; ``of`` is the claim that it mounts at /data, for reading."""
    container: Json = {"name": "check", "image": IMAGE, "command": ["sh", "-c", script]}
    mounted: Json = {}
    if of:
        container["volumeMounts"] = [{"name": "clone", "mountPath": "/data", "readOnly": True}]
        mounted = {"volumes": [{"name": "clone", "persistentVolumeClaim": {"claimName": of}}]}
    body = {"restartPolicy": "Never", "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 5}
    metadata = {"name": name, "labels": {"tml-bot/scratch": "op-1"}, "annotations": notes or {}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {**body, "containers": [container], **mounted, **spec},
    }


def has_ended(found: Json) -> bool:
    return (found.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def terminated(pod: Json) -> Json:
    (container,) = pod["status"]["containerStatuses"]
    assert container["restartCount"] == 0
    return dict(container["state"]["terminated"])


def needs_our_node(api: Api) -> None:
    if not api.provisions:
        pytest.skip("this cluster's nodes are not ours")


@pytest.mark.parametrize(
    ("script", "phase", "code"),
    [
        ("true", "Succeeded", 0),
        ("exit 3", "Failed", 3),
        ("false || echo so && exit 4", "Failed", 4),
        ("nothing-of-that-name --now", "Failed", 127),
    ],
)
async def test_a_pod_that_runs_once_ends_as_its_command_does_and_is_not_started_again(
    api: Api, script: str, phase: str, code: int
) -> None:
    needs_our_node(api)
    await api.apply(check(script))
    found = await api.until(api.path("pods", "check"), has_ended)
    assert found["status"]["phase"] == phase
    assert terminated(found)["exitCode"] == code
    assert "reason" not in found["status"], "that is for what Kubernetes ended by itself"


async def test_what_a_check_said_can_be_read_when_it_has_ended(api: Api) -> None:
    needs_our_node(api)
    await api.apply(check("echo one; echo two; exit 3"))
    path = api.path("pods", "check")
    await api.until(path, has_ended)
    answer = await api.client.ask("GET", f"{path}/log", params={"container": "check", "tailLines": 1})
    assert answer.text == "two\n"


async def test_a_pod_that_is_active_for_too_long_is_failed_with_that_reason(api: Api) -> None:
    needs_our_node(api)
    await api.apply(check("sleep 3600", activeDeadlineSeconds=3))
    found = await api.until(api.path("pods", "check"), has_ended)
    assert (found["status"]["phase"], found["status"]["reason"]) == ("Failed", "DeadlineExceeded")
    assert terminated(found)["exitCode"] == 137


async def test_so_is_one_whose_image_never_comes(api: Api) -> None:
    needs_our_node(api)
    await api.apply(check("true", notes={"sandbox.tml-bot/fault": "image-pull"}, activeDeadlineSeconds=5))
    found = await api.until(api.path("pods", "check"), has_ended)
    assert (found["status"]["phase"], found["status"]["reason"]) == ("Failed", "DeadlineExceeded")
    assert not terminated(found).get("startedAt")


async def test_a_check_sees_the_bytes_of_the_clone_that_it_mounts_and_no_others(api: Api) -> None:
    await taken(api, await with_claim(api))
    ((await api.folder_of("data")) / "rows").unlink()
    late = f"{api.namespace}-late"
    await api.define("storageclasses", storage_class(late, "WaitForFirstConsumer"))
    await api.apply(claim("clone", storage_class=late, dataSource=from_snapshot("snap")))
    assert not is_bound((await api.client.get(api.claims("clone"))).body)
    await api.apply(check("ls -A /data && test -s /data/rows && ls -A /data | grep -qvxF lost+found", of="clone"))
    found = await api.until(api.path("pods", "check"), has_ended)
    assert found["status"]["phase"] == "Succeeded"
    assert is_bound((await api.client.get(api.claims("clone"))).body)
    answer = await api.client.ask("GET", api.path("pods", "check") + "/log")
    assert answer.text == "rows\n"
    await api.apply(check("test -s /data/rows", "another", of="data"))
    assert (await api.until(api.path("pods", "another"), has_ended))["status"]["phase"] == "Failed"


async def test_a_pod_that_has_ended_holds_its_claim_and_the_claim_its_volume_until_somebody_removes_it(
    api: Api,
) -> None:
    await with_storage(api)
    await bound_claim(api)
    volume = f"/api/v1/persistentvolumes/{(await api.volume('data'))['metadata']['name']}"
    folder = await api.folder_of("data")
    await api.apply(check("true", of="data"))
    await api.until(api.path("pods", "check"), has_ended)
    await api.client.delete(api.claims("data"))
    marked = (await api.client.get(api.claims("data"))).body
    assert "deletionTimestamp" in marked["metadata"]
    assert marked["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    await api.client.delete(api.path("pods", "check"))
    await api.until(api.path("pods", "check"), is_gone)
    await api.until(api.claims("data"), is_gone)
    await api.until(volume, is_gone)
    assert not folder.exists()


async def test_a_claim_with_a_source_is_bound_to_a_volume_that_is_free_and_gets_none_of_its_source(api: Api) -> None:
    """Why a restore test looks for free volumes first, and removes only what was made for its claim."""
    await taken(api, await with_claim(api))
    static = f"{api.namespace}-static"
    await api.define("storageclasses", storage_class(static, reclaimPolicy="Retain"))
    spec = {
        "capacity": {"storage": "2Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": static,
        "csi": {"driver": "hostpath.csi.sandbox", "volumeHandle": f"free-{api.namespace}"},
    }
    free = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"free-{api.namespace}"}, "spec": spec}
    path = await api.define("persistentvolumes", free)
    await api.until(path, lambda found: (found.get("status") or {}).get("phase") == "Available")
    await api.apply(claim("clone", storage_class=static, dataSource=from_snapshot("snap")))
    found = await api.until(api.claims("clone"), is_bound)
    assert found["spec"]["volumeName"] == f"free-{api.namespace}"
    bound = (await api.client.get(path)).body
    assert "pv.kubernetes.io/provisioned-by" not in (bound["metadata"].get("annotations") or {})


async def test_the_volume_of_a_clone_is_newer_than_its_claim_and_says_who_made_it(api: Api) -> None:
    await taken(api, await with_claim(api))
    made = await bound_claim(api, "clone", dataSource=from_snapshot("snap"))
    volume = await api.volume("clone")
    assert volume["metadata"]["creationTimestamp"] >= made["metadata"]["creationTimestamp"]
    assert volume["metadata"]["annotations"]["pv.kubernetes.io/provisioned-by"]
    assert volume["spec"]["claimRef"]["uid"] == made["metadata"]["uid"]
