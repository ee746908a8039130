"""The plans of a snapshot set, and of the test that it can be restored."""

from bot.commands import Snapshot, Verify
from bot.planning.halfway import refuse_half_restored
from bot.planning.known import Known
from bot.planning.past import ended_how
from lifecycle.decide import quiescing, snapshot, verify
from lifecycle.errors import NothingToVerify, NotUnderstood
from lifecycle.model import Verb
from lifecycle.plan import Plan, plan_of_return
from lifecycle.ports import Use
from lifecycle.snapshots import Temperature
from storage.snapshots import Kept


async def plan_of_snapshot(change: Snapshot, known: Known) -> Plan:
    found = await known.found()
    await refuse_half_restored(known, found.discovery)
    await known.require_rights(Verb.SNAPSHOT)
    inventory = await known.cluster.inventory(found.discovery)
    wanted, how = change.temperature or Temperature.HOT, ended_how(found.last)
    goal = snapshot.goal(found.discovery, inventory, wanted, known.settings.unsaved, how)
    if goal.cutting and goal.cutting.temperature is Temperature.HOT:
        goal = snapshot.held_still(goal, await known.cluster.grouping(), known.settings.hot_commands)
    if quiescing.has_commands(goal):
        await known.require_rights_to(Use.EXECUTE, "check.yaml")
    if change.temperature is None and goal.cutting and goal.cutting.temperature is Temperature.HOT:
        raise NotUnderstood(
            f"{change.cluster} runs, so it makes a difference: say `snapshot {change.cluster} hot` or "
            f"`snapshot {change.cluster} cold`."
        )
    return found.plan(await known.written_down(goal))


async def plan_of_verification(change: Verify, known: Known) -> Plan:
    """Of a set that the bot's own record knows; of the cluster itself nothing may be left."""
    kept = await _set_of(change, known)
    await known.require_rights(Verb.VERIFY)
    likenesses = await known.cluster.likenesses(kept.operation, kept.content.capture)
    goal = verify.goal(kept.content, kept.operation, likenesses, known.settings.checks)
    observed = await known.cluster.picture(goal)
    verify.refuse_lost(goal, observed)
    return plan_of_return(goal, known.cluster.target, observed)


async def _set_of(change: Verify, known: Known) -> Kept:
    sets = await known.memory.sets.of(change.cluster)
    found = next((one for one in sets if change.set in (None, one.content.id)), None)
    if found is not None:
        return found
    if change.set:
        raise NothingToVerify(
            f"{change.cluster} has no snapshot set {change.set}. `/tml snapshots {change.cluster}` lists them."
        )
    raise NothingToVerify(f"{change.cluster} has no snapshot set yet. `/tml snapshot {change.cluster}` takes one.")
