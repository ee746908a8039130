"""A picture of a goal's objects, out of everything that was listed."""

from dataclasses import replace
from datetime import datetime

from lifecycle.kube import paths, read
from lifecycle.kube.answers import Json
from lifecycle.kube.door import Door
from lifecycle.kube.parallel import together
from lifecycle.kube.parts import bare, parts
from lifecycle.kube.paths import CONFIDENTIAL, PICTURED, PICTURED_WIDELY, Resource
from lifecycle.kube.pieces import whole
from lifecycle.kube.read import Lists
from lifecycle.kube.volumes import volume
from lifecycle.model import Exit, Observed, Volume
from lifecycle.operation import Goal


def resources_of(goal: Goal) -> tuple[Resource, ...]:
    """What has to be known for it."""
    return PICTURED_WIDELY if goal.is_wide else PICTURED


def observed(goal: Goal, namespace: str, lists: Lists, at: datetime, exits: tuple[Exit, ...] = ()) -> Observed:
    """Of a delete and a restore also the volumes, the parts and the capture that the goal names."""
    seen = read.observed(goal.topology, lists, at, exits)
    if not goal.is_wide:
        return seen
    return replace(
        seen,
        volumes=_volumes(goal, namespace, lists),
        parts=parts((part.ref for part in goal.parts), lists),
        capture=whole(lists[Resource.SECRETS], goal.source or goal.mark),
    )


def _volumes(goal: Goal, namespace: str, lists: Lists) -> tuple[Volume, ...]:
    names = {one.name for one in goal.volumes}
    found = (volume(one, namespace) for one in lists[Resource.VOLUMES] if read.name_of(one) in names)
    return tuple(sorted(found, key=lambda one: one.name))


def kept_of(resource: Resource, found: Json) -> Json:
    """The object as far as it is kept in memory."""
    return bare(found) if resource in CONFIDENTIAL else found


async def listed(door: Door, namespace: str, resource: Resource) -> list[Json]:
    """All there is of it, in the form in which it may be kept."""
    answer = await door.get(paths.all_of(resource, namespace), accept=resource.listed_as)
    return [kept_of(resource, one) for one in answer.get("items") or []]


async def take(door: Door, namespace: str, goal: Goal, at: datetime) -> Observed:
    """One picture, from one list of each kind."""
    resources = resources_of(goal)
    found = await together(listed(door, namespace, resource) for resource in resources)
    return observed(goal, namespace, dict(zip(resources, found, strict=True)), at)
