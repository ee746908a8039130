"""The plan of a stop: one that scales to zero, with a snapshot set on the way or without, and one that removes."""

from bot.commands import Stop
from bot.planning.halfway import refuse_half_deleted, refuse_half_removed, refuse_half_restored
from bot.planning.known import Found, Known
from bot.planning.past import ended_so
from bot.written import StopMode
from lifecycle.decide import remove, snapshot, stop
from lifecycle.errors import AlreadyStopped, NotUnderstood
from lifecycle.model import Verb
from lifecycle.observed import Discovery
from lifecycle.operation import Goal
from lifecycle.plan import Plan


async def plan_of_stop(change: Stop, known: Known) -> Plan:
    found = await known.found()
    if change.removes or known.settings.stop_mode is StopMode.REMOVE:
        return found.plan(await _removing(change, known, found.discovery))
    return found.plan(await _scaling(change, known, found))


async def _scaling(change: Stop, known: Known, found: Found) -> Goal:
    _refuse_options(change)
    try:
        goal = stop.goal(found.discovery)
    except AlreadyStopped as refusal:
        raise AlreadyStopped(f"{known.name} is {refusal}", ended_so(found.last, Verb.STOP)) from None
    await known.require_rights(goal.verb)
    if not _takes_set(change, known):
        return goal
    await known.require_rights(Verb.SNAPSHOT)
    inventory = await known.cluster.inventory(found.discovery)
    return await known.written_down(snapshot.on_the_way(goal, found.discovery, inventory, known.settings.unsaved))


async def _removing(change: Stop, known: Known, discovery: Discovery) -> Goal:
    """What it concerns cannot be read without the rights to it."""
    await refuse_half_restored(known, discovery)
    await known.require_rights(Verb.REMOVE)
    await refuse_half_deleted(known, discovery)
    await refuse_half_removed(known)
    _refuse_set(change, known, discovery)
    remembered = await known.memory.operations.remembered_counts(known.name)
    keeps = known.settings.keep_services if change.keeps_services is None else change.keeps_services
    goal = remove.goal(discovery, await known.cluster.parts(discovery), remembered, keeps_services=keeps)
    return await known.written_down(goal)


def _takes_set(change: Stop, known: Known) -> bool:
    return known.settings.snapshot_on_stop if change.snapshot is None else change.snapshot


def _refuse_set(change: Stop, known: Known, discovery: Discovery) -> None:
    """One operation does not both take a set and remove, and none may be left out silently."""
    runs = any(discovery.observed[workload].is_present for workload in discovery.workloads)
    if change.snapshot or (runs and _takes_set(change, known)):
        raise NotUnderstood(
            f"One stop takes a snapshot set or removes, not both. First `/tml stop {change.cluster} --snapshot`, "
            f"then `/tml stop {change.cluster} --remove`; or add `--no-snapshot`."
        )


def _refuse_options(change: Stop) -> None:
    """A stop that only scales gives no address up, and must not pass for one that does."""
    if change.keeps_services is not None:
        option = "--keep-services" if change.keeps_services else "--release-services"
        raise NotUnderstood(
            f"`{option}` goes with `--remove`: a stop without it leaves every Service where it is. "
            f"Did you mean: /tml stop {change.cluster} --remove {option}"
        )
