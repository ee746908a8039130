"""Approvals and the decisions on them.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TRIGGERS = (
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


def upgrade() -> None:
    op.create_table(
        "approvals",
        sa.Column("number", sa.Integer, primary_key=True),
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
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("needed", sa.Integer, nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("escalated", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("reminded_at", sa.BigInteger),
        sa.Column("approved_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("void_reason", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("replaces", sa.Text, sa.ForeignKey("approvals.id")),
        sa.Column("operation", sa.Text, sa.ForeignKey("operations.id"), unique=True),
        sa.Column("version", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.CheckConstraint(
            "state IN ('pending', 'approved', 'denied', 'expired', 'withdrawn', 'void', 'executed')",
            name="approvals_state",
        ),
        sa.CheckConstraint("needed > 0", name="approvals_needed"),
        sa.CheckConstraint("(state IN ('pending', 'approved')) = (ended_at IS NULL)", name="approvals_ended"),
        sa.CheckConstraint("state <> 'pending' OR approved_at IS NULL", name="approvals_pending"),
        sa.CheckConstraint(
            "state NOT IN ('approved', 'executed') OR approved_at IS NOT NULL", name="approvals_approved"
        ),
        sa.CheckConstraint("(state = 'executed') = (operation IS NOT NULL)", name="approvals_operation"),
    )
    op.create_index(
        "one_open_approval",
        "approvals",
        ["cluster", "verb"],
        unique=True,
        sqlite_where=sa.text("state IN ('pending', 'approved')"),
    )

    op.create_table(
        "decisions",
        sa.Column("approval", sa.Text, sa.ForeignKey("approvals.id"), primary_key=True),
        sa.Column("approver_user", sa.Text, primary_key=True),
        sa.Column("approver_team", sa.Text, nullable=False),
        sa.Column("yes", sa.Boolean, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    for trigger in TRIGGERS:
        op.execute(trigger)
