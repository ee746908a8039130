"""The bot in a process of its own, with a ticker in its event loop.

Run as a module with the configuration's path it is that process; at its end it prints the ticker's gaps as JSON.
"""

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bot.__main__ import run_until_told, serving, spare_the_collector
from bot.logs import configure_logging
from bot.settings import load_settings
from sandbox import Sandbox

TICK = 0.005
"""Seconds between two ticks; a gap is what a tick came later than that."""


@asynccontextmanager
async def served(box: Sandbox, configuration: Path) -> AsyncIterator["Measured"]:
    """Serving as long as the block runs, with production's times; afterwards what it measured is there."""
    environment = {"PATH": os.environ["PATH"], **box.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.served", str(configuration), env=environment, stdout=PIPE
    )
    assert process.stdout is not None
    try:
        await process.stdout.readline()
        measured = Measured(process)
        yield measured
    finally:
        process.terminate()
        said, _ = await process.communicate()
    measured.gaps = json.loads(said)


class Measured:
    """What the process knows of itself; ``gaps`` are seconds and there once it has ended."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.gaps: list[float] = []

    def memory(self) -> int:
        """Bytes of the process that are in memory (proc(5), VmRSS)."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])

    def begin(self) -> None:
        """Forget the ticks so far: they are of the start."""
        self._process.send_signal(signal.SIGUSR1)


async def _serve(configuration: Path) -> None:
    gaps: list[float] = []
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, gaps.clear)
    async with serving(load_settings(configuration, os.environ)):
        spare_the_collector()
        print("serving", flush=True)  # noqa: T201 - for the process that measures
        try:
            while True:
                before = time.perf_counter()
                await asyncio.sleep(TICK)
                gaps.append(time.perf_counter() - before - TICK)
        finally:
            print(json.dumps(gaps), flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    configure_logging()
    run_until_told(_serve(Path(sys.argv[1])))
