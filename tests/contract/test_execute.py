"""A command in a container, through the bot's own door."""

import asyncio
from typing import Any

import pytest

from lifecycle.errors import Forbidden, Gone, Invalid, Retryable
from lifecycle.kube.execute import Executed, execute
from tests.contract.api import Api
from tests.contract.objects import pod

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(60)

BOTH = ("get", "create")


def may(*verbs: str) -> list[Json]:
    return [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": list(verbs)}]


async def running_pod(api: Api) -> None:
    await api.apply(pod())
    path = api.path("pods", "one")
    await api.until(path, lambda found: "running" in str((found["status"].get("containerStatuses") or [{}])[0]))


async def run(api: Api, *command: str, seconds: float = 20) -> Executed:
    door = await api.door(may(*BOTH))
    return await execute(door, api.namespace, "one", "main", command, seconds=seconds)


async def test_a_command_says_what_it_wrote_and_that_it_went_well(api: Api) -> None:
    await running_pod(api)
    assert await run(api, "echo", "one  word", "and $HOME") == Executed(0, "one  word and $HOME\n")


async def test_a_command_that_fails_has_a_code_and_no_error(api: Api) -> None:
    await running_pod(api)
    ended = await run(api, "ls", "/nowhere")
    assert ended.code in (1, 2)
    assert "nowhere" in ended.stderr
    assert ended.stdout == ""


async def test_a_command_that_does_not_end_is_given_up_in_time(api: Api) -> None:
    await running_pod(api)
    begun = asyncio.get_running_loop().time()
    with pytest.raises(Retryable, match=r"one/main: not at its end after 0\.5 s"):
        await run(api, "sleep", "100000", seconds=0.5)
    assert asyncio.get_running_loop().time() - begun < 10


async def test_a_command_that_takes_its_time_is_waited_for(api: Api) -> None:
    await running_pod(api)
    assert (await run(api, "sleep", "3")).code == 0


async def test_without_the_pod_or_the_container_nothing_is_run(api: Api) -> None:
    await running_pod(api)
    door = await api.door(may(*BOTH))
    with pytest.raises(Gone):
        await execute(door, api.namespace, "another", "main", ["true"], seconds=20)
    with pytest.raises(Invalid):
        await execute(door, api.namespace, "one", "another", ["true"], seconds=20)


@pytest.mark.parametrize("verbs", [(), ("get",), ("create",)], ids=str)
async def test_who_lacks_one_of_the_two_rights_is_forbidden(api: Api, verbs: tuple[str, ...]) -> None:
    """The handshake is a GET; that it runs something needs create, too, since 1.35."""
    await running_pod(api)
    door = await api.door(may(*verbs) if verbs else [])
    with pytest.raises(Forbidden):
        await execute(door, api.namespace, "one", "main", ["true"], seconds=20)
