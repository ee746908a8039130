"""Runs operations as tasks of this process, takes up what another left, and looks after what failed late."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

import structlog

from lifecycle.configuration import is_missed
from lifecycle.decide.cancel import takes_no_step
from lifecycle.errors import ClusterError, Fenced
from lifecycle.model import Target, Verb
from lifecycle.operation import Operation, Outcome, State
from lifecycle.ports import Clock, Cluster
from lifecycle.runner import Runner
from storage.database import StorageError
from storage.operations import Operations

log = structlog.get_logger(__name__)

FOLLOWED = frozenset({Verb.START, Verb.RESTART, Verb.RETURN})
"""A stop that is late is seen by the next status; a start that is late is what people wait for."""

BROKE = (
    "internal error: the bot could not go on. What was done stands above; what was not is unknown here, so look with "
    "status. The trace is in the bot's log"
)
NOT_CONFIGURED = (
    "its context and namespace are not in the bot's configuration any more, so it was not gone on with. What was done "
    "stands above; what was not is unknown here"
)

AGAIN = 5.0
"""Seconds before an operation whose record could not be written is taken up again."""


def ended_as(operation: Operation, outcome: Outcome) -> Outcome:
    """What failed before, and was being started again when this happened, is what people have to know first."""
    return operation.ended(outcome)


def _is_followed(failed: Operation) -> bool:
    """What was cancelled was not late."""
    return failed.verb in FOLLOWED and not (failed.outcome and failed.outcome.cancelled)


class Site(Protocol):
    """A configured cluster: the door to it and where its gateway answers."""

    @property
    def cluster(self) -> Cluster: ...

    @property
    def probe_url(self) -> str | None: ...


class Executor:
    """One task per running operation, one per failed one that is still watched."""

    def __init__(self, runner: Runner, operations: Operations, sites: Mapping[str, Site], clock: Clock) -> None:
        self._runner = runner
        self._operations = operations
        self._sites = {site.cluster.target: site for site in sites.values()}
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._carrying: dict[str, asyncio.Task[None]] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._following: dict[Target, asyncio.Task[None]] = {}
        self._closed = False

    def begin(self, operation: Operation) -> None:
        """Run it; returns at once. A failed operation of the cluster is not watched any longer.

        What begins while the process ends is left to the next one; what is carried out already stays as it is.
        """
        if self._closed or operation.id in self._carrying:
            return
        if following := self._following.pop(operation.target, None):
            following.cancel()
        self._carry(operation.id, self._carry_out(operation))

    def interrupt(self, operation: Operation) -> asyncio.Task[None]:
        """Take up anew what was cancelled, wherever it is; the task ends with the operation.

        What was in flight is heard of in the first picture, or fenced by the next epoch: as after a crash.
        """
        if operation.id in self._ending:
            return self._ending[operation.id]
        running = self._carrying.get(operation.id)
        ending = self._ending[operation.id] = self._carry(operation.id, self._end(running, operation))
        return ending

    async def _end(self, running: asyncio.Task[None] | None, operation: Operation) -> None:
        if running is not None:
            running.cancel()
            await asyncio.wait({running})
        operation = await self._fresh(operation)
        if operation.state is State.RUNNING and not self._closed:
            await self._carry_out(operation)

    def _carry(self, identity: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._carrying[identity] = self._spawn(work, name=identity)
        task.add_done_callback(lambda ended: self._forget(identity, ended))
        return task

    def _forget(self, identity: str, ended: asyncio.Task[None]) -> None:
        if self._carrying.get(identity) is ended:
            del self._carrying[identity]
            self._ending.pop(identity, None)

    async def take_up(self) -> None:
        """Go on with everything that has not ended, and go on watching what failed a moment ago."""
        for operation in await self._operations.unfinished():
            if operation.target in self._sites:
                self.begin(operation)
            else:
                await self._give_up(operation, NOT_CONFIGURED)
        now = self._clock.now()
        for operation in await self._operations.followed(now, self._runner.follow):
            self._follow(operation)
        for operation in await self._operations.sought(now, self._runner.seek):
            self._follow(operation)

    async def look_after(self, every: float, *, takes_up: bool = True) -> None:
        """Until cancelled: end what was cancelled in another process, and go on with what one lost (``takes_up``).

        What another process still carries out is waited for under its Lease.
        """
        while True:
            await asyncio.sleep(every)
            try:
                for operation in await self._operations.unfinished():
                    await self._look_after(operation, takes_up=takes_up)
            except StorageError:
                log.exception("what is unfinished could not be looked up; the next look tries again")

    async def _look_after(self, listed: Operation, *, takes_up: bool) -> None:
        """It may have ended since it was listed."""
        operation = await self._operations.get(listed.id)
        if operation is None or operation.state is not State.RUNNING or operation.target not in self._sites:
            return
        if operation.id not in self._carrying:
            if takes_up:
                self.begin(operation)
        elif takes_no_step(operation):
            self.interrupt(operation)

    async def close(self) -> None:
        """Stop writing. Operations stay unfinished in the database; their Leases are released on the way out."""
        self._closed = True
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _carry_out(self, operation: Operation) -> None:
        site = self._sites[operation.target]
        while True:
            try:
                ended = await self._runner.run(operation, site.cluster, site.probe_url)
                break
            except Fenced:
                log.info("operation taken over by another process", operation=operation.id)
                return
            except StorageError:
                log.exception("the record could not be written; the operation rests", operation=operation.id)
                await asyncio.sleep(AGAIN)
                operation = await self._fresh(operation)
            except Exception:
                log.exception("operation broke", operation=operation.id)
                await self._give_up(await self._fresh(operation), BROKE)
                raise
        if ended.state is State.FAILED or is_missed(ended):
            self._follow(ended)

    async def _fresh(self, operation: Operation) -> Operation:
        try:
            return await self._operations.get(operation.id) or operation
        except StorageError:
            return operation

    async def _give_up(self, operation: Operation, why: str) -> None:
        """The slot must not stay taken, and nobody may believe it went well."""
        log.error("operation given up", operation=operation.id, reason=why)
        outcome = Outcome(State.FAILED, error=why)
        while True:
            try:
                await self._runner.journal.finished(operation, ended_as(operation, outcome))
            except Fenced:
                return
            except StorageError:
                log.exception("the end could not be recorded", operation=operation.id)
                await asyncio.sleep(AGAIN)
            else:
                return

    def _follow(self, operation: Operation) -> None:
        site = self._sites.get(operation.target)
        if site is None or (operation.state is State.FAILED and not _is_followed(operation)):
            return
        task = self._spawn(self._watch_late(operation, site.cluster), name=f"{operation.id} late")
        self._following[operation.target] = task

    async def _watch_late(self, operation: Operation, cluster: Cluster) -> None:
        try:
            if operation.state is State.FAILED:
                await self._runner.follow_up(operation, cluster)
            else:
                await self._runner.look_for_configuration(operation, cluster)
        except Fenced:
            log.info("somebody else told of the late end", operation=operation.id)
        except (ClusterError, StorageError) as error:
            log.warning("stopped watching for a late end", operation=operation.id, reason=str(error))
