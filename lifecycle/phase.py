"""A phase: a stretch of an operation with one end that can be seen."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from lifecycle.model import Ref, Step
from lifecycle.observed import Observed
from lifecycle.operation import Goal, Operation


def of_workloads(goal: Goal) -> tuple[Ref, ...]:
    """The workloads in scope, lowest need first."""
    return tuple(workload.ref for workload in goal.scope)


def strangers(goal: Goal, observed: Observed) -> str | None:
    """An object of the same name with another uid is not what the goal was made for."""
    for workload in goal.scope:
        state = observed[workload]
        if state.exists and not goal.is_ours(workload, state):
            return f"{workload.ref} was replaced by another object of the same name"
    return None


def strangers_or_losses(goal: Goal, observed: Observed) -> str | None:
    """A stop keeps every object: one that is gone must not pass for stopped."""
    gone = next((workload for workload in goal.scope if not observed[workload].exists), None)
    return strangers(goal, observed) or (f"{gone.ref} was deleted" if gone else None)


@dataclass(frozen=True)
class Phase:
    """Pure functions only; within a phase ``decide`` reaches the end from any half-way state."""

    name: str
    decide: Callable[[Goal, Observed], list[Step]]
    """Every step that may go now."""
    arrived: Callable[[Goal, Observed, Ref], bool]
    """Whether one of its objects is where the phase wants it."""
    limit: Callable[[Goal], timedelta]
    """How long the phase may take when nobody said otherwise."""
    objects: Callable[[Goal], tuple[Ref, ...]] = of_workloads
    """What it is about."""
    obstacle: Callable[[Goal, Observed], str | None] = strangers_or_losses
    """What makes it senseless to go on, in words."""
    can_turn_back: bool = False
    """Whether the goal's way back, where it names one, is gone where the phase fails: see decide.way_back."""
    completes_set: bool = False
    """Whether at its end a snapshot set is ready to restore from."""
    rebinds_set: bool = False
    """Whether at its end other snapshots stand for the chosen set's data than were recorded."""
    judges_set: bool = False
    """Whether its end, or its failure, says something of the set that is verified."""

    def reached(self, goal: Goal, observed: Observed) -> bool:
        """Whether the end of the phase is SEEN in this picture."""
        return not self.missing(goal, observed)

    def time_for(self, operation: Operation) -> timedelta:
        """How long the phase may take in this operation: as configured when it began, else by its topology."""
        seconds = operation.limits.get(self.name)
        return timedelta(seconds=seconds) if seconds else self.limit(operation.goal)

    def missing(self, goal: Goal, observed: Observed) -> tuple[Ref, ...]:
        """The objects that are not there yet."""
        return tuple(ref for ref in self.objects(goal) if not self.arrived(goal, observed, ref))
