"""PersistentVolumes and their claims: what binds to what, and what is left when one of them goes."""

from typing import Any

import pytest

from tests.contract.api import Api
from tests.contract.objects import claim, storage_class
from tests.contract.test_snapshots import bound_claim, is_bound, is_gone

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(90)

DELETER = "external-provisioner.volume.kubernetes.io/finalizer"
PROTECTION = "kubernetes.io/pv-protection"
RETAIN = {"spec": {"persistentVolumeReclaimPolicy": "Retain"}}


async def with_volume(api: Api, policy: str = "Delete") -> tuple[str, Json]:
    """A bound claim called `data`, and the path of its volume."""
    if not api.provisions:
        pytest.skip("this cluster's storage is not known")
    await api.define("storageclasses", storage_class(api.namespace, reclaimPolicy=policy))
    found = await bound_claim(api)
    return f"/api/v1/persistentvolumes/{found['spec']['volumeName']}", found


def is_in(phase: str) -> Any:
    return lambda found: (found.get("status") or {}).get("phase") == phase


async def test_a_volumes_object_is_held_for_its_deleter_while_its_policy_is_delete(api: Api) -> None:
    path, _ = await with_volume(api)
    await api.until(path, lambda found: set(found["metadata"]["finalizers"]) == {DELETER, PROTECTION})
    await api.client.patch(path, RETAIN)
    await api.until(path, lambda found: found["metadata"]["finalizers"] == [PROTECTION])
    await api.client.patch(path, {"spec": {"persistentVolumeReclaimPolicy": "Delete"}})
    await api.until(path, lambda found: set(found["metadata"]["finalizers"]) == {DELETER, PROTECTION})


async def test_a_claim_that_goes_takes_its_volume_and_its_bytes_along(api: Api) -> None:
    path, _ = await with_volume(api)
    folder = await api.folder_of("data")
    await api.client.delete(api.claims("data"))
    await api.until(api.claims("data"), is_gone)
    await api.until(path, is_gone)
    assert not folder.exists()


async def test_a_volume_at_retain_is_released_with_its_bytes(api: Api) -> None:
    path, found = await with_volume(api)
    await api.client.patch(path, RETAIN)
    folder = await api.folder_of("data")
    await api.client.delete(api.claims("data"))
    released = await api.until(path, is_in("Released"))
    assert released["spec"]["claimRef"]["uid"] == found["metadata"]["uid"]
    assert released["status"]["lastPhaseTransitionTime"]
    assert (folder / "rows").exists()
    await api.client.delete(path)
    await api.until(path, is_gone)
    assert (folder / "rows").exists(), "the object alone"


async def test_a_released_volume_goes_with_its_bytes_once_its_policy_is_delete(api: Api) -> None:
    path, _ = await with_volume(api, "Retain")
    folder = await api.folder_of("data")
    await api.client.delete(api.claims("data"))
    await api.until(path, is_in("Released"))
    await api.client.patch(path, {"spec": {"persistentVolumeReclaimPolicy": "Delete"}})
    await api.until(path, is_gone)
    assert not folder.exists()


async def test_a_volume_that_is_deleted_while_bound_stays_until_its_claim_goes(api: Api) -> None:
    path, _ = await with_volume(api, "Retain")
    await api.client.delete(path)
    marked = (await api.client.get(path)).body
    assert "deletionTimestamp" in marked["metadata"]
    assert marked["status"]["phase"] == "Bound"
    await api.client.delete(api.claims("data"))
    await api.until(path, is_gone)


async def test_a_reservation_without_a_uid_is_for_that_name_only(api: Api) -> None:
    path, _ = await with_volume(api, "Retain")
    await api.client.delete(api.claims("data"))
    await api.until(path, is_in("Released"))
    await api.client.patch(path, {"spec": {"claimRef": {"uid": None, "resourceVersion": None}}})
    await api.until(path, is_in("Available"))
    stranger = await bound_claim(api, "stranger")
    assert not path.endswith(stranger["spec"]["volumeName"])
    await api.apply(claim(storage_class=api.namespace))
    again = await api.until(api.claims("data"), is_bound)
    assert path.endswith(again["spec"]["volumeName"])
    bound = await api.until(path, is_in("Bound"))
    assert bound["spec"]["claimRef"]["uid"] == again["metadata"]["uid"]
    assert ((await api.folder_of("data")) / "rows").read_text() == "rows of data"


async def test_a_volume_that_nobody_reserves_is_anybodys(api: Api) -> None:
    path, _ = await with_volume(api, "Retain")
    await api.client.delete(api.claims("data"))
    await api.until(path, is_in("Released"))
    await api.client.patch(path, {"spec": {"claimRef": None}})
    await api.until(path, is_in("Available"))
    await api.apply(claim("stranger", storage_class=api.namespace))
    stranger = await api.until(api.claims("stranger"), is_bound)
    assert path.endswith(stranger["spec"]["volumeName"])


async def test_a_claim_that_names_another_ones_volume_is_not_bound(api: Api) -> None:
    _, found = await with_volume(api)
    await api.apply(claim("second", storage_class=api.namespace, volumeName=found["spec"]["volumeName"]))
    message = f'volume "{found["spec"]["volumeName"]}" already bound to a different claim.'
    await api.until(api.path("events"), lambda all_: any(one["message"] == message for one in all_["items"]))
    assert (await api.client.get(api.claims("second"))).body["status"]["phase"] == "Pending"


async def test_a_claim_whose_volume_is_taken_away_is_lost(api: Api) -> None:
    path, _ = await with_volume(api, "Retain")
    await api.client.patch(path, {"spec": {"claimRef": {"uid": None, "resourceVersion": None}}})
    await api.until(api.claims("data"), is_in("Lost"))


async def test_what_a_volume_is_made_of_cannot_be_changed(api: Api) -> None:
    path, _ = await with_volume(api)
    answer = await api.client.ask("PATCH", path, {"spec": {"csi": {"volumeHandle": "other"}}}, patch="merge")
    assert answer.status == 422
    assert answer.body["details"]["causes"][0]["field"] == "spec.persistentvolumesource"
    answer = await api.client.ask("PATCH", path, {"spec": {"persistentVolumeReclaimPolicy": "Keep"}}, patch="merge")
    assert answer.status == 422
    assert answer.body["details"]["causes"][0]["field"] == "spec.persistentVolumeReclaimPolicy"


async def test_a_claim_of_another_uid_is_not_deleted(api: Api) -> None:
    await with_volume(api)
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "0-0-0-0"}}
    answer = await api.client.ask("DELETE", api.claims("data"), options)
    assert (answer.status, answer.body["reason"]) == (409, "Conflict")
    assert answer.body["details"] == {"name": "data", "kind": "PersistentVolumeClaim"}
    assert "deletionTimestamp" not in (await api.client.get(api.claims("data"))).body["metadata"]


async def test_a_claims_source_and_size_cannot_be_changed(api: Api) -> None:
    await with_volume(api)
    other = {"spec": {"dataSource": {"kind": "PersistentVolumeClaim", "name": "other"}}}
    answer = await api.client.ask("PATCH", api.claims("data"), other, patch="merge")
    assert answer.status == 422
    answer = await api.client.ask("PATCH", api.claims("data"), {"spec": {"volumeName": "other"}}, patch="merge")
    assert answer.status == 422
    assert answer.body["details"]["causes"][0]["field"] == "spec"


async def test_a_claim_of_a_late_class_waits_and_says_so(api: Api) -> None:
    if not api.provisions:
        pytest.skip("this cluster's storage is not known")
    await api.define("storageclasses", storage_class(api.namespace, "WaitForFirstConsumer"))
    await api.apply(claim(storage_class=api.namespace))
    waits = "waiting for first consumer to be created before binding"
    await api.until(api.path("events"), lambda found: any(one["message"] == waits for one in found["items"]))
    assert (await api.client.get(api.claims("data"))).body["status"]["phase"] == "Pending"
    assert "volumeName" not in (await api.client.get(api.claims("data"))).body["spec"]
