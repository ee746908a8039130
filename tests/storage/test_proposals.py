"""A yes counts once, in time, and from the person who was asked."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from lifecycle.errors import ClusterBusy, Refused
from lifecycle.model import Person, Verb
from lifecycle.operation import Operation
from storage.ids import IdTaken
from storage.proposals import (
    AlreadyDecided,
    NoSuchProposal,
    NotYours,
    Proposal,
    ProposalExpired,
    ProposalState,
)
from tests.fakes.values import ALICE, NOW, OPS, planned
from tests.storage.conftest import Store, a_stop

BOB = Person("T0TML", "U0BOB")
ELSEWHERE = Person("T0ELSE", "U0ALICE")
OFFER = Proposal(
    id="pr-000001",
    verb=Verb.STOP,
    cluster="prod",
    options={"text": "stop prod"},
    digest="d" * 64,
    requester=ALICE,
    place=OPS,
    reason="patching",
    made_at=NOW,
    expires_at=NOW + timedelta(minutes=10),
)


@pytest.fixture
async def offered(store: Store) -> Store:
    await store.proposals.make(OFFER)
    return store


async def test_a_proposal_comes_back_as_it_was_made(offered: Store) -> None:
    assert await offered.proposals.get(OFFER.id) == OFFER
    (entry,) = await offered.audit.entries(kinds=["proposed"])
    assert (entry.actor, entry.subject, entry.data["digest"]) == (ALICE, OFFER.id, OFFER.digest)
    with pytest.raises(NoSuchProposal):
        await offered.proposals.get("pr-zzzzzz")
    with pytest.raises(IdTaken):
        await offered.proposals.make(OFFER)


async def test_the_yes_begins_the_operation(offered: Store) -> None:
    operation = await offered.proposals.accept(OFFER.id, ALICE, *planned(a_stop()))
    assert await offered.operations.running_on("prod") == operation
    accepted = await offered.proposals.get(OFFER.id)
    assert (accepted.state, accepted.operation, accepted.decided_at) == (ProposalState.ACCEPTED, operation.id, NOW)
    found = [entry.kind for entry in await offered.audit.entries(newest_first=False)]
    assert found == ["genesis", "proposed", "begun", "proposal-accepted"]


async def test_a_double_press_in_two_processes_begins_one_operation(offered: Store, other: Store) -> None:
    outcomes = await asyncio.gather(
        offered.proposals.accept(OFFER.id, ALICE, *planned(a_stop("op-000001"))),
        other.proposals.accept(OFFER.id, ALICE, *planned(a_stop("op-000002"))),
        return_exceptions=True,
    )
    (won,) = [outcome for outcome in outcomes if isinstance(outcome, Operation)]
    (lost,) = [outcome for outcome in outcomes if isinstance(outcome, AlreadyDecided)]
    assert lost.proposal.operation == won.id
    assert won.id in str(lost)
    assert await offered.operations.history() == (won,)


@pytest.mark.parametrize("person", [BOB, ELSEWHERE])
async def test_only_the_person_who_asked_may_answer(offered: Store, person: Person) -> None:
    with pytest.raises(NotYours):
        await offered.proposals.accept(OFFER.id, person, *planned(a_stop()))
    with pytest.raises(NotYours):
        await offered.proposals.dismiss(OFFER.id, person)
    assert await offered.proposals.get(OFFER.id) == OFFER
    assert await offered.operations.history() == ()


async def test_a_yes_after_its_time_begins_nothing(offered: Store) -> None:
    offered.clock.advance(600)
    with pytest.raises(ProposalExpired):
        await offered.proposals.accept(OFFER.id, ALICE, *planned(a_stop()))
    (expired,) = await offered.proposals.expire_due()
    assert (expired.id, expired.state) == (OFFER.id, ProposalState.EXPIRED)
    assert await offered.proposals.expire_due() == ()
    with pytest.raises(ProposalExpired):
        await offered.proposals.accept(OFFER.id, ALICE, *planned(a_stop()))
    assert await offered.operations.history() == ()


async def test_a_proposal_is_open_only_to_the_person_who_asked_and_while_it_lasts(offered: Store) -> None:
    assert await offered.proposals.open_to(OFFER.id, ALICE) == OFFER
    with pytest.raises(NotYours):
        await offered.proposals.open_to(OFFER.id, BOB)
    with pytest.raises(NoSuchProposal):
        await offered.proposals.open_to("pr-zzzzzz", ALICE)
    offered.clock.advance(600)
    with pytest.raises(ProposalExpired):
        await offered.proposals.open_to(OFFER.id, ALICE)
    await offered.proposals.expire_due()
    offered.clock.advance(-600)
    with pytest.raises(ProposalExpired):
        await offered.proposals.accept(OFFER.id, ALICE, *planned(a_stop()))


async def test_a_clock_that_jumps_back_revives_nothing(offered: Store) -> None:
    offered.clock.advance(600)
    with pytest.raises(ProposalExpired):
        await offered.proposals.accept(OFFER.id, ALICE, *planned(a_stop()))
    await offered.proposals.expire_due()
    offered.clock.advance(-300)
    with pytest.raises(ProposalExpired):
        await offered.proposals.accept(OFFER.id, ALICE, *planned(a_stop()))


async def test_what_is_not_due_does_not_expire(offered: Store) -> None:
    offered.clock.advance(599)
    assert await offered.proposals.expire_due() == ()
    await offered.proposals.accept(OFFER.id, ALICE, *planned(a_stop()))


async def test_a_no_ends_it(offered: Store) -> None:
    dismissed = await offered.proposals.dismiss(OFFER.id, ALICE)
    assert dismissed.state is ProposalState.DISMISSED
    for answer in (
        offered.proposals.accept(OFFER.id, ALICE, *planned(a_stop())),
        offered.proposals.dismiss(OFFER.id, ALICE),
    ):
        with pytest.raises(AlreadyDecided, match="dismissed already: nothing was done"):
            await answer
    assert not await offered.proposals.void(OFFER.id, ALICE)
    assert await offered.operations.history() == ()


async def test_a_proposal_whose_cluster_changed_is_void(offered: Store) -> None:
    assert await offered.proposals.void(OFFER.id, ALICE)
    with pytest.raises(AlreadyDecided, match="made void already"):
        await offered.proposals.accept(OFFER.id, ALICE, *planned(a_stop()))
    (entry,) = await offered.audit.entries(kinds=["proposal-void"])
    assert entry.actor == ALICE


async def test_a_yes_on_a_busy_cluster_leaves_the_proposal_open(offered: Store) -> None:
    running = await offered.taken(a_stop("op-000009"))
    with pytest.raises(ClusterBusy) as refused:
        await offered.proposals.accept(OFFER.id, ALICE, *planned(a_stop()))
    assert refused.value.operation == running.id
    assert await offered.proposals.get(OFFER.id) == OFFER


async def test_a_yes_with_an_id_that_is_taken_can_be_given_again(offered: Store) -> None:
    elsewhere = replace(a_stop(), cluster="staging", target=replace(a_stop().target, namespace="other"))
    await offered.operations.begin(*planned(elsewhere))
    with pytest.raises(IdTaken):
        await offered.proposals.accept(OFFER.id, ALICE, *planned(a_stop()))
    assert (await offered.proposals.accept(OFFER.id, ALICE, *planned(a_stop("op-000002")))).id == "op-000002"


async def test_an_answer_to_what_is_not_known_is_refused_and_audited(store: Store) -> None:
    with pytest.raises(Refused):
        await store.proposals.accept("pr-zzzzzz", ALICE, *planned(a_stop()))
    with pytest.raises(NoSuchProposal):
        await store.proposals.dismiss("pr-zzzzzz", ALICE)


async def test_a_naive_expiry_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="names no time zone"):
        await store.proposals.make(replace(OFFER, expires_at=NOW.replace(tzinfo=None)))
