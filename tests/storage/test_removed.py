"""Which removal a start brings back: the newest that removed something, until something after it brought it back."""

from dataclasses import replace

import pytest

from lifecycle.model import Action, Kind, Ref, Step, Verb
from lifecycle.operation import State
from lifecycle.ports import Result
from tests.storage.conftest import Store, a_stop

DONE, FAILED = State.DONE, State.FAILED
HISTORIES = [
    ([], None),
    ([(Verb.STOP, "down", DONE)], None),
    ([(Verb.REMOVE, "claims", DONE)], 0),
    ([(Verb.REMOVE, "remove", FAILED)], 0),
    ([(Verb.REMOVE, "claims", FAILED)], 0),
    ([(Verb.REMOVE, "down", FAILED)], None),
    ([(Verb.REMOVE, "up-again", FAILED)], None),
    ([(Verb.REMOVE, "claims", DONE), (Verb.RETURN, "up", DONE)], None),
    ([(Verb.REMOVE, "claims", DONE), (Verb.RETURN, "make", FAILED)], 0),
    ([(Verb.REMOVE, "claims", DONE), (Verb.START, "up", DONE)], None),
    ([(Verb.REMOVE, "claims", DONE), (Verb.STOP, "down", DONE)], 0),
    ([(Verb.REMOVE, "claims", DONE), (Verb.RETURN, "up", DONE), (Verb.REMOVE, "remove", FAILED)], 2),
    ([(Verb.REMOVE, "claims", DONE), (Verb.REMOVE, "claims", DONE)], 1),
    ([(Verb.REMOVE, "claims", DONE), (Verb.REMOVE, "up-again", FAILED)], 0),
    ([(Verb.REMOVE, "claims", DONE), (Verb.DELETE, "remove-claims", DONE)], None),
    ([(Verb.REMOVE, "claims", DONE), (Verb.DELETE, "up-again", FAILED)], 0),
    ([(Verb.DELETE, "remove-claims", DONE), (Verb.RESTORE, "give-back", DONE), (Verb.REMOVE, "claims", DONE)], 2),
]


@pytest.mark.parametrize(("history", "newest"), HISTORIES)
async def test_the_removal_that_a_start_brings_back(
    store: Store, history: list[tuple[Verb, str, State]], newest: int | None
) -> None:
    for number, (verb, phase, state) in enumerate(history):
        operation = replace(a_stop(f"op-{number:06}"), verb=verb, phase=phase)
        await store.run(operation, state, 60)
    found = await store.operations.removed("prod")
    assert (found and found.id) == (None if newest is None else f"op-{newest:06}")
    assert await store.operations.removed("staging") is None


async def test_one_that_still_runs_is_none_yet(store: Store) -> None:
    await store.taken(replace(a_stop(), verb=Verb.REMOVE, phase="remove"))
    assert await store.operations.removed("prod") is None


async def test_the_counts_that_it_took_away_are_remembered(store: Store) -> None:
    operation = await store.taken(replace(a_stop(), verb=Verb.REMOVE))
    step = Step(Action.SCALE_TO_ZERO, Ref(Kind.STATEFUL_SET, "cass-set-0"), 1, "uid-1")
    await store.journal.record(operation, [step])
    await store.journal.did(operation, [Result(step, "uid-1")])
    assert await store.operations.remembered_counts("prod") == {step.ref: 1}


async def test_the_capture_that_was_seen_at_a_phases_end_is_in_the_audit_log(store: Store) -> None:
    operation = await store.taken(replace(a_stop(), verb=Verb.REMOVE))
    operation = await store.journal.passed(operation, "capture")
    await store.journal.passed(operation, "remove", "sha256 of it")
    first, second = await store.audit.entries(kinds=["passed"], newest_first=False)
    assert first.data == {"phase": "down", "following": "capture"}
    assert second.data == {"phase": "capture", "following": "remove", "capture": "sha256 of it"}
