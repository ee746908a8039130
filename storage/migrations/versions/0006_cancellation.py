"""That an operation was cancelled, by whom, when and why.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("operations", sa.Column("cancelled_at", sa.BigInteger))
    op.add_column("operations", sa.Column("cancelled_by_team", sa.Text))
    op.add_column("operations", sa.Column("cancelled_by_user", sa.Text))
    op.add_column("operations", sa.Column("cancel_reason", sa.Text, nullable=False, server_default=sa.text("''")))
