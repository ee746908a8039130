"""Plans that begin with the bot's own record: restores, tests of sets, purges. Of the cluster nothing may be left."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from bot.endings import ended_how, ended_so
from bot.grammar import Purge, Restore, Verify
from bot.half_states import HalfStates
from bot.keeping import Keeper
from bot.sites import Site, require_rights
from lifecycle import configuration
from lifecycle.decide import in_place, restore, verify
from lifecycle.decide.preflight import absent
from lifecycle.errors import AlreadyRunning, NothingFound, NothingToRestore, NothingToVerify, NotUnderstood, Unsafe
from lifecycle.model import Discovery, Verb
from lifecycle.operation import Goal
from lifecycle.plan import Plan, plan, plan_of_return
from storage.operations import Operations
from storage.retention import Retention
from storage.snapshots import Kept, SnapshotSets


class PlannerByRecord:
    """The cluster is looked at for what the record says was there, not discovered."""

    def __init__(
        self, sites: Mapping[str, Site], operations: Operations, sets: SnapshotSets, retention: Retention
    ) -> None:
        self._sites = sites
        self._operations = operations
        self._sets = sets
        self._retention = retention
        self._half_states = HalfStates(sites, operations)

    async def plan_of_return(self, change: Restore) -> Plan:
        """Of a cluster that the bot's own record knows: in Kubernetes nothing of it may be left."""
        await self._half_states.refuse_removed(change)
        if change.of:
            return await self._plan_of_set(change)
        removal = await self._operations.last_removal(change.cluster)
        if removal is None:
            never = f"This bot never deleted anything of {change.cluster}: there is nothing to restore."
            raise NothingToRestore(f"{never} {await self._hint_at_sets(change.cluster)}".strip())
        try:
            return await self._plan_of_making(change, restore.draft(removal))
        except Unsafe as refusal:
            raise Unsafe(f"{refusal}. {await self._hint_at_sets(change.cluster)}".strip()) from None

    async def _plan_of_making(self, change: Restore, wanted: Goal) -> Plan:
        """Make what is missing of the draft."""
        cluster = self._sites[change.cluster].cluster
        await require_rights(cluster, Verb.RESTORE)
        observed = await cluster.picture(wanted)
        try:
            return plan_of_return(restore.goal(wanted, observed), cluster.target, observed)
        except AlreadyRunning as refusal:
            last = await self._operations.latest_change(change.cluster)
            raise AlreadyRunning(f"{change.cluster} is {refusal}", ended_so(last, Verb.RESTORE)) from None

    async def _plan_of_set(self, change: Restore) -> Plan:
        """In place where every workload of the set's time is there; else what is missing is made as well."""
        chosen = await self._sets.get(change.cluster, change.of)
        if chosen is None:
            listing = f"`/tml snapshots {change.cluster}` lists them."
            raise NotUnderstood(f"There is no set {change.of} of {change.cluster}. {listing}")
        with suppress(NothingFound):
            discovery = await self._sites[change.cluster].cluster.discover()
            if not absent(discovery, chosen.operation.goal.topology):
                return await self._plan_in_place(change, chosen, discovery)
        removal = await self._operations.unreturned_removal(change.cluster)
        is_kept = removal is not None and not await self._retention.is_purged(removal.id)
        draft = restore.draft(removal or chosen.operation, chosen.content, chosen.operation, is_kept=is_kept)
        return await self._plan_of_making(change, draft)

    async def _plan_in_place(self, change: Restore, chosen: Kept, discovery: Discovery) -> Plan:
        cluster = self._sites[change.cluster].cluster
        await require_rights(cluster, Verb.RESTORE_IN_PLACE)
        inventory = await cluster.inventory(discovery)
        last = await self._operations.latest_change(change.cluster)
        unsaved, how = self._sites[change.cluster].settings.unsaved, ended_how(last)
        left = await self._operations.half_restored(change.cluster)
        goal = in_place.goal(discovery, inventory, chosen.content, chosen.operation, unsaved, left, how)
        in_place.refuse_lost(goal, await cluster.picture(goal))
        doubted = configuration.doubted(last, discovery.observed.claims)
        clones = configuration.doubted_clones(goal.clones, chosen.operation)
        return plan(replace(goal, mode=discovery.mode, doubted=(*doubted, *clones)), discovery)

    async def _hint_at_sets(self, cluster: str) -> str:
        """What else there is to restore from."""
        kept = await self._sets.of(cluster)
        return f"There is a snapshot set: `/tml restore {cluster} {kept[0].content.id}`." if kept else ""

    async def plan_of_verification(self, change: Verify) -> Plan:
        """Of a set that the bot's own record knows; of the cluster itself nothing may be left."""
        site = self._sites[change.cluster]
        kept = await self._set_of(change)
        await require_rights(site.cluster, Verb.VERIFY)
        likenesses = await site.cluster.likenesses(kept.operation, kept.content.capture)
        goal = verify.goal(kept.content, kept.operation, likenesses, site.settings.checks)
        observed = await site.cluster.picture(goal)
        verify.refuse_lost(goal, observed)
        return plan_of_return(goal, site.cluster.target, observed)

    async def _set_of(self, change: Verify) -> Kept:
        known = await self._sets.of(change.cluster)
        found = next((one for one in known if change.set in (None, one.content.id)), None)
        if found is not None:
            return found
        if change.set:
            raise NothingToVerify(
                f"{change.cluster} has no snapshot set {change.set}. `/tml snapshots {change.cluster}` lists them."
            )
        raise NothingToVerify(f"{change.cluster} has no snapshot set yet. `/tml snapshot {change.cluster}` takes one.")

    async def plan_of_purge(self, change: Purge) -> Plan:
        """Of what is kept: whether anything of the cluster itself is there does not matter."""
        site = self._sites[change.cluster]
        await require_rights(site.cluster, Verb.PURGE)
        return await Keeper(change.cluster, site.settings, site.cluster, self._retention).plan_by_hand()
