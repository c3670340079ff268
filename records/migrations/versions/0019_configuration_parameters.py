"""What administrators have changed in what tenants may set of a datastore version."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing is changed yet."""
    op.create_table(
        "configuration_parameters",
        sa.Column(
            "datastore_version_id",
            sa.Uuid,
            sa.ForeignKey("datastore_versions.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("hidden", sa.Boolean, nullable=False),
        sa.Column("minimum", sa.Numeric),
        sa.Column("maximum", sa.Numeric),
    )


def downgrade() -> None:
    """Forget it."""
    op.drop_table("configuration_parameters")
