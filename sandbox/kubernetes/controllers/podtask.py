"""One pod as something that waits and writes: woken by events, ended by a deletion, never acting for a namesake."""

import asyncio
from collections.abc import Callable

from sandbox.kubernetes.clock import timestamp
from sandbox.kubernetes.controllers.object_faults import ObjectFault, faults_of
from sandbox.kubernetes.controllers.owners import is_terminating
from sandbox.kubernetes.resources import PODS, Object
from sandbox.kubernetes.store import ApiError, Store

SCHEDULER = "default-scheduler"
KUBELET = "kubelet"


class Gone(Exception):
    """The object is no longer there: there is nobody left to report to."""


class Ending(Exception):
    """Somebody deleted the pod, so whatever it was doing is over."""


class PodTask:
    """Knows its pod by uid and its present state by events."""

    def __init__(self, store: Store, pod: Object) -> None:
        self._store = store
        self.pod = pod
        self.namespace: str = pod["metadata"]["namespace"]
        self.name: str = pod["metadata"]["name"]
        self.uid: str = pod["metadata"]["uid"]
        self.is_over = False
        self._nudge = asyncio.Event()
        self._faults: frozenset[ObjectFault] | None = None

    @property
    def faults(self) -> frozenset[ObjectFault]:
        if self._faults is None:
            self._faults = faults_of(self._store, self.pod)
        return self._faults

    def wake(self) -> None:
        """Something it may wait for has changed."""
        self._nudge.set()

    def reconsider(self) -> None:
        """The faults above it have changed."""
        self._faults = None
        self.wake()

    def saw(self, pod: Object) -> None:
        """The pod's object has changed; events come later than what was written here, so the newest state stays."""
        if int(pod["metadata"]["resourceVersion"]) > int(self.pod["metadata"]["resourceVersion"]):
            self.pod = pod
        self.reconsider()

    def saw_gone(self) -> None:
        self.is_over = True
        self.wake()

    async def _pass(self, seconds: float, *, unless: Callable[[], bool] = lambda: False) -> None:
        """Let simulated time pass, or less of it when `unless` comes true. Raises Ending, Gone."""
        end = self._now() + seconds * self._store.clock.scale
        while (left := end - self._now()) > 0 and not unless():
            await self._next(left)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._next()

    async def _next(self, seconds: float | None = None) -> None:
        """Wait to be woken, so many real seconds at most. Raises Ending, Gone."""
        if is_terminating(self.pod):
            raise Ending
        await self._next_while_ending(seconds)
        if is_terminating(self.pod):
            raise Ending

    async def _pass_while_ending(self, seconds: float) -> None:
        end = self._now() + seconds * self._store.clock.scale
        while (left := end - self._now()) > 0:
            await self._next_while_ending(left)

    async def _next_while_ending(self, seconds: float | None = None) -> None:
        timer = None
        if seconds is not None:
            timer = asyncio.get_running_loop().call_later(seconds, self._nudge.set)
        try:
            await self._nudge.wait()
        finally:
            if timer is not None:
                timer.cancel()
        self._nudge.clear()
        if self.is_over:
            raise Gone

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _write(self, step: Callable[..., None], *arguments: object, actor: str = KUBELET) -> None:
        """Write the status that `step` makes of the present one. Raises Gone."""
        now = timestamp(self._store.clock.now())
        self._change(lambda pod: step(pod, now, *arguments), subresource="status", actor=actor)

    def _change(self, mutate: Callable[[Object], None], *, subresource: str, actor: str) -> None:
        def mutate_the_same(pod: Object) -> None:
            if pod["metadata"]["uid"] != self.uid:
                raise Gone
            mutate(pod)

        try:
            self.pod = self._store.change(
                PODS, self.namespace, self.name, mutate_the_same, subresource=subresource, actor=actor
            )
        except ApiError as error:
            if error.status == 404:
                raise Gone from error
            raise
