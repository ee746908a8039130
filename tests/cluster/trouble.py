"""What shakes the ground under an operation: of the API server, and of the wire to it."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.cluster.ground import Ground
from tests.cluster.town import Box

Trouble = Callable[[Box], Awaitable[None]]


async def killed(box: Box) -> None:
    """Whatever the API server had in memory is gone, every connection is cut."""
    await box.plane.kill_api_server()
    await box.plane.start_api_server()


async def compacted(box: Box) -> None:
    """No watch can go on from where it was."""
    await box.plane.compact()
    await killed(box)


async def cut(box: Box) -> None:
    """Five times, watches and all."""
    for _ in range(5):
        box.wire.cut()
        await connected_again(box)


async def connected_again(box: Box) -> None:
    before = box.wire.connections
    async with asyncio.timeout(60):
        while box.wire.connections == before:  # noqa: ASYNC110 - the wire has nobody to tell
            await asyncio.sleep(0.02)


async def silent(box: Box) -> None:
    """Connections that look alive, until the bot makes new ones in vain."""
    box.wire.silence()
    try:
        await connected_again(box)
    finally:
        box.wire.talk()


async def forgotten(box: Box) -> None:
    """Connections that look alive and are dead for good, watches and all; new ones work."""
    assert box.wire.forget()


async def frozen(box: Box) -> None:
    """An API server that accepts and never answers, until the bot has connected once more."""
    box.plane.freeze_api_server()
    try:
        await connected_again(box)
    finally:
        box.plane.thaw_api_server()


OF_THE_SERVER: tuple[Trouble, ...] = (killed, compacted, frozen)
TROUBLE: tuple[Trouble, ...] = (killed, compacted, cut, silent, forgotten, frozen)


LOSSES: tuple[Trouble, ...] = (killed, compacted, cut)
"""Those that take something from the bot; stop, start, delete and restore go through the silent ones as well."""


def allowed(trouble: Trouble, ground: Ground) -> None:
    """Skips the test where it is not."""
    if trouble in OF_THE_SERVER:
        ground.own("nobody may kill, freeze or compact its servers")


def name_of(trouble: Trouble) -> str:
    return getattr(trouble, "__name__", "trouble")
