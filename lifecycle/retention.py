"""What is kept, for how long, and why: functions of the records and of now."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from lifecycle.model import Kind, Ref
from lifecycle.volumes import Content, GroupSnapshot, Snapshot

NOTICE = timedelta(days=1)
"""How long before a purge the channel is told of it."""
KEEP_VOLUMES = timedelta(days=7)


@dataclass(frozen=True)
class Policy:
    """Which snapshot sets stay: the newest so many good ones, and those younger than so many days.

    Where both are given a set stays that either of them keeps; where neither is, all stay.
    """

    keep_last: int | None = None
    keep_days: int | None = None

    @property
    def removes(self) -> bool:
        return self.keep_last is not None or self.keep_days is not None


class Quality(StrEnum):
    """Of a set, as it is seen now."""

    GOOD = "good"
    """Every snapshot of it is there, ready and kept."""
    BAD = "bad"
    """It was good once; what is there is less, or a restore test has failed on it."""
    FAILED = "failed"
    """It was never good: snapshots that a failed operation left."""


@dataclass(frozen=True)
class Held:
    """A set, as far as the rule has to know it; ``id`` is that of the operation that took it, ``claims`` what it saved.

    Sets are ordered by when their operations began, ``begun_at`` by the database's time: the moment of a cut is the
    cluster's own, in whole seconds, and would put a set before one that was there already.
    """

    id: str
    begun_at: datetime
    quality: Quality
    pinned: bool = False
    claims: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Verdict:
    """``stays`` says why, by the id of the set."""

    goes: tuple[str, ...] = ()
    stays: Mapping[str, str] = field(default_factory=dict)


def stale(sets: Iterable[Held], policy: Policy, needed: Mapping[str, str], now: datetime) -> Verdict:
    """Which sets go, oldest first. ``needed`` are those that something needs still, with what that is.

    Only a good set of all that an older one saved takes its place: a delete cuts what can be cut, be it one volume.
    """
    ordered = sorted(sets, key=lambda one: (one.begun_at, one.id))
    stays: dict[str, str] = {}
    for one in ordered:
        newer = [
            other
            for other in ordered[ordered.index(one) + 1 :]
            if other.quality is Quality.GOOD and one.claims <= other.claims
        ]
        if why := _why_it_stays(one, newer, policy, needed, now):
            stays[one.id] = why
    return Verdict(tuple(one.id for one in ordered if one.id not in stays), stays)


def _why_it_stays(
    one: Held, newer: Sequence[Held], policy: Policy, needed: Mapping[str, str], now: datetime
) -> str | None:
    if one.pinned:
        return "pinned"
    if one.id in needed:
        return needed[one.id]
    if not newer:
        return "the newest good set of its volumes" if one.quality is Quality.GOOD else "there is no newer good set"
    if not policy.removes:
        return "no retention of sets is configured"
    if policy.keep_last is not None and len(newer) < policy.keep_last:
        return f"one of the newest {policy.keep_last}"
    if policy.keep_days is not None and now - one.begun_at < timedelta(days=policy.keep_days):
        return f"younger than {policy.keep_days} days"
    return None


def clearable(sets: Sequence[Held], policy: Policy, needed: Mapping[str, str], now: datetime) -> Verdict:
    """What a person may have removed: what is stale, and what failed sets left as soon as a newer one is good."""
    usual = stale(sets, policy, needed, now)
    failed = {one.id for one in sets if one.quality is Quality.FAILED}
    freed = {identity for identity in stale(sets, Policy(keep_last=1), needed, now).goes if identity in failed}
    goes = {*usual.goes, *freed}
    ordered = sorted(sets, key=lambda one: (one.begun_at, one.id))
    return Verdict(
        tuple(one.id for one in ordered if one.id in goes),
        {identity: why for identity, why in usual.stays.items() if identity not in goes},
    )


@dataclass(frozen=True)
class Keeping:
    """The volumes that a delete kept and nobody brought back, or a restore in place: ``id`` is that operation's.

    ``keeps`` is what its approved plan said, None where it said nothing of a purge. ``kept_until`` is what
    *Keep longer* made of it, ``announced_for`` the moment that the channel was told of.
    """

    id: str
    removed_at: datetime
    keeps: timedelta | None
    kept_until: datetime | None = None
    announced_for: datetime | None = None

    @property
    def until(self) -> datetime | None:
        """When they may go at the earliest; None: when a person says so."""
        if self.keeps is None:
            return None
        return max(self.removed_at + self.keeps, self.kept_until or self.removed_at)

    @property
    def notice(self) -> timedelta:
        """How long before: a day, or half the time where that is shorter."""
        return min(NOTICE, (self.keeps or NOTICE * 2) / 2)

    @property
    def next_moment(self) -> datetime | None:
        """When there is something to do about them next."""
        if self.announced_for is not None:
            return self.announced_for
        return None if self.until is None else self.until - self.notice

    def announcement(self, now: datetime) -> datetime | None:
        """The moment to announce now: never less than the notice's time ahead, however late it is told."""
        due = self.next_moment
        if self.announced_for is not None or due is None or self.until is None or now < due:
            return None
        return max(self.until, now + self.notice)

    def is_due(self, now: datetime) -> bool:
        """Whether they may go without anybody's word: they were announced, and the time is over."""
        return self.announced_for is not None and now >= self.announced_for


CONTENT_OF = {Kind.SNAPSHOT: Kind.CONTENT, Kind.GROUP: Kind.GROUP_CONTENT}
"""The kind that is behind a snapshot of this one."""
OF_SETS = frozenset((*CONTENT_OF, *CONTENT_OF.values()))
"""What snapshot sets are made of."""


@dataclass(frozen=True)
class Doomed:
    """A snapshot of a set that goes; a ``snapshot_uid`` or ``content`` that is empty is one that was not there.

    Of a set that was cut as a group also that group itself (``kind``); a member names it in ``group`` and goes with it.
    """

    set: str
    claim: str
    snapshot: str
    snapshot_uid: str = ""
    content: str = ""
    content_uid: str = ""
    handle: str = ""
    driver: str = ""
    strays: tuple[Content, ...] = ()
    """Contents of the same data that snapshots of before left behind; with none of them the data go."""
    kind: Kind = Kind.SNAPSHOT
    group: str = ""

    @property
    def snapshot_ref(self) -> Ref:
        return Ref(self.kind, self.snapshot)

    @property
    def content_ref(self) -> Ref:
        return Ref(CONTENT_OF[self.kind], self.content)

    @property
    def refs(self) -> tuple[Ref, ...]:
        """The objects that have to be gone."""
        there = [self.snapshot_ref] if self.snapshot_uid else []
        return (*there, *([self.content_ref] if self.content_uid else []))


@dataclass(frozen=True)
class Purging:
    """``deletes`` are the operations, restores in place among them, whose kept volumes go, ``sets`` those whose
    snapshots do.

    ``guard`` is the newest set where one has to be good as long as it takes, as it was recorded.
    """

    deletes: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    doomed: tuple[Doomed, ...] = ()
    guard: tuple[Snapshot, ...] = ()
    captures: tuple[str, ...] = ()
    """The operations whose capture goes, with the last that could be brought back with it."""
    stays: Mapping[str, str] = field(default_factory=dict)
    """What stays though it was looked at, in words, and why."""
    guard_group: GroupSnapshot | None = None
    """The group of ``guard``, where that was cut as one."""


def is_intact(recorded: Sequence[Snapshot], seen: Mapping[str, Snapshot]) -> bool:
    """Whether every snapshot of a set is there as it was recorded, ready and kept; ``seen`` by name."""
    return bool(recorded) and all(is_as_recorded(one, seen.get(one.name)) for one in recorded)


def is_as_recorded(one: Snapshot, now: Snapshot | None) -> bool:
    if now is None or not now.is_saved:
        return False
    return (now.uid, now.content, now.handle) == (one.uid, one.content, one.handle)
