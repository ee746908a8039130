"""The main job as people see it: a stop, a failed start, its repair; a delete and its undo; a restore from a set."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import indent

from sandbox import Sandbox, tml
from sandbox.kubernetes import FAULT_ANNOTATION
from sandbox.kubernetes.resources import CLAIMS, STATEFULSETS
from sandbox.slack import Message, Person

Say = Callable[[str], None]
Contents = Mapping[str, bytes]
"""What is in a volume: its files by their paths."""

CHANNEL = "prod"
SQLVOL, CACHEVOL = "sqlvol-mysql-set-0-0", "cachevol-cache-set-0-0"
"""The second is in no set, unless the configuration says so."""
PATIENCE = 30.0
"""Seconds, a limit for each wait; every wait ends as soon as what it waits for is there."""
SUMMARY = ("*Volumes*", "'undo'", "the set of before is")
"""What only the last reply of an operation's thread has: the table of the volumes, or the way back."""
IMPORT = "bad-import.sql"
"""What is written after the set was cut."""
MODAL_TAIL = 6
"""Lines of the modal that are not on the card: the inputs, and the error below one."""


async def play(box: Sandbox, say: Say) -> str:
    """Run the story, tell each scene, and return the transcript of the channel."""
    alice, bob, carol, dave = (box.slack.person(name) for name in ("alice", "bob", "carol", "dave"))
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
    for text in ("history prod", "stop prod because I am curious"):
        await answered(dave, text)
    before = await gone_and_back(box, say, alice, carol)
    await back_in_time(box, say, alice, carol, before)
    return box.slack.transcript(CHANNEL)


async def gone_and_back(box: Sandbox, say: Say, alice: Person, carol: Person) -> Mapping[str, Contents]:
    """A delete that its requester cannot approve, and its undo; the bytes of every volume, which are compared."""
    found = folders(box)
    before = {claim: contents(folder) for claim, folder in found.items()}
    say("5. Alice asks to delete prod. That takes a second person, and this stands in the channel:")
    card = await asked(box, alice, "delete prod because it moves to another region")
    say(framed(box.slack.shown(card)))
    say("   Alice presses Approve … herself:")
    say(framed(box.slack.shown(await answer_to(alice, "approve", card))))
    say("   Carol presses it. The modal shows the plan again; she types another cluster's name:")
    say(framed(await typed_wrong(box, carol, card)))
    say("   Then prod, and it is carried out.")
    deleted = await approved(box, carol, "Deleted prod")
    kept = {claim: contents(folder) for claim, folder in found.items()}
    say(f"6. {len(folders(box))} claims are left. Alice presses Undo in the thread, and is asked first:")
    again = await answer_to(alice, "undo", box.slack.thread(CHANNEL, deleted.ts)[-1])
    say(framed(box.slack.shown(again)))
    await confirmed(box, alice, again, "Restored prod")
    say("   She presses it. The bytes of each volume (sha256): before the delete, while prod was gone, after the undo:")
    after = {claim: contents(folder) for claim, folder in folders(box).items()}
    say(framed("\n".join(compared(before, kept, after))))
    say("   (after the undo without what each pod's start has added to its volume since)")
    return before


async def back_in_time(box: Sandbox, say: Say, alice: Person, carol: Person, before: Mapping[str, Contents]) -> None:
    """A restore in place from the set that the delete cut on its way."""
    box.kubernetes.volumes.write(tml.PROD_NAMESPACE, SQLVOL, IMPORT, b"DROP TABLE apis;")
    say("7. An import goes wrong. The delete cut a snapshot set on its way, and Alice presses Restore beside it:")
    listed = await answered(alice, "snapshots prod")
    view = await alice.opens("restore_set", listed, timeout=PATIENCE)
    say(framed(box.slack.rendered(view)))
    await alice.submits(view, {"reason": "the import was bad"})
    say("   Carol reads the card and its modal, types prod, and it is carried out.")
    card = await carded(box, "Restore-in-place prod? Needs")
    await carol.opens("approve", card, timeout=PATIENCE)
    await approved(box, carol, "Restored in place prod")
    after = {claim: contents(folder) for claim, folder in folders(box).items()}
    say("   The bytes of each volume in the set (sha256): before the delete, and now:")
    say(framed("\n".join(compared({claim: before[claim] for claim in before if claim != CACHEVOL}, after))))
    say(f"   {IMPORT} is {'STILL THERE' if IMPORT in after[SQLVOL] else 'gone'}.")


async def order(box: Sandbox, person: Person, words: str, ending: str) -> str:
    """Type the command, press the card's button, wait until the operation's message says how it ended.

    Returns the card as it stood before the press.
    """
    card = await answered(person, words)
    shown = framed(box.slack.shown(card))
    await confirmed(box, person, card, ending)
    return shown


async def confirmed(box: Sandbox, person: Person, card: Message, ending: str) -> None:
    """Press the card's button and see the operation through."""
    before = {message.ts for message in box.slack.channel_messages(CHANNEL)}
    await person.presses("confirm", card)
    await ended(box, before, ending)


async def ended(box: Sandbox, before: set[str], ending: str) -> Message:
    """The operation's message that is not among those, once it begins so and its thread has its summary."""

    def told_so(_slack: object) -> Message | None:
        fresh = [message for message in box.slack.channel_messages(CHANNEL) if message.ts not in before]
        return next((message for message in fresh if message.text.startswith(ending)), None)

    live = await box.slack.until(told_so, PATIENCE, f"a message that begins with {ending!r}")
    await box.slack.until(lambda slack: told(slack.thread(CHANNEL, live.ts)), PATIENCE, "the summary in the thread")
    return live


def told(thread: list[Message]) -> bool:
    """Whether the last reply is the operation's summary."""
    return any(words in str(thread[-1].blocks) for words in SUMMARY)


async def asked(box: Sandbox, person: Person, words: str) -> Message:
    """Type what takes a second person; the card in the channel."""
    await answered(person, words)
    return await carded(box, "Delete prod? Needs")


async def carded(box: Sandbox, start: str) -> Message:
    """The card that asks for a second person."""

    def posted(_slack: object) -> Message | None:
        return next((one for one in box.slack.channel_messages(CHANNEL) if one.text.startswith(start)), None)

    return await box.slack.until(posted, PATIENCE, f"a card that begins with {start!r}")


async def typed_wrong(box: Sandbox, person: Person, card: Message) -> str:
    """Open the modal and type a name that is not the cluster's; how the modal ends then."""
    view = await person.opens("approve", card)
    await person.submits(view, {"name": "staging"})
    return "\n".join(box.slack.rendered(view).splitlines()[-MODAL_TAIL:])


async def approved(box: Sandbox, person: Person, ending: str) -> Message:
    """Type the right name into the modal that is open, and see the operation through."""
    assert person.modal is not None
    before = {message.ts for message in box.slack.channel_messages(CHANNEL)}
    await person.submits(person.modal, {"name": "prod", "reason": "agreed with the team"})
    return await ended(box, before, ending)


async def answered(person: Person, words: str) -> Message:
    """The private answer to a slash command."""
    reply = await person.types(f"/tml {words}", CHANNEL)
    return (await reply.answers(1, timeout=PATIENCE))[-1]


async def answer_to(person: Person, button: str, message: Message) -> Message:
    """The private answer to a press."""
    reply = await person.presses(button, message)
    return (await reply.answers(1, timeout=PATIENCE))[-1]


def framed(text: str) -> str:
    return indent(text, "   | ")


def mysql(box: Sandbox, fault: str | None) -> None:
    """Break or repair the StatefulSet's pods."""
    box.kubernetes.annotate(STATEFULSETS, tml.PROD_NAMESPACE, "mysql-set-0", FAULT_ANNOTATION, fault)


def folders(box: Sandbox) -> dict[str, Path]:
    """Where the bytes of each claim's volume lie."""
    claims = (one["metadata"]["name"] for one in box.kubernetes.store.list(CLAIMS, tml.PROD_NAMESPACE))
    return {claim: box.kubernetes.volumes.folder_of(tml.PROD_NAMESPACE, claim) for claim in claims}


def contents(folder: Path) -> Contents:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def compared(*states: Mapping[str, Contents]) -> Sequence[str]:
    """A line for each claim: what was there in the first state, as it is in each, and whether it is the same."""
    first = states[0]
    width = max(map(len, first))
    lines = []
    for claim, wanted in sorted(first.items()):
        digests = [digest(state.get(claim, {}), wanted) for state in states]
        verdict = "the same" if len(set(digests)) == 1 else "NOT THE SAME"
        lines.append("   ".join([claim.ljust(width), *(one[:12] for one in digests), verdict]))
    return lines


def digest(found: Contents, wanted: Contents) -> str:
    """The sha256 over the files of ``wanted`` as they are in ``found``, each as far as it went."""
    whole = hashlib.sha256()
    for path, content in sorted(wanted.items()):
        whole.update(f"{path}\0{len(content)}\0".encode())
        whole.update(found.get(path, b"")[: len(content)])
    return whole.hexdigest()
