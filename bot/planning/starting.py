"""The plans of a start, also of what an earlier stop removed, and of a restart."""

from contextlib import suppress

from bot.commands import Restart, Start
from bot.planning.halfway import refuse_half_deleted, refuse_half_removed, refuse_half_restored
from bot.planning.known import Known
from bot.planning.past import ended_so
from bot.planning.returning import Left, left_of, plan_of_returning
from lifecycle.decide import restart, start
from lifecycle.errors import (
    AlreadyRunning,
    AlreadyStopped,
    ClusterError,
    MissingRights,
    NoNamespace,
    NotUnderstood,
    Unsafe,
)
from lifecycle.model import Verb
from lifecycle.operation import Operation
from lifecycle.plan import Plan


async def plan_of_start(change: Start, known: Known) -> Plan:
    left = await _left_for(change, known)
    if left and left.is_written_down:
        last = await known.memory.operations.latest(known.name)
        try:
            return await plan_of_returning(left, known.cluster, change, last)
        except AlreadyRunning as refusal:
            raise _with_credit(refusal, known, last) from None
    found = await known.found(left)
    await refuse_half_restored(known, found.discovery)
    with suppress(ClusterError):  # what cannot be looked at keeps no start away
        await refuse_half_deleted(known, found.discovery)
    remembered = await known.memory.operations.remembered_counts(known.name)
    try:
        goal = start.goal(found.discovery, remembered, change.counts)
    except AlreadyRunning as refusal:
        raise _with_credit(refusal, known, found.last) from None
    await known.require_rights(goal.verb)
    return found.plan(goal)


async def plan_of_restart(change: Restart, known: Known) -> Plan:
    found = await known.found()
    with suppress(ClusterError, MissingRights, NoNamespace):  # what cannot be looked at keeps no restart away
        await refuse_half_removed(known)
    try:
        goal = restart.goal(found.discovery, change.component, downtime=change.downtime)
    except AlreadyStopped as refusal:
        raise AlreadyStopped(f"{known.name} is {refusal}", ended_so(found.last, Verb.STOP)) from None
    await known.require_rights(goal.verb)
    return found.plan(goal)


def _with_credit(refusal: AlreadyRunning, known: Known, last: Operation | None) -> AlreadyRunning:
    """``last`` is the cluster's newest operation: it has the credit only if it ended where the cluster is."""
    return AlreadyRunning(f"{known.name} is {refusal}", ended_so(last, Verb.START, Verb.RETURN))


async def _left_for(change: Start, known: Known) -> Left | None:
    """What is left of a cluster that an earlier stop removed; None where none did, or it was brought back."""
    removal = await known.memory.operations.removed(known.name)
    if removal is None and change.overwrites:
        raise NotUnderstood(
            f"`--overwrite` is for a start after `stop --remove`, and nothing of {change.cluster} is removed. "
            f"Did you mean: /tml start {change.cluster}"
        )
    if removal is None:
        return None
    await known.require_rights(Verb.RETURN)
    left = await left_of(removal, known.cluster)
    if change.overwrites and not left.is_written_down:
        raise Unsafe(f"the capture of {removal.id} is not there, or not whole: there is nothing to overwrite with")
    return left
