"""A snapshot set as it is recorded, and what of it is there: only the very objects that were recorded count."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from lifecycle.decide import strays
from lifecycle.model import Kind
from lifecycle.observed import Observed
from lifecycle.retention import Doomed, Quality, is_as_recorded, is_intact
from lifecycle.volumes import Content, GroupSnapshot, Snapshot


@dataclass(frozen=True)
class SetRecord:
    """A set as it is recorded, or what a failed one may have left: of that only names and claims are known."""

    id: str
    begun_at: datetime
    members: tuple[Snapshot, ...]
    failed: bool = False
    pinned: bool = False
    is_bad: bool = False
    """A restore test has failed on it."""
    kubernetes: str = ""
    """In which Kubernetes cluster it was taken; empty: not known."""
    copies: tuple[str, ...] = ()
    """The namespaces that its capture was copied to."""
    group: GroupSnapshot | None = None
    """The group that its members were cut with; of a failed one no more than its name is known."""
    unseen: str = ""
    """Why nothing of it can be seen."""

    @property
    def claims(self) -> frozenset[str]:
        """What it saved."""
        return frozenset(member.claim for member in self.members)

    @property
    def recorded(self) -> tuple[Snapshot, ...]:
        """Its snapshots of which the name is known, the group itself among them."""
        named = tuple(member for member in self.members if member.name)
        return (*named, self.group) if self.group else named


def drafted(record: SetRecord) -> Iterator[Doomed]:
    """What has to be looked at of a set, by the names that are known."""
    if record.unseen:
        return
    for member in record.recorded:
        yield named(record, member, member.content)


def named(record: SetRecord, member: Snapshot, content: str = "") -> Doomed:
    kind = member.ref.kind
    group = record.group.name if record.group and kind is Kind.SNAPSHOT else ""
    return Doomed(record.id, member.claim, member.name, content=content, kind=kind, group=group)


def quality(record: SetRecord, observed: Observed) -> Quality:
    if record.failed:
        return Quality.FAILED
    is_good = is_whole(record.members, record.group, observed) and not (record.unseen or record.is_bad)
    return Quality.GOOD if is_good else Quality.BAD


def is_whole(members: Sequence[Snapshot], group: GroupSnapshot | None, observed: Observed) -> bool:
    """The bytes of a group are the group's: without it there and kept, its members are no set."""
    seen = {one.name: one for one in observed.snapshots}
    return is_intact(members, seen) and (group is None or is_as_recorded(group, observed.group(group.name)))


def is_here(record: SetRecord, observed: Observed) -> bool:
    """Whether anything of it is there: what bears its mark, and is what was recorded."""
    found = ((one, snapshot_seen(named(record, one), observed)) for one in record.recorded)
    return any(seen and seen.made_by == record.id and one.uid in ("", seen.uid) for one, seen in found)


def going_of(record: SetRecord, observed: Observed) -> tuple[Snapshot, ...]:
    """Of a group that failed the members that it has: nobody recorded what they are called."""
    if record.failed and record.group:
        return (*observed.members(record.group.name), record.group)
    return record.recorded


def doom(record: SetRecord, member: Snapshot, observed: Observed) -> Doomed:
    """What is there of a member: only the very objects that were recorded, and only where each names the other."""
    made = named(record, member)
    seen = snapshot_seen(made, observed)
    if seen and (not _is_of_set(made, seen) or (member.uid and seen.uid != member.uid)):
        return made
    content = _content_of(record, member, seen, observed)
    made = replace(made, snapshot_uid=seen.uid if seen else "")
    if content is None:
        return made
    return replace(
        made,
        content=content.name,
        content_uid=content.uid,
        handle=content.handle,
        driver=content.driver,
        strays=strays.beside(content, observed),
    )


def _is_of_set(one: Doomed, seen: Snapshot) -> bool:
    """Whether it bears the set's mark; a member whose group is gone bears none, and is known by its uid alone."""
    return seen.made_by == one.set or bool(one.group and not seen.group)


def snapshot_seen(one: Doomed, observed: Observed) -> Snapshot | None:
    return observed.group(one.snapshot) if one.kind is Kind.GROUP else observed.snapshot(one.snapshot)


def _content_seen(kind: Kind, name: str, observed: Observed) -> Content | None:
    return observed.group_content(name) if kind is Kind.GROUP else observed.content(name)


def _content_of(record: SetRecord, member: Snapshot, seen: Snapshot | None, observed: Observed) -> Content | None:
    name, uid = (seen.content, seen.uid) if seen else (member.content, member.uid)
    content = _content_seen(member.ref.kind, name, observed) if name and uid else None
    if content is None or (content.snapshot, content.snapshot_uid) != (member.name, uid):
        return None
    is_recorded = record.failed or (content.name, content.handle) == (member.content, member.handle)
    return content if is_recorded else None


def own_snapshot(one: Doomed, observed: Observed) -> Snapshot | None:
    seen = snapshot_seen(one, observed)
    return seen if seen and seen.uid == one.snapshot_uid and _is_of_set(one, seen) else None


def own_content(one: Doomed, observed: Observed) -> Content | None:
    seen = _content_seen(one.kind, one.content, observed) if one.content_uid else None
    return seen if seen and seen.uid == one.content_uid else None


def is_of(one: Doomed, content: Content) -> bool:
    """Between the bytes and the content itself its handle goes (external-snapshotter, clearVolumeContentStatus)."""
    is_emptied = content.deleting and not content.handle
    return content.snapshot == one.snapshot and (content.handle == one.handle or is_emptied)
