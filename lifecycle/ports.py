"""What the loop needs from the outside: a cluster, a journal, a clock."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from lifecycle.checks import Checked
from lifecycle.diagnosis import Diagnosis, Traffic
from lifecycle.errors import ClusterError
from lifecycle.model import Ref, Step, Target, Verb
from lifecycle.observed import Difference, Discovery, Inventory, Observed, Part, Stream
from lifecycle.operation import Goal, Operation, Outcome
from lifecycle.snapshots import Grouping, SnapshotSet
from lifecycle.topology import Topology
from lifecycle.verification import Leftover, Likeness, Verification
from lifecycle.volumes import Snapshot
from lifecycle.workloads import Exit, Owner


class Clock(Protocol):
    """Time as an argument."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC: for records and for deadlines that outlive the process."""

    def monotonic(self) -> float:
        """Seconds that never jump: for waiting within the process."""


@dataclass(frozen=True)
class Result:
    """What became of one step; ``error`` None means that Kubernetes accepted it."""

    step: Step
    uid: str = ""
    error: ClusterError | None = None


@dataclass(frozen=True)
class Right:
    """A right in Kubernetes' words, as a rule of a Role has it; ``name`` where it is over one object only."""

    verb: str
    group: str
    resource: str
    name: str = ""
    namespace: str = ""
    """Where it is another one than the cluster's own."""

    def __str__(self) -> str:
        what = f"{self.verb} {self.resource}" + (f" {self.name}" if self.name else "")
        where = f" in {self.namespace}" if self.namespace else ""
        return what + (f" ({self.group})" if self.group else "") + where


class Use(StrEnum):
    """What an operation does only where it is configured, or can be: its rights are asked for by themselves."""

    EXECUTE = "run commands in pods"
    GROUP = "cut volumes as a group"
    UNGROUP = "remove volume groups"
    REBIND = "bind sets anew whose snapshots are gone"


class Watch(Protocol):
    """A running picture of a cluster."""

    async def next(self, wait: float) -> Observed | None:
        """The full picture as soon as it differs from the last one returned, or after ``wait`` seconds as it is.

        The first call returns as soon as there is a picture. None: within ``wait`` seconds not every kind could be
        read. Raises Forbidden.
        """


class Lease(Protocol):
    """The namespace's Lease `tml-bot`, renewed in the background while it is held."""

    @property
    def is_held(self) -> bool:
        """False from 10 s after the last renewal that Kubernetes confirmed, by the monotonic clock."""


class Cluster(Protocol):
    """One TML cluster's namespace; the only way the rest of the program touches Kubernetes.

    Everything raises the errors of lifecycle.errors: Retryable, Conflict, Forbidden, Invalid, Gone.
    """

    target: Target

    async def identity(self) -> str:
        """Which Kubernetes cluster it is in: the uid of the namespace kube-system. Empty: that may not be read."""

    async def discover(self) -> Discovery:
        """Read the namespace once. Raises NothingFound when it holds no TML workload."""

    async def inventory(self, discovery: Discovery) -> Inventory:
        """What belongs to the cluster beside its workloads, read once."""

    async def grouping(self) -> Grouping:
        """Whether a hot set can be cut as a volume group here: whatever keeps it from that is an answer."""

    async def parts(self, discovery: Discovery) -> tuple[Part, ...]:
        """The same without the volumes, which are in no namespace and need rights of their own."""

    async def differences(self, goal: Goal, refs: Sequence[Ref]) -> tuple[Difference, ...]:
        """Which of these objects are not as in the goal's capture; Kubernetes' own fields and our marks do not count.

        Of what is in a Secret no more than the keys is told. What is not there differs in nothing.
        """

    async def owners(self, refs: Sequence[Ref]) -> Mapping[Ref, tuple[Owner, ...]]:
        """Whoever scales workloads of these names, whether or not they are there."""

    async def log_streams(self, discovery: Discovery) -> tuple[Stream, ...]:
        """Which streams of the log service are forwarded; unknown is what cannot be read, and never an error of it."""

    async def picture(self, goal: Goal) -> Observed:
        """What there is of the goal's objects, read once, for a cluster of which nothing may be left to discover."""

    async def likenesses(self, taken: Operation, captured: str) -> Mapping[str, Likeness]:
        """How the pods run that have the claims of the set that ``taken`` took, by claim: as they are live, else as
        they were captured with it (``captured`` is the sha256). What is known of neither is left out.
        """

    async def leftovers(self) -> tuple[Leftover, ...]:
        """Every scratch object of the namespace, with the operation that made it."""

    async def missing_rights(self, verb: Verb) -> tuple[Right, ...]:
        """The rights that the verb needs and Kubernetes would refuse (SelfSubjectAccessReview)."""

    async def missing_rights_to(self, use: Use) -> tuple[Right, ...]:
        """The same of what some operations of a verb need and others do not."""

    async def missing_rights_to_copies(self, namespaces: Sequence[str]) -> tuple[Right, ...]:
        """The same, of what it takes to copy captures to these namespaces, read and remove them there.

        Raises NoNamespace where one of them is known not to be there.
        """

    async def home(self) -> str:
        """The uid of the cluster's namespace; empty where that may not be read.

        Raises NoNamespace where it is not there, or going.
        """

    def lease(self, holder: str, *, patience: float) -> AbstractAsyncContextManager[Lease]:
        """Hold the Lease; released on the way out.

        A Lease whose holder does not renew it is taken over when its duration has passed. Raises LeaseHeld when
        its holder still renews it after ``patience`` seconds.
        """

    async def stamp(self, goal: Goal, epoch: int, lease: Lease) -> None:
        """Write the epoch where it is absent or lower: on each workload in scope, and each claim that may be removed.

        A higher one raises Conflict; what is not there needs no stamp.
        """

    async def highest_epoch(self, goal: Goal) -> int:
        """The highest epoch stamped on any of them; 0 when there is none."""

    def watch(self, goal: Goal) -> AbstractAsyncContextManager[Watch]:
        """A picture of the goal's workloads, their pods and claims that follows every change.

        Of a delete and a restore its volumes, parts and capture too.
        """

    async def do(self, step: Step, operation: Operation, lease: Lease) -> str:
        """Do one step, idempotently, and return the object's uid.

        The write carries tests on the uid, on the operation's epoch and on what the decision was made of. Raises
        LeaseLost before anything is sent when the lease is not held.
        """

    async def diagnose(self, topology: Topology, missing: Sequence[str]) -> Diagnosis:
        """Why these workloads (Ref texts) are not where they should be: conditions, events, last log lines.

        Never raises for what cannot be read: that is a finding too.
        """

    async def check(self, topology: Topology) -> Checked | None:
        """Run the configured check until it passes or its time is over; None where none is configured.

        What fails is a verdict, never an error.
        """

    async def traffic(self, probe_url: str | None) -> Traffic:
        """Ask the gateway for /mashping: at ``probe_url``, else at the address of tm's service."""


class Journal(Protocol):
    """The record of what runs. Each method is one transaction: the state's change together with its audit entry.

    Every method but ``take`` and ``current`` raises Fenced when the operation's epoch is not the one given: somebody
    else took it.
    """

    async def take(self, operation: Operation, executor: str, epoch: int) -> Operation:
        """Raise the row's epoch to ``epoch`` by compare-and-swap on the one in ``operation``; raises Fenced."""

    async def current(self, operation: Operation) -> Operation:
        """The row as it is now, whoever has it; raises Fenced when it has ended."""

    async def entered(self, operation: Operation, limit: timedelta) -> Operation:
        """Store when the present phase began; a phase that was entered before keeps its time."""

    async def record(self, operation: Operation, steps: Sequence[Step]) -> None:
        """Write the steps down before they are done; a step that is there already gets one more attempt.

        Raises Cancelled where somebody cancelled the operation and it is not on its way back.
        """

    async def did(self, operation: Operation, results: Sequence[Result]) -> None:
        """Write down what became of them."""

    async def arrived(self, operation: Operation, objects: Sequence[str]) -> None:
        """These objects (Ref texts) were SEEN where the phase wants them; told once each."""

    async def witnessed(self, operation: Operation, exits: Sequence[Exit]) -> None:
        """These database containers were SEEN to end; told once each."""

    async def exits(self, operation: Operation) -> tuple[Exit, ...]:
        """All that were witnessed so far, in whichever process."""

    async def slow(self, operation: Operation, diagnosis: Diagnosis) -> None:
        """It takes twice as long as usual; told once per operation."""

    async def saved(self, operation: Operation, snapshot_set: SnapshotSet) -> None:
        """The set was SEEN ready to restore from; recorded once."""

    async def rebound(self, operation: Operation, found: Sequence[Snapshot]) -> None:
        """These were SEEN to stand for members of the set that is restored: recorded in place of the former ones."""

    async def verified(self, operation: Operation, verification: Verification) -> None:
        """This was SEEN of a set's clones; recorded with the set, and told once."""

    async def passed(self, operation: Operation, following: str, capture: str = "") -> Operation:
        """The phase's end was SEEN, with the capture of this sha256: the row moves on to the phase ``following``.

        Raises Cancelled as `record` does: what was cancelled before a point of no return does not pass it.
        """

    async def turned_back(self, operation: Operation, failure: Outcome, following: str) -> Operation:
        """It has failed, which is not the end: the row moves on to the phase that is its way back."""

    async def finished(self, operation: Operation, outcome: Outcome) -> Operation:
        """The operation ended, well or not; its slot is free."""

    async def late(self, operation: Operation) -> None:
        """The goal of a failed operation was seen after all."""

    async def found(self, operation: Operation, checked: Checked) -> None:
        """After an operation that is done the configuration was seen after all; the outcome says so from here on."""
