"""The port `Cluster` on a real Kubernetes API."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from lifecycle import configuration
from lifecycle.checks import Check, Checked
from lifecycle.diagnosis import Diagnosis, Traffic
from lifecycle.kube import (
    comparison,
    diagnose,
    discovery,
    fence,
    forwarding,
    home,
    identity,
    inventory,
    likeness,
    picture,
    rights,
    scratch,
    traffic,
    watch,
)
from lifecycle.kube.capture import Reader
from lifecycle.kube.check import Checker
from lifecycle.kube.door import Door
from lifecycle.kube.lease import LeaseTiming, hold
from lifecycle.kube.parallel import together
from lifecycle.kube.steps import Doing
from lifecycle.model import Ref, Step, Target, Verb
from lifecycle.observed import Difference, Discovery, Inventory, Observed, Part, Stream
from lifecycle.operation import Goal, Operation
from lifecycle.ports import Clock, Lease, Right, Use, Watch
from lifecycle.snapshots import FLUSHING, Grouping
from lifecycle.topology import Topology
from lifecycle.verification import Leftover, Likeness
from lifecycle.workloads import Owner

DEFAULT_TIMING = LeaseTiming()


class KubeCluster:
    """One namespace behind a door; keeps nothing between two calls."""

    def __init__(
        self,
        door: Door,
        target: Target,
        clock: Clock,
        *,
        watch_seconds: float = 30,
        lease_timing: LeaseTiming = DEFAULT_TIMING,
        check: Check | None = None,
        flush_seconds: float = FLUSHING.total_seconds(),
    ) -> None:
        self.target = target
        self._door = door
        self._clock = clock
        self._watch_seconds = watch_seconds
        self._lease_timing = lease_timing
        self._check = check
        self._flush_seconds = flush_seconds
        self._captures = Reader(door, target.namespace)

    @property
    def _namespace(self) -> str:
        return self.target.namespace

    async def discover(self) -> Discovery:
        """See the port."""
        return await discovery.discover(self._door, self.target, self._clock.now())

    async def inventory(self, discovery: Discovery) -> Inventory:
        """See the port."""
        return await inventory.inventory(self._door, self._namespace, discovery)

    async def grouping(self) -> Grouping:
        """See the port."""
        return await inventory.grouping(self._door, self._namespace)

    async def identity(self) -> str:
        """See the port."""
        return await identity.identity(self._door)

    async def log_streams(self, discovery: Discovery) -> tuple[Stream, ...]:
        """See the port."""
        return await forwarding.log_streams(self._door, self._namespace, discovery)

    async def parts(self, discovery: Discovery) -> tuple[Part, ...]:
        """See the port."""
        return await inventory.parts_of(self._door, self._namespace, discovery)

    async def differences(self, goal: Goal, refs: Sequence[Ref]) -> tuple[Difference, ...]:
        """See the port."""
        return await comparison.differences(self._door, self._namespace, self._captures, goal, refs)

    async def owners(self, refs: Sequence[Ref]) -> Mapping[Ref, tuple[Owner, ...]]:
        """See the port."""
        return await discovery.scalers(self._door, self._namespace, refs)

    async def picture(self, goal: Goal) -> Observed:
        """See the port."""
        return await picture.take(self._door, self._namespace, goal, self._clock.now())

    async def likenesses(self, taken: Operation, captured: str) -> Mapping[str, Likeness]:
        """See the port."""
        return await likeness.likenesses(self._door, self._namespace, self._captures, taken, captured)

    async def leftovers(self) -> tuple[Leftover, ...]:
        """See the port."""
        return await scratch.leftovers(self._door, self._namespace)

    async def missing_rights(self, verb: Verb) -> tuple[Right, ...]:
        """See the port."""
        checking = rights.CHECKING if self._check and verb in configuration.CHECKED else ()
        return await rights.missing(self._door, self._namespace, (*rights.for_verb(verb), *checking))

    async def missing_rights_to(self, use: Use) -> tuple[Right, ...]:
        """See the port."""
        return await rights.missing(self._door, self._namespace, rights.FOR_USE[use])

    async def missing_rights_to_copies(self, namespaces: Sequence[str]) -> tuple[Right, ...]:
        """See the port."""
        await together(home.uid_of(self._door, replace(self.target, namespace=one)) for one in namespaces)
        return await rights.missing_elsewhere(self._door, namespaces)

    async def home(self) -> str:
        """See the port."""
        return await home.uid_of(self._door, self.target)

    def lease(self, holder: str, *, patience: float) -> AbstractAsyncContextManager[Lease]:
        """See the port; raises Forbidden and Retryable too."""
        return hold(self._door, self._namespace, holder, self._clock, self._lease_timing, patience=patience)

    async def stamp(self, goal: Goal, epoch: int, lease: Lease) -> None:
        """See the port."""
        await together(fence.stamp(self._door, self._namespace, one, epoch, lease) for one in fence.stamped_by(goal))

    async def highest_epoch(self, goal: Goal) -> int:
        """See the port."""
        found = await together(fence.highest(self._door, self._namespace, one) for one in fence.stamped_by(goal))
        return max(found, default=0)

    def watch(self, goal: Goal) -> AbstractAsyncContextManager[Watch]:
        """See the port."""
        return watch.pictures(self._door, self._namespace, goal, self._clock, self._watch_seconds)

    async def do(self, step: Step, operation: Operation, lease: Lease) -> str:
        """See the port."""
        door, captures, seconds = self._door, self._captures, self._flush_seconds
        return await Doing(door, self._namespace, step, operation, lease, captures, seconds, self.watch).do()

    async def diagnose(self, topology: Topology, missing: Sequence[str]) -> Diagnosis:
        """See the port. Reads everything anew: the last picture may be from before the trouble."""
        return await diagnose.diagnose(self._door, self._namespace, topology, missing)

    async def traffic(self, probe_url: str | None) -> Traffic:
        """See the port."""
        return await traffic.traffic(self._door, self._namespace, probe_url)

    async def check(self, topology: Topology) -> Checked | None:
        """See the port."""
        return await Checker(self._door, self._namespace, self._check).until_passed(topology) if self._check else None
