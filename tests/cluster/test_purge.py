"""A purge that two people want, on the real storage: what was kept goes with its bytes, and nothing else does."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lifecycle.kube.read import KEPT_BY, POLICY_BEFORE
from lifecycle.model import Verb
from tests.cluster.accounts import DELETING, OPERATING, PURGING, SNAPSHOTTING
from tests.cluster.belongings import hold, is_going, let_go, objects
from tests.cluster.client import Answer, until
from tests.cluster.conftest import Measured
from tests.cluster.contents import OWN, volumes_of
from tests.cluster.ground import Ground
from tests.cluster.storage import DRIVER
from tests.cluster.test_snapshot import exchanged, folders, ordered, own_bytes, write_on
from tests.cluster.test_storage import has
from tests.cluster.town import CONTENTS, Box, Stopwatch, agreed, boxed, documented, town_of
from tests.cluster.trouble import Trouble, compacted, name_of
from tests.e2e.belongings import CAPTURE
from tests.e2e.town import Town, operation_in, words_of

Json = dict[str, Any]
Place = tuple[Town, Box]
SQL, LOG, OTHER = "sqlvol-mysql-set-0-0", "logvol-log-set-0-0", "sqlvol-mysql-set-0-1"
"""Claims: the first one's volume is held in its removal, the second's was Retain before, the third is a stranger's."""
PERSISTENT_VOLUMES = "/api/v1/persistentvolumes"

pytestmark = [pytest.mark.timeout(400)]


@pytest.fixture
async def place(ground: Ground, tmp_path: Path) -> AsyncIterator[Place]:
    """Of the sets only the newest one stays."""
    ground.own("whether the bytes are gone is seen in a storage of ours only")
    async with boxed(ground, tmp_path, documented(OPERATING, SNAPSHOTTING, DELETING, PURGING)) as box:
        await box.contents.fill()
        box.more = "    snapshots: {keep_last: 1}\n"
        async with box.serving():
            yield town_of(box), box


@dataclass(frozen=True)
class Stranger:
    """A volume that somebody else keeps, just as one of the cluster's, but for the mark of a delete."""

    name: str
    folder: Path
    object: Json

    @classmethod
    async def made(cls, box: Box, namespace: str) -> "Stranger":
        name = f"kept-{secrets.token_hex(3)}"
        folder = box.plane.volumes / name
        folder.mkdir()
        folder.joinpath(OWN).write_text(f"bytes of {name}")
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "claimRef": {"namespace": namespace, "name": OTHER, "uid": secrets.token_hex(16)},
            "csi": {"driver": DRIVER, "volumeHandle": name},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "sql-storage-class",
        }
        made = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
        await box.admin.create(PERSISTENT_VOLUMES, made)
        seen = await until(box.admin, f"{PERSISTENT_VOLUMES}/{name}", has(phase="Released"))
        return cls(name, folder, seen.body)

    async def is_untouched(self, box: Box) -> None:
        assert (await box.admin.get(f"{PERSISTENT_VOLUMES}/{self.name}")).body == self.object
        assert self.folder.joinpath(OWN).read_text() == f"bytes of {self.name}"


async def quiet(_box: Box) -> None:
    """No trouble at all."""


def in_the_middle(trouble: Trouble) -> str:
    return "" if trouble is quiet else f", {name_of(trouble)} in the middle"


def is_as_before(volume: Json, before: Json) -> bool:
    """Released, kept because that is its own policy, and with nothing of the bot's on it."""
    is_kept = (volume["spec"]["persistentVolumeReclaimPolicy"], volume["status"]["phase"]) == ("Retain", "Released")
    return is_kept and dict(volume["metadata"]["annotations"]) == before["metadata"]["annotations"]


def path_of(volume: Json) -> str:
    return f"{PERSISTENT_VOLUMES}/{volume['metadata']['name']}"


def folder_of(box: Box, volume: Json) -> Path:
    return box.plane.volumes / str(volume["spec"]["csi"]["volumeHandle"])


def is_given_up(answer: Answer) -> bool:
    """It has its policy of before and no mark, and Kubernetes removes it."""
    notes = answer.body["metadata"].get("annotations", {})
    policy = answer.body["spec"]["persistentVolumeReclaimPolicy"]
    return is_going(answer) and policy == "Delete" and not {KEPT_BY, POLICY_BEFORE} & notes.keys()


async def cut(box: Box) -> dict[str, tuple[str, Path]]:
    """By VolumeSnapshot: its content, and where its bytes are."""
    found = (await box.admin.get(CONTENTS)).body["items"]
    return {
        one["spec"]["volumeSnapshotRef"]["name"]: (
            one["metadata"]["name"],
            box.plane.snapshots / one["status"]["snapshotHandle"],
        )
        for one in found
        if one["spec"]["volumeSnapshotRef"]["namespace"] == box.namespace
    }


async def captures(box: Box) -> set[str]:
    """The operations that wrote down how the cluster was."""
    found = (await box.admin.get(box.core("secrets"))).body["items"]
    return {operation_in(name) for one in found if (name := one["metadata"]["name"]).startswith(CAPTURE)}


@pytest.mark.parametrize("trouble", [quiet, compacted], ids=name_of)
async def test_a_purge_takes_kept_volumes_and_old_sets_with_their_bytes_and_nothing_else(
    trouble: Trouble, place: Place, measured: Measured
) -> None:
    here, box = place
    strangers = [await Stranger.made(box, namespace) for namespace in (box.namespace, f"{box.namespace}-other")]
    log = (await volumes_of(box.admin, box.namespace))[LOG]
    await box.admin.patch(path_of(log), {"spec": {"persistentVolumeReclaimPolicy": "Retain"}})
    wanted, old = await own_bytes(box), await ordered(here, "snapshot staging hot", "Cut a snapshot set of staging")
    live = await agreed(here, "delete staging because it moves")
    await here.until_says(live, "Deleted staging")
    newest = operation_in(words_of(live))
    kept = await volumes_of(box.admin, box.namespace)
    there, sets = await objects(box), await cut(box)
    assert await captures(box) == {old, newest}
    await hold(box, path_of(kept[SQL]))

    watch = Stopwatch(box)
    live = await agreed(here, "purge staging because the disks are full")
    await until(box.admin, path_of(kept[SQL]), is_given_up)
    await trouble(box)
    await let_go(box, path_of(kept[SQL]))
    await here.until_says(live, "Purged what was kept of staging: the disks are full")
    measured(watch.row(f"purge, three volumes and a set{in_the_middle(trouble)}", Verb.PURGE))

    left = await volumes_of(box.admin, box.namespace)
    assert left.keys() == {LOG, OTHER}, "what was Retain before is left in the storage"
    assert is_as_before(left[LOG], log)
    assert folder_of(box, left[LOG]).joinpath(OWN).read_bytes() == wanted[LOG]
    assert not any(folder_of(box, one).exists() for claim, one in kept.items() if claim not in left)
    assert await cut(box) == {name: one for name, one in sets.items() if newest in name}
    assert {name for name, (_, folder) in sets.items() if folder.exists()} == (await cut(box)).keys()
    assert await captures(box) == {newest}
    assert await objects(box) == there
    for one in strangers:
        await one.is_untouched(box)
    assert trouble is not quiet or box.refused() == []
    await ordered(here, f"restore staging {newest}", "Restored staging")
    await box.ready()
    assert await own_bytes(box) == wanted, "and what stays is enough"


async def test_a_purge_takes_the_volumes_that_a_restore_in_place_took_out_of_use_and_the_cluster_runs_on(
    place: Place, measured: Measured
) -> None:
    here, box = place
    stranger = await Stranger.made(box, box.namespace)
    wanted, taken = await own_bytes(box), await ordered(here, "snapshot staging cold", "Cut a snapshot set of staging")
    before, since = await folders(box), await write_on(box)
    live = await exchanged(here, taken)
    await here.until_says(live, "Restored in place staging")
    await box.ready()
    pods, now = await box.identities("pods"), await folders(box)

    watch = Stopwatch(box)
    live = await agreed(here, "purge staging because the disks are full")
    await here.until_says(live, "Purged what was kept of staging: the disks are full")
    measured(watch.row("purge after a restore in place, three volumes and a set", Verb.PURGE))

    assert not any(before[claim].exists() for claim in since)
    assert (await folders(box), await own_bytes(box), await box.identities("pods")) == (now, wanted, pods)
    await stranger.is_untouched(box)
    assert box.refused() == []
    (newest,) = {operation_in(name) for name in await cut(box)}
    live = await exchanged(here, newest)
    await here.until_says(live, "Restored in place staging")
    assert await own_bytes(box) == since, "the set for safety needs none of them"
