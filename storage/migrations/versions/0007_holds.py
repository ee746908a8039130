"""Who holds a cluster, so that nothing begins on it.

Revision ID: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "holds",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("cluster", sa.Text, nullable=False),
        sa.Column("person_team", sa.Text, nullable=False),
        sa.Column("person_user", sa.Text, nullable=False),
        sa.Column("place_team", sa.Text, nullable=False),
        sa.Column("place_channel", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("released_at", sa.BigInteger),
        sa.Column("released_team", sa.Text),
        sa.Column("released_user", sa.Text),
        sa.CheckConstraint("reason <> ''", name="holds_reason"),
        sa.CheckConstraint("(released_at IS NULL) = (released_user IS NULL)", name="holds_released"),
    )
    op.create_index(
        "one_hold_on_a_cluster", "holds", ["cluster"], unique=True, sqlite_where=sa.text("released_at IS NULL")
    )
