"""A delete of a cluster with a claim whose volume is gone: refused, or agreed to by two people who read that first."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox import Sandbox, tml
from sandbox.kubernetes.resources import CLAIMS, VOLUMES
from tests.e2e.belongings import bytes_of, policies
from tests.e2e.town import PATIENCE, Town, town, unhurried, words_of, words_of_blocks

PROD, STAGING = tml.PROD_NAMESPACE, tml.STAGING_NAMESPACE
SQLVOL, LOGVOL = "sqlvol-mysql-set-0-0", "logvol-log-set-0-0"
WORDS = "delete staging because it moves"


def allowing(box: Sandbox) -> Path:
    """Staging's data may be lost, production's not."""
    path = unhurried(box)
    path.write_text(path.read_text().replace("  staging:\n", "  staging:\n    allow_unrecoverable: true\n"))
    return path


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    async with town(tmp_path, configured=allowing, filled=[PROD, STAGING]) as made:
        yield made


async def loses(place: Town, namespace: str, claim: str) -> str:
    """Somebody removes the volume; its name."""
    store = place.box.kubernetes.store
    name = str(store.get(CLAIMS, namespace, claim)["spec"]["volumeName"])
    store.remove(VOLUMES, None, name)
    await place.box.kubernetes.until(
        lambda found: found.get(CLAIMS, namespace, claim)["status"]["phase"] == "Lost", PATIENCE
    )
    return name


async def test_what_is_lost_for_good_is_said_first_agreed_to_and_all_else_is_kept(place: Town) -> None:
    box = place.box
    volume = await loses(place, STAGING, SQLVOL)
    whole = {claim: files for claim, files in bytes_of(box, STAGING).items() if claim != SQLVOL}
    plan = words_of(await place.types("dave", f"plan {WORDS}"))
    _, card = await place.asks("alice", WORDS, "ops")
    dialog = await box.slack.person("carol").opens("approve", card, timeout=PATIENCE)
    assert dialog.blocks[0]["type"] == "alert"
    assert box.slack.rendered(dialog).splitlines()[1].startswith("│ 🟥 🚨 LOST FOR GOOD with this delete")
    for shown in (plan, words_of(card), words_of_blocks(dialog.blocks)):
        assert "LOST FOR GOOD with this delete" in shown
        assert f"• {SQLVOL}: *the API configuration: untethered, nothing else has it*" in shown
        assert f"• {SQLVOL}: *no way back*: its volume {volume} is gone" in shown
    assert words_of(card).index("LOST FOR GOOD") < words_of(card).index("asks to delete")
    live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
    await place.until_says(live, "Deleted staging: it moves")
    assert f"*Lost for good* {SQLVOL}" in place.thread(live)
    assert {policy for _, policy, _ in policies(box, STAGING).values()} == {"Retain"}
    assert f"{SQLVOL}: lost for good with this delete" in words_of(await place.types("dave", "status staging"))

    assert f"{SQLVOL} comes back empty" in words_of(await place.types("dave", "plan restore staging"))
    back = await place.operation(words_of(await place.types("alice", "restore staging")), "ops")
    await place.until_says(back, "Restored staging, running, configuration NOT seen")
    assert f"{SQLVOL} comes back empty" in place.thread(back)
    after = bytes_of(box, STAGING)
    assert {claim: {path: after[claim][path] for path in files} for claim, files in whole.items()} == whole


async def test_where_the_configuration_does_not_allow_it_a_delete_is_refused_and_says_what_would(place: Town) -> None:
    volume = await loses(place, PROD, SQLVOL)
    answer = words_of(await place.types("alice", "delete prod because it moves"))
    assert f"the volume {volume} of claim {SQLVOL} is gone" in answer
    assert "`allow_unrecoverable: true`" in answer


async def test_a_claim_that_is_lost_after_it_was_asked_is_asked_about_anew(place: Town) -> None:
    await loses(place, STAGING, SQLVOL)
    _, card = await place.asks("alice", WORDS, "ops")
    await loses(place, STAGING, LOGVOL)
    page = await place.says_yes("carol", card, "staging")
    assert "a new approval is needed" in page
    assert f"persistentvolumeclaim/{LOGVOL} would be lost for good now" in page
    assert SQLVOL not in page, "that was agreed to"
