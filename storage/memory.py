"""All that the bot remembers."""

from dataclasses import dataclass

from lifecycle.ports import Clock
from storage.approvals import Approvals
from storage.audit import AuditLog
from storage.database import Database
from storage.holds import Holds
from storage.messages import Messages
from storage.operations import Operations
from storage.proposals import Proposals
from storage.retention import Retention
from storage.snapshots import SnapshotSets


@dataclass(frozen=True)
class Memory:
    """One repository per thing, of one database."""

    operations: Operations
    approvals: Approvals
    proposals: Proposals
    messages: Messages
    sets: SnapshotSets
    retention: Retention
    holds: Holds
    audit: AuditLog

    @classmethod
    def of(cls, database: Database, clock: Clock) -> "Memory":
        return cls(
            Operations(database, clock),
            Approvals(database, clock),
            Proposals(database, clock),
            Messages(database),
            SnapshotSets(database),
            Retention(database, clock),
            Holds(database, clock),
            AuditLog(database, clock),
        )
