"""The Lease between bots, with its real times shortened."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from lifecycle.errors import Forbidden, LeaseHeld, Retryable
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.kube.lease import NAME, HeldLease, LeaseTiming
from lifecycle.model import Target
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.access import Identity
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import LEASES, Object
from sandbox.tml import PROD_NAMESPACE
from tests.lifecycle.kube.conftest import QUICK, TIMEOUTS, OpenDoor, RealClock, cluster_at

LONGER_THAN_IT_LASTS = 4
"""Renewals; three of them take as long as the Lease."""


@pytest.fixture
async def door(api: KubernetesSandbox, open_door: OpenDoor) -> Door:
    api.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PROD_NAMESPACE}}])
    return await open_door(timeouts=TIMEOUTS)


def holder(api: KubernetesSandbox) -> str:
    found = api.store.find(LEASES, PROD_NAMESPACE, NAME)
    return found["spec"].get("holderIdentity", "") if found else ""


async def died(door: Door, name: str = "dead", timing: LeaseTiming = QUICK) -> HeldLease:
    """A holder that took it and never renews."""
    lease = HeldLease(door, PROD_NAMESPACE, name, RealClock(), timing)
    await lease.acquire(0)
    return lease


async def until(condition: Callable[[], bool], seconds: float = 2) -> float:
    """Seconds until the condition holds; it follows from the time alone, so there is nothing to wait on."""
    begun = time.monotonic()
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    return time.monotonic() - begun


async def renewed(api: KubernetesSandbox, times: int) -> None:
    """Until it was written that often."""
    done = len(api.writes) + times
    await api.until(lambda _: len(api.writes) >= done, 2)


async def test_it_is_renewed_while_it_is_held_and_free_afterwards(api: KubernetesSandbox, door: Door) -> None:
    async with cluster_at(door, lease_timing=QUICK).lease("bot-1", patience=0) as lease:
        assert holder(api) == "bot-1"
        await renewed(api, LONGER_THAN_IT_LASTS)
        assert lease.is_held
    assert holder(api) == ""
    assert not lease.is_held


async def test_a_second_holder_is_told_who_has_it(door: Door) -> None:
    async with cluster_at(door, lease_timing=QUICK).lease("bot-1", patience=0) as first:
        with pytest.raises(LeaseHeld, match="bot-1"):
            async with cluster_at(door, lease_timing=QUICK).lease("bot-2", patience=QUICK.duration):
                pass
        assert first.is_held


async def test_a_released_lease_is_taken_at_once(door: Door) -> None:
    async with cluster_at(door, lease_timing=QUICK).lease("bot-1", patience=0):
        pass
    begun = time.monotonic()
    async with cluster_at(door, lease_timing=QUICK).lease("bot-2", patience=0) as lease:
        assert lease.is_held
    assert time.monotonic() - begun < QUICK.duration


async def test_a_dead_holders_lease_is_taken_over_when_it_has_run_out(api: KubernetesSandbox, door: Door) -> None:
    dead = await died(door)
    begun = time.monotonic()
    async with cluster_at(door, lease_timing=QUICK).lease("bot-2", patience=0) as lease:
        assert time.monotonic() - begun >= QUICK.duration
        assert lease.is_held
        assert not dead.is_held
        assert api.store.get(LEASES, PROD_NAMESPACE, NAME)["spec"]["leaseTransitions"] == 2


async def test_a_holder_of_the_same_name_is_another_holder(door: Door) -> None:
    """Two bots may have the same host name."""
    async with cluster_at(door, lease_timing=QUICK).lease("bot", patience=0):
        with pytest.raises(LeaseHeld):
            async with cluster_at(door, lease_timing=QUICK).lease("bot", patience=0):
                pass


async def test_one_of_those_who_wait_gets_it(api: KubernetesSandbox, door: Door) -> None:
    await died(door)
    got = []

    async def wait(name: str) -> None:
        with contextlib.suppress(LeaseHeld):
            async with cluster_at(door, lease_timing=QUICK).lease(name, patience=0) as lease:
                got.append(name)
                await renewed(api, LONGER_THAN_IT_LASTS)
                assert lease.is_held

    await asyncio.gather(wait("a"), wait("b"), wait("c"))
    assert len(got) == 1


async def test_a_hung_server_ends_writing_before_another_may_take_over(api: KubernetesSandbox, door: Door) -> None:
    async with cluster_at(door, lease_timing=QUICK).lease("bot-1", patience=0) as lease:
        fault = api.faults.add(Fault("delay", resource="leases", seconds=0.5))
        assert await until(lambda: not lease.is_held) < QUICK.duration
        api.faults.remove(fault)
        await until(lambda: lease.is_held)


async def test_a_renewal_whose_answer_is_lost_is_no_loss(api: KubernetesSandbox, door: Door) -> None:
    async with cluster_at(door, lease_timing=QUICK).lease("bot-1", patience=0) as lease:
        fault = api.faults.add(Fault("drop_after", verb="update", resource="leases", times=1))
        await renewed(api, LONGER_THAN_IT_LASTS)
        assert fault.met == 1
        assert lease.is_held
    assert holder(api) == ""


async def test_a_first_write_whose_answer_is_lost_is_found_to_be_ours(api: KubernetesSandbox, door: Door) -> None:
    api.faults.add(Fault("drop_after", verb="create", resource="leases", times=1))
    begun = time.monotonic()
    async with cluster_at(door, lease_timing=QUICK).lease("bot-1", patience=0) as lease:
        assert lease.is_held
        assert time.monotonic() - begun < QUICK.duration


async def test_a_lease_that_somebody_took_is_lost_for_good(api: KubernetesSandbox, door: Door) -> None:
    def take(found: Object) -> None:
        found["spec"] |= {"holderIdentity": "bot-2", "leaseTransitions": 9}

    async with cluster_at(door, lease_timing=QUICK).lease("bot-1", patience=0) as lease:
        api.store.change(LEASES, PROD_NAMESPACE, NAME, take)
        await until(lambda: not lease.is_held)
    assert holder(api) == "bot-2"


async def test_a_server_that_never_answers_is_an_error_in_the_end(api: KubernetesSandbox, door: Door) -> None:
    api.faults.add(Fault("status", resource="leases", status=503))
    with pytest.raises(Retryable):
        async with cluster_at(door, lease_timing=QUICK).lease("bot-1", patience=0):
            pass


async def test_a_missing_right_is_told_at_once(api: KubernetesSandbox, door: Door, open_door: OpenDoor) -> None:
    api.server.tokens["none"] = Identity("none", ())
    with pytest.raises(Forbidden):
        async with cluster_at(await open_door("none"), lease_timing=QUICK).lease("bot-1", patience=5):
            pass


async def test_what_is_written_is_whole_seconds_and_a_foreign_duration_is_obeyed(
    api: KubernetesSandbox, door: Door
) -> None:
    await died(door, timing=replace(QUICK, duration=2))
    assert api.store.get(LEASES, PROD_NAMESPACE, NAME)["spec"]["leaseDurationSeconds"] == 2
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.4), cluster_at(door, lease_timing=QUICK).lease("bot-2", patience=0):
            pass


async def test_a_lease_ends_with_its_block_when_that_is_cancelled(api: KubernetesSandbox, door: Door) -> None:
    entered = asyncio.Event()

    async def hold() -> None:
        async with KubeCluster(door, Target(None, PROD_NAMESPACE), RealClock()).lease("bot-1", patience=0):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await entered.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert holder(api) == ""
