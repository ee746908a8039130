"""What goes when, and what is kept: scale, retention, owners, namespaces, volumes."""

from typing import Any

import pytest

from tests.contract.api import Api
from tests.contract.objects import config, deployment, stateful_set
from tests.contract.test_workloads import CLAIMS, STORAGE, ZERO, is_ready, running_set

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(90)


async def test_a_scale_is_an_object_of_its_own_with_a_right_of_its_own(api: Api) -> None:
    await api.apply(stateful_set(replicas=2))
    rules = [{"apiGroups": ["apps"], "resources": ["statefulsets/scale"], "verbs": ["get", "patch"]}]
    client = await api.restricted(rules)
    path = api.apps("statefulsets", "web")
    scale = (await client.get(f"{path}/scale")).body
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"]["selector"] == "app=web"
    answer = await client.patch(f"{path}/scale", {"spec": {"replicas": 0}})
    assert answer.body["spec"].get("replicas", 0) == 0
    refused = await client.ask("PATCH", path, ZERO, patch="json")
    assert refused.status == 403
    assert (await api.client.get(path)).body["spec"]["replicas"] == 0


async def test_a_right_on_the_workload_is_none_on_its_scale(api: Api) -> None:
    await api.apply(stateful_set())
    client = await api.restricted([{"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["patch"]}])
    path = f"{api.apps('statefulsets', 'web')}/scale"
    answer = await client.ask("PATCH", path, {"spec": {"replicas": 0}}, patch="merge")
    assert answer.status == 403
    assert 'cannot patch resource "statefulsets/scale" in API group "apps"' in answer.body["message"]


async def with_storage(api: Api, **spec: Any) -> None:
    if not api.provisions:
        pytest.skip("this cluster's storage is not known")
    await api.client.ask("POST", "/apis/storage.k8s.io/v1/storageclasses", STORAGE)
    await running_set(api, volumeClaimTemplates=CLAIMS, **spec)


async def test_a_set_whose_policy_is_delete_takes_its_claims_along_to_zero(api: Api) -> None:
    await with_storage(api, persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete", "whenDeleted": "Retain"})
    await api.client.patch(api.apps("statefulsets", "web"), ZERO, "json")
    await api.until(api.path("persistentvolumeclaims"), lambda found: found["items"] == [])


async def test_a_set_that_is_deleted_leaves_its_claims(api: Api) -> None:
    await with_storage(api)
    await api.client.delete(api.apps("statefulsets", "web"))
    await api.until(api.path("pods"), lambda found: found["items"] == [])
    items = (await api.client.get(api.path("persistentvolumeclaims"))).body["items"]
    assert [(one["metadata"]["name"], one["status"]["phase"]) for one in items] == [("data-web-0", "Bound")]


DELETED_WITH_THE_SET = {"whenScaled": "Retain", "whenDeleted": "Delete"}


async def test_a_set_whose_policy_is_delete_takes_its_claims_along_when_it_is_deleted(api: Api) -> None:
    await with_storage(api, persistentVolumeClaimRetentionPolicy=DELETED_WITH_THE_SET)
    set_ = (await api.client.get(api.apps("statefulsets", "web"))).body
    claim = await api.until(
        api.path("persistentvolumeclaims", "data-web-0"), lambda found: "ownerReferences" in found["metadata"]
    )
    (owner,) = claim["metadata"]["ownerReferences"]
    assert owner == {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "name": "web",
        "uid": set_["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    await api.client.patch(api.apps("statefulsets", "web"), ZERO, "json")
    await api.until(api.path("pods"), lambda found: found["items"] == [])
    assert len((await api.client.get(api.path("persistentvolumeclaims"))).body["items"]) == 1
    await api.client.delete(api.apps("statefulsets", "web"))
    await api.until(api.path("persistentvolumeclaims"), lambda found: found["items"] == [])


async def test_a_policy_that_is_changed_to_retain_lets_the_claims_stay(api: Api) -> None:
    await with_storage(api, persistentVolumeClaimRetentionPolicy=DELETED_WITH_THE_SET)
    path = api.path("persistentvolumeclaims", "data-web-0")
    await api.until(path, lambda found: "ownerReferences" in found["metadata"])
    retain = {"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain"}}}
    await api.client.patch(api.apps("statefulsets", "web"), retain)
    await api.until(path, lambda found: "ownerReferences" not in found["metadata"])
    await api.client.delete(api.apps("statefulsets", "web"))
    await api.until(api.path("pods"), lambda found: found["items"] == [])
    assert "deletionTimestamp" not in (await api.client.get(path)).body["metadata"]


async def test_a_set_that_orphans_what_is_its_own_leaves_pods_and_claims(api: Api) -> None:
    await with_storage(api, persistentVolumeClaimRetentionPolicy=DELETED_WITH_THE_SET)
    path = api.path("persistentvolumeclaims", "data-web-0")
    await api.until(path, lambda found: "ownerReferences" in found["metadata"])
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Orphan"}
    await api.client.delete(api.apps("statefulsets", "web"), options)
    await api.until(api.apps("statefulsets", "web"), lambda found: found.get("code") == 404)
    await api.until(path, lambda found: "ownerReferences" not in found["metadata"])
    pod = (await api.client.get(api.path("pods", "web-0"))).body
    assert "ownerReferences" not in pod["metadata"]
    assert "deletionTimestamp" not in pod["metadata"]


async def test_a_volume_that_is_kept_is_bound_again_by_a_claim_of_the_same_name(api: Api) -> None:
    await with_storage(api)
    path = api.path("persistentvolumeclaims", "data-web-0")
    claim = (await api.client.get(path)).body
    volume = f"/api/v1/persistentvolumes/{claim['spec']['volumeName']}"
    await api.client.patch(volume, {"spec": {"persistentVolumeReclaimPolicy": "Retain"}})
    await api.client.delete(api.apps("statefulsets", "web"))
    await api.until(api.path("pods"), lambda found: found["items"] == [])
    await api.client.delete(path)
    await api.until(volume, lambda found: found["status"]["phase"] == "Released")
    await api.client.patch(volume, {"spec": {"claimRef": {"uid": None, "resourceVersion": None}}})
    spec = CLAIMS[0]["spec"] | {"volumeName": claim["spec"]["volumeName"]}  # type: ignore[operator]
    again = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data-web-0"}, "spec": spec}
    await api.apply(again)
    bound = await api.until(path, lambda found: (found.get("status") or {}).get("phase") == "Bound")
    assert bound["metadata"]["uid"] != claim["metadata"]["uid"]
    assert (await api.client.get(volume)).body["spec"]["claimRef"]["uid"] == bound["metadata"]["uid"]


async def test_a_deletion_in_the_foreground_ends_with_the_owner(api: Api) -> None:
    await api.apply(deployment())
    path = api.apps("deployments", "app")
    await api.until(path, is_ready)
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
    answer = await api.client.delete(path, options)
    assert answer.body["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert "deletionTimestamp" in answer.body["metadata"]
    await api.until(path, lambda found: found.get("code") == 404)
    assert (await api.client.get(api.path("pods"))).body["items"] == []


async def test_a_namespace_on_its_way_out_takes_nothing_new(api: Api) -> None:
    held = config("held")
    held["metadata"]["finalizers"] = ["example.com/held"]
    await api.apply(held)
    space = f"/api/v1/namespaces/{api.namespace}"
    await api.client.delete(space)
    found = await api.until(space, lambda one: one["status"]["phase"] == "Terminating")
    assert "deletionTimestamp" in found["metadata"]
    answer = await api.client.ask("POST", api.path("configmaps"), config("new"))
    assert (answer.status, answer.body["reason"]) == (403, "Forbidden")
    assert answer.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    again = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": api.namespace}}
    answer = await api.client.ask("POST", "/api/v1/namespaces", again)
    assert (answer.status, answer.body["reason"]) == (409, "AlreadyExists")

    def names_what_holds_it(one: Json) -> bool:
        return any(each["type"] == "NamespaceFinalizersRemaining" for each in one["status"].get("conditions") or [])

    told = await api.until(space, names_what_holds_it)
    assert "example.com/held" in str(told["status"]["conditions"])
    await api.client.patch(api.path("configmaps", "held"), {"metadata": {"finalizers": None}})
    await api.until(space, lambda one: one.get("code") == 404)
