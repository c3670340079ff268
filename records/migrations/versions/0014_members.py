"""Operations have members; fence numbers and what is to be put right are an instance's."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Each operation has one member so far."""
    op.create_table(
        "operation_members",
        sa.Column("operation_id", sa.Uuid, sa.ForeignKey("operations.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("instance_id", sa.Uuid, primary_key=True),
        sa.Column("interrupted", sa.Text),
        sa.Column("builds", sa.Boolean, nullable=False, server_default=sa.text("false")),
    )
    op.create_index("ix_operation_members_instance", "operation_members", ["instance_id", "operation_id"])
    op.execute(
        "INSERT INTO operation_members SELECT id, instance_id, interrupted,"
        " coalesce(interrupted, kind) = 'create' FROM operations"
    )
    op.add_column("operation_steps", sa.Column("instance_id", sa.Uuid))
    op.execute("UPDATE operation_steps SET instance_id = o.instance_id FROM operations o WHERE o.id = operation_id")
    op.drop_index("ix_operations_instance", "operations")
    op.drop_column("operations", "instance_id")
    op.drop_column("operations", "interrupted")
    op.add_column("instances", sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("instances", sa.Column("unsettled", sa.Text))
    op.execute("UPDATE instances SET fence = g.fence FROM groups g WHERE g.id = group_id")


def downgrade() -> None:
    """Keep one member of each operation."""
    op.add_column("operations", sa.Column("instance_id", sa.Uuid))
    op.add_column("operations", sa.Column("interrupted", sa.Text))
    op.execute(
        "UPDATE operations SET instance_id = m.instance_id, interrupted = m.interrupted FROM operation_members m"
        " WHERE m.operation_id = id"
    )
    op.alter_column("operations", "instance_id", nullable=False)
    op.create_index("ix_operations_instance", "operations", ["instance_id", "created"])
    op.drop_table("operation_members")
    op.drop_column("operation_steps", "instance_id")
    op.drop_column("instances", "fence")
    op.drop_column("instances", "unsettled")
