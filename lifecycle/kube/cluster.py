"""The port `Cluster` on a real Kubernetes API."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from lifecycle.kube import diagnose, discovery, fence, patch, paths, read, rights, traffic, watch
from lifecycle.kube.door import Door
from lifecycle.kube.lease import LeaseTiming, hold
from lifecycle.kube.parallel import together
from lifecycle.model import Action, Diagnosis, Discovery, Step, Target, Traffic, Workload
from lifecycle.ports import Clock, Lease, Right, Watch
from lifecycle.topology import Topology

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
    ) -> None:
        self.target = target
        self._door = door
        self._clock = clock
        self._watch_seconds = watch_seconds
        self._lease_timing = lease_timing

    @property
    def _namespace(self) -> str:
        return self.target.namespace

    async def discover(self) -> Discovery:
        """See the port."""
        return await discovery.discover(self._door, self.target, self._clock.now())

    async def missing_rights(self, needed: Sequence[Right] = rights.NEEDED) -> tuple[Right, ...]:
        """See the port; `rights.READING` is enough for `discover`."""
        return await rights.missing(self._door, self._namespace, needed)

    def lease(self, holder: str, *, patience: float) -> AbstractAsyncContextManager[Lease]:
        """See the port; raises Forbidden and Retryable too."""
        return hold(self._door, self._namespace, holder, self._clock, self._lease_timing, patience=patience)

    async def stamp(self, topology: Topology, epoch: int, lease: Lease) -> None:
        """See the port."""
        await together(fence.stamp(self._door, self._namespace, one, epoch, lease) for one in topology)

    async def highest_epoch(self, topology: Topology) -> int:
        """See the port."""
        found = await together(fence.highest(self._door, self._namespace, one) for one in topology)
        return max(found, default=0)

    def watch(self, topology: Topology) -> AbstractAsyncContextManager[Watch]:
        """See the port."""
        return watch.pictures(self._door, self._namespace, topology, self._clock, self._watch_seconds)

    async def do(self, step: Step, topology: Topology, epoch: int, lease: Lease, operation: str) -> str:
        """See the port."""
        fence.require(lease)
        workload = topology[step.workload]
        operations = await self._patch(step, workload, epoch, operation)
        if not operations:
            return workload.uid
        fence.require(lease)
        written = await self._door.patch(paths.workload(step.workload, self._namespace), operations)
        return read.uid_of(written)

    async def _patch(self, step: Step, workload: Workload, epoch: int, operation: str) -> patch.Patch:
        match step.action:
            case Action.SCALE_TO_ZERO:
                return patch.scale_to_zero(step, workload.uid, epoch, operation)
            case Action.SCALE_UP:
                return patch.scale_up(step, workload.uid, epoch, operation)
            case Action.ROLLOUT_RESTART:
                found = await self._door.get(paths.workload(step.workload, self._namespace))
                return patch.rollout_restart(step, found, workload.uid, epoch, operation)

    async def diagnose(self, topology: Topology, missing: Sequence[str]) -> Diagnosis:
        """See the port. Reads everything anew: the last picture may be from before the trouble."""
        return await diagnose.diagnose(self._door, self._namespace, topology, missing)

    async def traffic(self, probe_url: str | None) -> Traffic:
        """See the port."""
        return await traffic.traffic(self._door, self._namespace, probe_url)
