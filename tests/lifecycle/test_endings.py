"""What an operation says at its end of configuration and addresses, on the real journal."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from lifecycle.checks import Checked
from lifecycle.configuration import doubted, is_missed, unseen
from lifecycle.decide import delete, restore, start
from lifecycle.execution import ADDRESS_WITHIN
from lifecycle.model import Component, Verb
from lifecycle.observed import Address, Discovery, Observed
from lifecycle.operation import Goal, Operation, Outcome, State
from lifecycle.plan import plan, plan_of_return
from lifecycle.runner import Runner
from lifecycle.topology import Topology
from storage.audit import AuditLog
from storage.database import Database
from storage.journal import DatabaseJournal
from storage.operations import Operations
from tests.fakes import values
from tests.fakes.cluster import FakeClock, FakeCluster
from tests.fakes.database import a_database

SEEN, MISSED = Checked(Checked.SEEN), Checked(Checked.FAILED, "exit code 3")
STOPPED = {component: values.down(values.workload(component)) for component in Component}


@asynccontextmanager
async def journal(tmp_path: Path, cluster: FakeCluster) -> AsyncIterator[tuple[Runner, Database]]:
    async with a_database(tmp_path / "bot.db") as database:
        yield Runner(DatabaseJournal(database, cluster.clock), cluster.clock, "test/1"), database


def stopped_cluster(*, has_sqlvol: bool) -> FakeCluster:
    found = values.discovery(STOPPED)
    claims = values.CLAIMS if has_sqlvol else values.CLAIMS[:1]
    return FakeCluster(replace(found, observed=replace(found.observed, claims=claims)), FakeClock())


async def started(tmp_path: Path, cluster: FakeCluster) -> Operation:
    goal = start.goal(cluster.found, {}, {})
    async with journal(tmp_path, cluster) as (runner, database):
        operations = Operations(database, cluster.clock)
        begun = await operations.begin(values.operation(goal.marked("op-000001")), plan(goal, cluster.found))
        ended = await runner.run(begun, cluster)
        assert await operations.get("op-000001") == ended, "as it is read again"
        assert await AuditLog(database, cluster.clock).verify() is None
        (entry,) = await AuditLog(database, cluster.clock).entries(kinds={"finished"})
        assert (entry.data["checked"] is None) == (ended.outcome is None or ended.outcome.checked is None)
    return ended


@pytest.mark.parametrize(
    ("has_sqlvol", "configured", "checked"),
    [
        (True, None, None),
        (True, MISSED, None),
        (False, None, Checked(Checked.NO_CHECK)),
        (False, MISSED, MISSED),
        (False, SEEN, SEEN),
    ],
    ids=["nothing in question", "nothing to check", "no check", "a check that fails", "a check that passes"],
)
async def test_a_start_on_an_empty_sqlvol_has_not_seen_the_configuration_until_a_check_passes(
    tmp_path: Path, has_sqlvol: bool, configured: Checked | None, checked: Checked | None
) -> None:
    cluster = stopped_cluster(has_sqlvol=has_sqlvol)
    cluster.checked = configured
    ended = await started(tmp_path, cluster)
    assert ended.state is State.DONE, "the pods are up"
    assert ended.outcome is not None
    assert ended.outcome.checked == checked
    doubts = doubted(ended, ended.outcome.claims)
    assert bool(doubts) == (checked is not None and not checked.is_seen), "and the next operation knows"
    assert bool(unseen(ended.goal, ended.outcome.claims)) is not has_sqlvol


@dataclass
class Mending(FakeCluster):
    """Its check passes from a number of tries on; after the last verdict that is given it is as that."""

    verdicts: list[Checked | None] = field(default_factory=list)

    async def check(self, topology: Topology) -> Checked | None:
        self.clock.advance(60)
        return self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]


@pytest.mark.parametrize(
    ("verdicts", "checked"),
    [
        ([MISSED, MISSED, SEEN], SEEN),
        ([MISSED], MISSED),
        ([MISSED, Checked(Checked.FORBIDDEN), SEEN], MISSED),
        ([MISSED, None, SEEN], MISSED),
    ],
    ids=["passes after all", "never passes", "the right is gone", "the check is gone"],
)
async def test_a_configuration_that_was_not_seen_is_looked_for_a_while_longer(
    tmp_path: Path, verdicts: list[Checked | None], checked: Checked
) -> None:
    without = stopped_cluster(has_sqlvol=False)
    cluster = Mending(without.found, without.clock, verdicts=verdicts)
    goal = start.goal(cluster.found, {}, {})
    async with journal(tmp_path, cluster) as (runner, database):
        runner.rest = 0.0
        operations = Operations(database, cluster.clock)
        begun = await operations.begin(values.operation(goal.marked("op-000001")), plan(goal, cluster.found))
        ended = await runner.run(begun, cluster)
        assert is_missed(ended)
        await runner.look_for_configuration(ended, cluster)
        later = await operations.get("op-000001")
        assert later is not None
        assert later.outcome is not None
        assert later.outcome.checked == checked
        assert cluster.clock.now() - values.NOW < runner.seek + timedelta(minutes=10)
        kinds = [entry.kind for entry in await AuditLog(database, cluster.clock).entries(limit=500)]
        assert ("seen" in kinds) == (checked is SEEN)


def deleted_cluster() -> tuple[FakeCluster, Operation]:
    """Everything gone but the volumes, as a delete that gives the addresses up leaves it."""
    found: Discovery = values.discovery()
    cluster = FakeCluster(found, FakeClock())
    goal = delete.goal(found, values.inventory(found), keeps_services=False).marked("op-delete")
    return cluster, replace(values.operation(goal), id="op-delete", outcome=Outcome(State.DONE), state=State.DONE)


async def restored(tmp_path: Path, cluster: FakeCluster, deleted: Operation) -> Operation:
    async with journal(tmp_path, cluster) as (runner, database):
        operations = Operations(database, cluster.clock)
        gone = replace(deleted, state=State.RUNNING, outcome=None)
        begun = await operations.begin(gone, plan(deleted.goal, cluster.found))
        removed = await runner.run(begun, cluster)
        assert removed.state is State.DONE
        seen: Observed = await cluster.picture(restore.draft(removed))
        goal: Goal = restore.goal(restore.draft(removed), seen).marked("op-000002")
        coming = replace(values.operation(goal), id="op-000002")
        begun = await operations.begin(coming, plan_of_return(goal, values.TARGET, seen))
        return await runner.run(begun, cluster)


@pytest.mark.parametrize("configured", [None, MISSED, SEEN])
async def test_a_restore_runs_the_check_whenever_there_is_one(tmp_path: Path, configured: Checked | None) -> None:
    cluster, deleted = deleted_cluster()
    cluster.checked = configured
    ended = await restored(tmp_path, cluster, deleted)
    assert (ended.verb, ended.state) == (Verb.RESTORE, State.DONE)
    assert ended.outcome is not None
    assert ended.outcome.checked == configured, "the same bytes are no empty volume"


@pytest.mark.parametrize("now", [("203.0.113.7",), ("198.51.100.1",), ()], ids=["the same", "another", "none yet"])
async def test_a_restore_says_where_the_cluster_is_now(tmp_path: Path, now: tuple[str, ...]) -> None:
    cluster, deleted = deleted_cluster()

    def balance(_observed: Observed) -> None:
        for ref, part in cluster.world.parts.items():
            if ref.name == "tm-svc" and part.made_by:
                cluster.world.parts[ref] = replace(part, addresses=now)

    cluster.meanwhile = balance
    ended = await restored(tmp_path, cluster, deleted)
    assert ended.outcome is not None
    assert ended.outcome.addresses == (Address("tm-svc", ("203.0.113.7",), now),)


@pytest.mark.parametrize("comes", [True, False])
async def test_an_address_that_comes_late_is_waited_for_and_not_for_long(tmp_path: Path, comes: bool) -> None:
    cluster, deleted = deleted_cluster()
    reached: list[float] = []

    def balance(observed: Observed) -> None:
        is_back = bool(observed.workloads) and all(state.made_by for state in observed.workloads.values())
        if is_back and observed.volumes and not any(volume.kept_by for volume in observed.volumes):
            reached.append(cluster.clock.monotonic())
            for ref, part in cluster.world.parts.items():
                if comes and ref.name == "tm-svc":
                    cluster.world.parts[ref] = replace(part, addresses=("198.51.100.1",))

    cluster.meanwhile = balance
    ended = await restored(tmp_path, cluster, deleted)
    assert ended.outcome is not None
    (address,) = ended.outcome.addresses
    assert address.now == (("198.51.100.1",) if comes else ())
    assert cluster.clock.monotonic() - reached[0] <= (1 if comes else ADDRESS_WITHIN), "a look takes a second"
