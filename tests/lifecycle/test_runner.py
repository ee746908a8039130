"""The loop, on the real journal: cut off anywhere it ends the same, and what it says was seen."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lifecycle.decide import delete, restart, start, stop
from lifecycle.diagnosis import Traffic
from lifecycle.errors import Conflict, Fenced, Forbidden, Retryable
from lifecycle.model import Component, Step, Verb
from lifecycle.observed import Discovery
from lifecycle.operation import Goal, Operation, State
from lifecycle.plan import plan
from lifecycle.ports import Lease
from lifecycle.runner import Runner
from storage.audit import AuditLog
from storage.database import Database
from storage.journal import DatabaseJournal
from storage.operations import Operations
from tests.fakes import values
from tests.fakes.cluster import Crash, FakeClock, FakeCluster
from tests.fakes.database import a_database
from tests.fakes.world import Fault

SCALING = [Verb.STOP, Verb.START, Verb.RESTART]
"""Delete and restore have tests of their own."""
STOPPED = {component: values.down(values.workload(component)) for component in Component}


class CrashingJournal:
    """The real journal in a process that dies right after one of its commits."""

    def __init__(self, journal: DatabaseJournal, crash_after: int) -> None:
        self._journal = journal
        self._left = crash_after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._journal, name)

        async def and_die(*arguments: Any) -> Any:
            done = await method(*arguments)
            self._left -= 1
            if self._left < 0:
                raise Crash
            return done

        return and_die


@asynccontextmanager
async def stage(
    tmp_path: Path, found: Discovery, goal: Goal, expected: int | None = None
) -> AsyncIterator[tuple[FakeCluster, Operation, Database]]:
    clock = FakeClock()
    async with a_database(tmp_path / "bot.db") as database:
        operation = replace(values.operation(goal.marked("op-000001")), expected=expected)
        begun = await Operations(database, clock).begin(operation, plan(goal, found))
        yield FakeCluster(found, clock), begun, database


def runner(cluster: FakeCluster, database: Database, crash_after: int | None = None) -> Runner:
    journal: Any = DatabaseJournal(database, cluster.clock)
    if crash_after is not None:
        journal = CrashingJournal(journal, crash_after)
    return Runner(journal, cluster.clock, "test/1")


async def fresh(database: Database, cluster: FakeCluster) -> Operation:
    operation = await Operations(database, cluster.clock).get("op-000001")
    assert operation is not None
    return operation


ONE_OF_EACH_WAVE = (Component.NOSQL, Component.SQL, Component.TM)
"""Enough where every run is cut off once at each of its points: the waves before and after it are what differs."""


def goal_of(verb: Verb, components: Iterable[Component] = Component) -> tuple[Discovery, Goal]:
    workloads = tuple(values.workload(component) for component in components)
    if verb is Verb.START:
        found = values.discovery(STOPPED, workloads=workloads)
        return found, start.goal(found, {}, {})
    found = values.discovery(workloads=workloads)
    return found, stop.goal(found) if verb is Verb.STOP else restart.goal(found, None, downtime=True)


@pytest.mark.parametrize("verb", SCALING)
async def test_a_verb_runs_to_its_end_and_says_what_was_seen(verb: Verb, tmp_path: Path) -> None:
    found, goal = goal_of(verb)
    async with stage(tmp_path, found, goal) as (cluster, operation, database):
        ended = await runner(cluster, database).run(operation, cluster, "http://gateway/mashping")
        assert ended.state is State.DONE
        assert ended.outcome is not None
        assert len(ended.outcome.done) == len(Component)
        assert tuple(replace(claim, mounted_by=()) for claim in ended.outcome.claims) == values.CLAIMS
        assert (ended.outcome.traffic is None) == (verb is Verb.STOP)
        assert ended.outcome.traffic is None or ended.outcome.traffic.verdict == Traffic.ANSWERS
        assert await AuditLog(database, cluster.clock).verify() is None


@pytest.mark.timeout(180)
@pytest.mark.parametrize("verb", SCALING)
async def test_cut_off_after_any_effect_and_taken_up_by_another_process_it_ends_the_same(
    verb: Verb, tmp_path: Path
) -> None:
    for crash_after in range(200):
        found, goal = goal_of(verb, ONE_OF_EACH_WAVE)
        folder = tmp_path / str(crash_after)
        async with stage(folder, found, goal) as (cluster, operation, database):
            cluster.crash_after = crash_after
            with suppress(Crash):
                await runner(cluster, database).run(operation, cluster)
                return
            cluster.crash_after = None
            ended = await runner(cluster, database).run(await fresh(database, cluster), cluster)
            await assert_well_done(ended, cluster, database)
    pytest.fail("the operation has more effects than expected")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("verb", SCALING)
async def test_cut_off_after_any_commit_and_taken_up_by_another_process_it_ends_the_same(
    verb: Verb, tmp_path: Path
) -> None:
    for crash_after in range(300):
        found, goal = goal_of(verb, ONE_OF_EACH_WAVE)
        async with stage(tmp_path / str(crash_after), found, goal) as (cluster, operation, database):
            with suppress(Crash):
                await runner(cluster, database, crash_after).run(operation, cluster)
                return
            left = await fresh(database, cluster)
            ended = left if left.state is State.DONE else await runner(cluster, database).run(left, cluster)
            await assert_well_done(ended, cluster, database)
    pytest.fail("the operation has more commits than expected")


@pytest.mark.parametrize("refused", [False, True])
async def test_a_delete_on_the_real_journal_ends_or_turns_back_wherever_it_is_taken_up(
    refused: bool, tmp_path: Path
) -> None:
    found = values.discovery(workloads=(values.workload(Component.NOSQL), values.workload(Component.SQL)))
    goal = delete.goal(found, values.inventory(found), keeps_services=False)
    async with stage(tmp_path, found, goal) as (cluster, operation, database):
        if refused:
            cluster.world.faults["keep persistentvolume/pvc-1"] = Fault(Forbidden("may not"))
        while operation.state is State.RUNNING:
            with suppress(Crash):
                await runner(cluster, database, 8).run(operation, cluster)
            operation = await fresh(database, cluster)
        kinds = [entry.kind for entry in await AuditLog(database, cluster.clock).entries(newest_first=False)]
        assert kinds.count("turned-back") == int(refused)
        assert kinds.count("passed") == (2 if refused else 4)
        assert operation.outcome is not None
        assert operation.outcome.back_up is (True if refused else None)
        assert operation.state is (State.FAILED if refused else State.DONE)
        assert len(cluster.world.states) == (2 if refused else 0)
        assert await AuditLog(database, cluster.clock).verify() is None


async def assert_well_done(ended: Operation, cluster: FakeCluster, database: Database) -> None:
    assert ended.state is State.DONE
    for workload in ended.goal.scope:
        state = cluster.world.states[workload.ref]
        if ended.verb is Verb.STOP:
            assert not state.is_present
            assert state.remembered == 1
        else:
            assert state.is_ready(workload.ref.kind)
    steps = [step for _, step in cluster.writes]
    assert len(steps) == len(set(steps)), "no step was done twice"
    assert await AuditLog(database, cluster.clock).verify() is None


async def test_a_workload_that_never_gets_ready_ends_in_a_diagnosis_at_the_deadline(tmp_path: Path) -> None:
    found, goal = goal_of(Verb.START)
    sql = values.workload(Component.SQL)
    async with stage(tmp_path, found, goal) as (cluster, operation, database):
        cluster.world.never_ready = {sql.ref}
        ended = await runner(cluster, database).run(operation, cluster)
        assert ended.state is State.FAILED
        assert ended.outcome is not None
        assert ended.outcome.diagnosis is not None
        assert ended.outcome.missing == (str(sql.ref), "deployment/tm-deploy-0")
        assert ended.outcome.diagnosis.headline == f"{sql.ref}: NotReady"
        assert ended.outcome.by_hand == ("kubectl scale deployment/tm-deploy-0 --replicas=1",)
        waited = (cluster.clock.now() - values.NOW).total_seconds()
        assert waited == pytest.approx(start.limit(goal).total_seconds(), abs=5)


@pytest.mark.parametrize("arrived", [True, False])
async def test_taken_up_after_its_deadline_it_is_looked_at_before_it_is_judged(arrived: bool, tmp_path: Path) -> None:
    found, goal = goal_of(Verb.STOP)
    async with stage(tmp_path, found, goal) as (cluster, operation, database):
        journal = DatabaseJournal(database, cluster.clock)
        taken = await journal.take(operation, "test/0", operation.epoch + 1)
        taken = await journal.entered(taken, stop.limit(goal))
        cluster.clock.advance(stop.limit(goal).total_seconds() + 1)
        if arrived:
            cluster.world.states = {one.ref: values.down(one) for one in found.workloads}
        ended = await runner(cluster, database).run(taken, cluster)
        assert ended.state is (State.DONE if arrived else State.FAILED)
        assert not cluster.writes
        assert ended.outcome is not None
        assert len(ended.outcome.missing) == (0 if arrived else len(Component))


async def test_a_failed_start_that_gets_ready_after_all_is_told(tmp_path: Path) -> None:
    found, goal = goal_of(Verb.START)
    tm = values.workload(Component.TM)
    async with stage(tmp_path, found, goal) as (cluster, operation, database):
        cluster.world.never_ready = {tm.ref}
        bot = runner(cluster, database)
        ended = await bot.run(operation, cluster)
        assert ended.state is State.FAILED
        cluster.world.never_ready = set()
        await bot.follow_up(ended, cluster)
        assert (await fresh(database, cluster)).late_at is not None


async def test_at_twice_the_usual_time_the_reason_is_told_once(tmp_path: Path) -> None:
    found, goal = goal_of(Verb.START)
    async with stage(tmp_path, found, goal, expected=30) as (cluster, operation, database):
        cluster.world.never_ready = {values.workload(Component.SQL).ref}
        await runner(cluster, database).run(operation, cluster)
        told = await AuditLog(database, cluster.clock).entries(kinds={"slow"})
        assert len(told) == 1
        assert told[0].at == values.NOW + timedelta(seconds=60)
        assert told[0].data["diagnosis"]["findings"][0]["object"] == "statefulset/mysql-set-0"


@pytest.mark.parametrize("error", [Conflict("changed"), Retryable("503"), Retryable("429", after=2.0)])
async def test_what_kubernetes_did_not_take_is_tried_again(error: Exception, tmp_path: Path) -> None:
    found, goal = goal_of(Verb.STOP)
    async with stage(tmp_path, found, goal) as (cluster, operation, database):
        cluster.errors = [error, error]  # type: ignore[list-item]
        ended = await runner(cluster, database).run(operation, cluster)
        assert ended.state is State.DONE


async def test_a_right_that_is_missing_half_way_fails_the_operation_and_names_it(tmp_path: Path) -> None:
    found, goal = goal_of(Verb.STOP)
    async with stage(tmp_path, found, goal) as (cluster, operation, database):
        cluster.errors = [Forbidden("cannot patch deployments")]
        ended = await runner(cluster, database).run(operation, cluster)
        assert ended.state is State.FAILED
        assert ended.outcome is not None
        assert ended.outcome.error is not None
        assert "cannot patch deployments" in ended.outcome.error
        assert ended.outcome.by_hand


async def test_a_workload_replaced_by_a_namesake_is_not_touched(tmp_path: Path) -> None:
    found, goal = goal_of(Verb.STOP)
    tm = values.workload(Component.TM)
    async with stage(tmp_path, found, goal) as (cluster, operation, database):
        cluster.world.states[tm.ref] = replace(cluster.world.states[tm.ref], uid="another")
        ended = await runner(cluster, database).run(operation, cluster)
        assert ended.state is State.FAILED
        assert ended.outcome is not None
        assert "replaced" in (ended.outcome.error or "")
        assert not cluster.writes


@pytest.mark.parametrize("verb", SCALING)
async def test_a_workload_that_somebody_deletes_meanwhile_never_passes_for_done(verb: Verb, tmp_path: Path) -> None:
    found, goal = goal_of(verb)
    tm = values.workload(Component.TM)
    async with stage(tmp_path, found, goal) as (cluster, operation, database):
        cluster.deleted_at = {2: tm.ref}
        ended = await runner(cluster, database).run(operation, cluster)
        assert ended.state is State.FAILED
        assert ended.outcome is not None
        assert ended.outcome.error == f"{tm.ref} was deleted"


async def test_an_operation_that_another_process_carries_out_is_left_to_it(tmp_path: Path) -> None:
    found, goal = goal_of(Verb.STOP)
    async with stage(tmp_path, found, goal) as (cluster, operation, database):
        journal = DatabaseJournal(database, cluster.clock)
        theirs = await journal.take(operation, "other/1", operation.epoch + 1)
        cluster.holders = ["other/1", "other/1"]
        ended = await runner(cluster, database).run(theirs, cluster)
        assert ended.state is State.DONE, "it was taken up once the other one had let go of the Lease"


async def test_an_operation_that_another_process_ended_is_not_ended_again(tmp_path: Path) -> None:
    found, goal = goal_of(Verb.STOP)
    async with stage(tmp_path, found, goal) as (cluster, operation, database):
        theirs = await runner(cluster, database).run(operation, cluster)
        cluster.holders = ["other/1"]
        with pytest.raises(Fenced):
            await runner(cluster, database).run(theirs, cluster)


async def test_a_bot_with_another_database_is_named_and_nothing_is_changed(tmp_path: Path) -> None:
    found, goal = goal_of(Verb.STOP)
    async with stage(tmp_path, found, goal) as (cluster, operation, database):
        cluster.holders = ["stranger/1"]
        ended = await runner(cluster, database).run(operation, cluster)
        assert ended.state is State.FAILED
        assert ended.outcome is not None
        assert "held by stranger/1" in (ended.outcome.error or "")
        assert not cluster.writes


async def test_a_stamp_that_somebody_removed_is_written_again(tmp_path: Path) -> None:
    found, goal = goal_of(Verb.STOP)
    nosql = values.workload(Component.NOSQL)
    async with stage(tmp_path, found, goal) as (cluster, operation, database):
        cluster.unstamped_at = {5: nosql.ref}
        ended = await runner(cluster, database).run(operation, cluster)
        assert ended.state is State.DONE


async def test_a_killed_database_is_a_warning_and_an_unseen_end_is_said(tmp_path: Path) -> None:
    found, goal = goal_of(Verb.STOP)
    sql, nosql = values.workload(Component.SQL), values.workload(Component.NOSQL)
    async with stage(tmp_path, found, goal) as (cluster, operation, database):
        cluster.world.killed = {sql.ref}
        cluster.world.states[nosql.ref] = replace_pods(cluster, nosql)
        ended = await runner(cluster, database).run(operation, cluster)
        assert ended.outcome is not None
        assert [end.code for end in ended.outcome.exits if end.pod == "mysql-set-0-0"] == [137]
        assert ended.outcome.unseen == ("cass-set-0-0/main",)


def replace_pods(cluster: FakeCluster, workload: Any) -> Any:
    """Its pod is gone already when the watch begins: nobody sees how it ended."""
    return replace(cluster.world.states[workload.ref], pods=(), status_replicas=0, replicas=0)


@dataclass
class Defective(FakeCluster):
    """A defect in the first step; the others take their time."""

    in_flight: int = 0

    async def do(self, step: Step, operation: Operation, lease: Lease) -> str:
        if step.ref.name == "tm-deploy-0":
            raise ZeroDivisionError
        self.in_flight += 1
        await asyncio.sleep(0.05)
        self.in_flight -= 1
        return await super().do(step, operation, lease)


async def test_a_defect_in_one_step_leaves_no_other_in_flight(tmp_path: Path) -> None:
    found, goal = goal_of(Verb.STOP)
    async with stage(tmp_path, found, goal) as (cluster, operation, database):
        defective = Defective(found, cluster.clock)
        with pytest.raises(ZeroDivisionError):
            await runner(defective, database).run(operation, defective)
        assert defective.in_flight == 0
        assert {step.ref.name for _, step in defective.writes} == {"cm-deploy-0", "reporting-set-0"}
