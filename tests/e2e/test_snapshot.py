"""Snapshot sets through both sandboxes: hot or cold, on the way of a stop and of a delete, and what fails."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox import Sandbox, tml
from sandbox.kubernetes import FAULT_ANNOTATION
from sandbox.kubernetes.controllers.storage_faults import FAULT_TEXT
from sandbox.kubernetes.resources import (
    CLAIMS,
    DEPLOYMENTS,
    PODS,
    SECRETS,
    SERVICES,
    SNAPSHOT_CLASSES,
    SNAPSHOT_CONTENTS,
    SNAPSHOTS,
    STATEFULSETS,
    VOLUMES,
    Object,
)
from sandbox.kubernetes.writes import Write
from sandbox.slack import Message, View
from tests.e2e.belongings import bytes_of, captures, files_of, objects, policies
from tests.e2e.served import Tripwire, served
from tests.e2e.town import PATIENCE, Town, approval_in, operation_in, town, unhurried, words_of, words_of_blocks

PROD = tml.PROD_NAMESPACE
STAGING = tml.STAGING_NAMESPACE
SAVED = {"nosqlvol-cass-set-0-0", "sqlvol-mysql-set-0-0", "logvol-log-set-0-0"}
"""The claims of staging that a set has: the cache's is left out."""


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    async with town(tmp_path, configured=unhurried, filled=[STAGING]) as made:
        yield made


async def order(place: Town, words: str, ends: str, channel: str = "ops") -> Message:
    """Type it, say yes where it is asked, and see it through."""
    answer = await place.types("alice", words)
    if "confirm" in str(answer.blocks):
        answer = await place.presses("alice", "confirm", answer)
    live = await place.operation(words_of(answer), channel)
    await place.until_says(live, ends)
    return live


def snapshots(box: Sandbox, namespace: str = STAGING) -> dict[str, Object]:
    """By claim."""
    found = box.kubernetes.store.list(SNAPSHOTS, namespace)
    return {one["spec"]["source"]["persistentVolumeClaimName"]: one for one in found}


def content(box: Sandbox, snapshot: Object) -> Object:
    name = snapshot["status"]["boundVolumeSnapshotContentName"]
    return next(one for one in box.kubernetes.store.list(SNAPSHOT_CONTENTS) if one["metadata"]["name"] == name)


def cut_bytes(box: Sandbox, claim: str) -> bytes:
    """What `fill` wrote, as the snapshot of the claim has it."""
    handle = content(box, snapshots(box)[claim])["status"]["snapshotHandle"]
    return (box.kubernetes.volumes.snapshot_folder(handle) / "of" / claim).read_bytes()


def assert_whole_set(box: Sandbox) -> None:
    """Each member is ready, holds the bytes, and outlives the namespace though its class says Delete."""
    assert set(snapshots(box)) == SAVED
    assert {one["deletionPolicy"] for one in box.kubernetes.store.list(SNAPSHOT_CLASSES)} == {"Delete"}
    for claim, snapshot in snapshots(box).items():
        assert snapshot["status"]["readyToUse"] is True
        assert content(box, snapshot)["spec"]["deletionPolicy"] == "Retain"
        assert cut_bytes(box, claim) == f"bytes of {STAGING}/{claim}".encode() * 99


async def test_a_running_cluster_is_asked_hot_or_cold_and_the_hot_one_touches_no_pod(place: Town) -> None:
    box = place.box
    before = {pod["metadata"]["uid"] for pod in box.kubernetes.store.list(PODS, STAGING)}
    asked = await place.types("alice", "snapshot staging because of the upgrade")
    assert asked.text == "Snapshot staging: hot or cold?"
    assert "Traffic is down for as long as a stop and a start take" in words_of(asked)
    assert "cachevol-cache-set-0-0: left out by the configuration" in words_of(asked)
    assert not snapshots(box)
    live = await place.operation(words_of(await place.presses("alice", "confirm", asked)), "ops")
    await place.until_says(live, "Cut a snapshot set of staging: of the upgrade")
    assert {pod["metadata"]["uid"] for pod in box.kubernetes.store.list(PODS, STAGING)} == before
    assert_whole_set(box)
    assert len(captures(box, STAGING)) == 1
    thread = place.thread(live)
    assert "Snapshot set op-" in thread
    assert "hot" in thread
    assert "the pods ran: databases recover on start" in thread
    (entry,) = await place.audit(kinds={"snapshot-set"})
    assert {one["claim"] for one in entry.data["members"]} == SAVED
    assert all(one["handle"] and one["size"] and one["content"] for one in entry.data["members"])
    assert len(entry.data["capture"]) == 64


async def test_a_cold_set_is_one_operation_that_ends_with_the_cluster_up_and_is_listed(place: Town) -> None:
    box = place.box
    live = await order(place, "snapshot staging cold because of the upgrade", "Cut a snapshot set of staging")
    assert_whole_set(box)
    assert "staging is running" in words_of(await place.types("alice", "status staging"))
    thread = place.thread(live)
    assert thread.index("*volumes cut*") < thread.index("*components up*") < thread.index("*Snapshot set op-")
    assert "clean: every database container was seen to end by itself" in thread
    assert "traffic answers" in thread
    listed = words_of(await place.types("dave", "snapshots staging"))
    assert operation_in(listed) in words_of(live)
    assert "cold, clean" in listed
    assert "3 volumes, 50Gi · without cachevol-cache-set-0-0" in listed
    assert "(snapshot), because of the upgrade" in listed


async def test_after_a_stop_and_a_start_the_question_says_how_long_traffic_is_down(place: Town) -> None:
    await order(place, "stop staging", "Stopped staging")
    await order(place, "start staging", "Started staging")
    asked = words_of(await place.types("alice", "snapshot staging"))
    assert "Traffic is down about 1 min" in asked


async def test_a_set_of_a_stopped_cluster_is_cold_and_clean_where_the_stop_saw_its_databases_end(place: Town) -> None:
    await order(place, "stop staging", "Stopped staging")
    live = await order(place, "snapshot staging because it is the free moment", "Cut a snapshot set of staging")
    assert_whole_set(place.box)
    assert "cold" in place.thread(live)
    assert "clean: every database" in place.thread(live)
    assert "staging is stopped" in words_of(await place.types("alice", "status staging"))


async def test_a_stop_takes_a_set_on_the_way_where_it_is_told_to(place: Town) -> None:
    live = await order(place, "stop staging --snapshot because of the upgrade", "Stopped staging")
    assert_whole_set(place.box)
    assert "Snapshot set op-" in place.thread(live)
    assert "staging is stopped" in words_of(await place.types("alice", "status staging"))


async def test_a_plan_of_a_set_says_which_volumes_and_has_to_be_told_how(place: Town) -> None:
    answer = words_of(await place.types("alice", "plan snapshot staging"))
    assert "say `snapshot staging hot` or `snapshot staging cold`" in answer
    answer = words_of(await place.types("alice", "plan snapshot staging cold"))
    assert "cut 3 PersistentVolumeClaims, all at once, into snapshots" in answer
    assert "API traffic stops with the first wave (tm), and comes back when all is cut and up again" in answer
    assert "*Snapshots* (cold, all of one moment), kept whatever becomes of the namespace" in answer
    assert not snapshots(place.box)


async def test_a_set_that_cannot_be_whole_is_refused_with_a_reason_for_each_volume(place: Town) -> None:
    box = place.box
    (found,) = box.kubernetes.store.list(SNAPSHOT_CLASSES)
    box.kubernetes.store.delete(SNAPSHOT_CLASSES, None, found["metadata"]["name"])
    answer = words_of(await place.types("alice", "snapshot staging cold"))
    for claim in SAVED:
        assert f"{claim}: there is no VolumeSnapshotClass for its driver hostpath.csi.sandbox: make one." in answer
    assert "Nothing was changed" in answer
    assert place.posted("ops") == []


async def test_a_volume_that_is_never_cut_lets_the_cluster_come_up_before_the_failure_is_told(tmp_path: Path) -> None:
    def hasty(box: Sandbox) -> Path:
        path = unhurried(box)
        path.write_text(path.read_text().replace("up: 60s", "up: 60s, cut: 1s"))
        return path

    async with town(tmp_path, configured=hasty, filled=[STAGING]) as place:
        box = place.box
        sql = (CLAIMS, STAGING, "sqlvol-mysql-set-0-0")
        box.kubernetes.annotate(*sql, FAULT_TEXT, "the disk is on fire")
        box.kubernetes.annotate(*sql, FAULT_ANNOTATION, "snapshot-fails")
        answer = await place.types("alice", "snapshot staging cold")
        live = await place.operation(words_of(answer), "ops")
        await place.until_says(live, "FAILED to snapshot staging")
        thread = await place.until_thread(live, "*Go on with*")
        assert "the disk is on fire" in thread
        assert "It is started again first" in thread
        assert "staging *was started again*" in thread
        assert "not done: the snapshot of sqlvol-mysql-set-0-0" in thread
        assert "staging is running" in words_of(await place.types("alice", "status staging"))
        assert "There is none that this bot took and saw ready" in words_of(
            await place.types("alice", "snapshots staging")
        )


def is_cut(write: Write) -> bool:
    return write.changed and write.verb == "create" and write.resource == "volumesnapshots"


def is_retained(write: Write) -> bool:
    return write.changed and write.verb == "patch" and write.resource == "volumesnapshotcontents"


@pytest.mark.parametrize(("words", "at"), [("snapshot staging cold", is_retained), ("stop staging --snapshot", is_cut)])
async def test_a_process_killed_while_it_cuts_goes_on_in_the_next_one_with_the_same_set(
    words: str, at: object, tmp_path: Path
) -> None:
    async with town(tmp_path, filled=[STAGING], serve=False) as place:
        box = place.box
        whole, kept = bytes_of(box, STAGING), policies(box, STAGING)
        configuration = unhurried(box)
        async with served(box, configuration) as first:
            box.kubernetes.server.writes = Tripwire(first.process, at, 2)  # type: ignore[arg-type]
            await box.slack.person("alice").types(f"/tml {words}", "ops")
            assert await first.ended() == -9
        async with served(box, configuration):

            def ended(_slack: object) -> Message | None:
                live = [one for one in place.posted("ops") if one.text.startswith(("Cut a", "Stopped"))]
                return live[0] if live else None

            live = await box.slack.until(ended, 30.0, "the end")
            await place.until_thread(live, "*Volumes*")
        assert_whole_set(box)
        assert len(await place.audit(kinds={"snapshot-set"})) == 1
        assert (bytes_of(box, STAGING), policies(box, STAGING)) == (whole, kept)
        assert place.thread(live).count("taken up by") == 1


def write_on(box: Sandbox) -> None:
    """What came after the set."""
    for claim in SAVED:
        box.kubernetes.volumes.write(STAGING, claim, "since", b"written since")


def has(box: Sandbox, claim: str) -> tuple[bool, bool]:
    """Whether the claim's volume has what was there at the set's time, and what came after it."""
    folder = box.kubernetes.volumes.folder_of(STAGING, claim)
    return (folder / "of" / claim).exists(), (folder / "since").exists()


async def a_set(place: Town) -> str:
    return operation_in(words_of(await order(place, "snapshot staging cold", "Cut a snapshot set of staging")))


async def exchanged(place: Town, identity: str) -> Message:
    """Asked for, approved and done: a restore in place."""
    _, card = await place.asks("alice", f"restore staging {identity} because of bad data", "ops")
    live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
    await place.until_says(live, "Restored in place staging")
    return live


async def test_in_place_takes_a_second_person_and_goes_back_to_the_set_and_back_again(place: Town) -> None:
    box = place.box
    identity = await a_set(place)
    write_on(box)
    before = {pv["spec"]["csi"]["volumeHandle"] for pv in box.kubernetes.store.list(VOLUMES) if in_staging(pv)}
    _, card = await place.asks("alice", f"restore staging {identity} because of bad data", "ops")
    shown = words_of(card)
    assert "All that was written since then goes out of use." in shown
    assert "*Snapshots* (cold, all of one moment)" in shown
    live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
    await place.until_says(live, "Restored in place staging")
    assert {has(box, claim) for claim in SAVED} == {(True, False)}
    after = {pv["spec"]["csi"]["volumeHandle"] for pv in box.kubernetes.store.list(VOLUMES) if in_staging(pv)}
    assert before < after, "every volume of before is still there"
    assert "staging is running" in words_of(await place.types("alice", "status staging"))
    thread = place.thread(live)
    assert "traffic answers" in thread
    safety = operation_in(words_of(live))
    assert f"the set of before is {safety}" in thread
    await exchanged(place, safety)
    assert {has(box, claim) for claim in SAVED} == {(True, True)}


def in_staging(volume: Object) -> bool:
    return bool(volume["spec"].get("claimRef", {}).get("namespace") == STAGING)


async def test_a_cluster_that_a_script_erased_comes_back_from_its_set(place: Town) -> None:
    box = place.box
    identity = await a_set(place)
    await order(place, "stop staging", "Stopped staging")
    before = {name: one for name, one in objects(box, STAGING).items() if not name.startswith(("Secret/tmgc", "Pers"))}
    for resource in (STATEFULSETS, DEPLOYMENTS, SERVICES, SECRETS, CLAIMS):
        for one in box.kubernetes.store.list(resource, STAGING):
            name = one["metadata"]["name"]
            if not name.startswith(("tml-bot-capture", "tmgc-registry")):
                box.kubernetes.store.delete(resource, STAGING, name)
    await box.kubernetes.until(lambda _: not box.kubernetes.store.list(CLAIMS, STAGING), 20.0)
    answer = words_of(await place.types("alice", "restore staging"))
    assert f"There is a snapshot set: `/tml restore staging {identity}`." in answer
    live = await order(place, f"restore staging {identity} because the script ran", "Restored staging")
    assert {has(box, claim) for claim in SAVED} == {(True, False)}
    assert "cachevol-cache-set-0-0 comes back empty" in place.thread(live)
    back = objects(box, STAGING)
    assert set(before) <= set(back)
    assert {name: one["data"] for name, one in back.items() if name in before and "data" in one} == {
        name: one["data"] for name, one in before.items() if "data" in one
    }
    assert "staging is running" in words_of(await place.types("alice", "status staging"))


async def pressed_restore(place: Town, cluster: str, reason: str) -> tuple[View, str]:
    """The button in the list, a reason, and what the modal says then."""
    alice = place.box.slack.person("alice")
    view = await alice.opens("restore_set", await place.types("alice", f"snapshots {cluster}"), timeout=PATIENCE)
    return await submitted(place, view, reason)


async def submitted(place: Town, view: View, reason: str) -> tuple[View, str]:
    alice = place.box.slack.person("alice")
    reply = await alice.submits(view, {"reason": reason})
    assert not reply.failed
    assert alice.modal is not None

    def answered(_slack: object) -> str | None:
        assert alice.modal is not None
        text = words_of_blocks(alice.modal.blocks)
        return None if "Looking at the cluster" in text else text

    return alice.modal, await place.box.slack.until(answered, PATIENCE, "the answer in the modal")


async def test_the_button_in_the_list_asks_why_and_goes_back_in_place_with_a_second_persons_yes(place: Town) -> None:
    box = place.box
    identity = await a_set(place)
    write_on(box)
    _view, shown = await pressed_restore(place, "staging", "bad data & <worse>")
    assert "Asked for: restore-in-place staging" in shown
    card = await place.card(approval_in(shown), "ops")
    assert "because bad data &amp; &lt;worse&gt;" in words_of(card)
    assert {has(box, claim) for claim in SAVED} == {(True, True)}, "nothing is done before the yes"
    live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
    await place.until_says(live, "Restored in place staging: bad data")
    assert {has(box, claim) for claim in SAVED} == {(True, False)}
    (begun,) = [one for one in await place.audit(kinds={"begun"}) if one.data["verb"] == "restore-in-place"]
    assert begun.data["reason"] == "bad data & <worse>"
    assert identity in begun.data["command"]


async def test_in_production_the_whole_way_back_from_a_set_is_in_the_dialog(place: Town) -> None:
    """Nothing of it is there, so nobody else is asked, and production asks the one who pressed."""
    box, alice = place.box, place.box.slack.person("alice")
    live = await place.orders("alice", "snapshot prod cold")
    await place.until_says(live, "Cut a snapshot set of prod")
    _, card = await place.asks("alice", "delete prod because it moves")
    live = await place.operation(await place.says_yes("carol", card, "prod"))
    await place.until_says(live, "Deleted prod")
    view, shown = await pressed_restore(place, "prod", "it was the wrong one")
    assert "Restore prod?" in shown
    assert "From the set op-" in shown
    reply = await alice.presses("confirm", view)
    assert reply.acked_in is not None

    def begun(_slack: object) -> str | None:
        text = words_of_blocks(alice.modal.blocks) if alice.modal else ""
        return text if "Restoring prod (op-" in text else None

    back = await place.operation(await box.slack.until(begun, PATIENCE, "the dialog says what was begun"))
    await place.until_says(back, "Restored prod")


async def test_an_unknown_set_is_refused(place: Town) -> None:
    identity = await a_set(place)
    answer = words_of(await place.types("alice", "restore staging op-000000"))
    assert "There is no set op-000000 of staging. `/tml snapshots staging` lists them." in answer
    assert identity not in answer


async def test_a_process_killed_while_claims_are_exchanged_goes_on_and_no_byte_is_lost(tmp_path: Path) -> None:
    async with town(tmp_path, filled=[STAGING], serve=False) as place:
        box = place.box
        configuration = unhurried(box)
        async with served(box, configuration) as first:
            identity = await a_set(place)
            write_on(box)
            old = bytes_of(box, STAGING)
            _, card = await place.asks("alice", f"restore staging {identity} because of bad data", "ops")
            box.kubernetes.server.writes = Tripwire(first.process, removes_a_claim, 2)
            await place.says_yes("carol", card, "staging")
            assert await first.ended() == -9
        async with served(box, configuration):

            def ended(_slack: object) -> Message | None:
                return next((one for one in place.posted("ops") if one.text.startswith("Restored in place")), None)

            live = await box.slack.until(ended, 30.0, "the end")
            await place.until_thread(live, "the set of before is")
        assert {has(box, claim) for claim in SAVED} == {(True, False)}
        assert all(any(one == files for one in kept_bytes(box)) for claim, files in old.items() if claim in SAVED)


def removes_a_claim(write: Write) -> bool:
    return write.changed and write.verb == "delete" and write.resource == "persistentvolumeclaims"


def kept_bytes(box: Sandbox) -> list[dict[str, str]]:
    """Of every volume that there is, in use or kept."""
    return [files_of(box, one) for one in box.kubernetes.store.list(VOLUMES) if in_staging(one)]
