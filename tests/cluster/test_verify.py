"""Restore tests on the real scheduler, snapshotter and provisioner: nothing is left, nothing else is touched."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lifecycle.model import Verb
from sandbox.slack import Message
from tests.cluster.accounts import OPERATING, SNAPSHOTTING, VERIFYING
from tests.cluster.belongings import hold, let_go
from tests.cluster.client import Answer, until
from tests.cluster.conftest import Measured
from tests.cluster.contents import OWN, volumes_of
from tests.cluster.ground import Ground
from tests.cluster.test_snapshot import folders, ordered
from tests.cluster.town import Box, Stopwatch, documented, town
from tests.cluster.trouble import LOSSES, Trouble, name_of
from tests.e2e.town import Town, words_of

Json = dict[str, Any]
Place = tuple[Town, Box]
SCRATCH = "tml-op-"
KINDS = ("pods", "persistentvolumeclaims", "secrets", "services")

pytestmark = [pytest.mark.timeout(300)]


@pytest.fixture
async def place(ground: Ground, tmp_path: Path) -> AsyncIterator[Place]:
    ground.own("whether somebody's storage cuts snapshots, and what is in them, is not known")
    async with town(ground, tmp_path, documented(OPERATING, SNAPSHOTTING, VERIFYING)) as made:
        await made[1].contents.fill()
        yield made


async def everything(box: Box) -> dict[str, Json]:
    """Byte for byte, the volumes too; those of other tests go meanwhile."""
    paths = [*map(box.core, KINDS), box.apps("statefulsets"), box.apps("deployments")]
    found = [one for path in paths for one in (await box.admin.get(path)).body["items"]]
    found += (await volumes_of(box.admin, box.namespace)).values()
    return {one["metadata"]["uid"]: one for one in found}


async def verifying(here: Town) -> Message:
    return await here.operation(words_of(await here.types("bob", "verify staging")), "ops")


async def verified(here: Town) -> str:
    return await here.until_thread(await verifying(here), "was touched")


def is_looked_at(answer: Answer) -> bool:
    """A pod of a check, or the claim of a clone, is there."""
    return bool(scratch(answer))


def scratch(answer: Answer) -> list[str]:
    """The names of the test's own of what was listed."""
    names = [one["metadata"]["name"] for one in answer.body.get("items") or []]
    return [name for name in names if name.startswith(SCRATCH)]


async def test_a_good_set_passes_and_leaves_everything_as_it_was(place: Place, measured: Measured) -> None:
    here, box = place
    taken = await ordered(here, "snapshot staging hot", "Cut a snapshot set of staging")
    before, disk = await everything(box), {one.name for one in box.plane.volumes.iterdir()}
    watch = Stopwatch(box)
    thread = await verified(here)
    measured(watch.row("verify, three volumes", Verb.VERIFY))
    assert f"snapshot set {taken} can be restored" in thread
    assert await everything(box) == before
    assert {one.name for one in box.plane.volumes.iterdir()} <= disk
    assert box.refused() == []


@pytest.mark.parametrize("trouble", LOSSES, ids=name_of)
async def test_trouble_in_the_middle_of_a_test_leaves_nothing_behind(
    trouble: Trouble, place: Place, measured: Measured
) -> None:
    here, box = place
    taken = await ordered(here, "snapshot staging hot", "Cut a snapshot set of staging")
    before, disk = await everything(box), {one.name for one in box.plane.volumes.iterdir()}
    watch = Stopwatch(box)
    live = await verifying(here)
    claims = box.core("persistentvolumeclaims")
    clone = f"{claims}/{scratch(await until(box.admin, claims, is_looked_at))[0]}"
    await hold(box, clone)
    await until(box.admin, box.core("pods"), is_looked_at)
    await trouble(box)
    await let_go(box, clone)
    thread = await here.until_thread(live, "was touched")
    measured(watch.row(f"verify, {name_of(trouble)} in the middle", Verb.VERIFY))
    assert f"snapshot set {taken} can be restored" in thread
    assert await everything(box) == before
    assert {one.name for one in box.plane.volumes.iterdir()} <= disk


async def test_a_set_without_the_databases_files_is_bad(place: Place) -> None:
    here, box = place
    folder = (await folders(box))["sqlvol-mysql-set-0-0"]
    for name in ("ibdata1", "mysql"):
        (folder / name).rename(folder.parent.parent / f"{box.namespace}-{name}")
    assert (folder / OWN).exists()
    taken = await ordered(here, "snapshot staging hot", "Cut a snapshot set of staging")
    before = await everything(box)
    thread = await verified(here)
    assert f"Snapshot set {taken} is bad" in thread
    assert "sqlvol-mysql-set-0-0 failed (exit 1)" in thread
    assert await everything(box) == before
