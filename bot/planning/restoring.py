"""The plans of a restore: after a delete, from a snapshot set, in place."""

from contextlib import suppress
from dataclasses import replace

from bot.captures import picture_with_capture
from bot.commands import Restore
from bot.planning.known import Known
from bot.planning.past import ended_how, ended_so, hint_at_sets
from bot.planning.returning import left_of
from lifecycle import configuration
from lifecycle.decide import in_place, rebind, restore
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
    if not change.of or (await left_of(removal, known.cluster)).is_at_home:
        raise Removed(removal)


async def _from_kept_volumes(known: Known) -> Plan:
    removal = await known.memory.operations.last_removal(known.name)
    if removal is None:
        never = f"This bot never deleted anything of {known.name}: there is nothing to restore."
        raise NothingToRestore(f"{never} {await hint_at_sets(known.name, known.memory)}".strip())
    try:
        draft, observed = await _looked_at(restore.draft(removal), removal, known)
        return await _making(draft, observed, removal, known)
    except Unsafe as refusal:
        raise Unsafe(f"{refusal}. {await hint_at_sets(known.name, known.memory)}".strip()) from None


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
    source = removal or chosen.operation
    draft = restore.draft(source, chosen.content, chosen.operation)
    draft, observed = await _looked_at(draft, source, known, chosen.operation)
    return await _making(restore.without_lost(draft, observed), observed, source, known)


async def _looked_at(draft: Goal, source: Operation, known: Known, *kept_by: Operation) -> tuple[Goal, Observed]:
    """``kept_by`` are the operations that left what it takes besides ``source``.

    Raises OtherKubernetes first: there nothing of this is to be found; then NoNamespace: without one nothing can be
    granted either. Whether it is the same is only known for certain with the rights.
    """
    if await known.cluster.identity():
        await known.require_same_kubernetes(source, *kept_by)
    await known.cluster.home()
    await known.require_rights(Verb.RESTORE)
    await known.require_same_kubernetes(source, *kept_by)
    return await picture_with_capture(known.cluster, draft, source.goal.copies)


async def _making(draft: Goal, observed: Observed, source: Operation, known: Known) -> Plan:
    """Make what is missing of the draft, in this picture of it; ``source`` is whose capture says what that is."""
    if not (observed.capture or source.goal.copies):
        raise Unsafe(
            f"the capture of {source.id} is not there, or not whole: nothing says how the cluster was. It was written "
            f"to Secrets of {known.cluster.target.namespace} only: captures.copy_to named no other namespace then"
        )
    try:
        goal = restore.goal(draft, observed)
        if rebind.lost(goal):
            await known.require_rebinding()
        return plan_of_return(goal, known.cluster.target, observed, await _told_of_home(goal, source, known))
    except AlreadyRunning as refusal:
        last = await known.memory.operations.latest_change(known.name)
        raise AlreadyRunning(f"{known.name} is {refusal}", ended_so(last, Verb.RESTORE)) from None


async def _told_of_home(goal: Goal, source: Operation, known: Known) -> tuple[str, ...]:
    """What people should know where the namespace is not the one that was captured."""
    if not goal.copies:
        return ()
    namespace, uid = known.cluster.target.namespace, await known.cluster.home()
    lead = f"namespace {namespace} has no capture of {source.id}"
    if uid and source.goal.home and uid != source.goal.home:
        lead = f"namespace {namespace} is a new one, made since {source.id}"
    theirs = "Image pull secrets, service accounts and whatever else is not the cluster's own have to be there already"
    return (f"{lead}: what is made comes from the copy in {', '.join(goal.copies)}. {theirs}",)


async def _in_place(chosen: Kept, discovery: Discovery, known: Known) -> Plan:
    await known.require_rights(Verb.RESTORE_IN_PLACE)
    await known.require_same_kubernetes(chosen.operation)
    inventory = await known.cluster.inventory(discovery)
    last = await known.memory.operations.latest_change(known.name)
    left, how = await known.memory.operations.half_restored(known.name), ended_how(last)
    unsaved = known.settings.unsaved
    goal = in_place.goal(discovery, inventory, chosen.content, chosen.operation, unsaved, left, how)
    goal = await known.written_down(replace(goal, keeps=known.settings.keep_volumes))
    goal = in_place.with_lost(goal, await known.cluster.picture(goal))
    if rebind.lost(goal):
        await known.require_rebinding()
    doubted = configuration.doubted(last, discovery.observed.claims)
    clones = configuration.doubted_clones(goal.clones, chosen.operation)
    return plan(replace(goal, mode=discovery.mode, doubted=(*doubted, *clones)), discovery)
