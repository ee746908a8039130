"""Operations and their journal, messages, proposals and the audit log.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TRIGGERS = (
    """CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: no entry is changed'); END""",
    """CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: no entry is deleted'); END""",
    # INSERT OR REPLACE deletes the row in its way, past the DELETE trigger unless recursive_triggers is on
    """CREATE TRIGGER audit_only_grows BEFORE INSERT ON audit
    WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM audit)
      OR EXISTS (SELECT 1 FROM audit WHERE prev_hash = NEW.prev_hash OR hash = NEW.hash)
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: an entry comes after the newest one'); END""",
    """CREATE TRIGGER audit_head_only_advances BEFORE UPDATE ON audit_head WHEN NEW.seq <> OLD.seq + 1
    BEGIN SELECT RAISE(ABORT, 'the head of the audit log moves on by one entry'); END""",
    """CREATE TRIGGER audit_head_is_never_deleted BEFORE DELETE ON audit_head
    BEGIN SELECT RAISE(ABORT, 'the head of the audit log is never deleted'); END""",
    """CREATE TRIGGER audit_head_is_single BEFORE INSERT ON audit_head WHEN EXISTS (SELECT 1 FROM audit_head)
    BEGIN SELECT RAISE(ABORT, 'the audit log has one head'); END""",
)


def upgrade() -> None:
    op.create_table(
        "operations",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("cluster", sa.Text, nullable=False),
        sa.Column("context", sa.Text, nullable=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("requester_team", sa.Text, nullable=False),
        sa.Column("requester_user", sa.Text, nullable=False),
        sa.Column("place_team", sa.Text, nullable=False),
        sa.Column("place_channel", sa.Text, nullable=False),
        sa.Column("place_ts", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("command", sa.Text, nullable=False),
        sa.Column("goal", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("executor", sa.Text),
        sa.Column("waves", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("begun_at", sa.BigInteger, nullable=False),
        sa.Column("phase_begun_at", sa.BigInteger),
        sa.Column("slow_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("late_at", sa.BigInteger),
        sa.Column("outcome", sa.Text),
        sa.Column("expected", sa.Integer),
        sa.Column("phase_limit", sa.Integer),
        sa.CheckConstraint("state IN ('running', 'done', 'failed')", name="operations_state"),
        sa.CheckConstraint("(state = 'running') = (ended_at IS NULL)", name="operations_ended"),
        sa.CheckConstraint("(state = 'running') = (outcome IS NULL)", name="operations_outcome"),
        sa.CheckConstraint("late_at IS NULL OR state = 'failed'", name="operations_late"),
        sa.CheckConstraint("epoch >= 0", name="operations_epoch"),
    )
    op.create_index(
        "one_running_per_cluster", "operations", ["cluster"], unique=True, sqlite_where=sa.text("state = 'running'")
    )
    op.create_index(
        "one_running_per_target",
        "operations",
        ["context", "namespace"],
        unique=True,
        sqlite_where=sa.text("state = 'running'"),
    )
    op.create_index("operations_of_a_cluster", "operations", ["cluster", "number"])

    op.create_table(
        "steps",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("operation", sa.Text, sa.ForeignKey("operations.id"), nullable=False),
        sa.Column("step_key", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("replicas", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("last_failure", sa.Text),
        sa.UniqueConstraint("operation", "step_key", name="steps_once"),
        sa.CheckConstraint("attempts > 0", name="steps_attempts"),
    )

    op.create_table(
        "arrivals",
        sa.Column("operation", sa.Text, sa.ForeignKey("operations.id"), primary_key=True),
        sa.Column("phase", sa.Text, primary_key=True),
        sa.Column("workload", sa.Text, primary_key=True),
    )

    op.create_table(
        "exits",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("operation", sa.Text, sa.ForeignKey("operations.id"), nullable=False),
        sa.Column("pod", sa.Text, nullable=False),
        sa.Column("pod_uid", sa.Text, nullable=False),
        sa.Column("container", sa.Text, nullable=False),
        sa.Column("code", sa.Integer, nullable=False),
        sa.UniqueConstraint("operation", "pod_uid", "container", name="exits_once"),
    )

    op.create_table(
        "messages",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("entry", sa.Text, primary_key=True),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("wanted_version", sa.Integer, nullable=False),
        sa.Column("posted_version", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("team", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("ts", sa.Text),
        sa.CheckConstraint("posted_version >= 0 AND posted_version <= wanted_version", name="messages_versions"),
    )
    op.create_index("messages_due", "messages", ["subject"], sqlite_where=sa.text("wanted_version > posted_version"))
    op.create_index("messages_by_place", "messages", ["channel", "ts"])

    op.create_table(
        "proposals",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("cluster", sa.Text, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("requester_team", sa.Text, nullable=False),
        sa.Column("requester_user", sa.Text, nullable=False),
        sa.Column("place_team", sa.Text, nullable=False),
        sa.Column("place_channel", sa.Text, nullable=False),
        sa.Column("place_ts", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("decided_at", sa.BigInteger),
        sa.Column(
            "operation", sa.Text, sa.ForeignKey("operations.id", deferrable=True, initially="DEFERRED"), unique=True
        ),
        sa.CheckConstraint("state IN ('open', 'accepted', 'dismissed', 'expired', 'void')", name="proposals_state"),
        sa.CheckConstraint("(state = 'open') = (decided_at IS NULL)", name="proposals_decided"),
        sa.CheckConstraint("(state = 'accepted') = (operation IS NOT NULL)", name="proposals_operation"),
    )

    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("actor_team", sa.Text),
        sa.Column("actor_user", sa.Text),
        sa.Column("cluster", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("place_team", sa.Text),
        sa.Column("place_channel", sa.Text),
        sa.Column("place_ts", sa.Text),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("prev_hash", sa.Text, nullable=False, unique=True),
        sa.Column("hash", sa.Text, nullable=False, unique=True),
    )
    op.create_index("audit_of_a_subject", "audit", ["subject", "seq"])
    op.create_index("audit_of_a_cluster", "audit", ["cluster", "seq"])

    op.create_table(
        "audit_head",
        sa.Column("single", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.CheckConstraint("single = 1", name="audit_head_single"),
    )
    for trigger in TRIGGERS:
        op.execute(trigger)
