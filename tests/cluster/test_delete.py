"""Delete and restore from Slack on a real Kubernetes: asked by one, approved by another, and the same bytes back."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lifecycle.model import Verb
from sandbox.slack import Message
from tests.cluster.accounts import OPERATING
from tests.cluster.belongings import Before, hold, is_going, is_there, let_go, secret
from tests.cluster.client import until
from tests.cluster.conftest import Measured
from tests.cluster.contents import volumes_of
from tests.cluster.ground import Ground
from tests.cluster.town import Box, Stopwatch, agreed, boxed, documented, town, town_of
from tests.cluster.trouble import TROUBLE, Trouble, allowed, name_of
from tests.e2e.town import Town, words_of

Json = dict[str, Any]
Place = tuple[Town, Box]

pytestmark = [pytest.mark.timeout(400)]

DELETE = "delete staging because it moves"
ADDRESSES = {"tm-svc": "192.0.2.7", "cm-svc-0": "192.0.2.8"}
"""What a load balancer gave these Services."""


@pytest.fixture
async def place(ground: Ground, tmp_path: Path) -> AsyncIterator[Place]:
    async with town(ground, tmp_path) as made:
        await made[1].contents.fill()
        yield made


async def ordered_back(here: Town) -> Message:
    return await here.operation(words_of(await here.types("bob", "restore staging")), "ops")


async def test_a_delete_asked_by_one_and_approved_by_another_keeps_every_byte_and_a_restore_brings_all_back(
    place: Place, measured: Measured
) -> None:
    here, box = place
    before = await Before.of(box)
    assert before.policies, "there is something to lose"
    _, card = await here.asks("bob", "delete staging because it moves", "ops")
    assert "You asked for" in words_of(await here.presses("bob", "approve", card))
    assert (await Before.of(box)).policies == before.policies, "what waits for a yes changes nothing"
    watch = Stopwatch(box)
    live = await here.operation(await here.says_yes("carol", card, "staging"), "ops")
    await here.until_says(live, "Deleted staging: it moves")
    measured(watch.row("delete, six components and four volumes", Verb.DELETE))
    await before.is_kept(box)
    watch = Stopwatch(box)
    back = await ordered_back(here)
    await here.until_says(back, "Restored staging")
    measured(watch.row("restore, six components and four volumes", Verb.RESTORE))
    await before.is_back(box)
    assert [entry.data["state"] for entry in await here.audit(kinds={"finished"})] == ["done", "done"]


async def test_no_claim_goes_before_its_volume_was_seen_kept_and_nothing_is_asked_that_is_not_granted(
    ground: Ground, tmp_path: Path
) -> None:
    ground.own("what the API server was asked is in its audit log")
    async with town(ground, tmp_path) as (here, box):
        claims = {claim: one["metadata"]["name"] for claim, one in (await volumes_of(box.admin, box.namespace)).items()}
        await here.until_says(await agreed(here, DELETE), "Deleted staging")
        deleting = [asked(one) for one in box.requests() if one["responseStatus"]["code"] < 300]
        await here.until_says(await ordered_back(here), "Restored staging")
        for claim, volume in claims.items():
            kept, gone = (
                deleting.index(what)
                for what in (f"patch persistentvolumes {volume}", f"delete persistentvolumeclaims {claim}")
            )
            assert f"get persistentvolumes {volume}" in deleting[kept:gone], f"{volume} was not looked at again"
            removals = [number for number, what in enumerate(deleting) if what.startswith("delete ")]
            assert kept < min(removals), "nothing at all is removed before"
        for name in ("cass-set-0", "log-set-0", "mysql-set-0", "cache-set-0"):
            to_zero = f"patch statefulsets {name}"
            assert to_zero in deleting[: deleting.index(f"delete statefulsets {name}")]
        assert box.refused() == []
        kinds = {tuple(asked(one).split()[:2]) for one in box.requests()}
        assert {kind for verb, kind in kinds if verb == "patch"} == {
            "statefulsets",
            "deployments",
            "persistentvolumeclaims",
            "persistentvolumes",
            "volumesnapshotcontents",
        }
        assert not {verb for verb, kind in kinds if kind == "persistentvolumes"} - {"get", "list", "watch", "patch"}


def asked(entry: Json) -> str:
    about = entry["objectRef"]
    return f"{entry['verb']} {about['resource']} {about.get('name', '')}"


async def test_without_the_rights_for_it_a_delete_is_refused_before_anybody_is_asked(
    ground: Ground, tmp_path: Path
) -> None:
    async with town(ground, tmp_path, documented(OPERATING)) as (here, box):
        answer = words_of(await here.types("alice", "delete staging because it moves"))
        assert "patch persistentvolumes" in answer
        assert "delete persistentvolumeclaims" in answer
        assert here.posted("ops") == []
        assert 0 not in (await box.replicas()).values()


async def test_addresses_that_are_to_be_kept_stay_with_their_services(ground: Ground, tmp_path: Path) -> None:
    ground.own("addresses are given by its own load balancer")
    async with town(ground, tmp_path) as (here, box):
        for name, address in ADDRESSES.items():
            status = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
            await box.admin.patch(f"{box.core('services')}/{name}/status", status)
        before, services = await Before.of(box), await addresses(box)
        live = await agreed(here, "delete staging --keep-services because it moves")
        await here.until_says(live, "Deleted staging")
        await before.is_kept(box, *(f"Service/{name}" for name in ADDRESSES))
        assert await addresses(box) == services
        await here.until_says(await ordered_back(here), "Restored staging")
        await before.is_back(box)
        assert await addresses(box) == services


async def addresses(box: Box) -> dict[str, Json]:
    """Identity and all addresses of the Services that are to stay."""
    found = [(await box.admin.get(f"{box.core('services')}/{name}")).body for name in ADDRESSES]
    return {
        one["metadata"]["name"]: {
            "uid": one["metadata"]["uid"],
            "inside": one["spec"]["clusterIPs"],
            "ports": [port["nodePort"] for port in one["spec"]["ports"]],
            "outside": one["status"]["loadBalancer"]["ingress"],
        }
        for one in found
    }


@pytest.mark.parametrize("trouble", TROUBLE, ids=name_of)
async def test_trouble_in_the_middle_of_a_delete_and_of_a_restore_loses_nothing(
    trouble: Trouble, ground: Ground, tmp_path: Path, measured: Measured
) -> None:
    allowed(trouble, ground)
    async with town(ground, tmp_path) as (here, box):
        await box.contents.fill()
        before = await Before.of(box)
        await hold(box, secret(box))
        watch = Stopwatch(box)
        live = await agreed(here, DELETE)
        await until(box.admin, secret(box), is_going)
        await trouble(box)
        await let_go(box, secret(box))
        await here.until_says(live, "Deleted staging")
        measured(watch.row(f"delete, {name_of(trouble)} in the middle", Verb.DELETE))
        await before.is_kept(box)
        watch = Stopwatch(box)
        back = await ordered_back(here)
        await until(box.admin, box.apps("statefulsets", "cass-set-0"), is_there)
        await trouble(box)
        await here.until_says(back, "Restored staging")
        measured(watch.row(f"restore, {name_of(trouble)} in the middle", Verb.RESTORE))
        await before.is_back(box)


async def test_a_bot_that_ends_in_the_middle_is_followed_by_one_that_finishes_with_every_byte(
    ground: Ground, tmp_path: Path
) -> None:
    async with boxed(ground, tmp_path) as box:
        here = town_of(box)
        await box.contents.fill()
        before = await Before.of(box)
        await hold(box, secret(box))
        async with box.serving():
            live = await agreed(here, DELETE)
            await until(box.admin, secret(box), is_going)
        await let_go(box, secret(box))
        async with box.serving():
            await here.until_says(live, "Deleted staging")
            await before.is_kept(box)
            back = await ordered_back(here)
            await until(box.admin, box.apps("statefulsets", "cass-set-0"), is_there)
        async with box.serving():
            await here.until_says(back, "Restored staging")
            await before.is_back(box)
        assert [entry.data["state"] for entry in await here.audit(kinds={"finished"})] == ["done", "done"]
