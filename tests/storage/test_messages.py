"""What is to be shown, and what is shown already."""

import asyncio

from lifecycle.model import Place
from storage.messages import LIVE, want
from tests.fakes.values import OPS
from tests.storage.conftest import Store, a_stop


async def wanted(store: Store, subject: str, *entries: str) -> None:
    async with store.database.transaction() as connection:
        for entry in entries:
            await want(connection, subject, entry, OPS)


async def test_the_live_message_comes_first_and_its_thread_in_order(store: Store) -> None:
    await wanted(store, "op-b", "10", "9", LIVE, "101")
    (due,) = await store.messages.due()
    assert [message.entry for message in due.messages] == [LIVE, "9", "10", "101"]
    assert due.place == Place(OPS.team, OPS.channel, None)


async def test_the_subject_that_waits_longest_comes_first(store: Store) -> None:
    await wanted(store, "op-b", LIVE, "9")
    await wanted(store, "op-a", LIVE, "10")
    assert [due.subject for due in await store.messages.due()] == ["op-b", "op-a"]


async def test_what_is_posted_is_not_due_until_it_is_wanted_anew(store: Store) -> None:
    await wanted(store, "op-a", LIVE, "9", "10")
    assert await store.messages.posted("op-a", [LIVE], [1], "C0OPS", "1.1") == 1
    (due,) = await store.messages.due()
    assert due.place.ts == "1.1"
    assert [message.entry for message in due.messages] == ["9", "10"]
    assert await store.messages.posted("op-a", ["9", "10"], [1, 1], "C0OPS", "1.2") == 2
    assert await store.messages.due() == []
    await wanted(store, "op-a", LIVE)
    (due,) = await store.messages.due()
    (live,) = due.messages
    assert (live.wanted, live.posted, live.ts) == (2, 1, "1.1")


async def test_a_version_is_never_lowered_and_never_ahead(store: Store) -> None:
    for _ in range(3):
        await wanted(store, "op-a", LIVE)
    assert await store.messages.posted("op-a", [LIVE], [2], "C0OPS", "1.1") == 1
    assert await store.messages.posted("op-a", [LIVE], [1], "C0OPS", "1.0") == 0
    assert await store.messages.posted("op-a", [LIVE], [2], "C0OPS", "1.0") == 0
    assert await store.messages.posted("op-a", [LIVE], [4], "C0OPS", "1.0") == 0
    live = await store.messages.live("op-a")
    assert live is not None
    assert (live.posted, live.ts) == (2, "1.1")


async def test_of_two_projectors_one_gets_to_write_down_its_message(store: Store, other: Store) -> None:
    await wanted(store, "op-a", LIVE)
    news = await asyncio.gather(
        store.messages.posted("op-a", [LIVE], [1], "C0OPS", "1.1"),
        other.messages.posted("op-a", [LIVE], [1], "C0OPS", "1.2"),
    )
    assert sorted(news) == [0, 1]


async def test_an_entry_stays_in_the_message_it_is_in(store: Store) -> None:
    await wanted(store, "op-a", LIVE, "9")
    assert await store.messages.posted("op-a", [LIVE], [1], "C0OPS", "1.1") == 1
    await wanted(store, "op-a", LIVE)
    assert await store.messages.posted("op-a", [LIVE], [2], "C0OPS", "1.2") == 0
    assert await store.messages.posted("op-a", [LIVE], [2], "C0OPS", "1.1") == 1


async def test_a_new_message_with_a_line_that_another_has_already_is_written_down_not_at_all(store: Store) -> None:
    await wanted(store, "op-a", LIVE, "9", "10")
    assert await store.messages.posted_first("op-a", ["9"], [1], "C0OPS", "1.1")
    assert not await store.messages.posted_first("op-a", ["9", "10"], [1, 1], "C0OPS", "1.2")
    assert await store.messages.posted_first("op-a", ["9"], [1], "C0OPS", "1.1"), (
        "found in Slack and written down before"
    )
    assert await store.messages.posted_first("op-a", ["10"], [1], "C0OPS", "1.3")
    assert await store.messages.live("op-b") is None


async def test_the_entries_of_an_operation_are_what_its_messages_are_rendered_from(store: Store) -> None:
    operation = await store.taken(a_stop())
    entries = await store.messages.entries_of(operation.id)
    assert [(entry.kind, entry.at) for entry in entries] == [
        ("begun", store.clock.now()),
        ("taken", store.clock.now()),
    ]
