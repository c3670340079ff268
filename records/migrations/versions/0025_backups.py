"""Backups, and where they go."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """There are none yet."""
    op.add_column("instances", sa.Column("restores_backup_id", sa.Uuid))
    now = sa.func.clock_timestamp()
    op.create_table(
        "backups",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("project_id", sa.Text, nullable=False),
        sa.Column("instance_id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("datastore_version_id", sa.Uuid, sa.ForeignKey("datastore_versions.id"), nullable=False),
        sa.Column("place", JSONB, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False, server_default=""),
        sa.Column("checksum", sa.Text, nullable=False, server_default=""),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("stored_bytes", sa.BigInteger),
        sa.Column("engine_version", sa.Text),
        sa.Column("position", sa.Text, nullable=False, server_default=""),
        sa.Column("deleting", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False, server_default=now),
        sa.Column("updated", sa.DateTime(timezone=True), nullable=False, server_default=now),
    )
    op.create_index("ix_backups_project", "backups", ["project_id", "updated"])
    op.create_index("ix_backups_instance", "backups", ["instance_id"])
    op.create_table(
        "backup_strategies",
        sa.Column("project_id", sa.Text, primary_key=True),
        sa.Column("instance_id", sa.Text, primary_key=True, server_default=""),
        sa.Column("container", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Forget which there are; their objects stay in the tenants' containers."""
    op.drop_table("backup_strategies")
    op.drop_table("backups")
    op.drop_column("instances", "restores_backup_id")
