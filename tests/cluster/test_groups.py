"""Hot sets as one volume group on the real snapshotter, with commands around the cut: restored, tested, removed."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lifecycle.model import Verb
from tests.cluster.accounts import CHECKING, DELETING, GROUPING, OPERATING, PURGING, SNAPSHOTTING, VERIFYING
from tests.cluster.client import until
from tests.cluster.conftest import Measured
from tests.cluster.contents import OWN
from tests.cluster.ground import Ground
from tests.cluster.test_snapshot import SAVED, exchanged, folders, ordered, own_bytes, write_on
from tests.cluster.town import CONTENTS, GROUP_CONTENTS, Box, Stopwatch, agreed, boxed, documented, town_of
from tests.cluster.trouble import LOSSES, Trouble, name_of
from tests.e2e.town import Town, operation_in, words_of

Json = dict[str, Any]
Place = tuple[Town, Box]
SQL = "sqlvol-mysql-set-0-0"
HELD, FREE = "held", "free"
"""What the commands leave on sql's volume."""
EVERY = (OPERATING, SNAPSHOTTING, GROUPING, CHECKING, VERIFYING, DELETING, PURGING)

pytestmark = [pytest.mark.timeout(400)]


def leaving(file: str) -> list[str]:
    return ["sh", "-c", f"echo x > /var/lib/mysql/{file}"]


COMMANDS = {"component": "sql", "before": leaving(HELD), "after": leaving(FREE)}


@pytest.fixture
async def place(ground: Ground, tmp_path: Path) -> AsyncIterator[Place]:
    """Of the sets only the newest one stays."""
    ground.own("whether somebody's storage cuts volume groups, and what is in them, is not known")
    async with boxed(ground, tmp_path, documented(*EVERY)) as box:
        await box.contents.fill()
        box.more = f"    snapshots: {{keep_last: 1}}\n    hot_commands: {json.dumps(COMMANDS)}\n"
        async with box.serving():
            yield town_of(box), box


async def groups(box: Box) -> list[str]:
    path = f"/apis/groupsnapshot.storage.k8s.io/v1/namespaces/{box.namespace}/volumegroupsnapshots"
    return [one["metadata"]["name"] for one in (await box.admin.get(path)).body["items"]]


async def members(box: Box) -> dict[str, dict[str, Path]]:
    """By group and claim: where the bytes of each member lie. Each content is Retain."""
    found: dict[str, dict[str, Path]] = {}
    for one in (await box.admin.get(box.snapshots)).body["items"]:
        content = (await box.admin.get(f"{CONTENTS}/{one['status']['boundVolumeSnapshotContentName']}")).body
        assert content["spec"]["deletionPolicy"] == "Retain"
        group = found.setdefault(one["status"]["volumeGroupSnapshotName"], {})
        claim = one["spec"]["source"]["persistentVolumeClaimName"]
        group[claim] = box.plane.snapshots / content["status"]["snapshotHandle"]
    return found


async def is_whole(box: Box, identity: str, wanted: dict[str, bytes]) -> None:
    """The group's only set: its members hold these bytes, and its own content outlives the namespace."""
    cut = (await members(box))[f"tml-{identity}"]
    assert {claim: (folder / OWN).read_bytes() for claim, folder in cut.items()} == wanted
    contents = (await box.admin.get(GROUP_CONTENTS)).body["items"]
    own = [one for one in contents if one["spec"]["volumeGroupSnapshotRef"]["namespace"] == box.namespace]
    kept = {one["spec"]["volumeGroupSnapshotRef"]["name"]: one["spec"]["deletionPolicy"] for one in own}
    assert kept[f"tml-{identity}"] == "Retain"


async def test_a_group_is_cut_between_the_commands_tested_restored_from_and_removed_with_its_bytes(
    place: Place, measured: Measured
) -> None:
    here, box = place
    wanted, watch = await own_bytes(box), Stopwatch(box)
    live = await here.operation(words_of(await here.types("bob", "snapshot staging hot")), "ops")
    await here.until_says(live, "Cut a snapshot set of staging")
    measured(watch.row("snapshot, hot, as one group of three volumes, with commands", Verb.SNAPSHOT, 3))
    old = operation_in(words_of(live))
    thread = here.thread(live)
    assert "hot as one group" in thread
    assert "quiesced: the command before succeeded" in thread
    await is_whole(box, old, wanted)
    cut = (await members(box))[f"tml-{old}"]
    assert cut.keys() == SAVED
    assert {HELD, FREE} & {path.name for path in cut[SQL].iterdir()} == {HELD}
    assert (await folders(box))[SQL].joinpath(FREE).exists()

    tested = await here.operation(words_of(await here.types("bob", "verify staging")), "ops")
    assert "can be restored" in await here.until_thread(tested, "was touched")
    await write_on(box)
    await here.until_says(await exchanged(here, old), "Restored in place staging")
    await box.ready()
    assert await own_bytes(box) == wanted

    new = await ordered(here, "snapshot staging hot", "Cut a snapshot set of staging")
    watch = Stopwatch(box)
    await here.until_says(await agreed(here, "purge staging because the disks are full"), "Purged what was kept")
    measured(watch.row("purge of a volume group", Verb.PURGE))
    assert await groups(box) == [f"tml-{new}"]
    assert not any(folder.exists() for folder in cut.values())
    await is_whole(box, new, wanted)
    assert box.refused() == []


@pytest.mark.parametrize("trouble", LOSSES, ids=name_of)
async def test_trouble_in_the_middle_of_a_group_cut_leaves_a_whole_group_and_nothing_held(
    trouble: Trouble, place: Place, measured: Measured
) -> None:
    here, box = place
    wanted, watch = await own_bytes(box), Stopwatch(box)
    path = f"/apis/groupsnapshot.storage.k8s.io/v1/namespaces/{box.namespace}/volumegroupsnapshots"
    live = await here.operation(words_of(await here.types("bob", "snapshot staging hot")), "ops")
    await until(box.admin, path, lambda answer: bool(answer.body.get("items")))
    await trouble(box)
    await here.until_says(live, "Cut a snapshot set of staging")
    measured(watch.row(f"snapshot, hot, as one group, {name_of(trouble)} in the middle", Verb.SNAPSHOT, 3))
    await is_whole(box, operation_in(words_of(live)), wanted)
    assert (await folders(box))[SQL].joinpath(FREE).exists()
    assert len(await groups(box)) == 1
