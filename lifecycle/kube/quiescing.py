"""Commands around a hot cut, in a pod: before, all cut and seen cut, after; what they write goes no further than here.

The component's workload bears how far they are, from before the first one: whoever comes next runs ``after``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from lifecycle.decide import snapshot
from lifecycle.decide.quiescing import RESUMING
from lifecycle.errors import ClusterError, Conflict, LeaseLost, Retryable
from lifecycle.kube import patch, paths, read
from lifecycle.kube.answers import Json
from lifecycle.kube.check import own_container, ready_pod
from lifecycle.kube.door import Door, backoff
from lifecycle.kube.execute import execute
from lifecycle.kube.fence import require
from lifecycle.kube.paths import Resource
from lifecycle.kube.read import QUIESCING
from lifecycle.model import Step
from lifecycle.observed import Observed
from lifecycle.operation import Operation
from lifecycle.ports import Lease, Watch
from lifecycle.quiescing import HotCommands, Quiescing, Stage, parsed

AGAIN = 1.0
"""Seconds after which a cut that Kubernetes did not take is tried again, should nothing change before."""
INTERRUPTED = "the bot was interrupted between the command before and the one after"

Cut = Callable[[Step], Awaitable[None]]
"""Does one of the steps that the goal takes without commands."""


@dataclass(frozen=True)
class Quieting:
    """One step of an operation on the workload that bears how far its commands are."""

    door: Door
    namespace: str
    step: Step
    operation: Operation
    lease: Lease

    async def quiesce(self, watch: Watch, cut: Cut) -> str:
        """All three, ``after`` whatever came of the others; what was begun before is only brought to its end."""
        first = await watch.next(self._commands.hold.total_seconds())
        known = await self._known()
        if first is None:
            raise Retryable(f"{self.step.ref}: there is no picture of the cluster")
        if known or first.snapshots or first.groups:
            return await self.resume()
        begun = await self._begin()
        if begun is None:
            return self.step.uid
        try:
            why = await self._cut_between(begun, first, watch, cut)
        except BaseException:  # cancelled, or the Lease is lost: then whoever takes it up runs it
            await self._end_once(begun)
            raise
        await self._end(begun, why)
        return self.step.uid

    async def resume(self) -> str:
        """``after``, unless it is known to be over."""
        known = await self._known()
        if known is None or not known.is_over:
            await self._end(await self._still_there(known), INTERRUPTED)
        return self.step.uid

    @property
    def _commands(self) -> HotCommands:
        cutting = self.operation.goal.cutting
        assert cutting
        assert cutting.commands
        return cutting.commands

    @property
    def _path(self) -> str:
        return paths.of(self.step.ref, self.namespace)

    async def _known(self) -> Quiescing | None:
        """How far the operation's own commands are, as the object says right now."""
        found = parsed(read.annotations_of(await self.door.get(self._path)).get(QUIESCING, ""))
        return found if found and found.operation == self.operation.id else None

    async def _begin(self) -> Quiescing | None:
        """Written down before anything is run; None where there is no pod to run it in."""
        begun = await self._place(Stage.BEGUN)
        if begun is None:
            why = f"no pod of {self._commands.component} is ready"
            await self._write(Quiescing(self.operation.id, Stage.NOT_QUIESCED, why=why))
            return None
        await self._write(begun)
        return begun

    async def _place(self, stage: Stage) -> Quiescing | None:
        commands = self._commands
        pod = await ready_pod(self.door, self.namespace, self.operation.goal.topology, commands.component)
        if pod is None:
            return None
        return Quiescing(self.operation.id, stage, read.name_of(pod), commands.container or own_container(pod))

    async def _still_there(self, known: Quiescing | None) -> Quiescing:
        """Where ``after`` is to be run: in the same pod, as long as there is one of that name."""
        pods = await self.door.get(paths.all_of(Resource.PODS, self.namespace))
        names = {read.name_of(one) for one in pods.get("items") or []}
        if known and known.pod in names:
            return known
        return await self._place(Stage.BEGUN) or known or Quiescing(self.operation.id, Stage.BEGUN)

    async def _cut_between(self, begun: Quiescing, first: Observed, watch: Watch, cut: Cut) -> str:
        """Why the cut is not quiesced; empty where ``before`` succeeded and all was SEEN cut in time."""
        if failed := await self._run(begun, self._commands.before):
            return f"the command before {failed}"
        hold = self._commands.hold.total_seconds()
        try:
            async with asyncio.timeout(hold):
                await self._until_cut(first, watch, cut)
        except TimeoutError:
            return f"not all was cut within {hold:g} s"
        except LeaseLost:
            raise
        except ClusterError as error:
            return f"not all could be cut: {error}"
        return ""

    async def _until_cut(self, observed: Observed, watch: Watch, cut: Cut) -> None:
        goal = self.operation.goal
        cutting = snapshot.cutting_of(goal)
        seen: Observed | None = observed
        while seen is None or not cutting.reached(goal, seen):
            patience = self._commands.hold.total_seconds()
            for step in cutting.decide(goal, seen) if seen else ():
                try:
                    await cut(step)
                except (Conflict, Retryable):
                    patience = AGAIN
            seen = await watch.next(patience)

    async def _end(self, begun: Quiescing, why: str) -> None:
        """``after``, tried again until it succeeds or its time is over; then what came of it all, written down."""
        loop = asyncio.get_running_loop()
        until, attempt = loop.time() + RESUMING.total_seconds(), 0
        while failed := await self._run(begun, self._commands.after):
            pause = backoff(attempt, self.door.jitter(), base=0.5, longest=5)
            if loop.time() + pause >= until:
                told = "; ".join(filter(None, [why, f"the command after {failed}"]))
                return await self._write(replace(begun, stage=Stage.STUCK, why=told))
            await asyncio.sleep(pause)
            attempt += 1
        stage = Stage.NOT_QUIESCED if why else Stage.QUIESCED
        return await self._write(replace(begun, stage=stage, why=why))

    async def _end_once(self, begun: Quiescing) -> None:
        """As far as there is time: what does not succeed here is left as begun."""
        if not await self._run(begun, self._commands.after):
            await self._write(replace(begun, stage=Stage.NOT_QUIESCED, why=INTERRUPTED))

    async def _run(self, begun: Quiescing, command: Sequence[str]) -> str:
        """How it failed; empty where it succeeded."""
        require(self.lease)
        seconds = self._commands.timeout.total_seconds()
        if not begun.pod:
            return f"could not be run: no pod of {self._commands.component} is ready"
        try:
            ended = await execute(self.door, self.namespace, begun.pod, begun.container, command, seconds=seconds)
        except ClusterError as error:
            return f"could not be run, or not to its end: {error}"
        return f"ended with exit code {ended.code}" if ended.code else ""

    async def _write(self, told: Quiescing) -> None:
        found: Json = await self.door.get(self._path)
        require(self.lease)
        await self.door.patch(self._path, patch.note(self.step, found, self.operation.epoch, {QUIESCING: told.text}))
