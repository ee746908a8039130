"""The tables. What is promised to people is an index, a check or a trigger here, not a habit of the code.

Times are integer microseconds UTC; ``goal``, ``outcome``, ``options``, ``plan``, ``terms``, ``content`` and ``data``
are canonical JSON text.
"""

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

metadata = MetaData()

operations = Table(
    "operations",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),  # the order in which they began
    Column("id", Text, nullable=False, unique=True),
    Column("verb", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("context", Text, nullable=False),  # '' is in-cluster: NULLs would be different from each other in an index
    Column("namespace", Text, nullable=False),
    Column("requester_team", Text, nullable=False),
    Column("requester_user", Text, nullable=False),
    Column("place_team", Text, nullable=False),
    Column("place_channel", Text, nullable=False),
    Column("place_ts", Text),
    Column("reason", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("goal", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("executor", Text),
    Column("waves", Integer, nullable=False, server_default=text("0")),
    Column("begun_at", BigInteger, nullable=False),
    Column("phase_begun_at", BigInteger),
    Column("slow_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("late_at", BigInteger),
    Column("outcome", Text),
    Column("expected", Integer),
    Column("phase_limits", Text, nullable=False, server_default=text("'{}'")),  # seconds by phase
    Column("failure", Text),  # why it failed, while it brings back up what it took down
    Column("cancelled_at", BigInteger),  # from here on no step is recorded but those of the way back
    Column("cancelled_by_team", Text),
    Column("cancelled_by_user", Text),
    Column("cancel_reason", Text, nullable=False, server_default=text("''")),
    CheckConstraint("state IN ('running', 'done', 'failed')", name="operations_state"),
    CheckConstraint("(state = 'running') = (ended_at IS NULL)", name="operations_ended"),
    CheckConstraint("(state = 'running') = (outcome IS NULL)", name="operations_outcome"),
    CheckConstraint("late_at IS NULL OR state = 'failed'", name="operations_late"),
    CheckConstraint("epoch >= 0", name="operations_epoch"),
)
Index("one_running_per_cluster", operations.c.cluster, unique=True, sqlite_where=operations.c.state == "running")
Index(
    "one_running_per_target",
    operations.c.context,
    operations.c.namespace,
    unique=True,
    sqlite_where=operations.c.state == "running",
)
Index("operations_of_a_cluster", operations.c.cluster, operations.c.number)

steps = Table(
    "steps",
    metadata,
    Column("number", Integer, primary_key=True),  # the order in which they were first written down
    Column("operation", Text, ForeignKey("operations.id"), nullable=False),
    Column("step_key", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("uid", Text, nullable=False),
    Column("replicas", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("result", Text),
    Column("last_failure", Text),  # kept over attempts, so that the same one is told once
    UniqueConstraint("operation", "step_key", name="steps_once"),
    CheckConstraint("attempts > 0", name="steps_attempts"),
)

arrivals = Table(
    "arrivals",
    metadata,
    Column("operation", Text, ForeignKey("operations.id"), primary_key=True),
    Column("phase", Text, primary_key=True),
    Column("object", Text, primary_key=True),
)

exits = Table(
    "exits",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("operation", Text, ForeignKey("operations.id"), nullable=False),
    Column("pod", Text, nullable=False),
    Column("pod_uid", Text, nullable=False),
    Column("container", Text, nullable=False),
    Column("code", Integer, nullable=False),
    UniqueConstraint("operation", "pod_uid", "container", name="exits_once"),
)

messages = Table(
    "messages",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("entry", Text, primary_key=True),  # 'live', or the audit entry's seq as text
    Column("seq", Integer, nullable=False),  # the same as a number, 0 for 'live': the order in the thread
    Column("wanted_version", Integer, nullable=False),
    Column("posted_version", Integer, nullable=False, server_default=text("0")),
    Column("team", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("ts", Text),
    CheckConstraint("posted_version >= 0 AND posted_version <= wanted_version", name="messages_versions"),
)
Index("messages_due", messages.c.subject, sqlite_where=messages.c.wanted_version > messages.c.posted_version)
Index("messages_by_place", messages.c.channel, messages.c.ts)

proposals = Table(
    "proposals",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("verb", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("requester_team", Text, nullable=False),
    Column("requester_user", Text, nullable=False),
    Column("place_team", Text, nullable=False),
    Column("place_channel", Text, nullable=False),
    Column("place_ts", Text),
    Column("reason", Text, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("decided_at", BigInteger),
    Column("operation", Text, ForeignKey("operations.id", deferrable=True, initially="DEFERRED"), unique=True),
    CheckConstraint("state IN ('open', 'accepted', 'dismissed', 'expired', 'void')", name="proposals_state"),
    CheckConstraint("(state = 'open') = (decided_at IS NULL)", name="proposals_decided"),
    CheckConstraint("(state = 'accepted') = (operation IS NOT NULL)", name="proposals_operation"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("number", Integer, primary_key=True),  # the order in which they were asked for
    Column("id", Text, nullable=False, unique=True),
    Column("verb", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("context", Text, nullable=False),  # '' is in-cluster, as in operations
    Column("namespace", Text, nullable=False),
    Column("requester_team", Text, nullable=False),
    Column("requester_user", Text, nullable=False),
    Column("place_team", Text, nullable=False),
    Column("place_channel", Text, nullable=False),
    Column("place_ts", Text),
    Column("reason", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("terms", Text, nullable=False),
    Column("needed", Integer, nullable=False),  # the same as in the terms, for the trigger
    Column("made_at", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("escalated", Integer, nullable=False, server_default=text("0")),
    Column("reminded_at", BigInteger),
    Column("approved_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("void_reason", Text, nullable=False, server_default=text("''")),
    Column("replaces", Text, ForeignKey("approvals.id")),
    Column("operation", Text, ForeignKey("operations.id"), unique=True),
    Column("version", Integer, nullable=False, server_default=text("0")),
    CheckConstraint(
        "state IN ('pending', 'approved', 'denied', 'expired', 'withdrawn', 'void', 'executed')",
        name="approvals_state",
    ),
    CheckConstraint("needed > 0", name="approvals_needed"),
    CheckConstraint("(state IN ('pending', 'approved')) = (ended_at IS NULL)", name="approvals_ended"),
    CheckConstraint("state <> 'pending' OR approved_at IS NULL", name="approvals_pending"),
    CheckConstraint("state NOT IN ('approved', 'executed') OR approved_at IS NOT NULL", name="approvals_approved"),
    CheckConstraint("(state = 'executed') = (operation IS NOT NULL)", name="approvals_operation"),
)
Index(
    "one_open_approval",
    approvals.c.cluster,
    approvals.c.verb,
    unique=True,
    sqlite_where=text("state IN ('pending', 'approved')"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("approval", Text, ForeignKey("approvals.id"), primary_key=True),
    Column("approver_user", Text, primary_key=True),  # alone: see lifecycle.approval.is_same
    Column("approver_team", Text, nullable=False),
    Column("yes", Boolean, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)

snapshot_sets = Table(
    "snapshot_sets",
    metadata,
    Column("operation", Text, ForeignKey("operations.id"), primary_key=True),
    Column("cluster", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("verified_at", BigInteger),
    Column("verified_by", Text, ForeignKey("operations.id")),
    Column("verdict", Text),  # of the newest restore test that said something of the data, else of the newest
)
Index("snapshot_sets_of_a_cluster", snapshot_sets.c.cluster)

pins = Table(
    "pins",
    metadata,
    Column("operation", Text, ForeignKey("snapshot_sets.operation"), primary_key=True),
    Column("person_team", Text, nullable=False),
    Column("person_user", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

purged = Table(
    "purged",
    metadata,
    Column("what", Text, primary_key=True),
    Column("operation", Text, ForeignKey("operations.id"), primary_key=True),  # whose set, or whose kept volumes
    Column("purge", Text, ForeignKey("operations.id")),  # NULL: nothing of it was left to purge
    Column("at", BigInteger, nullable=False),
    CheckConstraint("what IN ('set', 'volumes')", name="purged_what"),
)

notices = Table(
    "notices",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("cluster", Text, nullable=False),
    Column("deletion", Text, ForeignKey("operations.id"), nullable=False),  # the operation that kept the volumes
    Column("place_team", Text, nullable=False),
    Column("place_channel", Text, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("held", Text, nullable=False, server_default=text("''")),  # why it did not begin though it was due
    Column("ended_at", BigInteger),
    Column("kept_until", BigInteger),
    Column("person_team", Text),
    Column("person_user", Text),
    Column("operation", Text, ForeignKey("operations.id")),  # the purge
    CheckConstraint("state IN ('open', 'extended', 'begun', 'void')", name="notices_state"),
    CheckConstraint("(state = 'open') = (ended_at IS NULL)", name="notices_ended"),
    CheckConstraint("(state = 'extended') = (kept_until IS NOT NULL)", name="notices_extended"),
    CheckConstraint("(state = 'begun') = (operation IS NOT NULL)", name="notices_begun"),
)
Index("one_open_notice", notices.c.deletion, unique=True, sqlite_where=text("state = 'open'"))
Index("notices_of_a_cluster", notices.c.cluster, notices.c.number)

holds = Table(
    "holds",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("cluster", Text, nullable=False),
    Column("person_team", Text, nullable=False),
    Column("person_user", Text, nullable=False),
    Column("place_team", Text, nullable=False),
    Column("place_channel", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("released_at", BigInteger),
    Column("released_team", Text),
    Column("released_user", Text),
    CheckConstraint("reason <> ''", name="holds_reason"),
    CheckConstraint("(released_at IS NULL) = (released_user IS NULL)", name="holds_released"),
)
Index("one_hold_on_a_cluster", holds.c.cluster, unique=True, sqlite_where=text("released_at IS NULL"))

APPROVAL_TRIGGERS = (
    """CREATE TRIGGER approval_begins_pending BEFORE INSERT ON approvals WHEN NEW.state <> 'pending'
    BEGIN SELECT RAISE(ABORT, 'an approval begins pending'); END""",
    """CREATE TRIGGER approval_ends_once BEFORE UPDATE ON approvals WHEN OLD.ended_at IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'an approval that has ended is never changed'); END""",
    """CREATE TRIGGER approval_is_approved_first BEFORE UPDATE ON approvals
    WHEN NEW.state = 'executed' AND OLD.state <> 'approved'
    BEGIN SELECT RAISE(ABORT, 'only what is approved is executed'); END""",
    """CREATE TRIGGER approval_needs_its_yes BEFORE UPDATE ON approvals
    WHEN NEW.state IN ('approved', 'executed') AND (
      EXISTS (SELECT 1 FROM decisions WHERE approval = OLD.id AND NOT yes)
      OR OLD.needed > (SELECT count(*) FROM decisions WHERE approval = OLD.id AND approver_user <> OLD.requester_user))
    BEGIN SELECT RAISE(ABORT, 'an approval needs the yes of others, and no veto'); END""",
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor_team", Text),
    Column("actor_user", Text),
    Column("cluster", Text),
    Column("subject", Text),
    Column("place_team", Text),
    Column("place_channel", Text),
    Column("place_ts", Text),
    Column("data", Text, nullable=False),
    Column("prev_hash", Text, nullable=False, unique=True),
    Column("hash", Text, nullable=False, unique=True),
)
Index("audit_of_a_subject", audit.c.subject, audit.c.seq)
Index("audit_of_a_cluster", audit.c.cluster, audit.c.seq)

audit_head = Table(
    "audit_head",
    metadata,
    Column("single", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, nullable=False),
    Column("hash", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    CheckConstraint("single = 1", name="audit_head_single"),
)

AUDIT_TRIGGERS = (
    """CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: no entry is changed'); END""",
    """CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: no entry is deleted'); END""",
    # INSERT OR REPLACE deletes the row in its way, past the DELETE trigger unless recursive_triggers is on
    """CREATE TRIGGER audit_only_grows BEFORE INSERT ON audit
    WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM audit)
      OR EXISTS (SELECT 1 FROM audit WHERE prev_hash = NEW.prev_hash OR hash = NEW.hash)
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: an entry comes after the newest one'); END""",
)
HEAD_TRIGGERS = (
    """CREATE TRIGGER audit_head_only_advances BEFORE UPDATE ON audit_head WHEN NEW.seq <> OLD.seq + 1
    BEGIN SELECT RAISE(ABORT, 'the head of the audit log moves on by one entry'); END""",
    """CREATE TRIGGER audit_head_is_never_deleted BEFORE DELETE ON audit_head
    BEGIN SELECT RAISE(ABORT, 'the head of the audit log is never deleted'); END""",
    """CREATE TRIGGER audit_head_is_single BEFORE INSERT ON audit_head WHEN EXISTS (SELECT 1 FROM audit_head)
    BEGIN SELECT RAISE(ABORT, 'the audit log has one head'); END""",
)

for _table, _triggers in (
    (decisions, APPROVAL_TRIGGERS),  # after both tables that they name
    (audit, AUDIT_TRIGGERS),
    (audit_head, HEAD_TRIGGERS),
):
    for _trigger in _triggers:
        event.listen(_table, "after_create", DDL(_trigger))  # type: ignore[no-untyped-call]  # not annotated there
