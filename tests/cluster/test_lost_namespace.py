"""A namespace that was deleted on the real control plane: the cluster comes back in a new one, from its set."""

from pathlib import Path
from typing import Any

import pytest

from lifecycle.model import Verb
from tests.cluster.accounts import (
    COPYING,
    DELETING,
    OPERATING,
    PURGING,
    SNAPSHOTTING,
    account,
    copies_of,
    grant_documented,
    make_namespace,
)
from tests.cluster.client import Client, until
from tests.cluster.conftest import Measured
from tests.cluster.contents import volumes_of
from tests.cluster.ground import Ground
from tests.cluster.test_purge import cut
from tests.cluster.test_snapshot import SAVED, ordered, own_bytes
from tests.cluster.town import CONTENTS, Box, Stopwatch, agreed, boxed, town_of
from tests.e2e.town import words_of

Json = dict[str, Any]
PULL_SECRET = "tmgc-registry-key"

pytestmark = [pytest.mark.timeout(400)]


async def granted(admin: Client, namespace: str) -> list[str]:
    """Rights to copies too, and the namespace that they are for."""
    copies = copies_of(namespace)
    await make_namespace(admin, copies)
    files = (OPERATING, SNAPSHOTTING, DELETING, PURGING, COPYING)
    return [f"/api/v1/namespaces/{copies}", *await grant_documented(admin, namespace, *files)]


async def lose(box: Box) -> Json:
    """Somebody deletes the namespace, and with it the bot's own account; the pull secret."""
    key = (await box.admin.get(f"{box.core('secrets')}/{PULL_SECRET}")).body
    space = f"/api/v1/namespaces/{box.namespace}"
    await box.admin.delete(space)
    await until(box.admin, space, lambda answer: answer.status == 404)
    return {**key, "metadata": {"name": PULL_SECRET}}


async def make_again(box: Box, key: Json) -> None:
    """What is theirs to bring back: the namespace, the pull secret, the bot's account with its rights."""
    await make_namespace(box.admin, box.namespace)
    await box.admin.create(box.core("secrets"), key)
    box.bot = await account(box.admin, box.namespace)
    await granted(box.admin, box.namespace)


async def contents(box: Box) -> dict[str, Json]:
    """The specifications of those that name a snapshot of the namespace, by name."""
    found = (await box.admin.get(CONTENTS)).body["items"]
    ours = (one for one in found if one["spec"]["volumeSnapshotRef"]["namespace"] == box.namespace)
    return {one["metadata"]["name"]: one["spec"] for one in ours}


async def test_a_running_cluster_comes_back_from_its_set_and_the_set_goes_with_its_bytes_when_it_is_old(
    ground: Ground, tmp_path: Path, measured: Measured
) -> None:
    ground.own("whether somebody's storage cuts snapshots, and what is in them, is not known")
    async with boxed(ground, tmp_path, granted) as box:
        box.more = f"    captures: {{copy_to: {copies_of(box.namespace)}}}\n    snapshots: {{keep_last: 1}}\n"
        await box.contents.fill()
        wanted, here = await own_bytes(box), town_of(box)
        async with box.serving():
            identity = await ordered(here, "snapshot staging cold", "Cut a snapshot set of staging")
        key = await lose(box)
        assert not await volumes_of(box.admin, box.namespace), "their policy was Delete"
        old = await contents(box)
        assert len(old) == len(SAVED)
        await make_again(box, key)
        async with box.serving():
            plan = words_of(await here.types("bob", f"plan restore staging {identity}"))
            assert f"namespace {box.namespace} is a new one" in plan
            watch = Stopwatch(box)
            await ordered(here, f"restore staging {identity} because somebody deleted it", "Restored staging")
            measured(watch.row("restore from a set, namespace deleted, six components", Verb.RESTORE, 5))
            await box.ready()
            assert await own_bytes(box) == wanted
            now = await contents(box)
            assert {name: spec for name, spec in now.items() if name in old} == old, "what is left is not edited"
            assert len(now) == 2 * len(old)
            handles = {folder for _, folder in (await cut(box)).values()}
            assert all(folder.is_dir() for folder in handles)

            newest = await ordered(here, "snapshot staging hot", "Cut a snapshot set of staging")
            live = await agreed(here, "purge staging because the disks are full")
            await here.until_says(live, "Purged what was kept of staging: the disks are full")
            left = await cut(box)
            assert set(left) == {f"tml-{newest}-{claim}" for claim in SAVED}
            assert not any(folder.exists() for folder in handles)
            assert all(folder.is_dir() for _, folder in left.values())
            assert await own_bytes(box) == wanted
        assert box.refused() == []
