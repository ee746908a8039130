"""A namespace that was deleted and made again: the cluster comes back from the copy of its capture, byte by byte."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandbox import Sandbox, tml
from sandbox.kubernetes.resources import SECRETS, SNAPSHOT_CONTENTS, SNAPSHOTS, STATEFULSETS
from sandbox.kubernetes.writes import Write
from sandbox.slack import Message
from tests.e2e.belongings import bytes_of, captures, comparable, objects, policies, volumes
from tests.e2e.homes import COPIES, a_set, captures_in, copying, lose, make_again, restored, with_copies
from tests.e2e.served import Tripwire, served
from tests.e2e.town import PATIENCE, Town, operation_in, town, unhurried, words_of

STAGING, PROD = tml.STAGING_NAMESPACE, tml.PROD_NAMESPACE
SAVED = {"nosqlvol-cass-set-0-0", "sqlvol-mysql-set-0-0", "logvol-log-set-0-0"}
"""What is in a set of staging: the cache is left out."""


@asynccontextmanager
async def copied(folder: Path, configured: Callable[[Sandbox], Path] = copying) -> AsyncIterator[Town]:
    async with town(folder, before=with_copies, configured=configured, filled=(STAGING, PROD)) as place:
        yield place


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    async with copied(tmp_path) as made:
        yield made


async def deleted(place: Town, cluster: str = "staging", channel: str = "ops") -> Message:
    _, card = await place.asks("alice", f"delete {cluster} because it moves", channel)
    live = await place.operation(await place.says_yes("carol", card, cluster), channel)
    await place.until_says(live, f"Deleted {cluster}")
    return live


async def test_a_deleted_cluster_whose_namespace_went_comes_back_on_its_kept_volumes_with_every_byte(
    place: Town,
) -> None:
    box = place.box
    before, whole, kept = objects(box, STAGING), bytes_of(box, STAGING), policies(box, STAGING)
    _, card = await place.asks("alice", "delete staging because it moves", "ops")
    assert f"as a copy, of {COPIES}: its loss leaves the way back" in words_of(card)
    live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
    await place.until_says(live, "Deleted staging")
    (own,), (copy,) = captures(box, STAGING), captures_in(box, COPIES)
    assert own["data"] == copy["data"]
    assert copy["metadata"]["labels"]["tml-bot/namespace"] == STAGING
    assert copy["metadata"]["annotations"]["tml-bot/cluster"] == "staging"
    assert copy["metadata"]["annotations"]["tml-bot/operation"] == operation_in(words_of(live))

    key = await lose(box)
    for words in ("restore staging", "plan restore staging"):
        answer = words_of(await place.types("alice", words))
        assert f"There is no namespace {STAGING}" in answer
        assert f"create namespace {STAGING}" in answer
        assert "image pull secrets" in answer
    assert bytes_of(box, STAGING) == whole
    make_again(box, key)
    assert "restorable" in words_of(await place.types("dave", "list"))
    status = words_of(await place.types("dave", "status staging"))
    assert "brings it back" in status
    assert f"in the copy in {COPIES}" in status
    plan = words_of(await place.types("alice", "plan restore staging"))
    assert f"namespace {STAGING} is a new one, made since {operation_in(words_of(live))}" in plan
    assert f"comes from the copy in {COPIES}" in plan
    assert "4 kept volumes are bound to claims of their old names" in plan
    back = await restored(place)
    assert comparable(objects(box, STAGING)) == comparable(before)
    assert bytes_of(box, STAGING) == whole
    assert policies(box, STAGING) == kept
    assert "traffic answers" in place.thread(back)
    assert "nothing is missing" in words_of(await place.types("alice", "restore staging"))


async def test_in_production_the_services_that_a_delete_left_come_back_too(tmp_path: Path) -> None:
    async with copied(tmp_path, lambda box: copying(box, ("prod", "staging"))) as place:
        box = place.box
        before, whole = objects(box, PROD), bytes_of(box, PROD)
        await deleted(place, "prod", "prod")
        await deleted(place)
        assert len(captures_in(box, COPIES)) == 2, "two clusters share the namespace"
        make_again(box, await lose(box, PROD))
        await restored(place, "restore prod", "prod")
        assert comparable(objects(box, PROD)) == comparable(before)
        assert bytes_of(box, PROD) == whole
        await restored(place)


def saved_bytes(box: Sandbox) -> dict[str, dict[str, str]]:
    return {claim: files for claim, files in bytes_of(box, STAGING).items() if claim in SAVED}


def bound_contents(box: Sandbox) -> set[str]:
    return {one["status"]["boundVolumeSnapshotContentName"] for one in box.kubernetes.store.list(SNAPSHOTS, STAGING)}


async def test_a_running_cluster_whose_namespace_was_deleted_comes_back_from_its_set(place: Town) -> None:
    box = place.box
    whole, before = saved_bytes(box), objects(box, STAGING)
    identity = await a_set(place)
    assert len(captures_in(box, COPIES)) == 1
    key = await lose(box)
    await box.kubernetes.until(lambda _: not volumes(box, STAGING), PATIENCE)  # each goes with its claim
    old = {one["metadata"]["name"]: one for one in box.kubernetes.store.list(SNAPSHOT_CONTENTS)}
    make_again(box, key)
    for words in ("restore staging", "status staging"):
        assert f"There is a snapshot set: `/tml restore staging {identity}`." in words_of(
            await place.types("alice", words)
        )
    plan = words_of(await place.types("alice", f"plan restore staging {identity}"))
    assert f"namespace {STAGING} is a new one, made since {identity}" in plan
    assert "make 3 VolumeSnapshotContents again" in plan
    assert "Bound anew" in plan
    assert "cachevol-cache-set-0-0 comes back empty" in plan
    live = await restored(place, f"restore staging {identity} because somebody deleted it")
    assert "snapshots of the set bound anew" in place.thread(live)
    assert saved_bytes(box) == whole
    assert set(objects(box, STAGING)) == set(before)
    now = {one["metadata"]["name"]: one for one in box.kubernetes.store.list(SNAPSHOT_CONTENTS)}
    assert {name: one["spec"] for name, one in now.items() if name in old} == {
        name: one["spec"] for name, one in old.items()
    }, "what was left behind is not edited"
    restore = operation_in(words_of(live))
    assert now.keys() - old.keys() == {f"tml-{restore}-{claim}" for claim in SAVED} == bound_contents(box)
    assert {one["spec"]["deletionPolicy"] for one in now.values()} == {"Retain"}
    (entry,) = await place.audit(kinds={"set-rebound"})
    assert {one["content"] for one in entry.data["now"]} == bound_contents(box)
    assert {one["content"] for one in entry.data["before"]} == set(old)

    write = box.kubernetes.volumes.write
    for claim in SAVED:
        write(STAGING, claim, "since", b"written since")
    _, card = await place.asks("alice", f"restore staging {identity} because of bad data", "ops")
    live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
    await place.until_says(live, "Restored in place staging")
    in_use = {one["spec"]["claimRef"]["name"] for one in volumes(box, STAGING).values()}
    assert in_use >= SAVED
    assert not any((box.kubernetes.volumes.folder_of(STAGING, claim) / "since").exists() for claim in SAVED)


async def test_after_a_delete_a_lost_namespace_comes_back_from_the_set_as_well(place: Town) -> None:
    box = place.box
    identity = operation_in(words_of(await deleted(place)))
    make_again(box, await lose(box))
    live = await restored(place, f"restore staging {identity}")
    assert "snapshots of the set bound anew" in place.thread(live)
    for claim in SAVED:
        folder = box.kubernetes.volumes.folder_of(STAGING, claim)
        assert (folder / "of" / claim).read_bytes() == f"bytes of {STAGING}/{claim}".encode() * 99


async def test_a_set_that_was_bound_anew_and_is_lost_again_comes_back_and_goes_with_its_bytes_when_a_newer_one_is_whole(
    tmp_path: Path,
) -> None:
    def keeping_one(box: Sandbox) -> Path:
        path = copying(box)
        path.write_text(path.read_text().replace("    captures:", "    snapshots: {keep_last: 1}\n    captures:"))
        return path

    async with copied(tmp_path, keeping_one) as place:
        box = place.box
        whole = saved_bytes(box)
        identity = await a_set(place)
        handles = {one["status"]["snapshotHandle"] for one in box.kubernetes.store.list(SNAPSHOT_CONTENTS)}
        for _ in range(2):
            make_again(box, await lose(box))
            await restored(place, f"restore staging {identity} because somebody deleted it")
            assert saved_bytes(box) == whole
        assert len(box.kubernetes.store.list(SNAPSHOT_CONTENTS)) == 9, "each loss leaves three behind"
        assert all(box.kubernetes.volumes.snapshot_folder(one).is_dir() for one in handles)
        newer = await a_set(place)
        _, card = await place.asks("alice", "purge staging because the disks are full", "ops")
        assert f"set {identity}" in words_of(card)
        live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
        await place.until_says(live, "Purged what was kept of staging")
        left = box.kubernetes.store.list(SNAPSHOT_CONTENTS)
        assert {one["spec"]["volumeSnapshotRef"]["name"] for one in left} == {f"tml-{newer}-{claim}" for claim in SAVED}
        assert not any(box.kubernetes.volumes.snapshot_folder(one).exists() for one in handles)
        assert {one["metadata"]["labels"]["tml-bot/capture"] for one in captures_in(box, COPIES)} == {newer}
        assert saved_bytes(box) == whole


async def test_without_a_copy_the_plan_says_so_and_the_restore_is_refused_with_the_reason(tmp_path: Path) -> None:
    async with copied(tmp_path, unhurried) as place:
        box = place.box
        lost = "whoever removes the namespace removes the way back"
        assert lost in words_of(await place.types("alice", "plan snapshot staging cold"))
        assert lost in words_of(await place.types("alice", "plan stop staging --remove"))
        identity = await a_set(place)
        _, card = await place.asks("alice", "delete staging because it moves", "ops")
        assert lost in words_of(card)
        live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
        await place.until_says(live, "Deleted staging")
        assert captures_in(box, COPIES) == []
        make_again(box, await lose(box))
        for words in ("restore staging", f"restore staging {identity}"):
            answer = words_of(await place.types("alice", words))
            assert "is not there, or not whole: nothing says how the cluster was" in answer, words
            assert "captures.copy_to named no other namespace then" in answer, words
        assert "Nothing was changed" in answer
        assert box.kubernetes.store.list(STATEFULSETS, STAGING) == []


async def test_a_stop_that_removed_comes_back_from_the_copy_where_the_secrets_of_the_capture_are_gone(
    place: Town,
) -> None:
    box = place.box
    before, whole = objects(box, STAGING), bytes_of(box, STAGING)
    live = await place.orders("alice", "stop staging --remove", "ops")
    await place.until_says(live, "Stopped and removed staging")
    for one in captures(box, STAGING):
        box.kubernetes.store.delete(SECRETS, STAGING, one["metadata"]["name"])
    back = await place.orders("alice", "start staging", "ops")
    await place.until_says(back, "Started staging")
    assert comparable(objects(box, STAGING)) == comparable(before)
    assert bytes_of(box, STAGING) == whole


async def test_after_a_stop_that_removed_a_lost_namespace_comes_back_from_a_set_and_a_start_says_that_it_would_be_empty(
    place: Town,
) -> None:
    box = place.box
    whole, identity = saved_bytes(box), await a_set(place)
    live = await place.orders("alice", "stop staging --remove", "ops")
    await place.until_says(live, "Stopped and removed staging")
    refused = words_of(await place.types("alice", f"restore staging {identity}"))
    assert "`/tml start staging` brings it back" in refused, "as long as its own capture is there"
    make_again(box, await lose(box))
    plan = words_of(await place.types("alice", "plan start staging"))
    assert "claim sqlvol-mysql-set-0-0 is gone since: its StatefulSet makes an EMPTY one" in plan
    await restored(place, f"restore staging {identity} because somebody deleted it")
    assert saved_bytes(box) == whole
    assert "staging is running" in words_of(await place.types("dave", "status staging"))


def makes_snapshot(write: Write) -> bool:
    return write.changed and write.verb == "create" and write.resource == "volumesnapshots"


async def test_a_process_killed_while_snapshots_are_bound_anew_is_followed_by_one_that_goes_on(tmp_path: Path) -> None:
    async with town(tmp_path, before=with_copies, filled=(STAGING,), serve=False) as place:
        box = place.box
        whole, configuration = saved_bytes(box), copying(box)
        async with served(box, configuration) as first:
            identity = await a_set(place)
            make_again(box, await lose(box))
            box.kubernetes.server.writes = Tripwire(first.process, makes_snapshot, 2)
            await box.slack.person("alice").types(f"/tml restore staging {identity} because of it", "ops")
            assert await first.ended() == -9
        async with served(box, configuration):
            live = await place.the_one("Restored staging")
        assert saved_bytes(box) == whole
        assert place.thread(live).count("taken up by") == 1
        assert len(box.kubernetes.store.list(SNAPSHOT_CONTENTS)) == 6
        assert len(await place.audit(kinds={"set-rebound"})) == 1
