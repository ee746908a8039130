"""One queue for all controllers: events name the objects to look at, each is looked at once per turn."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from sandbox.kubernetes.store import Event, Store

Key = tuple[str | None, str]
"""Namespace and name."""


class Controller(Protocol):
    """Brings the objects of one kind towards what they ask for; level-triggered, so it may be called at any time."""

    def concerned(self, event: Event) -> Iterable[Key]:
        """The objects that an event, which is to be read only, gives a reason to look at again."""
        ...

    def reconcile(self, key: Key) -> None:
        """Look at one object, which may be gone, and do what can be done now."""
        ...


class Crew:
    """The sandbox's tasks. The first one to fail is remembered, wakes whoever waits, and is raised to the outside."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Future[None]] = set()
        self._crash: BaseException | None = None

    def start(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def check(self) -> None:
        """Raises what a task failed with, if any did."""
        if self._crash is not None:
            raise self._crash

    def beat(self) -> None:
        """Wake everybody in `changed`."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()

    async def changed(self) -> None:
        """Wait for the next change in the store. Raises what a task failed with."""
        self.check()
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)
        self.check()

    async def stop(self) -> None:
        """End all tasks. Raises what the first one failed with."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)
        self.check()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crash = self._crash or error
            self.beat()


class Work:
    """Reads the store's events and calls the controllers, in one task, so that no two of them act at once."""

    def __init__(self, store: Store, crew: Crew) -> None:
        self._store = store
        self._crew = crew
        self._controllers: list[Controller] = []
        self._listeners: list[Callable[[Event], None]] = []
        self._due: dict[tuple[int, Key], None] = {}
        self._wake = asyncio.Event()
        self._timers: dict[tuple[int, Key], asyncio.TimerHandle] = {}
        self._since: dict[tuple[int, str], float] = {}

    def add(self, *controllers: Controller) -> None:
        self._controllers += controllers

    def tell(self, listener: Callable[[Event], None]) -> None:
        """Have every event handed to `listener` as it comes, to be read only."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Returns when events are being read, so that nothing that is done from then on is missed."""
        reading = asyncio.Event()
        self._crew.start(self._read(reading), "events")
        self._crew.start(self._run(), "controllers")
        await reading.wait()

    def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    def now(self) -> float:
        """Simulated seconds since some moment."""
        return asyncio.get_running_loop().time() / self._store.clock.scale

    def again(self, controller: Controller, key: Key, seconds: float) -> None:
        """Have an object looked at in so many simulated seconds; the latest call for it counts."""
        entry = (self._controllers.index(controller), key)
        if previous := self._timers.pop(entry, None):
            previous.cancel()
        delay = seconds * self._store.clock.scale
        self._timers[entry] = asyncio.get_running_loop().call_later(delay, self._due_now, entry)

    def at_the_latest(self, controller: Controller, key: Key, seconds: float) -> None:
        """Have an object looked at in so many simulated seconds, unless another call has asked for it already."""
        if (self._controllers.index(controller), key) not in self._timers:
            self.again(controller, key, seconds)

    def has_waited(self, controller: Controller, key: Key, uid: str, seconds: float) -> bool:
        """Whether so many simulated seconds have passed since this was first asked about `uid`; if not, asks again."""
        entry = (self._controllers.index(controller), uid)
        left = self._since.setdefault(entry, self.now()) + seconds - self.now()
        if left > 0:
            self.again(controller, key, left)
            return False
        del self._since[entry]
        return True

    def _due_now(self, entry: tuple[int, Key]) -> None:
        self._timers.pop(entry, None)
        self._due[entry] = None
        self._wake.set()

    async def _read(self, reading: asyncio.Event) -> None:
        with self._store.feed() as feed:
            reading.set()
            while (event := await feed.get()) is not None:
                self._take(event)
                self._crew.beat()

    def _take(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)
        for index, controller in enumerate(self._controllers):
            for key in controller.concerned(event):
                self._due[index, key] = None
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._due:
                entry = next(iter(self._due))
                del self._due[entry]
                self._controllers[entry[0]].reconcile(entry[1])
            # Whoever else is ready to run comes first: a turn's events are then handled together.
            await asyncio.sleep(0)
