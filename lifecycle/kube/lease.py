"""The namespace's Lease `tml-bot`: who runs an operation there.

Own code, because the client's leader election does not notice an API server that hangs (measured on 37.0.2). Every
write is a compare-and-swap on the resourceVersion, and other clocks are never compared with ours: a foreign Lease has
run out when it did not change for its duration, by our monotonic clock.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from lifecycle.errors import ClusterError, Conflict, Forbidden, Gone, Invalid, LeaseHeld, Retryable
from lifecycle.kube import paths
from lifecycle.kube.answers import Json
from lifecycle.kube.door import Door
from lifecycle.kube.paths import Resource
from lifecycle.kube.read import metadata, spec_of
from lifecycle.plain import rfc3339
from lifecycle.ports import Clock

NAME = "tml-bot"


@dataclass(frozen=True)
class LeaseTiming:
    """Seconds. ``trust`` is how long a confirmed renewal allows writing; the rest of ``duration`` is for what is
    under way then (a write takes 4 s at most).
    """

    renew: float = 5
    trust: float = 10
    duration: float = 15
    retry: float = 1
    """Between two looks at a foreign Lease, and after a renewal that did not come through."""

    @property
    def written(self) -> int:
        """As the API wants it: whole seconds, at least one."""
        return max(1, math.ceil(self.duration))


class HeldLease:
    """The port `Lease`; made by `hold`."""

    def __init__(self, door: Door, namespace: str, holder: str, clock: Clock, timing: LeaseTiming) -> None:
        self._door = door
        self._namespace = namespace
        self._holder = holder
        self._clock = clock
        self._timing = timing
        self._record: Json = {}
        self._confirmed = -math.inf
        self._lost = False

    @property
    def is_held(self) -> bool:
        return not self._lost and self._clock.monotonic() < self._confirmed + self._timing.trust

    async def acquire(self, patience: float) -> None:
        """Raises LeaseHeld, Forbidden, or Retryable when Kubernetes did not answer for as long as a Lease lasts."""
        sight = Sight(self._clock, self._timing)
        begun = self._clock.monotonic()
        while True:
            waited = self._clock.monotonic() - begun
            try:
                found = await self._read()
                sight.of(found)
                if await self._take(found, sight):
                    return
                if waited >= patience and sight.was_renewed:
                    raise LeaseHeld(self._namespace, sight.holder)
            except Retryable:
                if waited >= max(patience, self._timing.duration):
                    raise
            await asyncio.sleep(self._timing.retry)

    async def _read(self) -> Json | None:
        with suppress(Gone):
            return await self._door.get_once(self._path)
        return None

    async def _take(self, found: Json | None, sight: "Sight") -> bool:
        """Whether it is ours now: it was free, had run out, or bears what we wrote without hearing the answer."""
        try:
            if found is not None and self._is_ours(found):
                self._record = found
                return await self._renew_once()
            if not sight.has_run_out:
                return False
            self._record = self._claim(found)
            return await self._write(create=found is None)
        except Conflict:
            return False

    def _claim(self, found: Json | None) -> Json:
        """The object that says it is ours: with the name, labels and transitions of the one that is there."""
        now = rfc3339(self._clock.now())
        transitions = int(spec_of(found or {}).get("leaseTransitions") or 0)
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata(found or {}) or {"name": NAME, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._holder,
                "leaseDurationSeconds": self._timing.written,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": transitions + 1,
            },
        }

    def _is_ours(self, found: Json) -> bool:
        """Holder names may repeat after a crash; together with our own acquireTime they do not."""
        ours, theirs = spec_of(self._record), spec_of(found)
        same = all(ours.get(key) == theirs.get(key) for key in ("holderIdentity", "acquireTime", "leaseTransitions"))
        return bool(ours) and same

    async def _write(self, *, create: bool = False) -> bool:
        """The renewal counts from before it was sent: it may have been recorded at any time since."""
        sent = self._clock.monotonic()
        if create:
            self._record = await self._door.create(paths.all_of(Resource.LEASES, self._namespace), self._record)
        else:
            self._record = await self._door.replace(self._path, self._record)
        self._confirmed = sent
        return True

    async def keep(self) -> None:
        """Renew until cancelled, or until somebody else holds it."""
        wait = self._timing.renew
        while not self._lost:
            await asyncio.sleep(wait)
            wait = self._timing.renew if await self._renew() else self._timing.retry

    async def _renew(self) -> bool:
        try:
            return await self._renew_once()
        except Conflict:
            return await self._look_again()
        except (Gone, Invalid):
            self._lost = True
        except (Retryable, Forbidden):
            pass  # tried again; meanwhile the last renewal gets older, and `is_held` with it
        return False

    async def _renew_once(self) -> bool:
        renewed = {**spec_of(self._record), "renewTime": rfc3339(self._clock.now())}
        before, self._record = self._record, {**self._record, "spec": renewed}
        try:
            return await self._write()
        except ClusterError:
            self._record = before
            raise

    async def _look_again(self) -> bool:
        """Ours still, with another resourceVersion (a renewal whose answer was lost)? Then it is renewed at once."""
        try:
            found = await self._read()
            self._lost = found is None or not self._is_ours(found)
            if found is None or self._lost:
                return False
            self._record = found
            return await self._renew_once()
        except ClusterError:
            return False

    async def release(self) -> None:
        """Free it for the next one; where that fails it runs out by itself."""
        if self._lost:
            return
        self._lost = True
        with suppress(ClusterError):
            try:
                await self._free(self._record)
            except Conflict:
                found = await self._read()
                if found is not None and self._is_ours(found):
                    await self._free(found)

    async def _free(self, record: Json) -> None:
        await self._door.replace(self._path, {**record, "spec": {**spec_of(record), "holderIdentity": ""}})

    @property
    def _path(self) -> str:
        return paths.one_of(Resource.LEASES, self._namespace, NAME)


class Sight:
    """A foreign Lease as it was seen over time; its own clock readings are not looked at."""

    def __init__(self, clock: Clock, timing: LeaseTiming) -> None:
        self._clock = clock
        self._timing = timing
        self._version: str | None = None
        self._changed_at = -math.inf
        self._duration = timing.duration
        self.holder = ""
        self.was_renewed = False

    def of(self, found: Json | None) -> None:
        spec = spec_of(found or {})
        version = metadata(found or {}).get("resourceVersion", "")
        self.holder = spec.get("holderIdentity") or ""
        if version == self._version:
            return
        self.was_renewed = self._version is not None and bool(self.holder)
        self._version, self._changed_at = version, self._clock.monotonic()
        self._duration = self._seconds(spec.get("leaseDurationSeconds"))

    def _seconds(self, written: int | None) -> float:
        """What is written is rounded up; a holder with our timing is judged by our timing."""
        return self._timing.duration if written in (None, self._timing.written) else float(written)

    @property
    def has_run_out(self) -> bool:
        return not self.holder or self._clock.monotonic() >= self._changed_at + self._duration


@asynccontextmanager
async def hold(
    door: Door, namespace: str, holder: str, clock: Clock, timing: LeaseTiming, *, patience: float
) -> AsyncIterator[HeldLease]:
    """Renewed as long as the block runs, then released. Raises what `HeldLease.acquire` does."""
    lease = HeldLease(door, namespace, holder, clock, timing)
    await lease.acquire(patience)
    keeping = asyncio.create_task(lease.keep())
    try:
        yield lease
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await lease.release()
