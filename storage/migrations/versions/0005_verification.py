"""What a restore test said of a snapshot set.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """SQLite adds no foreign key to a table that is there: it is made anew, and filled from the old one."""
    op.drop_index("snapshot_sets_of_a_cluster")
    op.rename_table("snapshot_sets", "snapshot_sets_before")
    op.create_table(
        "snapshot_sets",
        sa.Column("operation", sa.Text, sa.ForeignKey("operations.id"), primary_key=True),
        sa.Column("cluster", sa.Text, nullable=False),
        sa.Column("taken_at", sa.BigInteger, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("verified_at", sa.BigInteger),
        sa.Column("verified_by", sa.Text, sa.ForeignKey("operations.id")),
        sa.Column("verdict", sa.Text),
    )
    op.execute(
        "INSERT INTO snapshot_sets (operation, cluster, taken_at, content) "
        "SELECT operation, cluster, taken_at, content FROM snapshot_sets_before"
    )
    op.drop_table("snapshot_sets_before")
    op.create_index("snapshot_sets_of_a_cluster", "snapshot_sets", ["cluster", "taken_at"])
