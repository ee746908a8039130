"""StatefulSets and Deployments going down and up: what the bot waits for and what it calls stopped."""

from typing import Any

import pytest

from tests.contract.api import Api
from tests.contract.objects import deployment, stateful_set

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(90)

ZERO = [{"op": "replace", "path": "/spec/replicas", "value": 0}]


def is_ready(workload: Json) -> bool:
    wanted, status = workload["spec"]["replicas"], workload["status"]
    counts = (status.get(key, 0) for key in ("replicas", "readyReplicas", "updatedReplicas"))
    return is_observed(workload) and all(count == wanted for count in counts)


def is_observed(workload: Json) -> bool:
    return bool(workload["status"].get("observedGeneration", 0) >= workload["metadata"]["generation"])


def is_at_zero(workload: Json) -> bool:
    return is_observed(workload) and workload["spec"]["replicas"] == 0 and not workload["status"].get("replicas")


async def running_set(api: Api, **spec: Any) -> Json:
    await api.apply(stateful_set(**spec))
    return await api.until(api.apps("statefulsets", "web"), is_ready)


async def pods(api: Api, app: str = "web") -> list[Json]:
    listed = await api.client.get(api.path("pods"), labelSelector=f"app={app}")
    return sorted(listed.body["items"], key=lambda pod: str(pod["metadata"]["name"]))


async def test_a_set_comes_up_one_after_the_other_each_when_the_one_before_is_ready(api: Api) -> None:
    since = (await api.client.get(api.path("pods"))).version
    await running_set(api, replicas=3)
    assert ups(await told_until(api, since, "web-2 ready")) == [
        "web-0 made", "web-0 ready", "web-1 made", "web-1 ready", "web-2 made", "web-2 ready",
    ]  # fmt: skip


async def test_a_set_goes_down_from_the_highest_each_when_the_one_before_is_gone(api: Api) -> None:
    await running_set(api, replicas=3)
    since = (await api.client.get(api.path("pods"))).version
    await api.client.patch(api.apps("statefulsets", "web"), ZERO, "json")
    assert downs(await told_until(api, since, "web-0 gone")) == [
        "web-2 ending", "web-2 gone", "web-1 ending", "web-1 gone", "web-0 ending", "web-0 gone",
    ]  # fmt: skip


async def test_a_parallel_set_does_not_wait_for_its_other_pods(api: Api) -> None:
    await running_set(api, replicas=3, podManagementPolicy="Parallel")
    since = (await api.client.get(api.path("pods"))).version
    await api.client.patch(api.apps("statefulsets", "web"), ZERO, "json")
    await api.until(api.path("pods"), lambda found: found["items"] == [])
    told = downs(await told_until(api, since, "web-0 gone"))
    assert max(told.index(f"web-{number} ending") for number in range(3)) < 3, "all end before the first is gone"


async def told_until(api: Api, since: str, last: str) -> list[str]:
    """What happened to the pods, in order, each thing once."""
    told: list[str] = []
    async for event in api.client.watch(
        api.path("pods"), resourceVersion=since, labelSelector="app=web", timeoutSeconds=30
    ):
        told += [word for word in words(event) if word not in told]
        if last in told:
            return told
    raise AssertionError(f"{last} was not told: {told}")


def words(event: Json) -> list[str]:
    found, name = event["object"], event["object"]["metadata"]["name"]
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in found["status"].get("conditions") or [])
    is_true = {
        "made": event["type"] == "ADDED",
        "ready": ready,
        "ending": "deletionTimestamp" in found["metadata"],
        "gone": event["type"] == "DELETED",
    }
    return [f"{name} {word}" for word, holds in is_true.items() if holds]


def ups(told: list[str]) -> list[str]:
    return [word for word in told if word.endswith(("made", "ready"))]


def downs(told: list[str]) -> list[str]:
    return [word for word in told if word.endswith(("ending", "gone"))]


async def test_a_patch_to_zero_is_not_yet_observed_and_the_old_counts_still_stand(api: Api) -> None:
    before = await running_set(api)
    answer = await api.client.patch(api.apps("statefulsets", "web"), ZERO, "json")
    assert answer.body["metadata"]["generation"] == before["metadata"]["generation"] + 1
    assert answer.body["status"]["observedGeneration"] == before["metadata"]["generation"]
    assert answer.body["status"]["readyReplicas"] == 1


async def test_a_set_counts_a_pod_that_ends_until_it_is_gone(api: Api) -> None:
    await running_set(api)
    since = (await api.client.get(api.path("pods"))).version
    await api.client.patch(api.apps("statefulsets", "web"), ZERO, "json")
    await told_until(api, since, "web-0 ending")
    found = await api.until(api.apps("statefulsets", "web"), lambda one: is_at_zero(one))
    assert await pods(api) == []
    assert found["status"]["replicas"] == 0, "said, not left out"
    assert "readyReplicas" not in found["status"]
    assert found["status"]["availableReplicas"] == 0


async def test_a_deployment_does_not_count_pods_that_end_but_says_how_many_they_are(api: Api) -> None:
    await api.apply(deployment(replicas=2))
    path = api.apps("deployments", "app")
    await api.until(path, is_ready)
    await api.client.patch(path, ZERO, "json")
    await api.until(path, is_at_zero)
    await api.until(api.path("pods"), lambda found: found["items"] == [])
    found = await api.until(path, lambda one: one["status"].get("terminatingReplicas") == 0)
    assert "replicas" not in found["status"], "left out, not 0"
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    conditions = {one["type"]: one for one in found["status"]["conditions"]}
    assert conditions["Available"]["status"] == "True", "of none, all are available"
    assert "lastUpdateTime" in conditions["Available"]


async def test_a_set_at_zero_has_the_words_of_its_revision(api: Api) -> None:
    found = await running_set(api)
    assert found["status"]["currentRevision"] == found["status"]["updateRevision"]
    assert found["status"]["availableReplicas"] == 1
    (pod,) = await pods(api)
    assert pod["metadata"]["labels"]["controller-revision-hash"] == found["status"]["updateRevision"]
    assert pod["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]


async def test_a_mark_on_the_template_replaces_every_pod_of_a_deployment(api: Api) -> None:
    await api.apply(deployment(replicas=2))
    path = api.apps("deployments", "app")
    await api.until(path, is_ready)
    before = {pod["metadata"]["uid"] for pod in await pods(api, "app")}
    mark = {"spec": {"template": {"metadata": {"annotations": {"example.com/mark": "1"}}}}}
    patched = await api.client.patch(path, mark)
    generation = patched.body["metadata"]["generation"]
    found = await api.until(path, lambda one: is_ready(one) and one["status"].get("terminatingReplicas") == 0)
    assert found["status"]["observedGeneration"] == generation

    def are_new(listed: Json) -> bool:
        """The count of those that end may say 0 while one of them is still there."""
        return not before & {pod["metadata"]["uid"] for pod in listed["items"]}

    await api.until(api.path("pods"), are_new)
    after = await pods(api, "app")
    assert {pod["metadata"]["annotations"]["example.com/mark"] for pod in after} == {"1"}
    progress = next(one for one in found["status"]["conditions"] if one["type"] == "Progressing")
    assert (progress["status"], progress["reason"]) == ("True", "NewReplicaSetAvailable")


async def test_a_mark_on_the_template_replaces_every_pod_of_a_set(api: Api) -> None:
    first = await running_set(api, replicas=2)
    before = {pod["metadata"]["uid"] for pod in await pods(api)}
    mark = {"spec": {"template": {"metadata": {"annotations": {"example.com/mark": "1"}}}}}
    await api.client.patch(api.apps("statefulsets", "web"), mark)

    def is_rolled(one: Json) -> bool:
        status = one["status"]
        return is_ready(one) and status["currentRevision"] == status["updateRevision"]

    found = await api.until(api.apps("statefulsets", "web"), is_rolled)
    assert found["status"]["updateRevision"] != first["status"]["updateRevision"]
    assert not before & {pod["metadata"]["uid"] for pod in await pods(api)}


async def test_an_annotation_on_the_workload_itself_is_no_new_generation(api: Api) -> None:
    before = await running_set(api)
    answer = await api.client.patch(api.apps("statefulsets", "web"), {"metadata": {"annotations": {"a": "1"}}})
    assert answer.body["metadata"]["generation"] == before["metadata"]["generation"]


async def test_one_json_patch_tests_remembers_and_scales(api: Api) -> None:
    found = await running_set(api)
    patch: list[Json] = [
        {"op": "test", "path": "/metadata/uid", "value": found["metadata"]["uid"]},
        {"op": "test", "path": "/spec/replicas", "value": 1},
        {"op": "test", "path": "/metadata/annotations", "value": None},
        {"op": "add", "path": "/metadata/annotations", "value": {"tml-bot/epoch": "1"}},
        {"op": "test", "path": "/metadata/annotations/tml-bot~1epoch", "value": "1"},
        *ZERO,
    ]
    answer = await api.client.patch(api.apps("statefulsets", "web"), patch, "json")
    assert (answer.body["spec"]["replicas"], answer.body["metadata"]["annotations"]) == (0, {"tml-bot/epoch": "1"})


async def test_the_last_status_of_a_pod_says_how_its_container_ended(api: Api) -> None:
    await running_set(api)
    since = (await api.client.get(api.path("pods"))).version
    await api.client.patch(api.apps("statefulsets", "web"), ZERO, "json")
    async for event in api.client.watch(api.path("pods"), resourceVersion=since, timeoutSeconds=30):
        last = event["object"]
        if event["type"] == "DELETED":
            break
    (container,) = last["status"]["containerStatuses"]
    assert container["state"]["terminated"]["exitCode"] == 0
    assert last["metadata"]["deletionGracePeriodSeconds"] == 0
    assert last["status"]["phase"] == "Succeeded"


CLAIMS = [
    {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "contract-storage-class",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
]
STORAGE = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "contract-storage-class"},
    "provisioner": "hostpath.csi.sandbox",
    "volumeBindingMode": "WaitForFirstConsumer",
}


async def test_a_sets_claims_are_kept_at_zero_and_taken_up_again(api: Api) -> None:
    if not api.provisions:
        pytest.skip("this cluster's storage is not known")
    await api.client.ask("POST", "/apis/storage.k8s.io/v1/storageclasses", STORAGE)
    await running_set(api, replicas=2, volumeClaimTemplates=CLAIMS)
    before = await claims(api)
    assert list(before) == ["data-web-0", "data-web-1"]
    assert {claim["status"]["phase"] for claim in before.values()} == {"Bound"}
    assert before["data-web-0"]["metadata"]["labels"] == {"app": "web"}
    assert "ownerReferences" not in before["data-web-0"]["metadata"]
    await api.client.patch(api.apps("statefulsets", "web"), ZERO, "json")
    await api.until(api.path("pods"), lambda found: found["items"] == [])
    assert identities(await claims(api)) == identities(before)
    await api.client.patch(api.apps("statefulsets", "web"), {"spec": {"replicas": 2}})
    await api.until(api.apps("statefulsets", "web"), is_ready)
    assert identities(await claims(api)) == identities(before)


async def claims(api: Api) -> dict[str, Json]:
    items = (await api.client.get(api.path("persistentvolumeclaims"))).body["items"]
    return {claim["metadata"]["name"]: claim for claim in items}


def identities(found: dict[str, Json]) -> set[tuple[str, str, str]]:
    return {
        (claim["metadata"]["uid"], claim["spec"]["volumeName"], claim["status"]["phase"]) for claim in found.values()
    }


async def test_a_claim_in_use_is_marked_and_goes_only_after_its_pod(api: Api) -> None:
    if not api.provisions:
        pytest.skip("this cluster's storage is not known")
    await api.client.ask("POST", "/apis/storage.k8s.io/v1/storageclasses", STORAGE)
    await running_set(api, volumeClaimTemplates=CLAIMS)
    path = api.path("persistentvolumeclaims", "data-web-0")
    await api.client.delete(path)
    marked = await api.client.get(path)
    assert "deletionTimestamp" in marked.body["metadata"]
    assert "kubernetes.io/pvc-protection" in marked.body["metadata"]["finalizers"]
    await api.client.patch(api.apps("statefulsets", "web"), ZERO, "json")
    await api.until(path, lambda found: found.get("code") == 404)
