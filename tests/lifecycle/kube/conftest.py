"""A sandbox per test, and a door to it through a kubeconfig, as a person would have it."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

import sandbox.kubernetes
from lifecycle.decide import phases_of, stop
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door, Timeouts, connect
from lifecycle.kube.lease import LeaseTiming
from lifecycle.model import Person, Place, Target
from lifecycle.observed import Discovery
from lifecycle.operation import Goal, Operation
from sandbox.kubernetes import KubernetesSandbox
from sandbox.tml import PROD_NAMESPACE

SCALE = 0.001
PATIENT = LeaseTiming()
"""The real times: only tests of the Lease itself wait for its end."""
QUICK = LeaseTiming(renew=0.15, trust=0.6, duration=0.95, retry=0.02)
"""The real times by thirty or so: a busy machine may stall for a tenth of a second."""
TIMEOUTS = Timeouts(connect=0.5, read=0.5, whole=2, write=0.12)


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class Held:
    """A Lease that is held as long as the test says so."""

    is_held: bool = True


@pytest.fixture
async def api() -> AsyncIterator[KubernetesSandbox]:
    async with sandbox.kubernetes.start(time_scale=SCALE) as running:
        yield running


OpenDoor = Callable[..., Awaitable[Door]]


@pytest.fixture
async def open_door(api: KubernetesSandbox, tmp_path: Path) -> AsyncIterator[OpenDoor]:
    """A door to the sandbox; `token` is sent with each request."""
    async with AsyncExitStack() as stack:

        async def opened(token: str | None = None, timeouts: Timeouts | None = None) -> Door:
            path = tmp_path / f"kubeconfig-{token}"
            api.kubeconfig(path, {"local": None}, {"local": token} if token else None)
            return await stack.enter_async_context(connect("local", kubeconfig=str(path), timeouts=timeouts))

        yield opened


@pytest.fixture
async def door(open_door: OpenDoor) -> Door:
    return await open_door()


def cluster_at(
    door: Door, namespace: str = PROD_NAMESPACE, watch_seconds: float = 0.3, lease_timing: LeaseTiming = PATIENT
) -> KubeCluster:
    target = Target("local", namespace)
    return KubeCluster(door, target, RealClock(), watch_seconds=watch_seconds, lease_timing=lease_timing)


def goal_of(found: Discovery) -> Goal:
    """One that writes to every workload, whatever it is."""
    return stop.goal(found)


def operation_of(goal: Goal, epoch: int = 1, id_: str = "op-1") -> Operation:
    target = Target("local", PROD_NAMESPACE)
    phase = phases_of(goal)[0].name
    begun = datetime(2026, 11, 2, tzinfo=UTC)
    return Operation(id_, goal.verb, "prod", target, Person("T", "U"), Place("T", "C"), goal, phase, begun, epoch=epoch)
