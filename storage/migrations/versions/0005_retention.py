"""What is pinned, what was purged, and the notices of what will be.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pins",
        sa.Column("operation", sa.Text, sa.ForeignKey("snapshot_sets.operation"), primary_key=True),
        sa.Column("person_team", sa.Text, nullable=False),
        sa.Column("person_user", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "purged",
        sa.Column("what", sa.Text, primary_key=True),
        sa.Column("operation", sa.Text, sa.ForeignKey("operations.id"), primary_key=True),
        sa.Column("purge", sa.Text, sa.ForeignKey("operations.id")),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.CheckConstraint("what IN ('set', 'volumes')", name="purged_what"),
    )
    op.create_table(
        "notices",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("cluster", sa.Text, nullable=False),
        sa.Column("deletion", sa.Text, sa.ForeignKey("operations.id"), nullable=False),
        sa.Column("place_team", sa.Text, nullable=False),
        sa.Column("place_channel", sa.Text, nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("held", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("kept_until", sa.BigInteger),
        sa.Column("person_team", sa.Text),
        sa.Column("person_user", sa.Text),
        sa.Column("operation", sa.Text, sa.ForeignKey("operations.id")),
        sa.CheckConstraint("state IN ('open', 'extended', 'begun', 'void')", name="notices_state"),
        sa.CheckConstraint("(state = 'open') = (ended_at IS NULL)", name="notices_ended"),
        sa.CheckConstraint("(state = 'extended') = (kept_until IS NOT NULL)", name="notices_extended"),
        sa.CheckConstraint("(state = 'begun') = (operation IS NOT NULL)", name="notices_begun"),
    )
    op.create_index("one_open_notice", "notices", ["deletion"], unique=True, sqlite_where=sa.text("state = 'open'"))
    op.create_index("notices_of_a_cluster", "notices", ["cluster", "number"])
