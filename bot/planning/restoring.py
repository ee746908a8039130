"""The plans of a restore: after a delete, from a snapshot set, in place."""

from contextlib import suppress
from dataclasses import replace

from bot.commands import Restore
from bot.planning.known import Known
from bot.planning.past import ended_how, ended_so
from bot.planning.returning import left_of
from lifecycle import configuration
from lifecycle.decide import in_place, restore
from lifecycle.decide.preflight import absent
from lifecycle.errors import AlreadyRunning, NothingFound, NothingToRestore, NotUnderstood, Removed, Unsafe
from lifecycle.model import Verb
from lifecycle.observed import Discovery, Observed
from lifecycle.operation import Goal, Operation
from lifecycle.plan import Plan, plan, plan_of_return
from storage.snapshots import Kept


async def plan_of_restore(change: Restore, known: Known) -> Plan:
    """Of a cluster that the bot's own record knows: in Kubernetes nothing of it may be left."""
    await _refuse_removed(change, known)
    return await (_from_set(change.of, known) if change.of else _from_kept_volumes(known))


async def _refuse_removed(change: Restore, known: Known) -> None:
    """A restore would make what was there before; only where nothing says how it was last is a set better."""
    removal = await known.memory.operations.removed(known.name)
    if removal is None:
        return
    if not change.of or (await left_of(removal, known.cluster)).is_written_down:
        raise Removed(removal)


async def _from_kept_volumes(known: Known) -> Plan:
    removal = await known.memory.operations.last_removal(known.name)
    if removal is None:
        never = f"This bot never deleted anything of {known.name}: there is nothing to restore."
        raise NothingToRestore(f"{never} {await _hint_at_sets(known)}".strip())
    try:
        draft = restore.draft(removal)
        return await _making(draft, await _looked_at(draft, known, removal), known)
    except Unsafe as refusal:
        raise Unsafe(f"{refusal}. {await _hint_at_sets(known)}".strip()) from None


async def _from_set(identity: str, known: Known) -> Plan:
    """In place where every workload of the set's time is there; else what is missing is made as well."""
    chosen = await known.memory.sets.get(known.name, identity)
    if chosen is None:
        listing = f"`/tml snapshots {known.name}` lists them."
        raise NotUnderstood(f"There is no set {identity} of {known.name}. {listing}")
    with suppress(NothingFound):
        discovery = await known.cluster.discover()
        if not absent(discovery, chosen.operation.goal.topology):
            return await _in_place(chosen, discovery, known)
    removal = await known.memory.operations.unreturned_removal(known.name)
    draft = restore.draft(removal or chosen.operation, chosen.content, chosen.operation)
    observed = await _looked_at(draft, known, chosen.operation, *([removal] if removal else []))
    return await _making(restore.without_lost(draft, observed), observed, known)


async def _looked_at(draft: Goal, known: Known, *kept_by: Operation) -> Observed:
    """``kept_by`` are the operations that left what it takes."""
    await known.require_rights(Verb.RESTORE)
    await known.require_same_kubernetes(*kept_by)
    return await known.cluster.picture(draft)


async def _making(draft: Goal, observed: Observed, known: Known) -> Plan:
    """Make what is missing of the draft, in this picture of it."""
    try:
        return plan_of_return(restore.goal(draft, observed), known.cluster.target, observed)
    except AlreadyRunning as refusal:
        last = await known.memory.operations.latest_change(known.name)
        raise AlreadyRunning(f"{known.name} is {refusal}", ended_so(last, Verb.RESTORE)) from None


async def _in_place(chosen: Kept, discovery: Discovery, known: Known) -> Plan:
    await known.require_rights(Verb.RESTORE_IN_PLACE)
    await known.require_same_kubernetes(chosen.operation)
    inventory = await known.cluster.inventory(discovery)
    last = await known.memory.operations.latest_change(known.name)
    left, how = await known.memory.operations.half_restored(known.name), ended_how(last)
    unsaved = known.settings.unsaved
    goal = in_place.goal(discovery, inventory, chosen.content, chosen.operation, unsaved, left, how)
    goal = replace(goal, keeps=known.settings.keep_volumes)
    in_place.refuse_lost(goal, await known.cluster.picture(goal))
    doubted = configuration.doubted(last, discovery.observed.claims)
    clones = configuration.doubted_clones(goal.clones, chosen.operation)
    return plan(replace(goal, mode=discovery.mode, doubted=(*doubted, *clones)), discovery)


async def _hint_at_sets(known: Known) -> str:
    """What else there is to restore from."""
    kept = await known.memory.sets.of(known.name)
    return f"There is a snapshot set: `/tml restore {known.name} {kept[0].content.id}`." if kept else ""
