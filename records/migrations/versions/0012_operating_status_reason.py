"""Why an instance's operating status is what it is."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing is known of the past."""
    op.add_column("instances", sa.Column("operating_status_reason", sa.Text, nullable=True))


def downgrade() -> None:
    """Forget it."""
    op.drop_column("instances", "operating_status_reason")
