"""Restore tests that nobody types: they begin when it is time, and give way to whoever wants the cluster."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bot.__main__ import serving
from bot.settings import load_settings
from sandbox import Sandbox, tml
from sandbox.kubernetes import FAULT_ANNOTATION
from sandbox.kubernetes.resources import PODS
from sandbox.kubernetes.writes import Write
from sandbox.slack import Message
from tests.e2e.test_main_job import replicas
from tests.e2e.test_verify import Sabotage, is_check, scratch, take_set
from tests.e2e.town import FAST, Town, town, unhurried, words_of

STAGING = tml.STAGING_NAMESPACE


def verified_hourly(box: Sandbox) -> Path:
    """Staging's newest set is tested every hour."""
    path = unhurried(box)
    own = "snapshots: {verify_every: 1h}"
    path.write_text(re.sub(r"(\n +)(namespace: ml550-staging)", rf"\1\2\1{own}", path.read_text()))
    return path


@asynccontextmanager
async def looking(folder: Path) -> AsyncIterator[Town]:
    """The bot looks five times a second whether it is time."""
    async with town(folder, configured=verified_hourly, filled=[STAGING], serve=False) as place:
        configuration = load_settings(place.box.folder / "tml-bot.yaml", place.box.environ)
        async with serving(configuration, replace(FAST, look=0.2)):
            yield place


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    async with looking(tmp_path) as made:
        yield made


async def test_the_newest_set_is_tested_without_anybody_typing_it_and_once_in_its_time(place: Town) -> None:
    taken = await take_set(place)
    live = await place.the_one("Verified a snapshot set of staging: it is due every 1h")
    assert f"snapshot set {taken} can be restored" in place.thread(live)
    assert "the bot asked to verify it" in words_of(live)
    for _ in range(3):
        await place.types("dave", "status staging")
    assert len(await place.audit(kinds={"verified"})) == 1
    assert scratch(place.box) == []


async def test_it_gives_way_to_a_person_takes_away_what_it_made_and_says_so(place: Town) -> None:
    box = place.box

    def break_it(write: Write) -> None:
        box.kubernetes.annotate(PODS, STAGING, write.name, FAULT_ANNOTATION, "image-pull")

    box.kubernetes.server.writes = Sabotage(is_check, break_it)
    await take_set(place)

    def running(_slack: object) -> Message | None:
        told = [one for one in place.posted("ops") if one.text.startswith("Verifying a snapshot set of staging")]
        return next(iter(told), None)

    test = await box.slack.until(running, place.patience, "the test that begins by itself")
    stopped = await place.orders("carol", "stop staging because of customers", "ops")
    await place.until_says(stopped, "Stopped staging: of customers")
    assert test.text.startswith("CANCELLED before it could verify staging: gives way to a stop")
    assert "<@U0CAROL> cancelled it" in place.thread(test)
    assert scratch(box) == []
    assert set(replicas(box, STAGING).values()) == {0}
