"""From a command to its plan: rights, picture, goal. Changes nothing."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from bot.endings import ended_how, ended_so
from bot.grammar import Change, Delete, PlanOf, Purge, Restart, Restore, Snapshot, Start, Stop, Verify
from bot.half_states import HalfStates
from bot.planning_by_record import PlannerByRecord
from bot.removals import Left, left_of, lost, missing_in_words, plan_of_start
from bot.settings import StopMode
from bot.sites import Site, require_rights
from lifecycle import configuration
from lifecycle.decide import delete, remove, restart, snapshot, start, stop
from lifecycle.decide.preflight import absent
from lifecycle.errors import (
    AlreadyRunning,
    AlreadyStopped,
    ClusterBusy,
    ClusterError,
    Deleted,
    NothingFound,
    NotUnderstood,
    Removed,
    Retryable,
    Unsafe,
)
from lifecycle.model import Component, Discovery, Verb
from lifecycle.operation import Goal, Operation
from lifecycle.plan import Plan, plan
from lifecycle.snapshots import Temperature
from lifecycle.verification import doubt
from storage.operations import Operations
from storage.retention import Retention
from storage.snapshots import SnapshotSets

LOOKED_WITHIN = 15.0
"""Seconds after which a person is told that Kubernetes does not answer."""


class Planner:
    """What a command would do to a cluster as it is now."""

    def __init__(
        self, sites: Mapping[str, Site], operations: Operations, sets: SnapshotSets, retention: Retention
    ) -> None:
        self._sites = sites
        self._operations = operations
        self._sets = sets
        self._half_states = HalfStates(sites, operations)
        self._by_record = PlannerByRecord(sites, operations, sets, retention)

    async def plan_of(self, command: Change | PlanOf) -> Plan:
        """What the command would do to the cluster as it is now; changes nothing."""
        change = command.change if isinstance(command, PlanOf) else command
        if running := await self._operations.running_on(change.cluster):
            raise ClusterBusy(change.cluster, running.id)
        try:
            async with asyncio.timeout(LOOKED_WITHIN):
                match change:
                    case Restore():
                        return await self._by_record.plan_of_return(change)
                    case Verify():
                        return await self._by_record.plan_of_verification(change)
                    case Purge():
                        return await self._by_record.plan_of_purge(change)
                    case _:
                        return await self._plan(change)
        except TimeoutError:
            raise Retryable(f"no answer within {LOOKED_WITHIN:.0f} s") from None

    async def _plan(self, change: Stop | Start | Restart | Delete | Snapshot) -> Plan:
        """Of a cluster that can be discovered."""
        cluster = self._sites[change.cluster].cluster
        left = None
        if isinstance(change, Start):
            left = await self._left_for(change)
            if left and left.is_written_down:
                return await self._plan_of_start(change, left)
        discovery = await self._discovered(change.cluster, left)
        last = await self._operations.latest_change(change.cluster)
        gone = (*absent(discovery, last.goal.topology if last else ()), *(missing_in_words(left) if left else ()))
        found = replace(discovery, absent=gone)
        removes = isinstance(change, Stop) and self._removes(change)
        if removes or isinstance(change, Start | Delete | Snapshot):
            await self._half_states.refuse_half_restored(change, discovery)
        if isinstance(change, Delete) or (isinstance(change, Stop) and removes):
            made = self._planned(await self._goal_of_removal(change, found, last), found, last)
            return replace(made, warnings=(*made.warnings, *await self._doubts(change)))
        if isinstance(change, Start):
            await self._half_states.refuse_half_deleted(change, discovery)
        if isinstance(change, Restart):
            with suppress(ClusterError):  # what cannot be looked at keeps no restart away
                await self._half_states.refuse_half_removed(change.cluster)
        if isinstance(change, Snapshot):
            goal = await self._set_goal(change, found, last)
            return self._planned(goal, found, last)
        goal = await self._goal(change, found, last)
        await require_rights(cluster, goal.verb)
        if isinstance(change, Stop) and self._takes_set(change):
            await require_rights(cluster, Verb.SNAPSHOT)
            goal = snapshot.on_the_way(goal, found, await cluster.inventory(found), self._unsaved(change))
        return self._planned(goal, found, last)

    def _planned(self, goal: Goal, found: Discovery, last: Operation | None) -> Plan:
        """With what has to be known at the end to say whether the API configuration is there."""
        doubted = configuration.doubted(last, found.observed.claims)
        return plan(replace(goal, mode=found.mode, doubted=doubted), found)

    async def _goal_of_removal(self, change: Stop | Delete, found: Discovery, last: Operation | None) -> Goal:
        """Of a delete, or a stop that removes: what it concerns cannot be read without the rights to it."""
        cluster = self._sites[change.cluster].cluster
        await require_rights(cluster, Verb.DELETE if isinstance(change, Delete) else Verb.REMOVE)
        await self._half_states.refuse_half_deleted(change, found)
        await self._half_states.refuse_half_removed(change.cluster)
        keeps = self._keeps_services(change)
        if isinstance(change, Delete):
            inventory = replace(await cluster.inventory(found), streams=await cluster.log_streams(found))
            goal = delete.goal(found, inventory, keeps_services=keeps)
            goal = snapshot.as_far_as_possible(goal, found, inventory, self._unsaved(change), ended_how(last))
            return replace(goal, keeps=self._sites[change.cluster].settings.keep_volumes)
        self._refuse_set(change, found)
        remembered = await self._operations.remembered_counts(change.cluster)
        return remove.goal(found, await cluster.parts(found), remembered, keeps_services=keeps)

    async def _doubts(self, change: Change) -> tuple[str, ...]:
        """What a delete counts on and nobody has tested."""
        if not isinstance(change, Delete):
            return ()
        newest = next(iter(await self._sets.of(change.cluster)), None)
        told = doubt(change.cluster, newest.content if newest else None, newest.verification if newest else None)
        return (told,) if told else ()

    async def _set_goal(self, change: Snapshot, found: Discovery, last: Operation | None) -> Goal:
        cluster = self._sites[change.cluster].cluster
        await require_rights(cluster, Verb.SNAPSHOT)
        inventory = await cluster.inventory(found)
        wanted = change.temperature or Temperature.HOT
        goal = snapshot.goal(found, inventory, wanted, self._unsaved(change), ended_how(last))
        if change.temperature is None and goal.cutting and goal.cutting.temperature is Temperature.HOT:
            raise NotUnderstood(
                f"{change.cluster} runs, so it makes a difference: say `snapshot {change.cluster} hot` or "
                f"`snapshot {change.cluster} cold`."
            )
        return goal

    def _unsaved(self, change: Change) -> frozenset[Component]:
        return self._sites[change.cluster].settings.unsaved

    def _takes_set(self, change: Stop) -> bool:
        configured = self._sites[change.cluster].settings.snapshot_on_stop
        return configured if change.snapshot is None else change.snapshot

    def _refuse_set(self, change: Stop, found: Discovery) -> None:
        """One operation does not both take a set and remove, and none may be left out silently."""
        runs = any(found.observed[workload].is_present for workload in found.workloads)
        if change.snapshot or (runs and self._takes_set(change)):
            raise NotUnderstood(
                f"One stop takes a snapshot set or removes, not both. First `/tml stop {change.cluster} --snapshot`, "
                f"then `/tml stop {change.cluster} --remove`; or add `--no-snapshot`."
            )

    def _removes(self, change: Stop) -> bool:
        return change.removes or self._sites[change.cluster].settings.stop_mode is StopMode.REMOVE

    async def _left_for(self, change: Start) -> Left | None:
        """What is left of a cluster that an earlier stop removed; None where none did, or it was brought back."""
        removal = await self._operations.removed(change.cluster)
        if removal is None and change.overwrites:
            raise NotUnderstood(
                f"`--overwrite` is for a start after `stop --remove`, and nothing of {change.cluster} is removed. "
                f"Did you mean: /tml start {change.cluster}"
            )
        if removal is None:
            return None
        cluster = self._sites[change.cluster].cluster
        await require_rights(cluster, Verb.RETURN)
        left = await left_of(removal, cluster)
        if change.overwrites and not left.is_written_down:
            raise Unsafe(f"the capture of {removal.id} is not there, or not whole: there is nothing to overwrite with")
        return left

    async def _plan_of_start(self, change: Start, left: Left) -> Plan:
        """Of a cluster that the bot's own record knows, with what is there compared to it."""
        last = await self._operations.latest(change.cluster)
        try:
            return await plan_of_start(left, self._sites[change.cluster].cluster, change, last)
        except AlreadyRunning as refusal:
            raise AlreadyRunning(f"{change.cluster} is {refusal}", ended_so(last, Verb.START, Verb.RETURN)) from None

    async def _discovered(self, name: str, left: Left | None = None) -> Discovery:
        """Raises Deleted or Removed where there is nothing because the bot took it away.

        ``left`` is what is left for a start that has no capture to bring it back from.
        """
        try:
            return await self._sites[name].cluster.discover()
        except NothingFound as nothing:
            if left:
                raise Unsafe(lost(left)) from None
            if removal := await self._operations.removed(name):
                raise Removed(removal) from None
            if removal := await self._operations.last_removal(name):
                raise Deleted(removal) from None
            raise await self._taken_by_hand(name, nothing) from None

    async def _taken_by_hand(self, name: str, nothing: NothingFound) -> NothingFound:
        """Where the claims are still there somebody ran the vendor's stop script, or did the same."""
        if not nothing.claims:
            return nothing
        last = await self._operations.latest(name)
        missing = ", ".join(str(workload.ref) for workload in last.goal.topology) if last else "every workload"
        return NothingFound(
            f"{name} was removed, and not by this bot: {len(nothing.claims)} claims are there ("
            f"{', '.join(claim.name for claim in nothing.claims)}), and no capture says how the rest was. "
            f"Missing: {missing}. Make it again with what made it (the vendor's start script): it finds its claims "
            "by their names.",
            nothing.claims,
        )

    def _keeps_services(self, change: Stop | Delete) -> bool:
        configured = self._sites[change.cluster].settings.keep_services
        return configured if change.keeps_services is None else change.keeps_services

    async def _goal(self, change: Stop | Start | Restart, discovery: Discovery, last: Operation | None) -> Goal:
        """``last`` is the cluster's newest operation: it has the credit only if it ended where the cluster is."""
        try:
            match change:
                case Stop():
                    _refuse_options(change)
                    return stop.goal(discovery)
                case Start():
                    remembered = await self._operations.remembered_counts(change.cluster)
                    return start.goal(discovery, remembered, change.counts)
                case Restart():
                    return restart.goal(discovery, change.component, downtime=change.downtime)
        except AlreadyStopped as refusal:
            raise AlreadyStopped(f"{change.cluster} is {refusal}", ended_so(last, Verb.STOP)) from None
        except AlreadyRunning as refusal:
            raise AlreadyRunning(f"{change.cluster} is {refusal}", ended_so(last, Verb.START, Verb.RETURN)) from None


def _refuse_options(change: Stop) -> None:
    """A stop that only scales gives no address up, and must not pass for one that does."""
    if change.keeps_services is not None:
        option = "--keep-services" if change.keeps_services else "--release-services"
        raise NotUnderstood(
            f"`{option}` goes with `--remove`: a stop without it leaves every Service where it is. "
            f"Did you mean: /tml stop {change.cluster} --remove {option}"
        )
