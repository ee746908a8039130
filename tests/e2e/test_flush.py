"""nosql is flushed before it goes down for a cold set: through both sandboxes, with what the pods themselves know."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox import Sandbox, tml
from sandbox.kubernetes import FAULT_ANNOTATION, ObjectFault
from sandbox.kubernetes.controllers.shell import FLUSHES
from sandbox.kubernetes.resources import SNAPSHOT_CONTENTS, SNAPSHOTS, STATEFULSETS
from sandbox.kubernetes.writes import Write
from sandbox.slack import Message
from tests.e2e.served import Tripwire, served
from tests.e2e.town import FAST, Town, town, unhurried, words_of

STAGING = tml.STAGING_NAMESPACE
NOSQL, CLAIM = "cass-set-0", "nosqlvol-cass-set-0-0"
FLUSHED = "cass-set-0 was flushed before it went down"
NOT_FLUSHED = "cass-set-0 was *not flushed* before it went down"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    async with town(tmp_path, configured=unhurried, timing=replace(FAST, flush=0.5)) as made:
        yield made


def fail(box: Sandbox, fault: ObjectFault) -> None:
    box.kubernetes.annotate(STATEFULSETS, STAGING, NOSQL, FAULT_ANNOTATION, fault)


def flushes(folder: Path) -> list[str]:
    """What the pods of nosql wrote down in this volume, or snapshot, when they were flushed: a line each time."""
    file = folder / FLUSHES
    return file.read_text().splitlines() if file.exists() else []


def on_the_volume(box: Sandbox) -> list[str]:
    return flushes(box.kubernetes.volumes.folder_of(STAGING, CLAIM))


def in_the_set(box: Sandbox) -> list[str]:
    store = box.kubernetes.store
    found = next(
        one for one in store.list(SNAPSHOTS, STAGING) if one["spec"]["source"]["persistentVolumeClaimName"] == CLAIM
    )
    content = store.get(SNAPSHOT_CONTENTS, None, found["status"]["boundVolumeSnapshotContentName"])
    return flushes(box.kubernetes.volumes.snapshot_folder(content["status"]["snapshotHandle"]))


async def cut_cold(place: Town, words: str = "snapshot staging cold", says: str = "Cut a snapshot set") -> Message:
    live = await place.operation(words_of(await place.types("alice", words)), "ops")
    await place.until_says(live, says)
    return live


async def test_it_is_in_the_plan_the_thread_the_list_and_the_audit_log_and_its_effect_is_in_the_set(
    place: Town,
) -> None:
    planned = words_of(await place.types("alice", "plan snapshot staging cold"))
    assert planned.index("log 1 → 0") < planned.index("nosql flushed to its volume (nodetool flush)")
    assert planned.index("nosql flushed to its volume (nodetool flush)") < planned.index("nosql 1 → 0")
    assert on_the_volume(place.box) == []
    live = await cut_cold(place)
    (line,) = in_the_set(place.box)
    assert line.startswith("cass-set-0-0 ")
    assert line.endswith(" beside nobody")
    thread = place.thread(live)
    assert thread.index("*nosql* writing to its volume") < thread.index("*nosql* going to 0") < thread.index(FLUSHED)
    listed = words_of(await place.types("dave", "snapshots staging"))
    assert "cold, clean, flushed · " in listed
    (entry,) = await place.audit(kinds={"snapshot-set"})
    assert entry.data["flushes"] == [{"workload": {"kind": "StatefulSet", "name": NOSQL}, "trouble": ""}]


async def test_its_step_is_written_down_after_all_that_needs_nosql_was_seen_gone(place: Town) -> None:
    await cut_cold(place)
    seen: list[str] = []
    for entry in await place.audit(kinds={"step", "arrived"}):
        if entry.kind == "arrived" and entry.data["phase"] == "down":
            seen += entry.data["objects"]
        if entry.kind == "step" and entry.data["action"] == "flush":
            break
    wanted = ("log-set-0", "mysql-set-0", "cache-set-0", "cm-deploy-0", "tm-deploy-0")
    assert sorted(one.partition("/")[2] for one in seen) == sorted(wanted)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (ObjectFault.FLUSH_FAILS, "cass-set-0-0: exit code 2"),
        (ObjectFault.FLUSH_HANGS, "exec in cass-set-0-0/tml-nosql: not at its end after 0.5 s"),
    ],
)
async def test_one_that_fails_or_hangs_is_told_and_the_set_is_cut_and_the_cluster_up_all_the_same(
    place: Town, fault: ObjectFault, why: str
) -> None:
    fail(place.box, fault)
    live = await cut_cold(place)
    assert in_the_set(place.box) == []
    thread = place.thread(live)
    assert f"{NOT_FLUSHED}: {why}. Its commit log is replayed on start" in thread
    assert "clean: every database container was seen to end by itself" in thread
    assert f"cold, clean, not flushed ({why}) · " in words_of(await place.types("dave", "snapshots staging"))
    assert "staging is running" in words_of(await place.types("alice", "status staging"))


async def test_a_stop_without_a_set_and_a_hot_one_flush_nothing(place: Town) -> None:
    await cut_cold(place, "snapshot staging hot")
    await cut_cold(place, "stop staging", "Stopped staging")
    live = await cut_cold(place, "snapshot staging cold")
    assert on_the_volume(place.box) == []
    assert "flushed" not in place.thread(live)
    assert "flushed" not in words_of(await place.types("dave", "snapshots staging"))


def is_flushed(write: Write) -> bool:
    return write.changed and write.resource == "statefulsets" and "tml-bot~1flushed" in json.dumps(write.body)


async def test_a_process_killed_between_the_flush_and_the_scale_down_flushes_no_second_time(tmp_path: Path) -> None:
    async with town(tmp_path, serve=False) as place:
        box = place.box
        configuration = unhurried(box)
        async with served(box, configuration) as first:
            box.kubernetes.server.writes = Tripwire(first.process, is_flushed, 1)
            await box.slack.person("alice").types("/tml snapshot staging cold", "ops")
            assert await first.ended() == -9
        assert box.kubernetes.store.get(STATEFULSETS, STAGING, NOSQL)["spec"]["replicas"] == 1
        async with served(box, configuration):
            live = await place.the_one("Cut a snapshot set of staging")
        assert len(in_the_set(box)) == 1
        assert FLUSHED in place.thread(live)
