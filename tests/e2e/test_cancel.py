"""Cancelling what runs, from Slack: it ends where it is, says so, and the cluster goes on or back from there."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox import tml
from sandbox.kubernetes import FAULT_ANNOTATION
from sandbox.kubernetes.resources import DEPLOYMENTS, STATEFULSETS
from tests.e2e.test_main_job import replicas
from tests.e2e.town import Town, town, unhurried, words_of

STAGING = tml.STAGING_NAMESPACE


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    async with town(tmp_path, configured=unhurried) as made:
        yield made


def hold_up(place: Town, fault: str | None) -> None:
    """What needs the log service waits for it, either way."""
    place.box.kubernetes.annotate(STATEFULSETS, STAGING, "log-set-0", FAULT_ANNOTATION, fault)


async def test_a_stop_that_is_cancelled_ends_at_once_names_every_object_and_goes_back_by_a_start(place: Town) -> None:
    before = replicas(place.box, STAGING)
    hold_up(place, "stuck-terminating")
    live = await place.orders("carol", "stop staging", "ops")
    await place.until_thread(live, "*log* going to 0")
    assert "Cancel" in str(live.blocks)
    await place.presses("carol", "cancel", live)
    await place.until_says(live, "CANCELLED before it could stop staging")
    thread = place.thread(live)
    assert "<@U0CAROL> cancelled it" in thread
    assert "not done: nosql and log" in thread
    assert "`/tml start staging` takes back what was done" in thread
    assert "Or by hand" not in thread
    assert '"cancel"' not in str(live.blocks).replace("'", '"'), "what has ended has no such button"
    assert replicas(place.box, STAGING)["cass-set-0"] == 1, "no new step was taken"
    hold_up(place, None)
    started = await place.orders("carol", "start staging", "ops")
    await place.until_says(started, "Started staging")
    assert replicas(place.box, STAGING) == before
    assert "cancelled" in words_of(await place.types("carol", "history staging"))
    (cancelled,) = await place.audit(kinds={"cancelled"})
    assert cancelled.actor
    assert cancelled.actor.user == "U0CAROL"


async def test_a_start_that_never_ends_is_cancelled_for_a_stop_by_one_press(place: Town) -> None:
    await place.until_says(await place.orders("carol", "stop staging", "ops"), "Stopped staging")
    hold_up(place, "image-pull")
    starting = await place.orders("carol", "start staging", "ops")
    await place.until_thread(starting, "nosql ready")
    answer = await place.types("carol", "stop staging because the image is not there")
    assert "staging is busy" in words_of(answer)
    begun = await place.presses("carol", "instead", answer)
    stopped = await place.operation(words_of(begun), "ops")
    await place.until_says(stopped, "Stopped staging: the image is not there")
    assert starting.text.startswith("CANCELLED before it could start staging: to stop it instead")
    assert set(replicas(place.box, STAGING).values()) == {0}


async def test_a_cold_snapshot_that_is_cancelled_starts_the_cluster_again(place: Town) -> None:
    before = replicas(place.box, STAGING)
    place.box.kubernetes.annotate(DEPLOYMENTS, STAGING, "tm-deploy-0", FAULT_ANNOTATION, "stuck-terminating")
    live = await place.orders("carol", "snapshot staging cold", "ops")
    await place.until_thread(live, "*tm* going to 0")
    assert "no new step is taken" in words_of(await place.types("carol", "cancel staging because of customers"))
    await place.until_says(live, "CANCELLED before it could snapshot staging: of customers")
    assert "*was started again*" in place.thread(live)
    assert replicas(place.box, STAGING) == before
