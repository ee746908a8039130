"""Slack's clock, which a test may run faster."""

import asyncio
import time


class Clock:
    """`scale` times a duration of Slack's is how long it really takes: at 0.01 three seconds are 30 ms."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def wall(self) -> float:
        """Unix time; never scaled, because people read it."""
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def after(self, seconds: float) -> float:
        """The monotonic time at which that many of Slack's seconds have passed."""
        return self.monotonic() + self.real(seconds)

    def passed(self, deadline: float) -> bool:
        return self.monotonic() >= deadline

    def real(self, seconds: float) -> float:
        return seconds * self.scale

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(self.real(seconds))
