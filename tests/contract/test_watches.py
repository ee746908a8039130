"""Lists and watches: what the bot's pictures are made of."""

import asyncio
import time
from typing import Any

import pytest

from tests.cluster.client import Refusal
from tests.contract.api import Api
from tests.contract.objects import config

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(60)


async def test_a_list_says_its_version_and_its_items_do_not_say_their_kind(api: Api) -> None:
    await api.apply(config("a"), config("b"))
    answer = await api.client.get(api.path("configmaps"), labelSelector="")
    assert (answer.body["kind"], answer.body["apiVersion"]) == ("ConfigMapList", "v1")
    assert set(answer.body["metadata"]) == {"resourceVersion"}
    versions = [int(one["metadata"]["resourceVersion"]) for one in answer.body["items"]]
    assert int(answer.version) >= max(versions)
    assert not any("kind" in one or "apiVersion" in one for one in answer.body["items"])


async def test_a_watch_tells_every_change_in_order_and_how_the_object_was_at_last(api: Api) -> None:
    path = api.path("configmaps")
    since = (await api.client.get(path)).version
    (made,) = await api.apply(config(step="0"))
    for step in "123":
        await api.client.patch(f"{path}/map", {"data": {"step": step}})
    await api.client.delete(f"{path}/map")
    events = await told(api, path, resourceVersion=since, fieldSelector="metadata.name=map", timeoutSeconds=1)
    assert [(event["type"], event["object"]["data"]["step"]) for event in events] == [
        ("ADDED", "0"),
        ("MODIFIED", "1"),
        ("MODIFIED", "2"),
        ("MODIFIED", "3"),
        ("DELETED", "3"),
    ]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions)), "the deletion has a version of its own"
    assert events[0]["object"]["kind"] == "ConfigMap"
    assert {event["object"]["metadata"]["uid"] for event in events} == {made.uid}


async def told(api: Api, path: str, **params: str | int | bool) -> list[Json]:
    return [event async for event in api.client.watch(path, **params)]


async def test_a_watch_from_a_lists_version_misses_nothing_and_repeats_nothing(api: Api) -> None:
    path = api.path("configmaps")
    await api.apply(config("before"))
    since = (await api.client.get(path)).version
    await api.apply(config("after"))
    events = await told(api, path, resourceVersion=since, timeoutSeconds=1)
    names = [event["object"]["metadata"]["name"] for event in events]
    assert "before" not in names
    assert names.count("after") == 1


async def test_a_watch_ends_when_its_time_is_up(api: Api) -> None:
    begun = time.monotonic()
    assert await told(api, api.path("endpoints"), resourceVersion=await version(api), timeoutSeconds=2) == []
    assert 1.5 < time.monotonic() - begun < 4


async def version(api: Api) -> str:
    return (await api.client.get(api.path("configmaps"))).version


async def test_a_watch_that_asks_for_bookmarks_gets_one_before_it_ends(api: Api) -> None:
    since = await version(api)
    await api.apply(config("elsewhere"))
    events = await told(api, api.path("configmaps"), resourceVersion=since, allowWatchBookmarks=True, timeoutSeconds=5)
    (mark,) = [event for event in events[-1:] if event["type"] == "BOOKMARK"]
    assert mark["object"]["kind"] == "ConfigMap"
    assert mark["object"]["apiVersion"] == "v1"
    assert int(mark["object"]["metadata"]["resourceVersion"]) > int(since)
    assert not mark["object"].get("data")


async def test_a_watch_without_bookmarks_gets_none(api: Api) -> None:
    events = await told(api, api.path("configmaps"), resourceVersion=await version(api), timeoutSeconds=3)
    assert all(event["type"] != "BOOKMARK" for event in events)


async def test_a_watch_with_a_selector_tells_entering_as_added_and_leaving_as_deleted(api: Api) -> None:
    path = api.path("configmaps")
    since = await version(api)
    await api.apply(config())
    await api.client.patch(f"{path}/map", {"metadata": {"labels": {"in": "yes"}}})
    await api.client.patch(f"{path}/map", {"metadata": {"labels": {"in": "no"}}})
    events = await told(api, path, resourceVersion=since, labelSelector="in=yes", timeoutSeconds=1)
    assert [event["type"] for event in events] == ["ADDED", "DELETED"]


async def test_a_watch_from_a_forgotten_version_is_a_410(api: Api) -> None:
    path = api.path("configmaps")
    since = await version(api)
    await api.apply(config("a"), config("b"))
    await api.forget_history()
    try:
        (event,) = await told(api, path, resourceVersion=since, timeoutSeconds=2)
    except Refusal as refusal:
        status = refusal.answer.body
    else:
        assert event["type"] == "ERROR"
        status = event["object"]
    assert (status["code"], status["reason"]) == (410, "Expired")
    assert status["kind"] == "Status"


async def test_a_watch_from_a_version_of_the_future_is_silent_or_refused_but_never_wrong(api: Api) -> None:
    since = str(int(await version(api)) + 1_000_000)
    try:
        async with asyncio.timeout(8):
            assert await told(api, api.path("configmaps"), resourceVersion=since, timeoutSeconds=1) == []
    except Refusal as refusal:
        assert refusal.answer.status in (504, 400)  # noqa: PT017 - either way is good


async def test_two_watches_of_one_change_tell_the_same(api: Api) -> None:
    path, since = api.path("configmaps"), await version(api)
    watches = [asyncio.create_task(told(api, path, resourceVersion=since, timeoutSeconds=2)) for _ in range(2)]
    await api.apply(config("told"))
    one, other = await asyncio.gather(*watches)
    assert one == other
    assert "told" in {event["object"]["metadata"]["name"] for event in one}
