"""A context that is pointed at another Kubernetes cluster: what is kept in the one before is not taken for gone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import sandbox
from bot.__main__ import serving
from bot.settings import load_settings
from sandbox import CONTEXT, kubernetes, tml
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.resources import NAMESPACES
from sandbox.slack import Message
from storage.audit import Recorded
from tests.e2e.belongings import bytes_of, fill, policies, volumes
from tests.e2e.test_purge import TIMING, Later, configured
from tests.e2e.town import SCALE, operation_in, words_of

STAGING = tml.STAGING_NAMESPACE
ELSEWHERE = "it is in another Kubernetes cluster than this context means"


@asynccontextmanager
async def pointed_at(place: Later, api: KubernetesSandbox, more: str = "") -> AsyncIterator[None]:
    """The bot, with its context in this Kubernetes cluster."""
    settings = load_settings(configured(place.box, more), place.box.environ)
    api.kubeconfig(place.box.kubeconfig, {CONTEXT: STAGING})
    async with serving(settings, TIMING, place.clock):
        yield


async def held(place: Later, notice: Message) -> str:
    return await place.until_thread(notice, "not begun")


async def settled(place: Later) -> tuple[Recorded, ...]:
    return await place.audit(kinds={"purge-settled"})


async def test_what_is_kept_in_the_cluster_of_before_is_neither_gone_nor_restored_nor_purged_in_another_one(
    tmp_path: Path,
) -> None:
    async with (
        sandbox.start(tmp_path, time_scale=SCALE, limits=None) as box,
        kubernetes.start(time_scale=SCALE) as another,
    ):
        fill(box, STAGING)
        place = Later(box)
        async with pointed_at(place, box.kubernetes):
            live = await place.deletes()
        whole, kept = bytes_of(box, STAGING), policies(box, STAGING)
        taken = operation_in(words_of(live))
        async with pointed_at(place, another):
            refusal = f"{CONTEXT}/{STAGING} is another Kubernetes cluster than the one in which {taken} kept"
            for words in ("restore staging", f"restore staging {taken}", "status staging"):
                assert refusal in words_of(await place.types("alice", words)), words
            assert ELSEWHERE in words_of(await place.types("alice", "purge staging because of the disks"))
            place.passes(days=6.1)
            notice = await place.told("Kept volumes of staging are about to be purged")
            place.passes(days=1.1)
            assert ELSEWHERE in await held(place, notice)
        assert await settled(place) == ()
        assert (bytes_of(box, STAGING), policies(box, STAGING)) == (whole, kept)
        async with pointed_at(place, box.kubernetes):
            live = await place.told("Purged what was kept of staging")
            await place.until_thread(live, "*Purged*")
        assert volumes(box, STAGING) == {}


async def test_what_somebody_removed_in_the_cluster_itself_is_settled(tmp_path: Path) -> None:
    """The same look in the same Kubernetes cluster: there it is gone."""
    async with sandbox.start(tmp_path, time_scale=SCALE, limits=None) as box:
        fill(box, STAGING)
        place = Later(box)
        async with pointed_at(place, box.kubernetes, "    components: {nosql: {snapshot: false}}\n"):
            await place.deletes()
            for one in volumes(box, STAGING).values():
                box.kubernetes.store.delete(kubernetes.resources.VOLUMES, None, one["metadata"]["name"])
            place.passes(days=6.1)
            await place.told("Kept volumes of staging are about to be purged")
            place.passes(days=1.1)
            await place.told("Nothing to purge of staging any more")
        assert len(await settled(place)) == 1


async def test_a_set_of_another_kubernetes_cluster_is_not_let_go_for_newer_ones_here(tmp_path: Path) -> None:
    async with sandbox.start(tmp_path, time_scale=SCALE, limits=None) as box:
        place = Later(box)
        async with pointed_at(place, box.kubernetes):
            live = await place.operation(words_of(await place.types("alice", "snapshot staging hot")), "ops")
            await place.until_says(live, "Cut a snapshot set of staging")
        taken = operation_in(words_of(live))
        rebuilt(box.kubernetes)
        async with pointed_at(place, box.kubernetes, "    snapshots: {keep_last: 1}\n"):
            for _ in range(3):
                live = await place.operation(words_of(await place.types("alice", "snapshot staging hot")), "ops")
                await place.until_says(live, "Cut a snapshot set of staging")
            live = await place.told("Purged what was kept of staging")
            await place.until_thread(live, "*Purged*")
            assert taken in words_of(await place.types("dave", "snapshots staging"))
            plan = words_of(await place.types("dave", f"plan restore staging {taken}"))
            assert f"is another Kubernetes cluster than the one in which {taken} kept" in plan


def rebuilt(api: KubernetesSandbox) -> None:
    """Another cluster in which all looks the same: its kube-system is another one."""
    objects = api.store._objects[NAMESPACES]
    key = ("", "kube-system")
    objects[key] = {**objects[key], "metadata": {**objects[key]["metadata"], "uid": "another"}}
