"""When the settings that an instance was given were written to its configuration group."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Those that there are have what their groups say."""
    op.add_column("instances", sa.Column("configured", sa.DateTime(timezone=True)))
    op.execute("UPDATE instances SET configured = clock_timestamp() WHERE configuration_id IS NOT NULL")


def downgrade() -> None:
    """Forget it."""
    op.drop_column("instances", "configured")
