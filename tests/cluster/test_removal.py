"""A stop that removes and the start after it, on a real Kubernetes: claims stay untouched, all else comes back."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lifecycle.decide.remove import SHARED
from lifecycle.model import Verb
from tests.cluster.accounts import OPERATING, REMOVING
from tests.cluster.belongings import Before, hold, is_going, is_there, let_go, objects, policies, secret
from tests.cluster.client import until
from tests.cluster.conftest import Measured
from tests.cluster.ground import Ground
from tests.cluster.town import Box, Stopwatch, documented, done, town
from tests.cluster.trouble import LOSSES, Trouble, allowed, name_of
from tests.e2e.town import Town, words_of

Json = dict[str, Any]
Place = tuple[Town, Box]
REMOVE = "stop staging --remove because the night begins"
READING = ("get", "list", "watch")
WRITTEN = {"statefulsets", "deployments", "services", "secrets", "leases", "selfsubjectaccessreviews"}
"""The kinds that the bot writes to, the last without a change; claims and volumes are none of them."""

pytestmark = [pytest.mark.timeout(400)]


@pytest.fixture
async def place(ground: Ground, tmp_path: Path) -> AsyncIterator[Place]:
    async with town(ground, tmp_path, documented(OPERATING, REMOVING)) as made:
        await made[1].contents.fill()
        yield made


async def claims(box: Box) -> dict[str, Json]:
    """To the last field, so those that are the same later stayed Bound all the time."""
    found = (await box.admin.get(box.core("persistentvolumeclaims"))).body["items"]
    return {f"PersistentVolumeClaim/{one['metadata']['name']}": one for one in found}


async def only_what_stays_is_there(box: Box, before: Before, held: dict[str, Json]) -> None:
    """The claims, what all components share, and what never was the cluster's."""
    assert set(await objects(box)) == before.not_its_own(box) | held.keys() | {f"Secret/{name}" for name in SHARED}
    assert await claims(box) == held
    assert await policies(box) == before.policies
    assert not box.contents.can_rest or await box.contents.read() == before.contents


async def test_a_stop_that_removes_touches_no_claim_and_a_start_brings_back_what_was_there(
    place: Place, measured: Measured
) -> None:
    here, box = place
    before, held = await Before.of(box), await claims(box)
    assert {one["status"]["phase"] for one in held.values()} == {"Bound"}
    watch = Stopwatch(box)
    thread = await done(here, REMOVE, "Stopped and removed staging: the night begins")
    measured(watch.row("stop --remove, six components", Verb.REMOVE))
    assert "4 of 4 Bound" in thread
    await only_what_stays_is_there(box, before, held)
    assert "is stopped and removed by op-" in words_of(await here.types("carol", "status staging"))
    watch = Stopwatch(box)
    thread = await done(here, "start staging because it goes on", "Started staging: it goes on")
    measured(watch.row("start after stop --remove, six components", Verb.RETURN))
    assert "traffic answers" in thread or not box.probe
    await before.is_back(box)
    assert await claims(box) == held
    if box.ground.plane:
        assert box.refused() == []
        assert {one["objectRef"]["resource"] for one in box.requests() if one["verb"] not in READING} == WRITTEN


@pytest.mark.parametrize("trouble", LOSSES, ids=name_of)
async def test_trouble_in_the_middle_of_a_stop_that_removes_and_of_the_start_after_it_loses_nothing(
    trouble: Trouble, place: Place, ground: Ground, measured: Measured
) -> None:
    allowed(trouble, ground)
    here, box = place
    before, held = await Before.of(box), await claims(box)
    await hold(box, secret(box))
    watch = Stopwatch(box)
    live = await here.orders("carol", REMOVE, "ops")
    await until(box.admin, secret(box), is_going)
    await trouble(box)
    await let_go(box, secret(box))
    await here.until_says(live, "Stopped and removed staging")
    measured(watch.row(f"stop --remove, {name_of(trouble)} in the middle", Verb.REMOVE))
    await only_what_stays_is_there(box, before, held)
    watch = Stopwatch(box)
    live = await here.orders("carol", "start staging", "ops")
    await until(box.admin, box.apps("statefulsets", "cass-set-0"), is_there)
    await trouble(box)
    await here.until_says(live, "Started staging")
    measured(watch.row(f"start after stop --remove, {name_of(trouble)} in the middle", Verb.RETURN))
    await before.is_back(box)
    assert await claims(box) == held
