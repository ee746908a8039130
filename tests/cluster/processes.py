"""Programs that run as long as they are wanted, each with its log, each ended by its own pid."""

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 10.0
"""Seconds from SIGTERM to SIGKILL."""
LOOK_AGAIN = 0.02
NOT_FOR_CLIENTS = range(20_000, 32_768)
"""The kernel gives clients' ends of connections ports from 32768 on (net.ipv4.ip_local_port_range)."""


class Ended(Exception):
    """A program ended that was to run; the text has its last lines."""


class Program:
    """One child process; what it writes is appended to one file."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self._command = [*_ending_with_parent(), *command]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def check(self) -> None:
        """Raises Ended."""
        code = self._process.poll() if self._process else None
        if code is not None:
            raise Ended(f"{self.name} ended with {code}:\n{self.last_lines()}")

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not end."""
        self.send(signal.SIGTERM)
        if not await self._gone(PATIENCE):
            await self.kill()

    async def kill(self) -> None:
        self.send(signal.SIGKILL)
        await self._gone(PATIENCE)

    async def _gone(self, seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self._process is not None and self._process.poll() is None:
            if loop.time() > end:
                return False
            await asyncio.sleep(LOOK_AGAIN)
        return True

    def last_lines(self, count: int = 15) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-count:])


def _environment() -> dict[str, str]:
    """Without KUBECONFIG: csi-provisioner prefers it to its own flag, and would work on somebody's cluster."""
    return {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}


def _ending_with_parent(by: str = "TERM") -> list[str]:
    """A test run that is killed leaves nothing running, where util-linux is there; it keeps the pid."""
    return ["setpriv", "--pdeathsig", by] if shutil.which("setpriv") else []


def started_again(command: Sequence[str]) -> list[str]:
    """The same, once more whenever it ends by itself, where util-linux is there to end it with the one that does so."""
    ending = _ending_with_parent("KILL")
    return (
        ["sh", "-c", f'while :; do "$@"; sleep {LOOK_AGAIN}; done', "sh", *ending, *command] if ending else [*command]
    )


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on, and that no client may have taken when a server is started again."""
    return list(
        islice((port for port in random.sample(NOT_FOR_CLIENTS, len(NOT_FOR_CLIENTS)) if _is_free(port)), count)
    )


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
