"""A limit for each phase of an operation, a failure that is not its end yet, arrivals of any object.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("operations", sa.Column("phase_limits", sa.Text, nullable=False, server_default=sa.text("'{}'")))
    op.add_column("operations", sa.Column("failure", sa.Text))
    op.execute("UPDATE operations SET phase_limits = json_object(phase, phase_limit) WHERE phase_limit IS NOT NULL")
    op.drop_column("operations", "phase_limit")
    op.execute("ALTER TABLE arrivals RENAME COLUMN workload TO object")
