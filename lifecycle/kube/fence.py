"""The fence: which executor may write to a workload."""

import asyncio

from lifecycle.errors import Conflict, Gone, LeaseLost
from lifecycle.kube import patch, paths, read
from lifecycle.kube.answers import Json
from lifecycle.kube.door import Door, backoff
from lifecycle.model import Workload
from lifecycle.ports import Lease

ATTEMPTS = 5
"""A controller's status update between read and write makes the resourceVersion stale; it is read again."""


def require(lease: Lease) -> None:
    """Raises LeaseLost where nothing may be written any more."""
    if not lease.is_held:
        raise LeaseLost("the Lease tml-bot was not renewed in time; nothing is written until it is held again")


async def stamp(door: Door, namespace: str, workload: Workload, epoch: int, lease: Lease) -> None:
    """Raises Conflict where a higher epoch is stamped, Gone where the name is another object's now.

    Nothing is to be done where there is no object of that name.
    """
    for attempt in range(ATTEMPTS - 1):
        try:
            return await _stamp_once(door, namespace, workload, epoch, lease)
        except Overtaken:
            await asyncio.sleep(backoff(attempt, door.jitter(), base=0.05))
    return await _stamp_once(door, namespace, workload, epoch, lease)


class Overtaken(Conflict):
    """Somebody wrote between our read and our write."""


async def _stamp_once(door: Door, namespace: str, workload: Workload, epoch: int, lease: Lease) -> None:
    path = paths.workload(workload.ref, namespace)
    try:
        found = await door.get(path)
    except Gone:
        return
    if not _is_due(found, workload, epoch):
        return
    require(lease)
    try:
        await door.patch(path, patch.stamp(found, workload.uid, epoch))
    except Conflict as error:
        raise Overtaken(str(error)) from error


def _is_due(found: Json, workload: Workload, epoch: int) -> bool:
    stamped = read.epoch_of(found)
    if read.uid_of(found) != workload.uid:
        raise Gone(f"{workload.ref} was replaced by another object of the same name")
    if stamped > epoch:
        raise Conflict(f"{workload.ref} was taken by a later executor (epoch {stamped}, ours is {epoch})")
    return stamped < epoch


async def highest(door: Door, namespace: str, workload: Workload) -> int:
    """The epoch stamped on it; 0 when there is none, or no such object."""
    try:
        return read.epoch_of(await door.get(paths.workload(workload.ref, namespace)))
    except Gone:
        return 0
