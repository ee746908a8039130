"""Snapshot sets, with what a restore test said of them.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "snapshot_sets",
        sa.Column("operation", sa.Text, sa.ForeignKey("operations.id"), primary_key=True),
        sa.Column("cluster", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("verified_at", sa.BigInteger),
        sa.Column("verified_by", sa.Text, sa.ForeignKey("operations.id")),
        sa.Column("verdict", sa.Text),
    )
    op.create_index("snapshot_sets_of_a_cluster", "snapshot_sets", ["cluster"])
