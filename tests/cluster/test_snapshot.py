"""Snapshot sets on the real snapshotter and provisioner: cut, kept, and restored with the same bytes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lifecycle.model import Verb
from sandbox.kubernetes.controllers.shell import FLUSHES
from sandbox.slack import Message
from tests.cluster.accounts import DELETING, EXECUTING, OPERATING, SNAPSHOTTING
from tests.cluster.client import until
from tests.cluster.conftest import Measured
from tests.cluster.contents import OWN
from tests.cluster.ground import Ground
from tests.cluster.town import CONTENTS, Box, Stopwatch, agreed, documented, town
from tests.cluster.trouble import LOSSES, Trouble, name_of
from tests.e2e.town import Town, operation_in, words_of

Json = dict[str, Any]
Place = tuple[Town, Box]
SAVED = {"nosqlvol-cass-set-0-0", "sqlvol-mysql-set-0-0", "logvol-log-set-0-0"}
"""What a set has: the cache is left out."""
SLOW, UPLOAD = ".slow-snapshots", "3"
"""The file in a volume that makes its snapshots ready only so many seconds after they were cut."""

pytestmark = [pytest.mark.timeout(400)]


@pytest.fixture
async def place(ground: Ground, tmp_path: Path) -> AsyncIterator[Place]:
    ground.own("whether somebody's storage cuts snapshots, and what is in them, is not known")
    async with town(ground, tmp_path, documented(OPERATING, SNAPSHOTTING, DELETING, EXECUTING)) as made:
        await made[1].contents.fill()
        yield made


async def ordered(here: Town, words: str, says: str) -> str:
    """The operation's id, once it has ended so."""
    live = await here.operation(words_of(await here.types("bob", words)), "ops")
    await here.until_says(live, says)
    return operation_in(words_of(live))


async def exchanged(here: Town, identity: str) -> Message:
    """A restore in place that two people want."""
    return await agreed(here, f"restore staging {identity} because of bad data")


async def folders(box: Box) -> dict[str, Path]:
    """Where the bytes of each claim lie that is bound now."""
    volumes = (await box.admin.get("/api/v1/persistentvolumes")).body["items"]
    handles = {one["metadata"]["name"]: one["spec"]["csi"]["volumeHandle"] for one in volumes}
    claims = (await box.admin.get(box.core("persistentvolumeclaims"))).body["items"]
    return {
        one["metadata"]["name"]: box.plane.volumes / handles[one["spec"]["volumeName"]]
        for one in claims
        if one["spec"].get("volumeName")
    }


async def own_bytes(box: Box) -> dict[str, bytes]:
    """What the test wrote into each volume that a set has."""
    return {claim: (folder / OWN).read_bytes() for claim, folder in (await folders(box)).items() if claim in SAVED}


async def write_on(box: Box) -> dict[str, bytes]:
    """Other bytes than before."""
    for folder in (await folders(box)).values():
        (folder / OWN).write_bytes((folder / OWN).read_bytes() + b" and more")
    return await own_bytes(box)


async def members(box: Box, identity: str) -> dict[str, Path]:
    """By claim where the bytes of the set lie; every one of it is ready, and kept whatever its class says."""
    found = (await box.admin.get(box.snapshots)).body["items"]
    seen = {}
    for one in [one for one in found if one["metadata"]["labels"]["tml-bot/set"] == identity]:
        assert one["status"]["readyToUse"] is True
        name = one["status"]["boundVolumeSnapshotContentName"]
        content = (await box.admin.get(f"{CONTENTS}/{name}")).body
        assert content["spec"]["deletionPolicy"] == "Retain"
        folder = box.plane.volumes.parent / "snapshots" / content["status"]["snapshotHandle"]
        seen[one["spec"]["source"]["persistentVolumeClaimName"]] = folder
    return seen


async def is_whole(box: Box, identity: str, wanted: dict[str, bytes]) -> None:
    """It holds these bytes."""
    assert {claim: (folder / OWN).read_bytes() for claim, folder in (await members(box, identity)).items()} == wanted


async def flushes(box: Box, identity: str) -> list[str]:
    """What the pods of nosql wrote onto its volume when they were flushed, as the set has it: a line each time."""
    file = (await members(box, identity))["nosqlvol-cass-set-0-0"] / FLUSHES
    return file.read_text().splitlines() if file.exists() else []


async def test_a_cold_and_a_hot_set_hold_what_was_there_and_outlive_their_class(
    place: Place, measured: Measured
) -> None:
    here, box = place
    wanted = await own_bytes(box)
    watch = Stopwatch(box)
    hot = await ordered(here, "snapshot staging hot", "Cut a snapshot set of staging")
    measured(watch.row("snapshot, hot, three volumes", Verb.SNAPSHOT, 3))
    await is_whole(box, hot, wanted)
    watch = Stopwatch(box)
    cold = await ordered(here, "snapshot staging cold", "Cut a snapshot set of staging")
    measured(watch.row("snapshot, cold, three volumes", Verb.SNAPSHOT))
    await is_whole(box, cold, wanted)
    assert await flushes(box, hot) == []
    (line,) = await flushes(box, cold)
    assert line.startswith("cass-set-0-0 "), "nosql was flushed before it was cut"
    assert line.endswith(" beside nobody"), "and after everything that needs it was gone"
    nosql = (await box.admin.get(box.apps("statefulsets", "cass-set-0"))).body
    assert nosql["metadata"]["annotations"]["tml-bot/flushed"] == f"{cold} flushed"
    listed = words_of(await here.types("bob", "snapshots staging"))
    assert "cold, clean, flushed · " in listed
    await box.ready()


async def test_a_stop_cuts_a_set_while_everything_is_down(place: Place, measured: Measured) -> None:
    here, box = place
    wanted, watch = await own_bytes(box), Stopwatch(box)
    taken = await ordered(here, "stop staging --snapshot", "Stopped staging")
    measured(watch.row("stop --snapshot, six components, three volumes", Verb.STOP, 4))
    await is_whole(box, taken, wanted)
    assert set((await box.replicas()).values()) == {0}
    await ordered(here, "start staging", "Started staging")
    await box.ready()
    assert await own_bytes(box) == wanted


async def test_in_place_and_back_with_the_same_bytes_each_time(place: Place, measured: Measured) -> None:
    here, box = place
    wanted = await own_bytes(box)
    identity = await ordered(here, "snapshot staging cold", "Cut a snapshot set of staging")
    since = await write_on(box)
    watch = Stopwatch(box)
    live = await exchanged(here, identity)
    await here.until_says(live, "Restored in place staging")
    measured(watch.row("restore in place, three volumes", Verb.RESTORE_IN_PLACE))
    await box.ready()
    assert await own_bytes(box) == wanted
    safety = operation_in(words_of(live))
    await is_whole(box, safety, since)
    back = await exchanged(here, safety)
    await here.until_says(back, "Restored in place staging")
    assert await own_bytes(box) == since


async def test_a_deleted_cluster_comes_back_at_the_set(place: Place, measured: Measured) -> None:
    here, box = place
    wanted = await own_bytes(box)
    identity = await ordered(here, "snapshot staging cold", "Cut a snapshot set of staging")
    await write_on(box)
    await here.until_says(await agreed(here, "delete staging because it moves"), "Deleted staging")
    watch = Stopwatch(box)
    await ordered(here, f"restore staging {identity}", "Restored staging")
    measured(watch.row("restore from a set, six components", Verb.RESTORE))
    await box.ready()
    assert await own_bytes(box) == wanted


@pytest.mark.parametrize("trouble", LOSSES, ids=name_of)
async def test_trouble_in_the_middle_of_a_cold_snapshot_and_of_a_restore_from_it_loses_nothing(
    trouble: Trouble, place: Place, measured: Measured
) -> None:
    here, box = place
    wanted, counts, claims = await own_bytes(box), await box.replicas(), await box.identities("persistentvolumeclaims")
    (await folders(box))["sqlvol-mysql-set-0-0"].joinpath(SLOW).write_text(UPLOAD)
    watch = Stopwatch(box)
    live = await here.operation(words_of(await here.types("bob", "snapshot staging cold")), "ops")
    await until(box.admin, box.snapshots, lambda answer: bool(answer.body.get("items")))
    await trouble(box)
    await here.until_says(live, "Cut a snapshot set of staging")
    measured(watch.row(f"snapshot, cold, {name_of(trouble)} in the middle", Verb.SNAPSHOT))
    identity = operation_in(words_of(live))
    await is_whole(box, identity, wanted)
    await box.ready()
    assert await box.replicas() == counts
    assert await box.identities("persistentvolumeclaims") == claims
    (await folders(box))["sqlvol-mysql-set-0-0"].joinpath(SLOW).unlink()
    await write_on(box)
    await here.until_says(await agreed(here, "delete staging because it moves"), "Deleted staging")
    watch = Stopwatch(box)
    live = await here.operation(words_of(await here.types("bob", f"restore staging {identity}")), "ops")
    await until(box.admin, box.core("persistentvolumeclaims"), lambda answer: bool(answer.body.get("items")))
    await trouble(box)
    await here.until_says(live, "Restored staging")
    measured(watch.row(f"restore from a set, {name_of(trouble)} in the middle", Verb.RESTORE))
    await box.ready()
    assert await box.replicas() == counts
    assert await own_bytes(box) == wanted
    await is_whole(box, identity, wanted)


@pytest.mark.parametrize("trouble", LOSSES, ids=name_of)
async def test_trouble_while_claims_are_exchanged_loses_nothing(
    trouble: Trouble, place: Place, measured: Measured
) -> None:
    here, box = place
    wanted = await own_bytes(box)
    identity = await ordered(here, "snapshot staging cold", "Cut a snapshot set of staging")
    await write_on(box)
    watch = Stopwatch(box)
    live = await exchanged(here, identity)
    await until(box.admin, box.snapshots, lambda answer: len(answer.body.get("items") or []) > len(SAVED))
    await trouble(box)
    await here.until_says(live, "Restored in place staging")
    measured(watch.row(f"restore in place, {name_of(trouble)} in the middle", Verb.RESTORE_IN_PLACE))
    await box.ready()
    assert await own_bytes(box) == wanted
