"""A command in a container, as plainly as it can be asked for: a WebSocket and its channels."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp

from tests.cluster.client import Client

PROTOCOL = "v5.channel.k8s.io"
STDOUT, STDERR, STATUS = 1, 2, 3


@dataclass
class Outcome:
    """What came over the channels."""

    stdout: str = ""
    stderr: str = ""
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def code(self) -> int:
        causes = self.status.get("details", {}).get("causes") or []
        codes = [int(one["message"]) for one in causes if one["reason"] == "ExitCode"]
        return codes[0] if codes else 0


async def run(client: Client, pod: str, command: list[str]) -> Outcome:
    """Run it in the pod's only container. Raises aiohttp.WSServerHandshakeError."""
    access, outcome = client.access, Outcome()
    words = [("command", word) for word in command]
    address = f"{access.url}{pod}/exec?{urlencode([*words, ('stdout', 'true'), ('stderr', 'true')])}"
    headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(address, protocols=[PROTOCOL], ssl=access.tls) as socket,
    ):
        async for message in socket:
            _hear(outcome, message.data)
    return outcome


def _hear(outcome: Outcome, data: bytes) -> None:
    channel, text = data[0], data[1:].decode()
    if channel == STDOUT:
        outcome.stdout += text
    elif channel == STDERR:
        outcome.stderr += text
    elif channel == STATUS:
        outcome.status = json.loads(text)
