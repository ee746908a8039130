"""What is kept goes for good when its time is over, told a day before, through both sandboxes; nothing else goes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sandbox
from bot.__main__ import SystemClock, serving
from bot.settings import load_settings
from sandbox import Sandbox, tml
from sandbox.kubernetes import FAULT_ANNOTATION
from sandbox.kubernetes.resources import CLAIMS, PODS, SNAPSHOT_CLASSES, SNAPSHOT_CONTENTS, SNAPSHOTS, VOLUMES, Object
from sandbox.kubernetes.writes import Write
from sandbox.slack import Message
from tests.e2e.belongings import bytes_of, captures, files_of, fill, policies, versions, volumes
from tests.e2e.served import Tripwire, served
from tests.e2e.test_snapshot import SAVED
from tests.e2e.town import FAST, PATIENCE, SCALE, Town, operation_in, unhurried, words_of

PROD, STAGING = tml.PROD_NAMESPACE, tml.STAGING_NAMESPACE
TIMING = replace(FAST, look=0.5)


@dataclass
class ShiftedClock(SystemClock):
    """The machine's, days later."""

    ahead: timedelta = field(default_factory=timedelta)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Later(Town):
    """A town in which days pass when a test says so."""

    clock: ShiftedClock = field(default_factory=ShiftedClock)

    def passes(self, **time: float) -> None:
        self.clock.ahead += timedelta(**time)

    async def told(self, start: str) -> Message:
        """The newest public message that begins so."""

        def found(_slack: object) -> Message | None:
            return next((one for one in reversed(self.posted("ops")) if one.text.startswith(start)), None)

        return await self.box.slack.until(found, PATIENCE, f"{start!r} in {[one.text for one in self.posted('ops')]}")

    def says(self, start: str) -> list[Message]:
        return [one for one in self.posted("ops") if one.text.startswith(start)]

    async def deletes(self) -> Message:
        _, card = await self.asks("alice", "delete staging because it moves", "ops")
        assert "Kept for *7d*, and then destroyed for good" in words_of(card)
        live = await self.operation(await self.says_yes("carol", card, "staging"), "ops")
        await self.until_says(live, "Deleted staging")
        return live


def configured(box: Sandbox, more: str = "") -> Path:
    path = unhurried(box)
    text = path.read_text().replace("up: 60s", "up: 60s, ready: 4s")
    path.write_text(text.replace("    environment: staging\n", f"    environment: staging\n{more}"))
    return path


@asynccontextmanager
async def later(folder: Path, more: str = "", *, snapshots: bool = True) -> AsyncIterator[Later]:
    async with sandbox.start(folder, time_scale=SCALE, limits=None) as box:
        for namespace in (PROD, STAGING):
            fill(box, namespace)
        if not snapshots:
            (only,) = box.kubernetes.store.list(SNAPSHOT_CLASSES)
            box.kubernetes.store.delete(SNAPSHOT_CLASSES, None, only["metadata"]["name"])
        place = Later(box)
        async with serving(load_settings(configured(box, more), box.environ), TIMING, place.clock):
            yield place


def cut(box: Sandbox) -> dict[str, Object]:
    """The VolumeSnapshots of staging by name."""
    return {one["metadata"]["name"]: one for one in box.kubernetes.store.list(SNAPSHOTS, STAGING)}


def handles(box: Sandbox) -> set[str]:
    """What contents there are, of whichever namespace, by what the storage knows them by."""
    return {one["status"]["snapshotHandle"] for one in box.kubernetes.store.list(SNAPSHOT_CONTENTS)}


def folders(box: Sandbox) -> dict[str, bool]:
    """Whether the bytes of each volume of staging are there, by volume."""
    return {one["spec"]["csi"]["volumeHandle"]: True for one in volumes(box, STAGING).values() if "csi" in one["spec"]}


async def test_kept_volumes_are_announced_kept_longer_and_then_gone_with_their_bytes_and_nothing_else_is(
    tmp_path: Path,
) -> None:
    async with later(tmp_path) as place:
        box = place.box
        await place.deletes()
        whole, kept, others = bytes_of(box, STAGING), policies(box, STAGING), versions(box, PROD)
        theirs, sets, held = (bytes_of(box, PROD), policies(box, PROD)), cut(box), handles(box)
        gone = {box.folder / "volumes" / one for one in folders(box)}
        assert all(folder.is_dir() for folder in gone)

        place.passes(days=5.9)
        assert "kept until" in words_of(await place.types("dave", "snapshots staging"))
        assert not place.says("Kept volumes")
        place.passes(days=0.2)
        notice = await place.told("Kept volumes of staging are about to be purged")
        assert "sqlvol-mysql-set-0-0" in words_of(notice)
        refused = await place.presses("dave", "keep-longer", notice)
        assert "This is for operators of staging" in words_of(refused)
        stale = box.slack.person("bob").press_payload("keep-longer", notice)
        assert "are kept longer" in words_of(await place.presses("bob", "keep-longer", notice))
        await place.told("Kept longer: the volumes of staging")
        twice = await box.slack.person("bob").sends(stale)
        assert "They are kept longer already" in words_of((await twice.answers(1, timeout=PATIENCE))[-1])
        place.passes(days=3)
        assert (bytes_of(box, STAGING), policies(box, STAGING)) == (whole, kept)
        assert not place.says("Purg")
        place.passes(days=4.2)
        await place.told("Kept volumes of staging are about to be purged")
        place.passes(days=1.1)
        live = await place.told("Purged what was kept of staging")
        thread = await place.until_thread(live, "*Purged*")

        assert volumes(box, STAGING) == {}
        assert not any(folder.exists() for folder in gone)
        assert (bytes_of(box, PROD), policies(box, PROD)) == theirs
        assert versions(box, PROD) == others
        assert (cut(box).keys(), handles(box)) == (sets.keys(), held), "the newest good set stays"
        assert len(captures(box, STAGING)) == 1, "with it the set can be restored"
        assert "the bot asked to purge it" in words_of(live)
        assert "sqlvol-mysql-set-0-0" in thread
        steps = await place.audit(kinds={"step-done"})
        given_up = {one.data["name"]: one.data["uid"] for one in steps if one.data["action"] == "give-up"}
        assert set(given_up.values()) == {uid for uid, _, _ in kept.values()}
        (extended,) = await place.audit(kinds={"notice-extended"})
        assert extended.actor
        assert extended.actor.user == box.slack.person("bob").id
        assert len(await place.audit(kinds={"notice"})) == 2
        assert "its volumes purged by op-" in words_of(await place.types("dave", "list"))
        refused = words_of(await place.types("alice", "restore staging"))
        taken = operation_in(refused[refused.index("There is a snapshot set") :])
        answer = await place.types("alice", f"restore staging {taken} because it is needed after all")
        back = await place.operation(words_of(answer), "ops")
        await place.until_says(back, "Restored staging")
        assert "cachevol-cache-set-0-0 comes back empty" in place.thread(back)
        saved = {claim: files for claim, files in whole.items() if "cache" not in claim}
        assert {claim: files for claim, files in bytes_of(box, STAGING).items() if "cache" not in claim} == saved


async def test_a_restore_before_the_purge_makes_it_void(tmp_path: Path) -> None:
    async with later(tmp_path) as place:
        box = place.box
        await place.deletes()
        whole = bytes_of(box, STAGING)
        place.passes(days=6.1)
        await place.told("Kept volumes of staging")
        answer = await place.types("alice", "restore staging")
        live = await place.operation(words_of(answer), "ops")
        await place.until_says(live, "Restored staging")
        place.passes(days=2)
        await place.told("Nothing to purge of staging any more")
        assert bytes_of(box, STAGING) == whole
        assert {policy for _, policy, _ in policies(box, STAGING).values()} == {"Delete"}
        assert not await place.audit(kinds={"notice-begun"})


async def test_while_the_newest_set_is_not_whole_the_volumes_stay_and_it_is_said_why(tmp_path: Path) -> None:
    async with later(tmp_path) as place:
        box = place.box
        await place.deletes()
        whole, kept = bytes_of(box, STAGING), policies(box, STAGING)
        box.kubernetes.store.delete(SNAPSHOTS, STAGING, next(iter(cut(box))))
        place.passes(days=6.1)
        notice = await place.told("Kept volumes of staging")
        place.passes(days=1.1)
        thread = await place.until_thread(notice, "not begun")
        assert "newest snapshot set" in thread
        assert "is not whole any more, so the kept volumes stay" in thread
        assert (bytes_of(box, STAGING), policies(box, STAGING)) == (whole, kept)
        assert thread.count("not begun") == 1, "told once"
        asked = words_of(await place.types("alice", "purge staging because the disks are full"))
        assert "is not whole any more, so the kept volumes stay" in asked


async def test_where_nothing_could_be_cut_the_delete_was_approved_so_and_the_capture_goes_last(tmp_path: Path) -> None:
    async with later(tmp_path, snapshots=False) as place:
        box = place.box
        await place.deletes()
        assert len(captures(box, STAGING)) == 1
        place.passes(days=6.1)
        await place.told("Kept volumes of staging")
        place.passes(days=1.1)
        live = await place.told("Purged what was kept of staging")
        await place.until_thread(live, "*Purged*")
        assert volumes(box, STAGING) == {}
        assert captures(box, STAGING) == []


async def test_a_person_needs_a_second_one_for_a_purge_and_sees_what_is_destroyed(tmp_path: Path) -> None:
    async with later(tmp_path) as place:
        box = place.box
        await place.deletes()
        plan = words_of(await place.types("dave", "plan purge staging"))
        assert "Destroyed for good" in plan
        assert "give 4 PersistentVolumes up, each with its reclaim policy of before" in plan
        assert "the deleted cluster's way back" in plan or "are not purged yet" in plan
        assert "This is for operators" in words_of(await place.types("dave", "purge staging because of the disks"))
        _, card = await place.asks("alice", "purge staging because the disks are full", "ops")
        assert "with its data" in words_of(card)
        live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
        await place.until_says(live, "Purged what was kept of staging: the disks are full")
        assert volumes(box, STAGING) == {}
        assert len(cut(box)) == 3


async def test_old_sets_go_as_configured_a_pinned_one_stays_and_the_list_says_all_of_it(tmp_path: Path) -> None:
    async with later(tmp_path, "    snapshots: {keep_last: 2}\n") as place:
        box = place.box
        before = bytes_of(box, STAGING)
        ids: list[str] = []
        for count in range(4):
            answer = await place.presses("alice", "confirm", await place.types("alice", "snapshot staging"))
            live = await place.operation(words_of(answer), "ops")
            await place.until_says(live, "Cut a snapshot set of staging")
            ids.append(operation_in(words_of(answer)))
            if count == 0:
                listed = await place.types("alice", "snapshots staging")
                pinned = await place.presses("alice", "pin", listed)
                assert "pinned by" in words_of(pinned)
        live = await place.told("Purged what was kept of staging")
        thread = await place.until_thread(live, "*Purged*")
        names = {name.removeprefix("tml-")[:9] for name in cut(box)}
        assert names == {ids[0], ids[2], ids[3]}, "two newest, and the pinned one"
        assert ids[1] in thread
        assert len(handles(box)) == 9
        assert len(captures(box, STAGING)) == 3
        assert bytes_of(box, STAGING) == before
        listed = await place.types("alice", "snapshots staging")
        assert ids[1] not in words_of(listed)
        assert "pinned by" not in words_of(await place.presses("alice", "unpin", listed))

        def only_two(_slack: object) -> bool:
            return len(cut(box)) == 6

        await box.slack.until(only_two, PATIENCE, "the unpinned set is gone")
        assert {one.kind for one in await place.audit(kinds={"pinned", "unpinned"})} == {"pinned", "unpinned"}


def gives_up(write: Write) -> bool:
    return write.changed and write.verb == "patch" and write.resource == "persistentvolumes"


async def test_a_process_killed_in_the_middle_of_a_purge_is_followed_by_one_that_ends_it(tmp_path: Path) -> None:
    async with sandbox.start(tmp_path, time_scale=SCALE, limits=None) as box:
        fill(box, STAGING)
        fill(box, PROD)
        place = Later(box)
        configuration = configured(box, "    keep_volumes: 6s\n")
        others = bytes_of(box, PROD)
        async with served(box, configuration) as first:
            _, card = await place.asks("alice", "delete staging because it moves", "ops")
            live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
            await place.until_says(live, "Deleted staging")
            assert len(volumes(box, STAGING)) == 4
            box.kubernetes.server.writes = Tripwire(first.process, gives_up, 2)  # type: ignore[arg-type]
            assert await first.ended() == -9
        async with served(box, configuration):
            live = await place.told("Purged what was kept of staging")
            await place.until_thread(live, "*Purged*")
        assert volumes(box, STAGING) == {}
        assert bytes_of(box, PROD) == others
        assert len(await place.audit(kinds={"notice"})) == 1
        assert place.thread(live).count("taken up by") == 1


async def test_after_a_restore_from_a_set_the_old_volumes_go_and_the_new_ones_are_not_touched(tmp_path: Path) -> None:
    async with later(tmp_path) as place:
        box = place.box
        live = await place.deletes()
        before = {one["metadata"]["name"] for one in volumes(box, STAGING).values()}
        answer = await place.types("alice", f"restore staging {operation_in(words_of(live))}")
        back = await place.operation(words_of(answer), "ops")
        await place.until_says(back, "Restored staging")
        held = {one["metadata"]["name"]: one for one in box.kubernetes.store.list(VOLUMES)}
        phases = {name: one["status"]["phase"] for name, one in held.items() if name in before}
        assert sorted(phases.values()) == ["Bound", "Released", "Released", "Released"], "the cache's is bound again"
        place.passes(days=6.1)
        await place.told("Kept volumes of staging")
        place.passes(days=1.1)
        live = await place.told("Purged what was kept of staging")
        await place.until_thread(live, "*Purged*")
        left = {one["metadata"]["name"] for one in box.kubernetes.store.list(VOLUMES)}
        assert held.keys() - left == {name for name, phase in phases.items() if phase == "Released"}
        assert "staging is running" in words_of(await place.types("alice", "status staging"))
        assert {policy for _, policy, _ in policies(box, STAGING).values()} == {"Delete"}


async def exchanged(place: Later) -> Message:
    """A set, more written since, and back to it in place; its live message."""
    taken = await place.operation(words_of(await place.types("alice", "snapshot staging hot")), "ops")
    await place.until_says(taken, "Cut a snapshot set of staging")
    for claim in SAVED:
        place.box.kubernetes.volumes.write(STAGING, claim, "since", b"written since")
    command = f"restore staging {operation_in(words_of(taken))} because of bad data"
    _, card = await place.asks("alice", command, "ops")
    assert "Kept for *7d*, and then destroyed for good" in words_of(card)
    live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
    await place.until_says(live, "Restored in place staging")
    return live


async def test_what_a_restore_in_place_took_out_of_use_goes_when_its_time_is_over_and_the_cluster_runs_on(
    tmp_path: Path,
) -> None:
    async with later(tmp_path) as place:
        box = place.box
        before = {name: one["spec"]["csi"]["volumeHandle"] for name, one in by_name(box).items()}
        live = await exchanged(place)
        identity = operation_in(words_of(live))
        assert "They are kept until" in place.thread(live)
        kept = {name for name, one in by_name(box).items() if one["status"]["phase"] == "Released"}
        assert len(kept) == len(SAVED)
        now, others = mounted(box), (bytes_of(box, PROD), policies(box, PROD), versions(box, PROD))
        pods = {one["metadata"]["uid"] for one in box.kubernetes.store.list(PODS, STAGING)}
        listed = words_of(await place.types("dave", "snapshots staging"))
        assert f"*{identity}* kept volumes" in listed
        assert "(restore in place), because of bad data" in listed

        place.passes(days=6.1)
        notice = await place.told("Kept volumes of staging are about to be purged")
        assert "A restore in place took it out of use" in words_of(notice)
        assert "are kept longer" in words_of(await place.presses("bob", "keep-longer", notice))
        await place.told("Kept longer: the volumes of staging")
        place.passes(days=7.1)
        await place.told("Kept volumes of staging are about to be purged")
        assert kept < by_name(box).keys()
        place.passes(days=1.1)
        live = await place.told("Purged what was kept of staging")
        await place.until_thread(live, "*Purged*")

        assert kept.isdisjoint(by_name(box))
        assert not any((box.folder / "volumes" / before[name]).exists() for name in kept)
        assert mounted(box) == now
        assert {one["metadata"]["uid"] for one in box.kubernetes.store.list(PODS, STAGING)} == pods
        assert (bytes_of(box, PROD), policies(box, PROD), versions(box, PROD)) == others
        steps = await place.audit(kinds={"step-done"})
        assert {one.data["name"] for one in steps if one.data["action"] == "give-up"} == kept
        assert "staging is running" in words_of(await place.types("alice", "status staging"))
        assert f"*{identity}* kept volumes" not in words_of(await place.types("dave", "snapshots staging"))
        _, card = await place.asks("alice", f"restore staging {identity} because it was right before", "ops")
        live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
        await place.until_says(live, "Restored in place staging")
        folders = [box.kubernetes.volumes.folder_of(STAGING, claim) for claim in SAVED]
        assert all((folder / "since").exists() for folder in folders), "the way back needs none of them"


async def test_by_hand_what_restores_in_place_kept_goes_with_the_rest_and_the_card_says_so(tmp_path: Path) -> None:
    async with later(tmp_path) as place:
        box = place.box
        await exchanged(place)
        kept = {name for name, one in by_name(box).items() if one["status"]["phase"] == "Released"}
        plan = words_of(await place.types("dave", "plan purge staging"))
        assert "give 3 PersistentVolumes up, each with its reclaim policy of before" in plan
        _, card = await place.asks("alice", "purge staging because the disks are full", "ops")
        assert all(f"volume {name} of" in words_of(card) for name in kept)
        live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
        await place.until_says(live, "Purged what was kept of staging: the disks are full")
        assert kept.isdisjoint(by_name(box))
        assert "staging is running" in words_of(await place.types("alice", "status staging"))


def mounted(box: Sandbox) -> dict[str, dict[str, str]]:
    """What is on the volumes that the claims of staging have, of which some may be kept besides."""
    bound = (one for one in by_name(box).values() if one["status"]["phase"] == "Bound")
    return {one["spec"]["claimRef"]["name"]: files_of(box, one) for one in bound}


def by_name(box: Sandbox) -> dict[str, Object]:
    """The volumes for claims of staging; several may be for one of the same name."""
    found = box.kubernetes.store.list(VOLUMES)
    return {one["metadata"]["name"]: one for one in found if one["spec"]["claimRef"]["namespace"] == STAGING}


async def test_what_a_failed_set_left_is_listed_as_such_and_goes_once_a_newer_one_is_whole(tmp_path: Path) -> None:
    async with later(tmp_path) as place:
        box = place.box
        sql = (CLAIMS, STAGING, "sqlvol-mysql-set-0-0")
        box.kubernetes.annotate(*sql, FAULT_ANNOTATION, "snapshot-never-ready")
        answer = await place.types("alice", "snapshot staging hot")
        failed = await place.operation(words_of(answer), "ops")
        await place.until_says(failed, "FAILED to snapshot staging")
        box.kubernetes.annotate(*sql, FAULT_ANNOTATION, None)
        listed = words_of(await place.types("dave", "snapshots staging"))
        assert f"*{operation_in(words_of(answer))}* is no set: it failed, and left VolumeSnapshots behind" in listed
        refused = words_of(await place.types("alice", "purge staging because of the disks"))
        assert "there is no newer good set" in refused
        left = set(cut(box))
        assert left
        taken = await place.operation(words_of(await place.types("alice", "snapshot staging hot")), "ops")
        await place.until_says(taken, "Cut a snapshot set of staging")
        _, card = await place.asks("alice", "purge staging because of the disks", "ops")
        live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
        await place.until_says(live, "Purged what was kept of staging: of the disks")
        assert left.isdisjoint(cut(box))
        assert len(cut(box)) == len(handles(box)) == 3
        assert len(captures(box, STAGING)) == 1
