"""Volumes made of snapshots and of other volumes, and how a set takes them up."""

from typing import Any

import pytest

from tests.contract.api import Api
from tests.contract.objects import claim, from_snapshot, snapshot, stateful_set, storage_class
from tests.contract.test_snapshots import bound_claim, is_bound, is_gone, is_ready, taken, with_claim, with_storage
from tests.contract.test_workloads import ZERO
from tests.contract.test_workloads import is_ready as is_running

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(90)


async def failures(api: Api, name: str) -> str:
    """What the provisioner says of a claim."""
    items = (await api.client.get(api.path("events"))).body["items"]
    mine = [one for one in items if one["involvedObject"].get("name") == name and one["reason"] == "ProvisioningFailed"]
    return "\n".join(one["message"] for one in mine)


async def failing(api: Api, name: str, text: str) -> None:
    """Wait until provisioning has failed in these words; the claim is pending still."""
    await api.until(api.path("events"), lambda found: any(text in one["message"] for one in found["items"]))
    assert text in await failures(api, name)
    assert (await api.client.get(api.claims(name))).body["status"]["phase"] == "Pending"


async def test_a_restored_claim_has_the_bytes_of_the_moment_of_its_snapshot(api: Api) -> None:
    await taken(api, await with_claim(api))
    ((await api.folder_of("data")) / "rows").write_text("later")
    found = await bound_claim(api, "restored", dataSource=from_snapshot("snap"))
    assert found["spec"]["dataSourceRef"] == found["spec"]["dataSource"] == from_snapshot("snap")
    folder = await api.folder_of("restored")
    assert (folder / "rows").read_text() == "rows of data"
    assert folder != await api.folder_of("data")
    assert found["status"]["capacity"] == {"storage": "1Gi"}


async def test_a_source_may_be_given_in_the_wider_field_alone(api: Api) -> None:
    await taken(api, await with_claim(api))
    await api.apply(claim("restored", storage_class=api.namespace, dataSourceRef=from_snapshot("snap")))
    found = await api.until(api.claims("restored"), is_bound)
    assert found["spec"]["dataSource"] == from_snapshot("snap")
    assert ((await api.folder_of("restored")) / "rows").read_text() == "rows of data"


@pytest.mark.parametrize("source", [{"apiGroup": "snapshot.example.com"}, {"apiGroup": None}, {"kind": "Snapshot"}])
async def test_a_source_that_is_none_is_dropped_silently_and_the_volume_would_be_empty(api: Api, source: Json) -> None:
    wish = claim("restored", storage_class="none", dataSource=from_snapshot("snap") | source)
    (made,) = await api.apply(wish)
    assert "dataSource" not in made.body["spec"]
    assert "dataSourceRef" not in made.body["spec"]
    strict = wish | {
        "spec": wish["spec"] | {"dataSourceRef": wish["spec"]["dataSource"]},
        "metadata": {"name": "strict"},
    }
    answer = await api.client.ask("POST", api.claims(), strict)
    if source.get("apiGroup"):
        assert answer.body["spec"]["dataSource"] == wish["spec"]["dataSource"], "in both fields it is taken as meant"
    elif "apiGroup" in source:
        assert answer.status == 422


async def test_two_sources_that_differ_are_a_422(api: Api) -> None:
    other = from_snapshot("other")
    wish = claim("restored", storage_class="none", dataSource=from_snapshot("snap"), dataSourceRef=other)
    answer = await api.client.ask("POST", api.claims(), wish)
    assert answer.status == 422
    assert answer.body["details"]["causes"][0]["message"].endswith("must match dataSourceRef")


async def test_a_claim_waits_for_its_snapshot_to_be_ready(api: Api) -> None:
    classes = await with_claim(api)
    await api.hold_snapshots("data")
    await api.apply(snapshot(of="data", in_class=classes))
    await api.until(api.snapshots("snap"), lambda found: "creationTime" in (found.get("status") or {}))
    await api.apply(claim("restored", storage_class=api.namespace, dataSource=from_snapshot("snap")))
    prefix = "error getting handle for DataSource Type VolumeSnapshot by Name snap"
    await failing(api, "restored", f"{prefix}: snapshot snap is not Ready")
    await api.release_snapshots("data")
    await api.until(api.claims("restored"), is_bound)
    assert ((await api.folder_of("restored")) / "rows").read_text() == "rows of data"


async def test_a_claim_waits_for_a_snapshot_that_is_not_there(api: Api) -> None:
    classes = await with_claim(api)
    await api.apply(claim("restored", storage_class=api.namespace, dataSource=from_snapshot("snap")))
    prefix = "error getting handle for DataSource Type VolumeSnapshot by Name snap"
    missing = 'volumesnapshots.snapshot.storage.k8s.io "snap" not found'
    await failing(api, "restored", f"{prefix}: error getting snapshot snap from api server: {missing}")
    await taken(api, classes)
    await api.until(api.claims("restored"), is_bound)


async def test_a_claim_that_is_too_small_for_its_snapshot_gets_no_volume(api: Api) -> None:
    await taken(api, await with_claim(api))
    await api.apply(claim("small", storage_class=api.namespace, size="512Mi", dataSource=from_snapshot("snap")))
    prefix = "error getting handle for DataSource Type VolumeSnapshot by Name snap"
    why = "requested volume size 536870912 is less than the size 1073741824 for the source snapshot snap"
    await failing(api, "small", f"{prefix}: {why}")


async def test_a_claim_that_is_larger_than_its_snapshot_gets_what_it_asks_for(api: Api) -> None:
    await taken(api, await with_claim(api))
    found = await bound_claim(api, "large", size="2Gi", dataSource=from_snapshot("snap"))
    assert found["status"]["capacity"] == {"storage": "2Gi"}
    assert ((await api.folder_of("large")) / "rows").read_text() == "rows of data"


async def test_a_clone_has_the_bytes_of_the_other_claim(api: Api) -> None:
    await with_storage(api)
    await bound_claim(api, "data")
    found = await bound_claim(api, "clone", dataSource={"kind": "PersistentVolumeClaim", "name": "data"})
    assert found["spec"]["dataSource"] == {"apiGroup": None, "kind": "PersistentVolumeClaim", "name": "data"}
    assert ((await api.folder_of("clone")) / "rows").read_text() == "rows of data"
    assert await api.folder_of("clone") != await api.folder_of("data")


async def test_a_snapshot_that_a_claim_waits_for_is_not_deleted_before_that_one(api: Api) -> None:
    await taken(api, await with_claim(api))
    late = f"{api.namespace}-late"
    await api.define("storageclasses", storage_class(late, "WaitForFirstConsumer"))
    await api.apply(claim("restored", storage_class=late, dataSource=from_snapshot("snap")))
    await api.client.delete(api.snapshots("snap"))
    await api.until(api.path("events"), lambda found: any(is_pending(one) for one in found["items"]))
    assert is_ready((await api.client.get(api.snapshots("snap"))).body)
    await api.client.delete(api.claims("restored"))
    await api.until(api.snapshots("snap"), is_gone)


def is_pending(event: Json) -> bool:
    told = (event["reason"], event["message"])
    return told == ("SnapshotDeletePending", "Snapshot is being used to restore a PVC")


async def test_a_claim_that_waits_for_its_consumer_is_restored_when_a_pod_comes(api: Api) -> None:
    await taken(api, await with_claim(api))
    late = f"{api.namespace}-late"
    await api.define("storageclasses", storage_class(late, "WaitForFirstConsumer"))
    restored = claim("data-web-0", storage_class=late, dataSource=from_snapshot("snap"))
    await api.apply(restored)
    await api.until(
        api.path("events"), lambda found: any(one["reason"] == "WaitForFirstConsumer" for one in found["items"])
    )
    assert (await api.client.get(api.claims("data-web-0"))).body["status"]["phase"] == "Pending"
    await api.apply(stateful_set(volumeClaimTemplates=templates(late)))
    await api.until(api.apps("statefulsets", "web"), is_running)
    assert ((await api.folder_of("data-web-0")) / "rows").read_text() == "rows of data"


def templates(storage_class: str) -> list[Json]:
    made = claim("data", storage_class=storage_class)
    return [{"metadata": made["metadata"], "spec": made["spec"]}]


async def test_a_set_takes_up_a_restored_claim_of_its_name(api: Api) -> None:
    classes = await with_claim(api, name="other")
    await api.apply(stateful_set(volumeClaimTemplates=templates(api.namespace)))
    await api.until(api.apps("statefulsets", "web"), is_running)
    before = (await api.client.get(api.claims("data-web-0"))).body
    ((await api.folder_of("data-web-0")) / "rows").write_text("good")
    await api.client.patch(api.apps("statefulsets", "web"), ZERO, "json")
    await api.until(api.path("pods"), lambda found: found["items"] == [])
    await taken(api, classes, of="data-web-0")
    ((await api.folder_of("data-web-0")) / "rows").write_text("bad")
    await api.client.delete(api.claims("data-web-0"))
    await api.until(api.claims("data-web-0"), is_gone)
    restored = claim("data-web-0", storage_class=api.namespace, dataSource=from_snapshot("snap"))
    restored["metadata"]["labels"] = before["metadata"]["labels"]
    await api.apply(restored)
    await api.client.patch(api.apps("statefulsets", "web"), {"spec": {"replicas": 1}})
    await api.until(api.apps("statefulsets", "web"), is_running)
    after = (await api.client.get(api.claims("data-web-0"))).body
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert is_bound(after)
    assert ((await api.folder_of("data-web-0")) / "rows").read_text() == "good"
    (pod,) = (await api.client.get(api.path("pods"), labelSelector="app=web")).body["items"]
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "data-web-0"
