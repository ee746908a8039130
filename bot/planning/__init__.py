"""What a command would do to a cluster as it is now, one module per group of verbs."""

from dataclasses import replace

from bot.commands import Change, Delete, Purge, Restart, Restore, Snapshot, Start, Stop, Verify
from bot.keeping import Keeper
from bot.planning.deleting import plan_of_delete
from bot.planning.known import Known
from bot.planning.restoring import plan_of_restore
from bot.planning.snapshots import plan_of_snapshot, plan_of_verification
from bot.planning.starting import plan_of_restart, plan_of_start
from bot.planning.stopping import plan_of_stop
from lifecycle.model import Verb
from lifecycle.plan import Plan

LASTING = frozenset({Verb.SNAPSHOT, Verb.DELETE, Verb.RESTORE, Verb.RESTORE_IN_PLACE})
"""Verbs that keep something, or bring it back."""


async def plan_of(change: Change, known: Known) -> Plan:
    """Changes nothing. Raises Refused and what the cluster port raises."""
    made = await _plan_of(change, known)
    if made.verb not in LASTING and made.goal.cutting is None:
        return made
    return replace(made, goal=replace(made.goal, kubernetes=await known.cluster.identity()))


async def _plan_of(change: Change, known: Known) -> Plan:
    match change:
        case Stop():
            return await plan_of_stop(change, known)
        case Start():
            return await plan_of_start(change, known)
        case Restart():
            return await plan_of_restart(change, known)
        case Snapshot():
            return await plan_of_snapshot(change, known)
        case Verify():
            return await plan_of_verification(change, known)
        case Delete():
            return await plan_of_delete(change, known)
        case Restore():
            return await plan_of_restore(change, known)
        case Purge():
            return await _plan_of_purge(known)


async def _plan_of_purge(known: Known) -> Plan:
    """Of what is kept: whether anything of the cluster itself is there does not matter."""
    await known.require_rights(Verb.PURGE)
    return await Keeper(known.name, known.settings, known.cluster, known.memory.retention).plan_by_hand()
