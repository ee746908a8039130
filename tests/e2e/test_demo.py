"""What `make demo` tells has happened."""

from pathlib import Path

import pytest

from sandbox import demo, tml
from tests.e2e.town import town

VOLUMES, IN_THE_SET = 5, 4


@pytest.mark.timeout(90)
async def test_the_demo_tells_a_delete_that_takes_two_people_its_undo_and_a_restore_from_its_set(
    tmp_path: Path,
) -> None:
    told: list[str] = []
    async with town(tmp_path) as here:
        transcript = await demo.play(here.box, told.append)
        claims = demo.folders(here.box)
    text = "\n".join(told)
    assert "Delete prod? Needs a second person's yes" in text
    assert "so somebody else has to decide" in text
    assert "That is not the name of the cluster" in text
    assert "6. 0 claims are left." in text
    assert [line.rsplit("   ", 1)[-1] for line in text.splitlines() if "vol-" in line and ":" not in line] == [
        "the same"
    ] * (VOLUMES + IN_THE_SET)
    assert "NOT THE SAME" not in text
    assert "Why?: [ … ]" in text
    assert "bad-import.sql is gone." in text
    for start in ("Stopped prod in", "FAILED to start prod", "Started prod in", "Deleted prod in", "Restored prod in"):
        assert start in transcript
    assert "Restored in place prod in" in transcript
    assert "asked to restore in place it, because the import was bad" in transcript
    assert "@carol said yes" in transcript
    assert len(claims) == VOLUMES
    assert tml.PROD_NAMESPACE in transcript


def test_a_byte_that_was_lost_or_changed_is_told() -> None:
    before = {"one": {"file": b"abc"}, "two": {"file": b"abc"}, "three": {"file": b"abc"}}
    after = {"one": {"file": b"abc and more", "new": b""}, "two": {"file": b"abX"}, "three": {}}
    verdicts = {line.split()[0]: line.endswith("NOT THE SAME") for line in demo.compared(before, before, after)}
    assert verdicts == {"one": False, "two": True, "three": True}
