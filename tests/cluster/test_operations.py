"""Stop, start and restart from Slack on a real Kubernetes, in quiet and with the ground shaking."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

import sandbox
from sandbox.kubernetes import FAULT_ANNOTATION
from tests.cluster.accounts import documented_rules
from tests.cluster.client import Answer, until
from tests.cluster.control_plane import ControlPlane
from tests.cluster.town import Box, Stopwatch, boxed, town
from tests.e2e.town import Town, words_of

Json = dict[str, Any]
Measured = Callable[[tuple[str, float, int]], None]
Place = tuple[Town, Box]

pytestmark = [pytest.mark.timeout(180)]


@pytest.fixture
async def place(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Place]:
    async with town(plane, tmp_path) as made:
        yield made


async def done(here: Town, words: str, says: str) -> str:
    """Order it, wait for the end, and return the thread."""
    live = await here.orders("carol", words, "ops")
    await here.until_says(live, says)
    return here.thread(live)


async def test_a_stop_takes_every_pod_and_nothing_else(place: Place, measured: Measured) -> None:
    here, box = place
    kept = {plural: await box.identities(plural) for plural in ("persistentvolumeclaims", "services", "secrets")}
    data, watch = await box.bytes_of_claims(), Stopwatch(box.plane)
    thread = await done(here, "stop staging because patching the nodes", "Stopped staging")
    measured(watch.row("stop, six components"))
    assert set((await box.replicas()).values()) == {0}
    assert await box.identities("pods") == set()
    assert kept == {plural: await box.identities(plural) for plural in kept}
    assert await box.bytes_of_claims() == data
    assert "4 of 4 Bound" in thread
    assert "ended with exit code 0" in thread


async def test_a_start_brings_everything_back_in_the_order_of_the_needs(place: Place, measured: Measured) -> None:
    here, box = place
    before, claims, data = await box.replicas(), await box.identities("persistentvolumeclaims"), await first_lines(box)
    await done(here, "stop staging", "Stopped staging")
    watch = Stopwatch(box.plane)
    thread = await done(here, "start staging because done", "Started staging: done")
    measured(watch.row("start, six components"))
    assert await box.replicas() == before
    assert await box.identities("persistentvolumeclaims") == claims
    assert await first_lines(box) == data
    assert "traffic answers" in thread
    patched = [one["objectRef"]["name"] for one in box.plane.requests() if is_scaling(one, box)][-6:]
    assert patched.index("cass-set-0") < patched.index("log-set-0") < patched.index("mysql-set-0")
    assert patched[-1] == "tm-deploy-0"


async def first_lines(box: Box) -> dict[str, dict[str, bytes]]:
    """What the volumes held at the first start; each later one adds a line to a log of its own."""
    found = await box.bytes_of_claims()
    return {
        claim: {path: data for path, data in files.items() if path != "starts.log"} for claim, files in found.items()
    }


def is_scaling(entry: Json, box: Box) -> bool:
    about = entry["objectRef"]
    return bool(entry["verb"] == "patch" and about["namespace"] == box.namespace)


async def test_a_restart_rolls_cm_and_leaves_the_rest_alone(place: Place, measured: Measured) -> None:
    here, box = place
    before, watch = await box.identities("pods"), Stopwatch(box.plane)
    await done(here, "restart staging cm because new certificate", "Restarted cm of staging: new certificate")
    measured(watch.row("restart cm, rolling"))
    after = await box.identities("pods")
    assert {name[:9] for name, _ in before - after} == {"cm-deploy"}
    assert {name[:9] for name, _ in after - before} == {"cm-deploy"}


async def test_a_restart_of_the_database_goes_down_and_comes_up_again(place: Place, measured: Measured) -> None:
    here, box = place
    before, watch = await box.replicas(), Stopwatch(box.plane)
    assert "--downtime" in words_of(await here.types("carol", "restart staging sql"))
    await done(here, "restart staging sql --downtime", "Restarted sql of staging")
    measured(watch.row("restart sql, with downtime"))
    assert await box.replicas() == before


async def test_the_bot_asks_for_nothing_that_its_documented_role_does_not_give(place: Place) -> None:
    here, box = place
    await done(here, "stop staging", "Stopped staging")
    await done(here, "start staging", "Started staging")
    own = [one for one in box.plane.requests() if one["objectRef"].get("namespace") == box.namespace]
    refused = {
        (one["verb"], one["objectRef"]["resource"]) for one in own if one["responseStatus"].get("code") in (401, 403)
    }
    assert own
    assert refused == set()
    written = {(one["verb"], one["objectRef"]["resource"]) for one in own} - {(verb, r) for verb, r in reads(own)}
    assert written <= {("patch", "statefulsets"), ("patch", "deployments"), ("create", "leases"), ("update", "leases")}


def reads(entries: list[Json]) -> set[tuple[str, str]]:
    return {(one["verb"], one["objectRef"]["resource"]) for one in entries if one["verb"] in ("get", "list", "watch")}


async def test_a_right_that_is_missing_is_named_before_anything_changes(plane: ControlPlane, tmp_path: Path) -> None:
    rules = [rule | {"verbs": [verb for verb in rule["verbs"] if verb != "patch"]} for rule in documented_rules()]
    async with town(plane, tmp_path, rules) as (here, box):
        answer = words_of(await here.types("carol", "stop staging"))
        assert "patch statefulsets" in answer
        assert 0 not in (await box.replicas()).values()


async def test_a_start_that_fails_names_the_pod_and_goes_on_after_the_repair(
    plane: ControlPlane, tmp_path: Path, measured: Measured
) -> None:
    async with boxed(plane, tmp_path) as box:
        box.deadline = 10
        here = Town(cast("sandbox.Sandbox", box))
        async with box.serving():
            await done(here, "stop staging", "Stopped staging")
            await box.annotate("statefulsets", "mysql-set-0", FAULT_ANNOTATION, "image-pull")
            watch = Stopwatch(box.plane)
            live = await here.orders("carol", "start staging", "ops")
            await here.until_says(live, "FAILED to start staging")
            measured(watch.row("start that fails at its deadline (10 s)"))
            assert "mysql-set-0-0" in here.thread(live)
            assert "ImagePullBackOff" in here.thread(live)
            await box.annotate("statefulsets", "mysql-set-0", FAULT_ANNOTATION, None)
            await done(here, "start staging", "Started staging")


async def killed(box: Box) -> None:
    """Whatever the API server had in memory is gone, every connection is cut."""
    await box.plane.kill_api_server()
    await box.plane.start_api_server()


async def compacted(box: Box) -> None:
    """No watch can go on from where it was."""
    await box.plane.compact()
    await killed(box)


async def cut(box: Box) -> None:
    """Five times, watches and all."""
    for _ in range(5):
        box.wire.cut()
        await connected_again(box)


async def connected_again(box: Box) -> None:
    before = box.wire.connections
    async with asyncio.timeout(30):
        while box.wire.connections == before:  # noqa: ASYNC110 - the wire has nobody to tell
            await asyncio.sleep(0.02)


async def silent(box: Box) -> None:
    """Connections that look alive, until the bot makes new ones in vain."""
    box.wire.silence()
    try:
        await connected_again(box)
    finally:
        box.wire.talk()


async def forgotten(box: Box) -> None:
    """Connections that look alive and are dead for good, watches and all; new ones work."""
    assert box.wire.forget()


async def frozen(box: Box) -> None:
    """An API server that accepts and never answers, until the bot has connected once more."""
    box.plane.freeze_api_server()
    try:
        await connected_again(box)
    finally:
        box.plane.thaw_api_server()


TROUBLE = [killed, compacted, cut, silent, forgotten, frozen]


@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda trouble: trouble.__name__)
async def test_trouble_in_the_middle_of_a_start_costs_time_and_nothing_else(
    trouble: Callable[[Box], Awaitable[None]], place: Place, measured: Measured
) -> None:
    here, box = place
    before = await box.replicas()
    await done(here, "stop staging", "Stopped staging")
    watch = Stopwatch(box.plane)
    live = await here.orders("carol", "start staging", "ops")
    await until(box.admin, box.apps("statefulsets", "log-set-0"), is_up)
    await trouble(box)
    await here.until_says(live, "Started staging")
    measured(watch.row(f"start, {trouble.__name__} in the middle"))
    assert await box.replicas() == before
    assert "traffic answers" in here.thread(live)


def is_up(answer: Answer) -> bool:
    return bool((answer.body.get("spec") or {}).get("replicas"))


@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda trouble: trouble.__name__)
async def test_trouble_in_the_middle_of_a_stop_costs_time_and_nothing_else(
    trouble: Callable[[Box], Awaitable[None]], place: Place, measured: Measured
) -> None:
    here, box = place
    claims, watch = await box.identities("persistentvolumeclaims"), Stopwatch(box.plane)
    live = await here.orders("carol", "stop staging", "ops")
    await until(box.admin, box.apps("deployments", "tm-deploy-0"), lambda answer: not is_up(answer))
    await trouble(box)
    await here.until_says(live, "Stopped staging")
    measured(watch.row(f"stop, {trouble.__name__} in the middle"))
    assert set((await box.replicas()).values()) == {0}
    assert await box.identities("persistentvolumeclaims") == claims


async def test_a_bot_that_ends_in_the_middle_is_followed_by_one_that_finishes(
    plane: ControlPlane, tmp_path: Path, measured: Measured
) -> None:
    async with boxed(plane, tmp_path) as box:
        here = Town(cast("sandbox.Sandbox", box))
        watch = Stopwatch(plane)
        async with box.serving():
            live = await here.orders("carol", "stop staging", "ops")
            await until(box.admin, box.apps("deployments", "tm-deploy-0"), lambda answer: not is_up(answer))
        async with box.serving():
            await here.until_says(live, "Stopped staging")
        measured(watch.row("stop, taken up by another bot in the middle"))
        assert set((await box.replicas()).values()) == {0}
        assert [entry.kind for entry in await here.audit(kinds={"begun", "finished"})] == ["begun", "finished"]
