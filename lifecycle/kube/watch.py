"""A running picture: one list and then watches for each kind, put together only when every kind is known."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from lifecycle.errors import ClusterError, Forbidden
from lifecycle.kube import paths, read
from lifecycle.kube.answers import Json
from lifecycle.kube.door import Door, backoff
from lifecycle.kube.paths import Resource
from lifecycle.kube.picture import copies_of, kept_of, observed, resources_of
from lifecycle.model import DATABASES
from lifecycle.observed import Observed
from lifecycle.operation import Goal
from lifecycle.ports import Clock
from lifecycle.topology import Topology
from lifecycle.workloads import Exit

OVERTIME = 1 / 6
"""A server that is silent for this much longer than a watch lasts counts as hung: 30 s and 5 s (kubernetes 37)."""
LEAST_OVERTIME = 1.0
"""Seconds, of however short a watch: the server's own end of it may come late."""


@dataclass
class Mirror:
    """One kind as it is known here; ``version`` is what a watch continues from, ``known`` False until it is listed."""

    resource: Resource
    namespace: str
    asked: Mapping[str, str] = field(default_factory=dict)
    """Parameters that say which of its objects are meant; without any all are."""
    objects: dict[str, Json] = field(default_factory=dict)
    version: str = ""
    known: bool = False

    def fill(self, listed: Json) -> None:
        self.objects = {read.name_of(one): kept_of(self.resource, one) for one in listed.get("items") or []}
        self.version = str(read.metadata(listed).get("resourceVersion", ""))
        self.known = True

    def apply(self, event: Json) -> None:
        changed: Json = event["object"]
        self.version = str(read.metadata(changed)["resourceVersion"])
        if event["type"] == "DELETED":
            self.objects.pop(read.name_of(changed), None)
        elif event["type"] != "BOOKMARK":
            self.objects[read.name_of(changed)] = kept_of(self.resource, changed)


class Witness:
    """Collects how database containers ended; an exit that came while a watch was broken was not seen."""

    def __init__(self, topology: Topology) -> None:
        self._databases = [workload for workload in topology if workload.component in DATABASES]
        self._seen: dict[tuple[str, str], Exit] = {}

    @property
    def exits(self) -> tuple[Exit, ...]:
        return tuple(self._seen.values())

    def look(self, pod: Json) -> None:
        """At the state of a pod that is going or gone; the first word on a container counts."""
        if any(read.belongs(pod, workload) for workload in self._databases):
            for exit_ in read.exits(pod):
                self._seen.setdefault((exit_.pod_uid, exit_.container), exit_)


class Pictures:
    """The port `Watch`, kept up to date by one task per kind."""

    def __init__(self, door: Door, namespace: str, goal: Goal, clock: Clock, watch_seconds: float) -> None:
        self._door = door
        self._namespace = namespace
        self._goal = goal
        self._clock = clock
        self._seconds = watch_seconds
        self._mirrors = {resource: Mirror(resource, namespace) for resource in resources_of(goal)}
        self._copies = {
            shelf: Mirror(Resource.SECRETS, shelf.namespace, shelf.asked()) for shelf in copies_of(goal, namespace)
        }
        self._witness = Witness(goal.topology)
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._last: Observed | None = None

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._follow(mirror)) for mirror in self._all()]
        for task in self._tasks:
            task.add_done_callback(lambda _: self._changed.set())

    def _all(self) -> list[Mirror]:
        return [*self._mirrors.values(), *self._copies.values()]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def next(self, wait: float) -> Observed | None:
        """See the port."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                return await self._different()
        picture = self._picture()
        self._last = picture or self._last
        return picture

    async def _different(self) -> Observed:
        while True:
            self._changed.clear()
            picture = self._picture()
            if picture is not None and not _same(picture, self._last):
                self._last = picture
                return picture
            await self._changed.wait()

    def _picture(self) -> Observed | None:
        """None while a kind is not known. Raises what ended a task: Forbidden."""
        for task in self._tasks:
            if task.done():
                task.result()
        if not all(mirror.known for mirror in self._all()):
            return None
        lists = {resource: mirror.objects.values() for resource, mirror in self._mirrors.items()}
        copied = {shelf: mirror.objects.values() for shelf, mirror in self._copies.items()}
        return observed(self._goal, self._namespace, lists, self._clock.now(), copied, self._witness.exits)

    async def _follow(self, mirror: Mirror) -> None:
        """For ever: list, then watch after watch; an error makes the kind unknown until it is listed again."""
        failures = 0
        while True:
            try:
                await self._list(mirror)
                while True:
                    failures = 0 if await self._watch(mirror) else failures + 1
                    await self._pause(failures)
            except Forbidden:
                raise
            except ClusterError as error:
                mirror.known = False
                failures += 1
                await self._pause(failures, getattr(error, "after", None) or 0)

    async def _pause(self, failures: int, at_least: float = 0) -> None:
        if failures:
            await asyncio.sleep(max(at_least, backoff(failures - 1, self._door.jitter(), longest=5)))

    async def _list(self, mirror: Mirror) -> None:
        path = paths.all_of(mirror.resource, mirror.namespace)
        mirror.fill(await self._door.get_once(path, mirror.asked, accept=mirror.resource.listed_as))
        for found in mirror.objects.values():
            self._note(mirror.resource, found, is_gone=False)
        self._changed.set()

    async def _watch(self, mirror: Mirror) -> bool:
        """One watch, until the server ends it. False where it ended at once and empty, as behind a broken proxy."""
        loop = asyncio.get_running_loop()
        begun, told = loop.time(), False
        params = {
            **mirror.asked,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": mirror.version,
            "timeoutSeconds": f"{self._seconds:g}",
        }
        path = paths.all_of(mirror.resource, mirror.namespace)
        silence = self._seconds + max(LEAST_OVERTIME, self._seconds * OVERTIME)
        accept = mirror.resource.watched_as
        async with aclosing(self._door.follow(path, params, silence=silence, accept=accept)) as events:
            async for event in events:
                told = True
                mirror.apply(event)
                self._note(mirror.resource, event["object"], is_gone=event["type"] == "DELETED")
                self._changed.set()
        return told or loop.time() - begun > self._seconds / 2

    def _note(self, resource: Resource, found: Json, *, is_gone: bool) -> None:
        if resource is Resource.PODS and (is_gone or read.is_deleting(found)):
            self._witness.look(found)


def _same(one: Observed, other: Observed | None) -> bool:
    """Whether they differ in nothing but their time."""
    return other is not None and one == replace(other, at=one.at)


@asynccontextmanager
async def pictures(
    door: Door, namespace: str, goal: Goal, clock: Clock, watch_seconds: float
) -> AsyncIterator[Pictures]:
    """Watches run as long as the block does."""
    running = Pictures(door, namespace, goal, clock, watch_seconds)
    running.start()
    try:
        yield running
    finally:
        await running.stop()
