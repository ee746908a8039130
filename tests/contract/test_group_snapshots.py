"""VolumeGroupSnapshots: several volumes at one moment."""

import hashlib
from typing import Any

import pytest

from tests.contract.api import GROUP_SNAPSHOTS, Api
from tests.contract.objects import DRIVER, claim, from_snapshot
from tests.contract.test_snapshots import CONTENTS, bound_claim, is_bound, is_gone, is_ready, says, with_storage

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(90)

GROUP_CONTENTS = f"/apis/{GROUP_SNAPSHOTS}/volumegroupsnapshotcontents"
IN_GROUP = "snapshot.storage.kubernetes.io/volumesnapshot-in-group-protection"


def groups(api: Api, name: str = "") -> str:
    return api.path("volumegroupsnapshots", name, group=GROUP_SNAPSHOTS)


def group(in_class: str, name: str = "both", **labels: str) -> Json:
    selector = {"matchLabels": labels or {"set": "one"}}
    spec = {"source": {"selector": selector}, "volumeGroupSnapshotClassName": in_class}
    return {"apiVersion": GROUP_SNAPSHOTS, "kind": "VolumeGroupSnapshot", "metadata": {"name": name}, "spec": spec}


async def with_claims(api: Api, policy: str = "Delete") -> str:
    """Two bound claims of one label, one without it, and the name of a class for groups."""
    await with_storage(api)
    if (await api.client.ask("GET", GROUP_CONTENTS)).status == 404:
        pytest.skip("this cluster knows no group snapshots")
    kind = {"apiVersion": GROUP_SNAPSHOTS, "kind": "VolumeGroupSnapshotClass", "metadata": {"name": api.namespace}}
    await api.define("volumegroupsnapshotclasses", kind | {"driver": DRIVER, "deletionPolicy": policy})
    for name in ("first", "second", "third"):
        made = claim(name, storage_class=api.namespace)
        made["metadata"]["labels"] = {"set": "other" if name == "third" else "one"}
        await api.apply(made)
    for name in ("first", "second", "third"):
        await api.until(api.claims(name), is_bound)
        ((await api.folder_of(name)) / "rows").write_text(f"rows of {name}")
    return api.namespace


async def cut(api: Api, in_class: str) -> tuple[Json, list[Json]]:
    """A group that is ready, and its members, which are ready, too."""
    await api.apply(group(in_class))
    found = await api.until(groups(api, "both"), is_ready)
    listed = await api.until(
        api.snapshots(), lambda all_: len(all_["items"]) == 2 and all(map(is_ready, all_["items"]))
    )
    return found, listed["items"]


async def test_a_group_has_a_snapshot_of_each_claim_of_its_label_at_one_moment(api: Api) -> None:
    found, members = await cut(api, await with_claims(api))
    sources = {one["spec"]["source"]["persistentVolumeClaimName"] for one in members}
    assert sources == {"first", "second"}
    assert {one["status"]["volumeGroupSnapshotName"] for one in members} == {"both"}
    assert {one["status"]["creationTime"] for one in members} == {found["status"]["creationTime"]}
    for member in members:
        volume = await api.volume(member["spec"]["source"]["persistentVolumeClaimName"])
        seed = found["metadata"]["uid"] + volume["spec"]["csi"]["volumeHandle"]
        digest = hashlib.sha256(seed.encode()).hexdigest()
        assert member["metadata"]["name"] == f"snapshot-{digest}"
        assert member["status"]["boundVolumeSnapshotContentName"] == f"snapcontent-{digest}"
        assert IN_GROUP in member["metadata"]["finalizers"]
        (owner,) = member["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("VolumeGroupSnapshot", found["metadata"]["uid"])
        assert "volumeSnapshotClassName" not in member["spec"]


async def test_a_groups_content_lists_what_was_cut(api: Api) -> None:
    found, members = await cut(api, await with_claims(api))
    name = found["status"]["boundVolumeGroupSnapshotContentName"]
    content = (await api.client.get(f"{GROUP_CONTENTS}/{name}")).body
    assert name == f"groupsnapcontent-{found['metadata']['uid']}"
    assert content["spec"]["volumeGroupSnapshotRef"]["uid"] == found["metadata"]["uid"]
    handles = {one["volumeHandle"]: one["snapshotHandle"] for one in content["status"]["volumeSnapshotInfoList"]}
    assert set(handles) == set(content["spec"]["source"]["volumeHandles"])
    for member in members:
        single = (await api.client.get(f"{CONTENTS}/{member['status']['boundVolumeSnapshotContentName']}")).body
        assert single["status"]["snapshotHandle"] in handles.values()
        assert single["status"]["volumeGroupSnapshotHandle"] == content["status"]["volumeGroupSnapshotHandle"]
    assert content["status"]["creationTime"] == found["status"]["creationTime"]


async def test_a_member_is_restored_like_any_snapshot(api: Api) -> None:
    _, members = await cut(api, await with_claims(api))
    member = next(one for one in members if one["spec"]["source"]["persistentVolumeClaimName"] == "second")
    await bound_claim(api, "restored", dataSource=from_snapshot(member["metadata"]["name"]))
    assert ((await api.folder_of("restored")) / "rows").read_text() == "rows of second"


async def test_a_member_goes_with_its_group_and_not_before(api: Api) -> None:
    found, members = await cut(api, await with_claims(api))
    name = members[0]["metadata"]["name"]
    content = (await api.client.get(f"{CONTENTS}/{members[0]['status']['boundVolumeSnapshotContentName']}")).body
    await api.client.delete(api.snapshots(name))
    await api.until(
        api.path("events"), lambda all_: any(one["reason"] == "SnapshotDeletePending" for one in all_["items"])
    )
    assert "deletionTimestamp" in (await api.client.get(api.snapshots(name))).body["metadata"]
    folder = api.snapshot_folder(content["status"]["snapshotHandle"])
    assert folder.exists()
    await api.client.delete(groups(api, "both"))
    await api.until(groups(api, "both"), is_gone)
    await api.until(api.snapshots(), lambda all_: all_["items"] == [])
    await api.until(f"{CONTENTS}/{content['metadata']['name']}", is_gone)
    await api.until(f"{GROUP_CONTENTS}/{found['status']['boundVolumeGroupSnapshotContentName']}", is_gone)
    assert not folder.exists()


async def test_a_group_of_no_claims_says_so(api: Api) -> None:
    await api.apply(group(await with_claims(api), name="nothing", set="nobody"))
    found = await api.until(groups(api, "nothing"), says("not applied to any PVC"))
    assert found["status"]["error"]["message"] == (
        "failed to create group snapshot content with error failed to get input parameters to create group snapshot "
        'nothing: "label selector set=nobody for group snapshot not applied to any PVC"'
    )


async def test_one_volume_that_cannot_be_cut_keeps_the_whole_group_from_being_cut(api: Api) -> None:
    in_class = await with_claims(api)
    await api.refuse_snapshots("second", "the disk is on fire")
    await api.apply(group(in_class))
    found = await api.until(groups(api, "both"), says("the disk is on fire"))
    assert found["status"]["readyToUse"] is False
    assert (await api.client.get(api.snapshots())).body["items"] == []
    await api.refuse_snapshots("second", None)
    found = await api.until(groups(api, "both"), is_ready)
    assert "error" not in found["status"]


async def test_kept_contents_outlive_their_group_and_go_with_the_bytes_once_they_are_let_go(api: Api) -> None:
    found, members = await cut(api, await with_claims(api))
    singles = [f"{CONTENTS}/{one['status']['boundVolumeSnapshotContentName']}" for one in members]
    together = f"{GROUP_CONTENTS}/{found['status']['boundVolumeGroupSnapshotContentName']}"
    for path in (*singles, together):
        await api.client.patch(path, {"spec": {"deletionPolicy": "Retain"}})
    folders = [api.snapshot_folder((await api.client.get(path)).body["status"]["snapshotHandle"]) for path in singles]
    await api.client.delete(groups(api, "both"))
    await api.until(api.snapshots(), lambda all_: all_["items"] == [])
    await api.until(groups(api, "both"), is_gone)
    assert all(folder.exists() for folder in folders)
    for path in (*singles, together):
        await api.client.patch(path, {"spec": {"deletionPolicy": "Delete"}})
    for path in (together, *singles):
        await api.client.delete(path)
        await api.until(path, is_gone)
    assert not any(folder.exists() for folder in folders)


async def test_a_group_is_of_the_claims_that_bear_its_label_when_it_is_made(api: Api) -> None:
    in_class = await with_claims(api)
    await api.client.patch(api.claims("third"), {"metadata": {"labels": {"tml-bot/group": "op-7k2m9x"}}})
    await api.apply(group(in_class, **{"tml-bot/group": "op-7k2m9x"}))
    await api.until(groups(api, "both"), is_ready)
    await api.client.patch(api.claims("first"), {"metadata": {"labels": {"tml-bot/group": "op-7k2m9x"}}})
    listed = await api.until(api.snapshots(), lambda all_: bool(all_["items"]))
    assert [one["spec"]["source"]["persistentVolumeClaimName"] for one in listed["items"]] == ["third"]
