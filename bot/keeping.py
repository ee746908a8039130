"""What may go of a cluster as it is now, and the housekeeper who lets it go when its time is over."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from bot.captures import require_copies
from bot.settings import ClusterSettings
from lifecycle.decide import phases_of, purge
from lifecycle.decide.purge import Stock
from lifecycle.decide.sets import SetRecord
from lifecycle.errors import ClusterBusy, ClusterError, MissingRights, NoNamespace, NothingToPurge, PurgeVoid
from lifecycle.hold import ClusterHeld
from lifecycle.model import BOT, Place, Target, Verb
from lifecycle.observed import Observed
from lifecycle.operation import Operation, State
from lifecycle.plan import Plan, plan_of_return
from lifecycle.ports import Cluster, Use
from lifecycle.retention import Held, Quality, Verdict, clearable, stale
from lifecycle.snapshots import group_name, name_of
from lifecycle.verification import Result
from lifecycle.volumes import GroupSnapshot, Snapshot
from storage.database import StorageError
from storage.ids import IdTaken
from storage.operations import Operations
from storage.retention import KeptVolumes, Records, Retention

log = structlog.get_logger(__name__)

REST = timedelta(days=1)
"""How long a purge of sets that failed is not begun again by itself."""


def stock_of(records: Records, target: Target) -> Stock:
    """What the records say is kept in this namespace, as the decisions know it.

    A cluster's name may have meant another one before: what is kept there is not looked for here.
    """
    deletes = (one.by.id for one in records.volumes if one.by.verb is Verb.DELETE)
    needed = dict.fromkeys(deletes, "the volumes that its delete kept are not purged yet")
    if records.last_way_back:
        needed[records.last_way_back] = "the deleted cluster's way back"
    for identity in records.restoring:
        needed.setdefault(identity, "a restore from it has not come to its end")
    recorded = (
        SetRecord(
            one.content.id,
            one.operation.begun_at,
            one.content.members,
            pinned=one.content.id in records.pins,
            is_bad=one.verification is not None and one.verification.result is Result.FAILED,
            kubernetes=one.operation.goal.kubernetes,
            copies=one.operation.goal.copies,
            group=one.content.group,
        )
        for one in records.sets
        if one.operation.target == target
    )
    failed = (
        SetRecord(
            one.id,
            one.begun_at,
            _left_by(one),
            failed=True,
            kubernetes=one.goal.kubernetes,
            copies=one.goal.copies,
            group=_group_left_by(one),
        )
        for one in records.failed
        if one.target == target
    )
    return Stock(
        (*recorded, *failed),
        tuple(one.by for one in records.volumes if one.by.target == target),
        needed,
        records.restoring,
        way_back=records.last_way_back or "",
    )


def _left_by(failed: Operation) -> tuple[Snapshot, ...]:
    """What it may have left: nobody recorded more than the names, and of a group's members not even these."""
    members = failed.goal.cutting.members if failed.goal.cutting else ()
    is_grouped = failed.goal.is_grouped
    names = ("" if is_grouped else name_of(failed.id, one.claim) for one in members)
    return tuple(Snapshot(name, "", one.claim, failed.id) for name, one in zip(names, members, strict=True))


def _group_left_by(failed: Operation) -> GroupSnapshot | None:
    return GroupSnapshot(group_name(failed.id), "", "", failed.id) if failed.goal.is_grouped else None


def with_groups_unseen(stock: Stock, why: str) -> Stock:
    """Where the bot may not look at volume groups, no set that was cut as one goes, nor counts for anything."""
    hidden = {one.id: why for one in stock.sets if one.group}
    sets = (replace(one, unseen=hidden.get(one.id, "")) for one in stock.sets)
    return replace(stock, sets=tuple(sets), needed={**hidden, **stock.needed})


Rule = Callable[[Stock, Observed, datetime], tuple[Sequence[str], Verdict]]
"""Whose kept volumes and which sets are to go, by the operations' ids."""


@dataclass(frozen=True)
class Keeper:
    """Looks at what is kept of one cluster."""

    name: str
    settings: ClusterSettings
    cluster: Cluster
    retention: Retention

    async def plan_by_hand(self) -> Plan:
        """All that a person may have purged now. Raises NothingToPurge, MissingRights and NoNamespace."""
        return await self._plan(await self.retention.of(self.name), self._all)

    async def plan_of_volumes(self, records: Records, by: str) -> Plan:
        """The volumes that this operation kept. Raises as `plan_by_hand`."""
        return await self._plan(records, lambda *_: ([by], Verdict()))

    async def plan_of_sets(self, records: Records) -> Plan:
        """The sets that the configuration lets go. Raises as `plan_by_hand`."""
        return await self._plan(records, self._stale)

    async def _plan(self, records: Records, rule: Rule) -> Plan:
        stock = stock_of(records, self.cluster.target)
        if not (stock.sets or stock.kept_by):
            raise NothingToPurge("Nothing is kept, so nothing can go.")
        await require_copies(self.cluster, purge.draft(stock).copies)
        stock, observed = await self._looked_at(stock)
        kept_by, sets = rule(stock, observed, await self.retention.moment())
        return plan_of_return(purge.goal(stock, observed, kept_by, sets), self.cluster.target, observed)

    async def _as_far_as_seen(self, stock: Stock) -> Stock:
        """What it takes to remove a group is asked for where there is one."""
        if not any(one.group for one in stock.sets):
            return stock
        missing = ", ".join(map(str, await self.cluster.missing_rights_to(Use.UNGROUP)))
        why = f"cut as a group, and the bot has no right to {missing} (see deploy/rbac/group.yaml, purge.yaml)"
        return with_groups_unseen(stock, why) if missing else stock

    async def is_gone(self, records: Records, by: Operation) -> bool:
        """Whether nothing is left of what it kept; of what was kept elsewhere nobody knows."""
        stock, observed = await self._looked_at(stock_of(records, self.cluster.target))
        return by in stock.kept_by and purge.is_gone(by, stock, observed)

    async def _looked_at(self, stock: Stock) -> tuple[Stock, Observed]:
        """Whose picture it was is asked after it: a context that changes in between is not taken for the one before."""
        stock = await self._as_far_as_seen(stock)
        observed = await self.cluster.picture(purge.draft(stock))
        return replace(stock, kubernetes=await self.cluster.identity()), observed

    def _all(self, stock: Stock, observed: Observed, now: datetime) -> tuple[Sequence[str], Verdict]:
        needed = purge.needed(stock, observed)
        sets = clearable(purge.held(stock, observed), self.settings.retention, needed, now)
        return [one.id for one in stock.kept_by], sets

    def _stale(self, stock: Stock, observed: Observed, now: datetime) -> tuple[Sequence[str], Verdict]:
        return [], stale(purge.held(stock, observed), self.settings.retention, purge.needed(stock, observed), now)

    def may_be_stale(self, records: Records, now: datetime) -> bool:
        """Whether any set could go, were all of them good: else the cluster need not be asked."""
        stock = stock_of(records, self.cluster.target)
        all_good = [
            Held(one.id, one.begun_at, Quality.FAILED if one.failed else Quality.GOOD, one.pinned, one.claims)
            for one in stock.sets
        ]
        return bool(stale(all_good, self.settings.retention, stock.needed, now).goes)


@dataclass(frozen=True)
class Housekeeper:
    """Announces, and begins what is due; whoever has the cluster's slot goes first."""

    keepers: Mapping[str, Keeper]
    operations: Operations
    retention: Retention
    starter: Callable[[Operation], None]
    new_id: Callable[[str], str]

    async def look(self) -> tuple[datetime, ...]:
        """Do what is due in every cluster; when there is something to do next, as far as that is known."""
        async with asyncio.TaskGroup() as group:  # who is cancelled ends only when each of them has
            looking = [group.create_task(self._safely(keeper)) for keeper in self.keepers.values()]
        return tuple(moment for one in looking for moment in one.result())

    async def _safely(self, keeper: Keeper) -> list[datetime]:
        """A cluster that is away keeps no other waiting."""
        try:
            return await self._look(keeper)
        except ClusterError as error:
            log.warning("what is kept could not be looked at", cluster=keeper.name, reason=str(error))
        except StorageError:
            log.exception("what is kept could not be looked up; the next look tries again", cluster=keeper.name)
        return []

    async def _look(self, keeper: Keeper) -> list[datetime]:
        await self.retention.void_overtaken(keeper.name)
        records = await self.retention.of(keeper.name)
        for kept in records.volumes:
            place = Place(kept.by.place.team, keeper.settings.channel)
            await self.retention.announce(kept.by, place, self.new_id)
        records, now = await self.retention.of(keeper.name), await self.retention.moment()
        if await self.operations.running_on(keeper.name) is None:
            due = [kept for kept in records.volumes if kept.keeping.is_due(now)]
            if not await self._begins_one(keeper, records, due) and await self._lets_sets_go(keeper, records, now):
                await self._purge_sets(keeper, records)
        return [kept.keeping.next_moment for kept in records.volumes if kept.keeping.next_moment]

    async def _begins_one(self, keeper: Keeper, records: Records, due: Sequence[KeptVolumes]) -> bool:
        """The oldest that can: one that is held keeps no later one from going."""
        for kept in due:
            if await self._purge_volumes(keeper, records, kept):
                return True
        return False

    async def _purge_volumes(self, keeper: Keeper, records: Records, kept: KeptVolumes) -> bool:
        """Whether it has begun; what keeps it from beginning is told in the notice's thread."""
        assert kept.notice
        try:
            if missing := await keeper.cluster.missing_rights(Verb.PURGE):
                names = ", ".join(str(right) for right in missing)
                await self.retention.hold(kept.notice, f"missing rights: {names} (see deploy/rbac/purge.yaml)")
                return False
            made = await keeper.plan_of_volumes(records, kept.by.id)
        except (NothingToPurge, MissingRights, NoNamespace) as why:
            await self.retention.hold(kept.notice, str(why))
            return False
        if not (made.goal.volumes or made.goal.parts):
            await self._settle(keeper, records, kept)
            return False
        notice = kept.notice

        async def record(operation: Operation) -> Operation:
            return await self.retention.begin(notice, operation, made)

        reason = f"kept since {kept.keeping.removed_at:%Y-%m-%d %H:%M} UTC, and announced"
        return await self._begin(keeper, made, notice.place, reason, record)

    async def _settle(self, keeper: Keeper, records: Records, kept: KeptVolumes) -> None:
        """There is nothing to purge. Whether that is because it is gone has to be SEEN."""
        assert kept.notice
        if await keeper.is_gone(records, kept.by):
            await self.retention.settle(kept)
        else:
            await self.retention.hold(kept.notice, "the volumes there are not as it left them: look at them")

    async def _lets_sets_go(self, keeper: Keeper, records: Records, now: datetime) -> bool:
        if not keeper.settings.retention.removes or not keeper.may_be_stale(records, now):
            return False
        last = await self.operations.latest(keeper.name, Verb.PURGE, State.FAILED)
        return last is None or last.ended_at is None or now - last.ended_at >= REST

    async def _purge_sets(self, keeper: Keeper, records: Records) -> bool:
        if missing := await keeper.cluster.missing_rights(Verb.PURGE):
            log.warning("sets cannot be purged", cluster=keeper.name, missing=[str(right) for right in missing])
            return False
        try:
            made = await keeper.plan_of_sets(records)
        except NothingToPurge:
            return False
        except (MissingRights, NoNamespace) as reason:
            log.warning("sets cannot be purged", cluster=keeper.name, missing=str(reason))
            return False
        team = next((one.operation.place.team for one in records.sets), "")

        async def record(operation: Operation) -> Operation:
            return await self.operations.begin(operation, made)

        why = "no longer kept by the retention of snapshot sets"
        return await self._begin(keeper, made, Place(team, keeper.settings.channel), why, record)

    async def _begin(
        self,
        keeper: Keeper,
        made: Plan,
        place: Place,
        why: str,
        record: Callable[[Operation], Awaitable[Operation]],
    ) -> bool:
        """False where somebody was faster, or needs again what was to go: the next look decides anew."""
        try:
            operation = await record(await self._operation(keeper, made, place, why))
        except (ClusterBusy, ClusterHeld, PurgeVoid, IdTaken) as reason:
            log.info("a purge gives way", cluster=keeper.name, reason=str(reason))
            return False
        self.starter(operation)
        return True

    async def _operation(self, keeper: Keeper, made: Plan, place: Place, why: str) -> Operation:
        identity = self.new_id("op")
        return Operation(
            id=identity,
            verb=Verb.PURGE,
            cluster=keeper.name,
            target=keeper.cluster.target,
            requester=BOT,
            place=Place(place.team, place.channel),
            goal=made.goal.marked(identity),
            phase=phases_of(made.goal)[0].name,
            begun_at=await self.retention.moment(),
            reason=why,
            command=f"purge {keeper.name}",
            expected=await self.operations.usual_seconds(keeper.name, Verb.PURGE, made.step_keys),
            limits={name: int(limit.total_seconds()) for name, limit in keeper.settings.deadlines.items()},
        )
