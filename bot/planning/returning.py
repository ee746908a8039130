"""The start after a stop that removed: planned from the bot's record, the capture, and what is there by now."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.captures import picture_with_capture
from bot.commands import Start
from lifecycle import configuration
from lifecycle.decide import returning
from lifecycle.model import Ref
from lifecycle.observed import Observed
from lifecycle.operation import Goal, Operation
from lifecycle.plan import Plan, plan_of_return
from lifecycle.ports import Cluster

NAMED = 12
"""Missing objects that are named one by one."""


@dataclass(frozen=True)
class Left:
    """What is left of a cluster that ``removal`` took away, in the picture for its return."""

    removal: Operation
    draft: Goal
    observed: Observed

    @property
    def missing(self) -> tuple[Ref, ...]:
        return returning.missing(self.removal, self.observed)

    @property
    def is_written_down(self) -> bool:
        """Whether the capture is there, and whole."""
        return bool(self.observed.capture)

    @property
    def is_at_home(self) -> bool:
        """Whether it is so in the cluster's own namespace: else that was emptied, or is another one by now."""
        return self.is_written_down and not self.draft.copies


async def left_of(removal: Operation, cluster: Cluster) -> Left:
    return Left(removal, *await picture_with_capture(cluster, returning.draft(removal), removal.goal.copies))


async def plan_of_returning(left: Left, cluster: Cluster, change: Start, last: Operation | None) -> Plan:
    """Raises as `returning.goal`. What is there otherwise than captured is named, and left alone unless asked.

    ``last`` is the cluster's newest operation.
    """
    wanted = replace(left.draft, captured=left.observed.capture)
    differences = await cluster.differences(wanted, returning.present(left.removal, left.observed))
    owners = await cluster.owners([workload.ref for workload in wanted.topology])
    overwritten = differences if change.overwrites else ()
    goal = returning.goal(left.removal, left.observed, change.counts, owners, overwritten)
    goal = replace(goal, copies=left.draft.copies, doubted=configuration.doubted(last, left.observed.claims))
    left_alone = () if change.overwrites else differences
    told = (f"{returning.told(one)}. It is left alone; `--overwrite` makes it so again" for one in left_alone)
    return plan_of_return(goal, cluster.target, left.observed, (*goal.absent, *told))


def missing_in_words(left: Left) -> tuple[str, ...]:
    """What no capture has."""
    return (f"gone, and no capture says how they were: {_listed(left.missing)}",) if left.missing else ()


def lost(left: Left) -> str:
    """Why a start cannot bring anything back, and what can."""
    removal = left.removal
    claims = [claim.ref for claim in left.observed.claims]
    stay = f" Its claims are there: {_listed(claims)}." if claims else ""
    return (
        f"{removal.cluster} was stopped and removed by {removal.id}, and its capture is not there, or not whole: "
        f"nothing says how it was. Missing: {_listed(left.missing)}.{stay} Make the objects again with what made them "
        f"first (the vendor's start script), then `/tml start {removal.cluster}`"
    )


def _listed(refs: Sequence[Ref]) -> str:
    more = f" and {len(refs) - NAMED} more" if len(refs) > NAMED else ""
    return f"{', '.join(map(str, refs[:NAMED]))}{more}"
