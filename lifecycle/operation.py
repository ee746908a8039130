"""An operation: who asked for what, the frozen goal, how far it is, how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from lifecycle.model import Claim, Diagnosis, Exit, Person, Place, Pod, Ref, Step, Target, Traffic, Verb
from lifecycle.topology import Topology


class Source(StrEnum):
    """Where a replica count comes from, most trusted first."""

    RUNNING = "running"
    TYPED = "typed"
    REMEMBERED = "remembered on the object"
    DATABASE = "remembered by the bot"
    DECLARED = "declared by cm"


@dataclass(frozen=True)
class Goal:
    """Everything that has to be known later, even when the cluster no longer shows it.

    ``counts`` are the replicas of each workload in scope: taken away by a stop, asked for by a start, kept by a
    restart. ``databases`` are the database pods seen at the beginning, whose ends are to be witnessed, ``claims`` the
    claims seen then. ``unverified`` says that readiness of the pods does not prove the cluster works
    (untethered, several sql pods: group replication has to be looked at).
    """

    verb: Verb
    topology: Topology
    counts: Mapping[Ref, int]
    sources: Mapping[Ref, Source] = field(default_factory=dict)
    databases: tuple[Pod, ...] = ()
    claims: tuple[Claim, ...] = ()
    left: tuple[Ref, ...] = ()
    """Workloads that stay as they are, because nothing says otherwise; named to people."""
    absent: tuple[str, ...] = ()
    """What a start cannot bring back because it is not there, in words; people confirm it."""
    unverified: bool = False
    mark: str = ""
    """What a restart writes into the pod templates: the operation's id."""

    def marked(self, operation: str) -> "Goal":
        """The same goal for the operation of this id."""
        return replace(self, mark=operation)

    @cached_property
    def scope(self) -> Topology:
        """The workloads that the operation may write to."""
        return Topology(tuple(workload for workload in self.topology if workload.ref in self.counts))


class State(StrEnum):
    """RUNNING is the only one that takes the cluster's slot."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """How an operation ended, as it was seen.

    ``done`` and ``missing`` name the workloads that reached the goal and those that did not; ``claims`` are those
    seen at the end; ``unseen`` are database containers whose exit nobody saw; ``by_hand`` are the kubectl lines that
    would finish it; ``error`` is set when it ended for another reason than its deadline.
    """

    state: State
    done: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    exits: tuple[Exit, ...] = ()
    unseen: tuple[str, ...] = ()
    traffic: Traffic | None = None
    diagnosis: Diagnosis | None = None
    by_hand: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Operation:
    """One row: what was asked, how far it is. ``epoch`` rises with every executor that takes it."""

    id: str
    verb: Verb
    cluster: str
    target: Target
    requester: Person
    place: Place
    goal: Goal
    phase: str
    begun_at: datetime
    reason: str = ""
    command: str = ""
    """The words that were typed after the slash command, with which it can be asked for again."""
    state: State = State.RUNNING
    epoch: int = 0
    executor: str | None = None
    phase_begun_at: datetime | None = None
    """When the present phase was entered; its deadline counts from here. None: not yet."""
    ended_at: datetime | None = None
    outcome: Outcome | None = None
    late_at: datetime | None = None
    """When the goal was seen after all, though the operation had failed at its deadline."""
    expected: int | None = None
    """Seconds that operations with the same steps usually took; None when none of them ever went well."""
    limit: int | None = None
    """Seconds its phases may take where the configuration says so; None for the default of the topology."""


@dataclass(frozen=True)
class Attempt:
    """A journalled step: written before it is done, again with its result."""

    step: Step
    attempts: int
    result: str | None = None
    """None: tried, and not heard of."""
