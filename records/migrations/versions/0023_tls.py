"""The TLS of instances."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0023"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Those that are there have what their engine has by itself."""
    op.add_column("instances", sa.Column("tls", JSONB, nullable=False, server_default="{}"))
    op.add_column("instances", sa.Column("tls_before", JSONB))


def downgrade() -> None:
    """Forget it: engines go on as they are until the next operation."""
    op.drop_column("instances", "tls_before")
    op.drop_column("instances", "tls")
