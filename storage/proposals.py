"""Proposals: a card with two buttons that waits for the yes of the person who asked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from lifecycle.approval import NEEDS_APPROVAL
from lifecycle.errors import Refused
from lifecycle.model import Person, Place, Verb
from lifecycle.operation import Operation
from lifecycle.plain import canonical, to_plain
from lifecycle.plan import Plan
from lifecycle.ports import Clock
from storage.audit import Entry, append, moment
from storage.database import Database
from storage.ids import IdTaken
from storage.moments import moment_of, perhaps, stored
from storage.operations import begin_in
from storage.tables import proposals


class ProposalState(StrEnum):
    """OPEN is the only one that can be left."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DISMISSED = "dismissed"
    EXPIRED = "expired"
    VOID = "void"


@dataclass(frozen=True)
class Proposal:
    """What was proposed to whom; ``options`` are plain JSON data, ``operation`` is what came of a yes."""

    id: str
    verb: Verb
    cluster: str
    options: Mapping[str, Any]
    digest: str
    requester: Person
    place: Place
    reason: str
    made_at: datetime
    expires_at: datetime
    state: ProposalState = ProposalState.OPEN
    decided_at: datetime | None = None
    operation: str | None = None

    def is_open_at(self, moment: datetime) -> bool:
        return self.state is ProposalState.OPEN and moment < self.expires_at


class NoSuchProposal(Refused):
    """The button's id is not, or no longer, known."""

    code = "no-such-proposal"

    def __init__(self, proposal_id: str) -> None:
        super().__init__(f"There is no proposal {proposal_id} here. Type the command again.")


class NotYours(Refused):
    """Only the person who asked may answer."""

    code = "not-yours"

    def __init__(self, proposal: Proposal) -> None:
        line = f"/tml {proposal.verb} {proposal.cluster}"
        super().__init__(f"{proposal.id} was asked for by somebody else. Type `{line}` yourself.")


class ProposalExpired(Refused):
    """The cluster may have changed since the plan was shown."""

    code = "proposal-expired"

    def __init__(self, proposal: Proposal) -> None:
        line = f"/tml {proposal.verb} {proposal.cluster}"
        super().__init__(f"{proposal.id} has expired, nothing was done. Type `{line}` again for the plan as of now.")


class AlreadyDecided(Refused):
    """It was answered before, or a double press; ``proposal.operation`` is what came of it."""

    code = "already-decided"

    def __init__(self, proposal: Proposal) -> None:
        came = f"it became {proposal.operation}" if proposal.operation else "nothing was done"
        super().__init__(f"{proposal.id} was {_SAID[proposal.state]} already: {came}.")
        self.proposal = proposal


_SAID = {
    ProposalState.ACCEPTED: "accepted",
    ProposalState.DISMISSED: "dismissed",
    ProposalState.VOID: "made void",
}


class Proposals:
    """The table of proposals. Every decision is in the audit log."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def make(self, proposal: Proposal) -> None:
        """Raises IdTaken: make it again with another id."""
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            statement = insert(proposals).values(**_columns(proposal)).on_conflict_do_nothing()
            if not (await connection.execute(statement)).rowcount:
                raise IdTaken(proposal.id)
            await append(connection, _entry(proposal, "proposed", proposal.requester, _proposed(proposal)), at)

    async def get(self, proposal_id: str) -> Proposal:
        """The proposal, open or decided. Raises NoSuchProposal."""
        async with self._database.reading() as connection:
            proposal = await _find(connection, proposal_id)
        if proposal is None:
            raise NoSuchProposal(proposal_id)
        return proposal

    async def open_to(self, proposal_id: str, person: Person) -> Proposal:
        """The proposal, while it waits for this person's answer: looked at before the answer is worked out.

        Raises NoSuchProposal, NotYours, AlreadyDecided and ProposalExpired.
        """
        async with self._database.reading() as connection:
            at = await moment(connection, self._clock)
            proposal = await _find(connection, proposal_id)
        if proposal and proposal.requester == person and proposal.is_open_at(at):
            return proposal
        raise _why_not(proposal_id, proposal, person)

    async def accept(self, proposal_id: str, person: Person, begin: Operation, plan: Plan) -> Operation:
        """Begin the operation, together with the decision or not at all; returns it as it is stored.

        Raises NoSuchProposal, NotYours, AlreadyDecided, ProposalExpired, ClusterBusy and IdTaken; after the last two
        the proposal is as open as before. Whoever answers the person records the refusal. ValueError for a verb that
        one person's yes is not enough for.
        """
        if begin.verb in NEEDS_APPROVAL:
            raise ValueError(f"{begin.verb} takes a second person")
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            proposal = await self._decide(connection, proposal_id, person, ProposalState.ACCEPTED, at, begin.id)
            operation = await begin_in(connection, begin, at, plan)
            await append(connection, _entry(proposal, "proposal-accepted", person, {"operation": begin.id}), at)
            return operation

    async def dismiss(self, proposal_id: str, person: Person) -> Proposal:
        """The no. Raises NoSuchProposal, NotYours, AlreadyDecided and ProposalExpired."""
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            proposal = await self._decide(connection, proposal_id, person, ProposalState.DISMISSED, at)
            await append(connection, _entry(proposal, "proposal-dismissed", person, {}), at)
            return proposal

    async def void(self, proposal_id: str, person: Person | None = None) -> bool:
        """The plan is not what it was any more, as it was seen when ``person`` answered. False when it is not open."""
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            if not await _leave_open(connection, proposal_id, ProposalState.VOID, at):
                return False
            proposal = await _existing(connection, proposal_id)
            await append(connection, _entry(proposal, "proposal-void", person, {}), at)
            return True

    async def expire_due(self) -> tuple[Proposal, ...]:
        """Close those whose time is over, and return them."""
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            due = select(proposals.c.id).where(proposals.c.state == ProposalState.OPEN.value)
            ids = (await connection.execute(due.where(proposals.c.expires_at <= stored(at)))).scalars().all()
            return tuple([await _expire(connection, proposal_id, at) for proposal_id in ids])

    async def _decide(
        self,
        connection: AsyncConnection,
        proposal_id: str,
        person: Person,
        state: ProposalState,
        at: datetime,
        operation: str | None = None,
    ) -> Proposal:
        mine = (
            proposals.c.expires_at > stored(at),
            proposals.c.requester_team == person.team,
            proposals.c.requester_user == person.user,
        )
        if not await _leave_open(connection, proposal_id, state, at, *mine, operation=operation):
            raise _why_not(proposal_id, await _find(connection, proposal_id), person)
        return await _existing(connection, proposal_id)


async def _leave_open(
    connection: AsyncConnection,
    proposal_id: str,
    state: ProposalState,
    at: datetime,
    *only_if: Any,
    operation: str | None = None,
) -> bool:
    """Compare-and-swap: of two decisions on one proposal the first stands."""
    statement = update(proposals).where(
        proposals.c.id == proposal_id, proposals.c.state == ProposalState.OPEN.value, *only_if
    )
    decided = {"state": state.value, "decided_at": stored(at), "operation": operation}
    return bool((await connection.execute(statement.values(**decided))).rowcount)


async def _expire(connection: AsyncConnection, proposal_id: str, at: datetime) -> Proposal:
    await _leave_open(connection, proposal_id, ProposalState.EXPIRED, at)
    proposal = await _existing(connection, proposal_id)
    await append(connection, _entry(proposal, "proposal-expired", None, {}), at)
    return proposal


async def _find(connection: AsyncConnection, proposal_id: str) -> Proposal | None:
    row = (await connection.execute(select(proposals).where(proposals.c.id == proposal_id))).one_or_none()
    return None if row is None else _proposal(row)


async def _existing(connection: AsyncConnection, proposal_id: str) -> Proposal:
    return _proposal((await connection.execute(select(proposals).where(proposals.c.id == proposal_id))).one())


def _why_not(proposal_id: str, proposal: Proposal | None, person: Person) -> Refused:
    if proposal is None:
        return NoSuchProposal(proposal_id)
    if proposal.requester != person:
        return NotYours(proposal)
    if proposal.state in (ProposalState.OPEN, ProposalState.EXPIRED):
        return ProposalExpired(proposal)
    return AlreadyDecided(proposal)


def _entry(proposal: Proposal, kind: str, actor: Person | None, data: Mapping[str, Any]) -> Entry:
    return Entry(kind, actor, proposal.cluster, proposal.id, proposal.place, data)


def _proposed(proposal: Proposal) -> dict[str, Any]:
    return {
        "verb": proposal.verb,
        "options": proposal.options,
        "reason": proposal.reason,
        "digest": proposal.digest,
        "expires_at": proposal.expires_at,
    }


def _columns(proposal: Proposal) -> dict[str, Any]:
    """The row of a new proposal."""
    return {
        "id": proposal.id,
        "verb": proposal.verb.value,
        "cluster": proposal.cluster,
        "options": canonical(to_plain(proposal.options)),
        "digest": proposal.digest,
        "requester_team": proposal.requester.team,
        "requester_user": proposal.requester.user,
        "place_team": proposal.place.team,
        "place_channel": proposal.place.channel,
        "place_ts": proposal.place.ts,
        "reason": proposal.reason,
        "made_at": stored(proposal.made_at),
        "expires_at": stored(proposal.expires_at),
        "state": ProposalState.OPEN.value,
    }


def _proposal(row: Row[Any]) -> Proposal:
    return Proposal(
        id=row.id,
        verb=Verb(row.verb),
        cluster=row.cluster,
        options=json.loads(row.options),
        digest=row.digest,
        requester=Person(row.requester_team, row.requester_user),
        place=Place(row.place_team, row.place_channel, row.place_ts),
        reason=row.reason,
        made_at=moment_of(row.made_at),
        expires_at=moment_of(row.expires_at),
        state=ProposalState(row.state),
        decided_at=perhaps(row.decided_at),
        operation=row.operation,
    )
