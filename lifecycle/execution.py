"""One run of one operation: observe, decide, record, do, until the end of each phase was SEEN."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from lifecycle import configuration
from lifecycle.addresses import addresses, is_waited_for
from lifecycle.by_hand import by_hand
from lifecycle.checks import Checked
from lifecycle.decide import phases_from, quiescing, way_back
from lifecycle.decide.cancel import takes_no_step
from lifecycle.decide.rebind import rebound
from lifecycle.decide.snapshot import taken
from lifecycle.decide.verify import judged
from lifecycle.diagnosis import Diagnosis
from lifecycle.errors import ClusterError, Conflict, Forbidden, Invalid, LeaseLost, Retryable
from lifecycle.model import Action, Kind, Step, Verb
from lifecycle.observed import Observed
from lifecycle.operation import Goal, Operation, Outcome, State
from lifecycle.phase import Phase
from lifecycle.ports import Clock, Cluster, Journal, Lease, Result, Watch
from lifecycle.workloads import Exit

BACKOFF = (0.25, 8.0)
"""Seconds: the first and the longest pause after a step that Kubernetes did not take, doubled each time, jittered."""

SCRATCHING = frozenset({Action.CLONE, Action.CHECK, Action.LET_GO, Action.CLEAN})
"""What is done to a restore test's own objects."""

AS_IT_WAS = frozenset({Verb.RESTORE, Verb.SNAPSHOT, Verb.RESTORE_IN_PLACE})
"""Verbs that leave a cluster running if it ran."""

ADDRESS_WITHIN = 5.0
"""Seconds to wait at the end of a restore for load balancers' addresses, as long as for the gateway's answer."""

UNWINDING = 5.0
"""Seconds that a process which ends waits for what it has sent."""

ONE_LOOK = 15.0
"""Seconds to wait for a first picture when an operation is taken up after its deadline."""


class Stopped(Exception):
    """The operation cannot go on; the text says why. Not a deadline: there is nothing to wait for."""


@dataclass
class Pace:
    """How long to wait for the next picture: until something changes, less after a step that has to be repeated."""

    refusals: int = 0
    asked: float = 0.0

    def judge(self, results: Sequence[Result]) -> None:
        """Raise what ends the operation; remember what only asks for patience."""
        for result in results:
            if isinstance(result.error, (Forbidden, Invalid)):
                raise Stopped(f"{result.step.ref}: {result.error}") from result.error
        refused = [result.error for result in results if result.error is not None]
        self.refusals = self.refusals + 1 if refused else 0
        self.asked = max((error.after or 0.0 for error in refused if isinstance(error, Retryable)), default=0.0)

    def pause(self) -> float | None:
        """Seconds after which to look again whatever happens; None when a change has to come first."""
        return backoff(self.refusals, self.asked) if self.refusals else None


def backoff(refusals: int, asked: float = 0.0) -> float:
    """Seconds to leave Kubernetes alone after so many refusals in a row, at least what it asked for; jittered."""
    first, longest = BACKOFF
    return max(asked, min(longest, first * 2.0 ** min(refusals - 1, 16)) * random.uniform(0.5, 1.0))


@dataclass
class Deadlines:
    """When the phases' time is over, by the clock that never jumps.

    The wall clock says how much of a phase's time was used up before this process came to it, and is asked that once.
    """

    clock: Clock
    by_phase: dict[str, float] = field(default_factory=dict)
    hurried: set[str] = field(default_factory=set)

    def of(self, operation: Operation) -> float:
        """Of its present phase, which may not be entered yet; in the monotonic clock's seconds."""
        if operation.phase not in self.by_phase:
            limit = phases_from(operation.goal, operation.phase)[0].time_for(operation)
            used = self.clock.now() - (operation.phase_begun_at or self.clock.now())
            left = min(limit, limit - used)
            self.by_phase[operation.phase] = self.clock.monotonic() + left.total_seconds()
        return self.by_phase[operation.phase]

    def hurry(self, operation: Operation) -> None:
        """Of what is cancelled: only as long as a true account is worth waiting for, counted from the first time."""
        if operation.phase not in self.hurried:
            self.hurried.add(operation.phase)
            self.by_phase[operation.phase] = min(self.of(operation), self.clock.monotonic() + ONE_LOOK)

    def is_over(self, operation: Operation) -> bool:
        return self.clock.monotonic() >= self.of(operation)


@dataclass
class Execution:
    """One executor's run of one operation, under one held Lease."""

    journal: Journal
    clock: Clock
    operation: Operation
    cluster: Cluster
    lease: Lease
    probe_url: str | None
    deadlines: Deadlines
    observed: Observed | None = None
    sent: dict[Step, object] = field(default_factory=dict)
    """How the object of each accepted step was in the picture it was decided on, until a picture shows it otherwise."""
    told: set[str | Exit] = field(default_factory=set)
    """Arrivals and exits that this executor wrote down; the journal knows those of the others."""
    slow_at: float | None = None
    """By the monotonic clock; None when there is no usual time, or it was told."""

    async def through_all_phases(self) -> Operation:
        """Phase after phase; the first whose end is not seen in time ends the operation, or makes it turn back.

        The way back begins with lists: a picture from before the last step would not show what that step made.
        """
        while self.operation.state is State.RUNNING:
            self.observed = None
            async with self.cluster.watch(self.operation.goal) as watch:
                await self._until_ended_or_turned_back(watch)
        return self.operation

    async def _until_ended_or_turned_back(self, watch: Watch) -> None:
        while True:
            phase, *rest = phases_from(self.operation.goal, self.operation.phase)
            failure = await self._failure_of(phase, watch)
            await self._judge(phase, failure)
            if failure and (back := way_back(self.operation.goal, phase)):
                self.operation = await self.journal.turned_back(self.operation, failure, back.name)
                return
            if failure:
                self.operation = await self.journal.finished(self.operation, self.operation.ended(failure))
                return
            await self._save(phase)
            if not rest:
                done = Outcome(State.DONE) if self.operation.failure else await self._done(watch)
                self.operation = await self.journal.finished(self.operation, self.operation.ended(done))
                return
            capture = self.observed.capture if self.observed else ""
            self.operation = await self.journal.passed(self.operation, rest[0].name, capture)

    async def _failure_of(self, phase: Phase, watch: Watch) -> Outcome | None:
        """Go through the phase; None when its end was SEEN."""
        await self._enter(phase)
        try:
            if takes_no_step(self.operation):
                return await self._cancelled(phase, watch)
            return None if await self._until_reached(phase, watch) else await self._failed(phase)
        except Stopped as reason:
            return await self._failed(phase, error=str(reason))

    async def _cancelled(self, phase: Phase, watch: Watch) -> Outcome | None:
        """One look, and no step: None where the goal is SEEN to be reached all the same."""
        obstacle = None
        self.observed = self.observed or await watch.next(ONE_LOOK)
        if self.observed is None:
            exits = await self.journal.exits(self.operation)
            return Outcome(State.FAILED, exits=exits, error="the cluster could not be seen").by_cancelling()
        try:
            await self._tell_what_is_seen(phase, self.observed)
        except Stopped as reason:
            obstacle = str(reason)
        is_last = phase.name == phases_from(self.operation.goal, self.operation.phase)[-1].name
        if is_last and obstacle is None and phase.reached(self.operation.goal, self.observed):
            return None
        return (await self._account(phase, error=obstacle)).by_cancelling()

    async def _save(self, phase: Phase) -> None:
        """What is ready to restore from is recorded as soon as it is, whatever becomes of the rest."""
        if not (phase.completes_set or phase.rebinds_set):
            return
        assert self.observed is not None
        if phase.rebinds_set:
            await self.journal.rebound(self.operation, rebound(self.operation.goal, self.observed))
            return
        exits = await self.journal.exits(self.operation)
        unseen = unseen_exits(self.operation, exits, self.observed)
        await self.journal.saved(self.operation, taken(self.operation.goal, self.observed, exits, unseen))

    async def _judge(self, phase: Phase, failure: Outcome | None) -> None:
        """What a check said is recorded as soon as it is known, whatever becomes of the cleaning."""
        if phase.judges_set and self.observed is not None:
            verification = judged(self.operation.goal, self.observed, failure)
            if verification is not None:
                await self.journal.verified(self.operation, verification)

    async def _enter(self, phase: Phase) -> None:
        """A phase that was entered before keeps its time."""
        limit = phase.time_for(self.operation)
        self.operation = await self.journal.entered(self.operation, limit)
        self.told.clear()
        self.deadlines.of(self.operation)
        if self.operation.expected:
            slow_at = self.operation.begun_at + 2 * timedelta(seconds=self.operation.expected)
            self.slow_at = self._monotonic(slow_at)

    def _monotonic(self, moment: datetime) -> float:
        clock = self.clock
        return clock.monotonic() + (moment - clock.now()).total_seconds()

    async def _until_reached(self, phase: Phase, watch: Watch) -> bool:
        """The core: False when the deadline passed and the end was not SEEN."""
        pace = Pace()
        at_hand = self.observed  # on which the phase before ended: nothing else may ever change
        while (wait := self._wait(pace)) > 0 or self.observed is None:
            overdue = wait <= 0  # nobody ran while the time passed: it may have been reached all the same
            observed, at_hand = at_hand or await watch.next(ONE_LOOK if overdue else wait), None
            if observed is not None:
                self.observed = observed
                await self._tell_what_is_seen(phase, observed)
                if phase.reached(self.operation.goal, observed):
                    return True
            if overdue:
                return False
            await self._tell_when_slow(phase)
            if observed is None:
                continue
            await self._stamp_again(observed)
            steps = self._not_yet_sent(phase.decide(self.operation.goal, observed), observed)
            pace.judge(await self._do_all(steps, observed))
        return False

    def _wait(self, pace: Pace) -> float:
        """Seconds until there is a reason to look again even if nothing changes; at most 0 past the deadline."""
        now = self.clock.monotonic()
        left = self.deadlines.of(self.operation) - now
        until_slow = None if self.slow_at is None else max(0.01, self.slow_at - now)
        reasons = [left, pace.pause(), until_slow]
        return min(reason for reason in reasons if reason is not None) if left > 0 else left

    async def _tell_what_is_seen(self, phase: Phase, observed: Observed) -> None:
        goal = self.operation.goal
        if exits := [end for end in observed.exits if end not in self.told]:
            await self.journal.witnessed(self.operation, exits)
            self.told.update(exits)
        if obstacle := phase.obstacle(goal, observed):
            raise Stopped(obstacle)
        there = [str(ref) for ref in phase.objects(goal) if phase.arrived(goal, observed, ref)]
        if arrived := [name for name in there if name not in self.told]:
            await self.journal.arrived(self.operation, arrived)
        self.told.update(arrived)

    async def _stamp_again(self, observed: Observed) -> None:
        """A stamp that somebody removed would turn every step away."""
        goal, epoch = self.operation.goal, self.operation.epoch
        if any(stamp < epoch for stamp in stamps(goal, observed)):
            with suppress(Conflict):  # the next picture tells whose it is now
                await self.cluster.stamp(goal, epoch, self.lease)

    async def _tell_when_slow(self, phase: Phase) -> None:
        if self.slow_at is None or self.slow_at > self.clock.monotonic():
            return
        self.slow_at = None
        await self.journal.slow(self.operation, await self._diagnose(phase))

    def _not_yet_sent(self, steps: Sequence[Step], observed: Observed) -> list[Step]:
        """Without the steps whose effect this picture is too old to show; one that was shown and undone goes again."""
        self.sent = {step: before for step, before in self.sent.items() if before == seen(observed, step)}
        return [step for step in steps if step not in self.sent]

    async def _do_all(self, steps: Sequence[Step], observed: Observed) -> list[Result]:
        """Written before they are done; every outcome is collected before any is judged."""
        if not steps:
            return []
        await self.journal.record(self.operation, steps)
        doing = [asyncio.ensure_future(self._do(step)) for step in steps]
        try:
            await asyncio.wait(doing)  # who is cancelled here cuts none of them off
        finally:
            await _come_to_their_end(doing)
        results = [one.result() for one in doing]
        await self.journal.did(self.operation, results)
        for result in results:
            if isinstance(result.error, LeaseLost):
                raise result.error
            if result.error is None:
                self.sent[result.step] = seen(observed, result.step)
        return results

    async def _do(self, step: Step) -> Result:
        try:
            uid = await self.cluster.do(step, self.operation, self.lease)
        except ClusterError as error:
            return Result(step, error=error)
        return Result(step, uid=uid)

    def _missing(self, phase: Phase) -> tuple[str, ...]:
        goal = self.operation.goal
        refs = phase.objects(goal) if self.observed is None else phase.missing(goal, self.observed)
        return tuple(str(ref) for ref in refs)

    async def _diagnose(self, phase: Phase) -> Diagnosis:
        return await self.cluster.diagnose(self.operation.goal.topology, self._missing(phase))

    async def _failed(self, phase: Phase, error: str | None = None) -> Outcome:
        account, observed = await self._account(phase, error), self.observed
        lines = by_hand(self.operation.goal, observed, phase) if observed else ()
        return replace(account, diagnosis=await self._diagnose(phase), by_hand=(*account.by_hand, *lines))

    async def _account(self, phase: Phase, error: str | None) -> Outcome:
        """What is done and what not, without why."""
        goal, observed = self.operation.goal, self.observed
        missing = self._missing(phase)
        exits = await self.journal.exits(self.operation)
        return Outcome(
            state=State.FAILED,
            done=tuple(str(ref) for ref in phase.objects(goal) if str(ref) not in missing),
            missing=missing,
            claims=observed.claims if observed else (),
            exits=exits,
            unseen=unseen_exits(self.operation, exits, observed) if observed else (),
            snapshots=observed.snapshots if observed else (),
            by_hand=quiescing.by_hand(goal, observed),
            error=error,
        )

    async def _done(self, watch: Watch) -> Outcome:
        goal = self.operation.goal
        observed = await self._with_addresses(watch)
        exits = await self.journal.exits(self.operation)
        return Outcome(
            state=State.DONE,
            done=tuple(str(workload.ref) for workload in goal.scope),
            claims=observed.claims,
            exits=exits,
            unseen=unseen_exits(self.operation, exits, observed),
            snapshots=observed.snapshots,
            traffic=await self.cluster.traffic(self.probe_url) if self._serves() else None,
            checked=await self._checked(observed),
            addresses=addresses(goal, observed) if goal.verb is Verb.RESTORE else (),
            by_hand=quiescing.by_hand(goal, observed),
        )

    async def _with_addresses(self, watch: Watch) -> Observed:
        """The last picture; of a restore one in which every Service has its address, if that comes soon."""
        goal, until = self.operation.goal, self.clock.monotonic() + ADDRESS_WITHIN
        assert self.observed is not None
        with suppress(ClusterError):  # the goal is reached, whatever can be read from here on
            while goal.verb is Verb.RESTORE and is_waited_for(goal, self.observed):
                left = until - self.clock.monotonic()
                if left <= 0:
                    break
                self.observed = await watch.next(left) or self.observed
        return self.observed

    async def _checked(self, observed: Observed) -> Checked | None:
        """Whether the API configuration is SEEN, where that is in question or a restore has to show it."""
        goal = self.operation.goal
        if not configuration.is_due(goal, observed.claims):
            return None
        if takes_no_step(self.operation):
            return Checked(Checked.NOT_RUN, "cancelled before it")
        checked = await self.cluster.check(goal.topology)
        is_in_question = bool(configuration.unseen(goal, observed.claims))
        return checked or (Checked(Checked.NO_CHECK) if is_in_question else None)

    def _serves(self) -> bool:
        """Whether the gateway is to answer at the end."""
        verb = self.operation.verb
        if verb in AS_IT_WAS:
            return self.operation.goal.ran
        return verb in (Verb.START, Verb.RESTART, Verb.RETURN)


async def _come_to_their_end(doing: Sequence[asyncio.Future[Result]]) -> None:
    """A write takes no longer than that; a command in a pod may, and is cut off."""
    _, late = await asyncio.wait(doing, timeout=UNWINDING)
    for one in late:
        one.cancel()
    await asyncio.gather(*doing, return_exceptions=True)


def stamps(goal: Goal, observed: Observed) -> list[int]:
    """The epochs on all that is there of what an executor stamps; a namesake is never stamped."""
    workloads = [observed[one].epoch for one in goal.scope if goal.is_ours(one, observed[one])]
    uids = {claim.uid for claim in goal.claims if claim.ref in goal.stamped_claims}
    return workloads + [claim.epoch for claim in observed.claims if claim.uid in uids]


def seen(observed: Observed, step: Step) -> object:
    """What the step changes: a workload's uid and generation, everything that is known of another object."""
    ref = step.ref
    if step.action in SCRATCHING:
        return observed.scratch.seen(ref)
    if step.action is Action.CAPTURE:
        return observed.capture, observed.lacking
    if step.action is Action.FLUSH:  # no new generation; with the note the stamp may be wiped
        return observed.state_of(ref).flushed_by, observed.state_of(ref).epoch
    if step.action in (Action.QUIESCE, Action.RESUME):
        found = observed.state_of(ref).quiescing
        return found if found and found.is_over else None
    if ref.kind is Kind.GROUP:
        return observed.group(ref.name)
    if ref.kind is Kind.GROUP_CONTENT:
        return observed.group_content(ref.name)
    if step.action in (Action.CUT, Action.RETAIN):
        return [one for one in observed.snapshots if one.claim == ref.name]
    if ref.kind in (Kind.STATEFUL_SET, Kind.DEPLOYMENT):
        state = observed.state_of(ref)
        return state.uid, state.generation
    if ref.kind is Kind.CLAIM:
        return observed.claim(ref.name)
    if ref.kind is Kind.VOLUME:
        return observed.volume(ref.name)
    if ref.kind is Kind.SNAPSHOT:
        return observed.snapshot(ref.name)
    if ref.kind is Kind.CONTENT:
        return observed.content(ref.name)
    return observed.part(ref)


def unseen_exits(operation: Operation, exits: Sequence[Exit], observed: Observed) -> tuple[str, ...]:
    """The database containers, as pod/container, that ran at the beginning, are gone, and whose end nobody saw."""
    seen = {(end.pod_uid, end.container) for end in exits}
    there = {pod.uid for state in observed.workloads.values() for pod in state.pods}
    return tuple(
        f"{pod.name}/{container.name}"
        for pod in operation.goal.databases
        for container in pod.containers
        if pod.uid not in there and (pod.uid, container.name) not in seen
    )
