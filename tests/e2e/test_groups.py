"""Hot sets that are cut as one volume group, through both sandboxes: cut, listed, tested, restored, purged."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox import Sandbox, tml
from sandbox.kubernetes.resources import (
    GROUP_SNAPSHOT_CONTENTS,
    GROUP_SNAPSHOTS,
    SNAPSHOT_CONTENTS,
    SNAPSHOTS,
)
from sandbox.kubernetes.writes import Write
from sandbox.slack import Message
from tests.e2e.served import Tripwire, served
from tests.e2e.test_least_rights import allowed
from tests.e2e.test_snapshot import SAVED, assert_whole_set, has, order, snapshots, write_on
from tests.e2e.town import Town, operation_in, staging_with, town, words_of

STAGING = tml.STAGING_NAMESPACE
AS_A_GROUP = "hot, as one volume group by hostpath-group-snapshots, all of one moment"
ONE_BY_ONE = "hot, one by one, each of a moment of its own"


def with_class(box: Sandbox) -> None:
    box.kubernetes.apply([tml.group_snapshot_class()])


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    configured = staging_with("snapshots", {"keep_last": 1})
    async with town(tmp_path, before=with_class, configured=configured, filled=[STAGING]) as made:
        yield made


def assert_whole_group(box: Sandbox, identity: str) -> None:
    """All of the set, of one group that outlives the namespace, too."""
    assert_whole_set(box)
    (group,) = box.kubernetes.store.list(GROUP_SNAPSHOTS, STAGING)
    assert group["metadata"]["name"] == f"tml-{identity}"
    assert {one["status"]["volumeGroupSnapshotName"] for one in snapshots(box).values()} == {f"tml-{identity}"}
    (content,) = box.kubernetes.store.list(GROUP_SNAPSHOT_CONTENTS)
    assert content["spec"]["deletionPolicy"] == "Retain"


async def test_a_hot_set_says_that_it_is_a_group_in_plan_thread_list_and_record(place: Town) -> None:
    asked = words_of(await place.types("alice", "snapshot staging"))
    assert "nothing is stopped. All volumes are cut at one moment; databases recover on start" in asked
    shown = words_of(await place.types("alice", "plan snapshot staging hot"))
    assert AS_A_GROUP in shown
    assert "label 3 PersistentVolumeClaims, for the volume group to find them" in shown
    assert "cut them all at one moment, as 1 VolumeGroupSnapshot" in shown
    live = await order(place, "snapshot staging hot", "Cut a snapshot set of staging")
    identity = operation_in(words_of(live))
    assert_whole_group(place.box, identity)
    thread = place.thread(live)
    assert "is ready, hot as one group, cut" in thread
    assert f"• volume group tml-{identity}" in thread
    assert "hot as one group, running" in words_of(await place.types("dave", "snapshots staging"))
    (entry,) = await place.audit(kinds={"snapshot-set"})
    assert entry.data["group"]["name"] == f"tml-{identity}"
    assert entry.data["group"]["handle"]
    names = {one["metadata"]["name"] for one in place.box.kubernetes.store.list(SNAPSHOTS, STAGING)}
    assert {one["name"] for one in entry.data["members"]} == names


async def test_a_cluster_is_tested_and_restored_from_a_group_and_the_old_group_goes_when_a_newer_one_is_good(
    place: Town,
) -> None:
    box = place.box
    live = await order(place, "snapshot staging hot", "Cut a snapshot set of staging")
    identity = operation_in(words_of(live))
    tested = await place.operation(words_of(await place.types("alice", f"verify staging {identity}")), "ops")
    await place.until_thread(tested, "can be restored")
    write_on(box)
    _, card = await place.asks("alice", f"restore staging {identity} because of bad data", "ops")
    back = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
    await place.until_says(back, "Restored in place staging")
    assert {has(box, claim) for claim in SAVED} == {(True, False)}
    newer = await order(place, "snapshot staging hot", "Cut a snapshot set of staging")
    shown = words_of(await place.types("alice", "plan purge staging"))
    assert re.search(rf"set {identity}: the snapshots of .* and their volume group, with their data", shown), shown
    _, card = await place.asks("alice", "purge staging because the disks are full", "ops")
    gone = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
    await place.until_says(gone, "Purged what was kept of staging")
    assert_whole_group(box, operation_in(words_of(newer)))
    assert len(box.kubernetes.store.list(SNAPSHOT_CONTENTS)) == len(SAVED)


async def test_where_the_rights_for_groups_are_not_granted_a_set_is_cut_one_by_one_and_the_plan_says_why(
    tmp_path: Path,
) -> None:
    async with allowed(tmp_path / "few", "role.yaml", "snapshot.yaml") as place:
        with_class(place.box)
        shown = words_of(await place.types("carol", "plan snapshot staging hot"))
        assert ONE_BY_ONE in shown
        assert "not as one volume group: deploy/rbac/group.yaml is not granted" in shown
        assert "no right to patch persistentvolumeclaims" in shown
        live = await order(place, "snapshot staging hot", "Cut a snapshot set of staging")
        assert "is ready, hot one by one, cut" in place.thread(live)
        assert not place.box.kubernetes.store.list(GROUP_SNAPSHOTS, STAGING)
    async with allowed(tmp_path / "all", "role.yaml", "snapshot.yaml", "group.yaml") as place:
        with_class(place.box)
        live = await order(place, "snapshot staging hot", "Cut a snapshot set of staging")
        assert "is ready, hot as one group, cut" in place.thread(live)


async def test_without_the_rights_to_remove_groups_they_stay_and_it_says_which_are_missing(tmp_path: Path) -> None:
    files = ("role.yaml", "snapshot.yaml", "group.yaml", "delete.yaml", "purge.yaml")
    async with allowed(tmp_path, *files, configured=staging_with("snapshots", {"keep_last": 1})) as place:
        with_class(place.box)
        for _ in range(2):
            await order(place, "snapshot staging hot", "Cut a snapshot set of staging")
        few = place.box.kubernetes.server.tokens["least"]
        without = tuple(rule for rule in few.rules or () if "volumegroupsnapshots" not in rule.resources)
        place.box.kubernetes.server.tokens["least"] = type(few)(few.name, without)
        answer = words_of(await place.types("alice", "plan purge staging"))
        assert "cut as a group, and the bot has no right to get volumegroupsnapshots" in answer
        assert len(place.box.kubernetes.store.list(GROUP_SNAPSHOTS, STAGING)) == 2


def cuts_the_group(write: Write) -> bool:
    return write.changed and write.verb == "create" and write.resource == "volumegroupsnapshots"


def labels_a_claim(write: Write) -> bool:
    return write.changed and write.verb == "patch" and write.resource == "persistentvolumeclaims"


@pytest.mark.parametrize(("at", "count"), [(labels_a_claim, 5), (cuts_the_group, 1)], ids=["labels", "cut"])
async def test_a_process_that_is_killed_while_it_cuts_leaves_a_whole_group_to_the_next(
    tmp_path: Path, at: object, count: int
) -> None:
    configured = staging_with("snapshots", {"keep_last": 5})
    async with town(tmp_path, before=with_class, configured=configured, filled=[STAGING], serve=False) as place:
        box = place.box
        configuration = configured(box)
        async with served(box, configuration) as first:
            box.kubernetes.server.writes = Tripwire(first.process, at, count)  # type: ignore[arg-type]
            await box.slack.person("alice").types("/tml snapshot staging hot", "ops")
            assert await first.ended() == -9
        async with served(box, configuration):

            def ended(_slack: object) -> Message | None:
                return next((one for one in place.posted("ops") if one.text.startswith("Cut a")), None)

            live = await box.slack.until(ended, 30.0, "the end")
            await place.until_thread(live, "*Volumes*")
        assert_whole_group(box, operation_in(words_of(live)))
