"""A hold in the cluster's channel, for whoever was not there when it was typed."""

from pathlib import Path

from sandbox.slack import Message
from tests.e2e.town import Town, town, words_of


async def test_a_hold_stands_in_the_channel_until_it_is_let_go_and_then_says_so(tmp_path: Path) -> None:
    async with town(tmp_path) as place:
        await place.types("alice", "hold prod nobody touches it during the audit")
        told = await message(place, "prod is held: nobody touches it during the audit")
        assert "nothing begins on it until somebody lets go" in words_of(told)
        await place.types("alice", "release prod")
        await place.until_thread(told, "let go")
        assert told.text == "prod is no longer held: nobody touches it during the audit"
        assert len(place.posted("prod")) == 1


async def message(place: Town, text: str) -> Message:
    def told(_slack: object) -> Message | None:
        return next((one for one in place.posted("prod") if one.text == text), None)

    return await place.box.slack.until(told, place.patience, text)
