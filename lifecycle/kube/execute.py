"""A command in a container of a pod: run once, over a WebSocket, and never again by itself."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import IntEnum

from lifecycle.errors import Invalid, Retryable
from lifecycle.kube import paths
from lifecycle.kube.answers import Json
from lifecycle.kube.door import Door
from lifecycle.kube.masking import shown

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
"""The first byte of each message says of which channel the rest is; the last message is a Status (apimachinery)."""
LONGEST_OUTPUT = 64 * 1024
"""Bytes that are kept of each stream; what comes after them is read and dropped."""


class Channel(IntEnum):
    """The first byte of a message."""

    STDOUT = 1
    STDERR = 2
    STATUS = 3


@dataclass(frozen=True)
class Executed:
    """How a command ended, and the first LONGEST_OUTPUT bytes of what it wrote: it may be anything, secrets too."""

    code: int
    stdout: str = field(default="", repr=False)
    stderr: str = field(default="", repr=False)


async def execute(
    door: Door, namespace: str, pod: str, container: str, command: Sequence[str], *, seconds: float
) -> Executed:
    """Run the command, a program and its arguments, and wait for its end.

    Raises Gone where there is no such pod; Invalid where it has no such container, or that cannot run the program;
    Forbidden; Retryable where the container does not run, or the end was not heard of within ``seconds``: then
    whether and how far the command ran is not known, and in the container it may still run.
    """
    path = paths.execution(namespace, pod)
    params = {"container": container, "command": list(command), "stdout": "true", "stderr": "true"}
    heard = {channel: bytearray() for channel in Channel}
    try:
        async with asyncio.timeout(seconds), aclosing(door.converse(path, params, PROTOCOLS)) as messages:
            async for message in messages:
                _hear(heard, message)
    except TimeoutError:
        raise Retryable(f"exec in {pod}/{container}: not at its end after {seconds:g} s") from None
    code = _exit_code(f"exec in {pod}/{container}", bytes(heard[Channel.STATUS]))
    return Executed(code, _text(heard[Channel.STDOUT]), _text(heard[Channel.STDERR]))


def _hear(heard: dict[Channel, bytearray], message: bytes) -> None:
    """Servers open each channel with an empty message."""
    if message and message[0] in heard:
        kept = heard[Channel(message[0])]
        kept += message[1 : 1 + LONGEST_OUTPUT - len(kept)]


def _text(stream: bytearray) -> str:
    return stream.decode(errors="replace")


def _exit_code(what: str, status: bytes) -> int:
    """What the last message says. Raises Invalid where the program did not run at all."""
    try:
        said = json.loads(status)
    except ValueError:
        raise Retryable(f"{what}: cut off before its end") from None
    if said.get("status") == "Success":
        return 0
    code = _cause(said, "ExitCode")
    if code is None:
        raise Invalid(f"{what}: {shown(str(said.get('message') or said.get('reason') or 'it could not be run'))}")
    return code


def _cause(status: Json, reason: str) -> int | None:
    causes = (status.get("details") or {}).get("causes") or []
    found = (str(one.get("message")) for one in causes if one.get("reason") == reason)
    return next((int(text) for text in found if text.isdecimal()), None)
