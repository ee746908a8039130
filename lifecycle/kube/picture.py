"""A picture of a goal's objects, out of everything that was listed."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from lifecycle.errors import Gone
from lifecycle.kube import groups, paths, purging, read, scratch
from lifecycle.kube.answers import Json
from lifecycle.kube.door import Door
from lifecycle.kube.parallel import together
from lifecycle.kube.parts import bare, parts
from lifecycle.kube.paths import CONFIDENTIAL, GROUPED, PICTURED, PICTURED_WIDELY, SNAPSHOTTED, Resource
from lifecycle.kube.pieces import Shelf
from lifecycle.kube.read import Lists
from lifecycle.kube.snapshots import by_name, snapshot
from lifecycle.kube.volumes import volume
from lifecycle.model import Kind
from lifecycle.observed import Observed, Part
from lifecycle.operation import Goal
from lifecycle.retention import Purging
from lifecycle.snapshots import group_name, name_of
from lifecycle.volumes import GroupSnapshot, Snapshot, Volume
from lifecycle.workloads import Exit

Copied = Mapping[Shelf, Iterable[Json]]
"""The pieces of captures on each shelf, by their metadata."""


def resources_of(goal: Goal) -> tuple[Resource, ...]:
    """What has to be known for it."""
    if goal.verifying:
        return scratch.SCRATCHED
    if not goal.is_wide:
        return PICTURED
    volumes = (Resource.VOLUMES,) if goal.watched_volumes else ()
    snapshots = SNAPSHOTTED if _names_of_set(goal) or _groups_of(goal) else ()
    return (*PICTURED_WIDELY, *volumes, *snapshots, *(GROUPED if _groups_of(goal) else ()))


def copies_of(goal: Goal, namespace: str) -> tuple[Shelf, ...]:
    """Where copies of captures have to be known for it."""
    return tuple(Shelf(where, namespace) for where in goal.copies) if goal.is_wide and not goal.verifying else ()


def observed(
    goal: Goal, namespace: str, lists: Lists, at: datetime, copied: Copied, exits: tuple[Exit, ...] = ()
) -> Observed:
    """Of what removes, makes or captures also the volumes, parts, capture and snapshots that the goal names."""
    seen = read.observed(goal.topology, lists, at, exits)
    if goal.verifying:
        return replace(seen, snapshots=_snapshots(goal, lists, ()), scratch=scratch.seen(goal, namespace, lists))
    if not goal.is_wide:
        return seen
    if goal.purging is not None:
        seen = replace(seen, claims=purging.claims(goal.volumes, lists[Resource.CLAIMS]))
    shelves = {Shelf(namespace, namespace): lists[Resource.SECRETS], **copied}
    whole = {shelf.namespace: shelf.whole(found, goal.source or goal.mark) for shelf, found in shelves.items()}
    capture = next(filter(None, whole.values()), "")
    known = groups.groups(_groups_of(goal), lists.get(Resource.GROUPS, ()), lists.get(Resource.GROUP_CONTENTS, ()))
    seen = replace(seen, groups=known, snapshots=_snapshots(goal, lists, known))
    return replace(
        _with_contents(goal, namespace, lists, seen),
        volumes=_volumes(goal, namespace, lists),
        parts=_pieces(goal.purging, shelves) if goal.purging else _parts(goal, lists),
        capture=capture,
        lacking=tuple(where for where, sha256 in whole.items() if sha256 != capture),
    )


def _with_contents(goal: Goal, namespace: str, lists: Lists, seen: Observed) -> Observed:
    """Of a purge: what is behind each of its snapshots; of a restore: what has the data of its clones."""
    about = goal.purging
    singles, together = (lists.get(resource, ()) for resource in (Resource.SNAPSHOT_CONTENTS, Resource.GROUP_CONTENTS))
    if about is None:
        return replace(seen, contents=purging.of_clones(goal.clones, namespace, singles))
    return replace(
        seen,
        contents=purging.contents(about, namespace, singles, Kind.SNAPSHOT, [one.name for one in seen.snapshots]),
        group_contents=purging.contents(about, namespace, together, Kind.GROUP, [one.name for one in seen.groups]),
    )


def _names_of_set(goal: Goal) -> frozenset[str]:
    """Those that it takes, or those that it tests."""
    if goal.verifying:
        return frozenset(member.snapshot for member in goal.verifying.members)
    members = goal.cutting.members if goal.cutting and not goal.is_grouped else ()
    taken = (name_of(goal.mark, member.claim) for member in members)
    return purging.named_of(goal.purging) | {*taken, *(clone.snapshot for clone in goal.clones)}


def _pieces(goal: Purging, shelves: Copied) -> tuple[Part, ...]:
    found = (part for shelf, secrets in shelves.items() for part in purging.pieces_of(goal, shelf, secrets))
    return tuple(sorted(found, key=lambda part: part.ref))


def _groups_of(goal: Goal) -> frozenset[str]:
    """The VolumeGroupSnapshots of the same: what their members are called is only known when they are there."""
    taken = {group_name(goal.mark)} if goal.is_grouped else set()
    return purging.groups_of(goal.purging) | taken


def _parts(goal: Goal, lists: Lists) -> tuple[Part, ...]:
    return parts((part.ref for part in (*goal.parts, *goal.staying)), lists)


def _snapshots(goal: Goal, lists: Lists, known: Sequence[GroupSnapshot]) -> tuple[Snapshot, ...]:
    """By their names, and by the groups that they are members of."""
    names = _names_of_set(goal)
    contents = by_name(lists.get(Resource.SNAPSHOT_CONTENTS, ()))
    found = (snapshot(one, contents, known) for one in lists.get(Resource.SNAPSHOTS, ()))
    return tuple(sorted((one for one in found if one.group or one.name in names), key=lambda one: one.name))


def _volumes(goal: Goal, namespace: str, lists: Lists) -> tuple[Volume, ...]:
    names = goal.watched_volumes
    found = (volume(one, namespace) for one in lists.get(Resource.VOLUMES, ()) if read.name_of(one) in names)
    return tuple(sorted(found, key=lambda one: one.name))


def kept_of(resource: Resource, found: Json) -> Json:
    """The object as far as it is kept in memory."""
    return bare(found) if resource in CONFIDENTIAL else found


async def listed(
    door: Door, namespace: str, resource: Resource, params: Mapping[str, str] = MappingProxyType({})
) -> list[Json]:
    """All there is of it, in the form in which it may be kept."""
    answer = await door.get(paths.all_of(resource, namespace), params, accept=resource.listed_as)
    return [kept_of(resource, one) for one in answer.get("items") or []]


async def listed_if_served(
    door: Door, namespace: str, resource: Resource, optional: Collection[Resource]
) -> list[Json]:
    """The same; of an optional API that is not served there are no objects."""
    try:
        return await listed(door, namespace, resource)
    except Gone:
        if resource not in optional:
            raise
        return []


async def take(door: Door, namespace: str, goal: Goal, at: datetime) -> Observed:
    """One picture, from one list of each kind."""
    resources, shelves = resources_of(goal), copies_of(goal, namespace)
    own = [listed_if_served(door, namespace, resource, GROUPED) for resource in resources]
    copied = [listed(door, shelf.namespace, Resource.SECRETS, shelf.asked()) for shelf in shelves]
    found = await together([*own, *copied])
    lists = dict(zip(resources, found[: len(resources)], strict=True))
    return observed(goal, namespace, lists, at, dict(zip(shelves, found[len(resources) :], strict=True)))
