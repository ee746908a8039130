"""A phase: a stretch of an operation with one end that can be seen."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from lifecycle.model import Observed, Step, Workload
from lifecycle.operation import Goal, Operation


@dataclass(frozen=True)
class Phase:
    """Pure functions only; within a phase ``decide`` reaches the end from any half-way state."""

    name: str
    decide: Callable[[Goal, Observed], list[Step]]
    """Every step that may go now."""
    arrived: Callable[[Goal, Observed, Workload], bool]
    """Whether one workload in scope is where the phase wants it."""
    limit: Callable[[Goal], timedelta]
    """How long the phase may take when nobody said otherwise."""

    def reached(self, goal: Goal, observed: Observed) -> bool:
        """Whether the end of the phase is SEEN in this picture."""
        return all(self.arrived(goal, observed, workload) for workload in goal.scope)

    def time_for(self, operation: Operation) -> timedelta:
        """How long the phase may take in this operation: as configured when it began, else by its topology."""
        return timedelta(seconds=operation.limit) if operation.limit else self.limit(operation.goal)

    def missing(self, goal: Goal, observed: Observed) -> tuple[Workload, ...]:
        """The workloads that are not there yet."""
        return tuple(workload for workload in goal.scope if not self.arrived(goal, observed, workload))
