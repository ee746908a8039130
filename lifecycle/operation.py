"""An operation: who asked for what, the frozen goal, how far it is, how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property

from lifecycle.checks import Checked
from lifecycle.diagnosis import Diagnosis, Traffic
from lifecycle.model import BOT, Person, Place, Ref, Step, Target, Verb
from lifecycle.observed import Address, Observed, Part, Stream
from lifecycle.retention import Purging
from lifecycle.snapshots import Clone, Cutting
from lifecycle.topology import Topology
from lifecycle.verification import Verifying
from lifecycle.volumes import Claim, Snapshot, Volume
from lifecycle.workloads import Exit, Pod, Workload, WorkloadState

UNMARKED = "not begun"
"""The mark of a goal that no operation has taken for its own yet: nothing in the cluster bears it."""


class Source(StrEnum):
    """Where a replica count comes from, most trusted first."""

    RUNNING = "running"
    TYPED = "typed"
    REMEMBERED = "remembered on the object"
    DATABASE = "remembered by the bot"
    DECLARED = "declared by cm"
    CAPTURED = "captured by the delete"
    TAKEN = "captured by the stop"


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
    """The operation's id: what a restart writes into the pod templates, and whatever is made bears."""
    parts: tuple[Part, ...] = ()
    """Services, Secrets and ConfigMaps: those that a delete removes, those that a restore makes."""
    volumes: tuple[Volume, ...] = ()
    """What a delete keeps for each claim, and a restore binds again: each with the claim that it is for."""
    unrecoverable: tuple[str, ...] = ()
    """Of a delete: the uids of the claims that people agree to lose for good: there is nothing behind them to keep."""
    staying: tuple[Part, ...] = ()
    """Parts that a delete leaves, and that a restore finds there; named to people."""
    overwritten: tuple[Ref, ...] = ()
    """What is there otherwise than captured, and is to become as captured again."""
    resting: Mapping[Ref, int] = field(default_factory=dict)
    """Of a removal: what the workloads that were at zero had before."""
    source: str = ""
    """Of what brings back: the operation whose capture it is."""
    captured: str = ""
    """Of what brings back: the sha256 that the capture has to have."""
    mode: str = ""
    """TMG_CLUSTER_MODE: whether the API configuration has another source than the volume of sql."""
    streams: tuple[Stream, ...] = ()
    """Of a delete: which logs are elsewhere, too."""
    doubted: tuple[str, ...] = ()
    """The uids of claims of sql on which nobody has seen the API configuration, see configuration.doubted."""
    ran: bool = False
    """Whether the cluster ran at the beginning: what cannot go on before its first removal starts it again."""
    cutting: Cutting | None = None
    """The snapshot set that it takes on its way."""
    chosen: str = ""
    """Of a restore from a snapshot set: the set's id."""
    clones: tuple[Clone, ...] = ()
    """What of the chosen set becomes claims."""
    verifying: Verifying | None = None
    """The snapshot set whose restore it tests."""
    keeps: timedelta | None = None
    """Of a delete and a restore in place: how long the volumes that it keeps stay before they are purged; None: until a
    person says so.
    """
    kubernetes: str = ""
    """Of what keeps volumes or snapshots, brings them back or purges them: the Kubernetes cluster that they are in, by
    Cluster.identity. Empty: not known.
    """
    purging: Purging | None = None
    """Of a purge: what goes for good beside ``volumes`` and ``parts``, and what has to be there meanwhile."""
    copies: tuple[str, ...] = ()
    """The namespaces beside the cluster's own to which captures are copied, or from which one is read."""
    home: str = ""
    """Of what copies its capture: the uid of the cluster's namespace; empty where that could not be read."""

    def marked(self, operation: str) -> "Goal":
        """The same goal for the operation of this id."""
        return replace(self, mark=operation)

    @cached_property
    def scope(self) -> Topology:
        """The workloads that the operation may write to."""
        return Topology(tuple(workload for workload in self.topology if workload.ref in self.counts))

    @property
    def stamped_claims(self) -> frozenset[Ref]:
        """Those that the operation may remove, or puts into a volume group."""
        if self.verb in (Verb.DELETE, Verb.RESTORE_IN_PLACE):
            return frozenset(claim.ref for claim in self.claims)
        grouped = self.cutting.members if self.cutting and self.is_grouped else ()
        return frozenset(member.ref for member in grouped)

    @property
    def is_grouped(self) -> bool:
        """Whether the set that it takes is cut as one group."""
        return self.cutting is not None and bool(self.cutting.group_class)

    def may_lose(self, claim: str, uid: str) -> bool:
        """Whether this very claim is one that people agreed to lose for good."""
        return any((one.name, one.uid) == (claim, uid) for one in self.lost_claims)

    @property
    def lost_claims(self) -> tuple[Claim, ...]:
        return tuple(claim for claim in self.claims if claim.uid in self.unrecoverable)

    @property
    def watched_volumes(self) -> frozenset[str]:
        """The names of those that it is about, and of those that are gone and might be there again."""
        return frozenset({*(one.name for one in self.volumes), *(claim.volume for claim in self.lost_claims)})

    @property
    def is_wide(self) -> bool:
        """Whether more than workloads, pods and claims has to be watched."""
        return self.verb not in (Verb.STOP, Verb.START, Verb.RESTART) or self.cutting is not None

    @property
    def cloned_by(self) -> str:
        """The mark of a claim that is made of the chosen set.

        In place it is the operation's own: an earlier restore from the same set made the claims that go.
        """
        return self.mark if self.verb is Verb.RESTORE_IN_PLACE else self.chosen

    def clone(self, claim: str) -> Clone | None:
        return next((clone for clone in self.clones if clone.claim == claim), None)

    def is_ours(self, workload: Workload, state: WorkloadState) -> bool:
        """Whether it is the object of the beginning, or the one that was made from the capture in its place."""
        return state.uid == workload.uid or bool(self.source and state.made_by == self.source)

    def uid_of(self, workload: Workload, observed: Observed) -> str:
        """Of the object that may be written to."""
        state = observed[workload]
        return (state.uid or "") if self.is_ours(workload, state) else workload.uid


class State(StrEnum):
    """RUNNING is the only one that takes the cluster's slot."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


WHY_CANCELLED = "cancelled"
"""The reason of an end for which there is no other."""


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
    checked: Checked | None = None
    """Of a start or a restore: whether the API configuration was SEEN; None where that was not asked."""
    addresses: tuple[Address, ...] = ()
    """Of a restore: where its Services are to be found now."""
    diagnosis: Diagnosis | None = None
    by_hand: tuple[str, ...] = ()
    error: str | None = None
    cancelled: bool = False
    """Whether it ended, or turned back, because somebody cancelled it."""
    snapshots: tuple[Snapshot, ...] = ()
    """Those of the set that it takes, as they were seen last."""
    back_up: bool | None = None
    """Whether the way back was SEEN to its end: the cluster that was taken down in vain runs again, what a restore test
    made is gone. None where it was not tried."""

    def by_cancelling(self) -> "Outcome":
        """The same end, as one that somebody wanted: there is nothing to look for."""
        return replace(self, cancelled=True, diagnosis=None, error=self.error or WHY_CANCELLED)

    def back(self, failed: "Outcome | None", undone: str = "not started again") -> "Outcome":
        """This failure after its way back; ``failed`` says why that did not work (``undone``), None that it did."""
        if failed is None:
            return replace(self, back_up=True, by_hand=())
        findings = [one.findings for one in (self.diagnosis, failed.diagnosis) if one]
        return replace(
            self,
            back_up=False,
            diagnosis=Diagnosis(tuple(finding for several in findings for finding in several)),
            by_hand=failed.by_hand,
            error=f"; {undone}: ".join(text for text in (self.error, failed.error) if text) or None,
        )


@dataclass(frozen=True)
class Cancellation:
    """That it is to take no new step; from when it is recorded on, none is written down."""

    person: Person
    at: datetime
    reason: str = ""


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
    limits: Mapping[str, int] = field(default_factory=dict)
    """Seconds that a phase of this name may take where the configuration says so; else its topology decides."""
    failure: Outcome | None = None
    """Why it failed although it still runs: it is on its way back, bringing up what it took down, or cleaning up."""
    cancellation: Cancellation | None = None

    @property
    def gives_way(self) -> bool:
        """Whether a person who wants the cluster's slot gets it: of a restore test that nobody typed."""
        return self.verb is Verb.VERIFY and self.requester == BOT

    def ended(self, outcome: Outcome) -> Outcome:
        """How it ends with this outcome of its last phase: what made it turn back is what people have to know first."""
        if self.failure is None:
            return outcome
        return self.failure.back(None if outcome.state is State.DONE else outcome, self._undone)

    @property
    def _undone(self) -> str:
        """What is said where the way back was not seen to its end."""
        if self.verb is Verb.VERIFY:
            return "not cleaned up"
        if self.goal.cutting and self.goal.cutting.commands:
            return "the command after the cut was not seen to succeed"
        return "not started again"


@dataclass(frozen=True)
class Attempt:
    """A journalled step: written before it is done, again with its result."""

    step: Step
    attempts: int
    result: str | None = None
    """None: tried, and not heard of."""
