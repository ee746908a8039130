"""Every other fault, at points of each operation that the seed chooses; the same process goes on, or another does."""

import asyncio
import random
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bot.__main__ import SystemClock
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Connections
from lifecycle.model import Target
from sandbox import CONTEXT
from sandbox.kubernetes.access import Identity
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.kubeconfig import write_kubeconfig
from sandbox.kubernetes.writes import Write
from tests.e2e.served import SHORT_LEASE, TIMING, Served, frozen, logged
from tests.e2e.town import PATIENCE
from tests.faults.jobs import DELETE, JOBS, RESTORE, SNAPSHOT, STAGING, Job
from tests.faults.mortal import FULL, mortal
from tests.faults.scene import Scene, deed, scene
from tests.faults.table import Row

LONGER_THAN_THE_LEASE = 2.0
LONGER_THAN_IT_IS_WAITED_FOR = 6.0
"""SQLite waits 5 s for another's transaction."""
SILENT_WATCHES = 12
"""Each kind that is watched, twice or so."""
LONGER_WATCHES = replace(TIMING, watch_seconds=10.0)
"""30 s as installed; with 0.6 s so many watches begin that at 30 % every kind is hardly ever known at once."""
STAMPED = {"statefulsets", "deployments", "persistentvolumeclaims"}
LONG = (SNAPSHOT, DELETE, RESTORE)
"""Jobs of several phases: each fault meets them three times."""


async def api_server_away(case: Scene, running: Served) -> None:
    server = case.box.kubernetes.server
    await server.stop()
    await asyncio.sleep(LONGER_THAN_THE_LEASE)
    await server.start()


async def every_third_answer_is_a_500(case: Scene, running: Served) -> None:
    rule = case.box.kubernetes.faults.add(Fault("status", status=500, probability=0.3))
    await case.has_ended(within=3 * PATIENCE)
    assert rule.met


async def watches_are_silent(case: Scene, running: Served) -> None:
    rule = case.box.kubernetes.faults.add(Fault("silent", times=SILENT_WATCHES))
    await case.has_ended()
    assert rule.met


async def slack_away(case: Scene, running: Served) -> None:
    case.box.slack.faults.goes_away()
    await case.has_ended()
    case.box.slack.faults.comes_back()


async def slack_says_429(case: Scene, running: Served) -> None:
    for method in ("chat.postMessage", "chat.update"):
        case.box.slack.faults.answers(method, 429, times=3)
    await case.end()
    assert any(call.status == 429 for call in case.box.slack.calls)


async def database_locked(case: Scene, running: Served) -> None:
    with closing(sqlite3.connect(case.database, timeout=0, isolation_level=None)) as connection:
        await locked(connection)
        await asyncio.sleep(LONGER_THAN_IT_IS_WAITED_FOR)
    assert "database is locked" in running.log


async def locked(connection: sqlite3.Connection) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                await asyncio.sleep(0.01)
            else:
                return


async def disk_full(case: Scene, running: Served) -> None:
    (case.box.folder / FULL).touch()
    await logged(running, "database or disk is full")
    (case.box.folder / FULL).unlink()


async def lease_taken_by_a_bot_with_another_database(case: Scene, running: Served) -> None:
    """Frozen until its Lease has run out; it wakes while the other one holds it."""
    await frozen(running.process, case.database)
    (operation,) = await case.unfinished()
    async with Connections(kubeconfig=str(case.box.kubeconfig)) as connections:
        door = await connections.to(CONTEXT)
        other = KubeCluster(door, Target(CONTEXT, STAGING), SystemClock(), lease_timing=SHORT_LEASE)
        async with other.lease("other-bot/1", patience=PATIENCE) as lease:
            await other.stamp(operation.goal, await other.highest_epoch(operation.goal) + 1, lease)
            seen = len(case.log_of_writes)
            running.process.send_signal(signal.SIGCONT)
            await asyncio.sleep(LONGER_THAN_THE_LEASE)
            assert_fenced(case.log_of_writes[seen:])


async def frozen_and_succeeded_on_its_own_database(case: Scene, running: Served) -> None:
    """It wakes when its successor has stamped all, and does. The successor's token lets the record know who wrote."""
    await frozen(running.process, case.database)
    with_token(case, "successor")
    async with mortal(case.box, case.configuration):

        def goes_on(_: object) -> bool:
            deeds = (one for one in case.log_of_writes if one.identity == "successor" and deed(one))
            return any(deeds) or not case.runs()

        await case.box.kubernetes.until(goes_on, PATIENCE)
        seen = len(case.log_of_writes)
        running.process.send_signal(signal.SIGCONT)
        await case.judge()
        assert_fenced([write for write in case.log_of_writes[seen:] if write.identity == "frozen"])


def assert_fenced(late: list[Write]) -> None:
    """A process that thaws patches and removes nothing that bears a stamp.

    What bears none, or is not there yet, is guarded by the Lease, the object's resourceVersion and its name: a request
    that was about to be sent when the process froze, after its look at the Lease, is sent when it thaws
    (docs/reliability.md).
    """
    meddled = [one for one in late if deed(one) and one.verb != "create" and one.resource in STAMPED]
    assert not meddled, [f"{one.time} {one.verb} {one.resource}/{one.name}" for one in meddled]


def with_token(case: Scene, name: str) -> None:
    """Whoever reads the kubeconfig from here on is known by this name."""
    kubernetes = case.box.kubernetes
    kubernetes.server.tokens[name] = Identity(name)
    write_kubeconfig(case.box.kubeconfig, {CONTEXT: (kubernetes.url, name, STAGING)})


FAULTS: dict[str, Callable[[Scene, Served], Awaitable[None]]] = {
    "API server away for longer than the Lease": api_server_away,
    "500 for 30 % of the requests": every_third_answer_is_a_500,
    "silent watches": watches_are_silent,
    "Slack away": slack_away,
    "Slack says 429": slack_says_429,
    "database locked for 6 s": database_locked,
    "disk full": disk_full,
    "Lease taken by a bot with another database": lease_taken_by_a_bot_with_another_database,
    "SIGSTOP past the Lease, taken over, SIGCONT": frozen_and_succeeded_on_its_own_database,
}
pytestmark = [pytest.mark.timeout(240)]
CASES = [
    pytest.param(job, name, slice_, id=f"{fault.__name__}-{job.name}-{slice_}")
    for name, fault in FAULTS.items()
    for job in JOBS
    for slice_ in range(3 if job in LONG else 1)
]


def point(job: Job, slice_: int, chance: random.Random) -> int:
    """The write at which the fault begins; after the last one in question enough is left for it to meet."""
    slices = 3 if job in LONG else 1
    usable = job.writes * 3 // 4
    return chance.randint(1 + usable * slice_ // slices, usable * (slice_ + 1) // slices)


@pytest.mark.parametrize(("job", "fault", "slice_"), CASES)
async def test_a_fault_in_the_middle_costs_time_only(
    job: Job, fault: str, slice_: int, tmp_path: Path, row: Row, seed: int
) -> None:
    row.tries(fault, job.name)
    at = point(job, slice_, random.Random(f"{seed} {fault} {job.name} {slice_}"))
    async with scene(tmp_path, job) as case:
        case.box.kubernetes.faults.reseed(seed)
        with_token(case, "frozen")
        timing = LONGER_WATCHES if FAULTS[fault] is every_third_answer_is_a_500 else TIMING
        async with mortal(case.box, case.configuration, timing=timing) as running:
            begins = asyncio.Event()
            case.at_write(at, begins.set)
            ordering = asyncio.create_task(job.order(case.place))
            async with asyncio.timeout(PATIENCE):
                await begins.wait()
            await FAULTS[fault](case, running)
            await case.judge()
            ordering.cancel()
            await asyncio.gather(ordering, return_exceptions=True)
