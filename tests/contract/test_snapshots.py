"""VolumeSnapshots: what the bot takes, waits for, keeps and gives up."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from tests.contract.api import SNAPSHOTS, Api
from tests.contract.objects import DRIVER, claim, from_snapshot, kept_content, snapshot, snapshot_class, storage_class

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(90)

CONTENTS = f"/apis/{SNAPSHOTS}/volumesnapshotcontents"
CLASSES = f"/apis/{SNAPSHOTS}/volumesnapshotclasses"
BEING_DELETED = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted"
HELD_CLAIM = "snapshot.storage.kubernetes.io/pvc-as-source-protection"


async def with_claim(api: Api, policy: str = "Delete", name: str = "data") -> str:
    """A bound claim with some bytes, and the name of a class for its snapshots."""
    await with_storage(api)
    classes = f"{api.namespace}-{policy.lower()}"
    await api.define("volumesnapshotclasses", snapshot_class(classes, policy))
    await bound_claim(api, name)
    return classes


async def with_storage(api: Api) -> None:
    """Skips where there are no snapshots, or nobody knows of what."""
    if not api.provisions or (await api.client.ask("GET", CONTENTS)).status == 404:
        pytest.skip("this cluster's storage is not known, or knows no snapshots")
    await api.define("storageclasses", storage_class(api.namespace))


async def bound_claim(api: Api, name: str = "data", **spec: Any) -> Json:
    await api.apply(claim(name, storage_class=api.namespace, **spec))
    bound = await api.until(api.claims(name), is_bound)
    if "dataSource" not in spec:
        ((await api.folder_of(name)) / "rows").write_text(f"rows of {name}")
    return bound


def is_bound(found: Json) -> bool:
    return bool((found.get("status") or {}).get("phase") == "Bound")


def is_ready(found: Json) -> bool:
    return (found.get("status") or {}).get("readyToUse") is True


def is_gone(found: Json) -> bool:
    return found.get("code") == 404


def says(text: str) -> Callable[[Json], bool]:
    """Whether the status has an error with this in it."""
    return lambda found: text in str(((found.get("status") or {}).get("error") or {}).get("message"))


async def taken(api: Api, classes: str, name: str = "snap", of: str = "data") -> tuple[Json, Json]:
    """A snapshot that is ready, and its content."""
    await api.apply(snapshot(name, of=of, in_class=classes))
    found = await api.until(api.snapshots(name), is_ready)
    content = (await api.client.get(f"{CONTENTS}/{found['status']['boundVolumeSnapshotContentName']}")).body
    return found, content


@pytest.mark.parametrize(
    "source", [{}, {"persistentVolumeClaimName": "data", "volumeSnapshotContentName": "content"}], ids=["none", "two"]
)
async def test_a_snapshot_has_exactly_one_source(api: Api, source: Json) -> None:
    await with_storage(api)
    answer = await api.client.ask("POST", api.snapshots(), snapshot() | {"spec": {"source": source}})
    rule = "exactly one of volumeSnapshotContentName and persistentVolumeClaimName must be set"
    message = f"Invalid value: {rule}"
    assert answer.status == 422
    assert answer.body["details"] == {
        "name": "snap",
        "group": "snapshot.storage.k8s.io",
        "kind": "VolumeSnapshot",
        "causes": [{"reason": "FieldValueInvalid", "message": message, "field": "spec.source"}],
    }
    assert answer.body["message"] == f'VolumeSnapshot.snapshot.storage.k8s.io "snap" is invalid: spec.source: {message}'


async def test_what_a_snapshot_needs_is_a_422_that_names_it(api: Api) -> None:
    await with_storage(api)
    answer = await api.client.ask("POST", api.snapshots(), snapshot() | {"spec": {}})
    assert answer.status == 422
    assert [(one["field"], one["reason"]) for one in answer.body["details"]["causes"]] == [
        ("spec.source", "FieldValueRequired"),
        ("<nil>", "FieldValueInvalid"),
    ]


async def test_a_snapshots_source_cannot_be_changed(api: Api) -> None:
    await with_storage(api)
    await api.apply(snapshot(of="data", in_class="none"))
    other = {"spec": {"source": {"persistentVolumeClaimName": "other"}}}
    answer = await api.client.ask("PATCH", api.snapshots("snap"), other, patch="merge")
    (cause,) = answer.body["details"]["causes"]
    assert answer.status == 422
    assert cause["field"] == "spec.source.persistentVolumeClaimName"
    assert cause["message"] == 'Invalid value: "other": persistentVolumeClaimName is immutable'


async def test_a_class_needs_a_driver_and_a_policy_that_exists(api: Api) -> None:
    await with_storage(api)
    bare = {"apiVersion": SNAPSHOTS, "kind": "VolumeSnapshotClass", "metadata": {"name": f"{api.namespace}-bare"}}
    answer = await api.client.ask("POST", CLASSES, bare)
    assert [one["field"] for one in answer.body["details"]["causes"]] == ["deletionPolicy", "driver"]
    answer = await api.client.ask("POST", CLASSES, bare | {"driver": DRIVER, "deletionPolicy": "Keep"})
    (cause,) = answer.body["details"]["causes"]
    assert cause["message"] == 'Unsupported value: "Keep": supported values: "Delete", "Retain"'


async def test_a_custom_resource_takes_no_strategic_patch_and_no_put_without_a_version(api: Api) -> None:
    await with_storage(api)
    await api.apply(snapshot(of="data", in_class="none"))
    answer = await api.client.ask("PATCH", api.snapshots("snap"), {"spec": {}}, patch="strategic")
    assert (answer.status, answer.body["reason"]) == (415, "UnsupportedMediaType")
    answer = await api.client.ask("PUT", api.snapshots("snap"), snapshot(of="data"))
    assert answer.status == 422
    assert answer.body["details"]["kind"] == "volumesnapshots"
    assert answer.body["details"]["causes"][0]["field"] == "metadata.resourceVersion"


async def test_a_list_of_custom_resources_says_their_kinds(api: Api) -> None:
    await with_storage(api)
    await api.apply(snapshot(of="data", in_class="none"))
    answer = await api.client.get(api.snapshots())
    assert (answer.body["kind"], set(answer.body["metadata"])) == (
        "VolumeSnapshotList",
        {"continue", "resourceVersion"},
    )
    assert answer.body["items"][0]["kind"] == "VolumeSnapshot"


async def test_a_name_that_is_taken_is_a_409_that_names_it(api: Api) -> None:
    await with_storage(api)
    await api.apply(snapshot(of="data", in_class="none"))
    answer = await api.client.ask("POST", api.snapshots(), snapshot(of="other", in_class="none"))
    assert (answer.status, answer.body["reason"]) == (409, "AlreadyExists")
    assert answer.body["message"] == 'volumesnapshots.snapshot.storage.k8s.io "snap" already exists'
    assert answer.body["details"] == {"name": "snap", "group": "snapshot.storage.k8s.io", "kind": "volumesnapshots"}


async def test_a_snapshot_gets_a_content_and_both_refer_to_each_other(api: Api) -> None:
    classes = await with_claim(api)
    found, content = await taken(api, classes)
    volume, metadata = await api.volume("data"), found["metadata"]
    assert content["metadata"]["name"] == f"snapcontent-{metadata['uid']}"
    reference = content["spec"]["volumeSnapshotRef"]
    assert [reference[key] for key in ("namespace", "name", "uid")] == [api.namespace, "snap", metadata["uid"]]
    assert {key: content["spec"][key] for key in ("driver", "deletionPolicy", "sourceVolumeMode")} == {
        "driver": DRIVER,
        "deletionPolicy": "Delete",
        "sourceVolumeMode": "Filesystem",
    }
    assert content["spec"]["source"] == {"volumeHandle": volume["spec"]["csi"]["volumeHandle"]}
    assert content["spec"]["volumeSnapshotClassName"] == classes
    assert content["metadata"]["finalizers"] == [
        "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
    ]
    assert set(metadata["finalizers"]) == {
        "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection",
        "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection",
    }


async def test_a_snapshot_that_is_ready_says_when_it_was_cut_and_how_much_room_it_needs(api: Api) -> None:
    found, content = await taken(api, await with_claim(api))
    assert found["status"]["restoreSize"] == "1Gi"
    assert content["status"]["restoreSize"] == 1 << 30
    cut = datetime.fromisoformat(found["status"]["creationTime"]).timestamp()
    assert int(content["status"]["creationTime"] / 1e9) == int(cut)
    assert content["status"]["readyToUse"] is True
    assert "error" not in found["status"]
    folder = api.snapshot_folder(content["status"]["snapshotHandle"])
    assert (folder / "rows").read_text() == "rows of data"
    items = (await api.client.get(api.path("events"))).body["items"]
    reasons = {one["reason"] for one in items if one["involvedObject"].get("name") == "snap"}
    assert {"CreatingSnapshot", "SnapshotCreated", "SnapshotReady"} <= reasons


async def test_a_snapshot_is_cut_before_it_is_ready_and_holds_its_claim_until_then(api: Api) -> None:
    classes = await with_claim(api)
    await api.hold_snapshots("data")
    await api.apply(snapshot(of="data", in_class=classes))
    cut = await api.until(api.snapshots("snap"), lambda found: "creationTime" in (found.get("status") or {}))
    assert cut["status"]["readyToUse"] is False
    assert HELD_CLAIM in (await api.client.get(api.claims("data"))).body["metadata"]["finalizers"]
    await api.client.delete(api.claims("data"))
    assert "deletionTimestamp" in (await api.client.get(api.claims("data"))).body["metadata"]
    await api.release_snapshots("data")
    ready = await api.until(api.snapshots("snap"), is_ready)
    assert ready["status"]["creationTime"] == cut["status"]["creationTime"]
    await api.until(api.claims("data"), is_gone)


async def test_a_snapshot_that_failed_is_tried_again_and_its_error_goes_with_success(api: Api) -> None:
    classes = await with_claim(api)
    await api.refuse_snapshots("data", "the disk is on fire")
    await api.apply(snapshot(of="data", in_class=classes))
    found = await api.until(api.snapshots("snap"), says("the disk is on fire"))
    assert found["status"]["readyToUse"] is False
    assert found["status"]["error"]["time"]
    handle = (await api.volume("data"))["spec"]["csi"]["volumeHandle"]
    why = '"rpc error: code = Internal desc = the disk is on fire"'
    assert found["status"]["error"]["message"] in {
        f"{prefix}: failed to take snapshot of the volume {handle}: {why}"
        for prefix in ("Failed to create snapshot", "Failed to check and update snapshot content")
    }
    await api.refuse_snapshots("data", None)
    found = await api.until(api.snapshots("snap"), is_ready)
    assert "error" not in found["status"]


async def test_a_snapshot_of_no_claim_says_so_and_waits_for_one(api: Api) -> None:
    classes = await with_claim(api)
    await api.apply(snapshot(of="later", in_class=classes))
    found = await api.until(api.snapshots("snap"), says("Failed to create snapshot content with error"))
    assert found["status"]["error"]["message"] == (
        "Failed to create snapshot content with error snapshot controller failed to update snap on API server: "
        "cannot get claim from snapshot"
    )
    await bound_claim(api, "later")
    await api.until(api.snapshots("snap"), is_ready)


async def test_a_snapshot_of_a_class_that_is_not_there_says_so(api: Api) -> None:
    await with_claim(api)
    await api.apply(snapshot(of="data", in_class="nobody-made-this"))
    found = await api.until(api.snapshots("snap"), says("nobody-made-this"))
    assert found["status"]["error"]["message"] == (
        "Failed to get snapshot class with error "
        'volumesnapshotclass.snapshot.storage.k8s.io "nobody-made-this" not found'
    )


async def test_a_snapshot_without_a_class_needs_a_default_one_of_its_driver(api: Api) -> None:
    await with_claim(api)
    default = "snapshot.storage.kubernetes.io/is-default-class"
    items = (await api.client.get(CLASSES)).body["items"]
    if any((one["metadata"].get("annotations") or {}).get(default) and one["driver"] == DRIVER for one in items):
        pytest.skip("this cluster has one")
    other = snapshot_class(f"{api.namespace}-other", driver="other.example.com")
    other["metadata"]["annotations"] = {default: "true"}
    await api.define("volumesnapshotclasses", other)
    await api.apply(snapshot(of="data"))
    found = await api.until(api.snapshots("snap"), says("default"))
    assert found["status"]["error"]["message"] == (
        "Failed to set default snapshot class with error cannot find default snapshot class"
    )
    await api.client.patch(f"{CLASSES}/{api.namespace}-delete", {"metadata": {"annotations": {default: "true"}}})
    found = await api.until(api.snapshots("snap"), is_ready)
    assert found["spec"]["volumeSnapshotClassName"] == f"{api.namespace}-delete"
    assert "error" not in found["status"]


async def test_a_snapshot_whose_policy_is_delete_takes_its_content_and_its_bytes_along(api: Api) -> None:
    _, content = await taken(api, await with_claim(api))
    folder = api.snapshot_folder(content["status"]["snapshotHandle"])
    assert folder.exists()
    answer = await api.client.delete(api.snapshots("snap"))
    assert "deletionTimestamp" in answer.body["metadata"]
    await api.until(api.snapshots("snap"), is_gone)
    await api.until(f"{CONTENTS}/{content['metadata']['name']}", is_gone)
    assert not folder.exists()


async def test_a_snapshot_whose_policy_is_retain_leaves_its_content_that_names_it_still(api: Api) -> None:
    found, content = await taken(api, await with_claim(api, "Retain"))
    assert "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection" not in found["metadata"]["finalizers"]
    await api.client.delete(api.snapshots("snap"))
    await api.until(api.snapshots("snap"), is_gone)
    kept = (await api.client.get(f"{CONTENTS}/{content['metadata']['name']}")).body
    assert kept["metadata"]["annotations"][BEING_DELETED] == "yes"
    assert kept["spec"]["volumeSnapshotRef"]["uid"] == found["metadata"]["uid"]
    assert kept["status"] == content["status"]
    assert api.snapshot_folder(kept["status"]["snapshotHandle"]).exists()
    await reap(api, kept)


async def reap(api: Api, content: Json) -> None:
    """Give a kept snapshot up with its bytes."""
    path = f"{CONTENTS}/{content['metadata']['name']}"
    await api.client.patch(path, {"spec": {"deletionPolicy": "Delete"}})
    await api.client.delete(path)
    await api.until(path, is_gone)
    assert not api.snapshot_folder(content["status"]["snapshotHandle"]).exists()


async def test_a_kept_content_that_is_deleted_leaves_its_bytes(api: Api) -> None:
    _, content = await taken(api, await with_claim(api, "Retain"))
    await api.client.delete(api.snapshots("snap"))
    await api.until(api.snapshots("snap"), is_gone)
    path = f"{CONTENTS}/{content['metadata']['name']}"
    await api.client.delete(path)
    await api.until(path, is_gone)
    assert api.snapshot_folder(content["status"]["snapshotHandle"]).exists()


async def test_a_kept_content_is_deleted_with_its_bytes_once_its_policy_says_so(api: Api) -> None:
    _, content = await taken(api, await with_claim(api, "Retain"))
    await api.client.delete(api.snapshots("snap"))
    await api.until(api.snapshots("snap"), is_gone)
    await reap(api, content)


async def test_a_content_whose_bytes_are_gone_has_no_handle_any_more(api: Api) -> None:
    """It is there for a moment: here somebody's finalizer makes it a long one."""
    _, content = await taken(api, await with_claim(api))
    path = f"{CONTENTS}/{content['metadata']['name']}"
    held = {"metadata": {"finalizers": [*content["metadata"]["finalizers"], "example.com/held"]}}
    await api.client.patch(path, held)
    await api.client.delete(api.snapshots("snap"))
    left = await api.until(path, lambda found: "snapshotHandle" not in found.get("status", {}))
    assert "deletionTimestamp" in left["metadata"]
    assert not api.snapshot_folder(content["status"]["snapshotHandle"]).exists()
    await api.client.patch(path, {"metadata": {"finalizers": None}})
    await api.until(path, is_gone)


async def test_a_content_that_is_deleted_before_its_snapshot_waits_for_that_one(api: Api) -> None:
    _, content = await taken(api, await with_claim(api, "Retain"))
    path = f"{CONTENTS}/{content['metadata']['name']}"
    answer = await api.client.delete(path)
    assert "deletionTimestamp" in answer.body["metadata"]
    found = (await api.client.get(path)).body
    assert BEING_DELETED not in (found["metadata"].get("annotations") or {})
    await api.client.delete(api.snapshots("snap"))
    await api.until(path, is_gone)


async def test_a_content_whose_reference_was_edited_before_its_snapshot_went_stays_for_ever(api: Api) -> None:
    _, content = await taken(api, await with_claim(api, "Retain"))
    path = f"{CONTENTS}/{content['metadata']['name']}"
    await api.client.patch(path, {"spec": {"volumeSnapshotRef": {"uid": "0-0-0-0"}}})
    await api.client.delete(api.snapshots("snap"))
    await api.until(api.snapshots("snap"), is_gone)
    await api.client.delete(path)
    left = (await api.client.get(path)).body
    assert "deletionTimestamp" in left["metadata"], "nobody says that its snapshot is gone, so it stays for ever"
    assert BEING_DELETED not in (left["metadata"].get("annotations") or {})
    await api.client.patch(path, {"metadata": {"finalizers": None}})


async def test_a_content_whose_reference_was_edited_after_its_snapshot_went_can_be_deleted_still(api: Api) -> None:
    _, content = await taken(api, await with_claim(api, "Retain"))
    await api.client.delete(api.snapshots("snap"))
    await api.until(api.snapshots("snap"), is_gone)
    path = f"{CONTENTS}/{content['metadata']['name']}"
    await api.client.patch(path, {"spec": {"volumeSnapshotRef": {"uid": "0-0-0-0"}}})
    await api.client.delete(path)
    await api.until(path, is_gone)
    assert api.snapshot_folder(content["status"]["snapshotHandle"]).exists()


async def test_a_namespace_that_goes_leaves_the_content_of_a_snapshot_that_was_to_be_kept(api: Api) -> None:
    classes = await with_claim(api)
    _, content = await taken(api, classes)
    path = f"{CONTENTS}/{content['metadata']['name']}"
    await api.client.patch(path, {"spec": {"deletionPolicy": "Retain"}})
    space = f"/api/v1/namespaces/{api.namespace}"
    await api.client.delete(space)
    await api.until(space, is_gone)
    kept = (await api.client.get(path)).body
    assert kept["metadata"]["annotations"][BEING_DELETED] == "yes"
    handle = kept["status"]["snapshotHandle"]
    assert (api.snapshot_folder(handle) / "rows").read_text() == "rows of data"
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": api.namespace}}
    await api.client.create("/api/v1/namespaces", made)
    await bind(api, "again", handle)
    await bound_claim(api, "restored", dataSource=from_snapshot("again"))
    assert ((await api.folder_of("restored")) / "rows").read_text() == "rows of data"
    await reap(api, kept)


async def bind(api: Api, name: str, handle: str) -> Json:
    """A snapshot for one that the storage has: a new content with its handle, and both name each other."""
    content = f"{api.namespace}-{name}"
    await api.define("volumesnapshotcontents", kept_content(content, handle, name, api.namespace))
    await api.apply(snapshot(name, content=content))
    return await api.until(api.snapshots(name), is_ready)


async def test_a_kept_snapshot_is_bound_again_by_a_new_content_with_its_handle(api: Api) -> None:
    _, kept = await taken(api, await with_claim(api, "Retain"))
    await api.client.delete(api.snapshots("snap"))
    await api.until(api.snapshots("snap"), is_gone)
    found = await bind(api, "snap", kept["status"]["snapshotHandle"])
    content = (await api.client.get(f"{CONTENTS}/{api.namespace}-snap")).body
    assert found["status"]["boundVolumeSnapshotContentName"] == content["metadata"]["name"]
    assert content["spec"]["volumeSnapshotRef"]["uid"] == found["metadata"]["uid"]
    assert content["status"]["snapshotHandle"] == kept["status"]["snapshotHandle"]
    assert found["status"]["restoreSize"] == "1Gi"
    assert "volumeSnapshotClassName" not in found["spec"]
    await reap(api, kept)


async def test_a_content_that_was_left_behind_goes_without_the_bytes_of_the_one_in_its_place(api: Api) -> None:
    """Neither does one that waits for a snapshot which chose another."""
    _, kept = await taken(api, await with_claim(api, "Retain"))
    await api.client.delete(api.snapshots("snap"))
    await api.until(api.snapshots("snap"), is_gone)
    handle, left, unbound = kept["status"]["snapshotHandle"], kept["metadata"]["name"], f"{api.namespace}-unbound"
    await api.define("volumesnapshotcontents", kept_content(unbound, handle, "snap", api.namespace))
    found = await bind(api, "snap", handle)
    for name in (left, unbound):
        await api.client.delete(f"{CONTENTS}/{name}")
        await api.until(f"{CONTENTS}/{name}", is_gone)
    assert (api.snapshot_folder(handle) / "rows").read_text() == "rows of data"
    assert (await api.client.get(api.snapshots("snap"))).body["status"] == found["status"]
    await bound_claim(api, "restored", dataSource=from_snapshot("snap"))
    assert ((await api.folder_of("restored")) / "rows").read_text() == "rows of data"
    await api.client.patch(f"{CONTENTS}/{api.namespace}-snap", {"spec": {"deletionPolicy": "Delete"}})
    await api.client.delete(api.snapshots("snap"))
    await api.until(f"{CONTENTS}/{api.namespace}-snap", is_gone)
    assert not api.snapshot_folder(handle).exists()


async def test_a_snapshot_is_not_bound_to_a_content_that_names_another_one(api: Api) -> None:
    _, kept = await taken(api, await with_claim(api, "Retain"))
    content = f"{api.namespace}-another"
    handle = kept["status"]["snapshotHandle"]
    await api.define("volumesnapshotcontents", kept_content(content, handle, "another", api.namespace))
    await api.apply(snapshot("mine", content=content))
    found = await api.until(api.snapshots("mine"), says("bound"))
    assert found["status"]["error"]["message"] == (
        f"VolumeSnapshotContent [{content}] is bound to a different snapshot"
    )
    assert "boundVolumeSnapshotContentName" not in found["status"]
    assert "uid" not in (await api.client.get(f"{CONTENTS}/{content}")).body["spec"]["volumeSnapshotRef"]


async def test_a_snapshot_waits_for_the_content_that_it_asks_for(api: Api) -> None:
    _, kept = await taken(api, await with_claim(api, "Retain"))
    content = f"{api.namespace}-later"
    await api.apply(snapshot("later", content=content))
    await api.until(api.snapshots("later"), says("VolumeSnapshotContent is missing"))
    handle = kept["status"]["snapshotHandle"]
    await api.define("volumesnapshotcontents", kept_content(content, handle, "later", api.namespace))
    found = await api.until(api.snapshots("later"), is_ready)
    assert "error" not in found["status"]


async def test_a_content_for_bytes_that_are_gone_says_so(api: Api) -> None:
    await with_claim(api)
    content = f"{api.namespace}-lost"
    await api.define("volumesnapshotcontents", kept_content(content, "snap-nobody-cut-this", "lost", api.namespace))
    await api.apply(snapshot("lost", content=content))
    found = await api.until(api.snapshots("lost"), says("snap-nobody-cut-this"))
    assert found["status"]["error"]["message"] == (
        f"Failed to check and update snapshot content: failed to list snapshot for content {content}: "
        '"can not find snapshot for snapshotID snap-nobody-cut-this"'
    )


async def test_a_contents_policy_may_change_and_its_handles_may_not(api: Api) -> None:
    await with_storage(api)
    wish = kept_content(f"{api.namespace}-fixed", "handle", "none", api.namespace)
    path = await api.define("volumesnapshotcontents", wish)
    await api.client.patch(path, {"spec": {"deletionPolicy": "Delete"}})
    answer = await api.client.ask("PATCH", path, {"spec": {"source": {"snapshotHandle": "other"}}}, patch="merge")
    assert answer.status == 422
    assert answer.body["details"]["causes"][0]["message"] == 'Invalid value: "other": snapshotHandle is immutable'
    await api.client.patch(path, {"spec": {"deletionPolicy": "Retain"}})
