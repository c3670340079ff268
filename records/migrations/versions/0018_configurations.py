"""Configuration groups, and which of them instances have."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0018"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """There are none yet."""
    op.create_table(
        "configurations",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("project_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("datastore_version_id", sa.Uuid, sa.ForeignKey("datastore_versions.id"), nullable=False),
        sa.Column("values", JSONB, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
    )
    op.create_index("ix_configurations_project", "configurations", ["project_id", "id"])
    for name in ("configuration_id", "wanted_configuration_id"):
        op.add_column("instances", sa.Column(name, sa.Uuid, sa.ForeignKey("configurations.id")))
    op.add_column(
        "instances", sa.Column("restart_required", sa.Boolean, nullable=False, server_default=sa.text("false"))
    )
    op.create_index(
        "ix_instances_configuration",
        "instances",
        ["configuration_id"],
        postgresql_where=sa.text("configuration_id IS NOT NULL"),
    )


def downgrade() -> None:
    """Forget them."""
    op.drop_index("ix_instances_configuration", "instances")
    for name in ("restart_required", "wanted_configuration_id", "configuration_id"):
        op.drop_column("instances", name)
    op.drop_table("configurations")
