"""Time in the sandbox: the real time, with shortened waiting."""

import asyncio
from datetime import UTC, datetime


class Clock:
    """Tells the real time; a simulated wait of one second takes `scale` real seconds."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def now(self) -> datetime:
        """The real time, aware, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Waits `seconds` of simulated time."""
        await asyncio.sleep(max(0.0, seconds) * self.scale)


def timestamp(moment: datetime) -> str:
    """As Kubernetes' metav1.Time is written: whole seconds, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parsed(stamp: str) -> datetime:
    """The moment behind a metav1.Time or metav1.MicroTime."""
    return datetime.fromisoformat(stamp)
