"""Stop, start and restart from Slack on a real Kubernetes, in quiet and with the ground shaking."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lifecycle.model import Verb
from sandbox.kubernetes import FAULT_ANNOTATION
from tests.cluster.accounts import OPERATING, documented_rules, grant
from tests.cluster.client import Answer, Client, until
from tests.cluster.conftest import Measured
from tests.cluster.ground import Ground
from tests.cluster.town import DEADLINE, Box, Stopwatch, boxed, documented, done, town, town_of
from tests.cluster.trouble import LOSSES, TROUBLE, Trouble, allowed, name_of
from tests.e2e.town import Town, words_of

Json = dict[str, Any]
Place = tuple[Town, Box]

pytestmark = [pytest.mark.timeout(400)]


operating = documented(OPERATING)
"""What is enough for everything here."""


@pytest.fixture
async def place(ground: Ground, tmp_path: Path) -> AsyncIterator[Place]:
    async with town(ground, tmp_path, operating) as made:
        yield made


async def test_a_stop_takes_every_pod_and_nothing_else(place: Place, measured: Measured) -> None:
    here, box = place
    kept = {plural: await box.identities(plural) for plural in ("persistentvolumeclaims", "services", "secrets")}
    await box.contents.fill()
    data, watch = await box.contents.read(), Stopwatch(box)
    thread = await done(here, "stop staging because patching the nodes", "Stopped staging")
    measured(watch.row("stop, six components", Verb.STOP))
    assert set((await box.replicas()).values()) == {0}
    assert await box.identities("pods") == set()
    assert kept == {plural: await box.identities(plural) for plural in kept}
    assert not box.contents.can_rest or await box.contents.read() == data
    assert "4 of 4 Bound" in thread
    assert "ended with exit code 0" in thread


async def test_a_start_brings_everything_back_in_the_order_of_the_needs(place: Place, measured: Measured) -> None:
    here, box = place
    await box.contents.fill()
    before, claims = await box.replicas(), await box.identities("persistentvolumeclaims")
    data = await box.contents.read()
    await done(here, "stop staging", "Stopped staging")
    watch = Stopwatch(box)
    thread = await done(here, "start staging because done", "Started staging: done")
    measured(watch.row("start, six components", Verb.START))
    assert await box.replicas() == before
    assert await box.identities("persistentvolumeclaims") == claims
    assert await box.contents.read() == data
    assert "traffic answers" in thread or not box.probe
    if box.ground.plane:
        patched = [one["objectRef"]["name"] for one in box.requests() if one["verb"] == "patch"][-6:]
        assert patched.index("cass-set-0") < patched.index("log-set-0") < patched.index("mysql-set-0")
        assert patched[-1] == "tm-deploy-0"


async def test_a_restart_rolls_cm_and_leaves_the_rest_alone(place: Place, measured: Measured) -> None:
    here, box = place
    before, watch = await box.identities("pods"), Stopwatch(box)
    await done(here, "restart staging cm because new certificate", "Restarted cm of staging: new certificate")
    measured(watch.row("restart of cm, rolling", Verb.RESTART))
    after = await box.identities("pods")
    assert {name[:9] for name, _ in before - after} == {"cm-deploy"}
    assert {name[:9] for name, _ in after - before} == {"cm-deploy"}


async def test_a_restart_of_the_database_goes_down_and_comes_up_again(place: Place, measured: Measured) -> None:
    here, box = place
    before, watch = await box.replicas(), Stopwatch(box)
    assert "--downtime" in words_of(await here.types("carol", "restart staging sql"))
    await done(here, "restart staging sql --downtime", "Restarted sql of staging")
    measured(watch.row("restart of sql, with downtime", Verb.RESTART))
    assert await box.replicas() == before


async def test_the_bot_asks_for_nothing_that_its_documented_role_does_not_give(ground: Ground, tmp_path: Path) -> None:
    ground.own("what the API server was asked is in its audit log")
    async with town(ground, tmp_path, operating) as (here, box):
        await done(here, "stop staging", "Stopped staging")
        await done(here, "start staging", "Started staging")
        own = [one for one in box.requests() if one["objectRef"].get("namespace") == box.namespace]
        codes = {asked(one): one["responseStatus"].get("code") for one in own}
        assert own
        assert not [what for what, code in codes.items() if code in (401, 403)]
        assert {what for what in codes if what[0] not in ("get", "list", "watch")} <= {
            ("patch", "statefulsets"),
            ("patch", "deployments"),
            ("create", "leases"),
            ("update", "leases"),
        }


def asked(entry: Json) -> tuple[str, str]:
    """What is done to which kind."""
    return entry["verb"], entry["objectRef"]["resource"]


async def test_a_right_that_is_missing_is_named_before_anything_changes(ground: Ground, tmp_path: Path) -> None:
    async def without_patch(admin: Client, namespace: str) -> list[str]:
        rules = [rule | {"verbs": [verb for verb in rule["verbs"] if verb != "patch"]} for rule in documented_rules()]
        await grant(admin, namespace, rules)
        return []

    async with town(ground, tmp_path, without_patch) as (here, box):
        answer = words_of(await here.types("carol", "stop staging"))
        assert "patch statefulsets" in answer
        assert 0 not in (await box.replicas()).values()


async def test_a_start_that_fails_names_the_pod_and_goes_on_after_the_repair(
    ground: Ground, tmp_path: Path, measured: Measured
) -> None:
    ground.own("trouble by annotation is played by the node")
    async with boxed(ground, tmp_path, operating) as box:
        here = town_of(box)
        async with box.serving():
            await done(here, "stop staging", "Stopped staging")
        await box.annotate("statefulsets", "mysql-set-0", FAULT_ANNOTATION, "image-pull")
        box.deadline = 10
        async with box.serving():
            watch = Stopwatch(box)
            live = await here.orders("carol", "start staging", "ops")
            await here.until_says(live, "FAILED to start staging")
            measured(watch.row("start that fails (an image that cannot be pulled)", Verb.START))
            assert "mysql-set-0-0" in here.thread(live)
            assert "ImagePullBackOff" in here.thread(live)
        await box.annotate("statefulsets", "mysql-set-0", FAULT_ANNOTATION, None)
        box.deadline = DEADLINE
        async with box.serving():
            await done(here, "start staging", "Started staging")


@pytest.mark.parametrize("trouble", TROUBLE, ids=name_of)
async def test_trouble_in_the_middle_of_a_stop_and_of_a_start_costs_time_and_nothing_else(
    trouble: Trouble, ground: Ground, tmp_path: Path, measured: Measured
) -> None:
    allowed(trouble, ground)
    async with town(ground, tmp_path, operating) as (here, box):
        before, claims, watch = await box.replicas(), await box.identities("persistentvolumeclaims"), Stopwatch(box)
        live = await here.orders("carol", "stop staging", "ops")
        await until(box.admin, box.apps("deployments", "tm-deploy-0"), lambda answer: not is_up(answer))
        await trouble(box)
        await here.until_says(live, "Stopped staging")
        measured(watch.row(f"stop, {name_of(trouble)} in the middle", Verb.STOP))
        assert set((await box.replicas()).values()) == {0}
        watch = Stopwatch(box)
        live = await here.orders("carol", "start staging", "ops")
        await until(box.admin, box.apps("statefulsets", "log-set-0"), is_up)
        await trouble(box)
        await here.until_says(live, "Started staging")
        measured(watch.row(f"start, {name_of(trouble)} in the middle", Verb.START))
        assert await box.replicas() == before
        assert await box.identities("persistentvolumeclaims") == claims
        assert "traffic answers" in here.thread(live) or not box.probe


@pytest.mark.parametrize("trouble", LOSSES, ids=name_of)
async def test_trouble_in_the_middle_of_a_restart_costs_time_and_nothing_else(
    trouble: Trouble, place: Place, ground: Ground, measured: Measured
) -> None:
    allowed(trouble, ground)
    here, box = place
    before, claims = await box.replicas(), await box.identities("persistentvolumeclaims")
    watch = Stopwatch(box)
    live = await here.orders("carol", "restart staging sql --downtime", "ops")
    await until(box.admin, box.apps("statefulsets", "mysql-set-0"), is_rolling)
    await trouble(box)
    await here.until_says(live, "Restarted sql of staging")
    measured(watch.row(f"restart of sql, {name_of(trouble)} in the middle", Verb.RESTART))
    await box.ready()
    assert await box.replicas() == before
    assert await box.identities("persistentvolumeclaims") == claims


def is_rolling(answer: Answer) -> bool:
    """Nobody had written its spec before."""
    return bool(answer.body.get("metadata", {}).get("generation", 1) > 1)


def is_up(answer: Answer) -> bool:
    return bool((answer.body.get("spec") or {}).get("replicas"))


async def test_a_bot_that_ends_in_the_middle_is_followed_by_one_that_finishes(
    ground: Ground, tmp_path: Path, measured: Measured
) -> None:
    async with boxed(ground, tmp_path, operating) as box:
        here, watch = town_of(box), Stopwatch(box)
        async with box.serving():
            live = await here.orders("carol", "stop staging", "ops")
            await until(box.admin, box.apps("deployments", "tm-deploy-0"), lambda answer: not is_up(answer))
        async with box.serving():
            await here.until_says(live, "Stopped staging")
        measured(watch.row("stop, taken up by another bot in the middle", Verb.STOP))
        assert set((await box.replicas()).values()) == {0}
        assert [entry.kind for entry in await here.audit(kinds={"begun", "finished"})] == ["begun", "finished"]
