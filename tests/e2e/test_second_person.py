"""A cluster that changes between words and yes never makes one person's word enough for what takes two."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox import Sandbox, tml
from sandbox.kubernetes.resources import CLAIMS, DEPLOYMENTS, SERVICES, STATEFULSETS
from tests.e2e.belongings import bytes_of
from tests.e2e.town import PATIENCE, Town, operation_in, town, unhurried, words_of

STAGING = tml.STAGING_NAMESPACE


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    async with town(tmp_path, configured=production, filled=[STAGING]) as made:
        yield made


def production(box: Sandbox) -> Path:
    """Staging asks before everything, as production does."""
    path = unhurried(box)
    path.write_text(path.read_text().replace("environment: staging", "environment: production"))
    return path


async def order(place: Town, words: str, ends: str) -> str:
    """Typed, said yes to, and seen through; the operation's id."""
    asked = await place.types("alice", words)
    live = await place.operation(words_of(await place.presses("alice", "confirm", asked)), "ops")
    await place.until_says(live, ends)
    return operation_in(words_of(live))


async def delete(place: Town) -> None:
    _, card = await place.asks("alice", "delete staging because it moves", "ops")
    live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
    await place.until_says(live, "Deleted staging")


async def test_a_card_that_would_now_restore_in_place_asks_a_second_person(place: Town) -> None:
    taken = await order(place, "snapshot staging hot", "Cut a snapshot set of staging")
    await delete(place)
    open_card = await place.types("alice", f"restore staging {taken} because of bad data")
    await order(place, "restore staging", "Restored staging")
    whole = bytes_of(place.box, STAGING)
    alice = place.box.slack.person("alice")
    stale = alice.press_payload("confirm", open_card)
    answer = words_of(await place.presses("alice", "confirm", open_card))
    assert "second person" in answer, answer
    twice = await (await alice.sends(stale)).answers(1, timeout=PATIENCE)
    assert "made void already" in words_of(twice[-1])
    assert bytes_of(place.box, STAGING) == whole
    begun = [entry.data["verb"] for entry in await place.audit(kinds={"begun"})]
    assert begun == ["snapshot", "delete", "restore"]
    (asked,) = [entry for entry in await place.audit(kinds={"approval-asked"}) if entry.data["verb"] != "delete"]
    assert asked.data["verb"] == "restore-in-place"


async def test_an_approval_of_a_restore_in_place_is_void_where_there_is_nothing_in_place_any_more(place: Town) -> None:
    box = place.box
    taken = await order(place, "snapshot staging hot", "Cut a snapshot set of staging")
    _, card = await place.asks("alice", f"restore staging {taken} because of bad data", "ops")
    for resource in (STATEFULSETS, DEPLOYMENTS, SERVICES, CLAIMS):
        for one in box.kubernetes.store.list(resource, STAGING):
            box.kubernetes.store.delete(resource, STAGING, one["metadata"]["name"])
    await box.kubernetes.until(lambda _: not box.kubernetes.store.list(CLAIMS, STAGING), 20.0)
    answer = await place.says_yes("carol", card, "staging")
    assert "It is void" in answer
    assert f"/tml restore staging {taken}" in answer
    assert [entry.data["verb"] for entry in await place.audit(kinds={"begun"})] == ["snapshot"]
    assert await place.audit(kinds={"approval-void"})
