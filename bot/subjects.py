"""What is told in Slack: operations, approvals and notices, their messages rendered from the record."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.projector import Subject
from bot.views import approval as approval_views
from bot.views import hold as hold_views
from bot.views import kept as kept_views
from bot.views import operation as operation_views
from bot.views.blocks import Message
from bot.views.thread import thread
from lifecycle.approval import Approval
from lifecycle.hold import Hold
from lifecycle.operation import Operation
from storage.approvals import Approvals
from storage.audit import Recorded
from storage.holds import Holds
from storage.operations import Operations
from storage.retention import Notice, Retention


@dataclass(frozen=True)
class ToldOperation:
    """Implements Subject."""

    operation: Operation

    @property
    def since(self) -> datetime:
        return self.operation.begun_at

    def live(self, entries: Sequence[Recorded]) -> Message:
        return operation_views.live(self.operation, entries)

    def thread(self, entries: Sequence[Recorded]) -> Message | None:
        return thread(self.operation, entries)

    def bare(self) -> Message:
        return operation_views.bare(self.operation)


@dataclass(frozen=True)
class ToldApproval:
    """Implements Subject."""

    approval: Approval

    @property
    def since(self) -> datetime:
        return self.approval.made_at

    def live(self, entries: Sequence[Recorded]) -> Message:
        return approval_views.live(self.approval, entries)

    def thread(self, entries: Sequence[Recorded]) -> Message | None:
        return approval_views.thread(self.approval, entries)

    def bare(self) -> Message:
        return approval_views.bare(self.approval)


@dataclass(frozen=True)
class ToldNotice:
    """Implements Subject."""

    notice: Notice

    @property
    def since(self) -> datetime:
        return self.notice.made_at

    def live(self, entries: Sequence[Recorded]) -> Message:
        return kept_views.notice_live(self.notice, entries)

    def thread(self, entries: Sequence[Recorded]) -> Message | None:
        return kept_views.notice_thread(self.notice, entries)

    def bare(self) -> Message:
        return kept_views.notice_bare(self.notice)


@dataclass(frozen=True)
class ToldHold:
    """Implements Subject."""

    hold: Hold

    @property
    def since(self) -> datetime:
        return self.hold.since

    def live(self, _entries: Sequence[Recorded]) -> Message:
        return hold_views.live(self.hold)

    def thread(self, entries: Sequence[Recorded]) -> Message | None:
        return hold_views.thread(self.hold, entries)

    def bare(self) -> Message:
        return hold_views.live(self.hold)


@dataclass(frozen=True)
class Subjects:
    """Finds what an id stands for: a subject's messages are wanted in the transaction that makes it."""

    operations: Operations
    approvals: Approvals
    retention: Retention
    holds: Holds

    async def find(self, identity: str) -> Subject:
        if identity.startswith("ap-"):
            return ToldApproval(await self.approvals.get(identity))
        if identity.startswith("ho-"):
            return ToldHold(await self.holds.get(identity))
        if identity.startswith("no-"):
            notice = await self.retention.notice(identity)
            assert notice is not None, f"{identity} has messages and no row"
            return ToldNotice(notice)
        operation = await self.operations.get(identity)
        assert operation is not None, f"{identity} has messages and no row"
        return ToldOperation(operation)
