"""How many operations, steps and audit entries a second are on the disk, one after another."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import sandbox
from benchmarks.figures import Figure
from bot.__main__ import SystemClock
from lifecycle.decide import stop
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import connect
from lifecycle.model import Person, Place, Target
from lifecycle.observed import Discovery
from lifecycle.operation import Operation, Outcome, State
from lifecycle.plan import plan
from lifecycle.ports import Result
from sandbox import tml
from storage.audit import AuditLog, Entry
from storage.database import Database, open_database
from storage.journal import DatabaseJournal
from storage.operations import Operations

OPERATIONS = 100
ENTRIES = 1000


async def database(folder: Path) -> Sequence[Figure]:
    """Every transaction is synced to the disk (synchronous=FULL)."""
    async with _discovered(folder) as found, open_database(f"sqlite+aiosqlite:///{folder}/bench.db") as opened:
        operations, entries = await _operations(opened, found), await _audit(opened)
        log = AuditLog(opened, SystemClock())
        begun = perf_counter()
        assert await log.verify() is None
        verified = perf_counter() - begun
        head = await log.head()
    assert head is not None
    return (
        Figure("operations begun, journalled and finished, 7 steps each", f"{operations:.0f} a second"),
        Figure("audit entries appended, one transaction each", f"{entries:.0f} a second"),
        Figure("audit entries verified", f"{head.seq / verified:.0f} a second"),
    )


@asynccontextmanager
async def _discovered(folder: Path) -> AsyncIterator[Discovery]:
    async with sandbox.start(folder, time_scale=0.002, limits=None) as box:
        box.write_configuration()
        target = Target(sandbox.CONTEXT, tml.PROD_NAMESPACE)
        async with connect(target.context, kubeconfig=str(box.kubeconfig)) as door:
            found = await KubeCluster(door, target, SystemClock()).discover()
    yield found


async def _operations(opened: Database, found: Discovery) -> float:
    clock = SystemClock()
    operations, journal = Operations(opened, clock), DatabaseJournal(opened, clock)
    goal = stop.goal(found)
    made = plan(goal, found)
    begun = perf_counter()
    for number in range(OPERATIONS):
        operation = await operations.begin(_operation(number, found), made)
        operation = await journal.take(operation, "bench/1", operation.epoch + 1)
        steps = [step for wave in made.waves for step in wave]
        await journal.record(operation, steps)
        await journal.did(operation, [Result(step, uid="uid") for step in steps])
        await journal.finished(operation, Outcome(State.DONE, claims=found.observed.claims))
    return OPERATIONS / (perf_counter() - begun)


def _operation(number: int, found: Discovery) -> Operation:
    goal = stop.goal(found)
    return Operation(
        id=f"op-{number:06d}",
        verb=goal.verb,
        cluster="prod",
        target=found.target,
        requester=Person("T1", "U1"),
        place=Place("T1", "C1"),
        goal=replace(goal),
        phase="down",
        begun_at=SystemClock().now(),
        command="stop prod",
    )


async def _audit(opened: Database) -> float:
    log = AuditLog(opened, SystemClock())
    entry = Entry("refused", Person("T1", "U1"), data={"text": "stop prod", "code": "cluster-busy", "why": "busy"})
    begun = perf_counter()
    for _ in range(ENTRIES):
        await log.record(entry)
    return ENTRIES / (perf_counter() - begun)
