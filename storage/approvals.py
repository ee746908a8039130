"""Approvals: one open for a cluster and verb, and of two decisions at one moment only the first."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from lifecycle import approval as rules
from lifecycle.approval import (
    OPEN,
    Approval,
    ApprovalState,
    AskedAlready,
    DecidedMeanwhile,
    Decision,
    NoSuchApproval,
    Terms,
)
from lifecycle.model import Person, Place, Target, Verb
from lifecycle.operation import Operation
from lifecycle.plain import canonical, from_plain, to_plain
from lifecycle.plan import Plan
from lifecycle.ports import Clock
from storage.audit import Entry, append, moment
from storage.database import Database
from storage.ids import IdTaken
from storage.messages import tell
from storage.moments import moment_of, perhaps, stored
from storage.operations import begin_in
from storage.tables import approvals, decisions


class Approvals:
    """The tables of approvals and decisions.

    Each method that changes one is one transaction, with its entries in the audit log and its messages wanted anew,
    at the database's time. What it refuses, by the rules of lifecycle.approval or because the id is not known, changes
    nothing; whoever answers the person records the refusal.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def ask(self, approval: Approval) -> Approval:
        """Ask for it, and return it as it is stored: its clock starts here.

        Raises AskedAlready, IdTaken (ask again with another id) and what lifecycle.approval.check raises.
        """
        async with self._database.transaction() as connection:
            return await _ask(connection, approval, await moment(connection, self._clock))

    async def renew(self, approval_id: str, why: str, instead: Approval, person: Person | None = None) -> Approval:
        """Make it void, because what was asked for has changed, and ask for ``instead`` in its place, or neither.

        Raises NoSuchApproval, ApprovalDecided, ApprovalExpired and what ``ask`` raises.
        """
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            await _void(connection, approval_id, why, person, at)
            return await _ask(connection, replace(instead, replaces=approval_id), at)

    async def get(self, approval_id: str) -> Approval:
        """The approval, open or ended. Raises NoSuchApproval."""
        async with self._database.reading() as connection:
            return await _existing(connection, approval_id)

    async def open_on(self, clusters: Collection[str] | None = None) -> tuple[Approval, ...]:
        """Those that are pending, or approved and not carried out, oldest first; of these clusters, None for all."""
        query = _open()
        if clusters is not None:
            query = query.where(approvals.c.cluster.in_(clusters))
        async with self._database.reading() as connection:
            return await _all(connection, query)

    async def open_to(self, approval_id: str, person: Person, *, eligible: bool) -> Approval:
        """The approval, while this person may decide on it: looked at before the name is asked for.

        Raises NoSuchApproval and what lifecycle.approval.check_decider raises.
        """
        async with self._database.reading() as connection:
            found = await _existing(connection, approval_id)
            rules.check_decider(found, person, await moment(connection, self._clock), eligible=eligible)
            return found

    async def approve(
        self, approval_id: str, person: Person, typed: str, *, eligible: bool, reason: str = ""
    ) -> Approval:
        """A yes. Raises NoSuchApproval, DecidedMeanwhile and what lifecycle.approval.approve raises."""
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            before = await _existing(connection, approval_id)
            after = rules.approve(before, person, typed, at, eligible=eligible, reason=reason)
            said = {"reason": reason, "missing": after.missing, "digest": after.digest}
            found = await _change(connection, before, after, _entry(after, "approval-yes", person, said), at)
            if found.state is ApprovalState.APPROVED:
                names = {"approvers": found.approvers, "digest": found.digest, "execute_by": found.execute_by}
                await append(connection, _entry(found, "approval-approved", None, names), at)
            return found

    async def deny(self, approval_id: str, person: Person, *, eligible: bool, reason: str = "") -> Approval:
        """A no. Raises NoSuchApproval, DecidedMeanwhile and what lifecycle.approval.deny raises."""
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            before = await _existing(connection, approval_id)
            after = rules.deny(before, person, at, eligible=eligible, reason=reason)
            found = await _change(
                connection, before, after, _entry(after, "approval-no", person, {"reason": reason}), at
            )
            await append(connection, _entry(found, "approval-denied", None, {"digest": found.digest}), at)
            return found

    async def withdraw(self, approval_id: str, person: Person) -> Approval:
        """Raises NoSuchApproval, DecidedMeanwhile and what lifecycle.approval.withdraw raises."""
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            before = await _existing(connection, approval_id)
            after = rules.withdraw(before, person, at)
            return await _change(connection, before, after, _entry(after, "approval-withdrawn", person, {}), at)

    async def void(self, approval_id: str, why: str, person: Person | None = None) -> Approval:
        """``person`` is who made the bot look. Raises NoSuchApproval, ApprovalDecided and ApprovalExpired."""
        async with self._database.transaction() as connection:
            return await _void(connection, approval_id, why, person, await moment(connection, self._clock))

    async def execute(
        self, approval_id: str, begin: Operation, plan: Plan, *, entitled: Collection[Person]
    ) -> Operation:
        """Begin the operation and set the approval executed, or neither; returns the operation as it is stored.

        ``entitled`` are those who said yes and may approve at this moment. Raises NoSuchApproval, ClusterBusy and
        IdTaken (after both it is as approved as before), and what lifecycle.approval.execute raises.
        """
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            before = await _existing(connection, approval_id)
            after = rules.execute(before, begin, plan.digest, at, entitled=entitled)
            operation = await begin_in(connection, begin, at, plan)
            done = {"operation": operation.id, "approvers": after.approvers, "digest": plan.digest}
            await _change(connection, before, after, _entry(after, "approval-executed", None, done), at)
            return operation

    async def expire_due(self) -> tuple[Approval, ...]:
        """Close those whose clock ran out, and return them."""
        return await self._sweep(rules.expire, "approval-expired", _expired)

    async def remind_due(self) -> tuple[Approval, ...]:
        """Mark those whose approvers are to be reminded, and return them: each once, in whichever process."""
        return await self._sweep(rules.remind, "approval-reminded", _reminded)

    async def escalate_due(self) -> tuple[Approval, ...]:
        """Mark those whose next tier is to be asked, and return them: each tier once, in whichever process."""
        return await self._sweep(rules.escalate, "approval-escalated", _reminded)

    async def _sweep(
        self,
        change: Callable[[Approval, datetime], Approval],
        kind: str,
        data: Callable[[Approval], Mapping[str, Any]],
    ) -> tuple[Approval, ...]:
        async with self._database.transaction() as connection:
            at = await moment(connection, self._clock)
            changed = [(before, change(before, at)) for before in await _all(connection, _open())]
            due = [(before, after) for before, after in changed if after != before]
            return tuple(
                [
                    await _change(connection, before, after, _entry(after, kind, None, data(after)), at)
                    for before, after in due
                ]
            )


async def _ask(connection: AsyncConnection, approval: Approval, at: datetime) -> Approval:
    asked = replace(approval, made_at=at)
    rules.check(asked)
    in_the_way = _open().where(approvals.c.cluster == asked.cluster, approvals.c.verb == asked.verb.value)
    for before in await _all(connection, in_the_way):
        if before.is_overdue(at):
            expired = rules.expire(before, at)
            entry = _entry(expired, "approval-expired", None, _expired(expired))
            await _change(connection, before, expired, entry, at)
    statement = insert(approvals).values(**_columns(asked)).on_conflict_do_nothing()
    if not (await connection.execute(statement)).rowcount:
        raise await _why_not(connection, asked, in_the_way)
    await tell(connection, _entry(asked, "approval-asked", asked.requester, _asked(asked)), at)
    return asked


async def _why_not(connection: AsyncConnection, approval: Approval, in_the_way: Select[Any]) -> Exception:
    found = await _all(connection, in_the_way)
    return AskedAlready(found[0]) if found else IdTaken(approval.id)


async def _void(
    connection: AsyncConnection, approval_id: str, why: str, person: Person | None, at: datetime
) -> Approval:
    before = await _existing(connection, approval_id)
    after = rules.void(before, why, at)
    return await _change(connection, before, after, _entry(after, "approval-void", person, {"why": why}), at)


async def _change(
    connection: AsyncConnection, before: Approval, after: Approval, entry: Entry, at: datetime
) -> Approval:
    """Store what became of it, record it, and let people see it."""
    await swap(connection, before, after)
    await tell(connection, entry, at)
    return await _existing(connection, after.id)


async def swap(connection: AsyncConnection, before: Approval, after: Approval) -> None:
    """Compare-and-swap: the row is changed if it still is what was decided on. Raises DecidedMeanwhile."""
    for decision in after.decisions:
        if decision not in before.decisions:
            await _write_decision(connection, after, decision)
    statement = update(approvals).where(
        approvals.c.id == before.id, approvals.c.state == before.state.value, approvals.c.version == before.version
    )
    values = _progress(after) | {"version": before.version + 1}
    if not (await connection.execute(statement.values(**values))).rowcount:
        raise DecidedMeanwhile(before)


async def _write_decision(connection: AsyncConnection, approval: Approval, decision: Decision) -> None:
    """A veto takes the place of the same person's yes."""
    said = {
        "approver_team": decision.approver.team,
        "yes": decision.yes,
        "at": stored(decision.at),
        "reason": decision.reason,
    }
    statement = insert(decisions).values(approval=approval.id, approver_user=decision.approver.user, **said)
    await connection.execute(statement.on_conflict_do_update(index_elements=["approval", "approver_user"], set_=said))


async def _existing(connection: AsyncConnection, approval_id: str) -> Approval:
    found = await _all(connection, select(approvals).where(approvals.c.id == approval_id))
    if not found:
        raise NoSuchApproval(approval_id)
    return found[0]


async def _all(connection: AsyncConnection, query: Select[Any]) -> tuple[Approval, ...]:
    rows = (await connection.execute(query)).all()
    said = (
        select(decisions)
        .where(decisions.c.approval.in_([row.id for row in rows]))
        .order_by(decisions.c.at, decisions.c.approver_user)
    )
    by_approval: dict[str, list[Decision]] = {}
    for row in await connection.execute(said):
        by_approval.setdefault(row.approval, []).append(_decision(row))
    return tuple(_approval(row, tuple(by_approval.get(row.id, ()))) for row in rows)


def _open() -> Select[Any]:
    states = [state.value for state in sorted(OPEN)]
    return select(approvals).where(approvals.c.state.in_(states)).order_by(approvals.c.number)


def _entry(approval: Approval, kind: str, actor: Person | None, data: Mapping[str, Any]) -> Entry:
    return Entry(kind, actor, approval.cluster, approval.id, approval.place, data)


def _asked(approval: Approval) -> dict[str, Any]:
    return {
        "verb": approval.verb,
        "target": approval.target,
        "reason": approval.reason,
        "command": approval.command,
        "digest": approval.digest,
        "plan": approval.plan,
        "terms": approval.terms,
        "expires_at": approval.expires_at,
        "replaces": approval.replaces,
    }


def _expired(approval: Approval) -> dict[str, Any]:
    return {"approved": approval.approved_at is not None, "digest": approval.digest}


def _reminded(approval: Approval) -> dict[str, Any]:
    """Whom it concerns: the tiers that have been asked so far."""
    return {"approvers": approval.asked, "expires_at": approval.expires_at}


def _columns(approval: Approval) -> dict[str, Any]:
    """The row of a new approval."""
    return {
        "id": approval.id,
        "verb": approval.verb.value,
        "cluster": approval.cluster,
        "context": approval.target.context or "",
        "namespace": approval.target.namespace,
        "requester_team": approval.requester.team,
        "requester_user": approval.requester.user,
        "place_team": approval.place.team,
        "place_channel": approval.place.channel,
        "place_ts": approval.place.ts,
        "reason": approval.reason,
        "command": approval.command,
        "digest": approval.digest,
        "plan": canonical(to_plain(approval.plan)),
        "terms": canonical(to_plain(approval.terms)),
        "needed": approval.terms.needed,
        "made_at": stored(approval.made_at),
        "state": approval.state.value,
        "replaces": approval.replaces,
    }


def _progress(approval: Approval) -> dict[str, Any]:
    """The columns that change."""
    return {
        "state": approval.state.value,
        "escalated": approval.escalated,
        "reminded_at": approval.reminded_at and stored(approval.reminded_at),
        "approved_at": approval.approved_at and stored(approval.approved_at),
        "ended_at": approval.ended_at and stored(approval.ended_at),
        "void_reason": approval.void_reason,
        "operation": approval.operation,
    }


def _decision(row: Row[Any]) -> Decision:
    return Decision(Person(row.approver_team, row.approver_user), row.yes, moment_of(row.at), row.reason)


def _approval(row: Row[Any], said: tuple[Decision, ...]) -> Approval:
    return Approval(
        id=row.id,
        verb=Verb(row.verb),
        cluster=row.cluster,
        target=Target(row.context or None, row.namespace),
        requester=Person(row.requester_team, row.requester_user),
        place=Place(row.place_team, row.place_channel, row.place_ts),
        reason=row.reason,
        command=row.command,
        digest=row.digest,
        plan=json.loads(row.plan),
        terms=from_plain(Terms, json.loads(row.terms)),
        made_at=moment_of(row.made_at),
        state=ApprovalState(row.state),
        decisions=said,
        escalated=row.escalated,
        reminded_at=perhaps(row.reminded_at),
        approved_at=perhaps(row.approved_at),
        ended_at=perhaps(row.ended_at),
        void_reason=row.void_reason,
        replaces=row.replaces,
        operation=row.operation,
        version=row.version,
    )
