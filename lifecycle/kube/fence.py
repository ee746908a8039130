"""The fence: which executor may write to an object."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from lifecycle.errors import Conflict, Gone, LeaseLost, Retryable
from lifecycle.kube import patch, paths, read
from lifecycle.kube.answers import Json
from lifecycle.kube.door import LONGEST_WAIT, Door, backoff
from lifecycle.model import Ref
from lifecycle.operation import Goal
from lifecycle.ports import Lease
from lifecycle.volumes import Claim
from lifecycle.workloads import Workload

ATTEMPTS = 5
"""A status update between read and write makes the resourceVersion stale, and a server may refuse: it is read again."""


def require(lease: Lease) -> None:
    """Raises LeaseLost where nothing may be written any more."""
    if not lease.is_held:
        raise LeaseLost("the Lease tml-bot was not renewed in time; nothing is written until it is held again")


@dataclass(frozen=True)
class Stamped:
    """An object that bears the epoch of the executor that may write to it."""

    goal: Goal
    of: Workload | Claim

    @property
    def ref(self) -> Ref:
        return self.of.ref

    def is_due(self, found: Json, epoch: int) -> bool:
        """Whether the epoch is to be written on what has its name now.

        Raises Conflict where a higher one is stamped, Gone where a workload's name is another object's.
        """
        if not self._is_ours(found):
            if isinstance(self.of, Claim):
                return False  # ours is gone, and nothing is ever written to a namesake
            raise Gone(f"{self.ref} was replaced by another object of the same name")
        stamped = read.epoch_of(found)
        if stamped > epoch:
            raise Conflict(f"{self.ref} was taken by a later executor (epoch {stamped}, ours is {epoch})")
        return stamped < epoch

    def _is_ours(self, found: Json) -> bool:
        if isinstance(self.of, Claim):
            return read.uid_of(found) == self.of.uid
        return self.goal.is_ours(self.of, read.state(found, self.ref.kind, ()))


def stamped_by(goal: Goal) -> Iterator[Stamped]:
    """The workloads in scope, and the claims that may be removed."""
    yield from (Stamped(goal, workload) for workload in goal.scope)
    yield from (Stamped(goal, claim) for claim in goal.claims if claim.ref in goal.stamped_claims)


async def stamp(door: Door, namespace: str, one: Stamped, epoch: int, lease: Lease) -> None:
    """Raises as `Stamped.is_due`. Nothing is to be done where there is no object of that name.

    A write that was not taken is tried again here: if one of many ended the attempt, each epoch would begin anew with
    all of them, and with a server that refuses every third nearly none would come to its end.
    """
    path = paths.of(one.ref, namespace)
    for attempt in range(ATTEMPTS):
        try:
            await _stamp_once(door, path, one, epoch, lease)
        except NotTaken as refused:
            if attempt == ATTEMPTS - 1 or refused.after > LONGEST_WAIT:
                raise refused.error from refused
            await asyncio.sleep(max(refused.after, backoff(attempt, door.jitter(), base=0.05)))
        else:
            return


class NotTaken(Exception):
    """Somebody wrote between our read and our write, or the server did not take it: it is read and written again."""

    def __init__(self, error: Conflict | Retryable) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = error.after or 0.0 if isinstance(error, Retryable) else 0.0


async def _stamp_once(door: Door, path: str, one: Stamped, epoch: int, lease: Lease) -> None:
    try:
        found = await door.get(path)
    except Gone:
        return
    if not one.is_due(found, epoch):
        return
    require(lease)
    try:
        await door.patch(path, patch.stamp(found, epoch))
    except (Conflict, Retryable) as error:
        raise NotTaken(error) from error


async def highest(door: Door, namespace: str, one: Stamped) -> int:
    """The epoch stamped on it; 0 when there is none, or no such object."""
    try:
        return read.epoch_of(await door.get(paths.of(one.ref, namespace)))
    except Gone:
        return 0
