"""The chain holds, and what breaks it is named."""

import asyncio
import hashlib
import sqlite3
from itertools import pairwise
from pathlib import Path

import pytest

from lifecycle.model import Place
from lifecycle.plain import canonical, rfc3339, to_plain
from storage.audit import Entry, append
from storage.database import StorageError
from tests.fakes.values import ALICE, NOW, OPS
from tests.storage.conftest import Store

TRIGGERS = (
    "audit_is_never_changed",
    "audit_is_never_deleted",
    "audit_only_grows",
    "audit_head_only_advances",
    "audit_head_is_never_deleted",
    "audit_head_is_single",
)
COPY = "SELECT at, kind, 'T', 'U', cluster, subject, 'T', 'C', NULL, data, hash, 'h' FROM audit WHERE seq = 6"


@pytest.fixture
async def chain(store: Store) -> Store:
    """The genesis entry and five more."""
    for number in range(5):
        await store.audit.record(Entry("x", ALICE, "prod", f"op-{number}", OPS, {"number": number, "é": None}))
    return store


def tamper(tmp_path: Path, *statements: str) -> None:
    """As somebody with access to the file would."""
    file = sqlite3.connect(tmp_path / "data" / "tml-bot.db")
    for trigger in TRIGGERS:
        file.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        assert file.execute(statement).rowcount > 0, statement
    file.commit()
    file.close()


async def test_an_untouched_log_is_well_and_begins_with_its_genesis(chain: Store) -> None:
    assert await chain.audit.verify() is None
    entries = await chain.audit.entries(newest_first=False)
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert entries[0].kind == "genesis"
    assert all(after.prev_hash == before.hash for before, after in pairwise(entries))
    head = await chain.audit.head()
    assert head is not None
    assert (head.seq, head.hash) == (6, entries[-1].hash)


@pytest.mark.parametrize(
    ("statements", "seq", "wrong"),
    [
        (["UPDATE audit SET data = '{}' WHERE seq = 3"], 3, "changed"),
        (["UPDATE audit SET data = '{\"number\": 1,\"é\":null}' WHERE seq = 3"], 3, "changed"),
        (["UPDATE audit SET data = 'no JSON' WHERE seq = 3"], 3, "changed"),
        (["UPDATE audit SET actor_user = 'U0BOB' WHERE seq = 3"], 3, "changed"),
        (["UPDATE audit SET place_ts = '1' WHERE seq = 3"], 3, "changed"),
        (["UPDATE audit SET at = at + 1 WHERE seq = 3"], 3, "changed"),
        (["UPDATE audit SET at = 'noon' WHERE seq = 3"], 3, "changed"),
        (["UPDATE audit SET hash = 'x' WHERE seq = 6"], 6, "changed"),
        (["DELETE FROM audit WHERE seq = 3"], 3, "missing"),
        (["DELETE FROM audit WHERE seq = 1"], 1, "missing"),
        (["DELETE FROM audit WHERE seq > 4"], 5, "cut off"),
        (["DELETE FROM audit"], 1, "cut off"),
        (["DELETE FROM audit_head"], 6, "the head is missing"),
        (["UPDATE audit_head SET hash = 'x'"], 6, "exchanged"),
        (["UPDATE audit_head SET seq = 5"], 6, "put in"),
        ([f"INSERT INTO audit {COPY.replace('SELECT', 'SELECT 7,')}"], 7, "changed"),
        ([f"INSERT INTO audit {COPY.replace('SELECT', 'SELECT 0,')}"], 0, "put in"),
        (
            [
                "UPDATE audit SET seq = 99 WHERE seq = 3",
                "UPDATE audit SET seq = 3 WHERE seq = 4",
                "UPDATE audit SET seq = 4 WHERE seq = 99",
            ],
            3,
            "changed",
        ),
    ],
)  # fmt: skip
async def test_verify_names_the_first_bad_entry(
    chain: Store, tmp_path: Path, statements: list[str], seq: int, wrong: str
) -> None:
    tamper(tmp_path, *statements)
    bad = await chain.audit.verify()
    assert bad is not None
    assert bad.seq == seq
    assert wrong in bad.wrong


@pytest.mark.parametrize("keep", [3, 6])
async def test_an_entry_rewritten_with_its_hash_does_not_fit_the_chain(
    chain: Store, tmp_path: Path, store: Store, keep: int
) -> None:
    one = (await chain.audit.entries(newest_first=False))[keep - 1]
    content = {
        "seq": one.seq,
        "at": rfc3339(one.at),
        "kind": "x",
        "actor": {"team": "T", "user": "U"},
        "cluster": "prod",
        "subject": one.subject,
        "place": to_plain(OPS),
        "data": {},
        "prev_hash": one.prev_hash,
    }
    forged = hashlib.sha256(canonical(content).encode()).hexdigest()
    tamper(
        tmp_path,
        f"UPDATE audit SET actor_team='T', actor_user='U', data='{{}}', hash='{forged}' WHERE seq = {keep}",
    )
    bad = await chain.audit.verify()
    assert bad is not None
    assert (bad.seq, "exchanged" in bad.wrong) == ((4, False) if keep == 3 else (6, True))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET data = '{}' WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 3",
        "INSERT OR REPLACE INTO audit SELECT seq, at, 'y', 'T', 'U', '', '', '', '', '', data, 'p', 'h' FROM audit",
        "INSERT OR REPLACE INTO audit SELECT 7, at, 'y', 'T', 'U', '', '', '', '', '', data, prev_hash, 'h' FROM audit",
        "INSERT INTO audit SELECT 9, at, 'y', 'T', 'U', '', '', '', '', '', data, 'p', 'h' FROM audit WHERE seq = 3",
        "INSERT OR REPLACE INTO audit_head SELECT 1, 1, 'h', 0",
        "DELETE FROM audit_head",
        "UPDATE audit_head SET seq = 3",
    ],
)
@pytest.mark.parametrize("recursive", ["ON", "OFF"])
async def test_the_log_refuses_everything_but_the_next_entry(
    chain: Store, tmp_path: Path, statement: str, recursive: str
) -> None:
    file = sqlite3.connect(tmp_path / "data" / "tml-bot.db")
    file.execute(f"PRAGMA recursive_triggers={recursive}")
    with pytest.raises(sqlite3.IntegrityError, match=r"append-only|head"):
        file.execute(statement)
    file.close()
    assert await chain.audit.verify() is None


async def test_a_refused_change_is_a_storage_error(chain: Store) -> None:
    with pytest.raises(StorageError, match="append-only"):
        async with chain.database.transaction() as connection:
            await connection.exec_driver_sql("DELETE FROM audit")


async def test_twenty_writers_in_two_processes_make_one_unbroken_chain(store: Store, other: Store) -> None:
    await asyncio.gather(*(one.audit.record(Entry("x", data={"n": n})) for n in range(10) for one in (store, other)))
    entries = await store.audit.entries(kinds=["x"])
    assert [entry.seq for entry in entries] == list(range(21, 1, -1))
    assert await store.audit.verify() is None


async def test_a_clock_that_jumps_back_does_not_take_the_log_with_it(store: Store) -> None:
    await store.audit.record(Entry("x"))
    store.clock.advance(-3600)
    await store.audit.record(Entry("y"))
    assert {entry.at for entry in await store.audit.entries()} == {NOW}


async def test_a_naive_time_is_refused_and_nothing_is_written(store: Store) -> None:
    with pytest.raises(ValueError, match="names no time zone"):
        async with store.database.transaction() as connection:
            await append(connection, Entry("x"), NOW.replace(tzinfo=None))
    assert await store.audit.head() is None


async def test_data_without_a_canonical_text_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="floating point"):
        await store.audit.record(Entry("x", data={"seconds": 0.5}))
    assert await store.audit.entries() == ()


async def test_entries_are_found_by_subject_cluster_and_kind_page_by_page(chain: Store) -> None:
    await chain.audit.record(Entry("y", None, "staging", None, Place("T", "C", "1.2")))
    log = chain.audit
    assert [entry.seq for entry in await log.entries(subject="op-3")] == [5]
    assert [entry.seq for entry in await log.entries(cluster="prod", limit=2)] == [6, 5]
    assert [entry.seq for entry in await log.entries(cluster="prod", limit=2, before=5)] == [4, 3]
    assert [entry.seq for entry in await log.entries(kinds=["y", "genesis"], newest_first=False)] == [1, 7]
    newest = (await log.entries(limit=1))[0]
    assert (newest.actor, newest.place, newest.at) == (None, Place("T", "C", "1.2"), NOW)
