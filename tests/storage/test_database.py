"""The file, its schema, its faults."""

import asyncio
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text

from lifecycle.model import Target
from lifecycle.operation import Outcome, State
from lifecycle.plain import canonical, to_plain
from storage.audit import Entry, append
from storage.database import Database, StorageError, open_database
from storage.messages import want
from storage.migrations import upgrade
from storage.moments import moment_of, stored
from storage.operations import begin_in
from storage.tables import metadata
from tests.fakes.values import NOW, OPS, planned
from tests.storage.conftest import StandingClock, Store, a_stop


def schema(connection: Connection) -> set[tuple[str, str, str]]:
    rows = connection.execute(text("SELECT type, name, sql FROM sqlite_master WHERE tbl_name <> 'alembic_version'"))
    return {(row.type, row.name, " ".join((row.sql or "").split())) for row in rows}


def test_the_migrations_make_exactly_the_tables_indexes_checks_and_triggers_of_the_metadata() -> None:
    migrated, made = create_engine("sqlite://"), create_engine("sqlite://")
    with migrated.begin() as one, made.begin() as two:
        upgrade(one)
        metadata.create_all(two)
        assert schema(one) == schema(two)
    migrated.dispose()
    made.dispose()


OLD_ROWS = (
    """INSERT INTO operations (id, verb, cluster, context, namespace, requester_team, requester_user, place_team,
    place_channel, reason, command, goal, phase, state, epoch, executor, begun_at, phase_begun_at, phase_limit)
    VALUES ('op-old001', 'stop', 'prod', 'eks-prod', 'ml550', 'T0TML', 'U0ALICE', 'T0TML', 'C0OPS', '', 'stop prod',
    :goal, 'down', 'running', 7, 'bot-0', 1, 2, :limit)""",
    "INSERT INTO arrivals (operation, phase, workload) VALUES ('op-old001', 'down', 'deployment/tm-deploy-0')",
)


@pytest.mark.parametrize(("limit", "limits"), [(600, {"down": 600}), (None, {})])
async def test_an_operation_that_ran_before_the_phases_came_goes_on(
    url: str, clock: StandingClock, tmp_path: Path, limit: int | None, limits: dict[str, int]
) -> None:
    goal = to_plain(a_stop().goal)
    before = {key: goal[key] for key in ("verb", "topology", "counts", "sources", "databases", "claims", "left")}
    (tmp_path / "data").mkdir()
    old = create_engine(f"sqlite:///{tmp_path}/data/tml-bot.db")
    with old.begin() as connection:
        upgrade(connection, "0001")
        for statement in OLD_ROWS:
            connection.execute(text(statement), {"goal": canonical(before), "limit": limit})
    old.dispose()
    async with open_database(url) as database:
        store = Store(database, clock)
        (found,) = await store.operations.unfinished()
        assert (found.limits, found.failure, found.goal, found.epoch) == (limits, None, a_stop().goal, 7)
        taken = await store.journal.take(found, "bot-1", 8)
        await store.journal.arrived(taken, ["deployment/tm-deploy-0"])
        assert "arrived" not in [entry.kind for entry in await store.audit.entries()], "told before"
        ended = await store.journal.finished(taken, Outcome(State.DONE))
        assert ended.state is State.DONE


async def test_the_file_and_its_folder_are_the_owners_alone(store: Store, tmp_path: Path) -> None:
    await store.operations.begin(*planned(a_stop()))
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    files = list((tmp_path / "data").iterdir())
    assert len(files) == 3, "the database, its -wal and its -shm"
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_a_database_opened_again_still_has_everything(url: str, store: Store) -> None:
    begun = await store.operations.begin(*planned(a_stop()))
    async with open_database(url) as database:
        assert await Store(database, store.clock).operations.get(begun.id) == begun


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite+aiosqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true", "postgresql://h/d"]
)
async def test_only_a_plain_sqlite_file_is_opened(url: str) -> None:
    with pytest.raises(ValueError, match=r"SQLite file|plain file"):
        async with open_database(url):
            pass


async def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        async with open_database(f"sqlite:///{tmp_path}/file/tml-bot.db"):
            pass


async def test_a_file_that_is_no_database_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "tml-bot.db").write_text("something else, and long enough to be looked at " * 20)
    with pytest.raises(StorageError):
        async with open_database(f"sqlite:///{tmp_path}/tml-bot.db"):
            pass


async def test_a_database_of_a_newer_version_is_not_opened(store: Store, url: str) -> None:
    async with store.database.transaction() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageError, match="not of this version"):
        async with open_database(url):
            pass


@pytest.mark.parametrize("fault", ["query_only=ON", "max_page_count=1"])
async def test_a_read_only_or_full_database_is_a_storage_error_and_nothing_is_acknowledged(
    store: Store, fault: str
) -> None:
    if fault.startswith("max"):
        async with store.database.reading() as connection:
            pages = await connection.scalar(text("PRAGMA page_count"))
        fault = f"max_page_count={pages}"
    async with store.database.transaction() as connection:
        await connection.exec_driver_sql(f"PRAGMA {fault}")
    operation = replace(a_stop(), reason="long " * 100_000)  # more than what is left on the pages there are
    with pytest.raises(StorageError) as raised:
        await store.operations.begin(*planned(operation))
    assert raised.value.__cause__ is not None
    assert await store.operations.get(operation.id) is None
    assert await store.messages.due() == []
    assert await store.audit.head() is None
    assert not await store.database.changes.changed(0)


async def test_a_database_locked_by_somebody_else_is_a_storage_error(store: Store, other: Store) -> None:
    async with store.database.transaction() as connection:
        await connection.exec_driver_sql("PRAGMA busy_timeout=0")
    async with other.database.transaction():
        with pytest.raises(StorageError, match="locked"):
            await store.operations.begin(*planned(a_stop()))
    await store.operations.begin(*planned(a_stop()))


async def test_readers_do_not_wait_for_a_writer_and_see_only_what_is_committed(store: Store) -> None:
    async with store.database.transaction() as connection:
        await append(connection, Entry("x"), NOW)
        assert await store.audit.head() is None
    head = await store.audit.head()
    assert head is not None
    assert head.seq == 2


async def test_a_reader_cannot_write(store: Store) -> None:
    with pytest.raises(StorageError, match="readonly"):
        async with store.database.reading() as connection:
            await connection.execute(text("DELETE FROM operations"))


async def test_the_projector_is_woken_by_committed_changes_of_messages_only(store: Store) -> None:
    changes = store.database.changes
    await store.audit.record(Entry("refused"))
    assert not await changes.changed(0)
    with pytest.raises(ValueError, match="floating point"):
        await wanted_and_broken(store)
    await store.audit.record(Entry("refused"))
    assert not await changes.changed(0), "what was rolled back, and the commit after it, changed no message"
    waiting = asyncio.ensure_future(changes.changed(10))
    async with store.database.transaction() as connection:
        await want(connection, "op-1", "live", OPS)
        assert not waiting.done()
    assert await waiting
    assert not await changes.changed(0), "woken once"


async def wanted_and_broken(store: Store) -> None:
    async with store.database.transaction() as connection:
        await want(connection, "op-1", "live", OPS)
        await append(connection, Entry("x", data={"n": 0.5}), NOW)


async def test_a_caller_cancelled_anywhere_has_done_all_or_nothing(store: Store) -> None:
    for yields in range(0, 60, 2):
        cluster = f"c{yields}"
        operation = replace(a_stop(f"op-{yields:06}"), cluster=cluster, target=Target(None, cluster))
        task = asyncio.ensure_future(store.operations.begin(*planned(operation)))
        for _ in range(yields):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        entries = len(await store.audit.entries(cluster=cluster))
        lines = len(await store.messages.entries_of(operation.id))
        begun = await store.operations.get(operation.id)
        assert (begun is not None, entries, lines) in {(False, 0, 0), (True, 1, 1)}
    assert await store.audit.verify() is None


async def test_a_caller_cancelled_twice_anywhere_leaves_no_lock(store: Store, tmp_path: Path) -> None:
    """As a task is whose group breaks up while the process ends."""

    async def write() -> None:
        while True:
            await store.audit.record(Entry("x"))

    for yields in range(60):
        task = asyncio.ensure_future(write())
        for _ in range(2):
            for _ in range(yields):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert is_free(tmp_path / "data" / "tml-bot.db"), f"cancelled after {yields} and {2 * yields} turns of the loop"


def is_free(database: Path) -> bool:
    """For another process, and at once."""
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        return True


async def test_a_commit_that_was_cancelled_wakes_the_projector_and_keeps_what_was_written(store: Store) -> None:
    async def begin() -> None:
        async with store.database.transaction() as connection:
            operation, plan = planned(a_stop())
            await begin_in(connection, operation, NOW, plan)
            asyncio.get_running_loop().call_soon(task.cancel)

    task = asyncio.ensure_future(begin())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.operations.get("op-000001") is not None
    assert await store.database.changes.changed(0)


KILLED_IN_THE_MIDDLE = """
import asyncio, os, sys
from storage.database import open_database
from tests.fakes.values import planned
from storage.operations import begin_in
from tests.fakes.values import NOW
from tests.storage.conftest import a_stop

async def main():
    async with open_database(sys.argv[1]) as database, database.transaction() as connection:
        operation, plan = planned(a_stop())
        await begin_in(connection, operation, NOW, plan)
        print("written", flush=True)
        os._exit(9)

asyncio.run(main())
"""


async def test_a_process_killed_in_a_transaction_leaves_neither_state_nor_entry(store: Store, url: str) -> None:
    await store.audit.record(Entry("before"))
    root = Path(__file__).parents[2]
    killed = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", KILLED_IN_THE_MIDDLE, url], cwd=root, capture_output=True, check=False
    )
    assert (killed.returncode, killed.stdout) == (9, b"written\n"), killed.stderr
    assert await store.operations.unfinished() == ()
    assert await store.messages.due() == []
    assert [entry.kind for entry in await store.audit.entries()] == ["before", "genesis"]
    await store.operations.begin(*planned(a_stop()))


def test_times_are_exact_to_the_microsecond_and_never_naive() -> None:
    moment = NOW.replace(microsecond=123457)
    assert moment_of(stored(moment)) == moment
    with pytest.raises(ValueError, match="names no time zone"):
        stored(moment.replace(tzinfo=None))


async def test_the_durable_settings_are_on(store: Store, url: str) -> None:
    async with store.database.transaction() as connection:
        found = {
            name: await connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers", "busy_timeout")
        }
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "recursive_triggers": 1,
        "busy_timeout": 5000,
    }


async def test_a_file_that_another_program_holds_open_can_still_be_read(store: Store, tmp_path: Path) -> None:
    await store.operations.begin(*planned(a_stop()))
    outside = sqlite3.connect(tmp_path / "data" / "tml-bot.db")
    assert outside.execute("SELECT id FROM operations").fetchall() == [("op-000001",)]
    outside.close()


async def test_closing_sees_to_its_end_what_has_begun_and_begins_nothing_more(url: str) -> None:
    async def write(database: Database, going: asyncio.Event) -> None:
        async with database.transaction() as connection:
            going.set()
            await asyncio.sleep(0.05)
            await connection.execute(text("CREATE TABLE late (one INTEGER)"))

    async with open_database(url) as database:
        begun = asyncio.Event()
        first, second = (asyncio.create_task(write(database, begun)) for _ in range(2))
        await begun.wait()
    await first
    with pytest.raises(StorageError, match="closed"):
        await second
    with pytest.raises(StorageError, match="closed"):
        async with database.reading():
            pytest.fail("a closed database was read")
    async with open_database(url) as again, again.reading() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM late"))).scalar_one() == 0
