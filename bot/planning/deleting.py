"""The plan of a delete."""

from dataclasses import replace

from bot.commands import Delete
from bot.planning.halfway import refuse_half_deleted, refuse_half_removed, refuse_half_restored
from bot.planning.known import Found, Known
from bot.planning.past import ended_how
from lifecycle.decide import delete, snapshot
from lifecycle.model import Verb
from lifecycle.operation import Goal
from lifecycle.plan import Plan
from lifecycle.verification import doubt


async def plan_of_delete(change: Delete, known: Known) -> Plan:
    found = await known.found()
    made = found.plan(await _goal(change, known, found))
    return replace(made, warnings=(*made.warnings, *await _doubts(known)))


async def _goal(change: Delete, known: Known, found: Found) -> Goal:
    """What it concerns cannot be read without the rights to it."""
    discovery = found.discovery
    await refuse_half_restored(known, discovery)
    await known.require_rights(Verb.DELETE)
    await refuse_half_deleted(known, discovery)
    await refuse_half_removed(known)
    settings = known.settings
    keeps = settings.keep_services if change.keeps_services is None else change.keeps_services
    inventory = await known.cluster.inventory(discovery)
    inventory = replace(inventory, streams=await known.cluster.log_streams(discovery))
    goal = delete.goal(discovery, inventory, keeps_services=keeps, may_lose=settings.allow_unrecoverable)
    how = ended_how(found.last)
    goal = snapshot.as_far_as_possible(goal, discovery, inventory, settings.unsaved, how)
    return await known.written_down(replace(goal, keeps=settings.keep_volumes))


async def _doubts(known: Known) -> tuple[str, ...]:
    """What a delete counts on and nobody has tested."""
    newest = next(iter(await known.memory.sets.of(known.name)), None)
    told = doubt(known.name, newest.content if newest else None, newest.verification if newest else None)
    return (told,) if told else ()
