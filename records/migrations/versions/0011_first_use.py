"""When a guest's token was first used, which ends its ticket."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Guests that have enrolled already count as having used their token."""
    op.add_column("guest_identities", sa.Column("first_used", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE guest_identities SET first_used = enrolled")


def downgrade() -> None:
    """Forget it."""
    op.drop_column("guest_identities", "first_used")
