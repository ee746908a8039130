"""Connections that are open and say nothing: how each kind is told from a server that is slow."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from lifecycle.errors import Retryable
from lifecycle.kube import paths
from lifecycle.kube.answers import Silent
from lifecycle.kube.door import Door, Timeouts, connect
from lifecycle.kube.paths import Resource
from lifecycle.model import Kind, Ref
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.faults import Fault
from sandbox.tml import PROD_NAMESPACE, prod
from tests.cluster.wire import Wire, wire

TM = paths.of(Ref(Kind.DEPLOYMENT, "tm-deploy-0"), PROD_NAMESPACE)
PODS = paths.all_of(Resource.PODS, PROD_NAMESPACE)
QUIET = f"/api/v1/namespaces/{PROD_NAMESPACE}/secrets"
TEST = [{"op": "test", "path": "/spec/replicas", "value": 2}]
SHORT = Timeouts(first=0.6, read=5, write=0.6)
LONG = 3.0
"""Seconds that no test's own limits take, however busy the machine is; what is not given up takes longer."""
ON_LINUX = pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has TCP_USER_TIMEOUT")

Through = Callable[[Timeouts], Awaitable[tuple[Door, Wire]]]


@pytest.fixture(autouse=True)
def namespace(api: KubernetesSandbox) -> None:
    api.apply(prod())


@pytest.fixture
async def through(api: KubernetesSandbox, tmp_path: Path) -> AsyncIterator[Through]:
    """A door whose requests all pass a wire."""
    async with AsyncExitStack() as stack:

        async def opened(timeouts: Timeouts) -> tuple[Door, Wire]:
            between = await stack.enter_async_context(wire(urlsplit(api.url).port or 80))
            path = kubeconfig(api, tmp_path, between.port)
            door = await stack.enter_async_context(connect("local", kubeconfig=str(path), timeouts=timeouts))
            return door, between

        yield opened


def kubeconfig(api: KubernetesSandbox, folder: Path, port: int) -> Path:
    path = folder / "kubeconfig"
    api.kubeconfig(path, {"local": None})
    written = yaml.safe_load(path.read_text())
    for cluster in written["clusters"]:
        cluster["cluster"]["server"] = f"http://127.0.0.1:{port}"
    path.write_text(yaml.safe_dump(written))
    return path


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_reads_whose_connections_died_unnoticed_are_answered_on_new_ones(through: Through) -> None:
    """However many dead connections there are; `read` is what one of them would cost."""
    door, between = await through(SHORT)
    await asyncio.gather(*(door.get_once(TM) for _ in range(6)))
    assert between.forget() == 6
    begun = now()
    await asyncio.gather(*(door.get_once(TM) for _ in range(12)))
    await door.get_once(TM)
    assert SHORT.first <= now() - begun < LONG


async def test_a_connection_is_used_again_in_a_burst_and_not_after_a_pause(through: Through) -> None:
    door, between = await through(SHORT)
    for _ in range(3):
        await door.get_once(TM)
    assert between.connections == 1
    await asyncio.sleep(SHORT.idle * 1.1)
    between.forget()
    await door.patch(TM, TEST)
    assert between.connections == 2


async def test_a_list_that_takes_longer_than_the_first_try_is_waited_for(
    api: KubernetesSandbox, through: Through
) -> None:
    door, _ = await through(SHORT)
    slow = api.faults.add(Fault("delay", verb="list", resource="pods", seconds=2 * SHORT.first))
    assert (await door.get_once(PODS))["kind"] == "PodList"
    assert slow.met == 2


async def test_a_server_that_says_nothing_on_any_connection_is_given_up(
    api: KubernetesSandbox, through: Through
) -> None:
    limits = Timeouts(first=0.1, read=0.3)
    door, _ = await through(limits)
    api.faults.add(Fault("delay", seconds=5))
    begun = now()
    with pytest.raises(Silent, match="no answer in time"):
        await door.get_once(TM)
    assert limits.first + limits.read <= now() - begun < LONG


async def test_a_write_without_an_answer_is_not_sent_again(api: KubernetesSandbox, through: Through) -> None:
    door, between = await through(replace(SHORT, write=1.5))
    slow = api.faults.add(Fault("delay", method="PATCH", seconds=5))
    with pytest.raises(Retryable, match="PATCH"):
        await door.patch(TM, TEST)
    assert slow.met == 1
    api.faults.remove(slow)
    await door.get_once(TM)
    between.forget()
    with pytest.raises(Retryable, match="PATCH"):
        await door.patch(TM, TEST)
    assert api.writes == [], "neither arrived, and neither was sent once more"


async def test_a_watch_whose_answer_does_not_begin_is_given_up_long_before_one_that_is_quiet(
    api: KubernetesSandbox, through: Through
) -> None:
    door, between = await through(Timeouts(read=0.2))
    between.silence()
    begun = now()
    with pytest.raises(Retryable, match="no answer in time"):
        await to_the_end(door, silence=30)
    assert now() - begun < LONG


async def to_the_end(door: Door, *, silence: float, begun: asyncio.Event | None = None) -> None:
    """Of a watch in which nothing happens after the first event and that the server would keep for long."""
    async with aclosing(door.follow(QUIET, {"watch": "true", "timeoutSeconds": "60"}, silence=silence)) as events:
        async for _ in events:
            if begun:
                begun.set()


@ON_LINUX
async def test_a_watch_whose_other_end_lost_its_cable_ends_for_lack_of_any_sign_of_life(through: Through) -> None:
    """Nobody waits for the watch's own limit, which has to be longer than a quiet watch."""
    limits = Timeouts(dead=2)
    door, between = await through(limits)
    told = asyncio.Event()
    following = asyncio.create_task(to_the_end(door, silence=30, begun=told))
    await told.wait()
    await between.unplug()
    begun = now()
    with pytest.raises(Retryable):
        await following
    assert now() - begun < limits.dead + LONG, "long before the watch's own limit"
