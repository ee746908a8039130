"""The main job as people see it: a stop, a start that fails, its repair, the start again, the history."""

from collections.abc import Callable
from textwrap import indent

from sandbox import Sandbox, tml
from sandbox.kubernetes import FAULT_ANNOTATION
from sandbox.kubernetes.resources import STATEFULSETS
from sandbox.slack import Message, Person

Say = Callable[[str], None]

CHANNEL = "prod"
PATIENCE = 30.0
"""Seconds, a limit for each wait; every wait ends as soon as what it waits for is there."""


async def play(box: Sandbox, say: Say) -> str:
    """Run the story, tell each scene, and return the transcript of the channel."""
    alice, bob = box.slack.person("alice"), box.slack.person("bob")
    say("1. Alice stops prod. It is production, so the bot asks her first, privately:")
    say(await order(box, alice, "stop prod because patching the nodes", "Stopped prod"))
    say("   She presses it.")
    say("2. Bob starts it, and MySQL does not get ready.")
    mysql(box, "never-ready")
    await order(box, bob, "start prod because patching is done", "FAILED to start prod")
    say("3. MySQL is repaired. The same command goes on from there.")
    mysql(box, None)
    await order(box, bob, "start prod because mysql is repaired", "Started prod")
    say("4. Dave, who may only look, asks what happened, and is refused a stop.")
    dave = box.slack.person("dave")
    for text in ("history prod", "stop prod because I am curious"):
        await answered(dave, text)
    return box.slack.transcript(CHANNEL)


async def order(box: Sandbox, person: Person, words: str, ending: str) -> str:
    """Type the command, press the card's button, wait until the operation's message says how it ended.

    Returns the card as it stood before the press.
    """
    before = {message.ts for message in box.slack.channel_messages(CHANNEL)}
    card = await answered(person, words)
    shown = indent(box.slack.shown(card), "   | ")
    await person.presses("confirm", card)

    def ended(_slack: object) -> Message | None:
        fresh = [message for message in box.slack.channel_messages(CHANNEL) if message.ts not in before]
        return next((message for message in fresh if message.text.startswith(ending)), None)

    live = await box.slack.until(ended, PATIENCE, f"a message that begins with {ending!r}")
    await box.slack.until(lambda slack: told(slack.thread(CHANNEL, live.ts)), PATIENCE, "the summary in the thread")
    return shown


def told(thread: list[Message]) -> bool:
    """Whether the last reply is the operation's summary, which has the table of the volumes."""
    return "*Volumes*" in str(thread[-1].blocks)


async def answered(person: Person, words: str) -> Message:
    """The private answer to a slash command."""
    reply = await person.types(f"/tml {words}", CHANNEL)
    return (await reply.answers(1, timeout=PATIENCE))[-1]


def mysql(box: Sandbox, fault: str | None) -> None:
    """Break or repair the StatefulSet's pods."""
    box.kubernetes.annotate(STATEFULSETS, tml.PROD_NAMESPACE, "mysql-set-0", FAULT_ANNOTATION, fault)
