"""How soon slash commands are acknowledged under load, and how long the event loop stands still."""

import asyncio
import re
from collections.abc import Iterable, Sequence
from itertools import cycle, islice, repeat
from pathlib import Path

import sandbox
from benchmarks.figures import Figure, milliseconds, percentile
from benchmarks.served import served
from sandbox import Sandbox, tml
from sandbox.kubernetes import FAULT_ANNOTATION
from sandbox.kubernetes.resources import STATEFULSETS
from sandbox.slack import Reply

A_SECOND = 50
SECONDS = 20
FLOOD = 1000
MIXED = (("dave", "status prod"), ("dave", "help"), ("alice", "plan stop prod"), ("bob", "stop staging"))
"""The last one is refused: a stop of staging runs all the time."""


async def acks(folder: Path) -> Sequence[Figure]:
    """A thousand commands while a stop waits for a pod that does not end."""
    async with (
        sandbox.start(folder, time_scale=0.01, limits=None) as box,
        served(box, _patient(box.write_configuration())) as bot,
    ):
        await _stop_that_lasts(box)
        bot.begin()
        replies = await _sent(box, islice(cycle(MIXED), A_SECOND * SECONDS), A_SECOND)
        answers = await asyncio.gather(*(reply.answers(1, timeout=60) for reply in replies))
    acked = [reply.acked_in for reply in replies if reply.acked_in is not None]
    load = f"{A_SECOND} commands/s for {SECONDS} s while a stop runs"
    return (
        Figure(f"{load}: acknowledged", f"{len(acked)} of {len(replies)}, {len(answers)} answered", "all"),
        Figure("  time to the ack, p50", milliseconds(percentile(acked, 0.5))),
        Figure("  time to the ack, p99", milliseconds(percentile(acked, 0.99)), "under 100 ms"),
        Figure("  time to the ack, longest", milliseconds(max(acked))),
        Figure("  event loop, longest gap of a 5 ms ticker", milliseconds(max(bot.gaps))),
        Figure("  event loop, p99 gap of a 5 ms ticker", milliseconds(percentile(bot.gaps, 0.99))),
    )


async def flood(folder: Path) -> Sequence[Figure]:
    """A thousand commands within a second: each is answered, or turned away at once."""
    async with (
        sandbox.start(folder, time_scale=0.01, limits=None) as box,
        served(box, box.write_configuration()) as bot,
    ):
        dave = box.slack.person("dave")
        await (await dave.types("/tml status prod", "ops")).answers(1, timeout=60)
        bot.begin()
        before = bot.memory()
        replies = await _sent(box, repeat(("dave", "status prod"), FLOOD), FLOOD)
        answers = await asyncio.gather(*(reply.answers(1, timeout=60) for reply in replies))
        grown = bot.memory() - before
    refused = sum("asked too much at once" in str(one[-1].blocks) for one in answers)
    acked = [reply.acked_in for reply in replies if reply.acked_in is not None]
    return (
        Figure(f"{FLOOD} commands in a second: acknowledged", f"{len(acked)} of {FLOOD}", "all"),
        Figure("  answered / politely refused", f"{len(answers) - refused} / {refused}", "all"),
        Figure("  time to the ack, longest", milliseconds(max(acked)), "under 3 s"),
        Figure("  event loop, longest gap of a 5 ms ticker", milliseconds(max(bot.gaps)), "under 50 ms"),
        Figure("  memory grown by", f"{grown / 1024**2:.0f} MiB"),
    )


def _patient(configuration: Path) -> Path:
    configuration.write_text(re.sub(r"down: \d+s", "down: 10m", configuration.read_text()))
    return configuration


async def _stop_that_lasts(box: Sandbox) -> None:
    box.kubernetes.annotate(STATEFULSETS, tml.STAGING_NAMESPACE, "mysql-set-0", FAULT_ANNOTATION, "stuck-terminating")
    await box.slack.person("alice").types("/tml stop staging", "ops")
    await box.slack.until(lambda slack: slack.channel_messages("ops"), 10, "the stop's live message")


async def _sent(box: Sandbox, commands: Iterable[tuple[str, str]], a_second: int) -> Sequence[Reply]:
    """Sent at their times, whether the ones before are answered or not."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    sent = []
    for number, (person, words) in enumerate(commands):
        await asyncio.sleep(begun + number / a_second - loop.time())
        sent.append(asyncio.create_task(box.slack.person(person).types(f"/tml {words}", "ops")))
    return await asyncio.gather(*sent)
