"""Operations that were withdrawn before they were admitted, and the idempotency keys of clients."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two tables; what is older than a day is deleted when something is written."""
    op.create_table(
        "withdrawals",
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column("noted", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("operation_id", name=op.f("pk_withdrawals")),
    )
    op.create_index("ix_withdrawals_noted", "withdrawals", ["noted"])
    op.create_table(
        "idempotency_keys",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("mac_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("thing_id", sa.Uuid(), nullable=False),
        sa.Column("noted", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_noted", "idempotency_keys", ["noted"])


def downgrade() -> None:
    """Forget them: a request that is sent again is a new one."""
    op.drop_table("idempotency_keys")
    op.drop_table("withdrawals")
